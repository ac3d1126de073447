//! Step 5: what became of it. One patch, and none if nothing changed.

mod impersonation;

use super::apply::ApplyError;
use super::dereference::{Dereferenced, Mention};
use super::pods::{self, is_leaving, is_running, report};
use super::rights::Rights;
use super::validate::{Invalid, ValidatedResource};
use crate::conditions::{Wanted, merge};
use crate::context::Context;
use crate::names::MANAGER;
use crate::stores::Chain;
use crds::v1alpha1::conditions::{
    ACCEPTED, APPROVER_BINDING, PROGRAMMED, READY, RECONCILING, RESOLVED_REFS, STALLED,
};
use crds::v1alpha1::{GatewayReport, PolicyAttachment, ProtectedResource};
use impersonation::NOT_GRANTED;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What the earlier steps came to.
#[derive(Debug)]
pub enum Outcome {
    /// It cannot be built.
    Invalid(Invalid),
    /// Building or applying failed.
    Failed(ApplyError),
    /// Everything is applied.
    Applied(Box<Applied>),
}

/// What is there once everything is applied.
#[derive(Debug)]
pub struct Applied {
    /// What was wanted.
    pub validated: ValidatedResource,
    /// The Deployment.
    pub deployment: DynamicObject,
    /// Whether the gateway may act as its agents.
    pub rights: Rights,
    /// When to look again.
    pub again: Duration,
}

/// What the operator says of a Resource.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    protocol: Option<String>,
    endpoint: Option<String>,
    policies: Vec<PolicyAttachment>,
    conditions: Vec<Condition>,
}

/// Writes the status, and Events for what changed.
///
/// Cancel safe.
///
/// # Errors
/// The API server did not take it.
pub async fn update(
    context: &Context,
    given: &Dereferenced,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let resource = &*given.resource;
    let before = resource.status.clone().unwrap_or_default();
    let wanted = conditions(context, given, outcome, now);
    let applied = match outcome {
        Outcome::Applied(applied) => Some(&applied.validated),
        Outcome::Invalid(_) | Outcome::Failed(_) => None,
    };
    let said = Said {
        protocol: applied.map(|applied| applied.protocol.to_owned()).or_else(|| before.protocol.clone()),
        endpoint: applied.map(ValidatedResource::endpoint).or_else(|| before.endpoint.clone()),
        policies: in_force(given),
        conditions: merge(&before.conditions, wanted, resource.metadata.generation, now),
    };
    let known = Said {
        protocol: before.protocol,
        endpoint: before.endpoint,
        policies: before.policies,
        conditions: before.conditions,
    };
    forget_orphans(context, given).await?;
    if said == known && before.observed_generation == resource.metadata.generation {
        return Ok(());
    }
    let patch = json!({
        "apiVersion": ProtectedResource::api_version(&()),
        "kind": ProtectedResource::kind(&()),
        "metadata": {"uid": resource.metadata.uid},
        "status": {
            "observedGeneration": resource.metadata.generation,
            "protocol": said.protocol,
            "endpoint": said.endpoint,
            "policies": said.policies,
            "conditions": said.conditions,
        },
    });
    let params = PatchParams::apply(MANAGER).force();
    context.metrics.wrote("Resource", "status");
    api(context, resource).patch_status(&resource.name_any(), &params, &Patch::Apply(&patch)).await?;
    context.announce(&resource.object_ref(&()), &known.conditions, &said.conditions).await;
    Ok(())
}

fn api(context: &Context, resource: &ProtectedResource) -> Api<ProtectedResource> {
    Api::namespaced(context.client.clone(), &resource.namespace().unwrap_or_default())
}

/// Removes what pods said that are gone. Whoever reads the list meanwhile is not disturbed: each removal is for the
/// entry that was seen, or fails.
async fn forget_orphans(context: &Context, given: &Dereferenced) -> Result<(), kube::Error> {
    let resource = &*given.resource;
    let orphans = pods::orphans(resource, &given.pods);
    if orphans.is_empty() {
        return Ok(());
    }
    // from the end, so that places before stay what they are
    let steps: Vec<Value> = orphans
        .iter()
        .rev()
        .flat_map(|(index, pod)| {
            let path = format!("/status/gateways/{index}");
            [
                json!({"op": "test", "path": format!("{path}/pod"), "value": pod}),
                json!({"op": "remove", "path": path}),
            ]
        })
        .collect();
    let steps = serde_json::from_value(Value::Array(steps)).map_err(kube::Error::SerdeError)?;
    context.metrics.wrote("Resource", "status");
    let patch = Patch::Json::<()>(steps);
    match api(context, resource).patch_status(&resource.name_any(), &PatchParams::default(), &patch).await {
        // somebody else wrote: the next reconcile sees it
        Err(kube::Error::Api(status)) if status.code == 422 || status.code == 409 || status.code == 404 => {
            Ok(())
        }
        other => other.map(drop),
    }
}

/// Policies that every gateway enforces, with the generation that all of them have.
fn in_force(given: &Dereferenced) -> Vec<PolicyAttachment> {
    let reports = pods::running_reports(given);
    let mut attachments = Vec::new();
    for policy in &given.policies {
        let (name, uid) = (policy.name_any(), policy.meta().uid.clone().unwrap_or_default());
        let generation = |report: &&GatewayReport| {
            let running = report.policies.iter().find(|running| running.uid == uid);
            running.map(|running| running.generation)
        };
        let generations: Option<Vec<i64>> = reports.iter().map(generation).collect();
        let least = generations.and_then(|generations| generations.into_iter().min());
        if let Some(observed_generation) = least {
            attachments.push(PolicyAttachment { name, observed_generation });
        }
    }
    attachments.sort_by(|left, right| left.name.cmp(&right.name));
    attachments
}

fn conditions(context: &Context, given: &Dereferenced, outcome: &Outcome, now: Timestamp) -> Vec<Wanted> {
    let mut wanted = match outcome {
        Outcome::Invalid(invalid) => not_built(invalid),
        Outcome::Failed(error) => failed(error),
        Outcome::Applied(all) => {
            let impersonation = impersonation::condition(&all.validated, &all.rights, &context.settings);
            let mut wanted = applied(given, all, impersonation.as_ref());
            wanted.extend(impersonation);
            wanted
        }
    };
    wanted.push(match context.binding.borrow().check(now) {
        Ok(()) => Wanted::yes(APPROVER_BINDING, "Proven", "decisions in another name are refused"),
        Err(unbound) => Wanted::no(APPROVER_BINDING, unbound.reason, unbound.why),
    });
    wanted
}

const LAST_GOOD: &str = "what runs is left as it is";

fn not_built(invalid: &Invalid) -> Vec<Wanted> {
    match invalid {
        Invalid::Spec(problems) => {
            let message = format!("{}; {LAST_GOOD}", problems.join("; "));
            vec![
                Wanted::no(ACCEPTED, "Invalid", message.clone()),
                Wanted::unknown(RESOLVED_REFS, "Invalid", "not looked at while the spec is invalid"),
                Wanted::no(PROGRAMMED, "Invalid", message.clone()),
                Wanted::no(READY, "Invalid", message.clone()),
                Wanted::yes(STALLED, "Invalid", message),
            ]
        }
        Invalid::References(missing) => {
            let each = |mention: &Mention| format!("{}: there is no {}", mention.path, mention.describe());
            let list: Vec<String> = missing.iter().map(each).collect();
            let message = format!("{}; create it in the Resource's namespace; {LAST_GOOD}", list.join("; "));
            vec![
                Wanted::yes(ACCEPTED, "Accepted", "the spec is valid"),
                Wanted::no(RESOLVED_REFS, "RefNotFound", message.clone()),
                Wanted::no(PROGRAMMED, "RefNotFound", message.clone()),
                Wanted::no(READY, "RefNotFound", message.clone()),
                Wanted::yes(STALLED, "RefNotFound", message),
            ]
        }
    }
}

fn failed(error: &ApplyError) -> Vec<Wanted> {
    let message = format!("{}; {LAST_GOOD}", Chain(error));
    let (reason, stalled) = match error {
        ApplyError::Taken { .. } => ("NameTaken", true),
        ApplyError::NotHeld { .. } => ("ImpersonationNotAllowed", true),
        ApplyError::Api { .. }
        | ApplyError::Certificate(_)
        | ApplyError::SshKey(_)
        | ApplyError::Built(_)
        | ApplyError::NoDeployment
        | ApplyError::Types(_) => ("ApplyFailed", false),
    };
    let mut wanted = vec![
        Wanted::yes(ACCEPTED, "Accepted", "the spec is valid"),
        Wanted::yes(RESOLVED_REFS, "ResolvedRefs", "everything that the spec names is there"),
        Wanted::no(PROGRAMMED, reason, message.clone()),
        Wanted::no(READY, reason, message.clone()),
    ];
    wanted.push(if stalled {
        Wanted::yes(STALLED, reason, message)
    } else {
        Wanted::yes(RECONCILING, reason, message)
    });
    wanted
}

fn applied(given: &Dereferenced, all: &Applied, impersonation: Option<&Wanted>) -> Vec<Wanted> {
    let Applied { validated, deployment, rights, again: _ } = all;
    let mut wanted = vec![
        Wanted::yes(ACCEPTED, "Accepted", "the spec is valid"),
        Wanted::yes(RESOLVED_REFS, "ResolvedRefs", "everything that the spec names is there"),
    ];
    let programmed = programmed(given, validated);
    let available = deployment.data.pointer("/status/availableReplicas").and_then(Value::as_i64).unwrap_or(0);
    let refused = impersonation.filter(|_| matches!(rights, Rights::Missing(_)) && validated.replicas > 0);
    let ready = if let Some(refused) = refused {
        // however well it runs: the API server refuses what it is asked
        Wanted::no(READY, refused.reason, refused.message.clone())
    } else if !programmed.holds() {
        Wanted::no(READY, programmed.reason, programmed.message.clone())
    } else if validated.replicas == 0 {
        Wanted::yes(READY, "ScaledToZero", "spec.gateway.replicas is 0: nothing runs, and nothing should")
    } else if available < 1 {
        Wanted::no(READY, "Unavailable", "no gateway pod is ready yet")
    } else {
        Wanted::yes(READY, "Serving", format!("{available} of {} gateway pods are ready", validated.replicas))
    };
    if !ready.holds() {
        // a gateway that refuses its configuration, or has no rights, waits for somebody; else it comes by itself
        let kind = if [REFUSED, NOT_GRANTED].contains(&ready.reason) { STALLED } else { RECONCILING };
        wanted.push(Wanted::yes(kind, ready.reason, ready.message.clone()));
    }
    wanted.extend([programmed, ready]);
    wanted
}

const REFUSED: &str = "GatewayRefuses";

fn programmed(given: &Dereferenced, validated: &ValidatedResource) -> Wanted {
    let resource = &*given.resource;
    let reports = pods::reports(resource);
    let generation = resource.metadata.generation.unwrap_or_default();
    let staying: Vec<&Arc<Pod>> =
        given.pods.iter().filter(|pod| !is_leaving(pod) && is_running(pod, reports)).collect();
    for pod in &staying {
        let Some(report) = report(pod, reports) else { continue };
        // one that runs this generation has a problem with a Policy, whose own status says so
        if report.resource_generation == generation {
            continue;
        }
        if let Some(problem) = report.problem.as_ref().filter(|problem| !problem.is_empty()) {
            return Wanted::no(PROGRAMMED, REFUSED, format!("pod {}: {problem}", report.pod));
        }
    }
    let current = staying
        .iter()
        .filter(|pod| report(pod, reports).is_some_and(|report| report.resource_generation == generation));
    let (current, wanted) = (current.count(), usize::try_from(validated.replicas).unwrap_or_default());
    if wanted == 0 && staying.is_empty() {
        return Wanted::yes(PROGRAMMED, "NoReplicas", "there is no gateway that could run anything else");
    }
    let message = format!("{current} of {wanted} gateways run generation {generation}");
    if current >= wanted && current == staying.len() {
        Wanted::yes(PROGRAMMED, "Programmed", message)
    } else {
        Wanted::no(PROGRAMMED, "Pending", message)
    }
}
