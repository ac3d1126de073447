//! What a witness keeps, one file a log, replaced as a whole and synced before anything is answered.
//!
//! ```text
//! <state>/witness.key            Ed25519 seed, 32 bytes, for the owner only
//! <state>/witness.vkey           the public key
//! <state>/logs/<SHA-256 of the origin>.json
//! <state>/conflicts              checkpoints that contradict what was cosigned: proof against whoever signed them
//! ```

use crate::durable::{self, SHARED};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A log as it is kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Kept {
    /// Verifier key of the log.
    pub(super) key: String,
    /// When it was cosigned last, in seconds since 1970.
    pub(super) time: u64,
    /// The note that was cosigned last, as it came.
    pub(super) note: Option<String>,
}

/// Bytes of contradictions that are kept: the first ones prove it.
const MAX_CONFLICT_BYTES: u64 = 1 << 20;

/// The directory of a witness.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    /// Held, not read: two witnesses with one state would contradict one another.
    _lock: File,
}

impl Store {
    /// Opens or makes it, and locks it.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory.join("logs"))?;
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("lock"))?;
        lock.try_lock().map_err(io::Error::from)?;
        Ok(Self { directory: directory.to_owned(), _lock: lock })
    }

    /// All logs that are kept.
    pub(super) fn read(&self) -> io::Result<Vec<Kept>> {
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(self.logs())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                kept.push(serde_json::from_slice(&std::fs::read(&path)?)?);
            }
        }
        Ok(kept)
    }

    /// Keeps a log. It is on disk when this returns.
    pub(super) fn write(&self, origin: &str, kept: &Kept) -> io::Result<()> {
        let name = const_hex::encode(Sha256::digest(origin.as_bytes()));
        let path = self.logs().join(format!("{name}.json"));
        durable::replace(&path, &serde_json::to_vec_pretty(kept)?, SHARED)
    }

    /// Keeps a contradiction, while there is room for it.
    pub(super) fn keep_conflict(&self, note: &str) -> io::Result<()> {
        let path = self.directory.join("conflicts");
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        if file.metadata()?.len() < MAX_CONFLICT_BYTES {
            file.write_all(format!("{note}\n").as_bytes())?;
            file.sync_all()?;
        }
        Ok(())
    }

    fn logs(&self) -> PathBuf {
        self.directory.join("logs")
    }
}
