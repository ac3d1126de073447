//! Runs of letters: alone, over several lines, or cut into short words; and what they may mean.

use super::source::Source;
use super::{DEPTH_MAX, RUN_MIN, Reading, Search, is_text};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::ops::Range;

/// Longest run that is turned around or shifted, in bytes.
const TURN_MAX: usize = 512;

/// Longest line that counts as a piece of a value, in bytes.
const PIECE_MAX: usize = 12;

/// Longest word of a row that counts as a piece of a value, in bytes.
const WORD_MAX: usize = 4;

/// Fewest words of a row.
const WORDS_MIN: usize = 6;

const RUN: u8 = 1;
const WORD: u8 = 2;

/// What each byte can be part of.
const KINDS: [u8; 256] = kinds();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn kinds() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        kinds[byte as usize] = match byte {
            b'+' | b'/' | b'=' | b'_' => RUN | WORD,
            b'-' => RUN,
            _ if byte.is_ascii_alphanumeric() => RUN | WORD,
            _ => 0,
        };
        byte += 1;
    }
    kinds
}

fn is(kind: u8, byte: u8) -> bool {
    KINDS.get(usize::from(byte)).is_some_and(|kinds| kinds & kind != 0)
}

/// Looks at all runs of a text.
pub(super) fn search(search: &mut Search<'_>, lines: &[Range<usize>]) {
    let text = search.text;
    for range in runs(text) {
        let bytes = text.get(range.clone()).unwrap_or_default();
        form(search, &Reading::of(bytes, Source::Text(range.start)));
    }
    let whole = |line: &Range<usize>| {
        text.get(line.clone()).is_some_and(|line| !line.is_empty() && line.iter().all(|byte| is(RUN, *byte)))
    };
    for group in lines.split(|line| !whole(line)).filter(|group| group.len() > 1) {
        join(search, group);
    }
    for line in lines {
        if !has_row(text.get(line.clone()).unwrap_or_default()) {
            continue;
        }
        let words = words(text, line);
        for row in words.split(|word| word.len() > WORD_MAX).filter(|row| row.len() >= WORDS_MIN) {
            join(search, row);
        }
    }
}

/// Runs of at least [`RUN_MIN`] letters. Of shorter ones only every sixteenth byte and what is behind it is read.
fn runs(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let window = text.get(at..at + RUN_MIN)?;
            if let Some(last) = window.iter().rposition(|byte| !is(RUN, *byte)) {
                at += last + 1;
                continue;
            }
            let rest = text.get(at + RUN_MIN..)?;
            let more = rest.iter().position(|byte| !is(RUN, *byte)).unwrap_or(rest.len());
            let run = at..at + RUN_MIN + more;
            at = run.end;
            return Some(run);
        }
    })
}

/// Whether enough short words stand in a row. Every line is asked, so it is done for 64 bytes at once: a bit for each
/// that can be part of a word.
fn has_row(line: &[u8]) -> bool {
    let (mut length, mut row) = (0, 0);
    for chunk in line.chunks(64) {
        let mut words = chunk.iter().rev().fold(0_u64, |bits, byte| bits << 1 | u64::from(is(WORD, *byte)));
        let mut left = chunk.len();
        while left > 0 {
            let letters = left.min(words.trailing_ones() as usize);
            length += letters;
            left -= letters;
            if left == 0 {
                break;
            }
            words = words.checked_shr(letters.try_into().unwrap_or(u32::MAX)).unwrap_or_default();
            if length > 0 {
                row = if length <= WORD_MAX { row + 1 } else { 0 };
                length = 0;
                if row >= WORDS_MIN {
                    return true;
                }
            }
            let others = left.min(words.trailing_zeros() as usize);
            left -= others;
            words = words.checked_shr(others.try_into().unwrap_or(u32::MAX)).unwrap_or_default();
        }
    }
    row + usize::from(length > 0 && length <= WORD_MAX) >= WORDS_MIN
}

fn words(text: &[u8], line: &Range<usize>) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, byte) in text.iter().enumerate().take(line.end).skip(line.start) {
        match (is(WORD, *byte), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push(from..at);
                start = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    words.extend(start.map(|from| from..line.end));
    words
}

/// Looks at parts of the text put together.
fn join(search: &mut Search<'_>, parts: &[Range<usize>]) {
    let length = parts.iter().map(Range::len).sum();
    if length < RUN_MIN {
        return;
    }
    let (mut bytes, mut pieces) = (Vec::with_capacity(length), Vec::with_capacity(parts.len()));
    for part in parts {
        pieces.push((bytes.len(), part.start));
        bytes.extend_from_slice(search.text.get(part.clone()).unwrap_or_default());
    }
    let open = parts.iter().all(|part| part.len() <= PIECE_MAX);
    let joined = Reading { loose: true, open, ..Reading::of(&bytes, Source::Pieces(&pieces)) };
    search.look(&joined);
    forms(search, &joined);
    if open && length > TURN_MAX {
        let turned: Vec<u8> = bytes.iter().rev().copied().collect();
        let source = Source::Backwards(&joined.source, length);
        search.look(&Reading { bytes: &turned, source, ..joined });
    }
}

/// Looks at what the runs of a reading may mean.
pub(super) fn forms(search: &mut Search<'_>, reading: &Reading<'_>) {
    for range in runs(reading.bytes) {
        form(search, &reading.part(&range));
    }
}

/// Looks at what a run may mean.
fn form(search: &mut Search<'_>, run: &Reading<'_>) {
    // words of a language, names of files
    let telling = run.bytes.iter().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    if telling && run.bytes.len() <= TURN_MAX && run.depth < DEPTH_MAX {
        turn(search, run);
    }
    base64(search, run);
    base32(search, run);
    hex(search, run);
}

/// Looks at a run backwards, shifted, and in capitals.
fn turn(search: &mut Search<'_>, run: &Reading<'_>) {
    let run = Reading { depth: DEPTH_MAX, loose: true, ..*run };
    let bytes: Vec<u8> = run.bytes.iter().rev().copied().collect();
    let source = Source::Backwards(&run.source, bytes.len());
    let turned = Reading { bytes: &bytes, source, ..run };
    search.look(&turned);
    base64(search, &turned);
    let shift = |byte: u8, first: u8| (byte - first + 13) % 26 + first;
    changed(search, &run, |byte| match byte {
        b'a'..=b'z' => shift(byte, b'a'),
        b'A'..=b'Z' => shift(byte, b'A'),
        byte => byte,
    });
    let small = run.bytes.iter().any(u8::is_ascii_lowercase);
    if small && !run.bytes.iter().any(u8::is_ascii_uppercase) {
        changed(search, &run, |byte| byte.to_ascii_uppercase());
        changed(search, &turned, |byte| byte.to_ascii_uppercase());
    }
}

fn changed(search: &mut Search<'_>, run: &Reading<'_>, change: impl Fn(u8) -> u8) {
    let bytes: Vec<u8> = run.bytes.iter().map(|byte| change(*byte)).collect();
    search.look(&Reading { bytes: &bytes, ..*run });
}

fn base64(search: &mut Search<'_>, run: &Reading<'_>) {
    let mut at = 0;
    for letters in run.bytes.split(|byte| *byte == b'=') {
        let first = at;
        at += letters.len() + 1;
        if letters.len() >= RUN_MIN {
            base64_letters(search, &run.part(&(first..first + letters.len())));
        }
    }
}

fn base64_letters(search: &mut Search<'_>, run: &Reading<'_>) {
    let url = run.bytes.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let engine = if url { &URL_SAFE_NO_PAD } else { &STANDARD_NO_PAD };
    for offset in 0..4 {
        let letters = run.bytes.get(offset..).unwrap_or_default();
        if !may_say_text(letters) {
            continue;
        }
        let whole = letters.get(..letters.len() - usize::from(letters.len() % 4 == 1)).unwrap_or_default();
        // cut off anywhere, the last letter may hold bits of what is missing
        let aligned = whole.get(..whole.len() - whole.len() % 4).unwrap_or_default();
        let Ok(bytes) = engine.decode(whole).or_else(|_error| engine.decode(aligned)) else { continue };
        if is_text(&bytes) {
            search.follow(&run.digits(&bytes, offset, 6));
        }
    }
}

/// Whether letters of base64 may stand for a text, of which at most a tenth is not ASCII: the first of each four then
/// stands for less than 32.
fn may_say_text(letters: &[u8]) -> bool {
    let small = |group: &&[u8]| matches!(group.first(), Some(b'A'..=b'Z' | b'a'..=b'f'));
    let groups = letters.len().div_ceil(4);
    let others = groups - letters.chunks(4).filter(small).count();
    others * 10 <= groups * 3
}

fn base32(search: &mut Search<'_>, run: &Reading<'_>) {
    let end = run.bytes.iter().position(|byte| *byte == b'=').unwrap_or(run.bytes.len());
    let letters = run.bytes.get(..end).unwrap_or_default();
    if !letters.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7')) {
        return;
    }
    let (mut bits, mut count) = (0_u32, 0);
    let mut bytes = Vec::with_capacity(letters.len() * 5 / 8);
    for letter in letters {
        let digit = if letter.is_ascii_digit() { letter - b'2' + 26 } else { letter - b'A' };
        bits = (bits << 5 | u32::from(digit)) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap_or_default());
        }
    }
    if is_text(&bytes) {
        search.follow(&run.digits(&bytes, 0, 5));
    }
}

/// Pairs of hexadecimal digits.
fn hex(search: &mut Search<'_>, run: &Reading<'_>) {
    if !run.bytes.iter().all(u8::is_ascii_hexdigit) {
        return;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for offset in 0..2 {
        let pairs = run.bytes.get(offset..).unwrap_or_default().chunks_exact(2);
        let value = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let bytes: Vec<u8> = pairs.filter_map(value).collect();
        if is_text(&bytes) {
            search.follow(&run.digits(&bytes, offset, 4));
        }
    }
}
