//! Copies of the log as a Collector has them, and what is found in them.

use super::*;
use crate::source::{OtlpSource, Part};
use serde_json::{Value, json};

/// The log's records and its last checkpoint, a request a line: as exported.
fn lines(log: &Log) -> Vec<String> {
    let records: Vec<Value> = log
        .leaves()
        .iter()
        .map(|leaf| serde_json::to_value(Record::decode(leaf).unwrap().as_log_record()).unwrap())
        .collect();
    let mut lines: Vec<String> = records.chunks(7).map(line).collect();
    let note = log.notes().last().unwrap().clone();
    lines.push(line(&[json!({
        "timeUnixNano": "1", "eventName": "portcullis.checkpoint",
        "attributes": [{"key": key::CHECKPOINT_NOTE, "value": {"stringValue": note}}],
    })]));
    lines
}

fn line(records: &[Value]) -> String {
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string() + "\n"
}

fn check(log: &Log, text: &str, keys: &[LogKey]) -> Report {
    let path = log.options.directory.with_extension("json");
    std::fs::write(&path, text).unwrap();
    let mut reports = verify_otlp(&OtlpSource::new(vec![Part::whole(path)]), keys).unwrap();
    assert_eq!(reports.len(), 1);
    reports.pop().unwrap()
}

fn edit(lines: &[String], nth: usize, edit: impl FnOnce(&mut Vec<Value>)) -> String {
    let mut lines = lines.to_vec();
    let mut value: Value = serde_json::from_str(&lines[nth]).unwrap();
    edit(value["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array_mut().unwrap());
    lines[nth] = value.to_string() + "\n";
    lines.concat()
}

#[tokio::test]
async fn whole_copies_are_ok_in_any_order_and_repeated() {
    let log = Log::new().await;
    let lines = lines(&log);
    let key = log.signer().public();
    let own = log.verify();
    let report = check(&log, &lines.concat(), std::slice::from_ref(&key));
    assert_eq!((report.outcome, report.records, report.signed_size), (Outcome::Ok, own.records, own.records));
    let mixed: String = lines.iter().rev().chain(&lines[2..5]).cloned().collect();
    assert_eq!(check(&log, &mixed, std::slice::from_ref(&key)).outcome, Outcome::Ok);
    let unkeyed = check(&log, &lines.concat(), &[]);
    assert_eq!(unkeyed.outcome, Outcome::CannotVerify, "{:?}", unkeyed.problems);
    let thief = LogSigner::new(ORIGIN, &[9; 32]).unwrap().public();
    assert_eq!(check(&log, &lines.concat(), &[thief]).outcome, Outcome::Tampered);
}

#[tokio::test]
async fn copies_cannot_be_verified_with_keys_of_another_name() {
    let log = Log::new().await;
    let text = lines(&log).concat();
    let certifiers = ["dev", "prod"].map(|name| LogSigner::new(name, &[3; 32]).unwrap().public());
    for keys in [&certifiers[..1], &certifiers[..]] {
        let report = check(&log, &text, keys);
        assert_eq!(report.outcome, Outcome::CannotVerify, "{:?}", report.problems);
        assert!(report.problems[0].what.contains("copies carry no certificate"), "{:?}", report.problems);
    }
}

#[tokio::test]
async fn what_is_changed_in_copies_is_found_where_it_is() {
    let log = Log::new().await;
    let lines = lines(&log);
    let keys = [log.signer().public()];
    let changed = edit(&lines, 3, |records| records[2]["body"]["stringValue"] = json!("another"));
    let report = check(&log, &changed, &keys);
    assert_found(&report, "seq 23 leaf_hash mismatch");
    assert_eq!(report.first_bad().unwrap().first, Some(23));
    let removed = edit(&lines, 3, |records| drop(records.remove(2)));
    let report = check(&log, &removed, &keys);
    assert_eq!(report.outcome, Outcome::Incomplete);
    let ranges: Vec<_> = report.problems.iter().map(|problem| (problem.first, problem.last)).collect();
    assert_eq!(ranges, [(Some(0), Some(64)), (Some(23), Some(23))], "{:?}", report.problems);
    assert!(report.problems[0].what.contains("are proved by no checkpoint"), "{:?}", report.problems);
    let twice = edit(&lines, 3, |records| {
        let mut other = records[2].clone();
        other["body"]["stringValue"] = json!("another");
        records.push(other);
    });
    assert_found(&check(&log, &twice, &keys), "a second record with seq 23");
    let tail = lines[..lines.len() - 3].concat() + lines.last().unwrap();
    let report = check(&log, &tail, &keys);
    assert_eq!(report.outcome, Outcome::Incomplete, "{:?}", report.problems);
    assert!(report.problems.iter().any(|problem| problem.what.contains("did not arrive")));
    let late = check(&log, &lines[2..].concat(), &keys);
    assert_eq!((late.outcome, late.first), (Outcome::Incomplete, 14));
}

#[tokio::test]
async fn what_cannot_be_read_hides_no_other_copy_and_is_found() {
    let log = Log::new().await;
    let lines = lines(&log);
    let keys = [log.signer().public()];
    let mut broken = lines.clone();
    broken[3] = broken[3].replacen("\"logRecords\"", "\"logRecords", 1);
    let report = check(&log, &broken.concat(), &keys);
    assert_found(&report, "line 4 of ");
    let missing = |report: &Report| {
        report.problems.iter().any(|problem| (problem.first, problem.last) == (Some(21), Some(27)))
    };
    assert!(missing(&report), "the records of that line: {:?}", report.problems);
    // A Collector that was killed while it wrote what it wrote once more, or wrote first.
    let again = lines[3].split_at(lines[3].len() / 2).0;
    let report = check(&log, &(lines.concat() + again), &keys);
    assert_eq!(report.outcome, Outcome::Incomplete, "{:?}", report.problems);
    assert!(report.problems.iter().all(|problem| problem.what.ends_with("ends early")), "{report:?}");
    let mut without = lines.clone();
    without.remove(3);
    let report = check(&log, &(without.concat() + again), &keys);
    assert!(report.outcome == Outcome::Incomplete && missing(&report), "{:?}", report.problems);

    let path = log.options.directory.with_extension("json");
    std::fs::write(&path, "{\"resourceLogs\": 7}\n").unwrap();
    let nothing = verify_otlp(&OtlpSource::new(vec![Part::whole(path)]), &keys);
    assert!(nothing.unwrap_err().to_string().starts_with("line 1 of "));
}
