//! A real OpenTelemetry Collector gets every record of the log, also when it crashes in between.

mod backend;

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use e2e::process::{Process, wait_until};
use e2e::tools;
use proxy_audit::record::Record;

use crate::programs;
use crate::stage::Stage;
use backend::Backend;

/// A Collector between the gateway and the backend. It acknowledges a record when the backend has it.
struct Collector {
    folder: TempDir,
    process: Process,
    grpc: u16,
    http: u16,
}

impl Collector {
    fn start(backend: &Backend) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (grpc, http) = (tools::free_port()?, tools::free_port()?);
        std::fs::write(folder.path().join("config.yaml"), configuration(grpc, http, backend.port()))?;
        let process = Self::spawn(&folder)?;
        Ok(Self { folder, process, grpc, http })
    }

    /// Kills it as a crash would.
    fn crash(&mut self) -> Result<()> {
        self.process.signal("KILL")?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again, at the same ports.
    fn restart(&mut self) -> Result<()> {
        self.process = Self::spawn(&self.folder)?;
        Ok(())
    }

    fn spawn(folder: &TempDir) -> Result<Process> {
        let mut program = Command::new(programs::built("collector")?.join("collector"));
        program.arg("--config").arg(format!("file:{}", folder.path().join("config.yaml").display()));
        let mut process = Process::start("collector", &mut program)?;
        process
            .wait_for_line("that it is ready", |line| line.contains("Everything is ready").then_some(()))?;
        Ok(process)
    }
}

fn configuration(grpc: u16, http: u16, backend: u16) -> String {
    format!(
        "receivers:
  otlp:
    protocols:
      grpc: {{ endpoint: '127.0.0.1:{grpc}', max_recv_msg_size_mib: 64 }}
      http: {{ endpoint: '127.0.0.1:{http}' }}
exporters:
  otlp_http:
    endpoint: http://127.0.0.1:{backend}
    encoding: json
    compression: none
    sending_queue: {{ enabled: false }}
service:
  telemetry: {{ metrics: {{ level: none }} }}
  pipelines:
    logs: {{ receivers: [otlp], exporters: [otlp_http] }}
"
    )
}

/// A session of three commands, one of which is refused.
fn session(stage: &Stage) -> Result<()> {
    let mut program = Command::new("psql");
    program.args(["-XAt", "-c", "select * from parts", "-c", "drop table keepsakes", "-c", "select 1"]);
    let output = programs::run(&program, &stage.driver()?)?;
    ensure!(output.stdout.ends_with(b"1\n"), "{}\n{}", programs::said(&output), stage.gateway.log());
    Ok(())
}

/// Waits until the backend has every record of the log, byte for byte, and checks what came twice.
fn everything_arrives(stage: &Stage, backend: &Backend) -> Result<usize> {
    let missing = |received: &BTreeMap<u64, Vec<Vec<u8>>>| -> Result<Vec<u64>> {
        let records = stage.records()?;
        Ok(records.iter().map(Record::sequence).filter(|seq| !received.contains_key(seq)).collect())
    };
    let arrived = wait_until("every record arrives", || {
        let received = backend.received();
        missing(&received).is_ok_and(|missing| missing.is_empty()).then_some(received)
    });
    let received = arrived.with_context(|| {
        format!(
            "missing {:?} of {}\n{}",
            missing(&backend.received()),
            backend.summary(),
            stage.gateway.log()
        )
    })?;
    for record in stage.records()? {
        let copies = received.get(&record.sequence()).context("it arrived")?;
        for copy in copies {
            ensure!(
                copy == record.leaf_hash(),
                "record {} arrived changed: {}",
                record.sequence(),
                backend.summary()
            );
        }
    }
    ensure!(backend.strangers() == 0, "something arrived that is no record: {}", backend.summary());
    Ok(received.len())
}

fn delivers_everything(endpoint: impl Fn(&Collector) -> String) -> Result<()> {
    if !programs::present(&["go", "psql", "postgres"]) {
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
    delivers_everything(|collector| format!("grpc://127.0.0.1:{}", collector.grpc))
}

#[test]
fn a_collector_that_crashes_gets_every_record_by_http() -> Result<()> {
    delivers_everything(|collector| format!("http://127.0.0.1:{}", collector.http))
}
