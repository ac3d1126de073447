//! Opening a log: check what is there, cut a torn tail, close the sessions that a crash left open.

use crate::checkpoint::{self, Entry};
use crate::durable::sync_directory;
use crate::encode::{Draft, LogAttributes};
use crate::event::{Event, EventName, SessionStamp, Severity, key};
use crate::merkle::{CompactRange, Hash, chain_link};
use crate::note::LogSigner;
use crate::read::ReadError;
use crate::record::Record;
use crate::segment::{Frames, Header, Segment, SegmentError};
use crate::spool::committer::Keeper;
use crate::spool::predecessors::{CLOSED, closed_with};
use crate::spool::writer::{Limits, Status, Tail, Writer, create_segment, total_bytes};
use crate::spool::{Recovery, SpoolError, SpoolOptions};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A log ready to be written.
pub(super) struct Opened {
    pub(super) writer: Writer,
    pub(super) keeper: Keeper,
}

pub(super) fn open(options: &SpoolOptions) -> Result<(Opened, Recovery), SpoolError> {
    let directory = &options.directory;
    std::fs::create_dir_all(directory).map_err(SpoolError::Io)?;
    let lock = lock(directory)?;
    let signer = checkpoint::load_or_create_key(directory, &options.key_file, &options.origin)
        .map_err(SpoolError::Key)?;
    let (checkpoints, torn_note) = checkpoint::read(directory).map_err(SpoolError::Io)?;
    let mut scan = Scan::new(directory, &options.origin, signed_roots(directory, &signer, &checkpoints)?);
    let end = scan.read_segments()?;
    let last_signed = scan.roots.last_key_value().map_or(0, |(size, _)| *size);
    if scan.tree.size() < last_signed {
        return Err(damaged(
            directory,
            format!("a checkpoint covers {last_signed} records, but only {} are whole", scan.tree.size()),
        ));
    }
    compare_mark(directory, scan.tree.size())?;
    let (file, offset) = end.repair(directory, &scan)?;
    let recovery = Recovery {
        records: scan.tree.size(),
        torn_bytes: end.torn_bytes,
        open_sessions: scan.sessions.keys().cloned().collect(),
    };
    let keeper = Keeper {
        directory: directory.clone(),
        signer,
        checkpoints: checkpoint::Writer::open(directory, torn_note).map_err(SpoolError::Io)?,
        checkpointed: last_signed,
        _lock: lock,
    };
    let mut writer = Writer {
        limits: Limits {
            directory: directory.clone(),
            segment_bytes: options.segment_bytes,
            max_bytes: options.max_bytes,
        },
        log: LogAttributes::new(&options.origin),
        tail: Tail {
            file: Arc::new(file),
            first: end.first,
            offset,
            tree: scan.tree,
            last_leaf: scan.last_leaf,
        },
        total_bytes: total_bytes(directory).map_err(SpoolError::Io)?,
        measured: None,
        buffer: Vec::new(),
        sealed: Vec::new(),
        directory_dirty: true,
        status: Status::Open,
        #[cfg(any(test, feature = "test-util"))]
        fault: None,
    };
    mark_open(directory)?;
    record_opening(&mut writer, &recovery, checkpoints.last(), options.predecessor.as_deref())?;
    for (session, open) in scan.sessions {
        close_session(&mut writer, &session, open)?;
    }
    Ok((Opened { writer, keeper }, recovery))
}

pub(super) fn lock(directory: &Path) -> Result<File, SpoolError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .map_err(SpoolError::Io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Locked { directory: directory.to_owned() }),
        Err(TryLockError::Error(error)) => Err(SpoolError::Io(error)),
    }
}

/// A log that was closed in order has the records that it was closed with: nothing that was put behind them is signed.
fn compare_mark(directory: &Path, records: u64) -> Result<(), SpoolError> {
    match closed_with(directory).map_err(SpoolError::Io)? {
        Some(closed) if closed != records => {
            Err(damaged(directory, format!("it was closed with {closed} records, and {records} are here")))
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn mark_open(directory: &Path) -> Result<(), SpoolError> {
    match std::fs::remove_file(directory.join(CLOSED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SpoolError::Io(error)),
        Err(_) => Ok(()),
        // before anything is written that the mark does not count
        Ok(()) => sync_directory(directory).map_err(SpoolError::Io),
    }
}

pub(super) fn damaged(directory: &Path, what: impl Into<String>) -> SpoolError {
    SpoolError::Damaged { directory: directory.to_owned(), what: what.into() }
}

/// The roots that checkpoints name, by size. The last one's signature is checked here; `verify` checks all.
fn signed_roots(
    directory: &Path,
    signer: &LogSigner,
    entries: &[Entry],
) -> Result<BTreeMap<u64, Hash>, SpoolError> {
    let mut roots = BTreeMap::new();
    for entry in entries {
        let note =
            entry.parsed.as_ref().map_err(|error| damaged(directory, format!("checkpoints: {error}")))?;
        roots.insert(note.checkpoint.size, note.checkpoint.root);
    }
    if let Some(Entry { parsed: Ok(last), .. }) = entries.last() {
        last.verify(&signer.public()).map_err(|error| {
            damaged(directory, format!("checkpoint of size {}: {error}", last.checkpoint.size))
        })?;
    }
    Ok(roots)
}

/// A session without an end.
#[derive(Debug, Default)]
struct OpenSession {
    /// Its stamp in the records' byte form.
    stamp: Vec<u8>,
    next_sequence: u64,
    statements: i64,
}

/// What reading the log has established so far.
struct Scan<'a> {
    directory: &'a Path,
    origin: &'a str,
    roots: BTreeMap<u64, Hash>,
    tree: CompactRange,
    last_leaf: Option<Hash>,
    sessions: BTreeMap<String, OpenSession>,
}

/// Where the whole records end.
struct End {
    /// The segment that goes on; `None` when there is none to go on with.
    segment: Option<Segment>,
    /// Bytes of whole frames in it.
    offset: u64,
    /// Sequence of its first record.
    first: u64,
    /// Segments after it.
    dropped: Vec<Segment>,
    torn_bytes: u64,
}

impl<'a> Scan<'a> {
    fn new(directory: &'a Path, origin: &'a str, roots: BTreeMap<u64, Hash>) -> Self {
        let (tree, last_leaf, sessions) = (CompactRange::default(), None, BTreeMap::new());
        Self { directory, origin, roots, tree, last_leaf, sessions }
    }

    /// Reads records until the end or the first frame that is not whole.
    fn read_segments(&mut self) -> Result<End, SpoolError> {
        let mut segments = Segment::list(self.directory).map_err(SpoolError::Io)?.into_iter();
        let mut end = End { segment: None, offset: 0, first: 0, dropped: Vec::new(), torn_bytes: 0 };
        for segment in segments.by_ref() {
            let length = std::fs::metadata(&segment.path).map_err(SpoolError::Io)?.len();
            let first_of_log = end.segment.is_none();
            match self.read_segment(&segment, first_of_log)? {
                SegmentEnd::Whole { offset } => {
                    (end.first, end.offset) = (segment.first, offset);
                    end.segment = Some(segment);
                }
                SegmentEnd::Torn { offset } => {
                    end.torn_bytes = length - offset;
                    if offset == 0 {
                        end.dropped.push(segment);
                    } else {
                        (end.first, end.offset) = (segment.first, offset);
                        end.segment = Some(segment);
                    }
                    break;
                }
            }
        }
        for segment in segments {
            end.torn_bytes += std::fs::metadata(&segment.path).map_err(SpoolError::Io)?.len();
            end.dropped.push(segment);
        }
        Ok(end)
    }

    fn read_segment(&mut self, segment: &Segment, first_of_log: bool) -> Result<SegmentEnd, SpoolError> {
        let (mut frames, header) = match Frames::open(&segment.path) {
            Ok(opened) => opened,
            Err(error) => return torn_or_failed(error, 0),
        };
        if first_of_log {
            (self.tree, self.last_leaf) = (header.tree, header.previous);
            // Nothing can be compared below the first record that is still here.
            self.roots.retain(|size, _| *size >= self.tree.size());
        } else if header != (Header { tree: self.tree.clone(), previous: self.last_leaf }) {
            return Err(damaged(
                self.directory,
                format!("segment {} does not follow the one before", segment.first),
            ));
        }
        loop {
            let offset = frames.offset();
            match frames.next_frame() {
                Ok(Some(leaf)) => self.add(&leaf)?,
                Ok(None) => return Ok(SegmentEnd::Whole { offset }),
                Err(error) => return torn_or_failed(error, offset),
            }
        }
    }

    fn add(&mut self, leaf: &[u8]) -> Result<(), SpoolError> {
        let expected = self.tree.size();
        let bad = |what: &str| damaged(self.directory, format!("record {expected}: {what}"));
        let record = Record::decode(leaf).map_err(|error| bad(&error.to_string()))?;
        if record.sequence() != expected {
            return Err(bad(&format!("has sequence {}", record.sequence())));
        }
        if record.chain_previous() != chain_link(self.last_leaf.as_ref()) {
            return Err(bad("does not chain to the record before"));
        }
        if record.text(key::LOG_ORIGIN) != Some(self.origin) {
            return Err(bad("is of another log"));
        }
        self.tree.push(*record.leaf_hash());
        self.last_leaf = Some(*record.leaf_hash());
        let size = self.tree.size();
        if self.roots.get(&size).is_some_and(|root| *root != self.tree.root()) {
            return Err(damaged(
                self.directory,
                format!("records differ from the checkpoint of size {size}"),
            ));
        }
        self.track_session(&record);
        Ok(())
    }

    fn track_session(&mut self, record: &Record) {
        let Some(session) = record.text(key::SESSION_ID) else { return };
        if record.name() == EventName::SessionEnd.as_str() {
            self.sessions.remove(session);
            return;
        }
        let open = self.sessions.entry(session.to_owned()).or_default();
        if open.stamp.is_empty() {
            open.stamp = stamp_of(record);
        }
        open.next_sequence = record.session_sequence() + 1;
        open.statements += i64::from(record.name() == EventName::Statement.as_str());
    }
}

enum SegmentEnd {
    Whole { offset: u64 },
    Torn { offset: u64 },
}

fn torn_or_failed(error: SegmentError, offset: u64) -> Result<SegmentEnd, SpoolError> {
    match error {
        SegmentError::Torn { .. } | SegmentError::Changed { .. } | SegmentError::Damaged { .. } => {
            Ok(SegmentEnd::Torn { offset })
        }
        SegmentError::Io { .. } => Err(SpoolError::Read(ReadError::Segment(error))),
    }
}

impl End {
    /// Cuts what is not whole and gives the segment that goes on. Only called when no checkpoint covers what is cut.
    fn repair(&self, directory: &Path, scan: &Scan<'_>) -> Result<(File, u64), SpoolError> {
        if self.torn_bytes > 0 {
            tracing::warn!(directory = %directory.display(), torn_bytes = self.torn_bytes, "audit log had a torn tail");
        }
        for segment in &self.dropped {
            std::fs::remove_file(&segment.path).map_err(SpoolError::Io)?;
        }
        let Some(segment) = &self.segment else {
            let header = Header { tree: scan.tree.clone(), previous: scan.last_leaf };
            return create_segment(directory, &header).map_err(SpoolError::Io);
        };
        let file = OpenOptions::new().read(true).write(true).open(&segment.path).map_err(SpoolError::Io)?;
        // Even to the same length it would count as a change, and the segment as new.
        if file.metadata().map_err(SpoolError::Io)?.len() != self.offset {
            file.set_len(self.offset).map_err(SpoolError::Io)?;
        }
        Ok((file, self.offset))
    }
}

/// The attributes of a record that are its session's, not its event's.
fn stamp_of(record: &Record) -> Vec<u8> {
    let is_stamp = |key: &str| {
        key == key::SESSION_ID
            || key == key::ROLE
            || key == key::NAMESPACE
            || key == key::HOST
            || ["user.", "portcullis.claim.", "portcullis.resource.", "portcullis.proxy."]
                .iter()
                .any(|prefix| key.starts_with(prefix))
    };
    let attributes =
        record.attributes().iter().filter(|attribute| is_stamp(&attribute.key)).cloned().collect();
    LogRecord { attributes, ..LogRecord::default() }.encode_to_vec()
}

/// The first record of every opening; it names the last checkpoint before, so that checkpoints cannot be swapped
/// for others without changing the log.
fn record_opening(
    writer: &mut Writer,
    recovery: &Recovery,
    last: Option<&Entry>,
    predecessor: Option<&Path>,
) -> Result<(), SpoolError> {
    let crashed = recovery.torn_bytes > 0 || !recovery.open_sessions.is_empty();
    let (event, severity) = if crashed { ("recovered", Severity::Warn) } else { ("start", Severity::Info) };
    let body = format!(
        "recorder {event}: {} records, {} torn bytes, {} sessions left open",
        recovery.records,
        recovery.torn_bytes,
        recovery.open_sessions.len()
    );
    let mut record = Event::new(EventName::Recorder, severity, body)
        .with(key::RECORDER_EVENT, event)
        .with(key::RECOVERED_RECORDS, recovery.records)
        .with(key::TORN_BYTES, recovery.torn_bytes);
    if let Some((entry, Ok(signed))) = last.map(|entry| (entry, &entry.parsed)) {
        record = record
            .with(key::CHECKPOINT_SIZE, signed.checkpoint.size)
            .with(key::CHECKPOINT_DIGEST, const_hex::encode(entry.digest()));
    }
    if let Some(predecessor) = predecessor.filter(|_| writer.size() == 0) {
        record = name_predecessor(record, predecessor)?;
    }
    let stamp = SessionStamp::resumed(Vec::new(), 0);
    writer.append(&stamp, &Draft::new(&[], &record), true)?;
    Ok(())
}

fn name_predecessor(record: Event, predecessor: &Path) -> Result<Event, SpoolError> {
    let (entries, _) = checkpoint::read(predecessor).map_err(SpoolError::Io)?;
    let last = entries.iter().rev().find_map(|entry| Some((entry, entry.parsed.as_ref().ok()?)));
    let Some((entry, note)) = last else { return Ok(record) };
    Ok(record
        .with(key::PREDECESSOR_ORIGIN, note.checkpoint.origin.as_str())
        .with(key::PREDECESSOR_SIZE, note.checkpoint.size)
        .with(key::PREDECESSOR_DIGEST, const_hex::encode(entry.digest())))
}

fn close_session(writer: &mut Writer, session: &str, open: OpenSession) -> Result<(), SpoolError> {
    let event = Event::new(
        EventName::SessionEnd,
        Severity::Warn,
        format!("session {session} ended with the gateway: crash_recovered"),
    )
    .with(key::REASON, "crash_recovered")
    .with(key::COMMANDS, open.statements);
    let draft = Draft::new(&open.stamp, &event);
    let stamp = SessionStamp::resumed(open.stamp, open.next_sequence);
    writer.append(&stamp, &draft, true)?;
    Ok(())
}
