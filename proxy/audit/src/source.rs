//! Where records are read from: one trait, so that a store is an adapter and query, replay, scan and report are not
//! written again for it.
//!
//! Here: logs on disk and in an object store, files as an OpenTelemetry Collector's file exporter writes them, evidence
//! bundles, and two backends as the Collector fills them: ClickHouse and Loki.

mod archive;
mod clickhouse;
mod loki;
mod otlp;
mod sealed;
mod typed;

use crate::chunks::OpenError;
use crate::read::{ReadError, records};
use crate::record::{Record, RecordError};
use jiff::Timestamp;
use std::fmt;
use std::io;
use std::path::PathBuf;

pub use archive::ArchiveSource;
pub use clickhouse::ClickHouseSource;
pub use loki::{LokiAccess, LokiSource};
pub use otlp::{OtlpSource, Part};
pub use sealed::UnsealedSource;

/// Records of a source, in the order of their logs.
pub type RecordStream<'a> = Box<dyn Iterator<Item = Result<Record, SourceError>> + 'a>;

/// What somebody wants to see: a hint. A source that can narrow its search does; none has to. What is given of a
/// session is all of it.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Sessions whose identifier begins so.
    pub session: Option<String>,
    /// Sessions of this user: `issuer#subject`, the subject alone, or the user name.
    pub identity: Option<String>,
    /// Sessions at this Resource: `name` or `namespace/name`.
    pub resource: Option<String>,
    /// Sessions with a record not before.
    pub since: Option<Timestamp>,
}

/// A place that holds records.
pub trait Source: fmt::Debug {
    /// What to call it in a message.
    fn name(&self) -> String;

    /// All records that may be wanted, and perhaps others: log after log, each log in the order of its sequence, a
    /// record that was delivered twice once.
    ///
    /// # Errors
    /// The source cannot be opened. What is wrong with a record is an item; others follow it where that
    /// [is damage](SourceError::is_damage), otherwise none.
    fn records(&self, wanted: &Wanted) -> Result<RecordStream<'_>, SourceError>;
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A log on disk.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A file.
    #[error("read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is not OTLP JSON.
    #[error("line {line} of {path} is not OTLP JSON")]
    Json {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The last line of a file ends early: it is being written, or its writer was stopped.
    #[error("line {line} of {path} ends early")]
    Torn {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
    },
    /// A line is longer than any export.
    #[error("line {line} of {path} is longer than {limit} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// Most bytes of a line.
        limit: u64,
    },
    /// A log record of ours that lost something on the way.
    #[error("a record in line {line} of {path}")]
    Record {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// Why.
        #[source]
        source: RecordError,
    },
    /// A backend does not answer, or not with records.
    #[error("ask {name}: {why}")]
    Backend {
        /// What was asked.
        name: String,
        /// What went wrong, in its own words where it has some.
        why: String,
    },
    /// A backend has something of ours that is no record, or that nobody can read.
    #[error("{what}, in {name}")]
    Damaged {
        /// What was asked.
        name: String,
        /// What it is, and what is wrong with it.
        what: String,
    },
    /// Records that should be between others are not there.
    #[error("records {first}..{last} of {name} are missing")]
    Missing {
        /// What was asked.
        name: String,
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// A result that lies beside the log cannot be read.
    #[error("read the result of record {sequence}")]
    Sealed {
        /// Its record.
        sequence: u64,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The bundle is not one.
    #[error("{path} is not an evidence bundle: {why}")]
    Bundle {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl SourceError {
    /// Whether it concerns some records, and others may follow it.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Log(error) => error.is_damage(),
            Self::Json { .. }
            | Self::Torn { .. }
            | Self::TooLong { .. }
            | Self::Record { .. }
            | Self::Damaged { .. }
            | Self::Missing { .. }
            | Self::Sealed { source: OpenError::Missing { .. }, .. } => true,
            Self::Io { .. } | Self::Backend { .. } | Self::Sealed { .. } | Self::Bundle { .. } => false,
        }
    }
}

/// Logs on disk, also while gateways write them.
#[derive(Clone, Debug)]
pub struct SpoolSource {
    logs: Vec<PathBuf>,
}

impl SpoolSource {
    /// These logs, as [`crate::read::logs`] finds them.
    pub fn new(logs: Vec<PathBuf>) -> Self {
        Self { logs }
    }

    /// Their directories.
    pub fn logs(&self) -> &[PathBuf] {
        &self.logs
    }
}

impl Source for SpoolSource {
    fn name(&self) -> String {
        match self.logs.as_slice() {
            [log] => format!("audit log {}", log.display()),
            logs => format!("{} audit logs", logs.len()),
        }
    }

    fn records(&self, _: &Wanted) -> Result<RecordStream<'_>, SourceError> {
        let mut streams = Vec::new();
        for log in &self.logs {
            streams.push(records(log)?);
        }
        Ok(Box::new(streams.into_iter().flatten().map(|record| record.map_err(SourceError::from))))
    }
}

#[cfg(test)]
mod tests;
