//! Copies of records to an OpenTelemetry Collector. The log on disk stays the truth; a copy is never waited for.
//!
//! One task per log reads what is on disk from a durable cursor, sends batches of at most 512 records and 3.5 MiB, and
//! moves the cursor only after an answer: at least once, and `portcullis.record.id` tells a repetition apart. What can
//! be retried is retried without end, with exponential back-off and jitter. What the receiver refuses for good, or
//! accepts in part (it does not say which part), must not be sent again by OTLP's rules: it is counted, and the
//! batch's range is kept in the log's `undelivered` file, so that nothing is lost silently. Whenever all is sent, the
//! newest signed checkpoint follows as a record of its own, so that copies can be verified where the log is not.
//!
//! Rules: <https://opentelemetry.io/docs/specs/otlp/>.

mod cursor;
mod grpc;
mod http;
mod request;
mod source;

use crate::Spool;
use crate::spool::Durable;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use serde::Serialize;
use source::{Batch, Source};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use cursor::{CURSOR, UNDELIVERED, Undelivered, read as next_to_send, undelivered};

/// How records travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// OTLP over gRPC, usually port 4317.
    Grpc,
    /// OTLP over HTTP with protobuf bodies, usually port 4318. `/v1/logs` is added when the endpoint has no path.
    HttpProtobuf,
}

/// Where copies go, and how.
#[derive(Clone)]
pub struct ExportOptions {
    /// `http://` or `https://`, host and port.
    pub endpoint: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Headers of every request; the values may be secrets and are not printed.
    pub headers: Vec<(String, String)>,
    /// PEM certificates that may sign the receiver's, beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Time for one request.
    pub timeout: Duration,
    /// Pause after the first failure; it doubles up to `max_backoff`, and is shortened at random.
    pub initial_backoff: Duration,
    /// Longest pause between attempts.
    pub max_backoff: Duration,
    /// `service.name` and the like: attributes of the OTLP resource.
    pub resource: Vec<(String, String)>,
}

impl ExportOptions {
    /// 10 s per request, back-off from 1 s to 30 s.
    pub fn new(endpoint: impl Into<String>, protocol: Protocol) -> Self {
        Self {
            endpoint: endpoint.into(),
            protocol,
            headers: Vec::new(),
            ca_pem: None,
            timeout: Duration::from_secs(10),
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
            resource: vec![("service.name".to_owned(), "portcullis".to_owned())],
        }
    }
}

impl fmt::Debug for ExportOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ExportOptions")
            .field("endpoint", &self.endpoint)
            .field("protocol", &self.protocol)
            .field("headers", &headers)
            .finish_non_exhaustive()
    }
}

/// How the export of one log is doing.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct ExportStatus {
    /// Sequence of the next record to send: all before it are answered for.
    pub next: u64,
    /// Records on disk that are not answered for. While the rest of a closed log is exported: `u64::MAX`.
    pub lag: u64,
    /// Records accepted since the start.
    pub exported: u64,
    /// Records refused since the start, by the receiver's own count.
    pub rejected: u64,
    /// What is in the log's list of records that were not delivered, earlier starts included.
    pub undelivered: Option<UndeliveredSpan>,
    /// Attempts that failed and were or will be repeated, since the start.
    pub retries: u64,
    /// Why the last attempt failed; empty after a success.
    pub last_error: Option<String>,
    /// Records that arrived and whose signed checkpoint did not yet.
    pub unsigned: u64,
    /// When the last batch was accepted.
    pub last_success: Option<Timestamp>,
}

/// Which records of a log were not delivered, in short; [`undelivered`] has every range.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct UndeliveredSpan {
    /// Ranges of records.
    pub ranges: u64,
    /// First record of the first.
    pub first: u64,
    /// Last record of the last.
    pub last: u64,
}

impl UndeliveredSpan {
    /// These ranges, and one more.
    fn and(before: Option<Self>, range: &Undelivered) -> Self {
        let Self { ranges, first, last } =
            before.unwrap_or(Self { ranges: 0, first: range.first, last: range.last });
        Self { ranges: ranges + 1, first: first.min(range.first), last: last.max(range.last) }
    }
}

/// Why an export cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The endpoint, a header or a certificate is not usable.
    #[error("OTLP {what}: {why}")]
    Configuration {
        /// Which setting.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The cursor cannot be read or written.
    #[error("use export cursor {path}")]
    Cursor {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A running export. Dropping it stops at the next await; nothing is lost, the cursor is where it was.
#[derive(Debug)]
pub struct Exporter {
    status: watch::Receiver<ExportStatus>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts to export a log that is being written. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// See [`ExportError`]. A receiver that cannot be reached is not an error.
    pub fn start(spool: &Spool, options: ExportOptions) -> Result<Self, ExportError> {
        let source = Source::new(spool.directory(), spool.durable())?;
        Self::spawn(source, options)
    }

    /// Exports what is left of a log that nobody writes any more, and ends.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn finish(directory: &Path, options: ExportOptions) -> Result<Self, ExportError> {
        Self::spawn(Source::new(directory, Durable::everything())?, options)
    }

    fn spawn(source: Source, options: ExportOptions) -> Result<Self, ExportError> {
        let sender = match options.protocol {
            Protocol::Grpc => Sender::Grpc(grpc::Sender::new(&options)?),
            Protocol::HttpProtobuf => Sender::Http(http::Sender::new(&options)?),
        };
        let (status, receiver) = watch::channel(ExportStatus {
            next: source.next(),
            lag: source.lag(),
            undelivered: source.undelivered(),
            ..ExportStatus::default()
        });
        // What a checkpoint of an earlier start covered was sent by that start, or the next one covers it too.
        let signed = source.next();
        let export = Export { source, sender, options, status, signed, looked: Instant::now() };
        Ok(Self { status: receiver, task: tokio::spawn(export.run()) })
    }

    /// How it is doing now.
    pub fn status(&self) -> ExportStatus {
        self.status.borrow().clone()
    }

    /// To wait for a status.
    pub fn watch(&self) -> watch::Receiver<ExportStatus> {
        self.status.clone()
    }

    /// Waits until all that is on disk was answered for, but no longer than this, and stops. Close the spool first.
    ///
    /// Cancel safe: the export goes on when this is cancelled and the exporter kept.
    pub async fn drain(mut self, limit: Duration) -> ExportStatus {
        // Not by the status, which may be from before the last records: over a closed log the task ends by itself.
        match tokio::time::timeout(limit, &mut self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(lag = self.status().lag, "audit records are left to export at the next start");
            }
        }
        self.status()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the receiver said to a batch.
#[derive(Debug)]
enum Reply {
    Accepted,
    /// So many records were refused, it is not said which; they must not be sent again.
    Partial {
        rejected: u64,
        why: String,
    },
    /// To be sent again, not before this time.
    Retry {
        after: Option<Duration>,
        why: String,
    },
    /// Must not be sent again.
    Refused {
        why: String,
    },
}

enum Sender {
    Grpc(grpc::Sender),
    Http(http::Sender),
}

struct Export {
    source: Source,
    sender: Sender,
    options: ExportOptions,
    status: watch::Sender<ExportStatus>,
    /// Size of the last checkpoint that was sent.
    signed: u64,
    /// When a checkpoint was looked for last.
    looked: Instant,
}

impl Export {
    async fn run(mut self) {
        loop {
            let lag = self.source.lag();
            self.status.send_modify(|status| status.lag = lag);
            let outcome = match self.source.next_batch().await {
                Ok(Some(batch)) => match self.deliver(batch).await {
                    // A log that grows as fast as it is sent is never done.
                    Ok(()) if self.looked.elapsed() > CHECKPOINT_PERIOD => self.send_checkpoint().await,
                    delivered => delivered,
                },
                Ok(None) => {
                    let sent = self.send_checkpoint().await;
                    // While a checkpoint is owed, it is looked for soon.
                    let patience = if self.unsigned() > 0 { CHECKPOINT_PAUSE } else { Duration::MAX };
                    if let Ok(false) = tokio::time::timeout(patience, self.source.wait()).await {
                        self.finish().await;
                        return;
                    }
                    sent
                }
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                // The disk or the log is not right; the spool itself fails closed, the export only waits.
                self.failed(&error);
                tokio::time::sleep(self.options.max_backoff).await;
            }
        }
    }

    /// Sends one batch until it is answered for, and moves the cursor.
    async fn deliver(&mut self, batch: Batch) -> Result<(), String> {
        let (first, count) = (batch.first, batch.records.len() as u64);
        let request = request::of(&self.options.resource, batch.records);
        let mut backoff = self.options.initial_backoff;
        let undelivered = loop {
            match self.send(&request).await {
                Reply::Accepted => break None,
                Reply::Partial { rejected, why } => break Some((rejected.min(count), why)),
                Reply::Refused { why } => break Some((count, why)),
                Reply::Retry { after, why } => {
                    self.failed(&why);
                    self.status.send_modify(|status| status.retries += 1);
                    let jitter = backoff.mul_f64(rand::random_range(0.5..=1.0));
                    tokio::time::sleep(after.unwrap_or_default().max(jitter)).await;
                    backoff = (backoff * 2).min(self.options.max_backoff);
                }
            }
        };
        let rejected = undelivered.as_ref().map_or(0, |(rejected, _)| *rejected);
        if let Some((rejected, why)) = undelivered {
            tracing::warn!(first, count, rejected, why, "audit records were refused by the receiver");
            self.source.keep_undelivered(first, count, rejected, why)?;
        }
        self.source.acknowledge(first + count)?;
        let (next, lag, unsigned) = (self.source.next(), self.source.lag(), self.unsigned());
        let undelivered = self.source.undelivered();
        self.status.send_modify(|status| {
            (status.next, status.lag, status.unsigned) = (next, lag, unsigned);
            status.undelivered = undelivered;
            status.exported += count - rejected;
            status.rejected += rejected;
            status.last_error = None;
            status.last_success = Some(Timestamp::now());
        });
        Ok(())
    }

    /// Records that arrived and that no delivered checkpoint covers.
    fn unsigned(&self) -> u64 {
        self.source.next().saturating_sub(self.signed)
    }

    /// Sends the newest checkpoint that covers only what arrived, when it was not sent before.
    async fn send_checkpoint(&mut self) -> Result<(), String> {
        self.looked = Instant::now();
        if self.unsigned() == 0 {
            return Ok(());
        }
        let newest = self.source.newest_checkpoint()?.filter(|(size, _)| *size > self.signed);
        if let Some((size, note)) = newest {
            let request = request::of_checkpoint(&self.options.resource, size, &note);
            match self.send(&request).await {
                Reply::Retry { why, .. } => return Err(why),
                // One that is refused is refused for good: the records stay provable by the log itself.
                Reply::Accepted | Reply::Partial { .. } | Reply::Refused { .. } => self.signed = size,
            }
        }
        let unsigned = self.unsigned();
        self.status.send_modify(|status| status.unsigned = unsigned);
        Ok(())
    }

    /// Nothing more comes: the last checkpoint is there, if there is one.
    async fn finish(&mut self) {
        while let Err(why) = self.send_checkpoint().await {
            self.failed(&why);
            tokio::time::sleep(self.options.initial_backoff).await;
        }
        self.status.send_modify(|status| (status.lag, status.unsigned) = (0, 0));
    }

    async fn send(&mut self, request: &ExportLogsServiceRequest) -> Reply {
        match &mut self.sender {
            Sender::Grpc(sender) => sender.send(request.clone()).await,
            Sender::Http(sender) => sender.send(request).await,
        }
    }

    fn failed(&self, why: &str) {
        tracing::warn!(why, "export audit records");
        self.status.send_modify(|status| status.last_error = Some(why.to_owned()));
    }
}

/// How soon a checkpoint that is owed is looked for again: the log signs one a second while it grows.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(250);

/// How often one is looked for while there is always more to send.
const CHECKPOINT_PERIOD: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
