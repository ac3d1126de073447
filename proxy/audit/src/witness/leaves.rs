//! The leaf hashes of a log in their order, from the place where they were left.

use crate::causes::chain;
use crate::merkle::{CompactRange, ConsistencyProver, Hash, leaf_hash};
use crate::segment::{Frames, Segment};
use std::path::{Path, PathBuf};

/// A tree of a log, and where the record after it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    tree: CompactRange,
    /// The segment and the byte in it; `None` when they have to be found.
    place: Option<(PathBuf, u64)>,
}

impl Seen {
    /// The tree of this size, read from the log. Blocks.
    ///
    /// # Errors
    /// Records of it are not there any more or cannot be read, in words for the operator.
    pub(super) fn find(log: &Path, size: u64) -> Result<Self, String> {
        let segments = Segment::list(log).map_err(|error| format!("list audit log: {error}"))?;
        let Some(segment) = segments.iter().rfind(|segment| segment.first <= size) else {
            return Err(format!("records before {size}, which the witness saw, are not there"));
        };
        let (frames, header) = Frames::open(&segment.path).map_err(|error| chain(&error))?;
        let place = (segment.path.clone(), frames.offset());
        let mut seen = Self { tree: header.tree, place: Some(place) };
        let mut tree = seen.tree.clone();
        seen.place = Some(read(log, &seen, size, |leaf| tree.push(leaf))?);
        seen.tree = tree;
        Ok(seen)
    }

    /// Its number of records.
    pub(super) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The tree of a later size, and the proof that this one is its beginning. Blocks.
    ///
    /// # Errors
    /// The records between cannot be read, in words for the operator.
    pub(super) fn prove(&self, log: &Path, size: u64) -> Result<(Self, Vec<Hash>), String> {
        let mut prover = ConsistencyProver::new(self.tree.clone(), size);
        let place = read(log, self, size, |leaf| prover.push(leaf))?;
        let (tree, proof) = prover.finish().ok_or("records are missing in the audit log")?;
        Ok((Self { tree: tree.clone(), place: Some(place) }, proof))
    }
}

/// Shows the leaf hashes of the records after a tree up to a size, and says where the next one is.
fn read(log: &Path, from: &Seen, size: u64, mut see: impl FnMut(Hash)) -> Result<(PathBuf, u64), String> {
    let mut frames = match &from.place {
        Some((path, offset)) => Frames::resume(path, *offset).map_err(|error| chain(&error))?,
        None => open(log, from.size())?,
    };
    let mut next = from.size();
    while next < size {
        match frames.next_frame().map_err(|error| chain(&error))? {
            Some(leaf) => {
                see(leaf_hash(&leaf));
                next += 1;
            }
            None => frames = open(log, next)?,
        }
    }
    Ok((frames.path().to_owned(), frames.offset()))
}

/// The segment that begins with this record.
fn open(log: &Path, first: u64) -> Result<Frames, String> {
    let (frames, _) = Frames::open(&Segment::new(log, first).path).map_err(|error| chain(&error))?;
    Ok(frames)
}
