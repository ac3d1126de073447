//! The forms in which a value can be said without being said: encoded, dumped, cut up, reversed.
//!
//! Each form is read where it can stand (a run of letters, lines of a dump, short words in a row), and what it may mean
//! is looked at as a text of its own. All of it together is bounded by the length of what it is read from.

mod dump;
mod escapes;
mod runs;

use super::Named;
use super::view::sources;
use proxy_core::mask::Masker;
use std::ops::Range;

/// So deep may encodings be in each other.
const DEPTH_MAX: usize = 2;

/// Shortest run that is looked at: shorter ones hold no secret in any form.
const RUN_MIN: usize = 16;

/// So much is looked at in all, in bytes, for a window of a stream.
const WORK_MAX: usize = 512 * 1024;

/// Findings whose shape is too common for texts that are put together from others.
const PERSONAL: &[&str] = &["phone", "ip-address", "credit-card", "us-ssn", "iban", "email", "email-address"];

/// What a part of a text may mean.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidate {
    bytes: Vec<u8>,
    /// For each byte the part of the text that it comes from.
    map: Vec<(usize, usize)>,
    depth: usize,
    /// Put together or turned around: what is too common in numbers is not looked for.
    loose: bool,
    /// Hidden with the whole of its lines, which may say it again.
    lines: bool,
}

impl Candidate {
    fn push(&mut self, byte: u8, source: (usize, usize)) {
        self.bytes.push(byte);
        self.map.push(source);
    }

    fn of(text: &[u8], range: Range<usize>) -> Self {
        let map = range.clone().map(|at| (at, at + 1)).collect();
        Self { bytes: text.get(range).unwrap_or_default().to_vec(), map, ..Self::default() }
    }

    /// The same with every byte changed.
    fn mapped(&self, change: impl Fn(u8) -> u8) -> Self {
        let bytes = self.bytes.iter().map(|byte| change(*byte)).collect();
        Self { bytes, depth: DEPTH_MAX, loose: true, ..self.clone() }
    }

    fn reversed(&self) -> Self {
        let mut reversed = self.clone();
        reversed.bytes.reverse();
        reversed.map.reverse();
        (reversed.depth, reversed.loose) = (DEPTH_MAX, true);
        reversed
    }

    /// Bytes that come of others of it: each with the range of those.
    fn decoded(&self, bytes: impl IntoIterator<Item = (u8, Range<usize>)>) -> Self {
        let mut decoded = Self { depth: self.depth + 1, lines: self.lines, ..Self::default() };
        for (byte, range) in bytes {
            let source = sources(&self.map, &range);
            decoded.push(byte, (source.start, source.end));
        }
        decoded
    }

    /// Enough of it can be read to be a text.
    fn is_text(&self) -> bool {
        let readable =
            self.bytes.iter().filter(|byte| matches!(byte, 0x20..=0x7e | b'\n' | b'\r' | b'\t' | 0)).count();
        self.bytes.len() >= RUN_MIN && readable * 10 >= self.bytes.len() * 9
    }
}

/// What is found in any form, where it stands in `text`.
pub(super) fn findings(masker: &Masker, text: &[u8]) -> Vec<Named> {
    let mut waiting = Vec::new();
    runs::collect(text, &mut waiting);
    dump::collect(text, &mut waiting);
    escapes::collect(text, &mut waiting);
    let mut found = Vec::new();
    let mut work = 0;
    while let Some(candidate) = waiting.pop() {
        work += candidate.bytes.len();
        if work > WORK_MAX {
            break;
        }
        look(masker, &candidate, text, &mut found);
        if candidate.depth < DEPTH_MAX {
            runs::forms(&candidate, &mut waiting);
        }
    }
    found
}

fn look(masker: &Masker, candidate: &Candidate, text: &[u8], found: &mut Vec<Named>) {
    // a value of two bytes a letter
    let narrow;
    let candidate = if candidate.bytes.contains(&0) {
        narrow = {
            let kept = candidate.bytes.iter().zip(&candidate.map).filter(|(byte, _)| **byte != 0);
            let (bytes, map) = kept.map(|(byte, source)| (*byte, *source)).unzip();
            Candidate { bytes, map, ..*candidate }
        };
        &narrow
    } else {
        candidate
    };
    for finding in masker.found(&candidate.bytes) {
        if candidate.loose && PERSONAL.contains(&finding.name.as_str()) {
            continue;
        }
        let mut range = sources(&candidate.map, &finding.range);
        if candidate.lines {
            range = whole_lines(text, range);
        }
        found.push((range, finding.name));
    }
}

fn whole_lines(text: &[u8], range: Range<usize>) -> Range<usize> {
    let before = text.get(..range.start).unwrap_or_default();
    let behind = text.get(range.end..).unwrap_or_default();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let end = behind.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(behind.len());
    start..range.end + end
}
