//! The log on disk: segments of framed records, hash-chained, group-committed, with signed checkpoints.

use crate::{Event, SessionStamp};
use std::path::{Path, PathBuf};

/// How a spool is kept.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Directory of this log; created when missing.
    pub directory: PathBuf,
    /// Origin of the log: `<cluster>/<namespace>/<resource>/<instance>`.
    pub origin: String,
    /// Bytes after which a segment is closed and the next begins.
    pub segment_bytes: u64,
    /// Bytes that the whole spool may take on disk; reaching it refuses new records.
    pub max_bytes: u64,
}

/// A handle on the log. Cheap to clone; all clones share one writer.
#[derive(Clone, Debug)]
pub struct Spool {}

/// Proof that a record is in the log, in the operating system's hands.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Receipt {
    /// `portcullis.seq` of the record.
    pub sequence: u64,
}

/// What opening found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recovery {
    /// Whole records found.
    pub records: u64,
    /// Bytes of a torn tail that were cut off.
    pub torn_bytes: u64,
    /// Sessions that had no end; each got one with reason `crash_recovered`.
    pub open_sessions: Vec<String>,
}

/// Why a record could not be kept. The command that it is about must not run.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The spool reached `max_bytes`.
    #[error("audit spool is full ({limit} bytes): export or remove sealed segments")]
    Full {
        /// The limit.
        limit: u64,
    },
    /// The disk failed; the spool takes no more records until it is opened again.
    #[error("write audit spool")]
    Io(#[source] std::io::Error),
    /// An earlier failure; nothing is known of what the disk holds since.
    #[error("audit spool failed earlier and takes no more records")]
    Failed,
}

impl Spool {
    /// Opens or creates a log, repairs a torn tail, and closes sessions that a crash left open.
    ///
    /// # Errors
    /// The directory cannot be used, or holds something that is not this log.
    pub fn open(_options: &SpoolOptions) -> Result<(Self, Recovery), SpoolError> {
        Err(SpoolError::Failed)
    }

    /// Appends one record and hands it to the operating system. Blocks for a memory copy, not for the disk.
    ///
    /// # Errors
    /// The record is not in the log; see [`SpoolError`].
    pub fn append(&self, _session: &SessionStamp, _event: Event) -> Result<Receipt, SpoolError> {
        Err(SpoolError::Failed)
    }

    /// Waits until a record and all before it are on disk; many waiters share one `fdatasync`.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The disk failed: the record may or may not survive.
    pub async fn synced(&self, _receipt: Receipt) -> Result<(), SpoolError> {
        Err(SpoolError::Failed)
    }

    /// Writes a last checkpoint and closes the log.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn close(&self) -> Result<(), SpoolError> {
        Err(SpoolError::Failed)
    }

    /// The directory of the log.
    pub fn directory(&self) -> &Path {
        Path::new("")
    }
}
