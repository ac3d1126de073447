//! Secrets that go on for as long as their own characters do.
//!
//! Their keywords may stand in them again and again. So that each byte is looked at a few times at most, how far a run
//! of such characters goes is found out once, and what was judged is not judged again from a keyword further in.

use super::secrets::REACH;

/// Kinds of secrets without a bound that is short.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tail {
    /// Parts joined by dots, from the keyword on.
    Jwt,
    /// Base64, on lines of any length.
    WrappedJwt,
    /// What is assigned to a name.
    Value,
    /// An access token of Google.
    Google,
    /// Names and values of cookies.
    Cookies,
}

/// How many [`Tail`]s there are.
const TAILS: usize = 5;

/// Longest value assigned to a name that is a secret, in bytes: what is longer is data.
const VALUE: usize = 4 * 1024;

/// Shortest first part of a JSON Web Token.
const HEADER: usize = 17;

/// What is known of one text: lasts as long as the look at it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Start and end of the last run of each kind.
    runs: [(usize, usize); TAILS],
    /// Up to where each kind is judged.
    judged: [usize; TAILS],
    /// Start and end of the last run in a later part of a JSON Web Token.
    part: (usize, usize),
    /// End of a first part, and of the token of which it is one.
    token: (usize, Option<usize>),
    /// Nothing of the rule that looks far behind its keyword begins before.
    pub(super) near: usize,
}

impl Tail {
    /// Whether a secret of this kind that is none at one keyword is none at a later one in it either. Those that are not
    /// cost little to judge.
    pub(super) fn is_judged_once(self) -> bool {
        match self {
            Self::Jwt | Self::WrappedJwt => false,
            Self::Value | Self::Google | Self::Cookies => true,
        }
    }

    /// Whether a secret of this kind goes on with `byte`.
    fn has(self, byte: u8) -> bool {
        let is_word = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match self {
            Self::Jwt => is_word,
            Self::WrappedJwt => is_word || matches!(byte, b'/' | b'\\' | b'+' | b'\r' | b'\n' | b'='),
            Self::Value => is_word || matches!(byte, b'.' | b'=' | b'+' | b'/' | b'%' | b'~'),
            Self::Google => is_word || byte == b'.',
            Self::Cookies => !matches!(byte, 0 | b'\r' | b'\n' | b'"' | b'\''),
        }
    }
}

impl Seen {
    /// Where the secret ends whose first bytes start at `start`; `None` for none, and for one that is judged.
    pub(super) fn end(&mut self, tail: Tail, text: &[u8], start: usize) -> Option<usize> {
        if start < self.judged.get(tail as usize).copied().unwrap_or_default() {
            return None;
        }
        let run = self.runs.get_mut(tail as usize)?;
        let end = reached(run, text, start, |byte| tail.has(byte));
        let near = start.saturating_add(REACH);
        match tail {
            Tail::Jwt if text.get(start..start + 2) != Some(b"ey") || end - start < HEADER => None,
            Tail::Jwt => self.token(text, end).map(|end| end.min(near)),
            Tail::Value if end - start > VALUE || !ends(text, end) => {
                self.judge(tail, end);
                None
            }
            Tail::Value | Tail::WrappedJwt | Tail::Google | Tail::Cookies => Some(end.min(near)),
        }
    }

    /// Whether it is a secret was found out for all that starts before `end`.
    pub(super) fn judge(&mut self, tail: Tail, end: usize) {
        if let Some(judged) = self.judged.get_mut(tail as usize) {
            *judged = end.max(*judged);
        }
    }

    /// End of the JSON Web Token whose first part ends at `first`.
    fn token(&mut self, text: &[u8], first: usize) -> Option<usize> {
        if self.token.0 != first {
            let (mut end, mut parts) = (first, 0);
            while parts < 4 && text.get(end) == Some(&b'.') {
                end = reached(&mut self.part, text, end + 1, |byte| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/' | b'\\')
                });
                let padding = text.iter().skip(end).take(2).take_while(|b| **b == b'=').count();
                end += padding;
                parts += 1;
            }
            self.token = (first, (parts >= 2).then_some(end));
        }
        self.token.1
    }
}

/// End of the run of bytes `has` from `start` on; `known` is the last one.
fn reached(known: &mut (usize, usize), text: &[u8], start: usize, has: impl Fn(u8) -> bool) -> usize {
    if start < known.0 || known.1 <= start {
        let length = text.get(start..).unwrap_or_default().iter().take_while(|b| has(**b)).count();
        *known = (start, start + length);
    }
    known.1
}

/// Whether a value may end at `end`: see `AFTER` of the rules.
fn ends(text: &[u8], end: usize) -> bool {
    match (text.get(end), text.get(end + 1)) {
        (None, _) | (Some(b'\\'), Some(b'n' | b'r' | b't' | b'"')) => true,
        (Some(byte), _) => {
            matches!(byte, b'`' | b'\'' | b'"' | b';' | b',' | b'<' | b'>' | b'|' | b'&' | b')' | b']' | b'}')
                || *byte <= b' '
                || *byte >= 0x7f
        }
    }
}
