//! What happened: sessions by identity, resource, time, verdict; and the commands of one.
//!
//! Reads the segments each time. An index is not kept: it would have to be trusted as much as the log.

mod filter;
mod session;

pub use filter::Filter;
pub use session::{Approval, Command, SessionDetail, SessionSummary};

use crate::event::{EventName, key};
use crate::read::{ReadError, records};
use crate::record::Record;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The sessions in these logs that fit the filter, by start.
///
/// # Errors
/// A log cannot be read. What precedes the damage is not given: run `verify`.
pub fn sessions(logs: &[PathBuf], filter: &Filter) -> Result<Vec<SessionSummary>, ReadError> {
    let mut found = BTreeMap::new();
    for log in logs {
        for record in records(log)? {
            let record = record?;
            if let Some(id) = record.text(key::SESSION_ID) {
                let session =
                    found.entry(id.to_owned()).or_insert_with(|| SessionSummary::begin(id, log, &record));
                session.add(&record);
            }
        }
    }
    let mut sessions: Vec<_> = found.into_values().filter(|session| filter.admits(session)).collect();
    sessions.sort_by_key(|session| session.start);
    Ok(sessions)
}

/// The records of the one session whose identifier begins so.
///
/// # Errors
/// See [`FindError`].
pub fn session_records(logs: &[PathBuf], prefix: &str) -> Result<Vec<Record>, FindError> {
    let mut id: Option<String> = None;
    let mut found = Vec::new();
    for log in logs {
        for record in records(log)? {
            let record = record?;
            let Some(session) = record.text(key::SESSION_ID).filter(|session| session.starts_with(prefix))
            else {
                continue;
            };
            if id.as_deref().is_some_and(|id| id != session) {
                return Err(FindError::Ambiguous { prefix: prefix.to_owned() });
            }
            id.get_or_insert_with(|| session.to_owned());
            found.push(record);
        }
    }
    if found.is_empty() { Err(FindError::None { prefix: prefix.to_owned() }) } else { Ok(found) }
}

/// The one session whose identifier begins so, with its commands.
///
/// # Errors
/// See [`FindError`].
pub fn session(logs: &[PathBuf], prefix: &str) -> Result<SessionDetail, FindError> {
    let records = session_records(logs, prefix)?;
    SessionDetail::of(&records).ok_or_else(|| FindError::None { prefix: prefix.to_owned() })
}

/// Why there is no such session.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// More than one session begins so.
    #[error("more than one session begins with {prefix}")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
    },
    /// No session begins so.
    #[error("no session begins with {prefix}")]
    None {
        /// What was asked for.
        prefix: String,
    },
    /// A log cannot be read.
    #[error("read logs")]
    Read(#[from] ReadError),
}

/// Whether a record is of this event.
pub(crate) fn is(record: &Record, name: EventName) -> bool {
    record.name() == name.as_str()
}

#[cfg(test)]
mod tests;
