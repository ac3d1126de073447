//! What went through an open file.

use sha2::{Digest as _, Sha256};

/// A file that was read or written.
#[derive(Debug)]
pub struct Transfer {
    /// Its path.
    pub path: String,
    /// What was read of it.
    pub read: Flow,
    /// What was written to it.
    pub written: Flow,
}

impl Transfer {
    /// Of a file that has just been opened.
    pub(super) fn of(path: String) -> Self {
        Self { path, read: Flow::default(), written: Flow::default() }
    }

    /// Whether anything went through it.
    pub fn moved(&self) -> bool {
        self.read.bytes > 0 || self.written.bytes > 0
    }
}

/// One direction of a transfer.
#[derive(Debug, Default)]
#[expect(unnameable_types, reason = "it is only looked at, as a field of a transfer")]
pub struct Flow {
    /// Bytes that went through, counted again when they went again.
    pub bytes: u64,
    /// Where the next byte belongs.
    at: u64,
    /// Where the digest has got to; it is lost once a byte comes elsewhere.
    reached: u64,
    lost: bool,
    hash: Sha256,
}

impl Flow {
    /// SHA-256 of the content, if it went through from its start in order.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        (!self.lost && self.bytes > 0).then(|| self.hash.clone().finalize().into())
    }

    /// The next bytes belong to `offset`.
    pub(super) const fn seek(&mut self, offset: u64) {
        self.at = offset;
    }

    /// Bytes go through.
    pub(super) fn add(&mut self, data: &[u8]) {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(length);
        if self.at == self.reached && !self.lost {
            self.hash.update(data);
            self.reached = self.reached.saturating_add(length);
        } else {
            self.lost = true;
        }
        self.at = self.at.saturating_add(length);
    }
}
