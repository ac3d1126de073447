//! ApprovalRequests: decisions are counted, once, and only while they are bound to whoever made them.
//!
//! The operator writes the one terminal condition, `Approved`, `Denied` or `Expired`, and never takes it back. Before it
//! writes `Approved` it has seen the API server refuse a forged decision on this very request. A request that ended
//! long ago is deleted: the audit log is the record.

use crate::binding;
use crate::conditions::{Wanted, find, holds, merge};
use crate::context::Context;
use crate::names::MANAGER;
use crate::stores::{Chain, Guarded};
use crds::v1alpha1::ApprovalRequest;
use crds::v1alpha1::conditions::{APPROVED, APPROVER_BINDING, CONSUMED, DENIED, EXPIRED, WITHDRAWN};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::controller::Action;
use kube::{Api, Resource as _, ResourceExt as _};
use proxy_policy::approval::{Settled, settle};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How soon to try again while approvals are not bound.
const UNBOUND: Duration = Duration::from_secs(2);
/// Clocks are read in milliseconds; a request is looked at just after it expired.
const AFTER: Duration = Duration::from_millis(20);

/// Why a reconcile has to be tried again.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct RequestError {
    step: &'static str,
    #[source]
    source: kube::Error,
}

/// Brings one request to its end, when it has come.
///
/// Cancel safe.
///
/// # Errors
/// The API server did not take something; to be tried again.
pub async fn reconcile(
    object: Arc<Guarded<ApprovalRequest>>,
    context: Arc<Context>,
) -> Result<Action, RequestError> {
    // One that does not parse was not written by a gateway: nobody waits for it, and it permits nothing.
    let Ok(request) = &object.0 else { return Ok(Action::await_change()) };
    if request.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let now = Timestamp::now();
    let conditions = request.status.as_ref().map_or(&[][..], |status| status.conditions.as_slice());
    if let Some(ended) = ended(request, conditions, now) {
        return retain(&context, request, ended, now).await;
    }
    if holds(conditions, APPROVED) {
        return Ok(at(expires_at(request), now));
    }
    let wanted = match settle(&request.spec, &request.spec, now) {
        Settled::Pending { .. } => return Ok(at(expires_at(request), now)),
        Settled::Approved { approvers } => return approve(&context, request, &approvers, now).await,
        Settled::Denied { approver } => Wanted::yes(DENIED, "Denied", approver),
        Settled::Expired => Wanted::yes(EXPIRED, "NobodyDecided", "nobody decided in time"),
        Settled::Void { why } => Wanted::yes(DENIED, "Void", why),
    };
    conclude(&context, request, vec![wanted], now).await?;
    Ok(Action::await_change())
}

/// When a request ended; `None`: it did not. An approval that nobody took in time is over as well.
fn ended(request: &ApprovalRequest, conditions: &[Condition], now: Timestamp) -> Option<Timestamp> {
    let terminal =
        [CONSUMED, DENIED, EXPIRED, WITHDRAWN].into_iter().filter_map(|kind| find(conditions, kind));
    let at = terminal
        .filter(|condition| condition.status == "True")
        .map(|condition| condition.last_transition_time.0);
    at.min().or_else(|| {
        let expired = expires_at(request);
        (holds(conditions, APPROVED) && expired <= now).then_some(expired)
    })
}

/// A time that cannot be read has passed.
fn expires_at(request: &ApprovalRequest) -> Timestamp {
    request.spec.expires_at.parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

fn at(time: Timestamp, now: Timestamp) -> Action {
    Action::requeue(Duration::try_from(time.duration_since(now)).unwrap_or_default().saturating_add(AFTER))
}

async fn approve(
    context: &Context,
    request: &ApprovalRequest,
    approvers: &[String],
    now: Timestamp,
) -> Result<Action, RequestError> {
    let seen = context.binding.borrow().check(now);
    let bound = match seen {
        Ok(()) => binding::prove(&context.client, request).await,
        Err(unbound) => Err(unbound),
    };
    match bound {
        Ok(()) => {
            let wanted = vec![
                Wanted::yes(APPROVED, "EnoughApprovers", approvers.join("; ")),
                Wanted::yes(APPROVER_BINDING, "Proven", "a decision in another name was refused just before"),
            ];
            conclude(context, request, wanted, now).await?;
            Ok(Action::requeue(AFTER))
        }
        Err(unbound) => {
            let message = format!("its approval does not count: {}", unbound.why);
            conclude(context, request, vec![Wanted::no(APPROVER_BINDING, unbound.reason, message)], now)
                .await?;
            Ok(Action::requeue(UNBOUND))
        }
    }
}

/// Writes conditions, if the request is still what was looked at.
async fn conclude(
    context: &Context,
    request: &ApprovalRequest,
    wanted: Vec<Wanted>,
    now: Timestamp,
) -> Result<(), RequestError> {
    let before = request.status.clone().unwrap_or_default();
    let generation = request.metadata.generation;
    let conditions = merge(&before.conditions, wanted, generation, now);
    if conditions.iter().all(|condition| before.conditions.contains(condition)) {
        return Ok(());
    }
    let patch = json!({
        "apiVersion": ApprovalRequest::api_version(&()),
        "kind": ApprovalRequest::kind(&()),
        // the version that was looked at: a request that was withdrawn meanwhile is not approved
        "metadata": {"uid": request.metadata.uid, "resourceVersion": request.metadata.resource_version},
        "status": {"observedGeneration": generation, "conditions": conditions},
    });
    context.metrics.wrote("ApprovalRequest", "status");
    let params = PatchParams::apply(MANAGER).force();
    match api(context, request).patch_status(&request.name_any(), &params, &Patch::Apply(&patch)).await {
        Ok(_) => {
            context.announce(&request.object_ref(&()), &before.conditions, &conditions).await;
            Ok(())
        }
        // it changed: that change has it looked at again
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(()),
        Err(source) => Err(RequestError { step: "write status", source }),
    }
}

/// Deletes a request that ended long ago.
async fn retain(
    context: &Context,
    request: &ApprovalRequest,
    ended: Timestamp,
    now: Timestamp,
) -> Result<Action, RequestError> {
    let retention = SignedDuration::try_from(context.settings.retention).unwrap_or(SignedDuration::MAX);
    let until = ended.saturating_add(retention).unwrap_or(Timestamp::MAX);
    if now < until {
        return Ok(at(until, now));
    }
    let precondition = Preconditions { uid: request.uid(), ..Preconditions::default() };
    let params = DeleteParams { preconditions: Some(precondition), ..DeleteParams::background() };
    context.metrics.wrote("ApprovalRequest", "delete");
    match api(context, request).delete(&request.name_any(), &params).await {
        Ok(_) => Ok(Action::await_change()),
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {
            Ok(Action::await_change())
        }
        Err(source) => Err(RequestError { step: "delete an old request", source }),
    }
}

fn api(context: &Context, request: &ApprovalRequest) -> Api<ApprovalRequest> {
    Api::namespaced(context.client.clone(), &request.namespace().unwrap_or_default())
}

/// When to try again: somebody waits for it.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the controller wants")]
pub fn error_policy(
    object: Arc<Guarded<ApprovalRequest>>,
    error: &RequestError,
    context: Arc<Context>,
) -> Action {
    tracing::warn!(
        namespace = object.namespace(), name = object.name_any(), error = %Chain(error), "reconcile ApprovalRequest"
    );
    context.metrics.reconciled("ApprovalRequest", "api");
    Action::requeue(Duration::from_millis(500))
}
