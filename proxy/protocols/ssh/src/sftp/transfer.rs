//! What went through an open file.

use super::armour::{self, Seen};
use super::window::{Given, Window};
use super::{Content, Item};
use crate::mask::something_in;
use proxy_core::mask::Masker;
use sha2::{Digest as _, Sha256};

/// A file that was read or written.
#[derive(Debug)]
pub struct Transfer {
    /// Its path.
    pub path: String,
    /// [`Operation::opening`](super::Operation::opening) of what opened it.
    pub opening: u64,
    /// What was read of it.
    pub read: Flow,
    /// What was written to it.
    pub written: Flow,
    /// Name of what the policy hides in it, and which therefore was not read.
    pub withheld: Option<String>,
    /// The server's first status about it that was no success, or else that of its closing.
    pub status: Option<u32>,
    /// Where the last part ends that the client asked for.
    pub(super) asked: u64,
    seen: Seen,
}

/// What becomes of data.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Looked<'a> {
    /// The client gets this.
    Given(&'a [u8]),
    /// The file ends before what the client reads.
    End,
    /// The client does not get it: name of what is in the file.
    Withheld(String),
}

impl Transfer {
    /// Of a file that has just been opened.
    pub(super) fn of(path: String, opening: u64) -> Self {
        let (read, written) = (Flow::default(), Flow::default());
        Self { path, opening, read, written, withheld: None, status: None, asked: 0, seen: Seen::default() }
    }

    /// What is about to be read of it, where it is told of.
    pub(super) fn reads(&self, data: &[u8]) -> Item {
        let Self { opening, read: Flow { at: offset, .. }, .. } = *self;
        Item::Content(Content { opening, written: false, offset, data: data.to_vec() })
    }

    /// What is about to be written to it, where it is told of.
    pub(super) fn writes(&self, data: &[u8]) -> Item {
        let Self { opening, written: Flow { at: offset, .. }, .. } = *self;
        Item::Content(Content { opening, written: true, offset, data: data.to_vec() })
    }

    /// The server has answered a request on it with this status.
    pub(super) fn answered(&mut self, status: u32) {
        if status != 0 {
            self.status.get_or_insert(status);
        }
    }

    /// The server has closed it, with this status.
    pub(super) fn closed(&mut self, status: u32) {
        self.status.get_or_insert(status);
    }

    /// Looks at the data of a window. From the first piece with something that must be hidden on, nothing more of the
    /// file is given out: in place of a value of another length, all that follows would stand elsewhere.
    pub(super) fn look<'a>(&mut self, masker: &Masker, window: &Window, text: &'a [u8]) -> Looked<'a> {
        if let Some(name) = &self.withheld {
            return Looked::Withheld(name.clone());
        }
        let Some(given) = window.given(text) else { return Looked::End };
        if let Some(name) = self.found(masker, window, &given) {
            self.withheld = Some(name.clone());
            return Looked::Withheld(name);
        }
        let data = text.get(given.from..given.to).unwrap_or_default();
        self.read.add(data);
        Looked::Given(data)
    }
}

impl Transfer {
    /// Name of what must be hidden in what the client gets. If there is none, it is remembered how far that is known.
    fn found(&mut self, masker: &Masker, window: &Window, given: &Given<'_>) -> Option<String> {
        let Given { text, from, to } = *given;
        let known = self.seen.reaches(window.start());
        if !known && armour::may_be_inside(text.get(..from).unwrap_or_default()) {
            return Some(ARMOUR.to_owned());
        }
        let all_clean = something_in(masker, text, 0..text.len()).is_none();
        if !all_clean && let Some(name) = something_in(masker, text, from..to) {
            return Some(name);
        }
        let start = if known && all_clean { window.start() } else { window.offset };
        // where a value may begin that is cut at the end of what was looked at, what the client gets is what is known
        let end = if all_clean && armour::ends_plainly(text) { text.len() } else { to };
        let length = u64::try_from(end.saturating_sub(from)).unwrap_or_default();
        self.seen.add(start..window.offset.saturating_add(length));
        None
    }
}

/// Name of what may be the middle of something whose beginning cannot be seen.
const ARMOUR: &str = "armour";

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
