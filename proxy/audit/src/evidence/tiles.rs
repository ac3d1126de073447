//! A whole log as C2SP tlog-tiles: files that any client of transparency logs reads and checks, from a directory or
//! from behind a server of static files. <https://c2sp.org/tlog-tiles@v0.1.0>
//!
//! An entry is a record in its one byte form, which is what is hashed.

use crate::checkpoint;
use crate::merkle::{CompactRange, Hash};
use crate::note::{Checkpoint, SignedCheckpoint};
use crate::read::{ReadError, records};
use std::io;
use std::path::{Path, PathBuf};

/// Hashes of a tile, and entries of a bundle.
const WIDTH: usize = 256;

/// Why a log is not written as tiles. What was written until then is none.
#[derive(Debug, thiserror::Error)]
pub enum TilesError {
    /// The log cannot be read.
    #[error("read audit log")]
    Read(#[from] ReadError),
    /// A file cannot be read or written.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Retention removed the first records, whose hashes a tile needs.
    #[error("the records before {first} of {log} were removed: an archive has them")]
    Beginning {
        /// The log.
        log: PathBuf,
        /// The first that is left.
        first: u64,
    },
    /// A record does not fit an entry, or is none of the tree's.
    #[error("record {sequence} of {log} is not the next of its tree: run portcullis verify")]
    Record {
        /// The log.
        log: PathBuf,
        /// The record.
        sequence: u64,
    },
    /// There is no checkpoint, or it signs other records.
    #[error("the newest checkpoint of {log} does not sign these records: run portcullis verify")]
    Checkpoint {
        /// The log.
        log: PathBuf,
    },
}

/// Writes the log in `log` to the directory `to`, up to its newest checkpoint, and gives what that says.
///
/// # Errors
/// See [`TilesError`].
pub fn write_tiles(log: &Path, to: &Path) -> Result<Checkpoint, TilesError> {
    let io_error = |source| TilesError::Io { path: log.to_owned(), source };
    let no_checkpoint = || TilesError::Checkpoint { log: log.to_owned() };
    let (size, note) = checkpoint::newest(log, u64::MAX).map_err(io_error)?.ok_or_else(no_checkpoint)?;
    let signed = SignedCheckpoint::parse(&note).or(Err(no_checkpoint()))?.checkpoint;
    let mut tiles =
        Tiles { to, tree: CompactRange::default(), entries: Row::new("entries"), levels: Vec::new() };
    for record in records(log)? {
        let record = record?;
        let (sequence, expected) = (record.sequence(), tiles.tree.size());
        if expected == size {
            break;
        }
        if expected == 0 && sequence > 0 {
            return Err(TilesError::Beginning { log: log.to_owned(), first: sequence });
        }
        let wrong = || TilesError::Record { log: log.to_owned(), sequence };
        let leaf = record.leaf();
        let length = u16::try_from(leaf.len()).ok().filter(|_| sequence == expected).ok_or_else(wrong)?;
        tiles.add(length, &leaf, *record.leaf_hash())?;
    }
    if tiles.tree.size() != size || tiles.tree.root() != signed.root {
        return Err(no_checkpoint());
    }
    tiles.finish()?;
    write(&to.join("checkpoint"), note.as_bytes())?;
    Ok(signed)
}

struct Tiles<'a> {
    to: &'a Path,
    tree: CompactRange,
    entries: Row,
    /// Level *n* has the roots of the subtrees of 256ⁿ leaves.
    levels: Vec<Row>,
}

impl Tiles<'_> {
    fn add(&mut self, length: u16, leaf: &[u8], hash: Hash) -> Result<(), TilesError> {
        self.entries.add(self.to, &[&length.to_be_bytes(), leaf])?;
        let mut roots = Vec::new();
        self.tree.push_seeing(hash, |leaves, root| {
            if leaves.trailing_zeros().is_multiple_of(WIDTH.trailing_zeros()) {
                roots.push(*root);
            }
        });
        // The subtrees that end with this leaf, from the leaf itself up: one a level.
        for (level, root) in roots.iter().enumerate() {
            if self.levels.len() == level {
                self.levels.push(Row::new(&level.to_string()));
            }
            if let Some(row) = self.levels.get_mut(level) {
                row.add(self.to, &[root])?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), TilesError> {
        self.levels.iter().chain([&self.entries]).try_for_each(|row| row.finish(self.to))
    }
}

/// Files of one kind, one after another.
struct Row {
    name: String,
    bytes: Vec<u8>,
    /// Of the file that is being filled.
    count: usize,
    index: u64,
}

impl Row {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), bytes: Vec::new(), count: 0, index: 0 }
    }

    fn add(&mut self, to: &Path, parts: &[&[u8]]) -> Result<(), TilesError> {
        self.bytes.extend(parts.concat());
        self.count += 1;
        if self.count == WIDTH {
            write(&self.path(to), &self.bytes)?;
            self.bytes.clear();
            (self.count, self.index) = (0, self.index + 1);
        }
        Ok(())
    }

    /// What is left is a partial file, named after how much it has.
    fn finish(&self, to: &Path) -> Result<(), TilesError> {
        if self.count == 0 {
            return Ok(());
        }
        let mut path = self.path(to).into_os_string();
        path.push(format!(".p/{}", self.count));
        write(Path::new(&path), &self.bytes)
    }

    /// File 1234067 of a row is `x001/x234/067`.
    fn path(&self, to: &Path) -> PathBuf {
        let mut name = format!("{:03}", self.index % 1_000);
        let mut rest = self.index / 1_000;
        while rest > 0 {
            name = format!("x{:03}/{name}", rest % 1_000);
            rest /= 1_000;
        }
        to.join("tile").join(&self.name).join(name)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TilesError> {
    let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = written.and_then(|()| std::fs::write(path, bytes));
    written.map_err(|source| TilesError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash;
    use crate::segment::Segment;
    use crate::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};
    use tempfile::TempDir;

    async fn log(directory: &Path, count: usize) {
        let options = SpoolOptions {
            segment_bytes: 20_000,
            ..SpoolOptions::new(directory.to_owned(), "dev/default/o/0")
        };
        let (spool, _) = Spool::open(&options).unwrap();
        let session = SessionStamp::new(Vec::new());
        for _ in 0..count {
            spool.append(&session, Event::new(EventName::Error, Severity::Error, "x")).unwrap();
        }
        spool.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_log_is_tiles_of_what_its_checkpoint_signs() {
        let folder = TempDir::new().unwrap();
        let (from, to) = (folder.path().join("log"), folder.path().join("tiles"));
        log(&from, 700).await;
        let signed = write_tiles(&from, &to).unwrap();
        assert_eq!(signed.size, 701, "and the record of the start");
        let read = |name: &str| std::fs::read(to.join("tile").join(name)).unwrap();
        let leaves = [read("0/000"), read("0/001"), read("0/002.p/189")].concat();
        let mut tree = CompactRange::default();
        let mut firsts = Vec::new();
        for (number, leaf) in leaves.as_chunks::<32>().0.iter().enumerate() {
            tree.push(*leaf);
            if number % WIDTH == WIDTH - 1 {
                let mut subtree = CompactRange::default();
                leaves.as_chunks::<32>().0[number + 1 - WIDTH..=number]
                    .iter()
                    .for_each(|leaf| subtree.push(*leaf));
                firsts.extend(subtree.root());
            }
        }
        assert_eq!((tree.size(), tree.root()), (701, signed.root));
        assert_eq!(read("1/000.p/2"), firsts);
        let bundle = read("entries/002.p/189");
        let (length, rest) = bundle.split_first_chunk::<2>().unwrap();
        assert_eq!(leaf_hash(&rest[..usize::from(u16::from_be_bytes(*length))]), leaves[512 * 32..513 * 32]);
        assert!(std::fs::read_to_string(to.join("checkpoint")).unwrap().contains("\n701\n"));
    }

    #[tokio::test]
    async fn a_log_that_is_not_whole_is_no_tiles() {
        let folder = TempDir::new().unwrap();
        let from = folder.path().join("log");
        log(&from, 200).await;
        let segments = Segment::list(&from).unwrap();
        let note = std::fs::read(from.join("checkpoints")).unwrap();
        std::fs::write(from.join("checkpoints"), "").unwrap();
        let tiles = |name: &str| write_tiles(&from, &folder.path().join(name)).unwrap_err();
        assert!(matches!(tiles("a"), TilesError::Checkpoint { .. }));
        std::fs::write(from.join("checkpoints"), note).unwrap();
        std::fs::remove_file(&segments[0].path).unwrap();
        assert!(matches!(tiles("b"), TilesError::Beginning { first, .. } if first == segments[1].first));
    }

    #[test]
    fn files_are_named_in_thousands() {
        let row = |index| Row { index, ..Row::new("0") }.path(Path::new(""));
        assert_eq!(row(7), Path::new("tile/0/007"));
        assert_eq!(row(1_234_067), Path::new("tile/0/x001/x234/067"));
    }
}
