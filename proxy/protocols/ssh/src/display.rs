//! The client's display: what it lends (`x11-req`), and how a program presents itself to it.
//!
//! A connection to a display begins with a greeting that names a protocol of authentication and shows a cookie. The
//! cookie is as good as a password for the display: it is in no record. The greeting is not masked either, so it goes to
//! the client only if it shows exactly what the client lent, and could carry nothing else.
//!
//! Source: RFC 4254 section 6.3; X Window System Protocol, version 11, chapter 8, "Connection Initiation".

use aws_lc_rs::constant_time::verify_slices_are_equal;
use proxy_core::secret::Secret;
use std::fmt;

/// A display that a client lends, with what whoever comes to it has to show.
#[derive(Clone, Debug)]
pub(crate) struct Display {
    /// For one connection only. The host sees to that.
    pub(crate) single: bool,
    /// Name of the protocol of authentication: `MIT-MAGIC-COOKIE-1`.
    pub(crate) protocol: String,
    /// The cookie in hexadecimal, as hosts are told it.
    pub(crate) cookie: Secret<String>,
    /// Number of the screen.
    pub(crate) screen: u32,
    /// The cookie itself.
    shown: Secret<Vec<u8>>,
}

impl Display {
    /// As a client asks for it. `None`: without a cookie in hexadecimal nobody could be told from anybody.
    pub(crate) fn asked(single: bool, (protocol, cookie): (&str, &str), screen: u32) -> Option<Self> {
        let named = !protocol.is_empty() && protocol.len() <= NAME_BYTES;
        let shown =
            bytes(cookie).filter(|shown| named && !shown.is_empty() && shown.len() <= COOKIE_BYTES)?;
        let (protocol, cookie) = (protocol.to_owned(), Secret::new(cookie.to_owned()));
        Some(Self { single, protocol, cookie, screen, shown: Secret::new(shown) })
    }

    /// Whether whoever shows this may come.
    pub(crate) fn admits(&self, greeting: &Greeting) -> bool {
        self.protocol.as_bytes() == greeting.protocol
            && verify_slices_are_equal(self.shown.expose(), greeting.cookie.expose()).is_ok()
    }
}

fn bytes(hexadecimal: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = hexadecimal.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

/// How a program presents itself to a display.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    /// Byte order and version.
    head: [u8; HEAD],
    protocol: Vec<u8>,
    cookie: Secret<Vec<u8>>,
}

impl Greeting {
    /// As the client gets it: fields that mean nothing are zero.
    pub(crate) fn sent(&self) -> Vec<u8> {
        self.written(self.cookie.expose())
    }

    /// As it is recorded: with zeros for the cookie.
    pub(crate) fn recorded(&self) -> Vec<u8> {
        self.written(&vec![0; self.cookie.expose().len()])
    }

    fn written(&self, cookie: &[u8]) -> Vec<u8> {
        let mut bytes = self.head.to_vec();
        for field in [&self.protocol, cookie] {
            bytes.extend_from_slice(field);
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        }
        bytes
    }
}

/// These are not the first bytes of a connection to a display.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NoGreeting;

/// The first bytes of a connection to a display, until the greeting is whole.
#[derive(Default)]
pub(crate) struct Opening(Vec<u8>);

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("bytes", &self.0.len()).finish()
    }
}

impl Opening {
    /// Takes what the program says. Gives its greeting once it is whole.
    ///
    /// # Errors
    /// It is not how anybody speaks to a display: who has greeted one waits for its answer.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Option<Greeting>, NoGreeting> {
        self.0.extend_from_slice(bytes);
        let Some((head, rest)) = self.0.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [order, _, major, major2, minor, minor2, name, name2, cookie, cookie2, ..] = *head;
        let length = |pair: [u8; 2]| match order {
            b'B' => Ok(usize::from(u16::from_be_bytes(pair))),
            b'l' => Ok(usize::from(u16::from_le_bytes(pair))),
            _ => Err(NoGreeting),
        };
        let (protocol, shown) = (length([name, name2])?, length([cookie, cookie2])?);
        if protocol > NAME_BYTES || shown > COOKIE_BYTES {
            return Err(NoGreeting);
        }
        let Some((protocol, rest)) = field(rest, protocol) else { return Ok(None) };
        let Some((shown, rest)) = field(rest, shown) else { return Ok(None) };
        if !rest.is_empty() {
            return Err(NoGreeting);
        }
        let head = [order, 0, major, major2, minor, minor2, name, name2, cookie, cookie2, 0, 0];
        Ok(Some(Greeting { head, protocol: protocol.to_vec(), cookie: Secret::new(shown.to_vec()) }))
    }
}

/// A field of this length, and what is behind its padding. `None`: it is not whole.
fn field(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (padded, rest) = bytes.split_at_checked(length.next_multiple_of(ALIGNMENT))?;
    Some((padded.get(..length)?, rest))
}

/// Length of a greeting without its fields.
const HEAD: usize = 12;
/// Fields are filled up to a multiple of so many bytes.
const ALIGNMENT: usize = 4;
/// Longest name of a protocol.
const NAME_BYTES: usize = 64;
/// Longest cookie: those in use have 16 bytes, tickets some hundreds.
const COOKIE_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::{Display, NoGreeting, Opening};

    const COOKIE: &str = "00ff10A1b2c3";

    fn display() -> Display {
        Display::asked(false, ("MIT-MAGIC-COOKIE-1", COOKIE), 0).unwrap()
    }

    /// As a program of either byte order says it, with something in the padding.
    fn said(order: u8, cookie: &[u8]) -> Vec<u8> {
        let number = |number: u16| if order == b'B' { number.to_be_bytes() } else { number.to_le_bytes() };
        let name = b"MIT-MAGIC-COOKIE-1";
        let lengths =
            [number(u16::try_from(name.len()).unwrap()), number(u16::try_from(cookie.len()).unwrap())];
        let head = [&[order, 7][..], &number(11), &number(0), &lengths.concat(), b"xx"].concat();
        let fill = |field: &[u8]| vec![b'p'; field.len().next_multiple_of(4) - field.len()];
        [&head[..], name, &fill(name), cookie, &fill(cookie)].concat()
    }

    #[test]
    fn a_greeting_is_told_however_it_is_cut_and_its_cookie_is_in_no_record() {
        let cookie = [0, 0xff, 0x10, 0xa1, 0xb2, 0xc3];
        for order in *b"Bl" {
            let said = said(order, &cookie);
            for cut in 0..said.len() {
                let mut opening = Opening::default();
                assert!(opening.take(&said[..cut]).unwrap().is_none(), "{cut}");
                let greeting = opening.take(&said[cut..]).unwrap().unwrap();
                assert!(display().admits(&greeting));
                let (sent, recorded) = (greeting.sent(), greeting.recorded());
                assert_eq!(sent.len(), said.len());
                assert_eq!(sent[32..40], [&cookie[..], &[0, 0]].concat(), "the client's own, and no padding");
                assert_eq!(
                    (recorded.len(), &recorded[..32], &recorded[32..]),
                    (40, &sent[..32], &[0; 8][..])
                );
                assert!(!format!("{greeting:?}{opening:?}{:?}", display()).contains("255"));
            }
        }
    }

    #[test]
    fn whoever_shows_another_cookie_does_not_come() {
        for cookie in [&[0, 0xff, 0x10, 0xa1, 0xb2, 0xc4][..], &[0, 0xff], b""] {
            let greeting = Opening::default().take(&said(b'l', cookie)).unwrap().unwrap();
            assert!(!display().admits(&greeting));
        }
        let more = [said(b'B', &[0, 0xff, 0x10, 0xa1, 0xb2, 0xc3]), b"more".to_vec()].concat();
        for other in [&b"GET / HTTP/1.1"[..], &[b'l', 0, 11, 0, 0, 0, 255, 255, 0, 0, 0, 0], &more] {
            assert_eq!(Opening::default().take(other).unwrap_err(), NoGreeting);
        }
    }

    #[test]
    fn a_display_is_lent_with_a_cookie_or_not_at_all() {
        for cookie in ["", "0", "zz", &"00".repeat(1025)] {
            assert!(Display::asked(false, ("MIT-MAGIC-COOKIE-1", cookie), 0).is_none(), "{cookie}");
        }
        assert!(Display::asked(false, ("", COOKIE), 0).is_none());
    }
}
