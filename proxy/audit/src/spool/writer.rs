//! What happens under the log's lock: number, chain, hash, write.

use crate::chunks::{self, Sealed};
use crate::encode::{Draft, LogAttributes, Place};
use crate::event::SessionStamp;
use crate::merkle::{CompactRange, Hash, chain_link, leaf_hash};
use crate::segment::{FRAME_HEAD_BYTES, Header, MAGIC, Segment, frame};
use crate::spool::SpoolError;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// What records that close something may take over `max_bytes`.
const RESERVE_BYTES: u64 = 1 << 20;

/// The end of a log, where records are added.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(super) limits: Limits,
    pub(super) log: LogAttributes,
    pub(super) tail: Tail,
    /// Bytes of all segments.
    pub(super) total_bytes: u64,
    /// When `total_bytes` was last measured because the spool was full.
    pub(super) measured: Option<Instant>,
    /// Whole frame of the record at hand; kept for its memory.
    pub(super) buffer: Vec<u8>,
    /// Sealed segments, and chunks of results, that are not yet synced.
    pub(super) sealed: Vec<Arc<File>>,
    /// A segment was created that its directory may not know after a power cut.
    pub(super) directory_dirty: bool,
    pub(super) status: Status,
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fault: Option<(Fault, u64)>,
}

/// How much may be written where.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) directory: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) max_bytes: u64,
}

/// The open segment and the evidence up to its end.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) file: Arc<File>,
    /// Sequence of the segment's first record.
    pub(super) first: u64,
    /// Bytes of whole frames in the segment.
    pub(super) offset: u64,
    pub(super) tree: CompactRange,
    pub(super) last_leaf: Option<Hash>,
}

/// Whether records are taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Status {
    Open,
    Closed,
    Failed,
}

/// A broken disk, for tests.
#[cfg(any(test, feature = "test-util"))]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Writes fail with `EIO`.
    WriteFails,
    /// Half a record is written, then the disk is full; until [`Fault::None`].
    DiskFull,
    /// `fdatasync` fails with `EIO`.
    SyncFails,
    /// The disk works again.
    None,
}

/// What has to be synced so that the records of `tree` are on disk.
#[derive(Debug)]
pub(super) struct Unsynced {
    pub(super) tree: CompactRange,
    pub(super) files: Vec<Arc<File>>,
    pub(super) directory: bool,
}

impl Writer {
    /// Sequence that the next record gets.
    pub(super) fn size(&self) -> u64 {
        self.tail.tree.size()
    }

    /// Adds one record; on an error it is not in the log.
    pub(super) fn append(
        &mut self,
        session: &SessionStamp,
        draft: &Draft,
        may_use_reserve: bool,
    ) -> Result<u64, SpoolError> {
        match self.status {
            Status::Open => {}
            Status::Closed => return Err(SpoolError::Closed),
            Status::Failed => return Err(SpoolError::Failed),
        }
        let sequence = self.size();
        let place = Place {
            sequence,
            session_sequence: session.sequence(),
            chain_previous: chain_link(self.tail.last_leaf.as_ref()),
            time_unix_nano: unix_nanoseconds(),
        };
        let leaf = self.fill_buffer(draft, &place);
        let frame_bytes = self.buffer.len() as u64;
        self.check_room(frame_bytes, may_use_reserve)?;
        if self.tail.offset + frame_bytes > self.limits.segment_bytes && sequence > self.tail.first {
            self.rotate()?;
        }
        self.write_frame()?;
        self.tail.offset += frame_bytes;
        self.total_bytes += frame_bytes;
        self.tail.tree.push(leaf);
        self.tail.last_leaf = Some(leaf);
        session.advance();
        Ok(sequence)
    }

    /// Builds the frame in the buffer and gives the record's leaf hash.
    fn fill_buffer(&mut self, draft: &Draft, place: &Place) -> Hash {
        self.buffer.clear();
        self.buffer.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
        draft.place(&self.log, place, &mut self.buffer);
        let Some((head, leaf)) = self.buffer.split_first_chunk_mut::<FRAME_HEAD_BYTES>() else {
            return [0; 32];
        };
        let length = u32::try_from(leaf.len()).unwrap_or(u32::MAX).to_be_bytes();
        let crc = crc32fast::hash(leaf).to_be_bytes();
        for (byte, value) in head.iter_mut().zip(length.into_iter().chain(crc)) {
            *byte = value;
        }
        leaf_hash(leaf)
    }

    pub(super) fn check_room(&mut self, bytes: u64, may_use_reserve: bool) -> Result<(), SpoolError> {
        let limit = self.limits.max_bytes + if may_use_reserve { RESERVE_BYTES } else { 0 };
        if self.total_bytes + bytes <= limit {
            return Ok(());
        }
        // Somebody may have removed exported segments; looking once a second is enough.
        if self.measured.is_none_or(|at| at.elapsed().as_secs() >= 1) {
            self.measure()?;
        }
        if self.total_bytes + bytes <= limit { Ok(()) } else { Err(SpoolError::Full { limit }) }
    }

    /// Looks how much the segments take now.
    pub(super) fn measure(&mut self) -> Result<(), SpoolError> {
        self.measured = Some(Instant::now());
        self.total_bytes = total_bytes(&self.limits.directory).map_err(SpoolError::Io)?;
        Ok(())
    }

    /// Takes what was written beside the log into the next sync, and into what the log takes.
    pub(super) fn attach(&mut self, sealed: &Sealed) {
        self.total_bytes += sealed.written;
        for file in &sealed.files {
            if !self.sealed.iter().any(|known| Arc::ptr_eq(known, file)) {
                self.sealed.push(Arc::clone(file));
            }
        }
    }

    /// Begins a new segment before this one is full.
    pub(super) fn seal(&mut self) -> Result<(), SpoolError> {
        if self.status == Status::Open && self.size() > self.tail.first { self.rotate() } else { Ok(()) }
    }

    /// Closes the segment and begins the next. Not synced here: the committer does that before it says so.
    fn rotate(&mut self) -> Result<(), SpoolError> {
        let header = Header { tree: self.tail.tree.clone(), previous: self.tail.last_leaf };
        let created = create_segment(&self.limits.directory, &header).map_err(|error| self.judge(error))?;
        let (file, offset) = created;
        self.sealed.push(std::mem::replace(&mut self.tail.file, Arc::new(file)));
        self.tail.first = self.tail.tree.size();
        self.tail.offset = offset;
        self.total_bytes += offset;
        self.directory_dirty = true;
        Ok(())
    }

    fn write_frame(&mut self) -> Result<(), SpoolError> {
        match self.write_buffer() {
            Ok(()) => Ok(()),
            Err(error) => {
                let judged = self.judge(error);
                // A part of the frame may be there; the log must stay whole for readers and for the next record.
                if matches!(judged, SpoolError::DiskFull)
                    && let Err(error) = self.tail.file.set_len(self.tail.offset)
                {
                    self.status = Status::Failed;
                    return Err(SpoolError::Io(error));
                }
                Err(judged)
            }
        }
    }

    #[cfg(not(any(test, feature = "test-util")))]
    fn write_buffer(&mut self) -> io::Result<()> {
        self.tail.file.write_all_at(&self.buffer, self.tail.offset)
    }

    #[cfg(any(test, feature = "test-util"))]
    fn write_buffer(&mut self) -> io::Result<()> {
        match &mut self.fault {
            Some((Fault::WriteFails | Fault::DiskFull, after)) if *after > 0 => *after -= 1,
            Some((Fault::WriteFails, _)) => return Err(io::Error::other("injected write failure")),
            Some((Fault::DiskFull, _)) => {
                let half = self.buffer.get(..self.buffer.len() / 2).unwrap_or_default();
                self.tail.file.write_all_at(half, self.tail.offset)?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            Some((Fault::SyncFails | Fault::None, _)) | None => {}
        }
        self.tail.file.write_all_at(&self.buffer, self.tail.offset)
    }

    /// A full disk can be emptied; after any other error nothing is known.
    fn judge(&mut self, error: io::Error) -> SpoolError {
        if is_full(&error) {
            return SpoolError::DiskFull;
        }
        tracing::error!(error = %error, directory = %self.limits.directory.display(), "write audit spool");
        self.status = Status::Failed;
        SpoolError::Io(error)
    }

    /// Takes what a sync has to cover now.
    pub(super) fn take_unsynced(&mut self) -> Unsynced {
        let mut files = std::mem::take(&mut self.sealed);
        files.push(Arc::clone(&self.tail.file));
        let directory = std::mem::take(&mut self.directory_dirty);
        Unsynced { tree: self.tail.tree.clone(), files, directory }
    }
}

/// Creates the segment that begins where the header ends; gives its file and the bytes in it.
pub(super) fn create_segment(directory: &std::path::Path, header: &Header) -> io::Result<(File, u64)> {
    let segment = Segment::new(directory, header.tree.size());
    let mut bytes = MAGIC.to_vec();
    frame(&mut bytes, &header.encode());
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&segment.path)?;
    match file.write_all_at(&bytes, 0) {
        Ok(()) => Ok((file, bytes.len() as u64)),
        Err(error) => {
            std::fs::remove_file(&segment.path)?;
            Err(error)
        }
    }
}

/// Bytes of all segments of a log, and of the chunks beside it.
pub(super) fn total_bytes(directory: &std::path::Path) -> io::Result<u64> {
    let mut total = 0;
    for segment in Segment::list(directory)? {
        total += std::fs::metadata(&segment.path)?.len();
    }
    total += chunks::list(directory)?.iter().map(|(_, metadata)| metadata.len()).sum::<u64>();
    Ok(total)
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(super) fn unix_nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
