//! What a replay says of masks, whatever the protocol.

use super::{portcullis, succeeds};
use proxy_audit::event::key;
use proxy_audit::stream::{Channel, StreamEncoder, StreamEvent};
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions, Value};
use std::time::Duration;
use tempfile::TempDir;

const SESSION: &str = "0199e2a4-7b1c-7d3e-9f00-8a6b5c4d3e2f";

fn stream() -> Vec<u8> {
    let (mut encoder, mut out) = (StreamEncoder::default(), Vec::new());
    encoder.data(Duration::from_millis(5), Channel::STDOUT, b"token=***\r\n", &mut out);
    encoder.encode(Duration::from_millis(9), &StreamEvent::Exit(0), &mut out);
    out
}

/// A command whose result was masked, and one whose result was not.
async fn session(directory: &TempDir, protocol: &str, command: (&'static str, &str), frames: Vec<u8>) {
    let log = directory.path().join("state/log");
    let (spool, _) = Spool::open(&SpoolOptions::new(&log, "dev/default/some/gw-1")).unwrap();
    let session = SessionStamp::new(vec![
        (key::SESSION_ID.into(), SESSION.into()),
        (key::RESOURCE_PROTOCOL.into(), protocol.into()),
    ]);
    let (key_of_text, text) = command;
    for number in [1_i64, 2] {
        let statement = Event::new(EventName::Statement, Severity::Info, "allow")
            .with(key::COMMAND, number)
            .with(key_of_text, text)
            .with(key::VERDICT, "allow");
        let mut result = Event::new(EventName::Result, Severity::Info, "ok")
            .with(key::COMMAND, number)
            .with(key::OUTCOME, "ok")
            .with(key::FRAMES, Value::Bytes(frames.clone().into()));
        if number == 1 {
            let masked = ["detector Jwt ×2", "field data.\x1b[2Jpassword\n ×1"];
            result = result.with(key::MASKED, masked.map(str::to_owned).to_vec());
        }
        for event in [statement, result] {
            spool.append(&session, event).unwrap();
        }
    }
    spool.close().await.unwrap();
}

#[tokio::test]
async fn what_was_masked_is_told_after_each_result_of_every_protocol() {
    let sql = b"C\0\0\0\x0dDELETE 3\0".to_vec();
    for (protocol, command, frames, last) in [
        ("postgres", (key::QUERY_TEXT, "delete from users"), sql, "DELETE 3"),
        ("ssh", (key::COMMAND_LINE, "./token"), stream(), "token=***"),
        ("kubernetes", (key::REQUEST, "exec pods/web -- ./token"), stream(), "token=***"),
    ] {
        let directory = TempDir::new().unwrap();
        session(&directory, protocol, command, frames).await;
        let on = |more: &[&str]| {
            let mut replay = portcullis(&["replay", SESSION]);
            replay.args(more).arg("--spool").arg(directory.path().join("state"));
            succeeds(&mut replay)
        };
        let shown = on(&[]);
        let told = "-- masked: detector Jwt ×2, field data.\u{fffd}[2Jpassword\u{fffd} ×1";
        let lines: Vec<&str> = shown.lines().collect();
        let at = lines.iter().position(|line| *line == told).unwrap_or_else(|| panic!("{protocol}: {shown}"));
        assert_eq!(lines[at - 1], last, "{protocol}: {shown}");
        assert_eq!(shown.matches("masked:").count(), 1, "the second result was not masked: {shown}");

        let cast = on(&["--export", "asciicast"]);
        let events: Vec<serde_json::Value> =
            cast.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        let is_mark = |event: &&serde_json::Value| {
            event[1] == "m" && event[2].as_str().unwrap().starts_with("masked: detector Jwt ×2, field")
        };
        assert_eq!(events.iter().filter(is_mark).count(), 1, "{protocol}: {cast}");
    }
}
