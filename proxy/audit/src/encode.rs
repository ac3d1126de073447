//! The one byte form of a record: canonical protobuf of an OTLP `LogRecord`.
//!
//! Fields in tag order, no defaults, attributes in a fixed order: the envelope, the session's stamp, the event's own.
//! Those bytes are the leaf that is hashed, so two writers of the same record must produce the same bytes. They are
//! written by hand rather than through the generated types because most of a record does not depend on its place in
//! the log: it is encoded before the log's lock is taken, and the rest is spliced in under it.

use crate::event::{Common, Event, Severity, Value, key};
use crate::merkle::Hash;
use opentelemetry_proto::tonic::logs::v1::SeverityNumber;
use prost::encoding::{encode_varint, encoded_len_varint};
use std::borrow::Cow;

/// Most bytes of one record.
pub(crate) const MAX_LEAF_BYTES: usize = 65_535;

pub(crate) const TIME: u8 = 0x09; // field 1, fixed64
pub(crate) const SEVERITY_NUMBER: u8 = 0x10; // field 2, varint
pub(crate) const SEVERITY_TEXT: u8 = 0x1a; // field 3, bytes
pub(crate) const BODY: u8 = 0x2a; // field 5, bytes
pub(crate) const ATTRIBUTE: u8 = 0x32; // field 6, bytes
pub(crate) const OBSERVED_TIME: u8 = 0x59; // field 11, fixed64
pub(crate) const EVENT_NAME: u8 = 0x62; // field 12, bytes

/// Attributes that are the same for all records of a log, encoded once.
#[derive(Clone, Debug)]
pub(crate) struct LogAttributes(Vec<u8>);

impl LogAttributes {
    pub(crate) fn new(origin: &str) -> Self {
        let mut bytes = Vec::new();
        string_attribute(&mut bytes, key::SCHEMA, crate::event::SCHEMA_VERSION);
        string_attribute(&mut bytes, key::LOG_ORIGIN, origin);
        Self(bytes)
    }
}

/// A record without its place in the log.
#[derive(Debug)]
pub(crate) struct Draft {
    head: Vec<u8>,
    record_id: RecordId,
    attributes: Vec<u8>,
    name: &'static str,
}

/// An identifier of version 7 in its 36 letters.
#[derive(Clone, Copy, Debug)]
struct RecordId([u8; uuid::fmt::Hyphenated::LENGTH]);

impl RecordId {
    fn new() -> Self {
        let mut letters = [0; uuid::fmt::Hyphenated::LENGTH];
        uuid::Uuid::now_v7().hyphenated().encode_lower(&mut letters);
        Self(letters)
    }
}

/// A record's place in the log, known only under the lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) session_sequence: u64,
    pub(crate) chain_previous: Hash,
    pub(crate) time_unix_nano: u64,
}

impl Draft {
    /// Encodes what does not depend on the place.
    pub(crate) fn new(stamp: &[u8], event: &Event) -> Self {
        let mut head = Vec::with_capacity(32 + event.body.len());
        let (number, text) = severity(event.severity);
        head.push(SEVERITY_NUMBER);
        varint(number, &mut head);
        string_field(&mut head, SEVERITY_TEXT, text);
        let body = one_line(&event.body);
        head.push(BODY);
        varint((1 + string_len(body.len())) as u64, &mut head);
        string_field(&mut head, 0x0a, &body);
        let common = event.common.as_ref().map(Common::encoded).unwrap_or_default();
        let mut attributes = Vec::with_capacity(stamp.len() + common.len() + 512);
        attributes.extend_from_slice(stamp);
        attributes.extend_from_slice(common);
        encode_attributes(&mut attributes, &event.attributes);
        Self { head, record_id: RecordId::new(), attributes, name: event.name.as_str() }
    }

    /// Appends the whole record to `leaf`.
    pub(crate) fn place(&self, log: &LogAttributes, place: &Place, leaf: &mut Vec<u8>) {
        leaf.push(TIME);
        leaf.extend_from_slice(&place.time_unix_nano.to_le_bytes());
        leaf.extend_from_slice(&self.head);
        leaf.extend_from_slice(&log.0);
        int_attribute(leaf, key::SEQUENCE, place.sequence);
        length_delimited_attribute(leaf, key::RECORD_ID, 0x0a, &self.record_id.0);
        bytes_attribute(leaf, key::CHAIN_PREVIOUS, &place.chain_previous);
        int_attribute(leaf, key::SESSION_SEQUENCE, place.session_sequence);
        leaf.extend_from_slice(&self.attributes);
        leaf.push(OBSERVED_TIME);
        leaf.extend_from_slice(&place.time_unix_nano.to_le_bytes());
        string_field(leaf, EVENT_NAME, self.name);
    }

    /// Upper bound of the record's bytes wherever it is placed.
    pub(crate) fn max_len(&self, log: &LogAttributes) -> usize {
        // 9 + 9 for the times, at most 240 for the four placed attributes, 2 for the name's tag and length.
        self.head.len() + log.0.len() + self.attributes.len() + self.name.len() + 260
    }
}

/// Appends attributes in their order.
pub(crate) fn encode_attributes<K: AsRef<str>>(out: &mut Vec<u8>, attributes: &[(K, Value)]) {
    for (key, value) in attributes {
        attribute(out, key.as_ref(), value);
    }
}

fn attribute(out: &mut Vec<u8>, key: &str, value: &Value) {
    match value {
        Value::Str(text) => string_attribute(out, key, text),
        Value::Bytes(bytes) => bytes_attribute(out, key, bytes),
        Value::Int(number) => varint_attribute(out, key, 0x18, number.cast_unsigned()),
        Value::Bool(truth) => varint_attribute(out, key, 0x10, u64::from(*truth)),
        Value::List(texts) => {
            let mut array = Vec::new();
            for text in texts {
                array.push(0x0a);
                varint((1 + string_len(text.len())) as u64, &mut array);
                string_field(&mut array, 0x0a, text);
            }
            length_delimited_attribute(out, key, 0x2a, &array);
        }
    }
}

fn string_attribute(out: &mut Vec<u8>, key: &str, value: &str) {
    length_delimited_attribute(out, key, 0x0a, value.as_bytes());
}

fn bytes_attribute(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    length_delimited_attribute(out, key, 0x3a, value);
}

fn int_attribute(out: &mut Vec<u8>, key: &str, value: u64) {
    varint_attribute(out, key, 0x18, value);
}

/// `attributes { key, value { <tag>: value } }` for a value that has a length.
fn length_delimited_attribute(out: &mut Vec<u8>, key: &str, tag: u8, value: &[u8]) {
    attribute_head(out, key, 1 + string_len(value.len()));
    out.push(tag);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn varint_attribute(out: &mut Vec<u8>, key: &str, tag: u8, value: u64) {
    attribute_head(out, key, 1 + encoded_len_varint(value));
    out.push(tag);
    varint(value, out);
}

fn attribute_head(out: &mut Vec<u8>, key: &str, any_value_len: usize) {
    let len = 1 + string_len(key.len()) + 1 + string_len(any_value_len);
    out.push(ATTRIBUTE);
    varint(len as u64, out);
    string_field(out, 0x0a, key);
    out.push(0x12);
    varint(any_value_len as u64, out);
}

fn string_field(out: &mut Vec<u8>, tag: u8, text: &str) {
    out.push(tag);
    varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// Nearly every length and tag of a record is one byte.
fn varint(value: u64, out: &mut Vec<u8>) {
    match u8::try_from(value) {
        Ok(byte @ 0..0x80) => out.push(byte),
        Ok(_) | Err(_) => encode_varint(value, out),
    }
}

/// Bytes of a length prefix and what follows it.
fn string_len(len: usize) -> usize {
    encoded_len_varint(len as u64) + len
}

fn severity(severity: Severity) -> (u64, &'static str) {
    let (number, text) = match severity {
        Severity::Info => (SeverityNumber::Info, "INFO"),
        Severity::Warn => (SeverityNumber::Warn, "WARN"),
        Severity::Error => (SeverityNumber::Error, "ERROR"),
    };
    (u64::from(number as u16), text)
}

/// A body is one line: it is shown as one, and a line break in it could fake another.
fn one_line(body: &str) -> Cow<'_, str> {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if body.contains(breaks) { body.replace(breaks, " ").into() } else { body.into() }
}

#[cfg(test)]
mod tests;
