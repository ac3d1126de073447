//! The operator, as a process of its own, against any API server.

use crate::cluster::ApiServer;
use crate::process::{Process, wait_until};
use crate::tools;
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A running `portcullis-operator`. Dropping it kills it.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    admin: String,
}

/// Its namespace.
pub const NAMESPACE: &str = "portcullis-system";

/// Puts the definitions, the admission policy and the operator's namespace into a cluster. Without the chart the operator
/// is the administrator: what the chart's roles allow is not seen here.
///
/// # Errors
/// The API server does not take something, or does not enforce the admission policy in time.
pub fn install(server: &ApiServer) -> Result<()> {
    install_for(server, crate::cluster::ADMIN)
}

/// As [`install`], for an operator of another name.
///
/// # Errors
/// As [`install`].
pub fn install_for(server: &ApiServer, operator: &str) -> Result<()> {
    let definitions = crds::definitions::all().map(|definition| crds::definitions::to_yaml(&definition));
    let definitions = definitions.into_iter().collect::<Result<Vec<_>, _>>()?.join("---\n");
    server.apply(&definitions)?;
    // kubectl fails at once for one that has no conditions yet
    wait_until("the definitions are established", || {
        server.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]).ok()
    })?;
    server.kubectl(&["create", "namespace", NAMESPACE])?;
    let policy = tools::repository().join("charts/portcullis/files/approver-binding.yaml");
    let policy = std::fs::read_to_string(policy).context("read the admission policy")?;
    server.apply(&policy.replace("OPERATOR_USERNAME", operator))?;
    Ok(())
}

impl Operator {
    /// Starts it and waits until its caches are filled.
    ///
    /// # Errors
    /// It does not start; with its log.
    pub fn start(kubeconfig: &Path, arguments: &[&str]) -> Result<Self> {
        let mut operator = Self::launch(kubeconfig, arguments)?;
        operator.process.wait_for_line("that its caches are filled", |line| {
            line.contains("caches filled").then_some(())
        })?;
        Ok(operator)
    }

    /// Starts it and waits until it answers at its admin endpoint: it may still wait for the lease.
    ///
    /// # Errors
    /// It does not start; with its log.
    pub fn launch(kubeconfig: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(tools::own("portcullis-operator")?);
        command.env("KUBECONFIG", kubeconfig).env("RUST_LOG", "info");
        command.args(["--namespace", NAMESPACE, "--proxy-image", "portcullis-proxy:e2e"]);
        command.args(["--admin-listen", "127.0.0.1:0", "--log-format", "json"]).args(arguments);
        let mut process = Process::start("portcullis-operator", &mut command)?;
        let admin = process.wait_for_line("its admin address", |line| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            event.get("address")?.as_str().map(ToOwned::to_owned)
        })?;
        Ok(Self { process, admin })
    }

    /// The process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its counters by name and labels, as its metrics endpoint has them.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metrics(&self) -> Result<BTreeMap<String, u64>> {
        let output = Command::new(tools::need("curl")?)
            .args(["-sSf", &format!("http://{}/metrics", self.admin)])
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let line = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter(|text| !text.starts_with('#')).filter_map(line).collect())
    }

    /// How often it wrote to the API server.
    ///
    /// # Errors
    /// It does not answer.
    pub fn writes(&self) -> Result<u64> {
        let metrics = self.metrics()?;
        Ok(metrics.iter().filter(|(name, _)| name.contains("writes_total")).map(|(_, value)| value).sum())
    }

    /// Waits until it has done everything that it had to: it wrote nothing for a while.
    ///
    /// # Errors
    /// It does not come to rest.
    pub fn rest(&self) -> Result<()> {
        let mut before = (u64::MAX, std::time::Instant::now());
        wait_until("the operator to rest", || {
            let writes = self.writes().ok()?;
            if writes != before.0 {
                before = (writes, std::time::Instant::now());
            }
            (before.1.elapsed() > QUIET).then_some(())
        })
    }

    /// Ends it by SIGTERM, as a rollout would, and gives the exit code.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn stop(mut self) -> Result<Option<i32>> {
        self.process.signal("TERM")?;
        self.process.wait()
    }
}

/// Longer than any of its pauses between two steps of one reconcile.
const QUIET: std::time::Duration = std::time::Duration::from_millis(1200);
