//! The log as the export sees it: batches of records that are on disk, from the cursor on.

use crate::causes::chain;
use crate::checkpoint;
use crate::export::{ExportError, Undelivered, UndeliveredSpan, cursor};
use crate::record::Record;
use crate::segment::{Frames, Segment};
use crate::spool::Durable;
use jiff::Timestamp;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use std::path::{Path, PathBuf};

/// Most records of one request.
const BATCH_RECORDS: usize = 512;

/// Most bytes of one request: gRPC servers take 4 MiB by default.
const BATCH_BYTES: usize = 3_670_016;

/// Records that follow one another.
pub(super) struct Batch {
    pub(super) first: u64,
    pub(super) records: Vec<LogRecord>,
}

/// Where the next record is.
#[derive(Clone, Debug)]
struct Position {
    sequence: u64,
    /// The segment and the byte in it; `None` when they have to be found.
    place: Option<(PathBuf, u64)>,
}

pub(super) struct Source {
    directory: PathBuf,
    durable: Durable,
    /// What was answered for.
    acknowledged: Position,
    /// Behind the batch that was read last.
    ahead: Position,
    undelivered: Option<UndeliveredSpan>,
}

impl Source {
    pub(super) fn new(directory: &Path, durable: Durable) -> Result<Self, ExportError> {
        let error = |name: &str| {
            let path = directory.join(name);
            move |source| ExportError::Cursor { path, source }
        };
        let sequence = cursor::read(directory).map_err(error(cursor::CURSOR))?;
        // A list that cannot be read is said at the start.
        let listed = cursor::undelivered(directory).map_err(error(cursor::UNDELIVERED))?;
        let undelivered = listed.iter().fold(None, |span, range| Some(UndeliveredSpan::and(span, range)));
        let position = Position { sequence, place: None };
        Ok(Self {
            directory: directory.to_owned(),
            durable,
            acknowledged: position.clone(),
            ahead: position,
            undelivered,
        })
    }

    /// What the list of undelivered records comes to.
    pub(super) fn undelivered(&self) -> Option<UndeliveredSpan> {
        self.undelivered
    }

    pub(super) fn next(&self) -> u64 {
        self.acknowledged.sequence
    }

    /// Records on disk that are not answered for; all of `u64` for a closed log, whose end shows when it is read.
    pub(super) fn lag(&self) -> u64 {
        self.durable.size().map_or(u64::MAX, |size| size.saturating_sub(self.next()))
    }

    /// The newest checkpoint over nothing but what was answered for.
    pub(super) fn newest_checkpoint(&self) -> Result<Option<(u64, String)>, String> {
        let newest = checkpoint::newest(&self.directory, self.next());
        newest.map_err(|error| format!("read checkpoints: {error}"))
    }

    /// Waits until there is more on disk; `false` when there will never be.
    pub(super) async fn wait(&mut self) -> bool {
        self.durable.beyond(self.acknowledged.sequence).await
    }

    /// Reads the next batch, if there is one. Until it is acknowledged, the same comes again.
    pub(super) async fn next_batch(&mut self) -> Result<Option<Batch>, String> {
        let limit = self.durable.size().unwrap_or(u64::MAX);
        let (directory, mut position) = (self.directory.clone(), self.acknowledged.clone());
        let read = tokio::task::spawn_blocking(move || {
            let batch = read_batch(&directory, &mut position, limit)?;
            Ok::<_, String>((batch, position))
        });
        let (batch, position) = read.await.map_err(|error| error.to_string())??;
        self.ahead = position;
        Ok(batch)
    }

    /// The batch that was read last is answered for.
    pub(super) fn acknowledge(&mut self, next: u64) -> Result<(), String> {
        cursor::write(&self.directory, next).map_err(|error| format!("write export cursor: {error}"))?;
        self.acknowledged = self.ahead.clone();
        self.acknowledged.sequence = next;
        Ok(())
    }

    pub(super) fn keep_undelivered(
        &mut self,
        first: u64,
        count: u64,
        rejected: u64,
        why: String,
    ) -> Result<(), String> {
        let last = first + count.saturating_sub(1);
        let range = Undelivered { time: Timestamp::now(), first, last, rejected, why };
        cursor::keep(&self.directory, &range)
            .map_err(|error| format!("write list of undelivered: {error}"))?;
        self.undelivered = Some(UndeliveredSpan::and(self.undelivered, &range));
        Ok(())
    }
}

/// Reads from the position up to the limits and moves it. The file is opened anew each time: what lies behind the
/// durable records may have been cut off and written again since.
fn read_batch(directory: &Path, position: &mut Position, limit: u64) -> Result<Option<Batch>, String> {
    let mut batch: Option<Batch> = None;
    let mut bytes = 0;
    while position.sequence < limit {
        let Some(mut frames) = open(directory, position)? else { break };
        while position.sequence < limit {
            let frame = match frames.next_frame() {
                Ok(frame) => frame,
                // In a closed log the durable end is not known; a torn tail is the end.
                Err(error) if limit == u64::MAX && is_torn(&error) => None,
                Err(error) => return Err(chain(&error)),
            };
            let Some(leaf) = frame else { break };
            let record = Record::decode(&leaf).map_err(|error| chain(&error))?;
            if record.sequence() < position.sequence {
                continue;
            }
            let full = batch.as_ref().is_some_and(|batch| batch.records.len() >= BATCH_RECORDS);
            if full || bytes + leaf.len() + 8 > BATCH_BYTES {
                return Ok(batch);
            }
            bytes += leaf.len() + 8;
            position.sequence = record.sequence() + 1;
            position.place = Some((frames.path().to_owned(), frames.offset()));
            let batch = batch.get_or_insert_with(|| Batch { first: record.sequence(), records: Vec::new() });
            batch.records.push(record.into_log_record());
        }
        if position.sequence < limit && !next_segment(directory, position)? {
            break;
        }
    }
    Ok(batch)
}

fn is_torn(error: &crate::segment::SegmentError) -> bool {
    matches!(error, crate::segment::SegmentError::Torn { .. })
}

fn open(directory: &Path, position: &mut Position) -> Result<Option<Frames>, String> {
    // A segment that was sent as a whole may be gone.
    if let Some((path, offset)) = position.place.as_ref().filter(|(path, _)| path.exists()) {
        return Frames::resume(path, *offset).map(Some).map_err(|error| chain(&error));
    }
    let segments = Segment::list(directory).map_err(|error| error.to_string())?;
    let segment = segments.iter().rfind(|segment| segment.first <= position.sequence).or(segments.first());
    let Some(segment) = segment else { return Ok(None) };
    Frames::open(&segment.path).map(|(frames, _)| Some(frames)).map_err(|error| chain(&error))
}

/// Moves to the start of the segment that begins with the next record.
fn next_segment(directory: &Path, position: &mut Position) -> Result<bool, String> {
    let segment = Segment::new(directory, position.sequence);
    let here = position.place.as_ref().is_some_and(|(path, _)| *path == segment.path);
    if here || !segment.path.try_exists().map_err(|error| error.to_string())? {
        return Ok(false);
    }
    let (frames, _) = Frames::open(&segment.path).map_err(|error| chain(&error))?;
    position.place = Some((segment.path, frames.offset()));
    Ok(true)
}
