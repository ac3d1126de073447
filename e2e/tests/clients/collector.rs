//! A real OpenTelemetry Collector gets every record of the log, also when it crashes in between.

mod hostile;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use e2e::collector::{Backend, Collector, documented_transform};
use e2e::process::wait_until;

use proxy_audit::read;
use proxy_audit::source::{OtlpSource, Part};
use proxy_audit::verify::{Outcome, own_key, verify_otlp};

use crate::programs;
use crate::stage::{PASSWORD, Stage};

/// A session of three commands, one of which is refused.
fn session(stage: &Stage) -> Result<()> {
    let mut program = Command::new("psql");
    program.args(["-XAt", "-c", "select * from parts", "-c", "drop table keepsakes", "-c", "select 1"]);
    let output = programs::run(&program, &stage.driver()?)?;
    ensure!(output.stdout.ends_with(b"1\n"), "{}\n{}", programs::said(&output), stage.gateway.log());
    Ok(())
}

/// Waits until the backend has every record of the log, and checks what came; gives how many there are.
fn everything_arrives(stage: &Stage, backend: &Backend) -> Result<usize> {
    let arrived = wait_until("every record arrives", || {
        stage.records().is_ok_and(|records| backend.missing(&records).is_empty()).then_some(())
    });
    arrived.with_context(|| format!("{}\n{}", backend.summary(), stage.gateway.log()))?;
    backend.has_exactly(&stage.records()?)?;
    Ok(backend.records().len())
}

fn delivers_everything(endpoint: impl Fn(&Collector) -> String) -> Result<()> {
    if !Collector::is_possible() || !programs::present(&["psql", "postgres"]) {
        return Ok(());
    }
    let backend = Backend::start()?;
    let mut collector = Collector::start(&backend)?;
    let stage = Stage::start_with(&[], &["--otlp-endpoint".to_owned(), endpoint(&collector)])?;

    session(&stage)?;
    let before = everything_arrives(&stage, &backend)?;
    ensure!(before >= 8, "start, three statements with their results, end: {}", backend.summary());

    collector.crash()?;
    session(&stage)?;
    collector.restart()?;
    session(&stage)?;
    let after = everything_arrives(&stage, &backend)?;
    ensure!(after >= 3 * before - 2, "three sessions: {}", backend.summary());
    let secrets = [stage.issuer.signatures(), vec![PASSWORD.to_owned()]].concat();
    e2e::leaks::search_collected(&backend, &secrets)?;
    copies_verify(&stage, &backend)
}

/// Where the log is not, the Collector's copies are checked: the checkpoint over all of them follows them.
fn copies_verify(stage: &Stage, backend: &Backend) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("audit.json");
    let logs = read::logs(&stage.gateway.state().join("audit"))?;
    let log = logs.first().context("there is a log")?;
    let key = own_key(log)?.context("the log has a key")?;
    let verified = wait_until("the copies verify", || {
        backend.write_to(&file).ok()?;
        let source = OtlpSource::new(vec![Part::whole(file.clone())]);
        let reports = verify_otlp(&source, std::slice::from_ref(&key)).ok()?;
        reports.into_iter().find(|report| report.outcome == Outcome::Ok && report.tail() == 0)
    });
    let report = verified.with_context(|| format!("{}\n{}", backend.summary(), stage.gateway.log()))?;
    ensure!(report.key_pinned && report.records == backend.records().len() as u64, "{report:?}");
    let text = std::fs::read_to_string(&file)?;
    ensure!(text.contains("drop table keepsakes"), "the refused statement came");
    std::fs::write(&file, text.replace("drop table keepsakes", "show table keepsakes"))?;
    let reports = verify_otlp(&OtlpSource::new(vec![Part::whole(file)]), &[key])?;
    let tampered = reports.iter().any(|report| report.outcome == Outcome::Tampered);
    ensure!(tampered, "a changed copy: {reports:?}");
    Ok(())
}

/// What the documentation has those do whose Loki is old.
#[test]
fn the_documented_transform_names_events_in_an_attribute() -> Result<()> {
    if !Collector::is_possible() || !programs::present(&["psql", "postgres"]) {
        return Ok(());
    }
    let backend = Backend::start()?;
    let collector = Collector::start_with_transform(&documented_transform()?, &backend)?;
    let endpoint = format!("grpc://127.0.0.1:{}", collector.grpc());
    let stage = Stage::start_with(&[], &["--otlp-endpoint".to_owned(), endpoint])?;
    session(&stage)?;
    wait_until("every record arrives", || backend.missing(&stage.records().ok()?).is_empty().then_some(()))
        .with_context(|| backend.summary())?;
    for record in backend.records() {
        ensure!(record.text("event_name") == Some(record.name()), "{record:?}");
    }
    Ok(())
}

#[test]
fn a_collector_that_crashes_gets_every_record_by_grpc() -> Result<()> {
    delivers_everything(|collector| format!("grpc://127.0.0.1:{}", collector.grpc()))
}

#[test]
fn a_collector_that_crashes_gets_every_record_by_http() -> Result<()> {
    delivers_everything(|collector| format!("http://127.0.0.1:{}", collector.http()))
}
