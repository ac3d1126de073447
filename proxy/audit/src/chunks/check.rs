//! Whether the chunks that records name are there as they were written. Needs no key.

use crate::chunks::{CIPHERTEXTS, ChunkRef, KEY, file, read::ChunkFile};
use crate::merkle::Hash;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

/// What is there of a chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// All: who has an auditor's identity can read it.
    There,
    /// The session's key is gone: nobody can read it any more, and it need not be there.
    Erased,
    /// The session's key is there, and the chunk is not, or not as it was written.
    Damaged,
    /// The session's key is another than the first chunk's record says.
    AnotherKey,
}

/// Looks after chunks of one log.
#[derive(Debug)]
pub struct Checker {
    log: PathBuf,
    sessions: HashMap<String, Known>,
}

/// What the files of a session are.
#[derive(Debug)]
struct Known {
    key: Option<Hash>,
    chunks: Option<ChunkFile>,
}

impl Checker {
    /// For the log in this directory.
    pub fn new(log: &Path) -> Self {
        Self { log: log.to_owned(), sessions: HashMap::new() }
    }

    /// What is there of a chunk.
    ///
    /// # Errors
    /// A file that is there cannot be read.
    pub fn look(&mut self, chunk: &ChunkRef) -> io::Result<Standing> {
        if self.known(chunk, false)? == Standing::Damaged {
            // A gateway may have written it since the file was read.
            return self.known(chunk, true);
        }
        self.known(chunk, false)
    }

    /// Whether the key of a session is gone, so that nobody can read its results any more. Says nothing of a session
    /// without any.
    ///
    /// # Errors
    /// That cannot be told.
    pub fn is_erased(&self, session: &str) -> io::Result<bool> {
        file(&self.log, session, KEY).map_or(Ok(false), |path| path.try_exists().map(|there| !there))
    }

    /// Nothing more of a session will be asked.
    pub fn forget(&mut self, session: &str) {
        self.sessions.remove(session);
    }

    fn known(&mut self, chunk: &ChunkRef, anew: bool) -> io::Result<Standing> {
        if anew || !self.sessions.contains_key(&chunk.session) {
            let known = Known::read(&self.log, &chunk.session)?;
            self.sessions.insert(chunk.session.clone(), known);
        }
        let known = self.sessions.get(&chunk.session);
        Ok(known.map_or(Standing::Damaged, |known| known.standing(chunk)))
    }
}

impl Known {
    fn read(log: &Path, session: &str) -> io::Result<Self> {
        let named = |kind| file(log, session, kind);
        let key = named(KEY).map_or(Ok(None), |path| there(std::fs::read(path)))?;
        let chunks = named(CIPHERTEXTS).map_or(Ok(None), |path| there(ChunkFile::open(&path)))?;
        Ok(Self { key: key.map(|key| Sha256::digest(key).into()), chunks })
    }

    fn standing(&self, chunk: &ChunkRef) -> Standing {
        let Some(key) = self.key else { return Standing::Erased };
        if chunk.key.is_some_and(|recorded| recorded != key) {
            return Standing::AnotherKey;
        }
        let has = self.chunks.as_ref().is_some_and(|chunks| chunks.has(&chunk.digest));
        if has { Standing::There } else { Standing::Damaged }
    }
}

fn there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
