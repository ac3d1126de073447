//! What happened: sessions, commands and approvals, by identity, resource, time, verdict, rule, text and detector;
//! and all of one session.
//!
//! [`Assembler`] puts records together; [`sessions`], [`commands`] and [`approvals`] run it over a source. An index
//! (the command line keeps one) runs the same, so that both give the same answers. An index is derived: what proves
//! something is the log.

mod assemble;
mod filter;
mod order;
mod session;

pub use assemble::{ApprovalRow, Assembler, CommandRow, Row};
pub use filter::{APPROVAL_VERDICTS, Filter, VERDICTS};
pub use order::{Found, Order, Query, SORTS, Sort};
pub use session::{Approval, Command, SessionDetail, SessionSummary};

use crate::event::{EventName, key};
use crate::record::Record;
use crate::source::{Source, SourceError, Wanted};
use order::Top;
use std::collections::BTreeSet;

/// The sessions that fit.
///
/// # Errors
/// The source cannot be read. What precedes the damage is not given: run `verify`.
pub fn sessions(source: &dyn Source, query: &Query) -> Result<Found<SessionSummary>, SourceError> {
    let filter = &query.filter;
    let mut found = Top::new(query);
    // Of open sessions, whether a command fits. A session's row comes after those of its commands.
    let mut with_command = BTreeSet::new();
    each(source, filter, |row| match row {
        Row::Session(session) => {
            let asked = !filter.asks_of_commands() || with_command.remove(&session.id);
            if asked && filter.admits_session(&session) {
                found.push(*session);
            }
        }
        Row::Command(row) if filter.asks_of_commands() && filter.admits_command(&row.command) => {
            with_command.insert(row.session.id.clone());
        }
        Row::Command(_) | Row::Approval(_) => {}
    })?;
    Ok(found.finish())
}

/// The commands that fit.
///
/// # Errors
/// As [`sessions`].
pub fn commands(source: &dyn Source, query: &Query) -> Result<Found<CommandRow>, SourceError> {
    let filter = &query.filter;
    let mut found = Top::new(query);
    each(source, filter, |row| {
        if let Row::Command(row) = row
            && filter.admits_time(row.command.time)
            && filter.admits_command(&row.command)
            && filter.admits_who(&row.session)
        {
            found.push(*row);
        }
    })?;
    Ok(found.finish())
}

/// The steps of approvals that fit.
///
/// # Errors
/// As [`sessions`].
pub fn approvals(source: &dyn Source, query: &Query) -> Result<Found<ApprovalRow>, SourceError> {
    let filter = &query.filter;
    let mut found = Top::new(query);
    each(source, filter, |row| {
        if let Row::Approval(row) = row
            && filter.admits_time(row.approval.time)
            && filter.admits_approval(&row)
            && filter.admits_who(&row.session)
        {
            found.push(*row);
        }
    })?;
    Ok(found.finish())
}

fn each(source: &dyn Source, filter: &Filter, mut take: impl FnMut(Row)) -> Result<(), SourceError> {
    let mut assembler = Assembler::default();
    // All that is about whole sessions. What is asked of commands would leave their results out.
    let wanted = Wanted {
        session: filter.session.clone(),
        identity: filter.identity.clone(),
        resource: filter.resource.clone(),
        since: filter.since,
    };
    for record in source.records(&wanted)? {
        assembler.feed(&record?, &mut take);
    }
    assembler.finish(&mut take);
    Ok(())
}

/// The records of the one session whose identifier begins so.
///
/// # Errors
/// See [`FindError`].
pub fn session_records(source: &dyn Source, prefix: &str) -> Result<Vec<Record>, FindError> {
    let mut id: Option<String> = None;
    let mut found = Vec::new();
    let wanted = Wanted { session: Some(prefix.to_owned()), ..Wanted::default() };
    for record in source.records(&wanted)? {
        let record = record?;
        let Some(session) = record.text(key::SESSION_ID).filter(|session| session.starts_with(prefix)) else {
            continue;
        };
        if id.as_deref().is_some_and(|id| id != session) {
            return Err(FindError::Ambiguous { prefix: prefix.to_owned() });
        }
        id.get_or_insert_with(|| session.to_owned());
        found.push(record);
    }
    if found.is_empty() { Err(FindError::None { prefix: prefix.to_owned() }) } else { Ok(found) }
}

/// The one session whose identifier begins so, with its commands.
///
/// # Errors
/// See [`FindError`].
pub fn session(source: &dyn Source, prefix: &str) -> Result<SessionDetail, FindError> {
    let records = session_records(source, prefix)?;
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
    /// The source cannot be read.
    #[error("read records")]
    Read(#[from] SourceError),
}

/// Whether a record is of this event.
pub(crate) fn is(record: &Record, name: EventName) -> bool {
    record.name() == name.as_str()
}

#[cfg(test)]
mod tests;
