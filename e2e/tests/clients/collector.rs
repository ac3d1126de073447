//! A real OpenTelemetry Collector gets every record of the log, also when it crashes in between.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use e2e::collector::{Backend, Collector};
use e2e::process::wait_until;

use crate::programs;
use crate::stage::Stage;

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
