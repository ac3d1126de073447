//! One session, put together from its records.

use crate::event::{EventName, key};
use crate::query::is;
use crate::record::Record;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A session in a list.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SessionSummary {
    /// `UUIDv7`.
    pub id: String,
    /// `issuer#subject`.
    pub user: String,
    /// Mapped user name.
    pub user_name: String,
    /// Mapped groups.
    pub groups: Vec<String>,
    /// Claims that are on every record.
    pub claims: BTreeMap<String, String>,
    /// Namespace of the resource.
    pub namespace: String,
    /// The resource.
    pub resource: String,
    /// Its protocol.
    pub protocol: String,
    /// Upstream role.
    pub role: String,
    /// Origin of the log.
    pub log: String,
    /// Time of its first record.
    pub start: Timestamp,
    /// Time of its last record.
    pub last: Timestamp,
    /// Time of its end; `None` while it is open, or when its end is not on record.
    pub end: Option<Timestamp>,
    /// Why it ended.
    pub reason: Option<String>,
    /// Commands judged, beside the opening of the session.
    pub statements: u64,
    /// Of these, allowed.
    pub allowed: u64,
    /// Of these, denied.
    pub denied: u64,
    /// Of these, held.
    pub held: u64,
    /// Results in which a value was masked.
    pub masked: u64,
}

impl SessionSummary {
    /// A session as its first record shows it.
    pub(super) fn begin(id: &str, record: &Record) -> Self {
        let text = |key| record.text(key).unwrap_or_default().to_owned();
        let claims = record.attributes().iter().filter_map(|attribute| {
            let name = attribute.key.strip_prefix(key::CLAIM_PREFIX)?;
            Some((name.to_owned(), record.text(&attribute.key)?.to_owned()))
        });
        Self {
            id: id.to_owned(),
            user: text(key::USER_ID),
            user_name: text(key::USER_NAME),
            groups: record.list(key::USER_ROLES).into_iter().map(str::to_owned).collect(),
            claims: claims.collect(),
            namespace: text(key::RESOURCE_NAMESPACE),
            resource: text(key::RESOURCE_NAME),
            protocol: text(key::RESOURCE_PROTOCOL),
            role: text(key::ROLE),
            log: record.origin().to_owned(),
            start: record.time(),
            last: record.time(),
            end: None,
            reason: None,
            statements: 0,
            allowed: 0,
            denied: 0,
            held: 0,
            masked: 0,
        }
    }

    /// Nanoseconds from its first to its last record.
    pub fn lasted(&self) -> i128 {
        self.last.as_nanosecond() - self.start.as_nanosecond()
    }

    pub(super) fn add(&mut self, record: &Record) {
        self.last = self.last.max(record.time());
        if is(record, EventName::Statement) {
            self.statements += 1;
            match record.text(key::VERDICT) {
                Some("allow") => self.allowed += 1,
                Some("deny") => self.denied += 1,
                Some("hold") => self.held += 1,
                Some(_) | None => {}
            }
        } else if is(record, EventName::Result) {
            self.masked += u64::from(!record.list(key::MASKED).is_empty());
        } else if is(record, EventName::SessionEnd) {
            self.end = Some(record.time());
            self.reason = record.text(key::REASON).map(str::to_owned);
        }
    }
}

/// A session with what it did.
#[derive(Clone, Debug, Serialize)]
pub struct SessionDetail {
    /// The session.
    #[serde(flatten)]
    pub summary: SessionSummary,
    /// What its first record says beside: client address, transport, expiry of the token.
    pub opening: BTreeMap<String, String>,
    /// Its commands, in their order.
    pub commands: Vec<Command>,
    /// Lines of errors and of anything that belongs to no command.
    pub errors: Vec<String>,
}

/// One command of a session.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Command {
    /// Its number in the session.
    pub number: i64,
    /// `portcullis.seq` of its statement record: where it is in the log.
    pub sequence: u64,
    /// When it was judged.
    pub time: Timestamp,
    /// Operation.
    pub operation: String,
    /// Masked text.
    pub text: String,
    /// Effects, one line each.
    pub effects: Vec<String>,
    /// `allow`, `deny` or `hold`.
    pub verdict: String,
    /// `policy/rule` that decided.
    pub rule: String,
    /// What Observe policies would have done.
    pub observed: Vec<String>,
    /// What became of its approval.
    pub approvals: Vec<Approval>,
    /// `ok`, `error`, `refused`, `aborted`; `None` when no result is on record.
    pub outcome: Option<String>,
    /// SQLSTATE, exit code or HTTP status.
    pub status_code: Option<String>,
    /// Rows returned or affected.
    pub rows: Option<i64>,
    /// Bytes of the masked result.
    pub bytes: Option<i64>,
    /// Microseconds from the permit to the end.
    pub duration_us: Option<i64>,
    /// What was masked.
    pub masked: Vec<String>,
    /// The result was longer than what is recorded.
    pub truncated: bool,
}

/// A step in the approval of a command.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Approval {
    /// When.
    pub time: Timestamp,
    /// Name of the request.
    pub name: String,
    /// `requested`, `approved`, `denied`, `expired`, `withdrawn`, `left`, `claimed`.
    pub verdict: String,
    /// Who decided.
    pub approvers: Vec<String>,
}

impl Approval {
    /// The step that an approval's record is.
    pub(super) fn of(record: &Record) -> Self {
        Self {
            time: record.time(),
            name: record.text(key::APPROVAL_NAME).unwrap_or_default().to_owned(),
            verdict: record.text(key::APPROVAL_VERDICT).unwrap_or_default().to_owned(),
            approvers: owned(record.list(key::APPROVERS)),
        }
    }
}

impl SessionDetail {
    /// Puts a session's records together; `None` when there are none.
    pub(super) fn of(records: &[Record]) -> Option<Self> {
        let first = records.first()?;
        let id = first.text(key::SESSION_ID).unwrap_or_default();
        let mut detail = Self {
            summary: SessionSummary::begin(id, first),
            opening: opening(first),
            commands: Vec::new(),
            errors: Vec::new(),
        };
        for record in records {
            detail.summary.add(record);
            detail.add(record);
        }
        Some(detail)
    }

    fn add(&mut self, record: &Record) {
        if is(record, EventName::Statement) {
            self.commands.push(Command::judged(record));
        } else if is(record, EventName::Error) {
            self.errors.push(format!("{} {}", record.time(), record.body()));
        } else if let Some(command) =
            self.commands.iter_mut().rev().find(|command| Some(command.number) == record.int(key::COMMAND))
        {
            command.add(record);
        }
    }
}

impl Command {
    pub(super) fn judged(record: &Record) -> Self {
        let text = |key| record.text(key).unwrap_or_default().to_owned();
        let policy = text(key::POLICY_NAME);
        let rule = text(key::RULE);
        Self {
            number: record.int(key::COMMAND).unwrap_or_default(),
            sequence: record.sequence(),
            time: record.time(),
            operation: record.operation().to_owned(),
            text: record.command_text().to_owned(),
            effects: owned(record.list(key::EFFECTS)),
            verdict: text(key::VERDICT),
            rule: if policy.is_empty() { rule } else { format!("{policy}/{rule}") },
            observed: owned(record.list(key::OBSERVED)),
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, record: &Record) {
        if is(record, EventName::Approval) {
            self.approvals.push(Approval::of(record));
        } else if is(record, EventName::Result) {
            self.outcome = record.text(key::OUTCOME).map(str::to_owned);
            self.status_code = record.status();
            self.rows = record.int(key::ROWS);
            self.bytes = record.int(key::BYTES);
            self.duration_us = record.int(key::DURATION_US);
            self.masked = owned(record.list(key::MASKED));
            self.truncated = record.truth(key::TRUNCATED).unwrap_or_default();
        }
    }
}

fn opening(record: &Record) -> BTreeMap<String, String> {
    let keys = [
        key::CLIENT_ADDRESS,
        key::CLIENT_NAME,
        key::TRANSPORT,
        key::TOKEN_EXPIRES,
        key::NAMESPACE,
        key::HOST,
        key::PROXY_INSTANCE,
        key::POLICY_DIGEST,
    ];
    keys.into_iter().filter_map(|key| Some((key.to_owned(), record.text(key)?.to_owned()))).collect()
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}
