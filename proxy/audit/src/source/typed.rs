//! Attributes of records as backends keep them: as text. Their types come back from the schema.
//!
//! A Collector writes values as its `AsString` does: numbers and truth values in words, bytes in base64, lists as JSON.

use crate::event::key;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

const NUMBERS: &[&str] = &[
    key::SEQUENCE,
    key::SESSION_SEQUENCE,
    key::COMMAND,
    key::COMMANDS,
    key::BYTES,
    key::MASKED_COUNT,
    key::CHUNK_BYTES,
    key::ROWS,
    key::DURATION_US,
    key::EXIT_CODE,
    key::HTTP_STATUS,
    key::CLIENT_PORT,
    key::POLICY_GENERATION,
    key::APPROVAL_WAIT_MS,
    key::RECOVERED_RECORDS,
    key::TORN_BYTES,
    key::REMOVED_BELOW,
    key::CHECKPOINT_SIZE,
    key::PREDECESSOR_SIZE,
];

const BYTES: &[&str] = &[key::CHAIN_PREVIOUS, key::FRAMES, key::CHUNK, key::CHUNK_KEY];

const TRUTHS: &[&str] = &[key::TRUNCATED];

const LISTS: &[&str] =
    &[key::USER_ROLES, key::EFFECTS, key::OBSERVED, key::MASKED, key::APPROVERS, key::VERDICTS];

/// The attribute that a backend keeps as this text. What does not have its type's form stays a text, so that nothing
/// is lost that is there.
pub(super) fn attribute(key: &str, text: String) -> KeyValue {
    let value = typed(key, &text).unwrap_or(Any::StringValue(text));
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn typed(key: &str, text: &str) -> Option<Any> {
    if NUMBERS.contains(&key) {
        return text.parse().ok().map(Any::IntValue);
    }
    if BYTES.contains(&key) {
        return BASE64.decode(text).ok().map(Any::BytesValue);
    }
    if TRUTHS.contains(&key) {
        return text.parse().ok().map(Any::BoolValue);
    }
    if LISTS.contains(&key) {
        let texts: Vec<String> = serde_json::from_str(text).ok()?;
        let text = |text| AnyValue { value: Some(Any::StringValue(text)) };
        return Some(Any::ArrayValue(ArrayValue { values: texts.into_iter().map(text).collect() }));
    }
    None
}
