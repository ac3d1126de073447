//! A real OpenTelemetry Collector, between gateways and a log store.

mod backend;

pub use backend::Backend;

use crate::process::Process;
use crate::tools;
use anyhow::{Context as _, Result};
use std::process::Command;
use tempfile::TempDir;

/// A Collector. It acknowledges a record when the backend has it, unless it has a queue.
#[derive(Debug)]
pub struct Collector {
    folder: TempDir,
    process: Process,
    grpc: u16,
    http: u16,
}

impl Collector {
    /// For tests: whether one can be built; if not, a skip is printed.
    ///
    /// # Panics
    /// With `CI=true`, where Go must be there.
    pub fn is_possible() -> bool {
        tools::or_skip("go").is_some()
    }

    /// Starts one on free loopback ports and waits until it is ready. The first time it is built, which takes minutes.
    ///
    /// # Errors
    /// It cannot be built or does not start; with what was printed.
    pub fn start(backend: &Backend) -> Result<Self> {
        Self::start_with(NO_QUEUE, "", backend)
    }

    /// As [`Collector::start`], with a queue in memory: it acknowledges what a crash then loses.
    ///
    /// # Errors
    /// As [`Collector::start`].
    pub fn start_with_queue(backend: &Backend) -> Result<Self> {
        Self::start_with("{ enabled: true }", "", backend)
    }

    /// As [`Collector::start`], with a processor `transform`: this is the YAML of `processors`.
    ///
    /// # Errors
    /// As [`Collector::start`].
    pub fn start_with_transform(processors: &str, backend: &Backend) -> Result<Self> {
        Self::start_with(NO_QUEUE, processors, backend)
    }

    /// As [`Collector::start_with_transform`], with a store that takes OTLP below this address, of this tenant.
    ///
    /// # Errors
    /// As [`Collector::start`].
    pub fn start_before(address: &str, tenant: &str, processors: &str) -> Result<Self> {
        let exporter = format!(
            "{{ endpoint: '{address}', headers: {{ X-Scope-OrgID: {tenant} }}, sending_queue: {NO_QUEUE} }}"
        );
        Self::start_exporting(&exporter, processors)
    }

    fn start_with(queue: &str, processors: &str, backend: &Backend) -> Result<Self> {
        let address = format!("http://127.0.0.1:{}", backend.port());
        let exporter = format!("{{ endpoint: '{address}', compression: none, sending_queue: {queue} }}");
        Self::start_exporting(&exporter, processors)
    }

    fn start_exporting(exporter: &str, processors: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (grpc, http) = (tools::free_port()?, tools::free_port()?);
        let configuration = configuration((grpc, http), exporter, processors);
        std::fs::write(folder.path().join("config.yaml"), configuration)?;
        let process = spawn(&folder)?;
        Ok(Self { folder, process, grpc, http })
    }

    /// Kills it as a crash would.
    ///
    /// # Errors
    /// It does not end.
    pub fn crash(&mut self) -> Result<()> {
        self.process.signal("KILL")?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again, at the same ports.
    ///
    /// # Errors
    /// As [`Collector::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process = spawn(&self.folder)?;
        Ok(())
    }

    /// Loopback port for OTLP by gRPC.
    pub const fn grpc(&self) -> u16 {
        self.grpc
    }

    /// Loopback port for OTLP by HTTP.
    pub const fn http(&self) -> u16 {
        self.http
    }
}

fn spawn(folder: &TempDir) -> Result<Process> {
    let mut program = Command::new(tools::built("collector", "collector", "collector")?);
    program.arg("--config").arg(format!("file:{}", folder.path().join("config.yaml").display()));
    let mut process = Process::start("collector", &mut program)?;
    process.wait_for_line("that it is ready", |line| line.contains("Everything is ready").then_some(()))?;
    Ok(process)
}

fn configuration((grpc, http): (u16, u16), exporter: &str, processors: &str) -> String {
    let transforms = if processors.is_empty() { "" } else { "processors: [transform], " };
    format!(
        "{processors}
receivers:
  otlp:
    protocols:
      grpc: {{ endpoint: '127.0.0.1:{grpc}', max_recv_msg_size_mib: 64 }}
      http: {{ endpoint: '127.0.0.1:{http}' }}
exporters:
  otlp_http: {exporter}
service:
  telemetry: {{ metrics: {{ level: none }} }}
  pipelines:
    logs: {{ receivers: [otlp], {transforms}exporters: [otlp_http] }}
"
    )
}

/// The processors that the documentation gives those whose store keeps no names of events.
///
/// # Errors
/// The documentation has none.
pub fn documented_transform() -> Result<String> {
    let docs = std::fs::read_to_string(tools::repository().join("docs/forensics.md"))?;
    let blocks = docs.split("```yaml\n").filter_map(|block| block.split_once("```"));
    let documented = blocks.map(|(block, _)| block).find(|block| block.contains("log_statements"));
    documented.map(str::to_owned).context("the documented statement")
}

/// It acknowledges what its backend has.
const NO_QUEUE: &str = "{ enabled: false }";
