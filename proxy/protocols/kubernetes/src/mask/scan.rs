//! The tokens of one JSON text, as places in its bytes: what is not masked is copied as it was written.
//!
//! RFC 8259. Stricter readers than this one see the same values at the same places; `fuzz/targets/json.rs` compares it
//! with `serde_json`.

use super::Unmaskable;
use std::borrow::Cow;

/// Where a string stands: its content, without the quotes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    /// It has escapes.
    pub(super) escaped: bool,
}

/// Reads tokens from a text that is UTF-8.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Takes `byte` if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.at += 1;
        }
        is_next
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Unmaskable> {
        if self.eat(byte) { Ok(()) } else { Err(Unmaskable::Malformed) }
    }

    /// Takes a string.
    pub(super) fn string(&mut self) -> Result<Span, Unmaskable> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let found = memchr::memchr2(b'"', b'\\', rest).ok_or(Unmaskable::Malformed)?;
            self.at += found;
            if self.byte() == Some(b'"') {
                let span = Span { start, end: self.at, escaped };
                self.at += 1;
                return Ok(span);
            }
            escaped = true;
            // the escaped byte may be a quote, never more than one byte that matters
            self.at += 2;
        }
    }

    /// Takes a number, `true`, `false` or `null`.
    pub(super) fn scalar(&mut self) -> Result<(), Unmaskable> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        for word in [&b"true"[..], b"false", b"null"] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(());
            }
        }
        self.at += number(rest).ok_or(Unmaskable::Malformed)?;
        Ok(())
    }

    /// What a string says.
    pub(super) fn decode(&self, span: Span) -> Result<Cow<'a, str>, Unmaskable> {
        if span.escaped {
            let quoted = self.text.get(span.start.saturating_sub(1)..=span.end).unwrap_or_default();
            serde_json::from_str(quoted).map(Cow::Owned).map_err(|_not_json| Unmaskable::Malformed)
        } else {
            Ok(Cow::Borrowed(self.text.get(span.start..span.end).unwrap_or_default()))
        }
    }
}

/// Length of the number that `bytes` begin with.
fn number(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let count = bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(from + count)
    };
    let is = |at: usize, set: &[u8]| bytes.get(at).is_some_and(|byte| set.contains(byte));
    let mut at = usize::from(is(0, b"-"));
    at = if is(at, b"0") { at + 1 } else { digits(at)? };
    if is(at, b".") {
        at = digits(at + 1)?;
    }
    if is(at, b"eE") {
        at += 1 + usize::from(is(at + 1, b"+-"));
        at = digits(at)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_the_grammar_says() {
        for (text, length) in
            [("0", Some(1)), ("-0.5e+10,", Some(8)), ("01", Some(1)), ("1.", None), ("-", None), ("1e", None)]
        {
            assert_eq!(number(text.as_bytes()), length, "{text}");
        }
    }

    #[test]
    fn strings_end_at_the_quote_that_no_backslash_precedes() {
        let mut scanner = Scanner::new(r#" "a\"b\\" "c""#);
        let first = scanner.string().unwrap();
        assert_eq!(scanner.decode(first).unwrap(), r#"a"b\"#);
        let second = scanner.string().unwrap();
        assert_eq!((scanner.decode(second).unwrap().as_ref(), second.escaped), ("c", false));
        assert_eq!(Scanner::new("\"a\\").string(), Err(Unmaskable::Malformed));
    }
}
