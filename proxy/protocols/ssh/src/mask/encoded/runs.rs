//! Runs of letters: alone, over several lines, or cut into short words; and what they may mean.

use super::{Candidate, RUN_MIN};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::ops::Range;

/// So many lines or words of a cut-up value are tried as its first.
const STARTS_MAX: usize = 64;

/// Longest run that is turned around or shifted, in bytes.
const TURN_MAX: usize = 512;

/// Longest word that counts as a piece of one.
const PIECE_MAX: usize = 12;

fn is_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte)
}

/// Adds all runs of a text.
pub(super) fn collect(text: &[u8], out: &mut Vec<Candidate>) {
    for range in ranges(text, is_run) {
        if range.len() >= RUN_MIN {
            let candidate = Candidate::of(text, range);
            forms(&candidate, out);
        }
    }
    let lines: Vec<Range<usize>> = lines(text);
    let whole = |line: &Range<usize>| {
        text.get(line.clone()).is_some_and(|line| !line.is_empty() && line.iter().all(|byte| is_run(*byte)))
    };
    for group in groups(&lines, whole) {
        join(text, &group, out);
    }
    for line in lines {
        let Some(bytes) = text.get(line.clone()) else { continue };
        let words: Vec<Range<usize>> =
            ranges(bytes, |byte| byte.is_ascii_alphanumeric() || b"+/=_".contains(&byte))
                .map(|word| line.start + word.start..line.start + word.end)
                .collect();
        for group in groups(&words, |word| word.len() <= 4) {
            if group.len() >= 6 {
                join(text, &group, out);
            }
        }
    }
}

/// Parts of a text that consist of such bytes.
fn ranges(text: &[u8], wanted: impl Fn(u8) -> bool + Copy) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text.get(at..)?.iter().position(|byte| wanted(*byte))?;
        let rest = text.get(start..)?;
        let length = rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len());
        at = start + length;
        Some(start..at)
    })
}

/// Lines without their ends.
pub(super) fn lines(text: &[u8]) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for (at, byte) in text.iter().enumerate() {
        if *byte == b'\n' {
            lines.push(start..at);
            start = at + 1;
        }
    }
    lines.push(start..text.len());
    let trimmed = |line: Range<usize>| {
        let cr = text.get(line.clone()).is_some_and(|line| line.last() == Some(&b'\r'));
        line.start..line.end - usize::from(cr)
    };
    lines.into_iter().map(trimmed).collect()
}

/// Longest rows of parts that are all wanted.
fn groups<'r>(
    parts: &'r [Range<usize>],
    wanted: impl Fn(&Range<usize>) -> bool + 'r,
) -> impl Iterator<Item = Vec<Range<usize>>> + 'r {
    parts.split(move |part| !wanted(part)).filter(|group| group.len() > 1).map(<[_]>::to_vec)
}

/// The parts put together, from each that may be the first on.
fn join(text: &[u8], parts: &[Range<usize>], out: &mut Vec<Candidate>) {
    let short = parts.iter().all(|part| part.len() <= PIECE_MAX);
    let starts = if short { parts.len().min(STARTS_MAX) } else { 1 };
    for first in 0..starts {
        let mut joined = Candidate { loose: true, ..Candidate::default() };
        for part in parts.get(first..).unwrap_or_default() {
            let piece = Candidate::of(text, part.clone());
            joined.bytes.extend(piece.bytes);
            joined.map.extend(piece.map);
        }
        if joined.bytes.len() < RUN_MIN {
            break;
        }
        if first == 0 {
            forms(&joined, out);
            if short {
                // its end may be the beginning of what is said backwards
                ends(&joined, parts, out);
            }
        }
        out.push(joined);
    }
}

fn ends(joined: &Candidate, parts: &[Range<usize>], out: &mut Vec<Candidate>) {
    let mut length = joined.bytes.len();
    for part in parts.iter().rev().take(STARTS_MAX) {
        let cut = Candidate {
            bytes: joined.bytes.get(..length).unwrap_or_default().to_vec(),
            map: joined.map.get(..length).unwrap_or_default().to_vec(),
            ..*joined
        };
        out.push(cut.reversed());
        length = length.saturating_sub(part.len());
    }
}

/// What a run may mean.
pub(super) fn forms(run: &Candidate, out: &mut Vec<Candidate>) {
    for range in ranges(&run.bytes, is_run) {
        if range.len() < RUN_MIN {
            continue;
        }
        let part = Candidate {
            bytes: run.bytes.get(range.clone()).unwrap_or_default().to_vec(),
            map: run.map.get(range).unwrap_or_default().to_vec(),
            ..*run
        };
        // words of a language, names of files
        let telling =
            part.bytes.iter().any(u8::is_ascii_digit) || part.bytes.iter().any(u8::is_ascii_uppercase);
        if telling && part.bytes.len() <= TURN_MAX && part.depth < super::DEPTH_MAX {
            let turned = part.reversed();
            let rot13 = |byte: u8| match byte {
                b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
                b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
                byte => byte,
            };
            out.push(part.mapped(rot13));
            for part in [&part, &turned] {
                if part.bytes.iter().any(u8::is_ascii_lowercase)
                    && !part.bytes.iter().any(u8::is_ascii_uppercase)
                {
                    out.push(part.mapped(|byte| byte.to_ascii_uppercase()));
                }
            }
            base64(&turned, out);
            out.push(turned);
        }
        base64(&part, out);
        base32(&part, out);
        hex(&part, out);
    }
}

fn base64(run: &Candidate, out: &mut Vec<Candidate>) {
    let end = run.bytes.iter().position(|byte| *byte == b'=').unwrap_or(run.bytes.len());
    for offset in 0..4 {
        let Some(letters) = run.bytes.get(offset..end) else { return };
        let whole = letters.get(..letters.len() - usize::from(letters.len() % 4 == 1)).unwrap_or_default();
        let engine = if whole.iter().any(|byte| matches!(byte, b'-' | b'_')) {
            &URL_SAFE_NO_PAD
        } else {
            &STANDARD_NO_PAD
        };
        // cut off anywhere, the last letter may hold bits of what is missing
        let aligned = whole.get(..whole.len() - whole.len() % 4).unwrap_or_default();
        let Ok(bytes) = engine.decode(whole).or_else(|_error| engine.decode(aligned)) else { continue };
        let decoded = run.decoded(bytes.into_iter().enumerate().map(|(at, byte)| {
            let first = offset + at * 4 / 3;
            (byte, first..(first + 2).min(end))
        }));
        if decoded.is_text() {
            out.push(decoded);
        }
    }
}

fn base32(run: &Candidate, out: &mut Vec<Candidate>) {
    let digit = |byte: &u8| match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'2'..=b'7' => Some(u32::from(byte - b'2') + 26),
        _ => None,
    };
    let (mut bits, mut count, mut from) = (0_u32, 0, 0);
    let mut bytes = Vec::new();
    for (at, byte) in run.bytes.iter().enumerate() {
        let Some(digit) = digit(byte) else {
            if *byte == b'=' {
                break;
            }
            return;
        };
        bits = (bits << 5 | digit) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            let byte = u8::try_from(bits >> count & 0xff).unwrap_or_default();
            bytes.push((byte, from..at + 1));
            from = at;
        }
    }
    let decoded = run.decoded(bytes);
    if decoded.is_text() {
        out.push(decoded);
    }
}

/// Pairs of hexadecimal digits.
pub(super) fn hex(run: &Candidate, out: &mut Vec<Candidate>) {
    if !run.bytes.iter().all(u8::is_ascii_hexdigit) {
        return;
    }
    for offset in 0..2 {
        let pairs = run.bytes.get(offset..).unwrap_or_default().chunks_exact(2).enumerate();
        let decoded = run.decoded(pairs.map(|(at, pair)| {
            let value = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
            (value.unwrap_or_default(), offset + at * 2..offset + at * 2 + 2)
        }));
        if decoded.is_text() {
            out.push(decoded);
        }
    }
}
