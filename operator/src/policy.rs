//! Policies: whether they are valid, which Resources they bind, and whether every gateway of those enforces them.
//!
//! `Programmed` is a promise: every replica of every Resource that the Policy selects, those that are still draining
//! included, has reported that it enforces this generation of this very object.

use crate::conditions::{Wanted, merge};
use crate::context::Context;
use crate::names::MANAGER;
use crate::resource::dereference::pods;
use crate::resource::pods::{is_leaving, is_running, report, reports};
use crate::stores::{Chain, Guarded};
use crate::unreadable;
use crds::v1alpha1::conditions::{ACCEPTED, PROGRAMMED, READY, RECONCILING, RESOLVED_REFS, STALLED};
use crds::v1alpha1::{Policy, PolicyRule, ProtectedResource, TargetKind, TargetRef};
use crds::validation::Validate as _;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, Resource as _, ResourceExt as _};
use proxy_policy::{ResourceFacts, compile, lets_record_only};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Why a reconcile has to be tried again.
#[derive(Debug, thiserror::Error)]
#[error("write status")]
pub struct PolicyError(#[source] kube::Error);

/// Gives one Policy its status.
///
/// Cancel safe.
///
/// # Errors
/// The API server did not take the status; to be tried again.
pub async fn reconcile(object: Arc<Guarded<Policy>>, context: Arc<Context>) -> Result<Action, PolicyError> {
    let policy = match &object.0 {
        Ok(policy) => policy,
        Err(invalid) => {
            let told =
                unreadable::tell::<Policy>(&context, invalid, "gateways keep what they enforced before");
            told.await.map_err(PolicyError)?;
            return Ok(Action::await_change());
        }
    };
    if policy.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let targets = context.stores.targets_of(policy);
    let wanted = conditions(&context, policy, &targets);
    let before = policy.status.clone().unwrap_or_default();
    let conditions = merge(&before.conditions, wanted, policy.metadata.generation, Timestamp::now());
    if conditions == before.conditions && before.observed_generation == policy.metadata.generation {
        return Ok(Action::await_change());
    }
    let patch = json!({
        "apiVersion": Policy::api_version(&()),
        "kind": Policy::kind(&()),
        "metadata": {"uid": policy.metadata.uid},
        "status": {"observedGeneration": policy.metadata.generation, "conditions": conditions},
    });
    let api = Api::<Policy>::namespaced(context.client.clone(), &policy.namespace().unwrap_or_default());
    context.metrics.wrote("Policy", "status");
    let params = PatchParams::apply(MANAGER).force();
    match api.patch_status(&policy.name_any(), &params, &Patch::Apply(&patch)).await {
        Ok(_) => {}
        // deleted, or made again, meanwhile
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
            return Ok(Action::await_change());
        }
        Err(error) => return Err(PolicyError(error)),
    }
    context.announce(&policy.object_ref(&()), &before.conditions, &conditions).await;
    Ok(Action::await_change())
}

fn conditions(
    context: &Context,
    policy: &Policy,
    targets: &[Arc<Guarded<ProtectedResource>>],
) -> Vec<Wanted> {
    let problems = problems(policy, targets);
    if !problems.is_empty() {
        let message = format!("{}; gateways keep what they enforced before", problems.join("; "));
        return vec![
            Wanted::no(ACCEPTED, "Invalid", message.clone()),
            resolved(policy, targets),
            Wanted::no(PROGRAMMED, "Invalid", message.clone()),
            Wanted::no(READY, "Invalid", message.clone()),
            Wanted::yes(STALLED, "Invalid", message),
        ];
    }
    let resolved = resolved(policy, targets);
    let programmed = programmed(context, policy, targets);
    let ready = match (resolved.holds(), programmed.holds()) {
        (true, true) => Wanted::yes(READY, "Programmed", programmed.message.clone()),
        (false, _) => Wanted::no(READY, resolved.reason, resolved.message.clone()),
        (true, false) => Wanted::no(READY, programmed.reason, programmed.message.clone()),
    };
    let over_ssh = targets
        .iter()
        .any(|target| target.0.as_ref().is_ok_and(|resource| resource.spec.protocol() == "ssh"));
    let mut wanted = vec![accepted(policy, over_ssh), resolved];
    if !ready.holds() {
        let kind = if ready.reason == TARGET_NOT_FOUND { STALLED } else { RECONCILING };
        wanted.push(Wanted::yes(kind, ready.reason, ready.message.clone()));
    }
    wanted.extend([programmed, ready]);
    wanted
}

const TARGET_NOT_FOUND: &str = "TargetNotFound";

/// That the rules compile, and what they let in without deciding it. A rule that names no protocol is about shells only
/// where the Policy is about hosts.
fn accepted(policy: &Policy, over_ssh: bool) -> Wanted {
    let records_only = |rule: &&PolicyRule| (over_ssh || rule.ssh.is_some()) && lets_record_only(rule);
    let rules: Vec<&str> = policy.spec.rules.iter().filter(records_only).map(|rule| &*rule.name).collect();
    if rules.is_empty() {
        return Wanted::yes(ACCEPTED, "Accepted", "the rules compile");
    }
    let message = format!(
        "the rules compile; RecordOnly: a shell that may be opened under {} is recorded, and nothing that is typed in it is decided",
        rules.join(", ")
    );
    Wanted::yes(ACCEPTED, "Accepted", message)
}

/// What is wrong with a Policy: by the schema's rules, and by the gateway's compiler for each Resource it selects.
fn problems(policy: &Policy, targets: &[Arc<Guarded<ProtectedResource>>]) -> Vec<String> {
    let invalid = policy.validate();
    let mut found: BTreeSet<String> =
        invalid.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
    let facts: Vec<ResourceFacts> =
        targets.iter().filter_map(|target| target.0.as_ref().ok()).map(ResourceFacts::of).collect();
    if facts.is_empty() {
        let (facts, policy) = anywhere(policy);
        found.extend(compiled(&facts, &policy));
    }
    for facts in &facts {
        found.extend(compiled(facts, policy));
    }
    found.into_iter().collect()
}

fn compiled(facts: &ResourceFacts, policy: &Policy) -> Vec<String> {
    let problems = compile(facts, std::slice::from_ref(policy)).err().unwrap_or_default();
    problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

/// The Policy as if it selected a Resource of which nothing is known, so that one without targets is judged as well.
fn anywhere(policy: &Policy) -> (ResourceFacts, Policy) {
    const NAME: &str = "any";
    let mut policy = policy.clone();
    policy.spec.resource_selector = None;
    policy.spec.target_refs = vec![TargetRef { kind: TargetKind::Resource, name: NAME.to_owned() }];
    let facts = ResourceFacts {
        namespace: policy.namespace().unwrap_or_default(),
        name: NAME.to_owned(),
        protocol: "postgresql".to_owned(),
        ..ResourceFacts::default()
    };
    (facts, policy)
}

fn resolved(policy: &Policy, targets: &[Arc<Guarded<ProtectedResource>>]) -> Wanted {
    let is_there = |name: &str| targets.iter().any(|target| target.name_any() == name);
    let missing: Vec<&str> = policy
        .spec
        .target_refs
        .iter()
        .map(|target| target.name.as_str())
        .filter(|name| !is_there(name))
        .collect();
    if !missing.is_empty() {
        let message = format!(
            "there is no Resource {} in this namespace; the Policy binds nothing there",
            missing.join(", ")
        );
        return Wanted::no(RESOLVED_REFS, TARGET_NOT_FOUND, message);
    }
    if targets.is_empty() {
        let message = "spec.resourceSelector selects no Resource of this namespace; the Policy binds nothing";
        return Wanted::no(RESOLVED_REFS, TARGET_NOT_FOUND, message);
    }
    let mut names: Vec<String> = targets.iter().map(|target| target.name_any()).collect();
    names.sort();
    Wanted::yes(RESOLVED_REFS, "ResolvedRefs", format!("binds {}", names.join(", ")))
}

fn programmed(context: &Context, policy: &Policy, targets: &[Arc<Guarded<ProtectedResource>>]) -> Wanted {
    let mut count = (0_usize, 0_usize);
    let mut waiting = BTreeSet::new();
    for target in targets {
        let Ok(resource) = &target.0 else {
            waiting.insert(target.name_any());
            continue;
        };
        let (all, current) = enforcing(context, policy, resource);
        count = (count.0.saturating_add(all), count.1.saturating_add(current));
        if current < all {
            waiting.insert(target.name_any());
        }
    }
    let (all, current) = count;
    let generation = policy.metadata.generation.unwrap_or_default();
    let message = format!("{current} of {all} gateways enforce generation {generation}");
    if !waiting.is_empty() {
        let names: Vec<String> = waiting.into_iter().collect();
        return Wanted::no(
            PROGRAMMED,
            "PartiallyProgrammed",
            format!("{message}; waiting for {}", names.join(", ")),
        );
    }
    if targets.is_empty() {
        return Wanted::no(PROGRAMMED, TARGET_NOT_FOUND, "there is no gateway to enforce it");
    }
    if all == 0 {
        return Wanted::yes(PROGRAMMED, "NoReplicas", "no gateway runs that could enforce anything else");
    }
    Wanted::yes(PROGRAMMED, "Programmed", message)
}

/// How many gateways a Resource has or is to have, and how many of them enforce this generation.
fn enforcing(context: &Context, policy: &Policy, resource: &ProtectedResource) -> (usize, usize) {
    let namespace = resource.namespace().unwrap_or_default();
    let reports = reports(resource);
    let (mut all, mut current) = (0_usize, 0_usize);
    for pod in pods(&context.stores, &namespace, &resource.name_any()) {
        let said = report(&pod, reports);
        if !is_running(&pod, reports) || (said.is_none() && is_leaving(&pod)) {
            continue;
        }
        all = all.saturating_add(1);
        let enforces = said.is_some_and(|report| {
            report.policies.iter().any(|running| {
                Some(&running.uid) == policy.metadata.uid.as_ref()
                    && Some(running.generation) == policy.metadata.generation
            })
        });
        current = current.saturating_add(usize::from(enforces));
    }
    // a replica that does not run yet does not enforce anything yet
    (all.max(usize::try_from(resource.spec.gateway.replicas).unwrap_or_default()), current)
}

/// When to try again.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the controller wants")]
pub fn error_policy(object: Arc<Guarded<Policy>>, error: &PolicyError, context: Arc<Context>) -> Action {
    tracing::warn!(
        namespace = object.namespace(), name = object.name_any(), error = %Chain(error), "reconcile Policy"
    );
    context.metrics.reconciled("Policy", "api");
    Action::requeue(Duration::from_secs(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_in_which_nothing_is_decided_are_named() {
        let message = |rules: serde_json::Value, over_ssh: bool| {
            let spec = json!({"targetRefs": [{"name": "web"}], "rules": rules});
            accepted(&Policy::new("a", serde_json::from_value(spec).unwrap()), over_ssh).message
        };
        let shell = |name: &str, action: &str, shells: &[&str]| json!({"name": name, "action": action, "ssh": {"effects": ["Shell"], "shells": shells}});
        let files = |name: &str| json!({"name": name, "action": "Hold", "ssh": {"paths": ["/etc/*"]}});
        let everything = |name: &str, action: &str| json!({"name": name, "action": action});
        let decided = json!([
            shell("a", "Allow", &["LineDisciplined"]),
            shell("b", "Deny", &["RecordOnly"]),
            shell("c", "Allow", &[]),
            shell("d", "Hold", &["LineDisciplined"]),
            files("e"),
            {"name": "f", "action": "Hold", "ssh": {"effects": ["Execute"]}},
            {"name": "g", "action": "Hold", "kubernetes": {}}
        ]);
        assert_eq!(message(decided, true), "the rules compile");
        let recorded = json!([
            shell("a", "Allow", &["LineDisciplined", "RecordOnly"]),
            shell("b", "Hold", &["RecordOnly"]),
            shell("c", "Hold", &[]),
            {"name": "d", "action": "Hold", "ssh": {"hosts": ["web*"]}},
            everything("e", "Deny"),
            everything("f", "Allow")
        ]);
        let told = message(recorded.clone(), false);
        assert!(
            told.contains("RecordOnly: a shell that may be opened under a, b, c, d is recorded"),
            "{told}"
        );
        assert!(message(recorded, true).contains("under a, b, c, d, f is recorded"));
    }
}
