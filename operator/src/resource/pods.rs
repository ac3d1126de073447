//! The pods of a gateway: which of them run, what they say they run, and having them look at changed mounts.

use super::dereference::Dereferenced;
use crate::context::Context;
use crate::names::{MANAGER, MOUNTS};
use crds::v1alpha1::{GatewayReport, ProtectedResource};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use std::sync::Arc;

/// Whether a pod's gateway may have sessions: its process runs, or said something once and did not end yet.
pub fn is_running(pod: &Pod, reports: &[GatewayReport]) -> bool {
    match phase(pod) {
        "Running" => true,
        "Succeeded" | "Failed" => false,
        _ => report(pod, reports).is_some(),
    }
}

/// Whether it is on its way out.
pub fn is_leaving(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// What a pod says that it runs.
pub fn report<'a>(pod: &Pod, reports: &'a [GatewayReport]) -> Option<&'a GatewayReport> {
    reports.iter().find(|report| pod.metadata.name.as_deref() == Some(report.pod.as_str()))
}

/// What all gateways of a Resource said.
pub fn reports(resource: &ProtectedResource) -> &[GatewayReport] {
    resource.status.as_ref().map_or(&[], |status| status.gateways.as_slice())
}

/// What the gateways that run said.
pub fn running_reports(given: &Dereferenced) -> Vec<&GatewayReport> {
    let reports = reports(&given.resource);
    let running = given.pods.iter().filter(|pod| is_running(pod, reports));
    running.filter_map(|pod| report(pod, reports)).collect()
}

/// Reports of pods that are gone, by their place in the list.
pub fn orphans(resource: &ProtectedResource, pods: &[Arc<Pod>]) -> Vec<(usize, String)> {
    let gone = |report: &GatewayReport| !pods.iter().any(|pod| pod.name_any() == report.pod);
    let all = reports(resource).iter().enumerate();
    all.filter(|(_, report)| gone(report)).map(|(index, report)| (index, report.pod.clone())).collect()
}

/// Has the kubelet look at a pod's mounts at once, where something mounted changed since it last did.
///
/// A pod that vanished meanwhile is none to care for; another failure is for the next reconcile.
///
/// Cancel safe.
///
/// # Errors
/// The API server did not take it.
pub async fn nudge(context: &Context, pods: &[Arc<Pod>], mounts: &str) -> Result<(), kube::Error> {
    for pod in pods.iter().filter(|pod| !is_leaving(pod) && phase(pod) == "Running") {
        if pod.annotations().get(MOUNTS).is_some_and(|seen| seen == mounts) {
            continue;
        }
        let api = Api::<Pod>::namespaced(context.client.clone(), &pod.namespace().unwrap_or_default());
        let patch = json!({"metadata": {"annotations": {MOUNTS: mounts}}});
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        context.metrics.wrote("Pod", "annotate");
        match api.patch_metadata(&pod.name_any(), &params, &Patch::Merge(&patch)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
