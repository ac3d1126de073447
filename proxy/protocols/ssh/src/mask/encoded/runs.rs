//! Runs of letters: alone, over several lines, or cut into short words; and what they may mean.

use super::source::Source;
use super::{DEPTH_MAX, Joined, RUN_MIN, Reading, Search, is_text};
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
    let mut row = Vec::new();
    for line in lines {
        rows(text, line, &mut row, |row| join(search, row));
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

/// Tells all rows of enough short words in a line. Every line is asked, so it is done for 64 bytes at once: a bit for each
/// that can be part of a word.
fn rows(
    text: &[u8],
    line: &Range<usize>,
    row: &mut Vec<Range<usize>>,
    mut tell: impl FnMut(&[Range<usize>]),
) {
    row.clear();
    let mut word = |row: &mut Vec<Range<usize>>, word: Range<usize>| {
        if word.len() <= WORD_MAX {
            row.push(word);
            return;
        }
        if row.len() >= WORDS_MIN {
            tell(row);
        }
        row.clear();
    };
    let mut begun = None;
    let bytes = text.get(line.clone()).unwrap_or_default();
    for (chunk, from) in bytes.chunks(64).zip((line.start..).step_by(64)) {
        let letters = letters(chunk);
        // where a word begins, or one has ended
        let mut borders = letters ^ (letters << 1 | u64::from(begun.is_some()));
        while borders != 0 {
            let at = from + borders.trailing_zeros() as usize;
            borders &= borders - 1;
            begun = match begun {
                None => Some(at),
                Some(start) => {
                    word(row, start..at);
                    None
                }
            };
        }
    }
    if let Some(start) = begun {
        word(row, start..line.end);
    }
    // a word that is none: the end of the last row
    word(row, 0..WORD_MAX + 1);
}

/// Which of up to 64 bytes can be part of a word: a bit for each, that of the first the lowest. As [`KINDS`] says, but
/// reckoned, which the processor does for many at once.
fn letters(chunk: &[u8]) -> u64 {
    let mut flags = [0_u8; 64];
    for (flag, byte) in flags.iter_mut().zip(chunk) {
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        // `/` is before the digits
        let digit = byte.wrapping_sub(b'/') < 11;
        let mark = matches!(byte, b'+' | b'=' | b'_');
        *flag = u8::from(letter | digit | mark);
    }
    // the product has the lowest bits of eight bytes beside each other in its highest one
    let gathered = |eight: &[u8]| {
        let eight = eight.try_into().map_or(0, u64::from_le_bytes);
        eight.wrapping_mul(0x0102_0408_1020_4080) >> 56
    };
    flags.chunks_exact(8).rev().fold(0, |bits, eight| bits << 8 | gathered(eight))
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
    let joined = Reading {
        loose: true,
        joined: if open { Joined::Open } else { Joined::Yes },
        ..Reading::of(&bytes, Source::Pieces(&pieces))
    };
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
    for (offset, may) in may_say_text(run.bytes).into_iter().enumerate() {
        let letters = run.bytes.get(offset..).unwrap_or_default();
        if !may {
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

/// Whether letters of base64 may stand for a text, of which at most a tenth is not ASCII, from the first one on, the
/// second, the third, the fourth: the first of each four then stands for less than 32.
fn may_say_text(letters: &[u8]) -> [bool; 4] {
    let mut small = [0; 4];
    // 64 at once, as above; the sum of groups of four bytes is four sums
    for chunk in letters.chunks(64) {
        let mut flags = [0_u8; 64];
        for (flag, letter) in flags.iter_mut().zip(chunk) {
            *flag = u8::from(matches!(letter, b'A'..=b'Z' | b'a'..=b'f'));
        }
        let group = |four: &[u8]| four.try_into().map_or(0, u32::from_le_bytes);
        let sums: u32 = flags.chunks_exact(4).map(group).sum();
        for (small, sum) in small.iter_mut().zip(sums.to_le_bytes()) {
            *small += usize::from(sum);
        }
    }
    let enough = |offset: usize, small: usize| {
        let groups = letters.len().saturating_sub(offset).div_ceil(4);
        (groups - small.min(groups)) * 10 <= groups * 3
    };
    let [first, second, third, fourth] = small;
    [enough(0, first), enough(1, second), enough(2, third), enough(3, fourth)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letters_are_reckoned_as_the_table_says() {
        let all: Vec<u8> = (0..=255).collect();
        for (from, chunk) in all.chunks(64).enumerate() {
            for (at, byte) in chunk.iter().enumerate() {
                assert_eq!(letters(chunk) >> at & 1 == 1, is(WORD, *byte), "{}", from * 64 + at);
            }
        }
        assert_eq!(letters(b"a b"), 0b101);
    }

    /// Rows as they are defined: words of letters, and rows between those that are too long.
    fn expected(text: &[u8]) -> Vec<Vec<Range<usize>>> {
        let mut words: Vec<Range<usize>> = Vec::new();
        for (at, _) in text.iter().enumerate().filter(|(_, byte)| is(WORD, **byte)) {
            match words.last_mut().filter(|word| word.end == at) {
                Some(word) => word.end += 1,
                None => words.push(at..at + 1),
            }
        }
        let rows = words.split(|word| word.len() > WORD_MAX).filter(|row| row.len() >= WORDS_MIN);
        rows.map(<[_]>::to_vec).collect()
    }

    proptest! {
        #[test]
        fn rows_are_those_of_their_definition(text in "[ax/ -]{0,300}|([a-d]{1,5}[ .]{1,3}){0,80}", from in 0_usize..9) {
            let line = from.min(text.len())..text.len();
            let mut rows_of = Vec::new();
            rows(text.as_bytes(), &line, &mut Vec::new(), |row| {
                rows_of.push(row.iter().map(|word| word.start - line.start..word.end - line.start).collect::<Vec<_>>());
            });
            prop_assert_eq!(rows_of, expected(&text.as_bytes()[line]));
        }
    }
}
