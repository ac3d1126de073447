//! Segment files: where the bytes of records lie.
//!
//! A log is a directory of segments named after the number of their first record, `00000000000000000042.seg`:
//!
//! ```text
//! magic "PCLOG\0\0\1"
//! frame: header       first sequence u64 | previous leaf hash 32 | hashes of the tree's right edge, 32 each
//! frame: record       canonical LogRecord
//! frame: record       …
//! ```
//!
//! A frame is `length u32 | CRC-32 u32 | payload`, big endian. The CRC finds torn writes; what finds tampering is
//! the hash chain and the signed checkpoints. The header lets a segment be checked after earlier ones are removed:
//! a false header leads to a root that no checkpoint has.

use crate::merkle::{CompactRange, Hash};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// First bytes of every segment.
pub const MAGIC: [u8; 8] = *b"PCLOG\0\0\x01";

/// Bytes before a frame's payload.
pub const FRAME_HEAD_BYTES: usize = 8;

/// Largest payload of a frame: the largest record; a header is smaller.
pub const MAX_FRAME_BYTES: usize = crate::encode::MAX_LEAF_BYTES;

/// A segment file in a log's directory.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Segment {
    /// Sequence of its first record, by its name.
    pub first: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl Segment {
    /// The segment that begins with this record.
    pub fn new(directory: &Path, first: u64) -> Self {
        Self { first, path: directory.join(format!("{first:020}.seg")) }
    }

    /// All segments of a log, in order.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(directory: &Path) -> io::Result<Vec<Self>> {
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let is_segment = path.extension().is_some_and(|extension| extension == "seg");
            let first = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if let (true, Some(first)) = (is_segment, first) {
                segments.push(Self { first, path });
            }
        }
        segments.sort();
        Ok(segments)
    }
}

/// What a segment says about the log before it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// The tree over all earlier records.
    pub tree: CompactRange,
    /// Leaf hash of the record before the first; `None` at the start of the log.
    pub previous: Option<Hash>,
}

impl Header {
    /// The header's payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = self.tree.size().to_be_bytes().to_vec();
        payload.extend_from_slice(&self.previous.unwrap_or_default());
        self.tree.hashes().iter().for_each(|hash| payload.extend_from_slice(hash));
        payload
    }

    /// Reads a header's payload; `None` when it is not one.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (size, rest) = payload.split_first_chunk::<8>()?;
        let (previous, rest) = rest.split_first_chunk::<32>()?;
        let size = u64::from_be_bytes(*size);
        let (hashes, odd) = rest.as_chunks::<32>();
        let tree = CompactRange::from_parts(size, hashes.to_vec()).filter(|_| odd.is_empty())?;
        Some(Self { tree, previous: (size > 0).then_some(*previous) })
    }
}

/// Appends a frame around this payload.
pub fn frame(buffer: &mut Vec<u8>, payload: &[u8]) {
    buffer.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    buffer.extend_from_slice(&crc32fast::hash(payload).to_be_bytes());
    buffer.extend_from_slice(payload);
}

/// Why a segment cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file cannot be read.
    #[error("read segment {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file ends within a frame: a write was cut short, or is under way.
    #[error("segment {path} ends within the frame at byte {offset}")]
    Torn {
        /// The file.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
    },
    /// A frame's CRC does not fit its bytes. The frame behind it can be read.
    #[error("segment {path} is damaged at byte {offset}: CRC does not fit")]
    Changed {
        /// The file.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
    },
    /// A frame's length is impossible, or the file does not begin as a segment does.
    #[error("segment {path} is damaged at byte {offset}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// Reads the frames of one segment, the header first.
#[derive(Debug)]
pub struct Frames {
    path: PathBuf,
    file: BufReader<File>,
    offset: u64,
}

impl Frames {
    /// Opens a segment and reads its header. `None` when not even the header is there yet.
    ///
    /// # Errors
    /// See [`SegmentError`].
    pub fn open(path: &Path) -> Result<(Self, Header), SegmentError> {
        let file = File::open(path).map_err(|source| SegmentError::Io { path: path.to_owned(), source })?;
        let mut frames =
            Self { path: path.to_owned(), file: BufReader::with_capacity(1 << 17, file), offset: 0 };
        let mut magic = [0; MAGIC.len()];
        if frames.fill(&mut magic)? < magic.len() {
            return Err(frames.torn());
        }
        if magic != MAGIC {
            return Err(frames.damaged("not a segment of this version"));
        }
        frames.offset = MAGIC.len() as u64;
        let Some(payload) = frames.next_frame()? else { return Err(frames.torn()) };
        let header = Header::decode(&payload).ok_or_else(|| SegmentError::Damaged {
            path: path.to_owned(),
            offset: MAGIC.len() as u64,
            what: "not a segment header",
        })?;
        Ok((frames, header))
    }

    /// Goes on at a frame that begins at this byte.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn resume(path: &Path, offset: u64) -> Result<Self, SegmentError> {
        let io_error = |source| SegmentError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(io_error)?;
        file.seek(SeekFrom::Start(offset)).map_err(io_error)?;
        Ok(Self { path: path.to_owned(), file: BufReader::with_capacity(1 << 17, file), offset })
    }

    /// Byte at which the next frame begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next payload, or `None` at the end of the file.
    ///
    /// # Errors
    /// See [`SegmentError`]. Nothing can be read after an error, but for [`SegmentError::Changed`].
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, SegmentError> {
        let offset = self.offset;
        let mut payload = Vec::new();
        let Some(crc) = self.next_into(&mut payload)? else { return Ok(None) };
        if crc32fast::hash(&payload) == crc {
            Ok(Some(payload))
        } else {
            Err(SegmentError::Changed { path: self.path.clone(), offset })
        }
    }

    /// Appends the next payload to the buffer and gives the CRC that it should have, for whoever checks many at once.
    ///
    /// # Errors
    /// As [`Self::next_frame`], but not for the CRC. The buffer is then as it was.
    pub(crate) fn next_into(&mut self, buffer: &mut Vec<u8>) -> Result<Option<u32>, SegmentError> {
        let mut head = [0; FRAME_HEAD_BYTES];
        match self.fill(&mut head)? {
            0 => return Ok(None),
            read if read < head.len() => return Err(self.torn()),
            _ => {}
        }
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if length == 0 || length > MAX_FRAME_BYTES {
            return Err(self.damaged("impossible length"));
        }
        let start = buffer.len();
        buffer.resize(start + length, 0);
        let read = self.fill(buffer.get_mut(start..).unwrap_or_default());
        if !matches!(read, Ok(read) if read == length) {
            buffer.truncate(start);
            return Err(read.err().unwrap_or_else(|| self.torn()));
        }
        self.offset += (FRAME_HEAD_BYTES + length) as u64;
        Ok(Some(u32::from_be_bytes([c0, c1, c2, c3])))
    }

    /// Reads until the buffer is full or the file ends.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, SegmentError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read(rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(SegmentError::Io { path: self.path.clone(), source }),
            }
        }
        Ok(filled)
    }

    fn torn(&self) -> SegmentError {
        SegmentError::Torn { path: self.path.clone(), offset: self.offset }
    }

    fn damaged(&self, what: &'static str) -> SegmentError {
        SegmentError::Damaged { path: self.path.clone(), offset: self.offset, what }
    }
}
