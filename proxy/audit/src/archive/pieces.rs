//! What of a log on disk is to be delivered next. Nothing leaves that a power cut could still take: of segments what
//! the log's own sync covers, of the other files what was synced here.

use crate::archive::listing::ArchivedLog;
use crate::archive::{ArchiveError, ArchivedFile};
use crate::checkpoint::{CHECKPOINTS, VERIFIER_KEY, whole_notes};
use crate::chunks::{self, CHUNKS};
use crate::inventory::{CERTIFICATE, CERTIFIER_KEY, INVENTORY};
use crate::segment::{Frames, Segment, SegmentError};
use crate::spool::CLOSED;
use crate::witness::COSIGNED;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// Files that grow by signed notes.
pub(super) const NOTES: [&str; 2] = [CHECKPOINTS, COSIGNED];

/// All files of a log that are delivered, but the segments.
pub(super) const FILES: [&str; 7] =
    [VERIFIER_KEY, CERTIFICATE, CERTIFIER_KEY, INVENTORY, CHECKPOINTS, COSIGNED, CLOSED];

/// How far up the inventory is looked for: it lies beside the folders of the namespaces.
const INVENTORY_ABOVE: usize = 3;

/// Bytes of a file of the log.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) file: String,
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
}

/// Where the next record to deliver is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Its segment; all before it are delivered. `None` while the log has none.
    segment: Option<Segment>,
    offset: u64,
    /// Its sequence.
    pub(super) sequence: u64,
}

impl Place {
    /// Behind what the archive has of the log: within the first segment here that it does not have as a whole.
    pub(super) fn find(directory: &Path, archived: &ArchivedLog) -> Result<Self, ArchiveError> {
        let segments = segments(directory)?;
        for (number, segment) in segments.iter().enumerate() {
            let name = name_of(segment);
            let there = archived.files.get(&name).map_or(0, ArchivedFile::whole_bytes);
            let here = std::fs::metadata(&segment.path).map_err(io_error(&segment.path))?.len();
            if there > here {
                return Err(ArchiveError::Differs { path: name });
            }
            if there < here || number + 1 == segments.len() {
                let sequence = sequence_at(segment, there)?;
                return Ok(Self { segment: Some(segment.clone()), offset: there, sequence });
            }
        }
        Ok(Self { segment: None, offset: 0, sequence: 0 })
    }

    /// Records below this are in segments that the archive has as a whole.
    pub(super) fn complete_below(&self) -> u64 {
        self.segment.as_ref().map_or(0, |segment| segment.first)
    }

    /// Reads the next records, up to the one with this sequence and to about so many bytes, and moves behind them.
    pub(super) fn next(
        &mut self,
        directory: &Path,
        limit: u64,
        at_most: u64,
    ) -> Result<Option<Piece>, ArchiveError> {
        loop {
            let Some(segment) = self.segment.clone() else {
                self.segment = segments(directory)?.into_iter().next();
                self.sequence = self.segment.as_ref().map_or(0, |segment| segment.first);
                if self.segment.is_none() {
                    return Ok(None);
                }
                continue;
            };
            if let Some(piece) = self.within(&segment, limit, at_most)? {
                return Ok(Some(piece));
            }
            let following = Segment::new(directory, self.sequence);
            if self.sequence >= limit || following == segment || !following.path.is_file() {
                return Ok(None);
            }
            (self.segment, self.offset) = (Some(following), 0);
        }
    }

    fn within(&mut self, segment: &Segment, limit: u64, at_most: u64) -> Result<Option<Piece>, ArchiveError> {
        if self.sequence >= limit {
            return Ok(None);
        }
        let mut frames = match self.offset {
            0 => Frames::open(&segment.path)?.0,
            offset => Frames::resume(&segment.path, offset)?,
        };
        let (from, mut sequence) = (self.offset, self.sequence);
        while sequence < limit && frames.offset() - from < at_most {
            match frames.next_frame() {
                Ok(Some(_)) => sequence += 1,
                // What is torn is being written, or in a log that nobody writes any more was cut short by a crash.
                Ok(None) | Err(SegmentError::Torn { .. }) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if sequence == self.sequence {
            return Ok(None);
        }
        let bytes = read(&segment.path, from, frames.offset() - from)?;
        (self.offset, self.sequence) = (frames.offset(), sequence);
        Ok(Some(Piece { file: name_of(segment), offset: from, bytes }))
    }
}

fn sequence_at(segment: &Segment, offset: u64) -> Result<u64, ArchiveError> {
    let mut sequence = segment.first;
    if offset == 0 {
        return Ok(sequence);
    }
    let (mut frames, _) = Frames::open(&segment.path)?;
    while frames.offset() < offset && frames.next_frame()?.is_some() {
        sequence += 1;
    }
    if frames.offset() == offset {
        Ok(sequence)
    } else {
        Err(ArchiveError::Differs { path: name_of(segment) })
    }
}

/// The whole signed notes of a file from this byte on, about so many bytes of them at most.
pub(super) fn notes(directory: &Path, file: &str, from: u64, at_most: u64) -> Result<Piece, ArchiveError> {
    let path = directory.join(file);
    let bytes = match File::open(&path) {
        Ok(opened) => {
            opened.sync_data().map_err(io_error(&path))?;
            drop(opened);
            let bytes = read(&path, from, at_most)?;
            bytes.slice(..whole_notes(&bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Bytes::new(),
        Err(error) => return Err(io_error(&path)(error)),
    };
    Ok(Piece { file: file.to_owned(), offset: from, bytes })
}

/// The files that are written once: the log's key, its certificate, and the inventory as it is now, by which logs
/// before this one are missed.
pub(super) fn once(directory: &Path) -> Result<Vec<Piece>, ArchiveError> {
    let mut above = directory.ancestors().take(INVENTORY_ABOVE + 1);
    let inventory = above.find(|above| above.join(INVENTORY).is_file());
    let beside = inventory.into_iter().flat_map(|above| [above.join(INVENTORY), above.join(CERTIFIER_KEY)]);
    let paths = [directory.join(VERIFIER_KEY), directory.join(CERTIFICATE)].into_iter().chain(beside);
    let mut pieces = Vec::new();
    for path in paths {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        pieces.extend(whole(&path, file)?);
    }
    Ok(pieces)
}

/// The files beside the log with encrypted results, by their names in the archive, and how long they are.
pub(super) fn chunk_files(directory: &Path) -> Result<Vec<(String, PathBuf, u64)>, ArchiveError> {
    let folder = directory.join(CHUNKS);
    let files = chunks::list(directory).map_err(io_error(&folder))?;
    let named = files.into_iter().map(|(name, metadata)| {
        let path = folder.join(&name);
        (format!("{CHUNKS}.{name}"), path, metadata.len())
    });
    Ok(named.collect())
}

/// Bytes of such a file from here on, about so many at most: whole chunks, for what is not whole may be written anew.
pub(super) fn chunk_piece(file: &str, path: &Path, from: u64, at_most: u64) -> Result<Piece, ArchiveError> {
    let is_key = !file.ends_with(&format!(".{}", chunks::CIPHERTEXTS));
    let length =
        if is_key { u64::MAX } else { chunks::whole_bytes(path, from, at_most).map_err(io_error(path))? };
    Ok(Piece { file: file.to_owned(), offset: from, bytes: read(path, from, length)? })
}

/// The mark that nothing more comes, if it is there.
pub(super) fn closed(directory: &Path) -> Result<Option<Piece>, ArchiveError> {
    whole(&directory.join(CLOSED), CLOSED.to_owned())
}

fn whole(path: &Path, file: String) -> Result<Option<Piece>, ArchiveError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(Piece { file, offset: 0, bytes: bytes.into() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(path)(error)),
    }
}

fn read(path: &Path, from: u64, bytes: u64) -> Result<Bytes, ArchiveError> {
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut buffer = Vec::new();
        file.take(bytes).read_to_end(&mut buffer)?;
        Ok(buffer)
    };
    read().map(Bytes::from).map_err(io_error(path))
}

fn segments(directory: &Path) -> Result<Vec<Segment>, ArchiveError> {
    Segment::list(directory).map_err(io_error(directory))
}

fn name_of(segment: &Segment) -> String {
    segment.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

pub(super) fn io_error(path: &Path) -> impl Fn(io::Error) -> ArchiveError {
    let path: PathBuf = path.to_owned();
    move |source| ArchiveError::Io { path: path.clone(), source }
}
