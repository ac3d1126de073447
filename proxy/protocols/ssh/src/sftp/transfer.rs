//! What went through an open file.

use proxy_core::mask::Masker;
use sha2::{Digest as _, Sha256};

/// So much of what was read is looked at again with what follows, in bytes: what stands across two packets.
const CONTEXT: usize = 1_024;

/// A file that was read or written.
#[derive(Debug)]
pub struct Transfer {
    /// Its path.
    pub path: String,
    /// What was read of it.
    pub read: Flow,
    /// What was written to it.
    pub written: Flow,
    /// Name of what the policy hides in it, and which therefore was not read.
    pub withheld: Option<String>,
    /// The end of what was read.
    tail: Vec<u8>,
}

impl Transfer {
    /// Of a file that has just been opened.
    pub(super) fn of(path: String) -> Self {
        let (read, written) = (Flow::default(), Flow::default());
        Self { path, read, written, withheld: None, tail: Vec::new() }
    }

    /// Whether anything went through it, or was kept from that.
    pub fn moved(&self) -> bool {
        self.read.bytes > 0 || self.written.bytes > 0 || self.withheld.is_some()
    }

    /// Looks at data that was read at `offset`, with what was read before it. From the first piece with something that
    /// must be hidden on, nothing more of the file is given out: in place of a value of another length, all that
    /// follows would stand elsewhere.
    ///
    /// # Errors
    /// The data must not be given out: the name of what is in the file.
    pub(super) fn look(&mut self, masker: &Masker, offset: u64, data: &[u8]) -> Result<(), String> {
        if let Some(name) = &self.withheld {
            return Err(name.clone());
        }
        if offset != self.read.at {
            self.tail.clear();
        }
        let known = self.tail.len();
        self.tail.extend_from_slice(data);
        if let Some(name) = crate::mask::something_in(masker, &self.tail, known) {
            self.tail.clear();
            self.withheld = Some(name.clone());
            return Err(name);
        }
        self.tail.drain(..self.tail.len().saturating_sub(CONTEXT));
        Ok(())
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
