//! What the walk over a log needs of each record, read from its bytes.

use crate::chunks::ChunkRef;
use crate::event::{EventName, key};
use crate::leaf::{Scalar, scan};
use crate::merkle::{Hash, chain_link, leaf_hash};
use crate::record::{Record, RecordError};
use jiff::Timestamp;

/// Of one record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    pub(super) sequence: u64,
    pub(super) session_sequence: u64,
    /// What it says the link to the record before is; `None` when that is no digest.
    pub(super) chain_previous: Option<Hash>,
    pub(super) leaf_hash: Hash,
    /// The link that the record after it must have.
    pub(super) link: Hash,
    pub(super) time: Timestamp,
    /// Its log's name, where that is not the one expected.
    pub(super) foreign: Option<String>,
    pub(super) session: Option<String>,
    pub(super) has_frames: bool,
    /// The chunk that its frames are in, if they are beside the log.
    pub(super) chunk: Option<Box<ChunkRef>>,
    pub(super) ends: Option<End>,
    /// The record itself, where it is the recorder's own.
    pub(super) recorder: Option<Box<Record>>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// A crash was recovered from.
    Crashed,
    /// In any other way.
    Otherwise,
}

impl End {
    fn of(name: &str, reason: Option<&str>) -> Option<Self> {
        if name != EventName::SessionEnd.as_str() {
            return None;
        }
        Some(if reason == Some("crash_recovered") { Self::Crashed } else { Self::Otherwise })
    }
}

/// The first attribute of each of these names.
#[derive(Default)]
struct Seen<'a> {
    sequence: Option<Scalar<'a>>,
    session_sequence: Option<Scalar<'a>>,
    chain_previous: Option<Scalar<'a>>,
    origin: Option<Scalar<'a>>,
    session: Option<Scalar<'a>>,
    frames: Option<Scalar<'a>>,
    chunk: Option<Scalar<'a>>,
    chunk_bytes: Option<Scalar<'a>>,
    chunk_key: Option<Scalar<'a>>,
    reason: Option<Scalar<'a>>,
}

impl Seen<'_> {
    fn chunk(&self) -> Option<Box<ChunkRef>> {
        let digest = digest(bytes(self.chunk)?)?;
        let session = text(self.session)?.to_owned();
        let key = bytes(self.chunk_key).and_then(self::digest);
        Some(Box::new(ChunkRef { session, digest, bytes: int(self.chunk_bytes)?, key }))
    }
}

impl Facts {
    /// Reads a leaf of the log of this name; of a log without a name, any is right.
    ///
    /// # Errors
    /// As [`Record::decode`]; the same leaves are records.
    pub(super) fn read(leaf: &[u8], origin: Option<&str>) -> Result<Self, RecordError> {
        match Self::glance(leaf, origin) {
            Some(facts) => Ok(facts),
            None => Record::decode(leaf).map(|record| Self::of(record, origin)),
        }
    }

    /// From the bytes alone; `None` where these have to be decoded.
    fn glance(leaf: &[u8], origin: Option<&str>) -> Option<Self> {
        let mut seen = Seen::default();
        let envelope = scan(leaf, |key, value| {
            let slot = match key {
                key::SEQUENCE => &mut seen.sequence,
                key::SESSION_SEQUENCE => &mut seen.session_sequence,
                key::CHAIN_PREVIOUS => &mut seen.chain_previous,
                key::LOG_ORIGIN => &mut seen.origin,
                key::SESSION_ID => &mut seen.session,
                key::FRAMES => &mut seen.frames,
                key::CHUNK => &mut seen.chunk,
                key::CHUNK_BYTES => &mut seen.chunk_bytes,
                key::CHUNK_KEY => &mut seen.chunk_key,
                key::REASON => &mut seen.reason,
                _ => return,
            };
            slot.get_or_insert(value);
        })?;
        if envelope.event_name == EventName::Recorder.as_str() {
            return None;
        }
        let leaf_hash = leaf_hash(leaf);
        Some(Self {
            sequence: int(seen.sequence)?,
            session_sequence: int(seen.session_sequence)?,
            chain_previous: digest(bytes(seen.chain_previous)?),
            leaf_hash,
            link: chain_link(Some(&leaf_hash)),
            time: Timestamp::from_nanosecond(envelope.time_unix_nano.into()).unwrap_or_default(),
            foreign: foreign(text(seen.origin), origin),
            session: text(seen.session).map(str::to_owned),
            has_frames: bytes(seen.frames).is_some(),
            chunk: seen.chunk(),
            ends: End::of(envelope.event_name, text(seen.reason)),
            recorder: None,
        })
    }

    /// Of a decoded record.
    pub(super) fn of(record: Record, origin: Option<&str>) -> Self {
        Self {
            sequence: record.sequence(),
            session_sequence: record.session_sequence(),
            chain_previous: digest(record.chain_previous()),
            leaf_hash: *record.leaf_hash(),
            link: chain_link(Some(record.leaf_hash())),
            time: record.time(),
            foreign: foreign(record.text(key::LOG_ORIGIN), origin),
            session: record.text(key::SESSION_ID).map(str::to_owned),
            has_frames: record.bytes(key::FRAMES).is_some(),
            chunk: ChunkRef::of(&record).map(Box::new),
            ends: End::of(record.name(), record.text(key::REASON)),
            recorder: (record.name() == EventName::Recorder.as_str()).then(|| Box::new(record)),
        }
    }
}

fn foreign(found: Option<&str>, expected: Option<&str>) -> Option<String> {
    (expected.is_some() && found != expected).then(|| found.unwrap_or_default().to_owned())
}

fn digest(bytes: &[u8]) -> Option<Hash> {
    bytes.try_into().ok()
}

fn int(value: Option<Scalar<'_>>) -> Option<u64> {
    if let Some(Scalar::Int(number)) = value { Some(number.cast_unsigned()) } else { None }
}

fn text(value: Option<Scalar<'_>>) -> Option<&str> {
    if let Some(Scalar::Text(text)) = value { Some(text) } else { None }
}

fn bytes(value: Option<Scalar<'_>>) -> Option<&[u8]> {
    if let Some(Scalar::Bytes(bytes)) = value { Some(bytes) } else { None }
}
