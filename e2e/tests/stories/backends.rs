//! Backends that a Collector fills answer as the log does. ClickHouse is its engine, chdb, behind an HTTP interface, with
//! the table of the Collector's exporter.

use crate::scene::Scene;
use e2e::process::{Process, wait_until};
use e2e::tools;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
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
fn row(record: &proxy_audit::record::Record) -> Value {
    let attributes = serde_json::to_value(record.attributes()).unwrap();
    let attribute = |attribute: &Value| {
        let (kind, value) = attribute["value"].as_object().unwrap().iter().next().unwrap();
        let text = match kind.as_str() {
            "arrayValue" => {
                let texts: Vec<&Value> =
                    value["values"].as_array().unwrap().iter().map(|value| &value["stringValue"]).collect();
                json!(texts).to_string()
            }
            _ => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        };
        (attribute["key"].as_str().unwrap().to_owned(), Value::String(text))
    };
    let attributes: serde_json::Map<String, Value> =
        attributes.as_array().unwrap().iter().map(attribute).collect();
    let nanoseconds = record.as_log_record().time_unix_nano;
    json!({
        "Timestamp": format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000),
        "SeverityText": record.severity(), "SeverityNumber": record.as_log_record().severity_number,
        "ServiceName": "portcullis", "Body": record.body(), "LogAttributes": attributes, "EventName": record.name(),
    })
}

#[test]
fn clickhouse_answers_as_the_log_does() {
    if tools::or_skip("python3").is_none() {
        return;
    }
    let Some(scene) = Scene::start() else { return };
    for subject in ["ci-bot", "night-bot"] {
        let mut psql = scene.psql("app", &scene.token(subject));
        psql.args(["-c", "select id, name, email from users order by id", "-c", "drop database shop"]);
        psql.output().unwrap();
    }
    let ended = || {
        let sessions: Vec<Value> =
            serde_json::from_str(&scene.portcullis(&["sessions", "-o", "json"], 0).out).unwrap();
        (sessions.len() == 2 && sessions.iter().all(|session| !session["end"].is_null())).then_some(sessions)
    };
    let sessions = wait_until("the sessions' ends", ended).unwrap();
    let session = sessions[0]["id"].as_str().or(sessions[0]["session"].as_str()).unwrap();

    let clickhouse = ClickHouse::start();
    clickhouse.run("CREATE DATABASE otel");
    clickhouse.run(TABLE);
    let logs: Vec<PathBuf> = proxy_audit::read::logs(&scene.gateway.state().join("audit")).unwrap();
    let rows: Vec<String> = proxy_audit::read::records(&logs[0])
        .unwrap()
        .map(|record| row(&record.unwrap()).to_string())
        .collect();
    // In any order, and some of them twice, as a Collector may deliver.
    let delivered: Vec<&str> = rows.iter().rev().chain(rows.iter().step_by(3)).map(String::as_str).collect();
    clickhouse.run(&format!("INSERT INTO otel.otel_logs FORMAT JSONEachRow {}", delivered.join("\n")));
    // What others log is not ours.
    clickhouse.run("INSERT INTO otel.otel_logs (Timestamp, Body) VALUES (now(), 'something else')");

    let url = clickhouse.url("");
    for question in [
        &["sessions", "-o", "json"][..],
        &["commands", "-o", "json"],
        &["commands", "--verdict", "deny", "--identity", "night-bot", "-o", "json"],
        &["commands", "--session", session, "-o", "json"],
        &["approvals", "-o", "json"],
        &["replay", session],
    ] {
        let of_log = scene.portcullis(question, 0).out;
        let of_backend = scene.portcullis(&[question, &["--from", &url]].concat(), 0).out;
        assert_eq!(of_backend, of_log, "{question:?}");
    }
    let missing = scene.portcullis(&["sessions", "--from", &clickhouse.url("/no_such_table")], 1);
    assert!(missing.err.contains("no_such_table"), "{missing:?}");
    let secret = scene.portcullis(&["sessions", "--from", "clickhouse://me:hunter2@127.0.0.1/otel"], 1);
    assert!(secret.err.contains("CLICKHOUSE_USER") && !secret.err.contains("hunter2"), "{secret:?}");
}
