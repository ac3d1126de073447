//! What this gateway runs, as one entry of its Resource's `status.gateways`.
//!
//! Each gateway applies its own entry under its own field manager, so that none overwrites another's. Written in the
//! background: enforcement never waits for it.

use super::PATIENCE;
use super::assembly::Running;
use super::heartbeat::Standing;
use crds::v1alpha1::{GROUP, GatewayReport, UpstreamAccount, VERSION};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use proxy_core::gate::Chain;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Longest problem, in characters.
const MAX_PROBLEM: usize = 4096;
/// Most policies of a report.
const MAX_POLICIES: usize = 1024;
/// Longest name of a field manager, in bytes.
const MAX_MANAGER: usize = 128;
/// Pause after the first failure to write.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Takes reports.
#[derive(Debug)]
pub(super) struct Reporter {
    blank: GatewayReport,
    wanted: watch::Sender<Option<GatewayReport>>,
}

impl Reporter {
    /// A reporter, and what writes its reports for ever.
    pub(super) fn new(
        resources: Api<DynamicObject>,
        name: &str,
        pod: &str,
        instance: &str,
        standing: Arc<Standing>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (wanted, reports) = watch::channel(None);
        let blank =
            GatewayReport { pod: pod.to_owned(), instance: instance.to_owned(), ..GatewayReport::default() };
        let writer = Writer { resources, name: name.to_owned(), manager: manager("gateway", pod), standing };
        (Self { blank, wanted }, writer.write(reports))
    }

    /// Has this written, unless it is what was wanted already.
    pub(super) fn report(&self, running: Running, upstream_account: Option<UpstreamAccount>) {
        let Running { resource_generation, mut policies, problem, ssh_host_key } = running;
        policies.truncate(MAX_POLICIES);
        let problem = problem.map(|problem| problem.chars().take(MAX_PROBLEM).collect());
        let report = GatewayReport {
            resource_generation,
            policies,
            problem,
            ssh_host_key,
            upstream_account,
            ..self.blank.clone()
        };
        self.wanted.send_if_modified(|wanted| {
            let differs = wanted.as_ref() != Some(&report);
            *wanted = Some(report);
            differs
        });
    }
}

/// Name of a field manager of this pod.
pub(super) fn manager(role: &str, pod: &str) -> String {
    format!("portcullis-{role}-{pod}").chars().filter(char::is_ascii).take(MAX_MANAGER).collect()
}

struct Writer {
    resources: Api<DynamicObject>,
    name: String,
    manager: String,
    standing: Arc<Standing>,
}

impl Writer {
    async fn write(self, mut reports: watch::Receiver<Option<GatewayReport>>) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let report = reports.borrow_and_update().clone();
            let written = match &report {
                Some(report) => self.apply(report).await,
                None => Ok(()),
            };
            let again = match written {
                Ok(()) => {
                    pause = SHORTEST_PAUSE;
                    if report.is_some_and(|report| report.resource_generation > 0) {
                        self.standing.set_reported();
                    }
                    None
                }
                Err(error) => {
                    tracing::warn!(error, "cannot write the report: trying again");
                    let now = pause;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                    Some(now)
                }
            };
            let wait = async {
                match again {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                changed = reports.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn apply(&self, report: &GatewayReport) -> Result<(), String> {
        let object = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "Resource",
            "metadata": { "name": self.name },
            "status": { "gateways": [report] },
        });
        let (parameters, patch) = (PatchParams::apply(&self.manager).force(), Patch::Apply(object));
        let applied = self.resources.patch_status(&self.name, &parameters, &patch);
        match tokio::time::timeout(PATIENCE, applied).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Chain(&error).to_string()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }
}
