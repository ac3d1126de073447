//! A real Grafana Loki, built from its Go module, which keeps what is sent to it over OTLP.

use crate::process::{Process, wait_until};
use crate::tools;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The tenant that the records are of.
pub const TENANT: &str = "forensics";

/// Most entries of one answer (`max_entries_limit_per_query`).
pub const MAX_ENTRIES: usize = 1_200;

/// A server. Ends with its value, and what it keeps with it.
#[derive(Debug)]
pub struct Loki {
    _process: Process,
    _folder: TempDir,
    port: u16,
}

impl Loki {
    /// For tests: whether it can be built; if not, a skip is printed.
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
    pub fn start() -> Result<Self> {
        let program = tools::built("loki", "clients/loki", "loki")?;
        let folder = tempfile::tempdir()?;
        let (http, grpc) = (tools::free_port()?, tools::free_port()?);
        let data = folder.path().display().to_string();
        let configuration = CONFIGURATION
            .replace("HTTP_PORT", &http.to_string())
            .replace("GRPC_PORT", &grpc.to_string())
            .replace("MAX_ENTRIES", &MAX_ENTRIES.to_string())
            .replace("DATA", &data);
        let file = folder.path().join("loki.yaml");
        std::fs::write(&file, configuration)?;
        let mut command = Command::new(program);
        let process = Process::start("loki", command.arg("-config.file").arg(&file).current_dir(&folder))?;
        let loki = Self { _process: process, _folder: folder, port: http };
        wait_until("Loki is ready", || loki.curl(&["/ready"], "").ok())?;
        Ok(loki)
    }

    /// Sends a request of OTLP (`ExportLogsServiceRequest` in JSON), as the Collector's `otlphttp` exporter does.
    ///
    /// # Errors
    /// It is refused, in Loki's words.
    pub fn export(&self, request: &Value) -> Result<()> {
        self.curl(
            &["/otlp/v1/logs", "-H", "Content-Type: application/json", "--data-binary", "@-"],
            &request.to_string(),
        )
    }

    /// Its address for `--from`, with these parameters.
    pub fn url(&self, parameters: &str) -> String {
        format!("loki://127.0.0.1:{}{parameters}", self.port)
    }

    fn curl(&self, arguments: &[&str], input: &str) -> Result<()> {
        let (path, more) = arguments.split_first().context("no path")?;
        let mut child = Command::new("curl")
            .args(["-sS", "--fail-with-body", "-H", &format!("X-Scope-OrgID: {TENANT}")])
            .args(more)
            .arg(format!("http://127.0.0.1:{}{path}", self.port))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("run curl")?;
        child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        let done = child.wait_with_output()?;
        let said = [done.stdout, done.stderr].concat();
        ensure!(done.status.success(), "Loki: {}", String::from_utf8_lossy(&said));
        Ok(())
    }
}

/// What `docs/forensics.md` says that Loki needs, and the least of everything else.
const CONFIGURATION: &str = "
auth_enabled: true
analytics: {reporting_enabled: false}
server: {http_listen_address: 127.0.0.1, http_listen_port: HTTP_PORT, grpc_listen_address: 127.0.0.1, \
     grpc_listen_port: GRPC_PORT, log_level: warn}
common:
  instance_addr: 127.0.0.1
  path_prefix: DATA
  replication_factor: 1
  ring: {kvstore: {store: inmemory}}
  storage: {filesystem: {chunks_directory: DATA/chunks, rules_directory: DATA/rules}}
schema_config:
  configs:
  - {from: 2020-10-24, store: tsdb, object_store: filesystem, schema: v13, index: {prefix: index_, period: 24h}}
limits_config:
  max_structured_metadata_size: 128KB
  max_entries_limit_per_query: MAX_ENTRIES
";
