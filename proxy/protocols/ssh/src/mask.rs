//! Masking of what programs say, over terminals and without.
//!
//! A program's output has no frames: secrets span reads, escape sequences stand between their letters, and a program
//! that is asked to will say them backwards. Bytes are held until what they belong to can be seen: a window of the
//! stream is looked at as a person would see it (`view`), and again in the forms in which it may be encoded
//! (`encoded`). What is found in any of them is hidden where it stands in the stream.
//!
//! A prompt must not freeze: the caller calls [`OutputMasker::quiet`] when nothing came for [`QUIET`], and gets what is
//! held. A value that has only begun by then is hidden from its beginning to its end. What was released stays known as
//! context, so that a value that comes in drips is at least hidden from where it can be told on.
//!
//! Out of reach, and left to the policy of commands: encryption, compression, values spelled by arithmetic, values that
//! two commands say in part, letters that the cursor places out of order.

pub mod encoded;
mod key;
mod view;

use proxy_core::mask::{Found, MaskCounts, Masker};
use std::ops::Range;
use std::time::Duration;
use view::Text;

/// After so long without output the caller releases what is held.
pub const QUIET: Duration = Duration::from_millis(50);

/// So many bytes are looked at together while a program does not pause. [`HOLD`] and [`CONTEXT`] of them are looked at
/// twice.
const CHUNK: usize = 64 * 1024;

/// So many of them stay held for what may follow: longer than any secret in any form but keys.
const HOLD: usize = 4 * 1024;

/// A finding may make it hold so much, in bytes.
const HELD_MAX: usize = 96 * 1024;

/// So many released bytes stay known.
const CONTEXT: usize = 1_024;

/// Longest piece of an escape sequence or character that waits for its end.
const BROKEN_MAX: usize = 64;

/// So many bytes before a pause are looked at for a value that has begun.
const BEGUN_CONTEXT: usize = 160;

/// So many bytes before a pause are looked at for a value that comes in pieces, each on a line.
const LINES_CONTEXT: usize = 480;

/// Longest piece of such a value.
const PIECE_MAX: usize = 8;

/// For so many pauses half a character or an escape sequence waits for its end.
const PAUSES: u8 = 5;

/// Shortest word that may be the beginning of a value.
const BEGUN_MIN: usize = 4;

/// Name of what has begun.
const BEGUN: &str = "begun-secret";

/// What a value that has begun may go on with: values of many rules have one length and no other.
const ENDINGS: [&[u8]; 2] = [
    b"QZ3XW7KD5MPL2RTYVB6NHG4FJCSAEU3KWQ7Z",
    b"q9Zx3Wv7Kd5mPL2rTyVb6nHg4FjCsA8eUo1iQw0RtYpLk7Bn4Xc9Mz2Va6Sd3Gf",
];

/// What follows is hidden, because it began to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hiding {
    Nothing,
    /// Up to the end of the word.
    Word,
    /// Up to the last line of the key.
    Key,
}

/// Hides findings in one stream of a program's output. Holds at most 96 KiB and as much again while it looks.
#[derive(Debug)]
pub struct OutputMasker {
    masker: Masker,
    counts: MaskCounts,
    /// Released bytes as they came, then bytes not yet released.
    held: Vec<u8>,
    released: usize,
    /// With so many bytes not released they are looked at.
    look_at: usize,
    hiding: Hiding,
    /// The last bytes of a key that is hidden.
    tail: Vec<u8>,
    /// In so many bytes lines of a key are looked for, whose end has not come.
    key_left: usize,
    /// Pauses since the last bytes came in which nothing could be released.
    pauses: u8,
}

impl OutputMasker {
    /// A stream masked by the detectors of `masker`.
    pub fn new(masker: Masker) -> Self {
        Self {
            masker,
            counts: MaskCounts::default(),
            held: Vec::new(),
            released: 0,
            look_at: CHUNK,
            hiding: Hiding::Nothing,
            tail: Vec::new(),
            key_left: 0,
            pauses: 0,
        }
    }

    /// What was masked so far.
    pub fn counts(&self) -> &MaskCounts {
        &self.counts
    }

    /// Whether bytes wait for [`OutputMasker::quiet`].
    pub fn holds(&self) -> bool {
        self.held.len() > self.released
    }

    /// Takes the next bytes and appends to `out` what can be released.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.masker.has_detectors() {
            out.extend_from_slice(bytes);
            return;
        }
        self.pauses = 0;
        for piece in bytes.chunks(CHUNK) {
            let piece = self.unhidden(piece);
            self.held.extend_from_slice(piece);
            if self.held.len() - self.released >= self.look_at {
                self.release(self.held.len() - HOLD, out);
                // what could not be released is looked at again only with as much more
                self.look_at = CHUNK.max(self.held.len() - self.released + CHUNK / 2);
            }
        }
    }

    /// Nothing came for [`QUIET`]: releases what is held. Half a character waits for [`PAUSES`] of them: in what is no
    /// text it is all that comes, and the other side waits for it.
    pub fn quiet(&mut self, out: &mut Vec<u8>) {
        let waiting = self.held.get(self.released..).unwrap_or_default();
        let waits = waiting.len();
        let half = if self.pauses < PAUSES { broken(waiting) } else { 0 };
        let whole = self.held.len() - half;
        if whole == self.released {
            self.pauses += u8::from(half > 0);
            return;
        }
        let held = self.held.get(..whole).unwrap_or_default();
        let begun = begun(&self.masker, held)
            .or_else(|| begun_in_lines(&self.masker, held))
            .map(|start| start.max(self.released));
        self.release(begun.unwrap_or(whole), out);
        if self.held.len() - self.released == waits {
            // before what may be half a character stands what may be another half
            self.pauses += 1;
        }
        if let Some(begun) = begun {
            // what has begun is hidden as it is, and whatever more comes of it
            self.counts.add(BEGUN);
            out.extend_from_slice(format!("[MASKED:{BEGUN}]").as_bytes());
            self.released = whole.max(begun);
            self.hiding = Hiding::Word;
        }
    }

    /// The stream has ended: releases the rest.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.holds() {
            self.release(self.held.len(), out);
        }
        self.held.clear();
        (self.released, self.look_at) = (0, CHUNK);
        self.hiding = Hiding::Nothing;
        self.tail.clear();
        self.key_left = 0;
    }

    /// What is left of `bytes` once the end of what is hidden has come.
    fn unhidden<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        match self.hiding {
            Hiding::Nothing => bytes,
            Hiding::Word => {
                let end = bytes.iter().position(|byte| !view::is_value(*byte));
                if end.is_some() {
                    self.hiding = Hiding::Nothing;
                }
                bytes.get(end.unwrap_or(bytes.len())..).unwrap_or_default()
            }
            Hiding::Key => {
                let material = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=-:, \r\n\t".contains(byte);
                let known = self.tail.len();
                self.tail.extend_from_slice(bytes);
                let footer = key::end(&self.tail).map(|end| end.saturating_sub(known));
                let end = footer.or_else(|| bytes.iter().position(|byte| !material(byte)));
                if end.is_some() {
                    self.hiding = Hiding::Nothing;
                    self.tail.clear();
                } else {
                    self.tail.drain(..self.tail.len().saturating_sub(key::TAIL));
                }
                if footer.is_some() {
                    self.key_left = 0;
                    // what comes is no part of the key, whose header may still be context
                    self.held.drain(..self.released);
                    self.released = 0;
                }
                bytes.get(end.unwrap_or(bytes.len())..).unwrap_or_default()
            }
        }
    }

    /// Releases what is held up to about `until`, masked.
    fn release(&mut self, until: usize, out: &mut Vec<u8>) {
        let last = until == self.held.len();
        let mut findings = findings(&self.masker, &self.held);
        if self.key_left > 0 {
            findings.extend(key::lines(&self.held));
            findings = merged(sorted(findings));
        }
        let mut cut = if last { until } else { self.cut(until) };
        for finding in &findings {
            if finding.range.start < cut && cut < finding.range.end {
                let room = self.held.len() - self.released < HELD_MAX;
                cut = if room && finding.range.start > self.released {
                    finding.range.start
                } else {
                    finding.range.end
                };
            }
        }
        let mut done = self.released;
        for finding in &findings {
            if finding.range.end <= done || finding.range.start >= cut {
                continue;
            }
            out.extend_from_slice(self.held.get(done..finding.range.start).unwrap_or_default());
            out.extend_from_slice(&finding.shown);
            self.counts.add(&finding.name);
            done = finding.range.end;
        }
        out.extend_from_slice(self.held.get(done..cut).unwrap_or_default());
        let open =
            findings.last().filter(|finding| finding.range.end == self.held.len() && cut == self.held.len());
        if let Some(finding) = open {
            self.hiding = if finding.name == key::NAME { Hiding::Key } else { Hiding::Nothing };
        }
        self.follow_key(&findings, cut);
        let keep = cut.saturating_sub(CONTEXT);
        self.held.drain(..keep);
        self.released = cut - keep;
    }

    /// Whether lines of a key may come behind `cut`, up to which all is released.
    fn follow_key(&mut self, findings: &[Found], cut: usize) {
        let part = |range: Range<usize>| self.held.get(range).unwrap_or_default();
        let new = |range: &Range<usize>| range.start < cut && range.end > self.released;
        let begun = findings.iter().rfind(|found| {
            found.name == key::NAME && new(&found.range) && key::begins(part(found.range.clone()))
        });
        let (from, left) = if let Some(found) = begun {
            (found.range.start, key::REACH)
        } else {
            let from = self.released.saturating_sub(BROKEN_MAX);
            (from, self.key_left.saturating_sub(cut.saturating_sub(self.released)))
        };
        self.key_left = if key::ends(part(from..cut)) { 0 } else { left };
    }

    /// A place at or before `until` that splits no line, or at least no character.
    fn cut(&self, until: usize) -> usize {
        let waiting = self.held.get(self.released..until).unwrap_or_default();
        let line = waiting.iter().rposition(|byte| *byte == b'\n').map(|at| self.released + at + 1);
        line.unwrap_or_else(|| until - broken(waiting))
    }
}

/// All that must be hidden in a text, as it stands and in any form: disjoint, in order.
fn findings(masker: &Masker, raw: &[u8]) -> Vec<Found> {
    let text = Text::of(raw);
    let mut found = masker.found(text.bytes());
    for finding in &mut found {
        finding.range = text.source(&finding.range);
    }
    for (range, name) in encoded::findings(masker, text.bytes()) {
        if is_noise(text.bytes().get(range.clone()).unwrap_or_default()) {
            continue;
        }
        let shown = format!("[MASKED:{name}]").into_bytes();
        found.push(Found { range: text.source(&range), name, shown });
    }
    if !text.is_raw() {
        // whoever reads bytes has what stands in them, whatever a terminal puts beside it or over it
        found.extend(masker.found(raw));
        found.extend(view::bordered(raw).iter().flat_map(|bytes| masker.found(bytes)));
    }
    merged(sorted(found))
}

fn sorted(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by_key(|finding| (finding.range.start, std::cmp::Reverse(finding.range.end)));
    found
}

/// Where a value begins that the end of `text` may be the beginning of: with one of the endings it would be found.
fn begun(masker: &Masker, text: &[u8]) -> Option<usize> {
    let from = text.len().saturating_sub(BEGUN_CONTEXT);
    let tail = text.get(from..).unwrap_or_default();
    let word = tail.iter().rev().take_while(|byte| view::is_value(**byte)).count();
    if word < BEGUN_MIN {
        return None;
    }
    let mut start: Option<usize> = None;
    for ending in ENDINGS {
        for length in 1..=ending.len() {
            let text = [tail, ending.get(..length).unwrap_or_default()].concat();
            let crosses = |found: &Found| found.range.start < tail.len() && found.range.end > tail.len();
            let found = masker.found(&text).into_iter().find(crosses).map(|found| found.range.start);
            start = match (start, found) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
    }
    start.map(|start| from + start)
}

/// The same where each line at the end of `text` is a piece of a value, and the last may be its beginning's end: letters
/// that come one on a line, with a pause behind each.
fn begun_in_lines(masker: &Masker, text: &[u8]) -> Option<usize> {
    let from = text.len().saturating_sub(LINES_CONTEXT);
    let tail = text.get(from..).unwrap_or_default();
    let (mut joined, mut places, mut end) = (Vec::new(), Vec::new(), tail.len());
    for line in tail.rsplit(|byte| *byte == b'\n') {
        let start = end - line.len();
        let piece = line.strip_suffix(b"\r").unwrap_or(line);
        if piece.len() > PIECE_MAX || !piece.iter().all(|byte| view::is_value(*byte)) {
            break;
        }
        joined.extend(piece.iter().rev());
        places.extend((start..start + piece.len()).rev());
        end = start.saturating_sub(1);
        if start == 0 {
            break;
        }
    }
    joined.reverse();
    let start = begun(masker, &joined)?;
    places.iter().rev().nth(start).map(|place| from + place)
}

/// Name of something that must be hidden in this part of `text`, or begins where the text ends with that part, in any
/// form: for content that keeps its length, and so is given out as it is or not at all.
///
/// In what is no text only values as they stand are looked for: every other form is in enough noise.
pub(crate) fn something_in(masker: &Masker, text: &[u8], part: Range<usize>) -> Option<String> {
    let inside = |found: &Found| found.range.end > part.start && found.range.start < part.end;
    if !is_readable(text) {
        return masker.found(text).into_iter().find(inside).map(|found| found.name);
    }
    let found = findings(masker, text).into_iter().find(inside).map(|found| found.name);
    let open = part.end == text.len();
    found.or_else(|| begun(masker, text).filter(|_| open).map(|_| BEGUN.to_owned()))
}

/// Whether three bytes of four are those of a text: of ASCII in one byte or two, or of UTF-8.
fn is_readable(text: &[u8]) -> bool {
    let readable: usize = text.utf8_chunks().map(|chunk| chunk.valid().len()).sum();
    let controls = text.iter().filter(|byte| matches!(byte, 1..=8 | 11 | 14..=26 | 28..=31 | 127)).count();
    readable.saturating_sub(controls) * 4 >= text.len() * 3
}

/// Whether letters that say something together do so by chance: what stands between them is no text, and is not what
/// anybody puts between letters either. In what is packed or encrypted every form of a value is somewhere, and a stream
/// of `git` or `rsync` with something else in a few of its places is worth nothing.
fn is_noise(part: &[u8]) -> bool {
    let mut others = [false; 256];
    for byte in part.iter().filter(|byte| !matches!(byte, 0 | b'\t' | b'\n' | b'\r' | 0x20..=0x7e)) {
        if let Some(other) = others.get_mut(usize::from(*byte)) {
            *other = true;
        }
    }
    others.iter().filter(|other| **other).count() > SEPARATORS_MAX && !is_readable(part)
}

/// So many different bytes that are no text may stand between the letters of a value that is put together from them.
const SEPARATORS_MAX: usize = 8;

/// Findings that share bytes become one.
fn merged(found: Vec<Found>) -> Vec<Found> {
    let mut merged: Vec<Found> = Vec::new();
    for finding in found {
        match merged.last_mut() {
            Some(last) if finding.range.start < last.range.end => {
                if finding.range.end > last.range.end {
                    // neither of the two shows all of it
                    last.shown = format!("[MASKED:{}]", last.name).into_bytes();
                    last.range.end = finding.range.end;
                }
            }
            _ => merged.push(finding),
        }
    }
    merged
}

/// How many bytes at the end are the beginning of a character or of an escape sequence.
fn broken(bytes: &[u8]) -> usize {
    let near = bytes.len().saturating_sub(BROKEN_MAX);
    let tail = bytes.get(near..).unwrap_or_default();
    if let Some(at) = tail.iter().rposition(|byte| *byte == 0x1b)
        && view::is_unfinished(tail.get(at..).unwrap_or_default())
    {
        return tail.len() - at;
    }
    let lead = tail.iter().rev().take(4).position(|byte| *byte >= 0xc0);
    let Some(behind) = lead else { return 0 };
    let length = match tail.get(tail.len() - 1 - behind) {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        _ => 2,
    };
    let follow = tail.iter().rev().take(behind).all(|byte| matches!(byte, 0x80..=0xbf));
    if follow && behind + 1 < length { behind + 1 } else { 0 }
}

/// A part of a text and the name of what is in it.
type Named = (Range<usize>, String);

#[cfg(test)]
mod tests;
