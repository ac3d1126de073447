//! The `checkpoints` file of a log: signed notes, one after another, an empty line after each; and the log's keys.

use crate::merkle::Hash;
use crate::note::{LogKey, LogSigner, NoteError, SignedCheckpoint};
use crate::witness::COSIGNED;
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Name of the checkpoints file in a log's directory.
pub const CHECKPOINTS: &str = "checkpoints";

/// Name of the public key in a log's directory.
pub const VERIFIER_KEY: &str = "log.vkey";

/// One note of the file, as it lies there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The note's bytes, without the empty line after it.
    pub note: String,
    /// The note, or why it is not one.
    pub parsed: Result<SignedCheckpoint, NoteError>,
}

impl Entry {
    /// SHA-256 of the note.
    pub fn digest(&self) -> Hash {
        Sha256::digest(self.note.as_bytes()).into()
    }
}

/// All notes of a log, in their order, and the bytes after the last whole one. A log without the file has none.
///
/// # Errors
/// The file cannot be read.
pub fn read(directory: &Path) -> io::Result<(Vec<Entry>, u64)> {
    read_file(&directory.join(CHECKPOINTS))
}

/// As [`read`], of the checkpoints that witnesses cosigned.
///
/// # Errors
/// The file cannot be read.
pub fn read_cosigned(directory: &Path) -> io::Result<Vec<Entry>> {
    Ok(read_file(&directory.join(COSIGNED))?.0)
}

fn read_file(path: &Path) -> io::Result<(Vec<Entry>, u64)> {
    let (notes, rest) = read_notes(path)?;
    let entry = |note: String| Entry { parsed: SignedCheckpoint::parse(&note), note };
    Ok((notes.into_iter().map(entry).collect(), rest))
}

/// The notes of a file, and the bytes after the last whole one. A file that is not there has none.
pub(crate) fn read_notes(path: &Path) -> io::Result<(Vec<String>, u64)> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    let text = |note: &[u8]| String::from_utf8_lossy(without_end(note)).into_owned();
    let rest = bytes.len().saturating_sub(whole_notes(&bytes));
    Ok((notes(&bytes).map(text).collect(), rest as u64))
}

/// Where the last whole note of these bytes ends, with the empty line after it.
pub(crate) fn whole_notes(bytes: &[u8]) -> usize {
    notes(bytes).map(<[u8]>::len).sum()
}

/// Size of the last whole note of these bytes.
pub(crate) fn last_size(bytes: &[u8]) -> Option<u64> {
    let note = without_end(notes(bytes).last()?);
    SignedCheckpoint::parse(std::str::from_utf8(note).ok()?).ok().map(|signed| signed.checkpoint.size)
}

/// The whole notes of these bytes, each with the empty line after it.
fn notes(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (note, after) = rest.split_at_checked(note_end(rest)?)?;
        rest = after;
        Some(note)
    })
}

/// A note without the empty line after it.
fn without_end(note: &[u8]) -> &[u8] {
    note.strip_suffix(b"\n").unwrap_or(note)
}

/// Where the first note of these bytes ends: text, empty line, signatures, empty line. Counted in bytes and not in
/// characters, for what a crash left may end within one.
fn note_end(bytes: &[u8]) -> Option<usize> {
    let signatures = empty_line(bytes)?;
    Some(signatures + empty_line(bytes.get(signatures..)?)?)
}

/// Where the first empty line ends.
fn empty_line(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\n\n").map(|at| at + 2)
}

/// The newest note of a size up to this, from the end of the file alone: its size and its text.
///
/// # Errors
/// The file cannot be read. That there is none is not an error.
pub fn newest(directory: &Path, at_most: u64) -> io::Result<Option<(u64, String)>> {
    newest_of(&directory.join(CHECKPOINTS), at_most)
}

/// As [`newest`], of the checkpoints that witnesses cosigned.
///
/// # Errors
/// The file cannot be read. That there is none is not an error.
pub fn newest_cosigned(directory: &Path, at_most: u64) -> io::Result<Option<(u64, String)>> {
    newest_of(&directory.join(COSIGNED), at_most)
}

fn newest_of(path: &Path, at_most: u64) -> io::Result<Option<(u64, String)>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let paragraphs: Vec<&str> = text.split("\n\n").collect();
    // Text and signatures take turns; the first paragraph may be the rest of either.
    let notes = paragraphs.iter().zip(paragraphs.iter().skip(1)).filter_map(|(text, signatures)| {
        let note = format!("{text}\n\n{signatures}\n");
        let parsed = SignedCheckpoint::parse(&note).ok()?;
        Some((parsed.checkpoint.size, note))
    });
    Ok(notes.filter(|(size, _)| *size <= at_most).max_by_key(|(size, _)| *size))
}

/// Bytes at the end of the file in which the newest note is looked for: some 60 notes.
const TAIL_BYTES: u64 = 16 << 10;

/// Appends notes to the file.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
}

impl Writer {
    /// Opens the file for appending and cuts off a note that a crash left unfinished.
    pub(crate) fn open(directory: &Path, torn_bytes: u64) -> io::Result<Self> {
        Self::open_file(&directory.join(CHECKPOINTS), torn_bytes)
    }

    /// As [`Self::open`], of another file of notes.
    pub(crate) fn open_file(path: &Path, torn_bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        if torn_bytes > 0 {
            file.set_len(file.metadata()?.len().saturating_sub(torn_bytes))?;
        }
        Ok(Self { file })
    }

    /// Appends one note. It is not synced: a note lost in a crash is made again at the next opening. What a failed
    /// write left is cut off.
    pub(crate) fn append(&mut self, note: &str) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let written = self.file.write_all(format!("{note}\n").as_bytes());
        if written.is_err() {
            self.file.set_len(length)?;
        }
        written
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reads the log's private key, or makes one for a log that has none yet, and writes the public key beside it.
///
/// The private key file is a 32-byte Ed25519 seed, mode 0600.
pub(crate) fn load_or_create_key(
    directory: &Path,
    key_file: &Path,
    origin: &str,
) -> Result<LogSigner, KeyError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::Io { path, source }
    };
    let path = directory.join(VERIFIER_KEY);
    if path.exists() && !key_file.exists() {
        return Err(KeyError::Gone { path: key_file.to_owned() });
    }
    let seed = load_or_create_seed(key_file)?;
    let signer = LogSigner::new(origin, &seed).map_err(KeyError::Origin)?;
    match std::fs::read_to_string(&path) {
        Ok(vkey) if LogKey::parse(&vkey).is_ok_and(|key| key == signer.public()) => {}
        Ok(_) => return Err(KeyError::Different { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::write(&path, format!("{}\n", signer.public())).map_err(io_error(&path))?;
        }
        Err(source) => return Err(KeyError::Io { path, source }),
    }
    Ok(signer)
}

/// Reads a private key, or makes one: an Ed25519 seed of 32 bytes, mode 0600.
pub(crate) fn load_or_create_seed(key_file: &Path) -> Result<[u8; 32], KeyError> {
    let io_error = |source| KeyError::Io { path: key_file.to_owned(), source };
    match std::fs::read(key_file) {
        Ok(bytes) => <[u8; 32]>::try_from(bytes).or(Err(KeyError::NotAKey { path: key_file.to_owned() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let seed: [u8; 32] = rand::random();
            create_private(key_file, &seed).map_err(io_error)?;
            Ok(seed)
        }
        Err(source) => Err(io_error(source)),
    }
}

fn create_private(path: &Path, seed: &[u8; 32]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(seed)?;
    file.sync_all()
}

/// Why the log's key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read or written.
    #[error("use log key {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The private key file does not hold 32 bytes.
    #[error("{path} is not a log key of 32 bytes")]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The log's private key is not there: it was closed for good.
    #[error("the log has no key any more ({path}): it takes no more records")]
    Gone {
        /// The private key file.
        path: PathBuf,
    },
    /// The log belongs to another key or origin.
    #[error("{path} is the key of another log")]
    Different {
        /// The public key file.
        path: PathBuf,
    },
    /// The origin cannot be the name of a key.
    #[error("log origin")]
    Origin(#[source] NoteError),
}

#[cfg(test)]
mod tests;
