//! A text as it was before somebody encoded parts of it: percent-encoding, escapes of JSON, encodings that were broken
//! into lines. There are many ways to write each, and one to undo it.

use std::ops::Range;

/// Bytes of a line before its break, all of an encoding: PostgreSQL breaks base64 at 76 characters, PEM at 64, `xxd -p`
/// hexadecimal at 60. Words in front of a break are mostly shorter.
const MIN_LINE_BYTES: usize = 16;

/// A text with changes.
pub(super) struct View {
    pub(super) text: Vec<u8>,
    changes: Vec<Change>,
}

/// What became of a part of the text.
struct Change {
    /// Where it is now; a line break is nowhere.
    now: Range<usize>,
    /// Where it was.
    was: Range<usize>,
}

/// What stands for some bytes, and how many they are.
type Rewrite = (usize, [u8; 4], usize);

impl View {
    /// With these bytes rewritten, wherever that can be done; `None` where nothing is to rewrite.
    fn new(text: &[u8], marks: &[u8], rewrite: impl Fn(usize) -> Option<Rewrite>) -> Option<Self> {
        let mut view = Self { text: Vec::new(), changes: Vec::new() };
        let (mut copied, mut at) = (0, 0);
        while let Some(found) = text.get(at..)?.iter().position(|byte| marks.contains(byte)) {
            at += found;
            let Some((length, bytes, count)) = rewrite(at) else {
                at += 1;
                continue;
            };
            view.text.extend_from_slice(text.get(copied..at)?);
            let start = view.text.len();
            view.text.extend(bytes.into_iter().take(count));
            view.changes.push(Change { now: start..view.text.len(), was: at..at + length });
            at += length;
            copied = at;
        }
        view.text.extend_from_slice(text.get(copied..)?);
        (!view.changes.is_empty()).then_some(view)
    }

    /// Whether something of this part was changed, or broken in two.
    pub(super) fn is_changed(&self, part: &Range<usize>) -> bool {
        let first = self.changes.partition_point(|change| change.now.end <= part.start);
        self.changes.get(first).is_some_and(|change| change.now.start < part.end)
    }

    /// Where a part was before.
    pub(super) fn origin(&self, part: &Range<usize>) -> Range<usize> {
        let last = part.end.saturating_sub(1).max(part.start);
        self.was(part.start).start..self.was(last).end
    }

    /// Where this byte was.
    fn was(&self, at: usize) -> Range<usize> {
        let behind = self.changes.partition_point(|change| change.now.end <= at);
        if let Some(change) = self.changes.get(behind).filter(|change| change.now.start <= at) {
            return change.was.clone();
        }
        let before = behind.checked_sub(1).and_then(|before| self.changes.get(before));
        let was = before.map_or(at, |change| change.was.end + (at - change.now.end));
        was..was + 1
    }
}

/// Without percent-encoding, whatever was left as it is and whichever case the digits have.
pub(super) fn percent_decoded(text: &[u8]) -> Option<View> {
    View::new(text, b"%", |at| percent(text, at))
}

/// The same of forms, which write a blank as `+`.
pub(super) fn form_decoded(text: &[u8]) -> Option<View> {
    View::new(text, b"%+", |at| {
        if text.get(at) == Some(&b'+') { Some((1, [b' ', 0, 0, 0], 1)) } else { percent(text, at) }
    })
}

fn percent(text: &[u8], at: usize) -> Option<Rewrite> {
    let byte = hexadecimal(text.get(at + 1..at + 3)?)?;
    Some((3, [u8::try_from(byte).ok()?, 0, 0, 0], 1))
}

/// Without the escapes of JSON strings, which those of `COPY` are among.
pub(super) fn unescaped(text: &[u8]) -> Option<View> {
    View::new(text, b"\\", |at| {
        let byte = match text.get(at + 1)? {
            b'u' => return unicode(text, at),
            byte @ (b'\\' | b'/' | b'"') => *byte,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            _ => return None,
        };
        Some((2, [byte, 0, 0, 0], 1))
    })
}

/// `\u0041`, or two of them that are one character.
fn unicode(text: &[u8], at: usize) -> Option<Rewrite> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::try_from(hexadecimal(digits)?).ok()
    };
    let first = unit(at)?;
    let units = [Some(first), unit(at + 6)];
    let character = char::decode_utf16(units.into_iter().flatten()).next()?.ok()?;
    let mut bytes = [0; 4];
    let count = character.encode_utf8(&mut bytes).len();
    Some((6 * character.len_utf16(), bytes, count))
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    digits.iter().try_fold(0, |number, byte| Some(number * 16 + digit(byte)?))
}

/// Without the line breaks within what may be base64 or hexadecimal.
pub(super) fn in_one_line(text: &[u8]) -> Option<View> {
    View::new(text, b"\r\n", |at| {
        let length = if text.get(at..)?.starts_with(b"\r\n") { 2 } else { 1 };
        let line = text.get(at.checked_sub(MIN_LINE_BYTES)?..at)?;
        let next = *text.get(at + length)?;
        (line.iter().copied().all(is_encoding) && is_encoding(next)).then_some((length, [0; 4], 0))
    })
}

fn is_encoding(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_view_is_where_it_was_before() {
        let text = br"a%2fb\u00e9c\ud83d\ude00d\/e";
        let percent = percent_decoded(text).unwrap();
        assert_eq!(&percent.text, br"a/b\u00e9c\ud83d\ude00d\/e");
        assert_eq!(
            (percent.origin(&(0..1)), percent.origin(&(1..2)), percent.origin(&(2..3))),
            (0..1, 1..4, 4..5)
        );
        assert_eq!(percent.origin(&(0..3)), 0..5);
        assert!(percent.is_changed(&(0..2)) && !percent.is_changed(&(2..9)) && !percent.is_changed(&(0..1)));
        let view = unescaped(text).unwrap();
        assert_eq!(view.text, "a%2fbéc😀d/e".as_bytes());
        for part in ["é", "😀", "/e", "bé", "d"] {
            let at = view.text.windows(part.len()).position(|window| window == part.as_bytes()).unwrap();
            let was = &text[view.origin(&(at..at + part.len()))];
            assert_eq!(unescaped(was).map_or(was.to_vec(), |view| view.text), part.as_bytes());
        }
    }

    #[test]
    fn what_is_no_encoding_stays() {
        for text in
            ["100% of", "%zz %2", r"\x41 \u12 \ud800 \", "a+b", "short\nline", "a longer line of text\nmore"]
        {
            assert!(percent_decoded(text.as_bytes()).is_none(), "{text}");
            assert!(unescaped(text.as_bytes()).is_none(), "{text}");
            assert!(in_one_line(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(form_decoded(b"a+b%20c").unwrap().text, b"a b c");
    }

    #[test]
    fn a_line_break_is_within_what_it_breaks_and_not_beside_it() {
        let view = in_one_line(b"0123456789abcdef\r\nABCDEFGHIJKLMNOPQ\nx").unwrap();
        assert_eq!(view.text, b"0123456789abcdefABCDEFGHIJKLMNOPQx");
        assert!(!view.is_changed(&(0..16)) && !view.is_changed(&(16..33)) && view.is_changed(&(15..17)));
        assert_eq!((view.origin(&(14..18)), view.origin(&(16..17))), (14..20, 18..19));
    }
}
