//! The log records of one `ExportLogsServiceRequest` in JSON, one after another: a request as a whole may take a hundred
//! times the memory that its text takes (`{"logRecords":[{},{},…`), so it is never built.

use crate::event::{EventName, key};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;

/// Most bytes of a record's JSON: a record of ours has at most 64 KiB, of which JSON makes six times as much where
/// control characters are written out. What is longer is not ours.
const MAX_RECORD_BYTES: usize = 1 << 20;

/// The texts of those log records that may be ours, in their order. Holds a copy of these texts and nothing else, so no
/// more than the line.
pub(super) fn candidates(line: &[u8]) -> serde_json::Result<Vec<Box<str>>> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    serde_json::from_slice::<Request>(line).map(|request| request.resource_logs.texts)
}

/// The log record of such a text, if it is one of ours.
pub(super) fn ours(text: &str) -> serde_json::Result<Option<LogRecord>> {
    let ours = |record: &LogRecord| {
        is_checkpoint(record) || record.attributes.iter().any(|one| one.key == key::CHAIN_PREVIOUS)
    };
    Ok(Some(parse(text)?).filter(ours))
}

pub(super) fn is_checkpoint(log_record: &LogRecord) -> bool {
    log_record.event_name == EventName::Checkpoint.as_str()
}

/// A list without values is `"arrayValue":{}` in protobuf's JSON, which the generated types do not read: only a record
/// that they refuse is read a second time, with such lists written out.
fn parse(text: &str) -> serde_json::Result<LogRecord> {
    serde_json::from_str(text).or_else(|_| {
        let mut value: Value = serde_json::from_str(text)?;
        write_out_empty_lists(&mut value);
        serde_json::from_value(value)
    })
}

fn write_out_empty_lists(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Object(array)) = map.get_mut("arrayValue") {
                array.entry("values").or_insert_with(|| Value::Array(Vec::new()));
            }
            map.values_mut().for_each(write_out_empty_lists);
        }
        Value::Array(values) => values.iter_mut().for_each(write_out_empty_lists),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(default)]
    resource_logs: Each<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(default)]
    scope_logs: Each<Scope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scope {
    #[serde(default)]
    log_records: Each<Candidate>,
}

/// The text of a record, if it may be ours.
struct Candidate(Option<Box<str>>);

impl<'de> Deserialize<'de> for Candidate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        if !text.starts_with('{') {
            return Err(D::Error::invalid_type(de::Unexpected::Other("no object"), &"a log record"));
        }
        // A name may be written with escapes, too.
        let may_be = text.len() <= MAX_RECORD_BYTES && (text.contains("portcullis.") || text.contains("\\u"));
        Ok(Self(may_be.then(|| text.into())))
    }
}

/// A list, of whose elements nothing is kept but the texts.
struct Each<T> {
    texts: Vec<Box<str>>,
    of: PhantomData<T>,
}

impl<T> Default for Each<T> {
    fn default() -> Self {
        Self { texts: Vec::new(), of: PhantomData }
    }
}

/// What an element gives.
trait Texts {
    fn texts(self) -> impl IntoIterator<Item = Box<str>>;
}

impl Texts for Resource {
    fn texts(self) -> impl IntoIterator<Item = Box<str>> {
        self.scope_logs.texts
    }
}

impl Texts for Scope {
    fn texts(self) -> impl IntoIterator<Item = Box<str>> {
        self.log_records.texts
    }
}

impl Texts for Candidate {
    fn texts(self) -> impl IntoIterator<Item = Box<str>> {
        self.0
    }
}

impl<'de, T: Deserialize<'de> + Texts> Deserialize<'de> for Each<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

struct Elements<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Texts> Visitor<'de> for Elements<T> {
    type Value = Each<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Each<T>, A::Error> {
        let mut each = Each::default();
        while let Some(element) = elements.next_element::<T>()? {
            each.texts.extend(element.texts());
        }
        Ok(each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(records: &str) -> String {
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"scope":{{}},"logRecords":[{records}]}}]}}]}}"#)
    }

    #[test]
    fn nothing_is_kept_of_what_cannot_be_ours() {
        let own = r#"{"attributes":[{"key":"portcullis.chain.prev","value":{"bytesValue":""}}]}"#;
        let escaped = own.replace("chain", "\\u0063hain");
        let longer = own.replace("\"\"", &format!("\"{}\"", "A".repeat(MAX_RECORD_BYTES)));
        let records = [own, "{}", r#"{"body":{"stringValue":"x"}}"#, &escaped, &longer].join(", ");
        let texts = candidates(line(&records).as_bytes()).unwrap();
        assert_eq!(texts, [Box::from(own), Box::from(escaped.as_str())]);
        assert!(texts.iter().all(|text| ours(text).unwrap().is_some()));
        assert!(ours(r#"{"body":{"stringValue":"portcullis."}}"#).unwrap().is_none());
    }

    #[test]
    fn millions_of_empty_elements_take_nothing() {
        let many = ["{},".repeat(2_000_000).as_str(), "{}"].concat();
        assert!(candidates(line(&many).as_bytes()).unwrap().is_empty());
        assert!(candidates(format!(r#"{{"resourceLogs":[{many}]}}"#).as_bytes()).unwrap().is_empty());
        let scopes = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{many}]}}]}}"#);
        assert!(candidates(scopes.as_bytes()).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in ["{", "7", r#"{"resourceLogs":7}"#, r#"{"resourceLogs":[7]}"#, &line("7"), &line("{]}")] {
            assert!(candidates(text.as_bytes()).is_err(), "{text}");
        }
        assert!(candidates(b" \r\n").unwrap().is_empty());
        assert!(candidates(b"{}\n").unwrap().is_empty());
    }
}
