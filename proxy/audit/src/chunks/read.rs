//! The reading side: which chunks a session's file has, and what is in them for whoever has an auditor's identity.

use crate::chunks::{CIPHERTEXTS, ChunkRef, HEAD_BYTES, IDENTITY, KEY, MAX_CHUNK_BYTES, file};
use crate::merkle::Hash;
use age::x25519::Identity;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The auditors' private keys at hand.
#[derive(Default)]
pub struct Identities(Vec<Box<dyn age::Identity>>);

/// Why a chunk cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be read.
    #[error("use {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is none of identities.
    #[error("{path} holds no age identities: {why}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The session's key is gone: its results were erased.
    #[error("results of session {session} were erased: its key is not there")]
    Erased {
        /// The session.
        session: String,
    },
    /// None of the identities opens the session's key.
    #[error("results of session {session} cannot be decrypted with the identities given: {why}")]
    Foreign {
        /// The session.
        session: String,
        /// Why.
        why: String,
    },
    /// The chunk that a record names is not there.
    #[error("a part of a result of session {session} is not there, or was changed")]
    Missing {
        /// The session.
        session: String,
    },
}

impl Identities {
    /// Reads files as `age-keygen` writes them.
    ///
    /// # Errors
    /// A file cannot be read, or holds something else. Nothing of it is quoted.
    pub fn read(files: &[PathBuf]) -> Result<Self, OpenError> {
        let mut all = Vec::new();
        for path in files {
            let file = File::open(path).map_err(|source| OpenError::Io { path: path.clone(), source })?;
            let why = |why: String| OpenError::Identity { path: path.clone(), why };
            let read = age::IdentityFile::from_buffer(BufReader::new(file))
                .map_err(|error| why(error.to_string()))?;
            let identities = read.into_identities().map_err(|error| why(error.to_string()))?;
            all.extend(identities);
        }
        Ok(Self(all))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The session's own key: as it is, where it was handed over, or opened by one of these.
    pub(crate) fn of_session(&self, log: &Path, session: &str) -> Result<Identity, OpenError> {
        let foreign = |why: &str| OpenError::Foreign { session: session.to_owned(), why: why.to_owned() };
        match read(file(log, session, IDENTITY), session) {
            Ok(text) => String::from_utf8_lossy(&text).trim().parse().map_err(foreign),
            Err(OpenError::Erased { .. }) => self.unwrap(session, &read(file(log, session, KEY), session)?),
            Err(error) => Err(error),
        }
    }

    /// The session's own identity, from its key file's bytes.
    fn unwrap(&self, session: &str, wrapped: &[u8]) -> Result<Identity, OpenError> {
        let foreign = |why: String| OpenError::Foreign { session: session.to_owned(), why };
        let decryptor = age::Decryptor::new_buffered(wrapped).map_err(|error| foreign(error.to_string()))?;
        let identities = self.0.iter().map(AsRef::as_ref);
        let mut reader = decryptor.decrypt(identities).map_err(|error| foreign(error.to_string()))?;
        let mut text = String::new();
        reader.read_to_string(&mut text).map_err(|error| foreign(error.to_string()))?;
        text.trim().parse().map_err(|why: &str| foreign(why.to_owned()))
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identities").field(&self.0.len()).finish()
    }
}

/// The chunks in a session's file, found by reading it once.
#[derive(Debug)]
pub(super) struct ChunkFile {
    path: PathBuf,
    file: File,
    /// Where each ciphertext begins and how long it is.
    places: HashMap<Hash, (u64, usize)>,
}

impl ChunkFile {
    /// Reads the file. A frame that is cut off at the end is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut reader = BufReader::with_capacity(1 << 17, &file);
        let (mut places, mut offset) = (HashMap::new(), 0_u64);
        let mut head = [0; HEAD_BYTES];
        let mut ciphertext = Vec::new();
        while reader.read_exact(&mut head).is_ok() {
            let length = u32::from_be_bytes(head) as usize;
            if length > MAX_CHUNK_BYTES {
                break;
            }
            ciphertext.resize(length, 0);
            if reader.read_exact(&mut ciphertext).is_err() {
                break;
            }
            offset += HEAD_BYTES as u64;
            places.insert(Sha256::digest(&ciphertext).into(), (offset, length));
            offset += length as u64;
        }
        drop(reader);
        Ok(Self { path: path.to_owned(), file, places })
    }

    /// Whether the chunk is there as it was written.
    pub(super) fn has(&self, digest: &Hash) -> bool {
        self.places.contains_key(digest)
    }

    /// The plaintext of a chunk.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(super) fn plaintext(&self, chunk: &ChunkRef, identity: &Identity) -> Result<Vec<u8>, OpenError> {
        let missing = || missing(&chunk.session);
        let (offset, length) = self.places.get(&chunk.digest).ok_or_else(missing)?;
        let mut ciphertext = vec![0; *length];
        self.file
            .read_exact_at(&mut ciphertext, *offset)
            .map_err(|source| OpenError::Io { path: self.path.clone(), source })?;
        let opened = age::decrypt(identity, &ciphertext);
        let foreign = |why: String| OpenError::Foreign { session: chunk.session.clone(), why };
        let plaintext = opened.map_err(|error| foreign(error.to_string()))?;
        if plaintext.len() as u64 == chunk.bytes { Ok(plaintext) } else { Err(missing()) }
    }
}

/// Opens chunks of logs, as they are asked for; the last session stays open.
#[derive(Debug)]
pub struct Chunks<'a> {
    identities: &'a Identities,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    log: PathBuf,
    session: String,
    chunks: ChunkFile,
    identity: SessionIdentity,
}

struct SessionIdentity(Identity);

impl fmt::Debug for SessionIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionIdentity")
    }
}

impl<'a> Chunks<'a> {
    /// Nothing is open yet.
    pub fn new(identities: &'a Identities) -> Self {
        Self { identities, open: None }
    }

    /// The plaintext of a chunk of the log in this directory.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn plaintext(&mut self, log: &Path, chunk: &ChunkRef) -> Result<Vec<u8>, OpenError> {
        let known = self.open.take().filter(|open| {
            open.log == log && open.session == chunk.session && open.chunks.has(&chunk.digest)
        });
        let open = match known {
            Some(open) => open,
            None => self.open(log, &chunk.session)?,
        };
        let open = self.open.insert(open);
        open.chunks.plaintext(chunk, &open.identity.0)
    }

    fn open(&self, log: &Path, session: &str) -> Result<Open, OpenError> {
        let identity = SessionIdentity(self.identities.of_session(log, session)?);
        let path = file(log, session, CIPHERTEXTS).ok_or_else(|| missing(session))?;
        let chunks = match ChunkFile::open(&path) {
            Ok(chunks) => chunks,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(session)),
            Err(source) => return Err(OpenError::Io { path, source }),
        };
        Ok(Open { log: log.to_owned(), session: session.to_owned(), chunks, identity })
    }
}

fn missing(session: &str) -> OpenError {
    OpenError::Missing { session: session.to_owned() }
}

/// The text of a file that may be erased.
fn read(path: Option<PathBuf>, session: &str) -> Result<Vec<u8>, OpenError> {
    let path = path.ok_or_else(|| missing(session))?;
    match std::fs::read(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(OpenError::Erased { session: session.to_owned() })
        }
        Err(source) => Err(OpenError::Io { path, source }),
    }
}
