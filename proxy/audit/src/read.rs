//! Reading logs from disk, also while a gateway writes them.

use crate::checkpoint::VERIFIER_KEY;
use crate::chunks::CHUNKS;
use crate::merkle::{CompactRange, Hash, chain_link};
use crate::record::{Record, RecordError};
use crate::segment::{Frames, Segment, SegmentError};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

/// Why a log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The directory cannot be listed.
    #[error("list {path}")]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A segment is damaged.
    #[error("read audit log")]
    Segment(#[from] SegmentError),
    /// A frame does not hold a record.
    #[error("read what follows record {} in {path}", .after.map_or("none".to_owned(), |after| after.to_string()))]
    Record {
        /// Sequence of the last good record.
        after: Option<u64>,
        /// The segment.
        path: PathBuf,
        /// Why.
        #[source]
        source: RecordError,
    },
}

impl ReadError {
    /// Whether it concerns some records, and others may follow it.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::List { .. } | Self::Segment(SegmentError::Io { .. }) => false,
            Self::Segment(
                SegmentError::Torn { .. } | SegmentError::Changed { .. } | SegmentError::Damaged { .. },
            )
            | Self::Record { .. } => true,
        }
    }
}

/// Where reading got to, to go on from there later.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Position {
    /// Sequence of the next record.
    pub next: u64,
    /// Sequence of the first record of its segment.
    pub segment: u64,
    /// Byte in the segment.
    pub offset: u64,
    /// Leaf hash of the record before. A log whose next record is not chained to it is not the log that was read.
    pub leaf_hash: Hash,
}

impl Position {
    /// Whether the log in this directory still reaches to here. One that was replaced or cut may not.
    pub fn is_within(&self, directory: &Path) -> bool {
        let segment = Segment::new(directory, self.segment);
        match std::fs::metadata(&segment.path) {
            Ok(metadata) => metadata.len() >= self.offset,
            // Removed by retention when later ones are there.
            Err(_) => Segment::list(directory)
                .is_ok_and(|segments| segments.iter().any(|segment| segment.first >= self.next)),
        }
    }

    /// Whether this is the record after it, of the log that was read.
    pub fn continues(&self, record: &Record) -> bool {
        record.sequence() == self.next && record.chain_previous() == chain_link(Some(&self.leaf_hash))
    }
}

/// The records of one log in their order. A record that is being written ends the iteration as the end of the log
/// does. What retention removes meanwhile is passed over: there may be a gap before the first segment that is left.
/// What is damaged is an item, and reading goes on behind it: with the next record, or where it cannot be told where
/// that begins, with the next segment. Whoever needs all records stops there.
#[derive(Debug)]
pub struct Records {
    directory: PathBuf,
    segments: VecDeque<Segment>,
    frames: Option<Frames>,
    /// The tree before the first record that was read.
    begin: Option<CompactRange>,
    segment: u64,
    offset: u64,
    last: Option<u64>,
    leaf_hash: Option<Hash>,
}

/// The records of the log in this directory.
///
/// # Errors
/// The directory cannot be listed.
pub fn records(directory: &Path) -> Result<Records, ReadError> {
    Ok(Records::of(directory, list(directory)?.into()))
}

fn list(directory: &Path) -> Result<Vec<Segment>, ReadError> {
    Segment::list(directory).map_err(|source| ReadError::List { path: directory.to_owned(), source })
}

/// The records of the log from this position on. When the segment was removed since, from the first that is there.
///
/// # Errors
/// The directory cannot be listed, or the segment not be opened.
pub fn records_from(directory: &Path, position: &Position) -> Result<Records, ReadError> {
    let mut records = records(directory)?;
    records.segments.retain(|segment| segment.first >= position.segment);
    if records.segments.front().is_some_and(|segment| segment.first == position.segment)
        && let Some(segment) = records.segments.pop_front()
        && let Some(frames) =
            records.unless_removed(&segment, Frames::resume(&segment.path, position.offset))?
    {
        records.frames = Some(frames);
        records.segment = position.segment;
        records.offset = position.offset;
        records.last = position.next.checked_sub(1);
        records.leaf_hash = Some(position.leaf_hash);
    }
    Ok(records)
}

impl Records {
    fn of(directory: &Path, segments: VecDeque<Segment>) -> Self {
        let directory = directory.to_owned();
        Self {
            directory,
            segments,
            frames: None,
            begin: None,
            segment: 0,
            offset: 0,
            last: None,
            leaf_hash: None,
        }
    }

    /// The tree before the first record that was read; `None` before that, and where reading began within a segment.
    pub(crate) fn begin(&self) -> Option<&CompactRange> {
        self.begin.as_ref()
    }

    /// What was opened; `None` when retention removed the segment since it was listed, and reading goes on with what
    /// is left. It removes the oldest first: a segment that is not there, between others that are, is damage.
    fn unless_removed<T>(
        &mut self,
        segment: &Segment,
        opened: Result<T, SegmentError>,
    ) -> Result<Option<T>, ReadError> {
        let error = match opened {
            Ok(opened) => return Ok(Some(opened)),
            Err(error) => error,
        };
        let gone =
            matches!(&error, SegmentError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
        if gone {
            let left = list(&self.directory)?;
            if left.first().is_some_and(|oldest| oldest.first > segment.first) {
                self.segments = left.into();
                return Ok(None);
            }
        }
        Err(error.into())
    }

    /// Behind the record that was read last; `None` before the first.
    pub fn position(&self) -> Option<Position> {
        let leaf_hash = self.leaf_hash?;
        Some(Position {
            next: self.last?.saturating_add(1),
            segment: self.segment,
            offset: self.offset,
            leaf_hash,
        })
    }

    fn step(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            let Some(frames) = &mut self.frames else {
                let Some(segment) = self.segments.pop_front() else { return Ok(None) };
                let opened = Frames::open(&segment.path);
                if matches!(opened, Err(SegmentError::Torn { .. })) && self.segments.is_empty() {
                    return Ok(None);
                }
                if let Some((frames, header)) = self.unless_removed(&segment, opened)? {
                    self.frames = Some(frames);
                    self.segment = segment.first;
                    if self.last.is_none() {
                        self.begin = Some(header.tree);
                    }
                }
                continue;
            };
            match frames.next_frame() {
                Ok(Some(leaf)) => {
                    let record = Record::decode(&leaf).map_err(|source| ReadError::Record {
                        after: self.last,
                        path: frames.path().to_owned(),
                        source,
                    })?;
                    self.last = Some(record.sequence());
                    self.leaf_hash = Some(*record.leaf_hash());
                    self.offset = frames.offset();
                    return Ok(Some(record));
                }
                Ok(None) => self.frames = None,
                Err(SegmentError::Torn { .. }) if self.segments.is_empty() => return Ok(None),
                Err(error) => {
                    if !matches!(error, SegmentError::Changed { .. }) {
                        self.frames = None;
                    }
                    return Err(error.into());
                }
            }
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        let goes_on = match &step {
            Some(Ok(_)) => true,
            Some(Err(error)) => error.is_damage(),
            None => false,
        };
        if !goes_on {
            self.segments.clear();
            self.frames = None;
        }
        step
    }
}

/// Number of the record after the last one of a log, from its last segment alone.
///
/// # Errors
/// The segment cannot be read.
pub fn end(directory: &Path) -> Result<u64, ReadError> {
    let Some(last) = list(directory)?.last().cloned() else { return Ok(0) };
    let mut end = last.first;
    for record in Records::of(directory, VecDeque::from([last])) {
        end = record?.sequence().saturating_add(1);
    }
    Ok(end)
}

/// All logs at or below a directory, sorted: the directories that hold a public key or a segment. That one holds a log
/// does not hide what lies below it.
///
/// # Errors
/// A directory cannot be listed.
pub fn logs(directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        let list_error = |source| ReadError::List { path: path.clone(), source };
        let is_log = holds_log(&path)?;
        for entry in std::fs::read_dir(&path).map_err(list_error)? {
            let entry = entry.map_err(list_error)?;
            let below = entry.path();
            // as many files as the log has sessions with encrypted results
            let is_chunks = is_log && entry.file_name() == CHUNKS;
            if entry.file_type().map_err(list_error)?.is_dir() && (!is_chunks || holds_log(&below)?) {
                pending.push(below);
            }
        }
        if is_log {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn holds_log(directory: &Path) -> Result<bool, ReadError> {
    Ok(directory.join(VERIFIER_KEY).exists() || !list(directory)?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};

    #[tokio::test]
    async fn reading_goes_on_where_it_got_to_within_and_between_segments() {
        let directory = tempfile::TempDir::new().unwrap();
        let options =
            SpoolOptions { segment_bytes: 2_000, ..SpoolOptions::new(directory.path().join("log"), "o") };
        let (spool, _) = Spool::open(&options).unwrap();
        let session = SessionStamp::new(Vec::new());
        for _ in 0..30 {
            spool.append(&session, Event::new(EventName::Error, Severity::Error, "x")).unwrap();
        }
        spool.close().await.unwrap();
        let total = records(&options.directory).unwrap().count() as u64;
        assert_eq!(end(&options.directory).unwrap(), total);
        for stop in 1..=total {
            let mut first = records(&options.directory).unwrap();
            let read = first.by_ref().take(usize::try_from(stop).unwrap()).count() as u64;
            let position = first.position().unwrap();
            assert_eq!((read, position.next), (stop, stop));
            let rest: Vec<u64> = records_from(&options.directory, &position)
                .unwrap()
                .map(|record| record.unwrap().sequence())
                .collect();
            assert_eq!(rest, (stop..total).collect::<Vec<_>>());
        }
        let mut all = records(&options.directory).unwrap();
        assert_eq!(all.by_ref().count() as u64, total);
        let last = all.position().unwrap();
        let mut none = records_from(&options.directory, &last).unwrap();
        assert!(none.next().is_none());
        assert_eq!(none.position(), Some(last));
    }

    #[tokio::test]
    async fn a_log_does_not_hide_those_below_it() {
        let directory = tempfile::TempDir::new().unwrap();
        log(directory.path()).await;
        let below = directory.path().join("audit/chunks/gw-1");
        log(&below).await;
        assert_eq!(logs(directory.path()).unwrap(), [directory.path(), below.as_path()]);
        let mut reports: Vec<_> = logs(directory.path())
            .unwrap()
            .iter()
            .map(|log| crate::verify::verify(log, None).unwrap())
            .collect();
        crate::verify::compare_logs(&mut reports);
        let outcomes: Vec<_> = reports.iter().map(|report| report.outcome).collect();
        assert_eq!(outcomes, [crate::verify::Outcome::Ok, crate::verify::Outcome::Tampered]);
    }

    /// A log of many segments, and the segments.
    async fn log(directory: &Path) -> Vec<Segment> {
        let options = SpoolOptions { segment_bytes: 2_000, ..SpoolOptions::new(directory.to_owned(), "o") };
        let (spool, _) = Spool::open(&options).unwrap();
        let session = SessionStamp::new(Vec::new());
        for _ in 0..30 {
            spool.append(&session, Event::new(EventName::Error, Severity::Error, "x")).unwrap();
        }
        spool.close().await.unwrap();
        let segments = Segment::list(directory).unwrap();
        assert!(segments.len() > 5);
        segments
    }

    fn remove(segments: &[Segment]) {
        for segment in segments {
            std::fs::remove_file(&segment.path).unwrap();
        }
    }

    fn sequences(records: Records) -> Vec<u64> {
        records.map(|record| record.unwrap().sequence()).collect()
    }

    #[tokio::test]
    async fn what_retention_removes_after_it_was_listed_is_passed_over() {
        let directory = tempfile::TempDir::new().unwrap();
        let segments = log(directory.path()).await;
        let total = end(directory.path()).unwrap();

        // Before the first record is read: the records are those that are left, and so is the tree before them.
        let mut read = records(directory.path()).unwrap();
        remove(&segments[..2]);
        assert_eq!(read.next().unwrap().unwrap().sequence(), segments[2].first);
        assert_eq!(read.begin().unwrap().size(), segments[2].first);
        assert_eq!(sequences(read), (segments[2].first + 1..total).collect::<Vec<_>>());

        // After it: what is open is read to its end.
        let mut read = records(directory.path()).unwrap();
        read.next().unwrap().unwrap();
        let position = read.position().unwrap();
        remove(&segments[2..4]);
        let rest = (segments[2].first + 1..segments[3].first).chain(segments[4].first..total);
        assert_eq!(sequences(read), rest.collect::<Vec<_>>());

        // Where reading goes on in a segment that is gone, it goes on with the first that is there.
        let going_on = records_from(directory.path(), &position).unwrap();
        assert_eq!(sequences(going_on), (segments[4].first..total).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_segment_that_is_missing_between_others_is_damage() {
        let directory = tempfile::TempDir::new().unwrap();
        let segments = log(directory.path()).await;
        let mut read = records(directory.path()).unwrap();
        remove(&segments[2..3]);
        assert!(read.any(|record| matches!(record, Err(ReadError::Segment(SegmentError::Io { .. })))));
    }
}
