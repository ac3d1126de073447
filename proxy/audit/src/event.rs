//! The record schema: event names, attribute keys, and what is on every record.
//!
//! `docs/audit-events.md` is generated from here and from [`schema`].

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

/// Attribute keys. Semantic-convention names where one exists, else the prefix `portcullis.`.
pub mod key {
    /// Declares the keys and lists them with their meaning, so that `docs/audit-events.md` is made from one source.
    macro_rules! keys {
        ($($(#[doc = $meaning:literal])+ pub const $name:ident: &str = $key:literal;)+) => {
            $($(#[doc = $meaning])+ pub const $name: &str = $key;)+

            /// Every key and the lines of its meaning.
            pub const ALL: &[(&str, &[&str])] = &[$(($key, &[$($meaning),+])),+];
        };
    }

    keys! {
        /// Version of the schema. On every record.
        pub const SCHEMA: &str = "portcullis.schema";
        /// Origin of the log, which is also the name of its key. On every record.
        pub const LOG_ORIGIN: &str = "portcullis.log.origin";
        /// Number of the record in its log, from 0, without gaps. On every record.
        pub const SEQUENCE: &str = "portcullis.seq";
        /// `UUIDv7` of the record, to tell repeated deliveries apart. On every record.
        pub const RECORD_ID: &str = "portcullis.record.id";
        /// SHA-256 of the previous record's leaf hash, 32 bytes; zeros on the first. On every record.
        pub const CHAIN_PREVIOUS: &str = "portcullis.chain.prev";
        /// Number of the record in its session, from 0, without gaps. On every record.
        pub const SESSION_SEQUENCE: &str = "portcullis.session.seq";
        /// What the recorder reports: `start`, `recovered`, `removed` (segments, by retention).
        pub const RECORDER_EVENT: &str = "portcullis.recorder.event";
        /// Whole records that opening found.
        pub const RECOVERED_RECORDS: &str = "portcullis.recorder.records";
        /// Bytes of a torn tail that opening cut off.
        pub const TORN_BYTES: &str = "portcullis.recorder.torn_bytes";
        /// Records with lower sequences were removed from disk, by retention.
        pub const REMOVED_BELOW: &str = "portcullis.recorder.removed_below";
        /// A checkpoint as a signed note.
        pub const CHECKPOINT_NOTE: &str = "portcullis.checkpoint.note";
        /// Size of the checkpoint; of the recorder's record, of the last one before this opening.
        pub const CHECKPOINT_SIZE: &str = "portcullis.checkpoint.size";
        /// SHA-256 of the last checkpoint's note before this opening, hexadecimal.
        pub const CHECKPOINT_DIGEST: &str = "portcullis.checkpoint.digest";
        /// Origin of the log that this one follows. On a log's first record.
        pub const PREDECESSOR_ORIGIN: &str = "portcullis.predecessor.origin";
        /// Size of that log's last checkpoint.
        pub const PREDECESSOR_SIZE: &str = "portcullis.predecessor.size";
        /// SHA-256 of that checkpoint's note, hexadecimal.
        pub const PREDECESSOR_DIGEST: &str = "portcullis.predecessor.digest";
        /// Identifier of the session (`UUIDv7`).
        pub const SESSION_ID: &str = "session.id";
        /// `issuer#subject`.
        pub const USER_ID: &str = "user.id";
        /// Mapped user name.
        pub const USER_NAME: &str = "user.name";
        /// Mapped groups.
        pub const USER_ROLES: &str = "user.roles";
        /// Prefix of a claim that is on every record: `portcullis.claim.repository`.
        pub const CLAIM_PREFIX: &str = "portcullis.claim.";
        /// Namespace of the Resource.
        pub const RESOURCE_NAMESPACE: &str = "portcullis.resource.namespace";
        /// Name of the Resource.
        pub const RESOURCE_NAME: &str = "portcullis.resource.name";
        /// Protocol of the Resource.
        pub const RESOURCE_PROTOCOL: &str = "portcullis.resource.protocol";
        /// Identifier of the session's token.
        pub const TOKEN_ID: &str = "portcullis.claim.jti";
        /// Name of the gateway process.
        pub const PROXY_INSTANCE: &str = "portcullis.proxy.instance";
        /// Address of the client.
        pub const CLIENT_ADDRESS: &str = "client.address";
        /// Port of the client.
        pub const CLIENT_PORT: &str = "client.port";
        /// The client's own name for itself; untrusted.
        pub const CLIENT_NAME: &str = "user_agent.original";
        /// How the client's transport is protected.
        pub const TRANSPORT: &str = "portcullis.transport";
        /// When the session's token expires.
        pub const TOKEN_EXPIRES: &str = "portcullis.token.expires";
        /// Commands of a session.
        pub const COMMANDS: &str = "portcullis.commands";
        /// Commands of a session by verdict: `allow 12`.
        pub const VERDICTS: &str = "portcullis.verdicts";
        /// Values masked in a session.
        pub const MASKED_COUNT: &str = "portcullis.masked.count";
        /// Upstream role of the session.
        pub const ROLE: &str = "portcullis.role";
        /// Number of the command within its session, from 1; joins statement, approval, chunks and result.
        pub const COMMAND: &str = "portcullis.command";
        /// Digest of the policy set in force; on a statement only if no earlier record of the session has this one.
        pub const POLICY_DIGEST: &str = "portcullis.policy.digest";
        /// Policy of the rule that decided.
        pub const POLICY_NAME: &str = "portcullis.policy.name";
        /// Generation of that policy; 0 outside Kubernetes.
        pub const POLICY_GENERATION: &str = "portcullis.policy.generation";
        /// Rule that decided.
        pub const RULE: &str = "portcullis.rule";
        /// `allow`, `deny`, `hold`.
        pub const VERDICT: &str = "portcullis.verdict";
        /// What Observe policies would have done: `deny policy/rule`.
        pub const OBSERVED: &str = "portcullis.observed";
        /// Effects, one line each.
        pub const EFFECTS: &str = "portcullis.effects";
        /// Keyed digest of the exact command.
        pub const DIGEST: &str = "portcullis.digest";
        /// Keyed digest of the canonical effect.
        pub const EFFECT_DIGEST: &str = "portcullis.effect_digest";
        /// Masked text of the command, of a database.
        pub const QUERY_TEXT: &str = "db.query.text";
        /// Masked text of the command, of SSH.
        pub const COMMAND_LINE: &str = "process.command_line";
        /// Masked text of the command, of the Kubernetes API: method, path and what matters of the body.
        pub const REQUEST: &str = "portcullis.request";
        /// Operation of the command.
        pub const OPERATION: &str = "db.operation.name";
        /// Operation of the command, of other protocols than databases'.
        pub const ACTION: &str = "portcullis.operation";
        /// Database of the session.
        pub const NAMESPACE: &str = "db.namespace";
        /// Host of the session, among those of the Resource.
        pub const HOST: &str = "portcullis.host";
        /// `postgresql`.
        pub const DB_SYSTEM: &str = "db.system.name";
        /// SQLSTATE of a failed command.
        pub const STATUS_CODE: &str = "db.response.status_code";
        /// Exit code of a program.
        pub const EXIT_CODE: &str = "process.exit.code";
        /// Status of an HTTP response.
        pub const HTTP_STATUS: &str = "http.response.status_code";
        /// Rows returned or affected.
        pub const ROWS: &str = "db.response.returned_rows";
        /// Bytes of the masked result as the client got it.
        pub const BYTES: &str = "portcullis.result.bytes";
        /// The masked wire frames; of a terminal or `exec`, the form of `proxy/audit/src/stream.rs`.
        pub const FRAMES: &str = "portcullis.result.frames";
        /// SHA-256 of the encrypted chunk beside the log that the frames are in, 32 bytes; then they are not in the record.
        pub const CHUNK: &str = "portcullis.result.chunk";
        /// Bytes of the frames in that chunk.
        pub const CHUNK_BYTES: &str = "portcullis.result.chunk.bytes";
        /// SHA-256 of the session's encrypted key, 32 bytes. With the first chunk of a session.
        pub const CHUNK_KEY: &str = "portcullis.result.chunk.key";
        /// The result was longer than what is recorded.
        pub const TRUNCATED: &str = "portcullis.result.truncated";
        /// `ok`, `error`, `refused`, `aborted`.
        pub const OUTCOME: &str = "portcullis.outcome";
        /// What was masked: `column public.users.email ×3`, `detector Jwt ×1`. Names and counts, never values.
        pub const MASKED: &str = "portcullis.masked";
        /// Microseconds from the permit to the end.
        pub const DURATION_US: &str = "portcullis.duration_us";
        /// Why something ended or failed.
        pub const REASON: &str = "portcullis.reason";
        /// Name of the `ApprovalRequest`.
        pub const APPROVAL_NAME: &str = "portcullis.approval.name";
        /// Its UID.
        pub const APPROVAL_UID: &str = "portcullis.approval.uid";
        /// `requested`, `approved`, `denied`, `expired`, `withdrawn`, `claimed`.
        pub const APPROVAL_VERDICT: &str = "portcullis.approval.verdict";
        /// Who decided, `name (group): reason`.
        pub const APPROVERS: &str = "portcullis.approval.approvers";
        /// Milliseconds the command waited.
        pub const APPROVAL_WAIT_MS: &str = "portcullis.approval.wait_ms";
        /// What the approvers were told that it would do, masked; several lines.
        pub const APPROVAL_ESTIMATE: &str = "portcullis.approval.estimate";
    }
}
