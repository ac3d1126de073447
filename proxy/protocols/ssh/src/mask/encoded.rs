//! The forms in which a value can be said without being said: encoded, dumped, cut up, reversed.
//!
//! Each form is read where it can stand (a run of letters, lines of a dump, short words in a row), and what it may mean
//! is looked at as a text of its own. A byte stands in at most one run, one group of lines, one row of words and one
//! dump of each form; each of these has a fixed number of readings, two deep. So the work is bounded by the length of
//! the text, however it is made up. Where a reading's bytes stand is worked out only for what is found in it.

mod dump;
mod escapes;
mod pieces;
mod runs;
mod source;

use super::Named;
use memchr::memchr_iter;
use proxy_core::mask::Masker;
use source::Source;
use std::ops::Range;

/// So deep may encodings be in each other.
const DEPTH_MAX: usize = 2;

/// Shortest run that is looked at: shorter ones hold no secret in any form.
const RUN_MIN: usize = 16;

/// Findings whose shape is too common for texts that are put together from others.
const PERSONAL: &[&str] = &["phone", "ip-address", "credit-card", "us-ssn", "iban", "email", "email-address"];

/// Whether a reading is put together from pieces of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Joined {
    No,
    Yes,
    /// From pieces so short that a value may start at any of them.
    Open,
}

/// What a part of a text may mean.
#[derive(Clone, Copy, Debug)]
struct Reading<'r> {
    bytes: &'r [u8],
    source: Source<'r>,
    depth: usize,
    /// Put together or turned around: what is too common in numbers is not looked for.
    loose: bool,
    joined: Joined,
    /// Hidden with the whole of its lines, which may say it again.
    lines: bool,
}

impl<'r> Reading<'r> {
    /// A reading of bytes as they stand.
    fn of(bytes: &'r [u8], source: Source<'r>) -> Self {
        Self { bytes, source, depth: 0, loose: false, joined: Joined::No, lines: false }
    }

    /// A part of it.
    fn part<'p>(&'p self, range: &Range<usize>) -> Reading<'p> {
        Reading {
            bytes: self.bytes.get(range.clone()).unwrap_or_default(),
            source: Source::Part(&self.source, range.start),
            ..*self
        }
    }

    /// `bytes`, which digits of so many bits of it stand for, from this one on.
    fn digits<'p>(&'p self, bytes: &'p [u8], first: usize, bits: usize) -> Reading<'p> {
        Reading {
            bytes,
            source: Source::Digits(&self.source, first, bits),
            depth: self.depth + 1,
            loose: false,
            joined: Joined::No,
            lines: self.lines,
        }
    }
}

/// Enough of it can be read to be a text.
fn is_text(bytes: &[u8]) -> bool {
    let readable = |byte: &&u8| matches!(**byte, 0x20..=0x7e | b'\n' | b'\r' | b'\t' | 0);
    bytes.len() >= RUN_MIN && bytes.iter().filter(readable).count() * 10 >= bytes.len() * 9
}

/// A look at one text in every form.
struct Search<'s> {
    masker: &'s Masker,
    text: &'s [u8],
    found: Vec<Named>,
}

impl Search<'_> {
    fn look(&mut self, reading: &Reading<'_>) {
        if !reading.bytes.contains(&0) {
            self.look_at(reading);
            return;
        }
        // a value of two bytes a letter
        let kept = reading.bytes.iter().enumerate().filter(|(_, byte)| **byte != 0);
        let (bytes, each): (Vec<u8>, Vec<Range<usize>>) = kept.map(|(at, byte)| (*byte, at..at + 1)).unzip();
        self.look_at(&Reading { bytes: &bytes, source: Source::Each(&reading.source, &each), ..*reading });
    }

    fn look_at(&mut self, reading: &Reading<'_>) {
        let found = match reading.joined {
            Joined::No => self.masker.found(reading.bytes),
            Joined::Yes | Joined::Open => {
                let whole = |range| pieces::whole(self.text, reading, range);
                self.masker.found_in_pieces(reading.bytes, reading.joined == Joined::Open, &whole)
            }
        };
        for finding in found {
            if reading.loose && PERSONAL.contains(&finding.name.as_str()) {
                continue;
            }
            let mut range = reading.source.range(&finding.range);
            if reading.lines {
                range = whole_lines(self.text, range);
            }
            self.found.push((range, finding.name));
        }
    }

    /// Looks at what was decoded, and at what that may mean.
    fn follow(&mut self, reading: &Reading<'_>) {
        self.look(reading);
        if reading.depth < DEPTH_MAX {
            runs::forms(self, reading);
        }
    }
}

/// What is found in any form, where it stands in `text`, and the name of what it is.
pub fn findings(masker: &Masker, text: &[u8]) -> Vec<(Range<usize>, String)> {
    let mut search = Search { masker, text, found: Vec::new() };
    let lines = lines(text);
    runs::search(&mut search, &lines);
    dump::search(&mut search, &lines);
    escapes::search(&mut search);
    search.found
}

/// Lines without their ends.
fn lines(text: &[u8]) -> Vec<Range<usize>> {
    let mut from = 0;
    let ends = memchr_iter(b'\n', text).chain([text.len()]);
    let line = |end: usize| {
        let start = std::mem::replace(&mut from, end + 1);
        let line = text.get(start..end).unwrap_or_default();
        start..end - usize::from(line.last() == Some(&b'\r'))
    };
    ends.map(line).collect()
}

fn whole_lines(text: &[u8], range: Range<usize>) -> Range<usize> {
    let before = text.get(..range.start).unwrap_or_default();
    let behind = text.get(range.end..).unwrap_or_default();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let end = behind.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(behind.len());
    start..range.end + end
}
