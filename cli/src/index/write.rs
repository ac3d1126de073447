//! Filling the index.

use crate::index::{nanoseconds, signed};
use proxy_audit::event::key;
use proxy_audit::query::{ApprovalRow, Assembler, Command, CommandRow, Row, SessionSummary};
use proxy_audit::record::Record;
use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};

/// Most texts that are remembered as written.
const TEXTS_REMEMBERED: usize = 1 << 20;

/// Writes the rows of one log, within one transaction.
pub(super) struct Writer<'a> {
    connection: &'a Connection,
    key: &'a [u8],
    log: i64,
    assembler: Assembler,
    rows: Vec<Row>,
    /// Row identifiers of sessions and of whose they are, by their identifier.
    sessions: HashMap<String, Ids>,
    /// First and last sequence of their records, as far as they were read.
    spans: HashMap<String, (u64, u64)>,
    /// Texts that are in the tables.
    written: HashSet<i64>,
}

/// Row identifiers of a session.
#[derive(Clone, Copy)]
struct Ids {
    session: i64,
    who: i64,
}

impl<'a> Writer<'a> {
    /// Goes on with the log of this identifier.
    pub(super) fn new(connection: &'a Connection, key: &'a [u8], log: i64) -> Self {
        Self {
            connection,
            key,
            log,
            assembler: Assembler::default(),
            rows: Vec::new(),
            sessions: HashMap::new(),
            spans: HashMap::new(),
            written: HashSet::new(),
        }
    }

    /// Takes the next record.
    pub(super) fn add(&mut self, record: &Record) -> anyhow::Result<()> {
        if let Some(session) = record.text(key::SESSION_ID) {
            if !self.assembler.has(session) {
                self.resume(session)?;
            }
            let at = record.sequence();
            self.spans.entry(session.to_owned()).or_insert((at, at)).1 = at;
        }
        let rows = &mut self.rows;
        self.assembler.feed(record, &mut |row| rows.push(row));
        self.write_rows()
    }

    /// Writes what is still open, as far as it is known.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let rows = &mut self.rows;
        std::mem::take(&mut self.assembler).finish(&mut |row| rows.push(row));
        self.write_rows()
    }

    fn write_rows(&mut self) -> anyhow::Result<()> {
        for row in std::mem::take(&mut self.rows) {
            match row {
                Row::Session(session) => self.session(&session)?,
                Row::Command(command) => self.command(&command)?,
                Row::Approval(approval) => self.approval(&approval)?,
            }
        }
        Ok(())
    }

    /// Takes up a session that is in the tables already, with its commands that have no result yet.
    fn resume(&mut self, session: &str) -> anyhow::Result<()> {
        let Some((id, summary)) = crate::index::ask::summary(self.connection, self.log, session)? else {
            return Ok(());
        };
        let who = self.who(&summary)?;
        self.sessions.insert(session.to_owned(), Ids { session: id, who });
        let open = crate::index::ask::open_commands(self.connection, id)?;
        self.assembler.resume(summary, open);
        Ok(())
    }

    fn session(&mut self, session: &SessionSummary) -> anyhow::Result<()> {
        let id = self.ids(session)?.session;
        let span = self.spans.get(&session.id).copied().unwrap_or_default();
        let reason = session.reason.as_deref().map(|reason| self.name(reason)).transpose()?;
        self.connection
            .prepare_cached(
                "UPDATE sessions SET last = ?2, ended = ?3, reason = ?4, statements = ?5, allowed = ?6,
                 denied = ?7, held = ?8, masked = ?9, last_sequence = ?10 WHERE id = ?1",
            )?
            .execute(params![
                id,
                nanoseconds(session.last),
                session.end.map(nanoseconds),
                reason,
                signed(session.statements)?,
                signed(session.allowed)?,
                signed(session.denied)?,
                signed(session.held)?,
                signed(session.masked)?,
                signed(span.1)?,
            ])?;
        if session.end.is_some() {
            self.sessions.remove(&session.id);
            self.spans.remove(&session.id);
        }
        Ok(())
    }

    fn ids(&mut self, session: &SessionSummary) -> anyhow::Result<Ids> {
        if let Some(ids) = self.sessions.get(&session.id) {
            return Ok(*ids);
        }
        let who = self.who(session)?;
        let found = self
            .connection
            .prepare_cached("SELECT id FROM sessions WHERE session = ?1 AND log = ?2")?
            .query_row(params![session.id, self.log], |row| row.get(0))
            .optional()?;
        let id = if let Some(id) = found {
            id
        } else {
            let (start, span) =
                (nanoseconds(session.start), self.spans.get(&session.id).copied().unwrap_or_default());
            self.connection
                .prepare_cached(
                    "INSERT INTO sessions (log, session, who, start, last, statements, allowed, denied, held,
                     masked, first_sequence, last_sequence)
                     VALUES (?1, ?2, ?3, ?4, ?4, 0, 0, 0, 0, 0, ?5, ?6)",
                )?
                .execute(params![self.log, session.id, who, start, signed(span.0)?, signed(span.1)?])?;
            self.connection.last_insert_rowid()
        };
        let ids = Ids { session: id, who };
        self.sessions.insert(session.id.clone(), ids);
        Ok(ids)
    }

    fn command(&mut self, row: &CommandRow) -> anyhow::Result<()> {
        let Ids { session, who } = self.ids(&row.session)?;
        let command: &Command = &row.command;
        let masked = match command.masked.as_slice() {
            [] => None,
            masked => Some(self.keep("masks", &serde_json::to_string(masked)?)?),
        };
        let (verdict, rule) = (self.name(&command.verdict)?, self.name(&command.rule)?);
        let (operation, text) = (self.name(&command.operation)?, self.keep("texts", &command.text)?);
        let outcome = command.outcome.as_deref().map(|name| self.name(name)).transpose()?;
        let status = command.status_code.as_deref().map(|name| self.name(name)).transpose()?;
        let time = nanoseconds(command.time);
        let sequence = signed(command.sequence)?;
        let (log, number, rows, bytes) = (self.log, command.number, command.rows, command.bytes);
        let duration = command.duration_us;
        let values = params![
            session, number, sequence, log, who, time, verdict, rule, operation, text, outcome, status, rows,
            bytes, duration, masked,
        ];
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO commands VALUES
                 (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            )?
            .execute(values)?;
        Ok(())
    }

    fn approval(&mut self, row: &ApprovalRow) -> anyhow::Result<()> {
        let Ids { session, who } = self.ids(&row.session)?;
        let (verdict, rule) = (self.name(&row.approval.verdict)?, self.name(&row.rule)?);
        let text = self.keep("texts", &row.text)?;
        let time = nanoseconds(row.approval.time);
        let approvers = serde_json::to_string(&row.approval.approvers)?;
        let (log, sequence, number, name) =
            (self.log, signed(row.sequence)?, row.command, &row.approval.name);
        let values = params![log, sequence, session, who, number, time, verdict, name, approvers, rule, text];
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO approvals VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(values)?;
        Ok(())
    }

    /// Identity and resource of a session.
    fn who(&mut self, session: &SessionSummary) -> anyhow::Result<i64> {
        let mut blank = session.clone();
        blank.id.clear();
        (blank.start, blank.last) = Default::default();
        (blank.end, blank.reason) = (None, None);
        (blank.statements, blank.allowed, blank.denied, blank.held, blank.masked) = Default::default();
        self.keep("who", &serde_json::to_string(&blank)?)
    }

    fn name(&mut self, text: &str) -> anyhow::Result<i64> {
        self.keep("names", text)
    }

    /// Identifier of a text in one of the tables of texts: its keyed digest, so that nobody can make two texts share
    /// one.
    fn keep(&mut self, table: &'static str, text: &str) -> anyhow::Result<i64> {
        let id = digest(self.key, table, text);
        if self.written.contains(&id) {
            return Ok(id);
        }
        self.connection
            .prepare_cached(match table {
                "texts" => "INSERT OR IGNORE INTO texts VALUES (?1, ?2)",
                "masks" => "INSERT OR IGNORE INTO masks VALUES (?1, ?2)",
                "who" => "INSERT OR IGNORE INTO who VALUES (?1, ?2)",
                _ => "INSERT OR IGNORE INTO names VALUES (?1, ?2)",
            })?
            .execute(params![id, text])?;
        if self.written.len() >= TEXTS_REMEMBERED {
            self.written.clear();
        }
        self.written.insert(id);
        Ok(id)
    }
}

/// Keyed digest of a text.
pub(super) fn digest(key: &[u8], table: &str, text: &str) -> i64 {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(key)
        .chain_update(table)
        .chain_update([0])
        .chain_update(text)
        .finalize()
        .into();
    digest.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}
