//! The record schema: event names, attribute keys, and what is on every record.
//!
//! `docs/audit-events.md` is generated from here and from [`schema`].

pub mod key;
pub mod schema;

use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Attributes that most events have at most, so that their list need not grow.
const USUAL_ATTRIBUTES: usize = 16;

/// One thing that happened, before it becomes an OTLP log record.
#[derive(Clone, Debug)]
pub struct Event {
    /// Which event.
    pub name: EventName,
    /// How much it matters to somebody who watches.
    pub severity: Severity,
    /// One human line. No secret, no literal.
    pub body: String,
    /// Attributes beside the envelope. Keys are unique; they are constants of [`key`].
    pub attributes: Vec<(&'static str, Value)>,
    /// Attributes before those, which other events have as well.
    pub common: Option<Common>,
}

/// Attributes of many events, in the record's byte form: encoded once, copied into each record. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Common(Arc<CommonInner>);

#[derive(Debug)]
struct CommonInner {
    attributes: Vec<(&'static str, Value)>,
    encoded: Vec<u8>,
}

impl Common {
    /// These attributes, in this order. Keys are unique, among these and among those of the events.
    pub fn new(attributes: Vec<(&'static str, Value)>) -> Self {
        let mut encoded = Vec::new();
        crate::encode::encode_attributes(&mut encoded, &attributes);
        Self(Arc::new(CommonInner { attributes, encoded }))
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.0.encoded
    }
}

impl Event {
    /// An event without attributes.
    pub fn new(name: EventName, severity: Severity, body: impl Into<String>) -> Self {
        let attributes = Vec::with_capacity(USUAL_ATTRIBUTES);
        Self { name, severity, body: body.into(), attributes, common: None }
    }

    /// The same event with these attributes before its own.
    #[must_use]
    pub fn with_common(self, common: Common) -> Self {
        Self { common: Some(common), ..self }
    }

    /// Keys of all its attributes.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static str> + Clone {
        let common = self.common.iter().flat_map(|common| &common.0.attributes);
        common.chain(&self.attributes).map(|(key, _)| *key)
    }

    /// The same event with one more attribute.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((key, value.into()));
        self
    }
}

impl Event {
    /// Takes the frames of a result out, if there are any.
    pub(crate) fn take_frames(&mut self) -> Option<Bytes> {
        let at = self.attributes.iter().position(|(name, _)| *name == key::FRAMES)?;
        let (_, value) = self.attributes.remove(at);
        if let Value::Bytes(frames) = value { Some(frames).filter(|frames| !frames.is_empty()) } else { None }
    }
}

/// Names of events: `LogRecord.event_name`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EventName {
    /// An approval was asked for, decided, withdrawn, expired or consumed.
    Approval,
    /// A signed state of the log, for who has copies of its records only. In exports; it is no record of the log.
    Checkpoint,
    /// Something failed that an investigator should know: a protocol violation, a failed login.
    Error,
    /// The recorder itself: start, recovery, high water.
    Recorder,
    /// How a command ended, with its masked result or the last part of it.
    Result,
    /// An earlier part of a result that does not fit one record.
    ResultChunk,
    /// A session ended.
    SessionEnd,
    /// A session began.
    SessionStart,
    /// A command, and the verdict on it.
    Statement,
}

impl EventName {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "portcullis.approval",
            Self::Checkpoint => "portcullis.checkpoint",
            Self::Error => "portcullis.error",
            Self::Recorder => "portcullis.recorder",
            Self::Result => "portcullis.result",
            Self::ResultChunk => "portcullis.result.chunk",
            Self::SessionEnd => "portcullis.session.end",
            Self::SessionStart => "portcullis.session.start",
            Self::Statement => "portcullis.statement",
        }
    }
}

/// OTLP severities in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// Ordinary.
    Info,
    /// Refused, held, or the recorder had to recover.
    Warn,
    /// Failed.
    Error,
}

/// Value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Str(String),
    /// Whole number.
    Int(i64),
    /// Truth.
    Bool(bool),
    /// Raw bytes: wire frames of a recorded result.
    Bytes(Bytes),
    /// List of texts.
    List(Vec<String>),
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}
impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}
impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
impl From<Bytes> for Value {
    fn from(value: Bytes) -> Self {
        Self::Bytes(value)
    }
}
impl From<Vec<String>> for Value {
    fn from(value: Vec<String>) -> Self {
        Self::List(value)
    }
}

/// What is on every record of one session; built once, shared by its events.
///
/// `attributes` hold the envelope of `docs/audit-events.md`: `session.id`, `user.id`, `user.name`, groups and CI
/// claims, `portcullis.resource.*`, `portcullis.proxy.*`. The spool adds schema, origin, sequence numbers, record
/// id, chain and time.
#[derive(Clone, Debug)]
pub struct SessionStamp(Arc<StampInner>);

#[derive(Debug)]
struct StampInner {
    attributes: Vec<(Cow<'static, str>, Value)>,
    /// The attributes in the record's byte form: encoded once, copied into every record.
    encoded: Vec<u8>,
    keys: KeySet,
    sequence: AtomicU64,
}

/// Which keys are there, told by a bit of each: one whose bit is not set is not there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeySet(u128);

impl KeySet {
    /// Adds a key; whether it may have been there.
    pub(crate) fn insert(&mut self, key: &str) -> bool {
        let bytes = key.as_bytes();
        let letter = |at: usize| bytes.get(at).copied().map_or(0, usize::from);
        let mixed = key.len() * 5 + letter(key.len() / 2) * 3 + letter(key.len().wrapping_sub(1)) * 7;
        let bit = 1 << (mixed % 128);
        let was_there = self.0 & bit != 0;
        self.0 |= bit;
        was_there
    }
}

impl SessionStamp {
    /// A stamp with these attributes; its records are numbered from 0. Keys are unique, among these and among the
    /// events': a record that would carry a key twice is refused.
    pub fn new(attributes: Vec<(Cow<'static, str>, Value)>) -> Self {
        let mut encoded = Vec::new();
        crate::encode::encode_attributes(&mut encoded, &attributes);
        let mut keys = KeySet::default();
        for (key, _) in &attributes {
            keys.insert(key);
        }
        Self(Arc::new(StampInner { attributes, encoded, keys, sequence: AtomicU64::new(0) }))
    }

    /// The stamp of a session that a crash ended, as its records had it: the next one has this number.
    pub(crate) fn resumed(encoded: Vec<u8>, sequence: u64) -> Self {
        let (keys, sequence) = (KeySet::default(), AtomicU64::new(sequence));
        Self(Arc::new(StampInner { attributes: Vec::new(), encoded, keys, sequence }))
    }

    /// The session's identifier.
    pub(crate) fn session(&self) -> Option<&str> {
        let found = self.0.attributes.iter().find(|(name, _)| name == key::SESSION_ID);
        if let Some((_, Value::Str(id))) = found { Some(id) } else { None }
    }

    /// The attributes of every record.
    pub fn attributes(&self) -> &[(Cow<'static, str>, Value)] {
        &self.0.attributes
    }

    pub(crate) fn keys(&self) -> KeySet {
        self.0.keys
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.0.encoded
    }

    /// `portcullis.session.seq` of the next record. Read and advanced only under the log's lock, so that records of
    /// a session are numbered in the order of the log, and a record that was not kept leaves no gap.
    pub(crate) fn sequence(&self) -> u64 {
        self.0.sequence.load(Ordering::Relaxed)
    }

    pub(crate) fn advance(&self) {
        self.0.sequence.fetch_add(1, Ordering::Relaxed);
    }
}

/// `portcullis.schema` of the records that this version writes.
pub const SCHEMA_VERSION: &str = "v1";
