//! Which logs there are: the certificates of all logs of a state directory, each naming the one before it.
//!
//! A log that was begun is in the inventory before its first session. A log that is gone, also the last one, is missed
//! by it; an inventory that lost an entry in its middle does not chain. One that was cut at its end together with the
//! logs, or deleted with all of them, is what a witness finds: the certificates went there too.

use crate::checkpoint::{VERIFIER_KEY, Writer, read_notes};
use crate::merkle::Hash;
use crate::note::certificate::{Certificate, Certified};
use crate::note::{LogKey, LogSigner, NoteError};
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the inventory, beside the directories of the Resources' logs.
pub const INVENTORY: &str = "inventory";

/// Name of the certifier's public key beside the inventory.
pub const CERTIFIER_KEY: &str = "certifier.vkey";

/// Name of a log's certificate in its directory.
pub const CERTIFICATE: &str = "log.certificate";

/// An inventory as it lies there. Nothing of it is believed: see [`crate::verify::verify_inventory`].
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Its entries, in their order; or why one is none.
    pub entries: Vec<Result<Certificate, NoteError>>,
    /// Bytes after the last whole entry.
    pub torn_bytes: u64,
}

/// Why a log cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// A file cannot be read or written.
    #[error("use {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The public key beside the log is not one.
    #[error("read {path}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: NoteError,
    },
    /// The last entry is not readable, so that none can name it.
    #[error("{path} is damaged: run portcullis verify, then move it away")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl Inventory {
    /// Reads the inventory in this directory; without the file it is empty.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let (notes, torn_bytes) = read_notes(&directory.join(INVENTORY))?;
        Ok(Self { entries: notes.iter().map(|note| Certificate::parse(note)).collect(), torn_bytes })
    }
}

/// Enters a log into the inventory in this directory, if it is not there yet, puts its certificate beside it, and gives
/// the certificate. Blocks until it is on disk.
///
/// # Errors
/// See [`InventoryError`].
pub fn enter(directory: &Path, log: &Path, certifier: &LogSigner) -> Result<String, InventoryError> {
    let path = directory.join(INVENTORY);
    let key = own_key(log)?;
    // Of several gateways with one state directory, one enters at a time.
    let lock = OpenOptions::new().create(true).append(true).open(&path).map_err(io_error(&path))?;
    lock.lock().map_err(io_error(&path))?;
    let (notes, torn) = read_notes(&path).map_err(io_error(&path))?;
    let certificate = match find(&notes, &key) {
        Some(note) => note,
        None => append(&path, torn, &notes, key, certifier)?,
    };
    for (path, text) in [
        (log.join(CERTIFICATE), certificate.clone()),
        (directory.join(CERTIFIER_KEY), format!("{}\n", certifier.public())),
    ] {
        std::fs::write(&path, text).map_err(io_error(&path))?;
    }
    Ok(certificate)
}

/// The certificate beside a log, if there is one.
///
/// # Errors
/// It cannot be read.
pub fn certificate(log: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(log.join(CERTIFICATE)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn own_key(log: &Path) -> Result<LogKey, InventoryError> {
    let path = log.join(VERIFIER_KEY);
    let text = std::fs::read_to_string(&path).map_err(io_error(&path))?;
    LogKey::parse(&text).map_err(|source| InventoryError::Key { path, source })
}

fn find(notes: &[String], key: &LogKey) -> Option<String> {
    let of_it = |note: &&String| {
        Certificate::parse(note).is_ok_and(|certificate| certificate.unverified().log == *key)
    };
    notes.iter().find(of_it).cloned()
}

fn append(
    path: &Path,
    torn: u64,
    notes: &[String],
    log: LogKey,
    certifier: &LogSigner,
) -> Result<String, InventoryError> {
    let last = notes.last().map(|note| Certificate::parse(note)).transpose();
    let last = last.or(Err(InventoryError::Damaged { path: path.to_owned() }))?;
    let previous: Hash = last.as_ref().map_or([0; 32], Certificate::digest);
    let certificate = Certified { log, number: notes.len() as u64, previous }.sign(certifier);
    let mut file = Writer::open_file(path, torn).map_err(io_error(path))?;
    file.append(&certificate).and_then(|()| file.sync()).map_err(io_error(path))?;
    Ok(certificate)
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> InventoryError {
    move |source| InventoryError::Io { path: path.to_owned(), source }
}
