//! Many Resources and Policies, gateways scaled to zero: how long until all have their status, what the operator needs
//! for it, and what it writes once nothing changes.

use anyhow::{Context as _, Result};
use e2e::cluster::{ADMIN, ApiServer};
use e2e::operator::{self, Operator};
use e2e::rest::Rest;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Policies of each Resource.
const POLICIES: usize = 5;
/// Requests at a time.
const CONCURRENCY: usize = 16;
/// How long nothing may be written after everything is settled.
const IDLE: Duration = Duration::from_secs(15);
/// So long without a write, it has done what it had to.
const QUIET: Duration = Duration::from_secs(3);
/// After so long, it is given up.
const PATIENCE: Duration = Duration::from_mins(10);

/// One measurement.
#[derive(Debug)]
pub(crate) struct Scale {
    /// Resources; five times as many Policies.
    pub(crate) resources: usize,
    /// From the operator's start until every status is current.
    pub(crate) settled: Duration,
    /// Writes for it.
    pub(crate) writes: u64,
    /// Resident memory afterwards, in bytes.
    pub(crate) memory: u64,
    /// From the start of another operator until it compared everything.
    pub(crate) resync: Duration,
    /// Writes of that other operator.
    pub(crate) resync_writes: u64,
}

pub(crate) fn measure(resources: usize) -> Result<Scale> {
    let server = ApiServer::start()?;
    operator::install(&server)?;
    server.kubectl(&["create", "namespace", "scale"])?;
    let rest = Rest::new(server.kubeconfig(), ADMIN)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(create(&rest, resources))?;

    let began = Instant::now();
    let mut operator = Operator::start(server.kubeconfig(), &["--leader-elect=false"])?;
    let settled = last_write(&operator, began)?;
    runtime.block_on(all_ready(&rest, resources))?;
    let (writes, memory) = (operator.writes()?, memory(operator.process().id())?);
    std::thread::sleep(IDLE);
    anyhow::ensure!(operator.writes()? == writes, "the operator wrote while nothing changed");
    drop(operator);

    let began = Instant::now();
    let operator = Operator::start(server.kubeconfig(), &["--leader-elect=false"])?;
    let all = u64::try_from(resources.saturating_mul(POLICIES + 1))?;
    let resync = loop {
        let metrics = operator.metrics()?;
        let done: u64 =
            metrics.iter().filter(|(name, _)| name.contains("reconcile_total")).map(|(_, count)| count).sum();
        if done >= all {
            break began.elapsed();
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "only {done} of {all} reconciled after a restart");
        std::thread::sleep(Duration::from_millis(100));
    };
    operator.rest()?;
    let resync_writes = operator.writes()?;
    Ok(Scale { resources, settled, writes, memory, resync, resync_writes })
}

async fn create(rest: &Rest, resources: usize) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "stringData": {"username": "reader", "password": "not-a-secret"},
    });
    rest.create("/api/v1/namespaces/scale/secrets", &secret).await?;
    let objects = (0..resources).flat_map(|number| {
        let policies = (0..POLICIES).map(move |policy| ("policies", policy_of(number, policy)));
        std::iter::once(("resources", resource(number))).chain(policies)
    });
    let created = futures_util::stream::iter(objects)
        .map(|(plural, object)| async move {
            let path = format!("/apis/portcullis.dev/v1alpha1/namespaces/scale/{plural}");
            rest.create(&path, &object).await.map(drop)
        })
        .buffer_unordered(CONCURRENCY);
    let mut created = std::pin::pin!(created);
    while let Some(result) = created.next().await {
        result.context("create an object")?;
    }
    Ok(())
}

fn resource(number: usize) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Resource",
        "metadata": {"name": format!("r{number}")},
        "spec": {
            "postgresql": {"host": "db", "roles": [{"name": "readonly", "credentialsRef": {"name": "login"}}]},
            "authentication": {"issuers": [{"issuer": "https://idp.example.com", "audiences": ["a"]}]},
            "gateway": {"replicas": 0},
        },
    })
}

fn policy_of(resource: usize, policy: usize) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Policy",
        "metadata": {"name": format!("r{resource}-p{policy}")},
        "spec": {
            "targetRefs": [{"name": format!("r{resource}")}],
            "subjects": [{"group": "agents"}],
            "rules": [
                {"name": "reads", "action": "Allow", "postgresql": {"effects": ["Select"], "relations": ["public.*"]},
                 "when": "identity.username != 'nobody'"},
                {"name": "no-drops", "action": "Deny", "postgresql": {"effects": ["Drop", "Truncate"]}},
            ],
            "masking": [{"columns": ["public.users.email"], "with": {"type": "Redact"}}],
        },
    })
}

/// How long after `began` the operator wrote for the last time. The API server is not asked: what it answers would be
/// measured with it.
fn last_write(operator: &Operator, began: Instant) -> Result<Duration> {
    let mut last = (operator.writes()?, began.elapsed());
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let writes = operator.writes()?;
        if writes != last.0 {
            last = (writes, began.elapsed());
        }
        if writes > 0 && began.elapsed().saturating_sub(last.1) > QUIET {
            return Ok(last.1);
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "the operator does not come to rest");
    }
}

async fn all_ready(rest: &Rest, resources: usize) -> Result<()> {
    let ready = ready(rest, "resources").await? + ready(rest, "policies").await?;
    let all = resources.saturating_mul(POLICIES + 1);
    anyhow::ensure!(ready == all, "only {ready} of {all} are Ready");
    Ok(())
}

async fn ready(rest: &Rest, plural: &str) -> Result<usize> {
    let list = rest
        .get(&format!("/apis/portcullis.dev/v1alpha1/namespaces/scale/{plural}?resourceVersion=0"))
        .await?;
    let items = list.get("items").and_then(Value::as_array).context("a list has items")?;
    let is_ready = |item: &&Value| {
        let conditions = item.pointer("/status/conditions").and_then(Value::as_array);
        conditions.is_some_and(|conditions| {
            conditions.iter().any(|condition| {
                condition.get("type").and_then(Value::as_str) == Some("Ready")
                    && condition.get("status").and_then(Value::as_str) == Some("True")
            })
        })
    };
    Ok(items.iter().filter(is_ready).count())
}

/// Resident memory of a process, in bytes.
fn memory(process: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no VmRSS")?.parse()?;
    Ok(kib.saturating_mul(1024))
}
