//! The record, read again: verify, query, export. Each beside what this disk or the same work without it costs.
//!
//! `PORTCULLIS_RECORDS` says over how many records; omitted, ten million, and 200,000 with `--quick`. A million take
//! 1.1 GB in `target/` while it runs.

use super::measure::{Row, median, output};
use super::scene::Scene;
use anyhow::{Context as _, Result, ensure};
use axum::extract::DefaultBodyLimit;
use e2e::tools;
use proxy_audit::event::key;
use proxy_audit::export::{ExportOptions, Exporter, Protocol};
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Questions are asked so many times.
const ROUNDS: u32 = 5;

/// Sessions that write at once, and how many records each.
const WRITERS: (u32, u32) = (64, 200);

/// Every filter, dense and rare; orders that no filter narrows.
const QUESTIONS: [(&str, &[&str]); 22] = [
    ("newest commands", &["commands"]),
    ("longest commands", &["commands", "--sort", "-duration"]),
    ("commands by rule", &["commands", "--sort", "rule"]),
    ("commands by user", &["commands", "--sort", "-user"]),
    ("commands by what was masked", &["commands", "--sort", "-masked"]),
    ("commands of one identity", &["commands", "--identity", "agent-17"]),
    ("commands of a group", &["commands", "--group", "team-3"]),
    ("commands with a claim", &["commands", "--claim", "repository=shop/service-7"]),
    ("commands of one session", &["commands", "--session", "0199e2a4-7b1c-7d3e-0000000000000007"]),
    ("allowed commands", &["commands", "--verdict", "allow"]),
    ("denied commands", &["commands", "--verdict", "deny"]),
    ("commands of a rule", &["commands", "--rule", "rule-7"]),
    ("commands by part of their text", &["commands", "--text", "table_77 "]),
    ("commands by a text that all have", &["commands", "--text", "select id"]),
    ("commands by a rare text", &["commands", "--text", "where c123 "]),
    ("commands with a masked column", &["commands", "--detector", "app.users.email"]),
    (
        "denied commands of one identity by rows",
        &["commands", "--verdict", "deny", "--identity", "agent-17", "--sort", "-rows"],
    ),
    (
        "held commands of a rule and a group",
        &["commands", "--verdict", "hold", "--rule", "rule-7", "--group", "team-3"],
    ),
    ("newest sessions", &["sessions"]),
    ("sessions of a group, by commands", &["sessions", "--group", "team-3", "--sort", "-commands"]),
    ("sessions with a denied command", &["sessions", "--verdict", "deny", "--rule", "rule-7"]),
    ("approvals of one identity", &["approvals", "--identity", "agent-17", "--verdict", "approved"]),
];

/// Writing, verifying, asking and exporting a spool of many records.
pub(crate) fn measure(_: &Scene, seconds: u32) -> Result<Vec<Row>> {
    let omitted = if seconds < 5 { "200000" } else { "10000000" };
    let records = std::env::var("PORTCULLIS_RECORDS").unwrap_or_else(|_| omitted.to_owned());
    let directory = TempDir::new_in(tools::repository().join("target"))?;
    let spool = directory.path().join("spool");
    std::fs::create_dir(&spool)?;
    let filler = tools::repository().join("target/release/examples/spool_fill");
    let (written, seconds) = timed(|| output(Command::new(&filler).arg(&spool).arg(&records)))?;
    let records: f64 = written.split(' ').next().context("what spool_fill wrote")?.parse()?;
    let syncs = fdatasyncs(directory.path())?;
    let mut rows = vec![Row::new(
        "records appended by one session at a time, durable at the end",
        "records/s",
        records / seconds,
        ("one fdatasync each", syncs),
    )];
    rows.push(durable(&directory.path().join("durable"), syncs)?);
    let files = segments(&spool)?;
    let read = reading(&files)?;
    rows.extend(verification(&spool, &files, read)?);
    rows.extend(questions(&spool, &directory.path().join("index"), (records, read))?);
    rows.push(export(&spool, records, read)?);
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

/// Each record on disk before its session writes the next: sessions share what they wait for.
fn durable(directory: &Path, syncs: f64) -> Result<Row> {
    let (sessions, each) = WRITERS;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (spool, _) = Spool::open(&SpoolOptions::new(directory, "bench/default/orders/durable"))?;
    let ((), seconds) = timed(|| {
        runtime.block_on(async {
            let mut writers = tokio::task::JoinSet::new();
            for number in 0..sessions {
                let spool = spool.clone();
                let session = SessionStamp::new(vec![(key::SESSION_ID.into(), number.to_string().into())]);
                writers.spawn(async move {
                    for number in 0..each {
                        let event = Event::new(EventName::Statement, Severity::Info, "SELECT")
                            .with(key::COMMAND, i64::from(number))
                            .with(key::QUERY_TEXT, "SELECT id, status FROM app.orders WHERE customer = $1");
                        let receipt = spool.append(&session, event)?;
                        spool.synced(receipt).await?;
                    }
                    anyhow::Ok(())
                });
            }
            while let Some(writer) = writers.join_next().await {
                writer??;
            }
            spool.close().await?;
            Ok(())
        })
    })?;
    Ok(Row::new(
        format!("records of {sessions} sessions, each durable before the next"),
        "records/s",
        f64::from(sessions * each) / seconds,
        ("one fdatasync each", syncs),
    ))
}

fn segments(spool: &Path) -> Result<Vec<PathBuf>> {
    let log = proxy_audit::read::logs(spool)?.into_iter().next().context("a log")?;
    let files = std::fs::read_dir(log)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "seg")).collect())
}

/// Seconds that this disk takes to read the log once.
fn reading(files: &[PathBuf]) -> Result<f64> {
    // Files that are not in memory: what was written is there until it is asked away.
    forget(files)?;
    timed(|| files.iter().try_for_each(|file| read(file))).map(|((), seconds)| seconds)
}

/// MB a second from the disk, beside reading the same files from it; and from memory, beside hashing as many bytes.
fn verification(spool: &Path, files: &[PathBuf], read: f64) -> Result<[Row; 2]> {
    let megabytes = megabytes(files)?;
    forget(files)?;
    let (_, from_disk) = timed(|| output(portcullis(spool)?.arg("verify")))?;
    let (_, from_memory) = timed(|| output(portcullis(spool)?.arg("verify")))?;
    let block = [7; 1_000];
    let ((), hashed) = timed(|| {
        for _ in 0..100_000 {
            std::hint::black_box(proxy_audit::merkle::leaf_hash(std::hint::black_box(&block)));
        }
        Ok(())
    })?;
    let rate = |seconds: f64| megabytes / seconds;
    Ok([
        Row::new(
            format!("verify of {megabytes:.0} MB from the disk"),
            "MB/s",
            rate(from_disk),
            ("reading the files", rate(read)),
        ),
        Row::new(
            "the same from memory",
            "MB/s",
            rate(from_memory),
            ("SHA-256 alone, one core", 100.0 / hashed),
        ),
    ])
}

fn megabytes(files: &[PathBuf]) -> Result<f64> {
    let mut bytes = 0;
    for file in files {
        bytes += std::fs::metadata(file)?.len();
    }
    Ok(f64::from(u32::try_from(bytes / 1_000)?) / 1_000.0)
}

/// Asks the system to drop what it holds of these files in memory.
fn forget(files: &[PathBuf]) -> Result<()> {
    for file in files {
        let mut advise = Command::new("dd");
        advise.args(["oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]);
        let mut target = OsString::from("of=");
        target.push(file);
        output(advise.arg(target))?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<()> {
    let (mut file, mut block) = (File::open(file)?, vec![0; 1 << 20]);
    while file.read(&mut block)? > 0 {}
    Ok(())
}

fn portcullis(spool: &Path) -> Result<Command> {
    let mut command = Command::new(tools::own("portcullis")?);
    command.env("PORTCULLIS_SPOOL", spool).env_remove("PORTCULLIS_INDEX");
    Ok(command)
}

/// Each question over an index, the program's start included, beside what this disk takes to read the log once; one of
/// them over the records too, as they are asked without an index.
fn questions(spool: &Path, index: &Path, (records, read): (f64, f64)) -> Result<Vec<Row>> {
    let (_, seconds) =
        timed(|| output(portcullis(spool)?.args(["sessions", "--limit", "1", "--index"]).arg(index)))?;
    let (_, plain) = timed(|| output(portcullis(spool)?.args(["sessions", "--limit", "1"])))?;
    let disk = ("reading the files", read * 1_000.0);
    let mut rows = vec![
        Row::new(
            "records put into an index for the first time",
            "records/s",
            records / seconds,
            ("read without one", records / plain),
        ),
        Row::new("newest sessions, without an index", "ms", plain * 1_000.0, disk),
    ];
    for (name, arguments) in QUESTIONS {
        let mut indexed = Vec::new();
        for _ in 0..ROUNDS {
            let ask =
                || output(portcullis(spool)?.args(arguments).args(["--limit", "100", "--index"]).arg(index));
            let (answer, seconds) = timed(ask)?;
            ensure!(answer.lines().count() > 2, "nothing fits {name}: {answer}");
            indexed.push(seconds * 1_000.0);
        }
        rows.push(Row::new(format!("{name}, of {records:.0} records"), "ms", median(indexed), disk));
    }
    Ok(rows)
}

/// Records a second to a receiver in this process, beside what this disk takes to read them.
fn export(spool: &Path, records: f64, read: f64) -> Result<Row> {
    let log = proxy_audit::read::logs(spool)?.into_iter().next().context("a log")?;
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
        ("reading the files", records / read),
    ))
}
