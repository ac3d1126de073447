//! The gateway's side: checkpoints go to witnesses, cosignatures are kept beside the log.
//!
//! One task a witness takes the newest checkpoint, at most one a second, proves from the records that it goes on from
//! what this witness saw, and keeps the answer. Nothing waits for a witness: while it is away the log grows as ever, and
//! the next checkpoint that it cosigns covers all records until then. What it saw last it says itself, so nothing has
//! to be remembered here.

mod http;

use crate::Spool;
use crate::checkpoint::{self, Writer};
use crate::note::cosignature::WitnessKey;
use crate::note::{SignedCheckpoint, SignedNote};
use crate::spool::Durable;
use crate::witness::leaves::Seen;
use crate::witness::{AddCheckpoint, COSIGNED, Statement};
use http::{Client, Reply};
use jiff::Timestamp;
use serde::Serialize;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A witness and where it is: `VKEY URL`, the URL being the prefix of `add-checkpoint`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WitnessAddress {
    /// Its key.
    pub key: WitnessKey,
    /// `http://` or `https://`; no slash at its end.
    pub url: String,
}

impl FromStr for WitnessAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, url) = text
            .trim()
            .split_once(char::is_whitespace)
            .ok_or("expected a witness's key and URL: \"VKEY URL\"")?;
        let key = WitnessKey::parse(key).map_err(|error| format!("key of the witness: {error}"))?;
        let url = url.trim().trim_end_matches('/');
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(format!("URL of the witness {}: expected http:// or https://", key.name()));
        }
        Ok(Self { key, url: url.to_owned() })
    }
}

impl fmt::Display for WitnessAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.url)
    }
}

/// Which witnesses, and how they are asked.
#[derive(Clone, Debug)]
pub struct WitnessOptions {
    /// The witnesses.
    pub witnesses: Vec<WitnessAddress>,
    /// PEM certificates that may sign the witnesses', beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Time for one request.
    pub timeout: Duration,
    /// Between two checkpoints for one witness, at least.
    pub interval: Duration,
    /// Pause after the first failure; it doubles up to `max_backoff`, and is shortened at random.
    pub initial_backoff: Duration,
    /// Longest pause between attempts.
    pub max_backoff: Duration,
}

impl WitnessOptions {
    /// 10 s per request, a checkpoint a second, back-off from 1 s to 30 s.
    pub fn new(witnesses: Vec<WitnessAddress>) -> Self {
        Self {
            witnesses,
            ca_pem: None,
            timeout: Duration::from_secs(10),
            interval: Duration::from_secs(1),
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
        }
    }
}

/// How one witness is doing with one log.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct WitnessStatus {
    /// Name of the witness.
    pub witness: String,
    /// Records under its last cosignature.
    pub size: u64,
    /// Attempts that failed since the start.
    pub failures: u64,
    /// Why the last attempt failed; empty after a success.
    pub last_error: Option<String>,
    /// When it cosigned last.
    pub last_success: Option<Timestamp>,
    /// All of a log that is closed is cosigned: there is nothing more to do.
    pub done: bool,
}

/// Why witnesses cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// A URL or certificate is not usable.
    #[error("witness {witness}: {why}")]
    Configuration {
        /// Its name.
        witness: String,
        /// What is wrong.
        why: String,
    },
    /// The file of cosigned checkpoints cannot be used.
    #[error("use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The witness did not give what it was asked for.
    #[error("ask witness {witness}: {why}")]
    Answer {
        /// Its name.
        witness: String,
        /// What went wrong.
        why: String,
    },
}

/// The witnessing of one log. Dropping it stops it; it goes on from where it was at the next start.
#[derive(Debug)]
pub struct Witnessing {
    tasks: Vec<(watch::Receiver<WitnessStatus>, JoinHandle<()>)>,
}

impl Witnessing {
    /// Has a log witnessed that is being written. With the certificate of its key, witnesses that do not know the log
    /// learn of it. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// See [`WitnessError`]. A witness that cannot be reached is not an error.
    pub fn start(
        spool: &Spool,
        certificate: Option<&str>,
        options: &WitnessOptions,
    ) -> Result<Self, WitnessError> {
        Self::spawn(spool.directory(), &spool.durable(), certificate, options)
    }

    /// Has what is left of a log witnessed that nobody writes any more, and ends.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn finish(
        log: &Path,
        certificate: Option<&str>,
        options: &WitnessOptions,
    ) -> Result<Self, WitnessError> {
        Self::spawn(log, &Durable::everything(), certificate, options)
    }

    fn spawn(
        log: &Path,
        durable: &Durable,
        certificate: Option<&str>,
        options: &WitnessOptions,
    ) -> Result<Self, WitnessError> {
        if options.witnesses.is_empty() {
            return Ok(Self { tasks: Vec::new() });
        }
        let path = log.join(COSIGNED);
        let file_error = |source| WitnessError::File { path: path.clone(), source };
        let (notes, torn) = checkpoint::read_notes(&path).map_err(file_error)?;
        let cosigned = Arc::new(Mutex::new(Writer::open_file(&path, torn).map_err(file_error)?));
        let mut tasks = Vec::new();
        for address in &options.witnesses {
            let client = Client::new(address, options).map_err(|why| configuration(address, why))?;
            let name = address.key.name().to_owned();
            let size = last_cosigned(&notes, &address.key);
            let start = WitnessStatus { witness: name, size, ..WitnessStatus::default() };
            let (status, receiver) = watch::channel(start);
            let task = Task {
                log: log.to_owned(),
                durable: durable.clone(),
                certificate: certificate.map(str::to_owned),
                key: address.key.clone(),
                client,
                cosigned: Arc::clone(&cosigned),
                options: options.clone(),
                status,
                seen: Seen::default(),
                cosigned_size: size,
            };
            tasks.push((receiver, tokio::spawn(task.run())));
        }
        Ok(Self { tasks })
    }

    /// How each witness is doing.
    pub fn status(&self) -> Vec<WitnessStatus> {
        self.tasks.iter().map(|(status, _)| status.borrow().clone()).collect()
    }

    /// To wait for their statuses.
    pub fn watch(&self) -> impl Iterator<Item = watch::Receiver<WitnessStatus>> {
        self.tasks.iter().map(|(status, _)| status.clone())
    }

    /// Waits until all of the log is cosigned by all witnesses, but no longer than this, and stops. Close the spool
    /// first.
    ///
    /// Cancel safe: the witnessing goes on when this is cancelled and it is kept.
    pub async fn drain(mut self, limit: Duration) -> Vec<WitnessStatus> {
        let done = async {
            for (status, _) in &mut self.tasks {
                // An error is a task that has ended, which is what is waited for.
                drop(status.wait_for(|status| status.done).await);
            }
        };
        if tokio::time::timeout(limit, done).await.is_err() {
            tracing::warn!("the end of an audit log is left to be witnessed at the next start");
        }
        self.status()
    }
}

impl Drop for Witnessing {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|(_, task)| task.abort());
    }
}

/// Records under the last cosignature of this witness among these notes.
fn last_cosigned(notes: &[String], key: &WitnessKey) -> u64 {
    let by = |note: &String| {
        let signed = SignedCheckpoint::parse(note).ok()?;
        key.verify(signed.note()).ok()??;
        Some(signed.checkpoint.size)
    };
    notes.iter().rev().find_map(by).unwrap_or_default()
}

fn configuration(address: &WitnessAddress, why: String) -> WitnessError {
    WitnessError::Configuration { witness: address.key.name().to_owned(), why }
}

/// Asks a witness for its word on all logs that it knows. Gives the signed note and what it says.
///
/// Cancel safe.
///
/// # Errors
/// It does not answer, or the answer is not its own or not to this question.
pub async fn fetch_statement(
    address: &WitnessAddress,
    options: &WitnessOptions,
) -> Result<(String, Statement), WitnessError> {
    let wrong = |why| WitnessError::Answer { witness: address.key.name().to_owned(), why };
    let client = Client::new(address, options).map_err(|why| configuration(address, why))?;
    let nonce = const_hex::encode(rand::random::<[u8; 16]>());
    let note = client.statement(&nonce).await.map_err(wrong)?;
    let statement = Statement::parse(&note, &address.key).map_err(|error| wrong(error.to_string()))?;
    if statement.nonce != nonce {
        return Err(wrong("the answer is not to this question: somebody sent an older one".to_owned()));
    }
    Ok((note, statement))
}

struct Task {
    log: PathBuf,
    durable: Durable,
    certificate: Option<String>,
    key: WitnessKey,
    client: Client,
    cosigned: Arc<Mutex<Writer>>,
    options: WitnessOptions,
    status: watch::Sender<WitnessStatus>,
    /// What the witness saw last, as far as is known.
    seen: Seen,
    /// Records under its last cosignature.
    cosigned_size: u64,
}

impl Task {
    async fn run(mut self) {
        let mut backoff = self.options.initial_backoff;
        loop {
            match self.step().await {
                Ok(Step::Cosigned) => {
                    backoff = self.options.initial_backoff;
                    tokio::time::sleep(self.options.interval).await;
                }
                Ok(Step::Nothing) => tokio::time::sleep(CHECKPOINT_PAUSE).await,
                Ok(Step::Done) => {
                    self.status.send_modify(|status| status.done = true);
                    return;
                }
                Err(why) => {
                    tracing::warn!(witness = self.key.name(), log = %self.log.display(), why, "witness audit log");
                    self.status.send_modify(|status| {
                        status.failures += 1;
                        status.last_error = Some(why);
                    });
                    let jitter = backoff.mul_f64(rand::random_range(0.5..=1.0));
                    tokio::time::sleep(jitter).await;
                    backoff = (backoff * 2).min(self.options.max_backoff);
                }
            }
        }
    }

    /// Has the newest checkpoint cosigned, if it is not; waits for more records when it is.
    async fn step(&mut self) -> Result<Step, String> {
        // Asked before the checkpoint is read: after the end no newer one comes.
        let over = self.durable.is_over();
        let newest =
            checkpoint::newest(&self.log, u64::MAX).map_err(|error| format!("read checkpoints: {error}"))?;
        let newest = newest.filter(|(size, _)| *size > self.cosigned_size);
        let Some((size, note)) = newest else {
            if over {
                return Ok(Step::Done);
            }
            self.durable.beyond(self.cosigned_size).await;
            return Ok(Step::Nothing);
        };
        self.cosign(size, note).await?;
        Ok(Step::Cosigned)
    }

    async fn cosign(&mut self, size: u64, note: String) -> Result<(), String> {
        if self.seen.size() != self.cosigned_size {
            self.find(self.cosigned_size).await?;
        }
        // A log that it does not know is made known; what it saw it says; so it is asked three times at most.
        for _ in 0..3 {
            let (log, seen) = (self.log.clone(), self.seen.clone());
            let proving = tokio::task::spawn_blocking(move || seen.prove(&log, size));
            let (next, proof) = proving.await.map_err(|error| error.to_string())??;
            let request = AddCheckpoint { old: self.seen.size(), proof, note: note.clone() };
            match self.client.add_checkpoint(&request).await? {
                Reply::Cosigned(lines) => return self.keep(next, &note, &lines),
                Reply::UnknownLog => self.make_known().await?,
                Reply::Conflict(saw) if saw == size && saw == request.old => {
                    return Err(format!(
                        "another root was cosigned for {size} records of this log: it is not the log that the witness saw"
                    ));
                }
                Reply::Conflict(saw) if saw > size => {
                    return Err(format!(
                        "{saw} records of this log were cosigned, {size} are signed here: its end is missing"
                    ));
                }
                Reply::Conflict(saw) => self.find(saw).await?,
            }
        }
        Err("it keeps saying that it saw something else".to_owned())
    }

    async fn find(&mut self, size: u64) -> Result<(), String> {
        let log = self.log.clone();
        let finding = tokio::task::spawn_blocking(move || Seen::find(&log, size));
        self.seen = finding.await.map_err(|error| error.to_string())??;
        Ok(())
    }

    async fn make_known(&self) -> Result<(), String> {
        let unknown = "it does not know this log; give it the log's key, or the key that certifies it";
        let certificate = self.certificate.as_ref().ok_or(unknown)?;
        self.client.add_log(certificate).await.map_err(|why| format!("{unknown}: {why}"))
    }

    /// Keeps the checkpoint with this witness's cosignature.
    fn keep(&mut self, next: Seen, note: &str, lines: &str) -> Result<(), String> {
        let cosigned = format!("{note}{lines}");
        let parsed = SignedNote::parse(&cosigned).map_err(|error| format!("its answer: {error}"))?;
        let time = self.key.verify(&parsed).map_err(|error| format!("its cosignature: {error}"))?;
        let time = time.ok_or("its answer has no cosignature of its key")?;
        let mut file = self.cosigned.lock().unwrap_or_else(PoisonError::into_inner);
        file.append(&cosigned)
            .and_then(|()| file.sync())
            .map_err(|error| format!("keep cosignature: {error}"))?;
        drop(file);
        (self.cosigned_size, self.seen) = (next.size(), next);
        self.status.send_modify(|status| {
            status.size = self.seen.size();
            status.last_error = None;
            status.last_success = i64::try_from(time).ok().and_then(|time| Timestamp::from_second(time).ok());
        });
        Ok(())
    }
}

enum Step {
    Cosigned,
    Nothing,
    Done,
}

/// How soon a checkpoint is looked for after there are new records.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(250);
