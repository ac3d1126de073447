//! Evidence bundles: the records of some sessions and of nobody else's, with the proof that they are in their log.
//!
//! A bundle is a tar archive (POSIX ustar, not compressed):
//!
//! ```text
//! manifest.json              format, tool and version, when, sessions, logs, and the SHA-256 of every other file
//! README.txt                 how to verify it, also by hand
//! logs/0/log.vkey            the log's public key; whoever verifies should have it from elsewhere
//! logs/0/log.certificate     by which the tenant's key says that it is one of theirs, if it does
//! logs/0/checkpoint          a signed note: origin, number of records, root of the Merkle tree
//! logs/0/records.jsonl       OTLP JSON, as a Collector writes it
//! logs/0/chunks/…            encrypted results of its sessions, where there are such: see `chunks`
//! logs/0/proofs.jsonl        {"index": 17, "path": ["base64", …]}: RFC 6962 inclusion proof of each record
//! ```
//!
//! Records of a session are numbered without gaps, so that a missing one shows although the records between, of other
//! sessions, are not there.

mod bundle;
mod tiles;
mod write;

use crate::merkle::{Hash, Proof};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use bundle::Bundle;
pub use tiles::{TilesError, write_tiles};
pub use write::{EvidenceError, export};

/// `format` of the manifests that this version writes and reads.
pub const FORMAT: &str = "portcullis-evidence/v1";

/// Name of the manifest in the archive.
pub const MANIFEST: &str = "manifest.json";

/// What is in a bundle.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// Program that wrote it.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// When.
    pub created: Timestamp,
    /// Sessions in it.
    pub sessions: Vec<SessionEntry>,
    /// Logs that these are of.
    pub logs: Vec<LogEntry>,
    /// All other files.
    pub files: Vec<FileEntry>,
}

/// A session in a bundle.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SessionEntry {
    /// Its identifier.
    pub id: String,
    /// Origin of its log.
    pub log: String,
    /// Number of its records.
    pub records: u64,
    /// Whether its end is among them.
    pub ended: bool,
}

/// A log that records of a bundle are of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogEntry {
    /// Its origin.
    pub origin: String,
    /// Directory in the archive.
    pub directory: String,
    /// Size of its checkpoint.
    pub size: u64,
    /// Records in the bundle.
    pub records: u64,
    /// Of these, without a proof: the checkpoint is older than they are.
    pub unproved: u64,
}

/// A file in a bundle.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FileEntry {
    /// Its name in the archive.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of it, hexadecimal.
    pub sha256: String,
}

/// A proof as it is written.
#[derive(Debug, Deserialize, Serialize)]
struct ProofLine {
    index: u64,
    path: Vec<String>,
}

impl ProofLine {
    fn of(proof: &Proof) -> Self {
        Self { index: proof.index, path: proof.path.iter().map(|hash| BASE64.encode(hash)).collect() }
    }

    fn proof(&self) -> Option<Proof> {
        let hash = |text: &String| Hash::try_from(BASE64.decode(text).ok()?).ok();
        Some(Proof { index: self.index, path: self.path.iter().map(hash).collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests;
