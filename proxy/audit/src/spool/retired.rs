//! A closed log needs its private key no more. All that it may have to say later is that retention removed its oldest
//! records: that is written and signed in advance, for each place where retention may cut, and the key goes.
//!
//! Whoever gets at the state afterwards can have such a log say that, and can sign no other history of it. What is
//! prepared lies beside the log's directory, as the key did, so that no copy of the log carries it.

use crate::checkpoint::{self, VERIFIER_KEY};
use crate::durable::{self, PRIVATE, SHARED, sync_directory, sync_parent};
use crate::encode::{Draft, LogAttributes, Place};
use crate::event::{Event, EventName, Severity, key};
use crate::merkle::{chain_link, leaf_hash};
use crate::note::{Checkpoint, LogKey, LogSigner, SignedCheckpoint};
use crate::segment::{Frames, Header, MAGIC, Segment, frame};
use crate::spool::predecessors::{CLOSED, closed_with};
use crate::spool::recovery::{damaged, lock, mark_open};
use crate::spool::retention::{is_older, oldest, remove_chunks};
use crate::spool::writer::unix_nanoseconds;
use crate::spool::{SpoolError, SpoolOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a retired log may say, in order.
#[derive(Debug, Deserialize, Serialize)]
struct Removals {
    /// Header of the segment that begins where the log was closed, base64.
    header: String,
    removals: Vec<Removal>,
}

/// What it says once its first records were removed.
#[derive(Debug, Deserialize, Serialize)]
struct Removal {
    /// Records with lower sequences.
    below: u64,
    /// The record that says so, base64.
    leaf: String,
    /// The checkpoint over it and all before.
    note: String,
}

/// Removes the private key of a log that was closed in order and that nobody writes. Whether there was one. Blocks: the
/// last segment is read.
///
/// # Errors
/// What was closed is not what the last checkpoint signs, or a file cannot be used. Then the key stays.
pub fn retire(log: &Path) -> Result<bool, SpoolError> {
    let key_file = SpoolOptions::key_file_of(log);
    if !key_file.is_file() {
        return Ok(false);
    }
    let _lock = match lock(log) {
        Ok(lock) => lock,
        Err(SpoolError::Locked { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some(closed) = closed_with(log).map_err(SpoolError::Io)? else { return Ok(false) };
    let removals = prepare(log, &key_file, closed)?;
    let forget_key = || {
        durable::replace(&file(log), &serde_json::to_vec(&removals)?, PRIVATE)?;
        // A log without its mark is opened again, which takes the key.
        File::open(log.join(CLOSED))?.sync_all()?;
        sync_directory(log)?;
        std::fs::remove_file(&key_file)?;
        sync_parent(log)
    };
    forget_key().map_err(SpoolError::Io)?;
    Ok(true)
}

/// Whether this log has no private key any more: it takes no more records.
pub fn is_retired(log: &Path) -> bool {
    file(log).is_file() && !SpoolOptions::key_file_of(log).is_file()
}

/// Finishes what a crash cut short: the log is closed with what it says.
pub(super) fn settle(log: &Path) -> Result<(), SpoolError> {
    let _lock = lock(log)?;
    let Some(removals) = read(log)? else { return Ok(()) };
    close_again(log, &removals).map_err(SpoolError::Io)
}

/// Removes the segments of a retired log whose records are all below this sequence and whose last is older than this;
/// first says so in the log. Gives the bytes removed: none of one that somebody else has open, or that is not retired.
/// Blocks.
///
/// # Errors
/// A file cannot be used, or the log is not the one that was retired.
pub(crate) fn remove_below(log: &Path, below: u64, older_than: Duration) -> Result<u64, SpoolError> {
    // What is no such log gets no lock either.
    let Some(removals) = read(log)? else { return Ok(0) };
    let _lock = match lock(log) {
        Ok(lock) => lock,
        Err(SpoolError::Locked { .. }) => return Ok(0),
        Err(error) => return Err(error),
    };
    let end = removals.header(log)?.tree.size();
    let mut segments = Segment::list(log).map_err(SpoolError::Io)?;
    segments.retain(|segment| segment.first < end);
    let ends: Vec<u64> = segments.iter().skip(1).map(|segment| segment.first).chain([end]).collect();
    let mut removable = Vec::new();
    for (segment, end) in segments.iter().zip(ends) {
        if end > below || !is_older(segment, older_than).map_err(SpoolError::Io)? {
            break;
        }
        removable.push((segment, end));
    }
    let Some((_, cut)) = removable.last() else { return Ok(0) };
    let said = removals.removals.iter().position(|removal| removal.below == *cut);
    let said = said.ok_or_else(|| damaged(log, format!("it was not retired with a segment {cut}")))?;
    say(log, &removals, said + 1)?;
    let mut bytes = 0;
    for (segment, _) in &removable {
        bytes += std::fs::metadata(&segment.path).map_err(SpoolError::Io)?.len();
        std::fs::remove_file(&segment.path).map_err(SpoolError::Io)?;
    }
    // Nothing but what was said of it may be left, which is of when the log was closed.
    let oldest = if removable.len() == segments.len() { Some(Timestamp::now()) } else { oldest(log) };
    Ok(bytes + remove_chunks(log, oldest, |_| false).map_err(SpoolError::Io)?)
}

/// All that the log may say, signed.
fn prepare(log: &Path, key_file: &Path, closed: u64) -> Result<Removals, SpoolError> {
    let vkey = std::fs::read_to_string(log.join(VERIFIER_KEY)).map_err(SpoolError::Io)?;
    let origin = LogKey::parse(&vkey).map_err(|error| damaged(log, format!("{VERIFIER_KEY}: {error}")))?;
    let signer = checkpoint::load_or_create_key(log, key_file, origin.name()).map_err(SpoolError::Key)?;
    let segments = Segment::list(log).map_err(SpoolError::Io)?;
    let mut header = end_of(log, &segments, &signer, closed)?;
    let mut prepared = Removals { header: BASE64.encode(header.encode()), removals: Vec::new() };
    let attributes = LogAttributes::new(origin.name());
    for below in segments.iter().skip(1).map(|segment| segment.first).chain([closed]) {
        let place = Place {
            sequence: header.tree.size(),
            session_sequence: 0,
            chain_previous: chain_link(header.previous.as_ref()),
            time_unix_nano: unix_nanoseconds(),
        };
        let mut leaf = Vec::new();
        Draft::new(&[], &removed(below)).place(&attributes, &place, &mut leaf);
        let hash = leaf_hash(&leaf);
        header.tree.push(hash);
        header.previous = Some(hash);
        let (origin, size, root) = (origin.name().to_owned(), header.tree.size(), header.tree.root());
        let note = signer.sign(&Checkpoint { origin, size, root });
        prepared.removals.push(Removal { below, leaf: BASE64.encode(leaf), note });
    }
    Ok(prepared)
}

/// The header of a segment that would follow the last one, of a log that is what its last checkpoint signs.
fn end_of(log: &Path, segments: &[Segment], signer: &LogSigner, closed: u64) -> Result<Header, SpoolError> {
    let unreadable = |error: crate::segment::SegmentError| damaged(log, error.to_string());
    let last = segments.last().ok_or_else(|| damaged(log, "it has no segment"))?;
    let (mut frames, mut header) = Frames::open(&last.path).map_err(unreadable)?;
    while let Some(leaf) = frames.next_frame().map_err(unreadable)? {
        let hash = leaf_hash(&leaf);
        header.tree.push(hash);
        header.previous = Some(hash);
    }
    let newest = checkpoint::newest(log, u64::MAX).map_err(SpoolError::Io)?;
    let note = newest.and_then(|(_, note)| SignedCheckpoint::parse(&note).ok());
    let checkpoint = note.as_ref().and_then(|note| note.verify(&signer.public()).ok());
    let is_end = |end: &Checkpoint| (end.size, end.root) == (closed, header.tree.root());
    if header.tree.size() == closed && checkpoint.is_some_and(is_end) {
        Ok(header)
    } else {
        Err(damaged(log, "its last checkpoint does not sign what it was closed with"))
    }
}

/// What a log says before records leave it.
pub(super) fn removed(below: u64) -> Event {
    let body = format!("recorder removed: records below {below}");
    Event::new(EventName::Recorder, Severity::Info, body)
        .with(key::RECORDER_EVENT, "removed")
        .with(key::REMOVED_BELOW, below)
}

impl Removals {
    fn header(&self, log: &Path) -> Result<Header, SpoolError> {
        let bytes = BASE64.decode(&self.header).ok();
        let header = bytes.and_then(|bytes| Header::decode(&bytes));
        header.ok_or_else(|| damaged(log, format!("{} is not what it was retired with", file(log).display())))
    }
}

/// Has the log say the first so many of what was prepared; what it said before stays.
fn say(log: &Path, removals: &Removals, count: usize) -> Result<(), SpoolError> {
    let header = removals.header(log)?;
    let segment = Segment::new(log, header.tree.size());
    if said(&segment).map_err(SpoolError::Io)? >= count {
        return close_again(log, removals).map_err(SpoolError::Io);
    }
    let mut bytes = MAGIC.to_vec();
    frame(&mut bytes, &header.encode());
    for removal in removals.removals.iter().take(count) {
        let leaf = BASE64.decode(&removal.leaf).map_err(|error| SpoolError::Io(io::Error::other(error)))?;
        frame(&mut bytes, &leaf);
    }
    mark_open(log)?;
    let write = || {
        durable::replace(&segment.path, &bytes, SHARED)?;
        close_again(log, removals)
    };
    write().map_err(SpoolError::Io)
}

/// Signs what the log says, and closes it.
fn close_again(log: &Path, removals: &Removals) -> io::Result<()> {
    let header = removals.header(log).map_err(io::Error::other)?;
    let count = said(&Segment::new(log, header.tree.size()))?;
    let size = header.tree.size() + count as u64;
    let (entries, torn) = checkpoint::read(log)?;
    let signed =
        |entry: &checkpoint::Entry| entry.parsed.as_ref().is_ok_and(|note| note.checkpoint.size == size);
    let note = count.checked_sub(1).and_then(|last| removals.removals.get(last));
    if let Some(removal) = note.filter(|_| !entries.iter().any(signed)) {
        let mut checkpoints = checkpoint::Writer::open(log, torn)?;
        checkpoints.append(&removal.note)?;
        checkpoints.sync()?;
    }
    if closed_with(log)? == Some(size) {
        return Ok(());
    }
    std::fs::write(log.join(CLOSED), format!("{size}\n"))?;
    File::open(log.join(CLOSED))?.sync_all()
}

/// How much of what was prepared is in the log.
fn said(segment: &Segment) -> io::Result<usize> {
    if !segment.path.try_exists()? {
        return Ok(0);
    }
    let (mut frames, _) = Frames::open(&segment.path).map_err(io::Error::other)?;
    let mut count = 0;
    while frames.next_frame().map_err(io::Error::other)?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// `<log>.removals`, beside its directory.
fn file(log: &Path) -> PathBuf {
    let mut path = log.to_owned().into_os_string();
    path.push(".removals");
    path.into()
}

fn read(log: &Path) -> Result<Option<Removals>, SpoolError> {
    match std::fs::read(file(log)) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(removals) => Ok(Some(removals)),
            Err(error) => Err(damaged(log, format!("{}: {error}", file(log).display()))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SpoolError::Io(error)),
    }
}

#[cfg(test)]
mod tests;
