//! Personal data: found by shape, confirmed by checksum or range.
//!
//! One pass over the text stops at digits, `@` and `:`; everything else is skipped many bytes at a time.

mod address;
mod card;
mod iban;
mod number;

use super::finding::{Edges, Finding, Sink};
use proxy_policy::{Detector, Mask};

/// Masks of the personal-data detectors that are on.
#[derive(Clone, Debug, Default)]
pub(super) struct Personal {
    pub(super) card: Option<Mask>,
    pub(super) iban: Option<Mask>,
    pub(super) email: Option<Mask>,
    pub(super) phone: Option<Mask>,
    pub(super) ip: Option<Mask>,
    pub(super) ssn: Option<Mask>,
}

/// A text and a position in it, with checked reading.
#[derive(Clone, Copy)]
struct Text<'t> {
    bytes: &'t [u8],
    edges: Edges<'t>,
}

impl Text<'_> {
    fn at(&self, index: usize) -> u8 {
        self.bytes.get(index).copied().unwrap_or(0)
    }

    /// The byte before `index`; 0 at the start and behind a field's length.
    fn before(&self, index: usize) -> u8 {
        match index.checked_sub(1) {
            Some(_) if self.edges.after_length(self.bytes, index) => 0,
            Some(before) => self.at(before),
            None => 0,
        }
    }

    /// Whether one of `words` (lower case) stands in the `within` bytes before `index`.
    fn says_before(&self, index: usize, within: usize, words: &[&[u8]]) -> bool {
        let near = self.bytes.get(index.saturating_sub(within)..index).unwrap_or_default();
        words.iter().any(|word| near.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word)))
    }
}

impl Personal {
    /// Turns a detector on; the first mask given to it stays.
    pub(super) fn select(&mut self, detector: Detector, mask: &Mask) {
        let slot = match detector {
            Detector::CreditCard => &mut self.card,
            Detector::Iban => &mut self.iban,
            Detector::Email => &mut self.email,
            Detector::Phone => &mut self.phone,
            Detector::IpAddress => &mut self.ip,
            Detector::UsSsn => &mut self.ssn,
            Detector::PersonalData => {
                for one in [
                    Detector::CreditCard,
                    Detector::Iban,
                    Detector::Email,
                    Detector::Phone,
                    Detector::IpAddress,
                    Detector::UsSsn,
                ] {
                    self.select(one, mask);
                }
                return;
            }
            Detector::Secrets
            | Detector::AwsAccessKey
            | Detector::Jwt
            | Detector::PrivateKey
            | Detector::UrlPassword
            | Detector::GenericSecret => return,
        };
        slot.get_or_insert_with(|| mask.clone());
    }

    /// Whether any is on.
    pub(super) fn is_on(&self) -> bool {
        self.numbers() || self.email.is_some() || self.ip.is_some()
    }

    fn numbers(&self) -> bool {
        self.card.is_some() || self.iban.is_some() || self.phone.is_some() || self.ssn.is_some()
    }

    /// Finds everything that is on.
    pub(super) fn scan<'a>(&'a self, bytes: &[u8], edges: Edges<'_>, sink: &mut Sink<'a>) {
        let text = Text { bytes, edges };
        let mut index = 0;
        while let Some(skip) = bytes.get(index..).and_then(next_trigger) {
            index += skip;
            match text.at(index) {
                b'@' => self.at_sign(text, index, sink),
                b':' => self.colon(text, index, sink),
                _ => index = self.digits(text, index, sink),
            }
            if sink.is_done() {
                return;
            }
            index += 1;
        }
    }

    fn at_sign<'a>(&'a self, text: Text<'_>, index: usize, sink: &mut Sink<'a>) {
        if let Some(mask) = &self.email
            && let Some((start, end)) = address::email(text, index)
        {
            sink.push(Finding { start, end, name: "email", mask });
        }
    }

    fn colon<'a>(&'a self, text: Text<'_>, index: usize, sink: &mut Sink<'a>) {
        if let Some(mask) = &self.ip
            && let Some((start, end)) = address::ipv6(text, index)
        {
            sink.push(Finding { start, end, name: "ip-address", mask });
        }
    }

    /// Looks at the run of digits from `start`, returns the index of its last digit.
    fn digits<'a>(&'a self, text: Text<'_>, start: usize, sink: &mut Sink<'a>) -> usize {
        let mut end = start + 1;
        while text.at(end).is_ascii_digit() {
            end += 1;
        }
        self.number(text, start, end, sink);
        // a digit may be the end of the field's length
        if text.edges.after_length(text.bytes, start + 1) && end - start > 1 {
            self.number(text, start + 1, end, sink);
        }
        end - 1
    }

    /// Looks at the digits from `start` to `end`, by their number and what stands around them.
    fn number<'a>(&'a self, text: Text<'_>, start: usize, end: usize, sink: &mut Sink<'a>) {
        type Find = fn(Text<'_>, usize) -> Option<(usize, usize)>;
        let mut look = |name: &'static str, mask: &'a Option<Mask>, find: Find| {
            if let Some(mask) = mask
                && let Some((start, end)) = find(text, start)
            {
                sink.push(Finding { start, end, name, mask });
            }
        };
        let (count, after) = (end - start, text.at(end));
        if text.before(start).is_ascii_alphanumeric() {
            // part of a word, but for the check digits of a bank account
            if count >= 2 && text.before(start).is_ascii_alphabetic() {
                look("iban", &self.iban, iban::find);
            }
            return;
        }
        if count >= 13 || (count == 4 && matches!(after, b' ' | b'-')) {
            look("credit-card", &self.card, card::find);
        }
        if count == 9 || (count == 3 && matches!(after, b' ' | b'-')) {
            look("us-ssn", &self.ssn, number::ssn);
        }
        if count >= 8
            || text.before(start) == b'+'
            || matches!(after, b' ' | b'-' | b'.' | b'(' | b')' | b'/')
        {
            look("phone", &self.phone, number::phone);
        }
        if count <= 3 && after == b'.' {
            look("ip-address", &self.ip, address::ipv4);
        }
    }
}

/// Where the next trigger is. Most texts have few: 64 bytes are asked at once, which the processor does in a few steps.
fn next_trigger(bytes: &[u8]) -> Option<usize> {
    let mut before = 0;
    for chunk in bytes.chunks(64) {
        if chunk.iter().fold(false, |found, byte| found | is_trigger(*byte)) {
            return chunk.iter().position(|byte| is_trigger(*byte)).map(|at| before + at);
        }
        before += chunk.len();
    }
    None
}

fn is_trigger(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'@' || byte == b':'
}
