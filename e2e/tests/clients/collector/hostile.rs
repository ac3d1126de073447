//! A real Collector that is killed again and again under load and then stays away; and one that acknowledges what it then
//! loses. The log is the truth: what did not arrive is sent again, or named.
//!
//! `PORTCULLIS_LONG=1` puts 100,000 records through it, and has it stay away for half an hour, or for
//! `PORTCULLIS_AWAY_SECONDS`.

use super::{copies_verify, session};
use crate::programs;
use crate::stage::Stage;
use anyhow::{Context as _, Result, ensure};
use e2e::collector::{Backend, Collector};
use e2e::process::wait_until;
use e2e::random::Random;
use proxy_audit::event::key;
use proxy_audit::note::LogKey;
use proxy_audit::read;
use proxy_audit::record::Record;
use proxy_audit::source::{OtlpSource, Part};
use proxy_audit::verify::{Outcome, own_key, verify, verify_otlp};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

struct Size {
    records: usize,
    kills: usize,
    away: Duration,
}

fn size() -> Size {
    let (records, kills, away) = match std::env::var_os("PORTCULLIS_LONG") {
        Some(_) => (100_000, 30, 30 * 60),
        None => (4_000, 4, 5),
    };
    let given = std::env::var("PORTCULLIS_AWAY_SECONDS").ok().and_then(|text| text.parse().ok());
    Size { records, kills, away: Duration::from_secs(given.unwrap_or(away)) }
}

/// What clients ask again and again: an answer, one with masked values, a write, a refusal.
const ASKED: [&str; 4] = [
    "select 1",
    "select * from parts",
    "insert into deliveries values ('load', 1, 'note')",
    "drop table keepsakes",
];
const CLIENTS: usize = 4;
const REFUSED_EVERY: u64 = 7;
/// Records that the Collector's queue has room for: 1,000 requests. A full one acknowledges nothing.
const QUEUED: usize = 2_000;
/// Statements of one session; a token outlives it.
const STATEMENTS: usize = 400;

/// Sessions one after another, until this many statements have been begun by all clients.
fn load(stage: &Stage, begun: &AtomicUsize, statements: usize) -> Result<()> {
    let script: String = ASKED.iter().cycle().take(STATEMENTS).flat_map(|sql| [sql, ";\n"]).collect();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("load.sql");
    std::fs::write(&file, script)?;
    let mut psql = Command::new("psql");
    psql.args(["-XAtq", "-f"]).arg(&file);
    while begun.fetch_add(STATEMENTS, Ordering::Relaxed) < statements {
        let output = programs::run(&psql, &stage.driver()?)?;
        ensure!(output.status.success(), "{}", programs::said(&output));
    }
    Ok(())
}

/// Runs clients that make at least this many records, and `meanwhile` beside them.
fn under_load(stage: &Stage, records: usize, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    let begun = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // a statement and its outcome are a record each, and what is refused has no outcome
        let client = || load(stage, &begun, records.div_ceil(2 * ASKED.len() - 1) * ASKED.len());
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        meanwhile()?;
        for client in clients {
            client.join().ok().context("a client panicked")??;
        }
        Ok(())
    })
}

/// Waits until the gateway says that everything was acknowledged.
fn acknowledged(stage: &Stage) -> Result<()> {
    let deadline = Instant::now() + Duration::from_mins(5);
    while Instant::now() < deadline {
        let metrics = stage.gateway.admin("metrics")?;
        let lag = metrics.lines().filter(|line| line.starts_with("portcullis_audit_export_lag_records{"));
        if lag.map(|line| line.rsplit(' ').next()).all(|lag| lag == Some("0")) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    anyhow::bail!("not everything is acknowledged: {}", stage.gateway.log());
}

#[test]
fn a_collector_that_is_killed_under_load_and_stays_away_gets_every_record() -> Result<()> {
    if !Collector::is_possible() || !programs::present(&["psql", "postgres"]) {
        return Ok(());
    }
    let Size { records, kills, away } = size();
    let backend = Backend::start()?;
    let mut collector = Collector::start(&backend)?;
    let endpoint = format!("grpc://127.0.0.1:{}", collector.grpc());
    let stage = Stage::start_with(&[], &["--otlp-endpoint".to_owned(), endpoint])?;
    let mut random = Random::printed();
    under_load(&stage, records / 2, || {
        for _ in 0..kills {
            std::thread::sleep(Duration::from_millis(random.below(1_500)));
            collector.crash()?;
            std::thread::sleep(Duration::from_millis(random.below(500)));
            collector.restart()?;
        }
        Ok(())
    })?;
    // Its backend takes nothing for a moment: that is no acknowledgement either.
    backend.go_away();
    under_load(&stage, 100, || Ok(()))?;
    collector.crash()?;
    backend.come_back();
    let left = Instant::now();
    under_load(&stage, records / 2, || Ok(()))?;
    std::thread::sleep(away.saturating_sub(left.elapsed()));
    let away = left.elapsed();
    collector.restart()?;
    let returned = Instant::now();
    acknowledged(&stage)?;
    let caught_up = returned.elapsed();

    // Ends of sessions may come after the last answer, and after what was acknowledged then.
    let all = || stage.records().ok().filter(|recorded| backend.has_exactly(recorded).is_ok());
    let recorded = wait_until("every record came", all).or_else(|_late| stage.records())?;
    backend.has_exactly(&recorded)?;
    ensure!(backend.records().len() == recorded.len() && recorded.len() >= records, "{}", recorded.len());
    copies_verify(&stage, &backend)?;
    println!(
        "{} records, {kills} kills, away for {away:?}, caught up in {caught_up:?}: 0 lost, {} came more than once, unchanged",
        recorded.len(),
        backend.repeated()
    );
    Ok(())
}

#[test]
fn what_a_collector_acknowledges_and_loses_is_in_the_log_and_named() -> Result<()> {
    if !Collector::is_possible() || !programs::present(&["psql", "postgres"]) {
        return Ok(());
    }
    let backend = Backend::start()?;
    backend.refuse_every(REFUSED_EVERY);
    let mut collector = Collector::start_with_queue(&backend)?;
    let endpoint = format!("http://127.0.0.1:{}", collector.http());
    let stage = Stage::start_with(&[], &["--otlp-endpoint".to_owned(), endpoint])?;
    under_load(&stage, size().records - QUEUED, || Ok(()))?;
    acknowledged(&stage)?;
    // What is in the queue now is acknowledged, and dies with it.
    backend.go_away();
    under_load(&stage, QUEUED, || Ok(()))?;
    acknowledged(&stage)?;
    collector.crash()?;
    backend.come_back();
    collector.restart()?;
    session(&stage)?;
    acknowledged(&stage)?;

    let log = read::logs(&stage.gateway.state().join("audit"))?.first().context("there is a log")?.clone();
    let key = own_key(&log)?.context("the log has a key")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("audit.json");
    // The checkpoint over the last record follows it.
    let named = wait_until("what is lost is named, all of it and nothing else", || {
        backend.write_to(&file).ok()?;
        let named = named(&file, &key)?;
        (named == lost(&backend, &stage.records().ok()?)).then_some(named)
    })
    .with_context(|| stage.gateway.log())?;
    let recorded = stage.records()?;
    let refused = recorded.iter().filter(|record| record.sequence().is_multiple_of(REFUSED_EVERY)).count();
    ensure!(named.len() > refused + QUEUED / 2, "{} of {}, {refused}", named.len(), recorded.len());
    ensure!(verify(&log, Some(&key))?.outcome != Outcome::Tampered, "the log is as it was");
    println!("{} records, {} acknowledged and lost, all of them named", recorded.len(), named.len());
    Ok(())
}

/// Which records did not come, by their place in the log.
fn lost(backend: &Backend, records: &[Record]) -> BTreeSet<u64> {
    let missing: BTreeSet<String> = backend.missing(records).into_iter().collect();
    let is_missing = |record: &&Record| record.text(key::RECORD_ID).is_some_and(|id| missing.contains(id));
    records.iter().filter(is_missing).map(Record::sequence).collect()
}

/// Which records verification of these copies misses; `None` when that is not all that it says.
fn named(copies: &Path, key: &LogKey) -> Option<BTreeSet<u64>> {
    let source = OtlpSource::new(vec![Part::whole(copies.to_owned())]);
    let reports = verify_otlp(&source, std::slice::from_ref(key)).ok()?;
    let report = reports.first().filter(|report| report.outcome == Outcome::Incomplete)?;
    // What stands behind a lost one is there, and proved by nothing.
    let missed = report.problems.iter().filter(|problem| !problem.what.contains("proved by no checkpoint"));
    let ranges = missed.filter_map(|problem| Some(problem.first?..=problem.last?));
    Some(ranges.flatten().collect())
}
