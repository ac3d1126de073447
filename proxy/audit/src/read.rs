//! Reading logs from disk, also while a gateway writes them.

use crate::checkpoint::VERIFIER_KEY;
use crate::record::{Record, RecordError};
use crate::segment::{Frames, Segment, SegmentError};
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
    #[error("record after {after:?} in {path}")]
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

/// The records of one log in their order. A record that is being written ends the iteration as the end of the log
/// does.
#[derive(Debug)]
pub struct Records {
    segments: VecDeque<Segment>,
    frames: Option<Frames>,
    last: Option<u64>,
}

/// The records of the log in this directory.
///
/// # Errors
/// The directory cannot be listed.
pub fn records(directory: &Path) -> Result<Records, ReadError> {
    let segments = Segment::list(directory)
        .map_err(|source| ReadError::List { path: directory.to_owned(), source })?
        .into();
    Ok(Records { segments, frames: None, last: None })
}

impl Records {
    fn step(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            let Some(frames) = &mut self.frames else {
                let Some(segment) = self.segments.pop_front() else { return Ok(None) };
                match Frames::open(&segment.path) {
                    Ok((frames, _)) => self.frames = Some(frames),
                    Err(SegmentError::Torn { .. }) if self.segments.is_empty() => return Ok(None),
                    Err(error) => return Err(error.into()),
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
                    return Ok(Some(record));
                }
                Ok(None) => self.frames = None,
                Err(SegmentError::Torn { .. }) if self.segments.is_empty() => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        if !matches!(step, Some(Ok(_))) {
            self.segments.clear();
            self.frames = None;
        }
        step
    }
}

/// All logs at or below a directory, sorted: the directories that hold a public key or a segment.
///
/// # Errors
/// A directory cannot be listed.
pub fn logs(directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        let list_error = |source| ReadError::List { path: path.clone(), source };
        if path.join(VERIFIER_KEY).exists() || !Segment::list(&path).map_err(list_error)?.is_empty() {
            found.push(path);
            continue;
        }
        for entry in std::fs::read_dir(&path).map_err(list_error)? {
            let entry = entry.map_err(list_error)?;
            if entry.file_type().map_err(list_error)?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
