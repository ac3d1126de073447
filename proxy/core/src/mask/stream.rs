//! Masking of a stream whose pieces end anywhere: COPY data, terminals.
//!
//! A line is released when it has ended; of a line that does not end, all but what a finding could still reach. A
//! private key is held until its end, and hidden without end if it is longer than any key. What comes out depends on
//! the bytes alone, not on how they were cut.

use super::finding::Finding;
use super::{MaskCounts, Masker, kinds, pem, secrets};

/// Longest piece of a line looked at at once, in bytes.
const LINE_LIMIT: usize = 64 * 1024;

/// What is remembered of a long line's released part, in bytes.
const CONTEXT: usize = 512;

/// Name of what is hidden because it is longer than a line may be.
pub(super) const LONG: &str = "long-secret";

/// Bytes behind `-----BEGIN` after which a key without end is decided upon.
const KEY_LIMIT: usize = pem::REACH + 256;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Lines,
    /// Inside a private key longer than any: nothing is released before its end line.
    Key,
    /// Inside something hidden that is longer than [`LINE_LIMIT`]: nothing is released before the line's end.
    Line,
}

/// Hides findings in a stream. Holds back at most 80 KiB.
#[derive(Debug)]
pub struct StreamMasker {
    masker: Masker,
    counts: MaskCounts,
    /// Released bytes of the same line, then bytes not yet released.
    held: Vec<u8>,
    /// How many bytes of `held` are released.
    released: usize,
    /// Where in `held` a private key starts whose end has not come.
    key: Option<usize>,
    /// Up to where in `held` keys have been looked for.
    looked: usize,
    state: State,
    /// What ends a line.
    ends: &'static [u8],
}

/// What a terminal sends for Enter (`\r`), for `\n` that is pasted, and for the keys that have what was typed so far
/// read as well: `^D`, and `^O` of readline.
const TYPED: &[u8] = b"\r\n\x04\x0f";

impl StreamMasker {
    /// A stream masked by the detectors of `masker`.
    pub fn new(masker: Masker) -> Self {
        Self {
            masker,
            counts: MaskCounts::default(),
            held: Vec::new(),
            released: 0,
            key: None,
            looked: 0,
            state: State::Lines,
            ends: b"\n",
        }
    }

    /// What is typed at a terminal, masked by the detectors of `masker`: there Enter ends a line.
    pub fn of_terminal(masker: Masker) -> Self {
        Self { ends: TYPED, ..Self::new(masker) }
    }

    /// What was masked so far.
    pub fn counts(&self) -> &MaskCounts {
        &self.counts
    }

    /// Takes the next bytes and appends to `out` what can be released.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.masker.has_detectors() {
            out.extend_from_slice(bytes);
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = LINE_LIMIT.saturating_sub(self.held.len() - self.released).max(1);
            let near = rest.get(..room).unwrap_or(rest);
            let length = near.iter().position(|b| self.ends.contains(b)).map_or(near.len(), |at| at + 1);
            let (piece, after) = rest.split_at(length);
            rest = after;
            self.held.extend_from_slice(piece);
            self.settle(out);
        }
    }

    /// Whether bytes are held back.
    pub fn holds(&self) -> bool {
        self.held.len() > self.released
    }

    /// Nothing has come for a while: releases a line that has not ended, a prompt most likely. What looks like
    /// the beginning of a private key, or belongs to something hidden, stays. A finding that is cut at this moment is not found.
    pub fn quiet(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Lines && self.holds() && !self.waits_for_key() {
            self.release(self.held.len(), out);
            self.forget();
        }
    }

    /// The stream has ended: releases the rest.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Lines {
            self.release(self.held.len(), out);
        }
        self.forget();
        self.state = State::Lines;
    }

    fn settle(&mut self, out: &mut Vec<u8>) {
        let end = self.held.last().copied().filter(|last| self.ends.contains(last));
        match self.state {
            State::Lines if end.is_some() => self.line(out),
            State::Lines if self.held.len() - self.released >= LINE_LIMIT => self.part(out),
            State::Lines => {}
            State::Key => self.hidden_key(),
            State::Line => {
                if let Some(end) = end {
                    out.push(end);
                    self.state = State::Lines;
                }
                self.forget();
            }
        }
    }

    fn forget(&mut self) {
        self.held.clear();
        self.released = 0;
        self.key = None;
        self.looked = 0;
    }

    /// A line has ended.
    fn line(&mut self, out: &mut Vec<u8>) {
        self.look();
        while let Some(begin) = self.key {
            if self.held.len() - begin < KEY_LIMIT {
                if self.held.len() - self.released >= LINE_LIMIT {
                    self.part(out);
                }
                return;
            }
            // its end is too far: it is no key, or longer than any
            let found = pem::key(&self.held, begin).map_or(begin + 1, |(_, end)| end);
            if found == self.held.len() {
                self.release(found, out);
                self.forget();
                self.state = State::Key;
                return;
            }
            (self.key, self.looked) = (None, found);
            self.look();
            if let Some(next) = self.key {
                self.release_before(next, out);
            }
        }
        self.release(self.held.len(), out);
        self.forget();
    }

    /// Looks for private keys, and for their ends, in what has come. Whatever stands between, a key is one: each line may
    /// have the time before it.
    fn look(&mut self) {
        loop {
            let from = self.looked.max(self.released);
            let rest = self.held.get(from..).unwrap_or_default();
            let passed = if self.key.is_some() {
                let Some(end) = pem::footer(rest) else { break };
                self.key = None;
                end
            } else {
                let Some((at, length)) = pem::first_header(rest) else { break };
                self.key = Some(from + at);
                at + length
            };
            self.looked = from + passed;
        }
        self.looked = self.held.len();
    }

    /// Whether the held bytes may be the beginning of a private key, with what there is of the last line.
    fn waits_for_key(&self) -> bool {
        let begin = self.key.or_else(|| {
            let rest = self.held.get(self.looked.max(self.released)..)?;
            pem::first_header(rest).map(|(at, _)| self.looked.max(self.released) + at)
        });
        let Some(rest) = begin.and_then(|begin| self.held.get(begin..)) else { return false };
        let body = pem::header(rest).and_then(|header| rest.get(header..)).unwrap_or_default();
        pem::footer(body).is_none() && pem::goes_on(body)
    }

    /// Releases the lines before the one that `at` is in.
    fn release_before(&mut self, at: usize, out: &mut Vec<u8>) {
        let before = self.held.get(..at).unwrap_or_default();
        let Some(cut) = before.iter().rposition(|b| self.ends.contains(b)).map(|end| end + 1) else { return };
        if cut <= self.released {
            return;
        }
        let rest = self.held.split_off(cut);
        self.release(cut, out);
        self.held = rest;
        self.released = 0;
        self.key = Some(at - cut);
        self.looked = self.held.len();
    }

    /// A line is too long to wait for its end.
    fn part(&mut self, out: &mut Vec<u8>) {
        let mut cut = self.held.len() - secrets::REACH - CONTEXT;
        for finding in self.masker.engine.findings(&self.held) {
            if finding.start < cut && cut < finding.end {
                cut = finding.start.max(self.released);
            }
        }
        if cut <= self.released {
            // a finding of that length is not worth telling from its neighbours
            out.extend_from_slice(&kinds::redacted(LONG));
            self.counts.add(LONG);
            self.forget();
            self.state = State::Line;
            return;
        }
        self.release(cut, out);
        let keep = cut.saturating_sub(CONTEXT);
        self.held.drain(..keep);
        self.released = cut - keep;
        self.key = self.key.and_then(|key| key.checked_sub(keep));
        self.looked = self.looked.saturating_sub(keep);
    }

    /// Masks and releases what is held up to `until`, which no finding crosses.
    fn release(&mut self, until: usize, out: &mut Vec<u8>) {
        if self.released == 0 && until == self.held.len() {
            out.extend_from_slice(&self.masker.text(&self.held, &mut self.counts));
            return;
        }
        let from = self.released;
        let findings: Vec<_> = self
            .masker
            .engine
            .findings(&self.held)
            .into_iter()
            .filter(|finding| from < finding.end && finding.start < until)
            .map(|finding| Finding {
                start: finding.start.saturating_sub(from),
                end: finding.end - from,
                ..finding
            })
            .collect();
        let text = self.held.get(from..until).unwrap_or_default();
        self.masker.render(text, &findings, &mut self.counts, out);
    }

    /// Drops what is hidden, up to and with the end line of the key.
    fn hidden_key(&mut self) {
        if let Some(end) = pem::whole_footer(&self.held) {
            self.held.drain(..end);
            self.released = 0;
            self.state = State::Lines;
        } else {
            let keep = self.held.len().saturating_sub(pem::FOOTER);
            self.held.drain(..keep);
        }
    }
}
