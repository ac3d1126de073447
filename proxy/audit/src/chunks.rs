//! Results beside the log: encrypted, named by their digest, readable only for auditors.
//!
//! Where recipients are configured, the frames of results are in no record. They go, encrypted, to the session's file in
//! the log's folder `chunks`; the record has the SHA-256 of the ciphertext and the length of the plaintext:
//!
//! ```text
//! chunks/SESSION.age         chunks, each `length u32, big endian | age ciphertext for the session's own key`
//! chunks/SESSION.key         the session's own key (an age identity), as an age ciphertext for the auditors
//! chunks/SESSION.identity    the same in the clear; only in evidence that an auditor handed over
//! ```
//!
//! The gateway keeps of a session's key only the public half, so it cannot read what it wrote. Whoever removes
//! `SESSION.key` erases the results of that session for good, in every copy of the ciphertext; records, proofs and
//! digests stay as they are. A chunk is found by its digest wherever it lies, so what a record names cannot be swapped.
//!
//! [`Vault`] writes, [`Checker`] looks whether all is there, [`Chunks`] opens;
//! [`crate::source::UnsealedSource`] puts plaintexts into records.
//!
//! age: <https://c2sp.org/age>.

mod check;
mod read;
mod write;

pub use check::{Checker, Standing};
pub use read::{Chunks, Identities, OpenError};
pub use write::{RecipientError, Recipients};
pub(crate) use write::{Sealed, Vault};

use crate::event::key;
use crate::merkle::Hash;
use crate::record::Record;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Folder of a log with the chunks of its results.
pub const CHUNKS: &str = "chunks";

/// Bytes before a chunk in a session's file: its length.
const HEAD_BYTES: usize = 4;

/// Most bytes of a chunk: more than any that is written.
const MAX_CHUNK_BYTES: usize = 1 << 20;

/// Chunks of a session.
pub(crate) const CIPHERTEXTS: &str = "age";

/// A session's key, for the auditors.
pub(crate) const KEY: &str = "key";

/// A session's key in the clear.
pub(crate) const IDENTITY: &str = "identity";

/// What a record says of a chunk that is not in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChunkRef {
    /// The session whose key opens it.
    pub session: String,
    /// SHA-256 of the ciphertext.
    pub digest: Hash,
    /// Bytes of the plaintext.
    pub bytes: u64,
    /// SHA-256 of the session's key file, on the record of its first chunk.
    pub key: Option<Hash>,
}

impl ChunkRef {
    /// The chunk that the record's frames are in, if they are not in the record.
    pub fn of(record: &Record) -> Option<Self> {
        Some(Self {
            session: record.text(key::SESSION_ID)?.to_owned(),
            digest: record.bytes(key::CHUNK)?.try_into().ok()?,
            bytes: record.int(key::CHUNK_BYTES)?.cast_unsigned(),
            key: record.bytes(key::CHUNK_KEY).and_then(|digest| digest.try_into().ok()),
        })
    }
}

/// A session's file of this kind; `None` when the session's identifier cannot be part of a name.
pub(crate) fn file(log: &Path, session: &str, kind: &str) -> Option<PathBuf> {
    is_plain(session).then(|| log.join(CHUNKS).join(format!("{session}.{kind}")))
}

/// The session and the kind that a file's name says.
pub(crate) fn parse_name(name: &str) -> Option<(&str, &str)> {
    let (session, kind) = name.rsplit_once('.')?;
    (is_plain(session) && [CIPHERTEXTS, KEY, IDENTITY].contains(&kind)).then_some((session, kind))
}

fn is_plain(session: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !session.is_empty() && session.len() <= 64 && session.bytes().all(plain)
}

/// Bytes of whole chunks of a session's file from here on, at least one and then up to about so many.
pub(crate) fn whole_bytes(path: &Path, from: u64, at_most: u64) -> io::Result<u64> {
    let file = File::open(path)?;
    let end = file.metadata()?.len();
    let mut at = from;
    while at + HEAD_BYTES as u64 <= end && at - from < at_most {
        let mut head = [0; HEAD_BYTES];
        file.read_exact_at(&mut head, at)?;
        let following = at + HEAD_BYTES as u64 + u64::from(u32::from_be_bytes(head));
        if following > end {
            break;
        }
        at = following;
    }
    Ok(at - from)
}

/// The files in a log's folder of chunks, by name, with what the file system says of them.
pub(crate) fn list(log: &Path) -> io::Result<Vec<(String, std::fs::Metadata)>> {
    let entries = match std::fs::read_dir(log.join(CHUNKS)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && parse_name(&name).is_some()
        {
            files.push((name, entry.metadata()?));
        }
    }
    files.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(files)
}

#[cfg(test)]
mod tests;
