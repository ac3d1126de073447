//! One record as a reader sees it: the leaf's bytes, decoded, with typed access to its attributes.

use crate::event::key;
use crate::merkle::{Hash, leaf_hash};
use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;

/// A decoded record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    log_record: LogRecord,
    leaf_hash: Hash,
}

/// Why bytes are not a record.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RecordError {
    /// Not protobuf of a log record.
    #[error("not an OTLP log record")]
    Decode(#[source] prost::DecodeError),
    /// Not the one byte form that such a record has.
    #[error("not in canonical form")]
    NotCanonical,
    /// Part of the envelope is missing or of the wrong type.
    #[error("attribute {0} is missing")]
    Missing(&'static str),
    /// A number in the log or in a session that is none, or the last one that there could be.
    #[error("attribute {0} is no sequence")]
    Sequence(&'static str),
}

/// Whether this may be the number of a record: the one after it is one too, so that nobody who counts on overflows.
pub(crate) fn is_sequence(number: i64) -> bool {
    (0..i64::MAX).contains(&number)
}

impl Record {
    /// Reads a leaf.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode(leaf: &[u8]) -> Result<Self, RecordError> {
        let log_record = LogRecord::decode(leaf).map_err(RecordError::Decode)?;
        let canonical = crate::leaf::scan(leaf, |_, _| {}).is_some()
            || (log_record.encoded_len() == leaf.len() && log_record.encode_to_vec() == leaf);
        if !canonical {
            return Err(RecordError::NotCanonical);
        }
        let record = Self { log_record, leaf_hash: leaf_hash(leaf) };
        for key in [key::SEQUENCE, key::SESSION_SEQUENCE] {
            let number = record.int(key).ok_or(RecordError::Missing(key))?;
            if !is_sequence(number) {
                return Err(RecordError::Sequence(key));
            }
        }
        record.bytes(key::CHAIN_PREVIOUS).ok_or(RecordError::Missing(key::CHAIN_PREVIOUS))?;
        Ok(record)
    }

    /// Reads a record that came by OTLP. In its one byte form it has the leaf hash that it had in its log.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn from_log_record(log_record: &LogRecord) -> Result<Self, RecordError> {
        Self::decode(&log_record.encode_to_vec())
    }

    /// The leaf: the record in its one byte form.
    pub fn leaf(&self) -> Vec<u8> {
        self.log_record.encode_to_vec()
    }

    /// Event name, such as `portcullis.statement`.
    pub fn name(&self) -> &str {
        &self.log_record.event_name
    }

    /// The human line.
    pub fn body(&self) -> &str {
        self.log_record.body.as_ref().and_then(as_text).unwrap_or_default()
    }

    /// `INFO`, `WARN` or `ERROR`.
    pub fn severity(&self) -> &str {
        &self.log_record.severity_text
    }

    /// `portcullis.seq`: less than [`i64::MAX`].
    pub fn sequence(&self) -> u64 {
        self.int(key::SEQUENCE).unwrap_or_default().cast_unsigned()
    }

    /// `portcullis.log.origin`.
    pub fn origin(&self) -> &str {
        self.text(key::LOG_ORIGIN).unwrap_or_default()
    }

    /// Masked text of the command, whatever its protocol calls it.
    pub fn command_text(&self) -> &str {
        let keys = [key::QUERY_TEXT, key::COMMAND_LINE, key::REQUEST];
        keys.into_iter().find_map(|key| self.text(key)).unwrap_or_default()
    }

    /// Operation of the command, whatever its protocol calls it.
    pub fn operation(&self) -> &str {
        self.text(key::OPERATION).or_else(|| self.text(key::ACTION)).unwrap_or_default()
    }

    /// SQLSTATE, exit code or HTTP status of a result.
    pub fn status(&self) -> Option<String> {
        let number = |key| self.int(key).map(|number| number.to_string());
        self.text(key::STATUS_CODE)
            .map(str::to_owned)
            .or_else(|| number(key::EXIT_CODE))
            .or_else(|| number(key::HTTP_STATUS))
    }

    /// `portcullis.session.seq`: less than [`i64::MAX`].
    pub fn session_sequence(&self) -> u64 {
        self.int(key::SESSION_SEQUENCE).unwrap_or_default().cast_unsigned()
    }

    /// When it was recorded.
    pub fn time(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.log_record.time_unix_nano.into()).unwrap_or_default()
    }

    /// RFC 6962 hash of the leaf.
    pub fn leaf_hash(&self) -> &Hash {
        &self.leaf_hash
    }

    /// `portcullis.chain.prev`.
    pub fn chain_previous(&self) -> &[u8] {
        self.bytes(key::CHAIN_PREVIOUS).unwrap_or_default()
    }

    /// A text attribute.
    pub fn text(&self, key: &str) -> Option<&str> {
        if let Any::StringValue(text) = self.value(key)? { Some(text) } else { None }
    }

    /// A whole number.
    pub fn int(&self, key: &str) -> Option<i64> {
        if let Any::IntValue(number) = self.value(key)? { Some(*number) } else { None }
    }

    /// A truth value.
    pub fn truth(&self, key: &str) -> Option<bool> {
        if let Any::BoolValue(truth) = self.value(key)? { Some(*truth) } else { None }
    }

    /// Raw bytes.
    pub fn bytes(&self, key: &str) -> Option<&[u8]> {
        if let Any::BytesValue(bytes) = self.value(key)? { Some(bytes) } else { None }
    }

    /// A list of texts; empty when it is missing.
    pub fn list(&self, key: &str) -> Vec<&str> {
        let Some(Any::ArrayValue(array)) = self.value(key) else { return Vec::new() };
        array.values.iter().filter_map(as_text).collect()
    }

    /// Puts the frames of a result where they would be, were they not beside the log. What it is afterwards is not what
    /// the log has: its leaf hash stays that of the log's record.
    pub(crate) fn reveal(&mut self, frames: Vec<u8>) {
        let value = Some(AnyValue { value: Some(Any::BytesValue(frames)) });
        self.log_record.attributes.push(KeyValue {
            key: key::FRAMES.to_owned(),
            value,
            ..KeyValue::default()
        });
    }

    /// All attributes, in their order.
    pub fn attributes(&self) -> &[KeyValue] {
        &self.log_record.attributes
    }

    /// The record as OTLP has it.
    pub fn as_log_record(&self) -> &LogRecord {
        &self.log_record
    }

    /// The record as OTLP has it.
    pub fn into_log_record(self) -> LogRecord {
        self.log_record
    }

    fn value(&self, key: &str) -> Option<&Any> {
        self.log_record
            .attributes
            .iter()
            .find(|attribute| attribute.key == key)?
            .value
            .as_ref()?
            .value
            .as_ref()
    }
}

/// The text in an OTLP value.
pub(crate) fn as_text(value: &AnyValue) -> Option<&str> {
    if let Some(Any::StringValue(text)) = &value.value { Some(text) } else { None }
}

#[cfg(test)]
mod tests;
