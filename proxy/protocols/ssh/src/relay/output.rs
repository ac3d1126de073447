//! One stream of a program's output, masked.

use proxy_core::mask::{MaskCounts, Masker, StreamMasker};

/// One stream.
#[derive(Debug)]
pub(super) struct Output {
    masker: StreamMasker,
    held: bool,
}

impl Output {
    pub(super) fn new(masker: Masker, _terminal: bool) -> Self {
        Self { masker: StreamMasker::new(masker), held: false }
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.masker.push(bytes, out);
    }

    pub(super) const fn holds(&self) -> bool {
        self.held
    }

    pub(super) fn quiet(&mut self, _out: &mut Vec<u8>) {}

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.masker.finish(out);
    }

    pub(super) fn counts(&self) -> &MaskCounts {
        self.masker.counts()
    }
}
