use super::*;
use crate::event::{Event, EventName, Severity, key};
use crate::query::{Query, sessions};
use crate::{SessionStamp, Spool, SpoolOptions};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

/// A log of one session with every kind of value, an empty list among them.
async fn spool(directory: &Path) -> SpoolSource {
    let options = SpoolOptions::new(directory.join("log"), "dev/default/orders/0");
    let (spool, _) = Spool::open(&options).unwrap();
    let session = SessionStamp::new(vec![
        (key::SESSION_ID.into(), "s1".into()),
        (key::USER_ROLES.into(), Vec::new().into()),
    ]);
    for number in 0..20_i64 {
        let event = Event::new(EventName::Result, Severity::Info, "ünd \"so\"")
            .with(key::COMMAND, number - 10)
            .with(key::FRAMES, crate::Value::Bytes(vec![0, 255, 7].into()))
            .with(key::TRUNCATED, number % 2 == 0)
            .with(key::MASKED, vec!["detector Jwt ×1".to_owned()]);
        spool.append(&session, event).unwrap();
    }
    spool.close().await.unwrap();
    SpoolSource::new(vec![options.directory])
}

fn all(source: &dyn Source) -> Vec<Record> {
    source.records(&Wanted::default()).unwrap().collect::<Result<_, _>>().unwrap()
}

/// One line, as the Collector writes it: without what is empty.
fn line(records: &[Record]) -> String {
    let log_records: Vec<LogRecord> = records.iter().map(|record| record.as_log_record().clone()).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let mut value = serde_json::to_value(ExportLogsServiceRequest { resource_logs }).unwrap();
    prune(&mut value);
    value.to_string() + "\n"
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(prune);
            map.retain(|_, value| !value.is_null() && *value != json!([]) && *value != json!(0));
        }
        Value::Array(values) => values.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn records_read_from_otlp_json_are_those_of_the_log() {
    let directory = TempDir::new().unwrap();
    let spool = spool(directory.path()).await;
    let records = all(&spool);
    let file = directory.path().join("export.json");
    // Late, repeated, and with another program's records between.
    let other = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","body":{"stringValue":"x"}}]}]}]}"#;
    let text = [line(&records[10..]), other.to_owned() + "\n\n", line(&records[..12]), line(&records[..1])];
    std::fs::write(&file, text.concat()).unwrap();
    let otlp = OtlpSource::new(vec![Part::whole(file)]);
    let read = all(&otlp);
    assert_eq!(read, records);
    assert_eq!(read[3].leaf_hash(), records[3].leaf_hash());
    let query = Query::default();
    let (one, two) = (sessions(&spool, &query).unwrap().rows, sessions(&otlp, &query).unwrap().rows);
    assert_eq!(serde_json::to_value(one).unwrap(), serde_json::to_value(two).unwrap());
}

#[tokio::test]
async fn a_part_of_a_file_ends_where_it_ends() {
    let directory = TempDir::new().unwrap();
    let records = all(&spool(directory.path()).await);
    let (before, within) = (line(&records[..5]), line(&records[5..9]));
    let file = directory.path().join("several.json");
    std::fs::write(&file, format!("{before}{within}{}", line(&records[9..]))).unwrap();
    let part = Part { path: file, offset: before.len() as u64, length: Some(within.len() as u64) };
    assert_eq!(all(&OtlpSource::new(vec![part])), records[5..9]);
}

#[tokio::test]
async fn what_is_wrong_is_named_by_its_line_and_the_rest_is_read() {
    let directory = TempDir::new().unwrap();
    let records = all(&spool(directory.path()).await);
    let (before, behind) = (line(&records[..7]), line(&records[8..]));
    // One that lost what chains it is not ours any more to see; one that lost its number is.
    let lost = line(&records[7..8]).replace("portcullis.seq", "portcullis.sec");
    let far = format!("{{\"resourceLogs\": \"{}\"}}\n", "x".repeat(64 << 20));
    let no_request = "{\"resourceLogs\": 7}\n";
    let torn = line(&records[7..8]);
    let torn = torn.split_at(torn.len() / 2).0;
    let file = directory.path().join("broken.json");
    std::fs::write(&file, [no_request, &lost, &before, &far, &behind, torn].concat()).unwrap();
    let source = OtlpSource::new(vec![Part::whole(file)]);
    let (mut read, mut wrong) = (Vec::new(), Vec::new());
    for record in source.records(&Wanted::default()).unwrap() {
        match record {
            Ok(record) => read.push(record),
            Err(error) => {
                assert!(error.is_damage() && read.is_empty(), "what is wrong comes first: {error}");
                wrong.push(error.to_string());
            }
        }
    }
    assert_eq!(read, [&records[..7], &records[8..]].concat());
    let begin = ["line 1 of ", "a record in line 2 of ", "line 4 of ", "line 6 of "];
    assert!(wrong.iter().zip(begin).all(|(wrong, begin)| wrong.starts_with(begin)), "{wrong:?}");
    let end = ["is not OTLP JSON", "broken.json", "is longer than 67108864 bytes", "ends early"];
    assert!(wrong.iter().zip(end).all(|(wrong, end)| wrong.ends_with(end)), "{wrong:?}");
    assert_eq!(wrong.len(), 4, "{wrong:?}");
}
