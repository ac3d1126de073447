//! The writing side: what a spool does with frames of results.

use crate::chunks::{CHUNKS, CIPHERTEXTS, HEAD_BYTES, KEY, file};
use crate::event::{Event, key};
use crate::merkle::Hash;
use age::secrecy::ExposeSecret as _;
use age::x25519::{Identity, Recipient};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who can read what is encrypted: auditors, by their age keys.
#[derive(Clone)]
pub struct Recipients(Vec<Recipient>);

/// Why this is no recipient.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RecipientError {
    /// The text is no such key.
    #[error(
        "expected the public key of an auditor, as age-keygen prints it: age1…, its last letters are a checksum"
    )]
    Malformed {
        /// Which of them, from 0.
        index: usize,
    },
    /// Nobody could read what is written.
    #[error("expected at least one recipient")]
    None,
}

impl Recipients {
    /// Public keys `age1…`, as `age-keygen` prints them; one at least.
    ///
    /// # Errors
    /// One is not such a key. It is not quoted: it may be a private one.
    pub fn parse<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Self, RecipientError> {
        let parse = |(index, key): (usize, &str)| {
            key.parse::<Recipient>().or(Err(RecipientError::Malformed { index }))
        };
        let recipients: Vec<Recipient> = keys.into_iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        if recipients.is_empty() { Err(RecipientError::None) } else { Ok(Self(recipients)) }
    }

    fn encrypt(&self, plaintext: &[u8]) -> io::Result<Vec<u8>> {
        let recipients = self.0.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        let mut ciphertext = Vec::new();
        let mut writer = encryptor.wrap_output(&mut ciphertext)?;
        writer.write_all(plaintext)?;
        writer.finish()?;
        Ok(ciphertext)
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(ToString::to_string)).finish()
    }
}

/// A chunk that is in the operating system's hands.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// SHA-256 of the ciphertext.
    digest: Hash,
    /// Bytes that the plaintext has.
    bytes: u64,
    /// SHA-256 of the session's key file, when this is the first chunk.
    key: Option<Hash>,
    /// Bytes that were written.
    pub(crate) written: u64,
    /// What has to be synced with its record.
    pub(crate) files: Vec<Arc<File>>,
}

impl Sealed {
    /// Puts the reference to the chunk on its event.
    pub(crate) fn name_on(&self, event: Event) -> Event {
        let bytes = |hash: &Hash| bytes::Bytes::copy_from_slice(hash);
        let event = event.with(key::CHUNK, bytes(&self.digest)).with(key::CHUNK_BYTES, self.bytes);
        match &self.key {
            Some(digest) => event.with(key::CHUNK_KEY, bytes(digest)),
            None => event,
        }
    }
}

/// Writes chunks of one log.
pub(crate) struct Vault {
    directory: PathBuf,
    /// Whether anything was ever to be encrypted: all that a log without recipients looks at.
    used: AtomicBool,
    recipients: Mutex<Option<Recipients>>,
    sessions: Mutex<HashMap<String, Arc<Mutex<Session>>>>,
}

/// An open file of a session. Of its key only the public half is left.
struct Session {
    recipient: Recipient,
    file: Arc<File>,
    offset: u64,
}

impl Vault {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            used: AtomicBool::new(false),
            recipients: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// From now on results are for these; sessions that have chunks already stay with whom theirs are for.
    pub(crate) fn set(&self, recipients: Option<Recipients>) {
        if recipients.is_some() {
            self.used.store(true, Ordering::Relaxed);
        }
        *lock(&self.recipients) = recipients;
    }

    /// Whether events have to be looked at at all.
    pub(crate) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether results are encrypted now.
    pub(crate) fn is_on(&self) -> bool {
        lock(&self.recipients).is_some()
    }

    /// Encrypts and writes a part of a session's results. Blocks for that, not for the disk.
    pub(crate) fn seal(&self, session: &str, plaintext: &[u8]) -> io::Result<Sealed> {
        let (session, key, mut files) = self.session(session)?;
        let mut session = lock(&session);
        let ciphertext = age::encrypt(&session.recipient, plaintext).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(HEAD_BYTES + ciphertext.len());
        frame.extend_from_slice(&u32::try_from(ciphertext.len()).map_err(io::Error::other)?.to_be_bytes());
        frame.extend_from_slice(&ciphertext);
        if let Err(error) = session.file.write_all_at(&frame, session.offset) {
            // A part of it may be there; readers and the next chunk need a whole file.
            session.file.set_len(session.offset)?;
            return Err(error);
        }
        session.offset += frame.len() as u64;
        files.push(Arc::clone(&session.file));
        let (digest, bytes) = (Sha256::digest(&ciphertext).into(), plaintext.len() as u64);
        Ok(Sealed { digest, bytes, key, written: frame.len() as u64, files })
    }

    /// Closes a session's file.
    pub(crate) fn forget(&self, session: &str) {
        lock(&self.sessions).remove(session);
    }

    /// Whether more may be written for a session.
    pub(crate) fn has(&self, session: &str) -> bool {
        lock(&self.sessions).contains_key(session)
    }

    /// The session's file; of a new one its key's digest, and what has to be synced with what is written to it.
    fn session(&self, id: &str) -> io::Result<Known> {
        let mut sessions = lock(&self.sessions);
        if let Some(session) = sessions.get(id) {
            return Ok((Arc::clone(session), None, Vec::new()));
        }
        let (session, key, files) = self.begin(id)?;
        let session = Arc::new(Mutex::new(session));
        sessions.insert(id.to_owned(), Arc::clone(&session));
        Ok((session, Some(key), files))
    }

    fn begin(&self, id: &str) -> io::Result<(Session, Hash, Vec<Arc<File>>)> {
        let named = |kind| {
            let unusable = || io::Error::other("the session's identifier cannot be part of a file's name");
            file(&self.directory, id, kind).ok_or_else(unusable)
        };
        let (chunks, key) = (named(CIPHERTEXTS)?, named(KEY)?);
        let recipients = lock(&self.recipients).clone();
        let recipients = recipients.ok_or_else(|| io::Error::other("there is nobody to encrypt for"))?;
        let folder = self.directory.join(CHUNKS);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let identity = Identity::generate();
        let wrapped = recipients.encrypt(identity.to_string().expose_secret().as_bytes())?;
        // After an attempt for which there was no room, what is left of it is no session's.
        let create =
            |path: &Path| OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let key = create(&key)?;
        key.write_all_at(&wrapped, 0)?;
        let file = Arc::new(create(&chunks)?);
        let files = [key, File::open(&folder)?, File::open(&self.directory)?].map(Arc::new).to_vec();
        let session = Session { recipient: identity.to_public(), file, offset: 0 };
        Ok((session, Sha256::digest(&wrapped).into(), files))
    }
}

type Known = (Arc<Mutex<Session>>, Option<Hash>, Vec<Arc<File>>);

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("recipients", &self.recipients).finish_non_exhaustive()
    }
}

/// A panic under these locks leaves an offset behind the last whole chunk.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
