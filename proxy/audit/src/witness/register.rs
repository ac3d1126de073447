//! The witness itself: which logs it knows, what it saw of each, and what it answers.

use crate::checkpoint::{KeyError, load_or_create_seed};
use crate::merkle::{Hash, is_consistent};
use crate::note::certificate::Certificate;
use crate::note::cosignature::{WitnessKey, WitnessSigner};
use crate::note::{Checkpoint, LogKey, NoteError, SignedCheckpoint};
use crate::witness::AddCheckpoint;
use crate::witness::statement::{Statement, Witnessed};
use crate::witness::store::{Kept, Store};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A witness with its state on disk.
#[derive(Debug)]
pub struct Witness {
    signer: WitnessSigner,
    /// Whose certificates make a log known.
    certifiers: Vec<LogKey>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    store: Store,
    /// By origin.
    logs: BTreeMap<String, Log>,
}

#[derive(Clone, Debug)]
struct Log {
    key: LogKey,
    time: u64,
    /// What was cosigned last.
    latest: Option<(Checkpoint, String)>,
}

/// Why a witness cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its directory cannot be used; another witness may be using it.
    #[error("use the state of the witness")]
    Io(#[from] io::Error),
    /// Its key cannot be used.
    #[error("use the key of the witness")]
    Key(#[source] KeyError),
    /// Its name cannot be a key's.
    #[error("name of the witness")]
    Name(#[source] NoteError),
    /// What it keeps of a log is not readable.
    #[error("state of the witness: what is kept of {log}")]
    Log {
        /// Verifier key of the log.
        log: String,
        /// Why.
        #[source]
        source: NoteError,
    },
    /// A log was given with another key than it had.
    #[error("log {origin} is known by another key: a log's key is for its life")]
    OtherKey {
        /// Origin of the log.
        origin: String,
    },
}

/// What a witness answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// 200: the signature lines, each with its newline; of a log that was made known, nothing.
    Done(String),
    /// 400: it is not a request, or the old size is larger than the new one.
    Malformed,
    /// 403: no key that is trusted for this signed it.
    Untrusted,
    /// 404: the log is not known.
    UnknownLog,
    /// 409: another size was seen last, or at this size another root; the size that was cosigned last.
    Conflict(u64),
    /// 409: the log is known by another key.
    OtherKey,
    /// 422: the proof does not prove it.
    BadProof,
    /// 500: it could not be kept, so it is not cosigned.
    NotKept,
}

impl Witness {
    /// Opens the witness whose state is in this directory, and makes its key when there is none. Logs given here are
    /// known from the start; others when a certifier's certificate for them comes.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        directory: &Path,
        name: &str,
        certifiers: Vec<LogKey>,
        logs: &[LogKey],
    ) -> Result<Self, OpenError> {
        let store = Store::open(directory)?;
        let seed = load_or_create_seed(&directory.join("witness.key")).map_err(OpenError::Key)?;
        let signer = WitnessSigner::new(name, &seed).map_err(OpenError::Name)?;
        std::fs::write(directory.join("witness.vkey"), format!("{}\n", signer.public()))?;
        let mut known = Known { logs: BTreeMap::new(), store };
        for kept in known.store.read()? {
            let log = Log::read(&kept).map_err(|source| OpenError::Log { log: kept.key.clone(), source })?;
            known.logs.insert(log.key.name().to_owned(), log);
        }
        for key in logs {
            if known.learn(key)? == Answer::OtherKey {
                return Err(OpenError::OtherKey { origin: key.name().to_owned() });
            }
        }
        Ok(Self { signer, certifiers, known: Mutex::new(known) })
    }

    /// Its public key.
    pub fn key(&self) -> WitnessKey {
        self.signer.public()
    }

    /// Makes a log known by a certificate. Blocks for the disk.
    pub fn add_log(&self, certificate: &str) -> Answer {
        let Ok(certificate) = Certificate::parse(certificate) else { return Answer::Malformed };
        let certified = self.certifiers.iter().find_map(|certifier| certificate.verify(certifier).ok());
        let Some(certified) = certified else { return Answer::Untrusted };
        match self.known().learn(&certified.log) {
            Ok(answer) => answer,
            Err(error) => not_kept(&error),
        }
    }

    /// Cosigns a checkpoint when what was seen before is its beginning. Blocks for the disk: what was cosigned is kept
    /// before anybody learns of it.
    pub fn add_checkpoint(&self, body: &str, now: u64) -> Answer {
        let Ok(request) = AddCheckpoint::parse(body) else { return Answer::Malformed };
        let Ok(signed) = SignedCheckpoint::parse(&request.note) else { return Answer::Malformed };
        let mut known = self.known();
        let Known { store, logs } = &mut *known;
        let Some(log) = logs.get_mut(&signed.checkpoint.origin) else { return Answer::UnknownLog };
        if signed.verify(&log.key).is_err() {
            return Answer::Untrusted;
        }
        let (checkpoint, seen) = (&signed.checkpoint, log.seen());
        if let Err(answer) = log.judge(&request, checkpoint) {
            let contradicts = answer == Answer::BadProof || seen == checkpoint.size;
            if contradicts && let Err(error) = store.keep_conflict(&request.note) {
                tracing::warn!(error = %error, "keep a contradiction");
            }
            if contradicts {
                let (log, size) = (checkpoint.origin.as_str(), checkpoint.size);
                tracing::error!(log, size, seen, "a signed checkpoint contradicts what was cosigned");
            }
            return answer;
        }
        let time = now.max(log.time);
        let latest = (checkpoint.clone(), request.note.clone());
        let next = Log { key: log.key.clone(), time, latest: Some(latest) };
        match store.write(&checkpoint.origin, &next.kept()) {
            Ok(()) => *log = next,
            Err(error) => return not_kept(&error),
        }
        Answer::Done(format!("{}\n", self.signer.cosign(signed.note(), time)))
    }

    /// What it says of all its logs: a signed note. The nonce is one word.
    pub fn statement(&self, nonce: &str, now: u64) -> String {
        let logs = self.known().logs.values().map(Log::witnessed).collect();
        let nonce = Some(nonce)
            .filter(|nonce| !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let nonce = nonce.unwrap_or("-").to_owned();
        Statement { witness: self.key().name().to_owned(), time: now, nonce, logs }.sign(&self.signer)
    }

    /// A panic under the lock leaves nothing half done: a log is replaced in one step, after the disk has it.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_kept(error: &io::Error) -> Answer {
    tracing::error!(error = %error, "keep the state of the witness");
    Answer::NotKept
}

impl Known {
    fn learn(&mut self, key: &LogKey) -> io::Result<Answer> {
        match self.logs.get(key.name()) {
            Some(log) if log.key == *key => {}
            Some(_) => return Ok(Answer::OtherKey),
            None => {
                let log = Log { key: key.clone(), time: 0, latest: None };
                self.store.write(key.name(), &log.kept())?;
                self.logs.insert(key.name().to_owned(), log);
            }
        }
        Ok(Answer::Done(String::new()))
    }
}

impl Log {
    fn read(kept: &Kept) -> Result<Self, NoteError> {
        let key = LogKey::parse(&kept.key)?;
        let latest = kept.note.as_ref().map(|note| {
            let signed = SignedCheckpoint::parse(note)?;
            let checkpoint = signed.verify(&key)?.clone();
            Ok((checkpoint, note.clone()))
        });
        Ok(Self { key, time: kept.time, latest: latest.transpose()? })
    }

    fn kept(&self) -> Kept {
        let note = self.latest.as_ref().map(|(_, note)| note.clone());
        Kept { key: self.key.to_string(), time: self.time, note }
    }

    fn seen(&self) -> u64 {
        self.latest.as_ref().map_or(0, |(checkpoint, _)| checkpoint.size)
    }

    /// Whether this checkpoint goes on from what was seen.
    fn judge(&self, request: &AddCheckpoint, checkpoint: &Checkpoint) -> Result<(), Answer> {
        let seen = self.seen();
        if request.old > checkpoint.size {
            return Err(Answer::Malformed);
        }
        if request.old != seen {
            return Err(Answer::Conflict(seen));
        }
        let nothing = Hash::default();
        let root = self.latest.as_ref().map_or(&nothing, |(latest, _)| &latest.root);
        if seen > 0 && seen == checkpoint.size && *root != checkpoint.root {
            return Err(Answer::Conflict(seen));
        }
        let later = (checkpoint.size, &checkpoint.root);
        if is_consistent((seen, root), later, &request.proof) { Ok(()) } else { Err(Answer::BadProof) }
    }

    fn witnessed(&self) -> Witnessed {
        match &self.latest {
            Some((checkpoint, _)) => Witnessed {
                key: self.key.clone(),
                size: checkpoint.size,
                time: self.time,
                root: checkpoint.root,
            },
            None => Witnessed::nothing(self.key.clone()),
        }
    }
}
