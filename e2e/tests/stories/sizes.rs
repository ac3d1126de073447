//! How much room the record takes: a record, and a statement as archives keep it.

use crate::scene::Scene;
use proxy_audit::read;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Statements of the day.
const STATEMENTS: usize = 2_000;

/// The goal for a record, in bytes: the mean of all, results included.
const RECORD: usize = 1_024;
/// The goal for a statement, in bytes.
const STATEMENT: usize = 250;

#[test]
fn a_record_is_small_and_a_statement_compressed_is_smaller() {
    let Some(scene) = Scene::start() else { return };
    let script: String = (0..STATEMENTS)
        .map(|n| match n % 5 {
            0 => format!("select id, name, ssn from users where id = {n};\n"),
            1 => format!("insert into orders (id, note) values ({}, 'order number {n}');\n", 100_000 + n),
            2 => format!("update orders set note = 'changed {n}' where id = {n};\n"),
            3 => format!("select count(*) from orders where id between {n} and {};\n", n + 7),
            _ => format!("delete from orders where id = {};\n", 100_000 + n - 3),
        })
        .collect();
    let file = scene.gateway.state().join("day.sql");
    std::fs::write(&file, script).unwrap();
    let token = scene.token("ci-bot");
    let done = scene.psql("app", &token).args(["-q", "-At", "-f"]).arg(&file).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (mut all, mut lengths, mut statements) = (Vec::new(), Vec::new(), 0);
    for log in read::logs(scene.gateway.state()).unwrap() {
        for record in read::records(&log).unwrap().map(Result::unwrap) {
            lengths.push(record.leaf().len());
            statements += usize::from(record.name() == "portcullis.statement");
            if record.name() != "portcullis.result.chunk" {
                all.extend_from_slice(&record.leaf());
            }
        }
    }
    assert!(statements >= STATEMENTS, "{statements}");
    let (raw, records) = (lengths.iter().sum::<usize>(), lengths.len());
    let compressed = compressed(&all);
    let (each, stored) = (raw / records, compressed / statements);
    println!(
        "{records} records of {statements} statements: {each} bytes a record (at most {}), {stored} bytes a statement \
         compressed without results, {} as they are",
        lengths.iter().max().unwrap(),
        all.len() / statements
    );
    assert!(each <= RECORD && stored <= STATEMENT, "{each} bytes a record, {stored} a statement");
}

/// Bytes after `gzip`, which archives and backends have at least.
fn compressed(bytes: &[u8]) -> usize {
    let mut gzip = Command::new("gzip");
    let mut gzip = gzip.arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let feed = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let output = gzip.wait_with_output().unwrap();
    feed.join().unwrap();
    output.stdout.len()
}
