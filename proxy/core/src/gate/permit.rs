//! Proof that a command was cleared, and the record of its result.

use super::judgement::Clearance;
use super::record;
use crate::mask::{MaskCounts, Masker};
use crate::session::{Recording, Wording};
use bytes::{Bytes, BytesMut};
use proxy_audit::{Event, SessionStamp, Spool, SpoolError};
use proxy_policy::{Command, MaskPlan};
use std::sync::Arc;
use std::time::Instant;

/// Proof that a command was cleared: only the gate builds one, and whatever is sent upstream needs one.
///
/// Give it back to `Gate::finish`. One that is dropped instead records the outcome `aborted`.
///
/// ```
/// fn send(permit: &proxy_core::gate::Permit) -> u64 {
///     permit.number()
/// }
/// ```
///
/// Nobody else can build one:
///
/// ```compile_fail
/// fn send(permit: &proxy_core::gate::Permit) -> u64 {
///     permit.number()
/// }
/// send(&proxy_core::gate::Permit { open: None });
/// ```
#[derive(Debug)]
#[must_use = "a permit is given back to Gate::finish"]
pub struct Permit {
    open: Option<Open>,
    cleared: Cleared,
    started: Instant,
}

/// What was cleared.
#[derive(Debug)]
pub(super) struct Cleared {
    pub(super) number: u64,
    pub(super) command: Arc<Command>,
    pub(super) clearance: Arc<Clearance>,
    pub(super) masker: Masker,
    pub(super) wording: Wording,
}

/// Where the result is recorded.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) spool: Spool,
    pub(super) stamp: SessionStamp,
}

#[derive(Debug)]
struct Open {
    log: Log,
    recording: Recording,
    buffer: BytesMut,
    recorded: u64,
    bytes: u64,
    truncated: bool,
}

/// How a command ended.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// What happened.
    pub outcome: EndKind,
    /// Rows returned or affected.
    pub rows: u64,
    /// The upstream's own status code of a failure: an SQLSTATE, an exit status.
    pub status_code: Option<String>,
    /// What was masked on the way.
    pub masked: MaskCounts,
    /// Whoever records it left a part out.
    pub cut: bool,
}

/// Kinds of end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum EndKind {
    /// The upstream completed it.
    #[default]
    Ok,
    /// The upstream reported an error.
    Error,
    /// It was cut off: a side went away, the session ended.
    Aborted,
}

impl End {
    /// A success with so many rows.
    pub fn ok(rows: u64) -> Self {
        Self { rows, ..Self::default() }
    }
}

impl Permit {
    pub(super) fn new(log: Log, cleared: Cleared, recording: Recording) -> Self {
        let open = Open { log, recording, buffer: BytesMut::new(), recorded: 0, bytes: 0, truncated: false };
        Self { open: Some(open), cleared, started: Instant::now() }
    }

    /// Number of the command within its session, from 1.
    pub const fn number(&self) -> u64 {
        self.cleared.number
    }

    /// The command.
    pub const fn command(&self) -> &Arc<Command> {
        &self.cleared.command
    }

    /// What is masked in its results.
    pub fn mask(&self) -> &MaskPlan {
        &self.cleared.clearance.mask
    }

    /// Masks values and texts as the plan says.
    pub const fn masker(&self) -> &Masker {
        &self.cleared.masker
    }

    pub(super) fn bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.bytes)
    }

    pub(super) fn take_frames(&mut self, frames: &[u8]) -> Result<(), SpoolError> {
        let number = self.cleared.number;
        let Some(open) = &mut self.open else { return Ok(()) };
        open.bytes = open.bytes.saturating_add(length(frames));
        if !open.recording.results {
            return Ok(());
        }
        let room = open.recording.max_result_bytes.saturating_sub(open.recorded);
        let kept = usize::try_from(room).unwrap_or(usize::MAX).min(frames.len());
        open.truncated |= kept < frames.len();
        open.recorded = open.recorded.saturating_add(kept as u64);
        let mut rest = frames.get(..kept).unwrap_or_default();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(CHUNK_BYTES.saturating_sub(open.buffer.len())));
            open.buffer.extend_from_slice(now);
            if open.buffer.len() >= CHUNK_BYTES {
                open.write_chunk(number)?;
            }
            rest = later;
        }
        Ok(())
    }

    pub(super) fn write_chunk(&mut self) -> Result<(), SpoolError> {
        let number = self.cleared.number;
        match &mut self.open {
            Some(open) if !open.buffer.is_empty() => open.write_chunk(number),
            Some(_) | None => Ok(()),
        }
    }

    /// The closing record; the permit is spent.
    pub(super) fn close(mut self, end: End) -> Event {
        let wording = self.cleared.wording;
        self.result(end).unwrap_or_else(|| record::result(record::ResultFacts::default(), wording))
    }

    fn result(&mut self, end: End) -> Option<Event> {
        let open = self.open.take()?;
        let truncated = open.truncated || end.cut;
        let facts = record::ResultFacts {
            number: self.cleared.number,
            rule: Some(&self.cleared.clearance.rule),
            operation: &self.cleared.command.reading.operation,
            end,
            bytes: open.bytes,
            truncated,
            frames: open.buffer.freeze(),
            duration: self.started.elapsed(),
        };
        Some(record::result(facts, self.cleared.wording))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let log = self.open.as_ref().map(|open| (open.log.spool.clone(), open.log.stamp.clone()));
        let end = End { outcome: EndKind::Aborted, ..End::default() };
        if let (Some((spool, stamp)), Some(event)) = (log, self.result(end)) {
            // The decision is on record already, so a gap shows either way.
            if let Err(error) = spool.append(&stamp, event) {
                tracing::warn!(error = %super::Chain(&error), "record aborted command");
            }
        }
    }
}

impl Open {
    fn write_chunk(&mut self, number: u64) -> Result<(), SpoolError> {
        let frames: Bytes = self.buffer.split().freeze();
        self.log.spool.append(&self.log.stamp, record::chunk(number, frames))?;
        Ok(())
    }
}

fn length(frames: &[u8]) -> u64 {
    u64::try_from(frames.len()).unwrap_or(u64::MAX)
}

/// A leaf of the log is at most 65,535 bytes (C2SP tlog-tiles); this leaves room for the envelope.
const CHUNK_BYTES: usize = 48 * 1024;
