//! Dumps: lines of an offset and then bytes as numbers, as `xxd`, `hexdump` and `od` write them.

use super::source::Source;
use super::{Reading, Search, is_text};
use std::ops::Range;

/// How the bytes of a dump are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Hex,
    /// Two bytes in hexadecimal, the second one first.
    HexWords,
    Octal,
    /// Two bytes in octal, the second one first.
    OctalWords,
    Decimal,
    Binary,
    Characters,
}

const FORMS: [Form; 7] =
    [Form::Hex, Form::HexWords, Form::Octal, Form::OctalWords, Form::Decimal, Form::Binary, Form::Characters];

/// The lines of one form so far.
#[derive(Debug, Default)]
struct Dump {
    bytes: Vec<u8>,
    each: Vec<Range<usize>>,
}

impl Dump {
    fn finish(&mut self, search: &mut Search<'_>) {
        if self.bytes.is_empty() {
            return;
        }
        let Self { bytes, each } = std::mem::take(self);
        if is_text(&bytes) {
            let source = Source::Each(&Source::Text(0), &each);
            search.follow(&Reading { depth: 1, lines: true, ..Reading::of(&bytes, source) });
        }
    }
}

/// Looks at what the dumps in a text may hold.
pub(super) fn search(search: &mut Search<'_>, lines: &[Range<usize>]) {
    let text = search.text;
    let mut dumps: [Dump; FORMS.len()] = Default::default();
    for line in lines {
        // most lines: in no form a dump
        let Some(start) = start(text, line) else {
            for dump in &mut dumps {
                dump.finish(search);
            }
            continue;
        };
        for (form, dump) in FORMS.into_iter().zip(&mut dumps) {
            if read(&Words { text, at: start, end: line.end }, form, dump) < 2 {
                dump.finish(search);
            }
        }
    }
    for dump in &mut dumps {
        dump.finish(search);
    }
}

/// Where the bytes of a line begin that may be one of a dump: at its first word, or behind an offset.
fn start(text: &[u8], line: &Range<usize>) -> Option<usize> {
    let bytes = text.get(line.clone())?;
    let begin = bytes.iter().position(|byte| !is_blank(*byte))?;
    // told from how it begins, without looking for its end
    if let Some([first, second, ..]) = bytes.get(begin..)
        && !(first.is_ascii_hexdigit() || *first == b'\\' || is_blank(*second))
    {
        return None;
    }
    let mut words = Words { text, at: line.start + begin, end: line.end };
    let mut word = words.next()?;
    if is_offset(text.get(word.clone())?) {
        word = words.next()?;
    }
    may_stand_for_bytes(text.get(word.clone())?).then_some(word.start)
}

/// What stands between the words of a line.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b',' | b':' | b'-')
}

fn is_offset(word: &[u8]) -> bool {
    word.len() >= 7 && word.iter().all(u8::is_ascii_hexdigit)
}

/// Whether a word may be bytes in some form: all of it digits, or one character or what is written for one.
fn may_stand_for_bytes(word: &[u8]) -> bool {
    let digits = word.strip_prefix(b"0x").unwrap_or(word);
    word.len() == 1 || word.first() == Some(&b'\\') || digits.iter().all(u8::is_ascii_hexdigit)
}

/// The words of a line that are left.
#[derive(Clone, Debug)]
struct Words<'t> {
    text: &'t [u8],
    at: usize,
    end: usize,
}

impl Iterator for Words<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let rest = self.text.get(self.at..self.end)?;
        let start = self.at + rest.iter().position(|byte| !is_blank(*byte))?;
        let rest = self.text.get(start..self.end)?;
        self.at = rest.iter().position(|byte| is_blank(*byte)).map_or(self.end, |length| start + length);
        Some(start..self.at)
    }
}

/// Reads words as bytes, up to the first that is none; how many they are.
fn read(words: &Words<'_>, form: Form, dump: &mut Dump) -> usize {
    let before = dump.bytes.len();
    for range in words.clone() {
        let word = words.text.get(range.clone()).unwrap_or_default();
        if bytes(word, form, &mut dump.bytes).is_none() {
            break;
        }
        dump.each.resize(dump.bytes.len(), range);
    }
    dump.bytes.len() - before
}

/// Appends what a word stands for in this form.
fn bytes(word: &[u8], form: Form, out: &mut Vec<u8>) -> Option<()> {
    match form {
        Form::Hex => {
            let word = word.strip_prefix(b"0x").unwrap_or(word);
            if !matches!(word.len(), 2 | 4 | 8 | 16 | 32) || !word.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            for pair in word.chunks_exact(2) {
                out.push(u8::try_from(number(pair, 16)?).ok()?);
            }
        }
        Form::HexWords if word.len() == 4 => out.extend(swapped(number(word, 16)?)),
        Form::OctalWords if word.len() == 6 => out.extend(swapped(number(word, 8)?)),
        Form::Octal if word.len() == 3 => out.push(u8::try_from(number(word, 8)?).ok()?),
        Form::Decimal if word.len() <= 3 => out.push(u8::try_from(number(word, 10)?).ok()?),
        Form::Binary if word.len() == 8 => out.push(u8::try_from(number(word, 2)?).ok()?),
        Form::Characters => match word {
            [byte] => out.push(*byte),
            [b'\\', _] => out.push(b' '),
            [_, _, _] if number(word, 8).is_some() => out.push(b' '),
            _ => return None,
        },
        Form::HexWords | Form::OctalWords | Form::Octal | Form::Decimal | Form::Binary => return None,
    }
    Some(())
}

/// The number that all of `word` is, of few digits.
fn number(word: &[u8], radix: u32) -> Option<u32> {
    let digit = |sum: u32, byte: &u8| Some(sum * radix + char::from(*byte).to_digit(radix)?);
    word.iter().try_fold(0, digit)
}

fn swapped(word: u32) -> [u8; 2] {
    let [.., high, low] = word.to_be_bytes();
    [low, high]
}
