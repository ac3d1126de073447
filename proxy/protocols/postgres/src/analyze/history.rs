//! What tells one state of a session from another, as far as it changes what texts mean.
//!
//! Each part is a hash over the changes since it was last as it began, so that a transaction that changes no names leaves
//! none behind: what was analysed within the one before is found again. Equal histories mean equal states; equal states
//! may have unequal histories, which only costs an analysis.

use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// Histories are compared by their hashes, so whoever writes statements must not be able to choose those.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The parts of a session's history.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct History {
    /// What it began as.
    pub(super) initial: Part,
    /// Relations and schemas that it made or dropped.
    pub(super) objects: Part,
    /// Prepared statements.
    pub(super) prepared: Part,
    /// Cursors.
    pub(super) cursors: Part,
    /// The open transaction, its savepoints, and what ends with it.
    pub(super) transaction: Part,
}

/// One part: zero while nothing has changed.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Part(u64);

impl Part {
    /// Something of it has changed.
    pub(super) fn changed(&mut self, how: impl Display) {
        self.0 = HASHER.hash_one((self.0, how.to_string()));
    }

    /// It is as in the beginning.
    pub(super) fn forget(&mut self) {
        self.0 = 0;
    }
}
