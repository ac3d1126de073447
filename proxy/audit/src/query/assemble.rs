//! Records in the order of their log become sessions, commands and approvals.

use crate::event::{EventName, key};
use crate::query::{Approval, Command, SessionSummary, is};
use crate::record::Record;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use std::collections::HashMap;
use std::sync::Arc;

/// A command, and whose it is.
#[derive(Clone, Debug)]
pub struct CommandRow {
    /// Its session, as far as the log had it when the command ended. Shared with what still puts the session together:
    /// a row that nobody keeps costs no copy.
    pub session: Arc<SessionSummary>,
    /// The command.
    pub command: Command,
}

/// A step in the approval of a command, and whose it is.
#[derive(Clone, Debug)]
pub struct ApprovalRow {
    /// Its session, shared as a command's is.
    pub session: Arc<SessionSummary>,
    /// `portcullis.seq` of the record.
    pub sequence: u64,
    /// Number of the command in its session.
    pub command: i64,
    /// `policy/rule` that held it.
    pub rule: String,
    /// Masked text of the command.
    pub text: String,
    /// The step.
    pub approval: Approval,
}

/// Something that was put together.
#[derive(Clone, Debug)]
pub enum Row {
    /// A step in an approval.
    Approval(Box<ApprovalRow>),
    /// A command that ended, or whose end is not on record.
    Command(Box<CommandRow>),
    /// A session that ended, or whose end is not on record.
    Session(Box<SessionSummary>),
}

/// Puts records together. Holds what is open: a summary for each open session, and the commands without a result.
#[derive(Debug, Default)]
pub struct Assembler {
    sessions: HashMap<String, Open>,
}

#[derive(Debug)]
struct Open {
    summary: Arc<SessionSummary>,
    commands: Vec<Command>,
}

impl Assembler {
    /// Goes on with a session that an earlier assembler left open.
    pub fn resume(&mut self, summary: SessionSummary, commands: Vec<Command>) {
        self.sessions.insert(summary.id.clone(), Open { summary: Arc::new(summary), commands });
    }

    /// Whether this session is open.
    pub fn has(&self, session: &str) -> bool {
        self.sessions.contains_key(session)
    }

    /// Takes the next record of a log.
    pub fn feed(&mut self, record: &Record, take: &mut impl FnMut(Row)) {
        let Some(id) = record.text(key::SESSION_ID) else { return };
        if !self.sessions.contains_key(id) {
            let summary = Arc::new(SessionSummary::begin(id, record));
            self.sessions.insert(id.to_owned(), Open { summary, commands: Vec::new() });
        }
        let Some(open) = self.sessions.get_mut(id) else { return };
        Arc::make_mut(&mut open.summary).add(record);
        if is(record, EventName::Statement) {
            open.commands.push(Command::judged(record));
        } else if is(record, EventName::Approval) {
            open.approval(record, take);
        } else if is(record, EventName::Result) {
            open.result(record, take);
        } else if is(record, EventName::SessionEnd)
            && let Some(open) = self.sessions.remove(id)
        {
            open.end(take);
        }
    }

    /// There are no more records: gives what is still open.
    pub fn finish(self, take: &mut impl FnMut(Row)) {
        self.sessions.into_values().for_each(|open| open.end(take));
    }
}

impl Open {
    fn position(&self, record: &Record) -> Option<usize> {
        let number = record.int(key::COMMAND)?;
        self.commands.iter().rposition(|command| command.number == number)
    }

    fn approval(&mut self, record: &Record, take: &mut impl FnMut(Row)) {
        let position = self.position(record);
        let command = position.and_then(|position| self.commands.get_mut(position));
        let (rule, text) = match command {
            Some(command) => {
                command.add(record);
                (command.rule.clone(), command.text.clone())
            }
            None => Default::default(),
        };
        take(Row::Approval(Box::new(ApprovalRow {
            session: Arc::clone(&self.summary),
            sequence: record.sequence(),
            command: record.int(key::COMMAND).unwrap_or_default(),
            rule,
            text,
            approval: Approval::of(record),
        })));
    }

    fn result(&mut self, record: &Record, take: &mut impl FnMut(Row)) {
        let Some(position) = self.position(record) else { return };
        let mut command = self.commands.remove(position);
        command.add(record);
        take(Row::Command(Box::new(CommandRow { session: Arc::clone(&self.summary), command })));
    }

    fn end(self, take: &mut impl FnMut(Row)) {
        for command in self.commands {
            take(Row::Command(Box::new(CommandRow { session: Arc::clone(&self.summary), command })));
        }
        take(Row::Session(Box::new(Arc::unwrap_or_clone(self.summary))));
    }
}

/// What identifies a session beside its identifier, as on every row.
fn who<M: serde::ser::SerializeMap>(map: &mut M, session: &SessionSummary) -> Result<(), M::Error> {
    map.serialize_entry("session", &session.id)?;
    map.serialize_entry("user", &session.user)?;
    map.serialize_entry("user_name", &session.user_name)?;
    map.serialize_entry("groups", &session.groups)?;
    map.serialize_entry("claims", &session.claims)?;
    map.serialize_entry("namespace", &session.namespace)?;
    map.serialize_entry("resource", &session.resource)?;
    map.serialize_entry("protocol", &session.protocol)?;
    map.serialize_entry("role", &session.role)?;
    map.serialize_entry("log", &session.log)
}

impl Serialize for CommandRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let command = &self.command;
        let mut map = serializer.serialize_map(None)?;
        who(&mut map, &self.session)?;
        map.serialize_entry("sequence", &command.sequence)?;
        map.serialize_entry("command", &command.number)?;
        map.serialize_entry("time", &command.time)?;
        map.serialize_entry("verdict", &command.verdict)?;
        map.serialize_entry("rule", &command.rule)?;
        map.serialize_entry("operation", &command.operation)?;
        map.serialize_entry("text", &command.text)?;
        map.serialize_entry("outcome", &command.outcome)?;
        map.serialize_entry("status_code", &command.status_code)?;
        map.serialize_entry("rows", &command.rows)?;
        map.serialize_entry("bytes", &command.bytes)?;
        map.serialize_entry("duration_us", &command.duration_us)?;
        map.serialize_entry("masked", &command.masked)?;
        map.end()
    }
}

impl Serialize for ApprovalRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        who(&mut map, &self.session)?;
        map.serialize_entry("sequence", &self.sequence)?;
        map.serialize_entry("command", &self.command)?;
        map.serialize_entry("time", &self.approval.time)?;
        map.serialize_entry("name", &self.approval.name)?;
        map.serialize_entry("verdict", &self.approval.verdict)?;
        map.serialize_entry("approvers", &self.approval.approvers)?;
        map.serialize_entry("rule", &self.rule)?;
        map.serialize_entry("text", &self.text)?;
        map.end()
    }
}
