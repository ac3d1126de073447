//! Backends that a Collector fills answer as the log does. ClickHouse is its engine, chdb, behind an HTTP interface, with
//! the table of the Collector's exporter. Loki is its query API by its documentation.

use crate::scene::{Answer, Scene};
use e2e::collector::{Collector, documented_transform};
use e2e::loki::{self, Entry, Itself, Loki};
use e2e::process::{Process, wait_until};
use e2e::tools;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use proxy_audit::record::Record;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// As the exporter makes it, since it has `EventName`; what does not change the answers (codecs, indices) is left out.
const TABLE: &str = "CREATE TABLE otel.otel_logs (Timestamp DateTime64(9), TimestampTime DateTime DEFAULT \
     toDateTime(Timestamp), TraceId String, SpanId String, TraceFlags UInt8, SeverityText LowCardinality(String), \
     SeverityNumber UInt8, ServiceName LowCardinality(String), Body String, ResourceSchemaUrl LowCardinality(String), \
     ResourceAttributes Map(LowCardinality(String), String), ScopeSchemaUrl LowCardinality(String), ScopeName String, \
     ScopeVersion LowCardinality(String), ScopeAttributes Map(LowCardinality(String), String), \
     LogAttributes Map(LowCardinality(String), String), EventName String) ENGINE = MergeTree() \
     PARTITION BY toDate(TimestampTime) PRIMARY KEY (ServiceName, TimestampTime) \
     ORDER BY (ServiceName, TimestampTime, Timestamp)";

struct ClickHouse {
    _process: Process,
    port: u16,
}

impl ClickHouse {
    fn start() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients/clickhouse");
        let sources = tools::repository().join("e2e/clients/clickhouse");
        let built = Command::new(sources.join("build")).arg(&folder).stdin(Stdio::null()).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let mut command = Command::new(folder.join("venv/bin/python"));
        let mut process = Process::start("clickhouse", command.arg(sources.join("server.py"))).unwrap();
        let port =
            process.wait_for_line("its port", |line| line.strip_prefix("ready ")?.parse().ok()).unwrap();
        Self { _process: process, port }
    }

    fn run(&self, sql: &str) {
        let url = format!("http://127.0.0.1:{}/", self.port);
        let mut child = Command::new("curl")
            .args(["-sS", "--fail-with-body", "--data-binary", "@-", &url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), sql.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }

    fn url(&self, table: &str) -> String {
        format!("clickhouse://127.0.0.1:{}/otel{table}", self.port)
    }
}

/// A record's row, as the exporter writes it: every value in words.
fn row(record: &Record) -> Value {
    let attributes: serde_json::Map<String, Value> = record
        .attributes()
        .iter()
        .map(|attribute| {
            let value = serde_json::to_value(&attribute.value).unwrap();
            (attribute.key.clone(), Value::String(loki::in_words(&value)))
        })
        .collect();
    let nanoseconds = record.as_log_record().time_unix_nano;
    json!({
        "Timestamp": format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000),
        "SeverityText": record.severity(), "SeverityNumber": record.as_log_record().severity_number,
        "ServiceName": "portcullis", "Body": record.body(), "LogAttributes": attributes, "EventName": record.name(),
    })
}

/// What two agents did, and the records of it.
struct Done {
    scene: Scene,
    /// The first session.
    session: String,
    records: Vec<Record>,
}

impl Done {
    fn start() -> Option<Self> {
        let scene = Scene::start()?;
        for subject in ["ci-bot", "night-bot"] {
            let mut psql = scene.psql("app", &scene.token(subject));
            psql.args(["-c", "select id, name, email from users order by id", "-c", "drop database shop"]);
            psql.output().unwrap();
        }
        let ended = || {
            let sessions: Vec<Value> =
                serde_json::from_str(&scene.portcullis(&["sessions", "-o", "json"], 0).out).unwrap();
            (sessions.len() == 2 && sessions.iter().all(|session| !session["end"].is_null()))
                .then_some(sessions)
        };
        let sessions = wait_until("the sessions' ends", ended).unwrap();
        let session = sessions[1]["id"].as_str().unwrap().to_owned();
        let logs = proxy_audit::read::logs(&scene.gateway.state().join("audit")).unwrap();
        let records = proxy_audit::read::records(&logs[0]).unwrap().collect::<Result<_, _>>().unwrap();
        Some(Self { scene, session, records })
    }

    /// A moment within the first session.
    fn within(&self) -> String {
        let of_session = |record: &&Record| record.text("session.id") == Some(&self.session);
        self.records.iter().filter(of_session).nth(3).unwrap().time().to_string()
    }

    fn ask(&self, question: &[&str], code: i32) -> Answer {
        let mut command = self.scene.portcullis_command();
        let done = command.args(question).env("LOKI_ORG_ID", loki::TENANT).output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{question:?}: {:?}", Answer::new(&done));
        Answer::new(&done)
    }

    /// Every question has the log's answer.
    fn answers_as_the_log_does(&self, from: &str) {
        let within = self.within();
        for question in [
            &["sessions", "-o", "json"][..],
            &["commands", "-o", "json"],
            &["commands", "--verdict", "deny", "--identity", "night-bot", "-o", "json"],
            &["commands", "--session", &self.session, "-o", "json"],
            &["commands", "--resource", "default/orders", "--limit", "3", "-o", "json"],
            &["sessions", "--resource", "nothing-of-the-name", "-o", "json"],
            &["sessions", "--since", &within, "-o", "json"],
            &["commands", "--since", &within, "--identity", "ci-bot", "-o", "json"],
            &["sessions", "--since", "0s", "-o", "json"],
            &["approvals", "-o", "json"],
            &["replay", &self.session],
        ] {
            let of_log = self.ask(question, 0).out;
            let of_backend = self.ask(&[question, &["--from", from]].concat(), 0).out;
            assert_eq!(of_backend, of_log, "{question:?}");
        }
    }
}

#[test]
fn clickhouse_answers_as_the_log_does() {
    if tools::or_skip("python3").is_none() {
        return;
    }
    let Some(done) = Done::start() else { return };
    let clickhouse = ClickHouse::start();
    clickhouse.run("CREATE DATABASE otel");
    clickhouse.run(TABLE);
    let rows: Vec<String> = done.records.iter().map(|record| row(record).to_string()).collect();
    // In any order, and some of them twice, as a Collector may deliver.
    let delivered: Vec<&str> = rows.iter().rev().chain(rows.iter().step_by(3)).map(String::as_str).collect();
    clickhouse.run(&format!("INSERT INTO otel.otel_logs FORMAT JSONEachRow {}", delivered.join("\n")));
    // What others log is not ours.
    clickhouse.run("INSERT INTO otel.otel_logs (Timestamp, Body) VALUES (now(), 'something else')");

    done.answers_as_the_log_does(&clickhouse.url(""));
    let missing = done.ask(&["sessions", "--from", &clickhouse.url("/no_such_table")], 1);
    assert!(missing.err.contains("no_such_table"), "{missing:?}");
    let secret = done.ask(&["sessions", "--from", "clickhouse://me:hunter2@127.0.0.1/otel"], 1);
    assert!(secret.err.contains("CLICKHOUSE_USER") && !secret.err.contains("hunter2"), "{secret:?}");
}

#[test]
fn loki_answers_as_the_log_does() {
    let Some(done) = Done::start() else { return };
    let entries = || done.records.iter().map(Entry::of);
    let mut stranger = Entry::of(&done.records[0]);
    stranger.labels.retain(|label, _| !label.starts_with("portcullis"));
    // Some of them twice, as a Collector may deliver, and what others log between.
    let kept = Loki::start(entries().chain(entries().step_by(3)).chain([stranger]).collect(), 7).unwrap();
    done.answers_as_the_log_does(&kept.url("?limit=7"));

    // Pages that end among records of the same moment lose none and double none.
    let now = done.records[0].as_log_record().time_unix_nano;
    let at_once = |(number, entry)| Entry { time: now + number as u64 / 3, ..entry };
    let coarse = Loki::start(entries().enumerate().map(at_once).collect(), 5).unwrap();
    let texts = |from: &[&str]| {
        let listed = done.ask(&[&["commands", "--sort", "time", "-o", "json"], from].concat(), 0).out;
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        listed.iter().map(|command| (command["session"].clone(), command["text"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(texts(&["--from", &coarse.url("?limit=5")]), texts(&[]));
    let stuck = done.ask(&["commands", "--from", &coarse.url("?limit=3")], 1);
    assert!(stuck.err.contains("of one moment"), "{stuck:?}");

    // What a Loki refuses is told in its words.
    let refused = done.ask(&["sessions", "--from", &kept.url("")], 1);
    assert!(refused.err.contains("max_entries_limit_per_query (1000 > 7)"), "{refused:?}");
    let mut no_tenant = done.scene.portcullis_command();
    let no_tenant = Answer::new(&no_tenant.args(["sessions", "--from", &kept.url("")]).output().unwrap());
    assert!(!no_tenant.success && no_tenant.err.contains("no org id"), "{no_tenant:?}");
}

/// What the documented statement makes of a record.
fn event_name(record: &LogRecord) -> KeyValue {
    let name = any_value::Value::StringValue(record.event_name.clone());
    KeyValue {
        key: "event_name".to_owned(),
        value: Some(AnyValue { value: Some(name) }),
        ..KeyValue::default()
    }
}

#[test]
fn loki_itself_answers_as_the_log_does() {
    if !Itself::is_wanted() || !Collector::is_possible() {
        return;
    }
    let Some(done) = Done::start() else { return };
    let loki = Itself::start(7).unwrap();
    let collector =
        Collector::start_before(&loki.otlp(), loki::TENANT, &documented_transform().unwrap()).unwrap();
    let log_records = || done.records.iter().map(|record| record.as_log_record().clone());
    let mut stranger = done.records[0].as_log_record().clone();
    stranger.attributes.retain(|attribute| !attribute.key.starts_with("portcullis"));
    loki.push_by(collector.http(), log_records().collect()).unwrap();
    loki.push_by(collector.http(), log_records().step_by(3).chain([stranger]).collect()).unwrap();
    done.answers_as_the_log_does(&loki.url("?limit=7"));

    // Pages that end among records of the same moment lose none and double none.
    let now = done.records[0].as_log_record().time_unix_nano;
    let at_once = |(number, mut record): (usize, LogRecord)| {
        record.time_unix_nano = now + number as u64 / 3;
        record.attributes.push(event_name(&record));
        record
    };
    loki.push("coarse", log_records().enumerate().map(at_once).collect()).unwrap();
    let texts = |from: &[&str]| {
        let asked = [&["commands", "--sort", "time", "-o", "json"], from].concat();
        let mut command = done.scene.portcullis_command();
        let listed = command.args(asked).env("LOKI_ORG_ID", "coarse").output().unwrap();
        let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
        listed.iter().map(|command| (command["session"].clone(), command["text"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(texts(&["--from", &loki.url("?limit=5")]), texts(&[]));

    // What it refuses is told in its words.
    let refused = done.ask(&["sessions", "--from", &loki.url("")], 1);
    assert!(refused.err.contains("limit > max_entries_limit_per_query (1000 > 7)"), "{refused:?}");
    let mut no_tenant = done.scene.portcullis_command();
    let no_tenant = Answer::new(&no_tenant.args(["sessions", "--from", &loki.url("")]).output().unwrap());
    assert!(!no_tenant.success && no_tenant.err.contains("no org id"), "{no_tenant:?}");
}
