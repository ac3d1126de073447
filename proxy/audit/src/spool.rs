//! The log on disk: segments of framed records, hash-chained, group-committed, with signed checkpoints.
//!
//! A record's way: [`Spool::append`] encodes it, takes the log's lock for as long as it takes to number, chain, hash
//! and write(2) it, and returns. One thread per log calls `fdatasync` for all who wait in [`Spool::synced`], and signs
//! a checkpoint over what is on disk: after a session's end, after 256 records, at the latest after a second, and at
//! most 20 times a second. A checkpoint therefore never covers a record that a power cut could still take.
//!
//! Failure: a full disk refuses records until there is room; any other error of a write, and every error of a sync,
//! ends the log for this process. An `fdatasync` that failed is not tried again, for the kernel may have dropped the
//! pages and would report success (<https://wiki.postgresql.org/wiki/Fsync_Errors>).

mod committer;
mod predecessors;
mod recovery;
mod retention;
mod retired;
mod room;
mod writer;

use crate::checkpoint::KeyError;
use crate::chunks::{Recipients, Vault};
use crate::encode::{Draft, MAX_LEAF_BYTES};
use crate::event::EventName;
use crate::read::ReadError;
use crate::{Event, SessionStamp};
pub(crate) use committer::Durable;
use committer::Shared;
pub(crate) use predecessors::{CLOSED, closed_with};
pub use predecessors::{Predecessor, recover_predecessors};
pub(crate) use retired::remove_below as remove_of_retired;
pub use retired::{is_retired, retire};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Notify;

#[cfg(any(test, feature = "test-util"))]
pub use writer::Fault;

/// How a spool is kept.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Directory of this log; created when missing.
    pub directory: PathBuf,
    /// Origin of the log: `<cluster>/<namespace>/<resource>/<instance>`.
    pub origin: String,
    /// Private key of the log: an Ed25519 seed of 32 bytes, created with mode 0600 for a new log. Lies outside the
    /// log's directory, so that a copy of the log does not carry the power to forge it. [`retire`] removes it.
    pub key_file: PathBuf,
    /// Bytes after which a segment is closed and the next begins.
    pub segment_bytes: u64,
    /// Bytes that the whole spool may take on disk; reaching it refuses new records. Ends of sessions and the
    /// recorder's own records may go over it by 1 MiB in all.
    pub max_bytes: u64,
    /// Log that this one follows. The first record of a new log names its last checkpoint, so that the earlier log
    /// cannot vanish or be cut unnoticed. [`recover_predecessors`] sets it.
    pub predecessor: Option<PathBuf>,
}

impl SpoolOptions {
    /// Segments of 64 MiB, 8 GiB in all, and the key in `<directory>.key` beside the log.
    pub fn new(directory: impl Into<PathBuf>, origin: impl Into<String>) -> Self {
        let directory = directory.into();
        Self {
            key_file: Self::key_file_of(&directory),
            directory,
            origin: origin.into(),
            segment_bytes: 64 << 20,
            max_bytes: 8 << 30,
            predecessor: None,
        }
    }

    /// `<directory>.key`.
    fn key_file_of(directory: &Path) -> PathBuf {
        let mut key_file = directory.to_owned().into_os_string();
        key_file.push(".key");
        key_file.into()
    }
}

/// A handle on the log. Cheap to clone; all clones share one writer. Dropping the last one closes the log, which
/// blocks for one sync.
#[derive(Clone, Debug)]
pub struct Spool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    vault: Vault,
    directory: PathBuf,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// A record was refused for want of room.
    full: Notify,
}

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
    /// The spool was closed.
    #[error("audit spool is closed")]
    Closed,
    /// The log on disk is not whole: it was changed, or lost more than a crash can take. Opening refuses it, so that
    /// nothing is written over the evidence: run `portcullis verify`, then move the directory away.
    #[error("audit log {directory} is damaged: {what}")]
    Damaged {
        /// The log.
        directory: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// The disk has no room for the record. Records are taken again as soon as it has.
    #[error("the disk of the audit spool is full: free or add space on it, or set recording.retention")]
    DiskFull,
    /// A key occurs twice on one record.
    #[error("attribute {key} occurs twice on one record")]
    DuplicateKey {
        /// The key.
        key: &'static str,
    },
    /// An earlier failure; nothing is known of what the disk holds since.
    #[error("audit spool failed earlier and takes no more records")]
    Failed,
    /// The spool reached `max_bytes`. Records are taken again as soon as segments are gone.
    #[error("audit spool is full ({limit} bytes): give it more, or set recording.retention")]
    Full {
        /// The limit.
        limit: u64,
    },
    /// The disk failed; the spool takes no more records until it is opened again.
    #[error("write audit spool")]
    Io(#[source] io::Error),
    /// The log's key cannot be used.
    #[error("open audit spool")]
    Key(#[source] KeyError),
    /// Another process writes this log.
    #[error("audit log {directory} is in use by another process")]
    Locked {
        /// The log.
        directory: PathBuf,
    },
    /// What is there cannot be read.
    #[error("recover audit spool")]
    Read(#[source] ReadError),
    /// The record is over 65,535 bytes. Results are split into chunks of 48 KiB before they get here.
    #[error("audit record of {bytes} bytes is too large")]
    TooLarge {
        /// Bytes that the record could take.
        bytes: usize,
    },
}

impl Spool {
    /// Opens or creates a log, repairs a torn tail, and closes sessions that a crash left open.
    ///
    /// Reads the whole log and checks its chain and its checkpoints. Blocks for that long.
    ///
    /// # Errors
    /// The directory cannot be used, is in use, or holds something that is not this log.
    pub fn open(options: &SpoolOptions) -> Result<(Self, Recovery), SpoolError> {
        let (opened, recovery) = recovery::open(options)?;
        let shared = Arc::new(Shared::new(opened.writer));
        let committer = committer::spawn(Arc::clone(&shared), opened.keeper).map_err(SpoolError::Io)?;
        let committer = Mutex::new(Some(committer));
        let (vault, directory) = (Vault::new(&options.directory), options.directory.clone());
        let inner = Inner { shared, vault, directory, committer, full: Notify::new() };
        Ok((Self(Arc::new(inner)), recovery))
    }

    /// Appends one record and hands it to the operating system. Blocks for a memory copy, not for the disk.
    ///
    /// # Errors
    /// The record is not in the log; see [`SpoolError`].
    pub fn append(&self, session: &SessionStamp, event: Event) -> Result<Receipt, SpoolError> {
        self.take(session, event).inspect_err(|error| self.note_if_full(error))
    }

    fn take(&self, session: &SessionStamp, event: Event) -> Result<Receipt, SpoolError> {
        check_keys(session, &event)?;
        let vault = &self.0.vault;
        let event = if vault.is_used() { self.seal_result(session, event)? } else { event };
        let draft = Draft::new(session.encoded(), &event);
        let bytes = draft.max_len(self.0.shared.log_attributes());
        if bytes > MAX_LEAF_BYTES {
            return Err(SpoolError::TooLarge { bytes });
        }
        self.0.shared.append(session, &draft, event.name)
    }

    /// From now on, results lie beside the log, encrypted for these; `None`: in their records. A session that has
    /// encrypted results already goes on for whom it began.
    pub fn encrypt_results(&self, recipients: Option<Recipients>) {
        self.0.vault.set(recipients);
    }

    /// Encrypts the frames of a result and writes them beside the log, before the record that names them.
    fn seal_result(&self, session: &SessionStamp, mut event: Event) -> Result<Event, SpoolError> {
        let Some(id) = session.session() else { return Ok(event) };
        let vault = &self.0.vault;
        if event.name == EventName::SessionEnd {
            vault.forget(id);
        }
        if !vault.is_on() {
            return Ok(event);
        }
        let Some(frames) = event.take_frames() else { return Ok(event) };
        self.0.shared.check_room(frames.len() as u64)?;
        let sealed = vault.seal(id, &frames).map_err(|error| match error {
            error if writer::is_full(&error) => SpoolError::DiskFull,
            error => SpoolError::Io(error),
        })?;
        self.0.shared.attach(&sealed);
        Ok(sealed.name_on(event))
    }

    /// Waits until a record and all before it are on disk; many waiters share one `fdatasync`.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The disk failed: the record may or may not survive.
    pub async fn synced(&self, receipt: Receipt) -> Result<(), SpoolError> {
        self.0.shared.synced(receipt.sequence + 1).await
    }

    /// Waits until the disk fails (`true`): then nothing is taken any more, and only another log can help. Or until the
    /// log is closed (`false`). A disk that is only full has not failed.
    ///
    /// Cancel safe.
    pub async fn failed(&self) -> bool {
        self.0.shared.failed().await
    }

    /// Writes a last checkpoint and closes the log; later records are refused.
    ///
    /// Cancel safe: the log closes all the same.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn close(&self) -> Result<(), SpoolError> {
        self.0.shared.close().await
    }

    /// The directory of the log.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Follows how much of the log is on disk.
    pub(crate) fn durable(&self) -> Durable {
        self.0.shared.durable()
    }

    /// Begins a new segment, if there is a record in the current one: what retention may remove are whole segments, and
    /// a quiet log fills one in months.
    ///
    /// # Errors
    /// The disk failed, or is full: then the segment goes on.
    pub fn seal(&self) -> Result<(), SpoolError> {
        self.0.shared.seal()
    }

    /// Removes sealed segments whose records are all below this sequence and whose last is older than this; first
    /// says so in the log, so that `verify` can tell it from tampering. Gives the bytes removed.
    ///
    /// Not cancel safe: fewer segments may be removed than the log says.
    ///
    /// # Errors
    /// The log takes no record, or a segment cannot be removed.
    pub async fn remove_below(&self, below: u64, older_than: Duration) -> Result<u64, SpoolError> {
        retention::remove_below(self, below, older_than).await
    }

    /// Breaks the disk under this spool, for tests: the fault strikes after this many more writes or syncs.
    #[cfg(any(test, feature = "test-util"))]
    pub fn inject(&self, fault: Fault, after: u64) {
        self.0.shared.inject(fault, after);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.request_close();
        let committer = self.committer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if committer.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(directory = %self.directory.display(), "the thread that syncs the audit spool panicked");
        }
    }
}

/// Keys must be unique on a record: OTLP leaves undefined what duplicates mean.
fn check_keys(session: &SessionStamp, event: &Event) -> Result<(), SpoolError> {
    let mut keys = session.keys();
    for (position, key) in event.keys().enumerate() {
        if !keys.insert(key) {
            continue;
        }
        let in_stamp = session.attributes().iter().any(|(other, _)| other == key);
        if in_stamp || event.keys().take(position).any(|other| other == key) {
            return Err(SpoolError::DuplicateKey { key });
        }
    }
    Ok(())
}

/// Events after which a checkpoint is due, and which may use the reserve of a full spool.
fn closes_something(name: EventName) -> bool {
    match name {
        EventName::SessionEnd | EventName::Recorder => true,
        EventName::Approval
        | EventName::Checkpoint
        | EventName::Error
        | EventName::Result
        | EventName::ResultChunk
        | EventName::SessionStart
        | EventName::Statement => false,
    }
}

#[cfg(test)]
mod tests;
