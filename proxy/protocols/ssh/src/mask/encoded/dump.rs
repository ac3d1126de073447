//! Dumps: lines of an offset and then bytes as numbers, as `xxd`, `hexdump` and `od` write them.

use super::Candidate;
use super::runs::lines;
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

/// Adds what the dumps in a text may hold.
pub(super) fn collect(text: &[u8], out: &mut Vec<Candidate>) {
    let lines = lines(text);
    let words: Vec<Vec<Range<usize>>> = lines.iter().map(|line| words(text, line)).collect();
    for form in FORMS {
        let mut dump = Candidate { depth: 1, lines: true, ..Candidate::default() };
        for words in &words {
            let before = dump.bytes.len();
            read(text, words, form, &mut dump);
            if dump.bytes.len() < before + 2 {
                finish(&mut dump, out);
            }
        }
        finish(&mut dump, out);
    }
}

fn finish(dump: &mut Candidate, out: &mut Vec<Candidate>) {
    let done = std::mem::replace(dump, Candidate { depth: 1, lines: true, ..Candidate::default() });
    if done.is_text() {
        out.push(done);
    }
}

fn words(text: &[u8], line: &Range<usize>) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for at in line.clone() {
        let blank = text.get(at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b',' | b':' | b'-'));
        match (blank, start) {
            (false, None) => start = Some(at),
            (true, Some(from)) => {
                words.push(from..at);
                start = None;
            }
            _ => {}
        }
    }
    words.extend(start.map(|from| from..line.end));
    words
}

/// Reads the words of a line as bytes, its offset left out, up to the first that is none.
fn read(text: &[u8], words: &[Range<usize>], form: Form, dump: &mut Candidate) {
    let word = |range: &Range<usize>| {
        text.get(range.clone()).and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default()
    };
    let is_offset = |word: &str| word.len() >= 7 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let skip = usize::from(words.first().is_some_and(|first| is_offset(word(first))));
    for range in words.iter().skip(skip) {
        let Some(bytes) = bytes(word(range), form) else { return };
        for byte in bytes {
            dump.push(byte, (range.start, range.end));
        }
    }
}

fn bytes(word: &str, form: Form) -> Option<Vec<u8>> {
    let digits = |radix: u32| word.chars().all(|c| c.is_digit(radix));
    let number = |text: &str, radix| u32::from_str_radix(text, radix).ok();
    match form {
        Form::Hex => {
            let word = word.strip_prefix("0x").unwrap_or(word);
            if !matches!(word.len(), 2 | 4 | 8 | 16 | 32)
                || !word.bytes().all(|byte| byte.is_ascii_hexdigit())
            {
                return None;
            }
            (0..word.len() / 2).map(|at| u8::from_str_radix(word.get(at * 2..at * 2 + 2)?, 16).ok()).collect()
        }
        Form::HexWords => (word.len() == 4).then(|| number(word, 16)).flatten().map(swapped),
        Form::Octal => (word.len() == 3 && digits(8))
            .then(|| number(word, 8))
            .flatten()
            .and_then(|value| Some(vec![u8::try_from(value).ok()?])),
        Form::OctalWords => (word.len() == 6 && digits(8)).then(|| number(word, 8)).flatten().map(swapped),
        Form::Decimal => (word.len() <= 3 && digits(10))
            .then(|| number(word, 10))
            .flatten()
            .and_then(|value| Some(vec![u8::try_from(value).ok()?])),
        Form::Binary => (word.len() == 8 && digits(2))
            .then(|| number(word, 2))
            .flatten()
            .and_then(|value| Some(vec![u8::try_from(value).ok()?])),
        Form::Characters => match word.as_bytes() {
            [byte] => Some(vec![*byte]),
            [b'\\', _] => Some(vec![b' ']),
            _ if word.len() == 3 && digits(8) => Some(vec![b' ']),
            _ => None,
        },
    }
}

fn swapped(word: u32) -> Vec<u8> {
    let [.., high, low] = word.to_be_bytes();
    vec![low, high]
}
