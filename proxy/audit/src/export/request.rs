//! What is sent: records, or a checkpoint, as a request of OTLP.

use crate::event::{EventName, SCHEMA_VERSION, key};
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// These records, of a resource with these attributes.
pub(super) fn of(resource: &[(String, String)], log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let attributes = resource.iter().map(|(key, value)| KeyValue {
        key: key.clone(),
        value: Some(AnyValue { value: Some(Any::StringValue(value.clone())) }),
        ..KeyValue::default()
    });
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_logs = ScopeLogs { scope: Some(scope), log_records, schema_url: String::new() };
    let resource = Resource { attributes: attributes.collect(), ..Resource::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![scope_logs],
            schema_url: String::new(),
        }],
    }
}

/// A signed checkpoint over so many records.
pub(super) fn of_checkpoint(
    resource: &[(String, String)],
    size: u64,
    note: &str,
) -> ExportLogsServiceRequest {
    of(resource, vec![checkpoint(size, note)])
}

/// A checkpoint as a log record of its own: who has only copies can check them.
fn checkpoint(size: u64, note: &str) -> LogRecord {
    let now = u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default();
    let origin = note.lines().next().unwrap_or_default();
    let any = |value| Some(AnyValue { value: Some(value) });
    let attribute =
        |key: &str, value| KeyValue { key: key.to_owned(), value: any(value), ..KeyValue::default() };
    LogRecord {
        time_unix_nano: now,
        observed_time_unix_nano: now,
        severity_number: SeverityNumber::Info.into(),
        severity_text: "INFO".to_owned(),
        event_name: EventName::Checkpoint.as_str().to_owned(),
        body: any(Any::StringValue(format!("checkpoint of {size} records"))),
        attributes: vec![
            attribute(key::SCHEMA, Any::StringValue(SCHEMA_VERSION.to_owned())),
            attribute(key::LOG_ORIGIN, Any::StringValue(origin.to_owned())),
            attribute(key::CHECKPOINT_SIZE, Any::IntValue(size.cast_signed())),
            attribute(key::CHECKPOINT_NOTE, Any::StringValue(note.to_owned())),
        ],
        ..LogRecord::default()
    }
}
