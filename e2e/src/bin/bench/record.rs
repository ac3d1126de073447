//! The record, read again: verify, query, export. Each beside what this disk or the same work without it costs.
//!
//! `PORTCULLIS_RECORDS` says over how many records; omitted, 200,000.

use super::measure::{Row, median, output};
use super::scene::Scene;
use anyhow::{Context as _, Result, ensure};
use axum::extract::DefaultBodyLimit;
use e2e::tools;
use proxy_audit::export::{ExportOptions, Exporter, Protocol};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Questions are asked so many times.
const ROUNDS: u32 = 5;

const QUESTIONS: [(&str, &[&str]); 5] = [
    ("commands of one identity", &["commands", "--identity", "agent-17", "--limit", "100"]),
    ("denied commands", &["commands", "--verdict", "deny", "--limit", "100"]),
    ("commands by part of their text", &["commands", "--text", "table_77 ", "--limit", "100"]),
    ("commands with a masked column", &["commands", "--detector", "app.users.email", "--limit", "100"]),
    (
        "sessions of a group, by commands",
        &["sessions", "--group", "team-3", "--sort", "-commands", "--limit", "100"],
    ),
];

/// Writing, verifying, asking and exporting a spool of many records.
pub(crate) fn measure(_: &Scene, _: u32) -> Result<Vec<Row>> {
    let records = std::env::var("PORTCULLIS_RECORDS").unwrap_or_else(|_| "200000".to_owned());
    let directory = TempDir::new_in(tools::repository().join("target"))?;
    let spool = directory.path().join("spool");
    std::fs::create_dir(&spool)?;
    let filler = tools::repository().join("target/release/examples/spool_fill");
    let (written, seconds) = timed(|| output(Command::new(&filler).arg(&spool).arg(&records)))?;
    let records: f64 = written.split(' ').next().context("what spool_fill wrote")?.parse()?;
    let mut rows = vec![Row::new(
        "records appended by one session at a time, durable at the end",
        "records/s",
        records / seconds,
        ("one fdatasync each", fdatasyncs(directory.path())?),
    )];
    rows.push(verification(&spool)?);
    rows.extend(questions(&spool, &directory.path().join("index"), records)?);
    rows.push(export(&spool, records)?);
    Ok(rows)
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let started = Instant::now();
    let done = work()?;
    Ok((done, started.elapsed().as_secs_f64()))
}

/// Small synced appends of this disk, a second.
fn fdatasyncs(directory: &Path) -> Result<f64> {
    let mut file = File::create(directory.join("probe"))?;
    let (count, started) = (100_u32, Instant::now());
    for _ in 0..count {
        file.write_all(&[7; 700])?;
        file.sync_data()?;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}

fn segments(spool: &Path) -> Result<Vec<PathBuf>> {
    let log = proxy_audit::read::logs(spool)?.into_iter().next().context("a log")?;
    let files = std::fs::read_dir(log)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "seg")).collect())
}

/// MB a second, beside reading the same files.
fn verification(spool: &Path) -> Result<Row> {
    let files = segments(spool)?;
    let mut block = vec![0; 1 << 20];
    let (bytes, seconds) = timed(|| {
        let mut bytes = 0_u64;
        for file in &files {
            let mut file = File::open(file)?;
            loop {
                let read = file.read(&mut block)?;
                bytes += u64::try_from(read)?;
                if read == 0 {
                    break;
                }
            }
        }
        Ok(bytes)
    })?;
    let megabytes = f64::from(u32::try_from(bytes / 1_000)?) / 1_000.0;
    let read = megabytes / seconds;
    let (_, seconds) = timed(|| output(portcullis(spool)?.arg("verify")))?;
    Ok(Row::new(
        format!("verify of {megabytes:.0} MB"),
        "MB/s",
        megabytes / seconds,
        ("reading the files", read),
    ))
}

fn portcullis(spool: &Path) -> Result<Command> {
    let mut command = Command::new(tools::own("portcullis")?);
    command.env("PORTCULLIS_SPOOL", spool).env_remove("PORTCULLIS_INDEX");
    Ok(command)
}

/// Each question over an index and over the records, the program's start included.
fn questions(spool: &Path, index: &Path, records: f64) -> Result<Vec<Row>> {
    let (_, seconds) =
        timed(|| output(portcullis(spool)?.args(["sessions", "--limit", "1", "--index"]).arg(index)))?;
    let (_, plain) = timed(|| output(portcullis(spool)?.args(["sessions", "--limit", "1"])))?;
    let mut rows = vec![Row::new(
        "records put into an index for the first time",
        "records/s",
        records / seconds,
        ("read without one", records / plain),
    )];
    for (name, arguments) in QUESTIONS {
        let mut indexed = Vec::new();
        for _ in 0..ROUNDS {
            let ask = || output(portcullis(spool)?.args(arguments).arg("--index").arg(index));
            let (answer, seconds) = timed(ask)?;
            ensure!(answer.lines().count() > 2, "nothing fits {name}: {answer}");
            indexed.push(seconds * 1_000.0);
        }
        let (_, plain) = timed(|| output(portcullis(spool)?.args(arguments)))?;
        rows.push(Row::new(name, "ms", median(indexed), ("without an index", plain * 1_000.0)));
    }
    Ok(rows)
}

/// Records a second to a receiver in this process, beside reading them.
fn export(spool: &Path, records: f64) -> Result<Row> {
    let log = proxy_audit::read::logs(spool)?.into_iter().next().context("a log")?;
    let (read, seconds) = timed(|| Ok(proxy_audit::read::records(&log)?.flatten().count()))?;
    ensure!(f64::from(u32::try_from(read)?) >= records, "{read} records are there");
    let reading = records / seconds;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ((), seconds) = timed(|| {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
            let address = listener.local_addr()?;
            let sink = axum::routing::post(|_: axum::body::Bytes| async { Vec::<u8>::new() });
            let service = axum::Router::new().route("/v1/logs", sink).layer(DefaultBodyLimit::disable());
            let server = tokio::spawn(async move { axum::serve(listener, service).await });
            let options = ExportOptions::new(format!("http://{address}"), Protocol::HttpProtobuf);
            let status = Exporter::finish(&log, options)?.drain(Duration::from_mins(10)).await;
            server.abort();
            ensure!(status.lag == 0, "{status:?}");
            Ok(())
        })
    })?;
    Ok(Row::new(
        "records exported by OTLP over HTTP",
        "records/s",
        records / seconds,
        ("reading them", reading),
    ))
}
