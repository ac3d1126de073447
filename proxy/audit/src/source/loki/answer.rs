//! What Loki answers, and the records in it.
//!
//! By <https://grafana.com/docs/loki/latest/reference/loki-http-api/> and
//! <https://grafana.com/docs/loki/latest/send-data/otel/>: an entry is its time in nanoseconds and its line, below the
//! labels that it has. Attributes are among these, or, where a server tells them apart, in a third part of the entry.

use crate::event::key;
use crate::source::typed;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What Loki calls the event's name, and what a Collector can be told to call it where a Loki is too old to keep it.
const EVENT_NAME: &str = "event_name";
const SEVERITY_TEXT: &str = "severity_text";
const SEVERITY_NUMBER: &str = "severity_number";

/// Most characters of a refusal that are shown.
const MAX_SAID: usize = 500;

type Labels = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Streams(Vec<Stream>),
}

#[derive(Deserialize)]
struct Stream {
    stream: Labels,
    values: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Plain(String, String),
    Categorized(String, String, Categories),
}

/// Asked for by nobody here, but a proxy may.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Categories {
    structured_metadata: Labels,
    parsed: Labels,
}

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) nanoseconds: u64,
    line: String,
    labels: Labels,
}

/// The entries of an answer, in no order.
pub(super) fn entries(answer: &[u8]) -> Result<Vec<Entry>, String> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|error| format!("not an answer of Loki's ({error}): {}", said(answer)))?;
    let Data::Streams(streams) = answer.data;
    let mut entries = Vec::new();
    for stream in streams {
        for value in stream.values {
            let mut labels = stream.stream.clone();
            let (time, line) = match value {
                Value::Plain(time, line) => (time, line),
                Value::Categorized(time, line, more) => {
                    labels.extend(more.structured_metadata);
                    labels.extend(more.parsed);
                    (time, line)
                }
            };
            let nanoseconds = time.parse().map_err(|error| format!("time of an entry: {error}"))?;
            entries.push(Entry { nanoseconds, line, labels });
        }
    }
    Ok(entries)
}

/// Whether an answer about volumes names any; what is not understood may.
pub(super) fn has_volume(answer: &[u8]) -> bool {
    let answer: Option<serde_json::Value> = serde_json::from_slice(answer).ok();
    let volumes = answer.as_ref().and_then(|answer| answer.pointer("/data/result")?.as_array());
    volumes.is_none_or(|volumes| !volumes.is_empty())
}

/// What the server said, short and in one line.
pub(super) fn said(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).chars().filter(|c| !c.is_control()).take(MAX_SAID).collect()
}

/// An attribute's name as Loki keeps it: letters, digits and `_`.
pub(super) fn label(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

impl Entry {
    /// The record of this entry.
    ///
    /// # Errors
    /// It has no event name: the Loki is too old to keep one.
    pub(super) fn into_log_record(mut self) -> Result<LogRecord, String> {
        let event_name = self.labels.remove(EVENT_NAME).ok_or(
            "this Loki keeps no event names (grafana/loki#21229): have the Collector copy them, as \
             docs/forensics.md says",
        )?;
        let attributes = attributes(&mut self.labels);
        let severity_number = self.labels.get(SEVERITY_NUMBER).and_then(|number| number.parse().ok());
        Ok(LogRecord {
            time_unix_nano: self.nanoseconds,
            observed_time_unix_nano: self.nanoseconds,
            severity_number: severity_number.unwrap_or_default(),
            severity_text: self.labels.remove(SEVERITY_TEXT).unwrap_or_default(),
            body: Some(AnyValue { value: Some(Any::StringValue(self.line)) }),
            attributes,
            event_name,
            ..LogRecord::default()
        })
    }
}

/// The attributes of the schema among these labels. Of a claim's name, only letters and digits come back as they were.
fn attributes(labels: &mut Labels) -> Vec<KeyValue> {
    let mut attributes = Vec::new();
    for (key, _) in key::ALL {
        if let Some(text) = labels.remove(&label(key)) {
            attributes.push(typed::attribute(key, text));
        }
    }
    let prefix = label(key::CLAIM_PREFIX);
    for (name, text) in labels.iter() {
        if let Some(claim) = name.strip_prefix(&prefix) {
            let key = format!("{}{claim}", key::CLAIM_PREFIX);
            attributes.push(typed::attribute(&key, text.clone()));
        }
    }
    attributes
}
