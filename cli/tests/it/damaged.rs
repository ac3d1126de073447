//! A log of which something is damaged: all else can be seen, and it is said that something cannot.

use super::audit::{SESSION, code, on, state};
use super::{fails, text};
use proxy_audit::event::key;
use proxy_audit::segment::Segment;
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Flips a bit of the first segment of this log, where this text is.
fn flip(log: &Path, at: &str) {
    let segment = Segment::list(log).unwrap().remove(0);
    let mut bytes = std::fs::read(&segment.path).unwrap();
    let at = bytes.windows(at.len()).position(|window| window == at.as_bytes()).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment.path, bytes).unwrap();
}

/// A state directory whose first log has one bit flipped, in the text of a denied command; and one with another session.
async fn damaged(directory: &TempDir) -> PathBuf {
    let state = state(directory).await;
    let log = state.join("audit/default.orders/gw-2");
    let (spool, _) = Spool::open(&SpoolOptions::new(&log, "dev/default/orders/gw-2")).unwrap();
    let other = SessionStamp::new(vec![(key::SESSION_ID.into(), "other".into())]);
    for (name, text) in [(EventName::SessionStart, "start"), (EventName::SessionEnd, "end")] {
        spool.append(&other, Event::new(name, Severity::Info, text)).unwrap();
    }
    spool.close().await.unwrap();
    flip(&state.join("audit/default.orders/gw-1"), "DROP DATABASE");
    state
}

#[tokio::test]
async fn one_flipped_bit_hides_one_record_and_that_is_said() {
    let directory = TempDir::new().unwrap();
    let state = damaged(&directory).await;
    for (arguments, shows) in [
        (&["sessions"][..], &[SESSION, "other", "client_close"][..]),
        (&["commands"], &["SELECT id, email FROM users"]),
        (&["approvals"], &["no approval fits"]),
        (&["show", SESSION], &["SELECT id, email FROM users", "client_close"]),
        (&["replay", SESSION], &["SELECT id, email FROM users", "***"]),
        (&["replay", SESSION, "-o", "json"], &["SELECT id, email FROM users"]),
        (&["show", "other"], &["other"]),
    ] {
        let (code, shown) = code(&mut on(&state, arguments));
        assert_eq!(code, Some(2), "{arguments:?}: {shown}");
        let said = ["00000000000000000000.seg is damaged at byte", "portcullis verify"];
        for part in shows.iter().chain(&said) {
            assert!(shown.contains(part), "{arguments:?}, {part}: {shown}");
        }
        assert!(!shown.contains("DATABASE"), "{shown}");
        assert_eq!(shown.matches("left out: ").count(), 1, "once, however often it was read: {shown}");
    }
    let page = directory.path().join("session.html");
    assert_eq!(code(&mut on(&state, &["report", SESSION, "--html", text(&page)])).0, Some(2));
    assert!(std::fs::read_to_string(page).unwrap().contains("SELECT id, email FROM users"));
}

#[tokio::test]
async fn a_search_that_left_something_out_is_incomplete() {
    let directory = TempDir::new().unwrap();
    let state = damaged(&directory).await;
    let (exit, shown) = code(&mut on(&state, &["scan"]));
    assert!(
        exit == Some(2) && shown.contains("RESULT     INCOMPLETE   0 findings, 1 places not searched"),
        "{shown}"
    );
    let output = on(&state, &["scan", "-o", "json"]).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let why = answer["not_searched"][0]["why"].as_str().unwrap();
    assert!(answer["outcome"] == "incomplete" && why.contains("is damaged at byte"), "{answer}");
    // What is found behind the damage counts all the same.
    let values = directory.path().join("values");
    std::fs::write(&values, "client_close").unwrap();
    assert_eq!(code(&mut on(&state, &["scan", "--values", text(&values)])).0, Some(1));
}

#[tokio::test]
async fn what_proves_or_keeps_something_takes_no_log_that_is_damaged() {
    let directory = TempDir::new().unwrap();
    let state = damaged(&directory).await;
    let bundle = directory.path().join("bundle.tar");
    let said = fails(&mut on(&state, &["evidence", "export", SESSION, "--file", text(&bundle)]));
    assert!(said.contains("is damaged at byte"), "{said}");
    let index = directory.path().join("index");
    for _ in 0..2 {
        let said = fails(&mut on(&state, &["sessions", "--index", text(&index)]));
        assert!(said.contains("ask without --index") && said.contains("is damaged at byte"), "{said}");
    }
}

#[tokio::test]
async fn a_line_of_a_collectors_file_that_cannot_be_read_hides_no_other() {
    let directory = TempDir::new().unwrap();
    let state = state(&directory).await;
    let log = proxy_audit::read::logs(&state.join("audit")).unwrap().remove(0);
    let lines = proxy_audit::read::records(&log).unwrap().map(|record| {
        let log_record = serde_json::to_value(record.unwrap().as_log_record()).unwrap();
        serde_json::json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [log_record]}]}]}).to_string()
    });
    // One bit of one line, where the list of its records begins.
    let lines =
        lines.map(|line| if line.contains("DROP DATABASE") { line.replacen('[', "Z", 1) } else { line });
    let file = directory.path().join("collected.json");
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    for (arguments, shows) in [
        (&["sessions"][..], &[SESSION, "client_close"][..]),
        (&["commands"], &["SELECT id, email FROM users"]),
        (&["replay", SESSION], &["SELECT id, email FROM users", "***"]),
    ] {
        let (code, shown) = code(super::portcullis(arguments).arg("--from").arg(&file));
        assert_eq!(code, Some(2), "{arguments:?}: {shown}");
        for part in shows.iter().chain(&["left out: line ", "is not OTLP JSON", "portcullis verify"]) {
            assert!(shown.contains(part), "{arguments:?}, {part}: {shown}");
        }
    }
    let (exit, shown) = code(super::portcullis(&["verify"]).arg(&file));
    assert!(exit == Some(1) && shown.contains("is not OTLP JSON"), "{shown}");
}
