//! The Kubernetes API: the gateway beside the API server directly and beside `kubectl proxy`.
//!
//! The clients speak to each as its users do: HTTP/2 over TLS to the API server and the gateway, HTTP/1.1 in the clear
//! to `kubectl proxy`.

mod exec;
mod requests;
mod watch;
mod ways;

use super::measure::Row;
use super::scene::Scene;
use anyhow::Result;
use e2e::cluster::{ApiServer, Cluster};
use ways::Ways;

/// Small requests, long lists and watches of an API server.
pub(crate) fn measure(_: &Scene, seconds: u32) -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let server = ApiServer::start_with_controllers()?;
    let ways = Ways::start(server.client())?;
    ways.fill()?;
    let mut rows = runtime.block_on(requests::measure(&ways, seconds))?;
    rows.extend(runtime.block_on(watch::measure(&ways))?);
    Ok(rows)
}

/// Bytes into a pod and out of it, where a node is possible.
pub(crate) fn exec(_: &Scene, _: u32) -> Result<Vec<Row>> {
    if !Cluster::is_possible() {
        return Ok(Vec::new());
    }
    let cluster = Cluster::shared()?;
    exec::measure(cluster, &Ways::start(cluster.client())?)
}

/// The gateway's figures beside those of each peer.
fn compared(name: &str, unit: &'static str, ours: f64, peers: [(&'static str, f64); 2]) -> [Row; 2] {
    peers.map(|peer| Row::new(name, unit, ours, peer))
}
