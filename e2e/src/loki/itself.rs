//! Grafana Loki itself: one process, everything in a temporary folder.

use crate::loki::TENANT;
use crate::process::{Process, wait_until};
use crate::tools;
use anyhow::{Context as _, Result, ensure};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Set where it is to be built: that takes minutes, and gigabytes of Go's caches.
const WANTED: &str = "PORTCULLIS_LOKI";

/// A Loki of which the tenant is asked for, and that gives few entries at once. Ends with its value.
#[derive(Debug)]
pub struct Itself {
    folder: TempDir,
    process: Process,
    port: u16,
}

impl Itself {
    /// For tests: whether one is wanted; if not, a skip is printed.
    #[expect(clippy::print_stdout, reason = "the skip is for whoever reads the test's output")]
    pub fn is_wanted() -> bool {
        let wanted = std::env::var_os(WANTED).is_some();
        if !wanted {
            println!("SKIPPED: {WANTED}=1 builds Loki itself, which takes minutes and gigabytes");
        }
        wanted
    }

    /// Starts one on free loopback ports and waits until it is ready. The first time it is built.
    ///
    /// # Errors
    /// It cannot be built or does not start; with what was printed.
    pub fn start(max_entries: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = tools::free_port()?;
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, configuration(folder.path(), (port, tools::free_port()?), max_entries))?;
        let mut program = Command::new(tools::built("loki", "clients/loki", "loki")?);
        let process = Process::start("loki", program.arg(format!("-config.file={}", file.display())))?;
        let this = Self { folder, process, port };
        wait_until("Loki to be ready", || this.curl(&["ready"]).ok()).with_context(|| this.process.log())?;
        Ok(this)
    }

    /// Where it takes OTLP.
    pub fn otlp(&self) -> String {
        format!("http://127.0.0.1:{}/logs/otlp", self.port)
    }

    /// Its address for `--from`, with these parameters.
    pub fn url(&self, parameters: &str) -> String {
        format!("loki://127.0.0.1:{}/logs{parameters}", self.port)
    }

    /// Brings log records to it, of this tenant, as a Collector's exporter does.
    ///
    /// # Errors
    /// It does not take them; with what it says.
    pub fn push(&self, tenant: &str, log_records: Vec<LogRecord>) -> Result<()> {
        deliver(&format!("{}/v1/logs", self.otlp()), tenant, log_records, self.folder.path())
    }

    /// Brings log records to a Collector before it, of the tenant [`TENANT`].
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_by(&self, collector: u16, log_records: Vec<LogRecord>) -> Result<()> {
        deliver(&format!("http://127.0.0.1:{collector}/v1/logs"), TENANT, log_records, self.folder.path())
    }

    fn curl(&self, arguments: &[&str]) -> Result<()> {
        let mut curl = Command::new(tools::need("curl")?);
        curl.args(["-sS", "--fail-with-body"]);
        for path in arguments {
            curl.arg(format!("http://127.0.0.1:{}/logs/{path}", self.port));
        }
        let done = curl.output().context("run curl")?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        Ok(())
    }
}

fn deliver(url: &str, tenant: &str, log_records: Vec<LogRecord>, folder: &Path) -> Result<()> {
    let name = AnyValue { value: Some(any_value::Value::StringValue("portcullis".to_owned())) };
    let name = KeyValue { key: "service.name".to_owned(), value: Some(name), ..KeyValue::default() };
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource = Some(Resource { attributes: vec![name], ..Resource::default() });
    let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
    let body = folder.join("request");
    std::fs::write(&body, ExportLogsServiceRequest { resource_logs }.encode_to_vec())?;
    let done = Command::new(tools::need("curl")?)
        .args(["-sS", "--fail-with-body", "-H", "Content-Type: application/x-protobuf"])
        .args(["-H", &format!("X-Scope-OrgID: {tenant}")])
        .args(["--data-binary", &format!("@{}", body.display()), url])
        .output()
        .context("run curl")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    Ok(())
}

fn configuration(folder: &Path, (http, grpc): (u16, u16), max_entries: usize) -> String {
    let data = folder.join("data");
    let data = data.display();
    format!(
        "auth_enabled: true
analytics: {{ reporting_enabled: false }}
server:
  http_listen_address: 127.0.0.1
  http_listen_port: {http}
  http_path_prefix: /logs
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: {grpc}
common:
  instance_addr: 127.0.0.1
  path_prefix: {data}
  storage: {{ filesystem: {{ chunks_directory: {data}/chunks, rules_directory: {data}/rules }} }}
  replication_factor: 1
  ring: {{ kvstore: {{ store: inmemory }} }}
ingester: {{ lifecycler: {{ min_ready_duration: 0s, final_sleep: 0s }} }}
limits_config: {{ max_entries_limit_per_query: {max_entries}, max_structured_metadata_size: 128KB }}
schema_config:
  configs:
    - from: 2020-10-24
      store: tsdb
      object_store: filesystem
      schema: v13
      index: {{ prefix: index_, period: 24h }}
"
    )
}
