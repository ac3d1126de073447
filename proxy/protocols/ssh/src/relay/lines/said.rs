//! What a command of a shell says, on either of its streams, and where it ends.

use crate::mask::OutputMasker;
use proxy_audit::stream::Channel;
use proxy_core::mask::{MaskCounts, Masker};

/// Output and errors, each masked by itself.
pub(super) struct Streams {
    out: OutputMasker,
    err: OutputMasker,
}

impl Streams {
    pub(super) fn new(masker: &Masker) -> Self {
        Self { out: OutputMasker::new(masker.clone()), err: OutputMasker::new(masker.clone()) }
    }

    /// Something comes: gives what may be shown of it.
    pub(super) fn push(&mut self, channel: Channel, data: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(data.len());
        self.stream(channel).push(data, &mut shown);
        shown
    }

    /// Something is held back.
    pub(super) fn holds(&self) -> bool {
        self.out.holds() || self.err.holds()
    }

    /// Nothing came for a while: gives what is held back.
    pub(super) fn quiet(&mut self, channel: Channel) -> Vec<u8> {
        let mut shown = Vec::new();
        self.stream(channel).quiet(&mut shown);
        shown
    }

    /// Nothing more comes: gives what is left.
    pub(super) fn rest(&mut self, channel: Channel) -> Vec<u8> {
        let mut shown = Vec::new();
        self.stream(channel).finish(&mut shown);
        shown
    }

    fn stream(&mut self, channel: Channel) -> &mut OutputMasker {
        if channel == Channel::STDERR { &mut self.err } else { &mut self.out }
    }

    /// What was masked.
    pub(super) fn counts(&self) -> MaskCounts {
        let mut counts = self.out.counts().clone();
        add(&mut counts, self.err.counts());
        counts
    }
}

/// Adds up what was masked.
pub(super) fn add(counts: &mut MaskCounts, more: &MaskCounts) {
    for (name, count) in &more.0 {
        *counts.0.entry(name.clone()).or_default() += count;
    }
}

/// What is said while one command runs.
pub(super) struct Said {
    pub(super) streams: Streams,
    /// May be the beginning of the word.
    pending: Vec<u8>,
    word: Vec<u8>,
    /// The command's, once the shell has said the word.
    pub(super) status: Option<u32>,
    /// What came behind the word: something that runs on says it.
    pub(super) behind: Vec<u8>,
}

impl Said {
    /// Of a command behind which the shell says this word, and then its status.
    pub(super) fn new(masker: &Masker, word: &[u8]) -> Self {
        Self {
            streams: Streams::new(masker),
            pending: Vec::new(),
            word: word.to_vec(),
            status: None,
            behind: Vec::new(),
        }
    }

    /// Output comes: gives what may be shown of it. What comes behind the word is none of the command's.
    pub(super) fn out(&mut self, data: &[u8]) -> Vec<u8> {
        if self.status.is_some() {
            self.behind.extend_from_slice(data);
            return Vec::new();
        }
        self.pending.extend_from_slice(data);
        let (said, status) = until(&mut self.pending, &self.word);
        self.status = status;
        if status.is_some() {
            self.behind = std::mem::take(&mut self.pending);
        }
        self.streams.push(Channel::STDOUT, &said)
    }

    /// Nothing more comes: gives what is left.
    pub(super) fn rest(&mut self, channel: Channel) -> Vec<u8> {
        let mut shown = Vec::new();
        if channel == Channel::STDOUT {
            shown = self.streams.push(channel, &std::mem::take(&mut self.pending));
        }
        shown.extend(self.streams.rest(channel));
        shown
    }
}

/// Takes from `pending` what is not the word, nor may become it; and the status behind the word, once it is there. What
/// comes behind that stays.
fn until(pending: &mut Vec<u8>, word: &[u8]) -> (Vec<u8>, Option<u32>) {
    if let Some(at) = pending.windows(word.len()).position(|window| window == word) {
        let behind = pending.get(at + word.len()..).unwrap_or_default();
        let Some(end) = behind.iter().position(|byte| *byte == SEPARATOR) else {
            let held = pending.split_off(at);
            return (std::mem::replace(pending, held), None);
        };
        let status = behind.get(..end).and_then(|text| std::str::from_utf8(text).ok()?.trim().parse().ok());
        let after = pending.split_off(at + word.len() + end + 1);
        pending.truncate(at);
        return (std::mem::replace(pending, after), Some(status.unwrap_or(1)));
    }
    let held = (1..word.len())
        .rev()
        .find(|length| word.get(..*length).is_some_and(|start| pending.ends_with(start)));
    let kept = pending.split_off(pending.len() - held.unwrap_or(0));
    (std::mem::replace(pending, kept), None)
}

/// Stands before and behind the word.
const SEPARATOR: u8 = 0x1e;

#[cfg(test)]
mod tests {
    use super::until;

    #[test]
    fn the_word_is_found_however_it_is_cut_and_nothing_else_is_lost() {
        let word = b"\x1eabc";
        let stream = b"out\x1eab not\x1eabc 7\x1elate";
        for cut in 0..=stream.len() {
            let (mut pending, mut said, mut status) = (Vec::new(), Vec::new(), None);
            for part in [&stream[..cut], &stream[cut..]] {
                pending.extend_from_slice(part);
                if status.is_none() {
                    let (more, done) = until(&mut pending, word);
                    said.extend(more);
                    status = done;
                }
            }
            assert_eq!((said.as_slice(), status), (&b"out\x1eab not"[..], Some(7)), "cut at {cut}");
            assert_eq!(pending, b"late", "cut at {cut}");
        }
    }
}
