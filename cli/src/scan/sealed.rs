//! Results that cannot be searched, and why.

use anyhow::Context as _;
use proxy_audit::chunks::{Checker, ChunkRef, Standing};
use proxy_audit::event::{EventName, key};
use proxy_audit::record::Record;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Why a result cannot be searched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    /// It is encrypted for somebody else.
    Sealed,
    /// The key to it is gone.
    Erased,
}

/// Looks after what nobody opened.
#[derive(Debug)]
pub(super) struct Unread {
    /// By the origins of the logs.
    logs: BTreeMap<String, Checker>,
}

impl Unread {
    /// Encrypted results lie in these directories.
    pub(super) fn new(chunks: BTreeMap<String, PathBuf>) -> Self {
        Self {
            logs: chunks.into_iter().map(|(origin, directory)| (origin, Checker::new(&directory))).collect(),
        }
    }

    /// Why the result of this record is not in it; nothing of one that has it, or has none. Where the encrypted result
    /// is not at hand, nobody can say that it was erased.
    pub(super) fn look(&mut self, record: &Record) -> anyhow::Result<Option<Why>> {
        if record.bytes(key::FRAMES).is_some() {
            return Ok(None);
        }
        let checker = self.logs.get_mut(record.origin());
        let Some(chunk) = ChunkRef::of(record) else {
            let ended = record.name() == EventName::SessionEnd.as_str();
            if let (true, Some(checker), Some(session)) = (ended, checker, record.text(key::SESSION_ID)) {
                checker.forget(session);
            }
            return Ok(None);
        };
        let Some(checker) = checker else { return Ok(Some(Why::Sealed)) };
        let standing = checker
            .look(&chunk)
            .with_context(|| format!("read the encrypted results of session {}", chunk.session))?;
        Ok(Some(match standing {
            Standing::Erased => Why::Erased,
            // What is damaged, `verify` names.
            Standing::There | Standing::Damaged | Standing::AnotherKey => Why::Sealed,
        }))
    }
}
