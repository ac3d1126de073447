//! An investigator's commands, on a log as a gateway writes it.

use super::{portcullis, shown, succeeds, text};
use proxy_audit::event::key;
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(super) const SESSION: &str = "0199e2a4-7b1c-7d3e-9f00-8a6b5c4d3e2f";

/// `SELECT id, email`: one row, already masked.
fn frames() -> Vec<u8> {
    let mut description = vec![0, 2];
    for (name, oid) in [("id", 23_u32), ("email", 25)] {
        description.extend(name.as_bytes());
        description.extend([0; 7]);
        description.extend(oid.to_be_bytes());
        description.extend([0; 8]);
    }
    let row = [&[0, 2, 0, 0, 0, 1][..], b"7", &[0, 0, 0, 3], b"***"].concat();
    [(b'T', description), (b'D', row), (b'C', b"SELECT 1\0".to_vec())]
        .into_iter()
        .flat_map(|(tag, body)| {
            let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
            [&[tag][..], &length, &body].concat()
        })
        .collect()
}

fn statement(number: i64, sql: &str, verdict: &str) -> Event {
    Event::new(EventName::Statement, Severity::Info, verdict)
        .with(key::COMMAND, number)
        .with(key::OPERATION, "SELECT")
        .with(key::QUERY_TEXT, sql)
        .with(key::VERDICT, verdict)
        .with(key::POLICY_NAME, "orders")
        .with(key::RULE, "rule-1")
}

fn result(number: i64, outcome: &str) -> Event {
    Event::new(EventName::Result, Severity::Info, outcome)
        .with(key::COMMAND, number)
        .with(key::OUTCOME, outcome)
}

/// A state directory with one log: an allowed query, its result in two parts, and a denied one.
pub(super) async fn state(directory: &TempDir) -> PathBuf {
    let log = directory.path().join("state/audit/default.orders/gw-1");
    let (spool, _) = Spool::open(&SpoolOptions::new(&log, "dev/default/orders/gw-1")).unwrap();
    let session = SessionStamp::new(vec![
        (key::SESSION_ID.into(), SESSION.into()),
        (key::USER_ID.into(), "https://issuer#agent-7".into()),
        (key::USER_NAME.into(), "agent-7".into()),
        (key::RESOURCE_NAMESPACE.into(), "default".into()),
        (key::RESOURCE_NAME.into(), "orders".into()),
        (key::ROLE.into(), "app".into()),
        (key::NAMESPACE.into(), "shop".into()),
    ]);
    let frames = frames();
    let (first, second) = frames.split_at(20);
    let events = [
        Event::new(EventName::SessionStart, Severity::Info, "start").with(key::CLIENT_ADDRESS, "192.0.2.1"),
        statement(1, "SELECT id, email FROM users", "allow"),
        Event::new(EventName::ResultChunk, Severity::Info, "part")
            .with(key::COMMAND, 1_i64)
            .with(key::FRAMES, bytes(first)),
        result(1, "ok")
            .with(key::FRAMES, bytes(second))
            .with(key::MASKED, vec!["column email ×1".to_owned()]),
        statement(2, "DROP DATABASE shop", "deny"),
        result(2, "refused"),
        Event::new(EventName::SessionEnd, Severity::Info, "end").with(key::REASON, "client_close"),
    ];
    for event in events {
        spool.append(&session, event).unwrap();
    }
    spool.close().await.unwrap();
    directory.path().join("state")
}

fn bytes(bytes: &[u8]) -> proxy_audit::Value {
    proxy_audit::Value::Bytes(bytes.to_vec().into())
}

pub(super) fn on(state: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = portcullis(arguments);
    command.args(["--spool", text(state)]).env_remove("PORTCULLIS_SPOOL");
    command
}

pub(super) fn code(command: &mut std::process::Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), shown(&output))
}

#[tokio::test]
async fn sessions_are_listed_and_filtered() {
    let directory = TempDir::new().unwrap();
    let state = state(&directory).await;
    let table = succeeds(&mut on(&state, &["sessions"]));
    assert!(
        table.contains(SESSION) && table.contains("agent-7") && table.contains("client_close"),
        "{table}"
    );
    assert!(!table.contains('\u{1b}'), "no colours in a pipe");
    let denied = succeeds(&mut on(&state, &["sessions", "--verdict", "deny", "--since", "1h", "-o", "json"]));
    let denied: Value = serde_json::from_str(&denied).unwrap();
    assert_eq!((denied[0]["id"].as_str(), denied[0]["denied"].as_u64()), (Some(SESSION), Some(1)));
    assert!(succeeds(&mut on(&state, &["sessions", "--identity", "nobody"])).contains("no session fits"));
}

#[tokio::test]
async fn a_list_as_csv_has_its_header_whether_or_not_something_fits() {
    let directory = TempDir::new().unwrap();
    let state = state(&directory).await;
    let log = state.join("audit/default.orders/gw-2");
    let (spool, _) = Spool::open(&SpoolOptions::new(&log, "dev/default/orders/gw-2")).unwrap();
    let approval = Event::new(EventName::Approval, Severity::Info, "asked").with(key::COMMAND, 1_i64);
    spool.append(&SessionStamp::new(vec![(key::SESSION_ID.into(), "other".into())]), approval).unwrap();
    spool.close().await.unwrap();
    for list in ["sessions", "commands", "approvals"] {
        let csv = succeeds(&mut on(&state, &[list, "-o", "csv"]));
        let header = csv.lines().next().unwrap();
        let none = succeeds(&mut on(&state, &[list, "--identity", "nobody", "-o", "csv"]));
        assert_eq!(none, format!("{header}\r\n"), "{list}");
        // All fields of the other forms are columns.
        let json = succeeds(&mut on(&state, &[list, "-o", "ndjson"]));
        let row: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        let mut columns: Vec<&str> = header.split(',').collect();
        columns.sort_unstable();
        let mut fields: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(columns, fields, "{list}");
    }
}

#[tokio::test]
async fn times_in_tables_are_in_utc_and_say_so() {
    let directory = TempDir::new().unwrap();
    let state = state(&directory).await;
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let json = succeeds(&mut on(&state, &["sessions", "-o", "json"]));
    let sessions: Value = serde_json::from_str(&json).unwrap();
    let start = time(sessions[0]["start"].as_str().unwrap());
    let told = start.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    for question in [&["sessions"][..], &["show", "0199e2"], &["replay", "0199e2"]] {
        let shown = succeeds(on(&state, question).env("TZ", "Asia/Kolkata"));
        assert!(shown.contains(&told), "{told} is not in {shown}");
    }
    assert_eq!(time(&told), time(&start.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()), "--since takes it");
}

#[tokio::test]
async fn a_session_is_shown_with_its_verdicts() {
    let directory = TempDir::new().unwrap();
    let state = state(&directory).await;
    let shown = succeeds(&mut on(&state, &["show", "0199e2"]));
    for line in ["DROP DATABASE shop", "deny by orders/rule-1", "masked    column email ×1", "192.0.2.1"] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let (code, complaint) = code(&mut on(&state, &["show", "ffff"]));
    assert_eq!(code, Some(1), "{complaint}");
    assert!(complaint.contains("no session begins with ffff"), "{complaint}");
}

#[tokio::test]
async fn a_session_is_replayed_as_psql_showed_it() {
    let directory = TempDir::new().unwrap();
    let state = state(&directory).await;
    let shown = succeeds(&mut on(&state, &["replay", "0199e2"]));
    let expected = "shop=> SELECT id, email FROM users;\n id | email \n----+-------\n  7 | ***\n(1 row)\n\n\
                    -- masked: column email ×1\nshop=> DROP DATABASE shop;\n-- deny by orders/rule-1\n-- refused\n-- session ended: client_close\n";
    assert!(shown.ends_with(expected), "{shown}");
    let steps: Value =
        serde_json::from_str(&succeeds(&mut on(&state, &["replay", "0199e2", "-o", "json"]))).unwrap();
    assert_eq!(steps.as_array().unwrap().len(), 8);
    assert_eq!(steps[1]["step"], "command");
    assert_eq!(steps[4]["masked"], serde_json::json!(["column email ×1"]), "{steps}");
}

#[tokio::test]
async fn an_untouched_log_verifies_and_a_tampered_copy_does_not() {
    let directory = TempDir::new().unwrap();
    let state = state(&directory).await;
    let shown = succeeds(&mut on(&state, &["verify"]));
    assert!(shown.contains("RESULT   OK") && shown.contains("dev/default/orders/gw-1"), "{shown}");

    let segment = state.join("audit/default.orders/gw-1/00000000000000000000.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(4).position(|window| window == b"DROP").unwrap();
    bytes[at..at + 4].copy_from_slice(b"SHOW");
    std::fs::write(&segment, bytes).unwrap();
    let (tampered, shown) = code(&mut on(&state, &["verify"]));
    assert_eq!(tampered, Some(1), "{shown}");
    assert!(shown.contains("TAMPERED") && shown.contains("FIRST BAD seq 5 changed"), "{shown}");
    let (tampered, json) = code(&mut on(&state, &["verify", "-o", "json"]));
    let reports: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((tampered, &reports[0]["problems"][0]["first"]), (Some(1), &Value::from(5)));

    std::fs::remove_dir_all(state.join("audit/default.orders")).unwrap();
    let (nothing, shown) = code(&mut on(&state, &["verify"]));
    assert_eq!(nothing, Some(3), "{shown}");
}

#[tokio::test]
async fn commands_are_listed_in_every_form_and_by_an_index_too() {
    let directory = TempDir::new().unwrap();
    let state = state(&directory).await;
    let table = succeeds(&mut on(&state, &["commands", "--verdict", "deny"]));
    assert!(table.contains("DROP DATABASE shop") && !table.contains("SELECT"), "{table}");
    let lines = succeeds(&mut on(&state, &["commands", "--detector", "email", "-o", "ndjson"]));
    let row: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((&row["command"], &row["session"]), (&Value::from(1), &Value::from(SESSION)));
    let csv = succeeds(&mut on(&state, &["commands", "--sort", "time", "-o", "csv"]));
    assert!(csv.lines().count() == 3 && csv.contains("\"SELECT id, email FROM users\""), "{csv}");
    let index = directory.path().join("index");
    let plain = succeeds(&mut on(&state, &["commands", "-o", "json"]));
    for _ in 0..2 {
        let indexed = succeeds(on(&state, &["commands", "-o", "json"]).args(["--index", text(&index)]));
        let texts = |json: &str| -> Vec<Value> {
            let rows: Vec<Value> = serde_json::from_str(json).unwrap();
            rows.into_iter().map(|row| row["text"].clone()).collect()
        };
        assert_eq!(texts(&plain), texts(&indexed));
    }
    let (code, complaint) = code(&mut on(&state, &["commands", "--verdict", "maybe"]));
    assert_eq!(code, Some(64));
    assert!(complaint.contains("allow, deny, hold"), "{complaint}");
    assert!(succeeds(&mut on(&state, &["approvals"])).contains("no approval fits"));
    assert!(super::fails(&mut on(&state, &["verify", "-o", "csv"])).contains("csv"));
}

#[tokio::test]
async fn a_replay_begins_where_it_is_told_to_and_exports_what_asciinema_plays() {
    let directory = TempDir::new().unwrap();
    let state = state(&directory).await;
    let shown = succeeds(&mut on(&state, &["replay", "0199e2", "--search", "drop"]));
    assert!(shown.contains("DROP DATABASE") && !shown.contains("SELECT"), "{shown}");
    assert!(
        super::fails(&mut on(&state, &["replay", "0199e2", "--command", "9"])).contains("no such command")
    );
    let cast = succeeds(&mut on(&state, &["replay", "0199e2", "--export", "asciicast"]));
    let mut lines = cast.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(lines.next().unwrap()["version"], 3);
    let events: Vec<Value> = lines.collect();
    assert!(events.iter().all(|event| event[0].as_f64().unwrap() >= 0.0), "{cast}");
    let shown: String =
        events.iter().filter(|event| event[1] == "o").map(|event| event[2].as_str().unwrap()).collect();
    assert!(shown.contains("shop=> SELECT id, email FROM users;\r\n id | email \r\n"), "{shown}");
    for mark in ["masked: column email ×1", "deny: DROP DATABASE shop;"] {
        assert!(events.iter().any(|event| event[1] == "m" && event[2] == mark), "{mark}: {cast}");
    }
}

#[tokio::test]
async fn a_recorded_terminal_comes_as_lines_or_exactly_and_at_its_times() {
    use proxy_audit::stream::{Channel, StreamEncoder, StreamEvent};
    use std::time::Duration;
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("state/log");
    let (spool, _) = Spool::open(&SpoolOptions::new(&log, "dev/default/web/gw-1")).unwrap();
    let session = SessionStamp::new(vec![
        (key::SESSION_ID.into(), SESSION.into()),
        (key::RESOURCE_PROTOCOL.into(), "ssh".into()),
    ]);
    let (mut encoder, mut recording) = (StreamEncoder::default(), Vec::new());
    let at = Duration::from_millis;
    encoder.encode(at(0), &StreamEvent::Resize { columns: 90, rows: 30 }, &mut recording);
    encoder.data(
        at(500),
        Channel::STDOUT,
        b"\x1b[31mred\x1b[0m\x1b]0;pwned\x07\r\n1\xe2\x82",
        &mut recording,
    );
    encoder.data(at(750), Channel::STDOUT, b"\xac\r\n", &mut recording);
    encoder.encode(at(800), &StreamEvent::Exit(3), &mut recording);
    let (first, second) = recording.split_at(30);
    let statement = Event::new(EventName::Statement, Severity::Info, "allow")
        .with(key::COMMAND, 1_i64)
        .with(key::COMMAND_LINE, "./show")
        .with(key::VERDICT, "allow");
    let chunk = Event::new(EventName::ResultChunk, Severity::Info, "part")
        .with(key::COMMAND, 1_i64)
        .with(key::FRAMES, bytes(first));
    let result = result(1, "ok").with(key::EXIT_CODE, 3_i64).with(key::FRAMES, bytes(second));
    for event in [statement, chunk, result] {
        spool.append(&session, event).unwrap();
    }
    spool.close().await.unwrap();
    let state = directory.path().join("state");
    let plain = succeeds(&mut on(&state, &["replay", "0199e2"]));
    assert!(plain.ends_with("$ ./show\nred\n1€\n-- exit code 3\n"), "{plain:?}");
    let raw = succeeds(&mut on(&state, &["replay", "0199e2", "--raw"]));
    assert!(raw.contains("\x1b[31mred\x1b[0m\x1b]0;pwned\x07\r\n1€\r\n"), "{raw:?}");
    let cast = succeeds(&mut on(&state, &["replay", "0199e2", "--export", "asciicast"]));
    let lines: Vec<Value> = cast.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["term"]["cols"], &lines[0]["term"]["rows"]), (&Value::from(90), &Value::from(30)));
    let output: Vec<&Value> = lines.iter().skip(1).filter(|event| event[1] == "o").collect();
    assert_eq!((&output[1][0], &output[2][0]), (&Value::from(0.5), &Value::from(0.25)));
    assert_eq!(output[2][2], "€\r\n", "a character that was cut comes whole");
    let played: String = output.iter().map(|event| event[2].as_str().unwrap()).collect();
    assert_eq!(
        played, "$ ./show\r\n\u{1b}[31mred\u{1b}[0m\u{1b}]0;pwned\u{7}\r\n1€\r\n",
        "what was shown, and no more"
    );
    let shown = succeeds(&mut on(&state, &["show", "0199e2"]));
    assert!(shown.contains("./show"), "{shown}");
}

#[tokio::test]
async fn a_cast_of_commands_that_ran_at_once_has_all_that_each_of_them_showed() {
    use proxy_audit::stream::{Channel, StreamEncoder};
    use std::time::Duration;
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("state/log");
    let (spool, _) = Spool::open(&SpoolOptions::new(&log, "dev/default/cluster/gw-1")).unwrap();
    let session = SessionStamp::new(vec![
        (key::SESSION_ID.into(), SESSION.into()),
        (key::RESOURCE_PROTOCOL.into(), "kubernetes".into()),
    ]);
    let recorded = |text: &str| {
        let (mut encoder, mut recording) = (StreamEncoder::default(), Vec::new());
        for (at, part) in text.as_bytes().chunks(7).enumerate() {
            let at = Duration::from_millis(u64::try_from(at).unwrap());
            encoder.data(at, Channel::STDOUT, part, &mut recording);
        }
        recording
    };
    let recordings = [recorded("the first shows 1€ of it\n"), recorded("and the second 2€ of its own\n")];
    for number in [1, 2] {
        spool.append(&session, statement(number, "create pods/exec", "allow")).unwrap();
    }
    for at in 0..4 {
        for (recording, number) in recordings.iter().zip(1_i64..) {
            let part = recording.chunks(recording.len().div_ceil(4)).nth(at).unwrap();
            let chunk = Event::new(EventName::ResultChunk, Severity::Info, "part");
            let chunk = chunk.with(key::COMMAND, number).with(key::FRAMES, bytes(part));
            spool.append(&session, chunk).unwrap();
        }
    }
    for number in [2, 1] {
        spool.append(&session, result(number, "ok")).unwrap();
    }
    spool.close().await.unwrap();
    let state = directory.path().join("state");
    let cast = succeeds(&mut on(&state, &["replay", "0199e2", "--export", "asciicast"]));
    let events = cast.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut letters: Vec<char> = events
        .filter(|event| event[1] == "o" && !event[2].as_str().unwrap().contains("create pods/exec"))
        .flat_map(|event| event[2].as_str().unwrap().chars().collect::<Vec<_>>())
        .collect();
    letters.sort_unstable();
    let mut expected: Vec<char> =
        "the first shows 1€ of it\nand the second 2€ of its own\n".chars().collect();
    expected.sort_unstable();
    assert_eq!(letters, expected, "{cast}");
}

#[tokio::test]
async fn evidence_is_handed_over_and_verified_and_replayed_where_the_log_is_not() {
    let directory = TempDir::new().unwrap();
    let state = state(&directory).await;
    let bundle = directory.path().join("evidence.tar");
    let key = directory.path().join("log.vkey");
    std::fs::copy(state.join("audit/default.orders/gw-1/log.vkey"), &key).unwrap();
    let written = succeeds(&mut on(&state, &["evidence", "export", "0199e2", "--file", text(&bundle)]));
    assert!(written.contains(SESSION) && written.contains("7 records"), "{written}");
    let again = super::fails(&mut on(&state, &["evidence", "export", "0199e2", "--file", text(&bundle)]));
    assert!(again.contains("exists"), "{again}");
    std::fs::remove_dir_all(&state).unwrap();

    let verify = ["verify", text(&bundle), "--key", text(&key)];
    let shown = succeeds(&mut portcullis(&verify));
    assert!(shown.contains("RESULT   OK") && shown.contains("as given"), "{shown}");
    let replayed = succeeds(&mut portcullis(&["replay", "0199e2", "--from", text(&bundle)]));
    assert!(replayed.contains("DROP DATABASE shop") && replayed.contains("(1 row)"), "{replayed}");
    let listed = succeeds(&mut portcullis(&["sessions", "--from", text(&bundle), "-o", "csv"]));
    assert!(listed.contains(SESSION), "{listed}");

    let mut bytes = std::fs::read(&bundle).unwrap();
    let at = bytes.windows(4).position(|window| window == b"DROP").unwrap();
    bytes[at..at + 4].copy_from_slice(b"SHOW");
    std::fs::write(&bundle, bytes).unwrap();
    let (tampered, shown) = code(&mut portcullis(&verify));
    assert_eq!(tampered, Some(1), "{shown}");
    assert!(shown.contains("seq 5 is not in the tree"), "{shown}");
}

#[tokio::test]
async fn detectors_see_what_is_encoded_also_across_records() {
    use base64::Engine as _;
    let directory = TempDir::new().unwrap();
    let secret = ["aws_access_key_id = AK", "IAQ3EGRJ5NLXVW7TZB\n"].concat();
    let base64 = base64::engine::general_purpose::STANDARD.encode(&secret);
    let hexadecimal = const_hex::encode(&secret);
    let log = directory.path().join("log");
    let (spool, _) = Spool::open(&SpoolOptions::new(&log, "dev/default/orders/gw-2")).unwrap();
    let session = SessionStamp::new(vec![(key::SESSION_ID.into(), SESSION.into())]);
    spool.append(&session, statement(1, &format!("SELECT '{base64}'"), "allow")).unwrap();
    for (command, text) in [(2, &base64), (3, &hexadecimal)] {
        let (first, second) = text.split_at(text.len() / 2);
        let event = Event::new(EventName::ResultChunk, Severity::Info, "part").with(key::COMMAND, command);
        spool.append(&session, event.with(key::FRAMES, bytes(first.as_bytes()))).unwrap();
        let end = result(command, "ok").with(key::FRAMES, bytes(second.as_bytes()));
        spool.append(&session, end).unwrap();
    }
    spool.close().await.unwrap();
    let (found, shown) = code(&mut on(&log, &["scan"]));
    assert_eq!(found, Some(1), "{shown}");
    for (sequence, has) in [(1, true), (2, false), (3, true), (4, false), (5, true)] {
        assert_eq!(shown.contains(&format!("encoded in seq {sequence} ")), has, "{sequence}: {shown}");
    }
    assert!(!shown.contains(&base64) && !shown.contains(&hexadecimal), "{shown}");
}

#[tokio::test]
async fn a_scan_finds_values_in_any_form_and_across_records_and_shows_none() {
    use base64::Engine as _;
    let directory = TempDir::new().unwrap();
    let (state, values) = (state(&directory).await, directory.path().join("values"));
    std::fs::write(&values, "not-on-record\nCANARY-4711\n").unwrap();
    let scan = |state: &Path, more: &[&str]| code(on(state, &["scan", "--values", text(&values)]).args(more));
    let (clean, shown) = scan(&state, &[]);
    assert_eq!(clean, Some(0), "{shown}");
    assert!(
        shown.contains("RESULT     OK") && shown.contains("base64") && shown.contains("sha256:"),
        "{shown}"
    );

    // In base64, and cut between two records.
    let hidden = base64::engine::general_purpose::STANDARD.encode("xx CANARY-4711 yy");
    let (first, second) = hidden.split_at(10);
    let log = directory.path().join("leaky/log");
    let (spool, _) = Spool::open(&SpoolOptions::new(&log, "dev/default/orders/gw-2")).unwrap();
    let session = SessionStamp::new(vec![(key::SESSION_ID.into(), SESSION.into())]);
    let token = ["gh", "p_", "16C7e42F292c6912E7710c838347Ae178B4a"].concat();
    let chunk = Event::new(EventName::ResultChunk, Severity::Info, "part")
        .with(key::COMMAND, 1_i64)
        .with(key::FRAMES, bytes(first.as_bytes()));
    let leak = statement(1, &format!("SELECT '{token}'"), "allow");
    for event in [leak, chunk, result(1, "ok").with(key::FRAMES, bytes(second.as_bytes()))] {
        spool.append(&session, event).unwrap();
    }
    spool.close().await.unwrap();
    let leaky = directory.path().join("leaky");
    let (found, shown) = scan(&leaky, &[]);
    assert_eq!(found, Some(1), "{shown}");
    let value = shown.lines().find(|line| line.contains("values:2 base64 in seq 3")).expect(&shown);
    assert!(value.contains(key::FRAMES), "{shown}");
    assert!(shown.contains("detector") && shown.contains("seq 1"), "{shown}");
    assert!(!shown.contains("CANARY") && !shown.contains(&token), "{shown}");
    let (_, json) = scan(&leaky, &["--detector", "none", "-o", "json"]);
    let answer: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&answer["found"], &answer["values"]), (&Value::from(1), &Value::from(2)));
    // What cannot be searched is not called clean.
    let files = directory.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("log"), "nothing").unwrap();
    std::os::unix::fs::symlink("log", files.join("current")).unwrap();
    assert_eq!(scan(&state, &["--file", text(&files)]).0, Some(0));
    std::os::unix::fs::symlink("gone", files.join("lost")).unwrap();
    let (incomplete, shown) = scan(&state, &["--file", text(&files)]);
    assert_eq!(incomplete, Some(2), "{shown}");
    assert!(
        shown.contains("INCOMPLETE") && shown.contains("files/lost: a link that leads nowhere"),
        "{shown}"
    );
    std::fs::write(files.join("log"), "p=%43ANARY-4711").unwrap();
    let (found, shown) = scan(&state, &["--file", text(&files.join("current"))]);
    assert_eq!(found, Some(1), "{shown}");
    assert!(shown.contains("percent-encoded in") && shown.contains("at byte 2"), "{shown}");
    std::fs::write(&values, "short\n").unwrap();
    assert!(scan(&leaky, &[]).1.contains("values:1 is shorter"));
}

#[tokio::test]
async fn the_status_of_an_export_is_read_from_the_disk() {
    let directory = TempDir::new().unwrap();
    let state = state(&directory).await;
    let (lagging, shown) = code(&mut on(&state, &["export", "status"]));
    assert_eq!(lagging, Some(1), "{shown}");
    assert!(shown.contains("never"), "{shown}");
    let log = state.join("audit/default.orders/gw-1");
    std::fs::write(log.join("export.cursor"), "8\n").unwrap();
    let (delivered, shown) = code(&mut on(&state, &["export", "status", "-o", "json"]));
    let standing: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((delivered, &standing[0]["lag"], &standing[0]["end"]), (Some(0), &0.into(), &8.into()));
    let refused = r#"{"time":"2026-11-24T08:00:00Z","first":2,"last":5,"rejected":3,"why":"too old"}"#;
    std::fs::write(log.join("undelivered"), format!("{refused}\n")).unwrap();
    let (refused, shown) = code(&mut on(&state, &["export", "status"]));
    assert_eq!(refused, Some(1), "{shown}");
    assert!(shown.contains("3 of records 2..5") && shown.contains("too old"), "{shown}");
}
