//! The end of a Resource: its gateways are told to stop, drain their sessions and seal their logs; only then does it go,
//! and everything that it owns after it. Roles and Policies are there until the last session is over.

use super::ResourceError;
use super::apply::is_owned;
use super::dereference::pods;
use crate::context::Context;
use crate::names::{self, DRAIN_FINALIZER, MANAGER};
use crate::stores::cluster_kinds;
use crds::v1alpha1::ProtectedResource;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use serde_json::json;
use std::time::Duration;

/// Beyond a pod's own time to end, before its node is given up.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

/// Puts the finalizer on a Resource that has none.
///
/// Cancel safe.
///
/// # Errors
/// The API server did not take it.
pub(super) async fn protect(context: &Context, resource: &ProtectedResource) -> Result<(), ResourceError> {
    if resource.finalizers().iter().any(|finalizer| finalizer == DRAIN_FINALIZER) {
        return Ok(());
    }
    let mut finalizers = resource.finalizers().to_vec();
    finalizers.push(DRAIN_FINALIZER.to_owned());
    finalize(context, resource, &finalizers).await
}

/// One step towards the end.
///
/// Cancel safe: the next reconcile goes on.
///
/// # Errors
/// The API server did not take something.
pub(super) async fn drain(
    context: &Context,
    resource: &ProtectedResource,
    now: Timestamp,
) -> Result<Action, ResourceError> {
    if !resource.finalizers().iter().any(|finalizer| finalizer == DRAIN_FINALIZER) {
        return Ok(Action::await_change());
    }
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let deployments = Api::<Deployment>::namespaced(context.client.clone(), &namespace);
    let gateway = names::gateway(&name);
    let stop = |source| ResourceError::Api { step: "stop the gateway", source };
    if let Some(deployment) = deployments.get_opt(&gateway).await.map_err(stop)? {
        let ours =
            deployment.owner_references().iter().any(|owner| Some(&owner.uid) == resource.uid().as_ref());
        if ours && deployment.metadata.deletion_timestamp.is_none() {
            context.metrics.wrote("Deployment", "delete");
            match deployments.delete(&gateway, &DeleteParams::foreground()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(source) => return Err(stop(source)),
            }
        }
        if ours && !is_overdue(resource, now) {
            return Ok(Action::requeue(Duration::from_secs(1)));
        }
    }
    if !pods(&context.stores, &namespace, &name).is_empty() && !is_overdue(resource, now) {
        return Ok(Action::requeue(Duration::from_secs(1)));
    }
    withdraw(context, resource).await?;
    context.answers.forget(&namespace, &name);
    tracing::info!(namespace, name, overdue = is_overdue(resource, now), "gateway drained");
    let others: Vec<String> =
        resource.finalizers().iter().filter(|finalizer| *finalizer != DRAIN_FINALIZER).cloned().collect();
    finalize(context, resource, &others).await?;
    Ok(Action::await_change())
}

/// Takes back what the gateway was let do in the whole cluster: no owner reference does it.
async fn withdraw(context: &Context, resource: &ProtectedResource) -> Result<(), ResourceError> {
    let failed = |source| ResourceError::Api { step: "take the right to impersonate back", source };
    let name = names::impersonator(&resource.namespace().unwrap_or_default(), &resource.name_any());
    // the binding first: what is left of a half-done step grants nothing
    for kind in cluster_kinds().into_iter().rev() {
        let Some(store) = context.stores.owned.get(&kind.kind) else { continue };
        let is_known = store.get(&ObjectRef::new_with(&name, kind.clone())).is_some();
        // what was made a moment ago may not be in the cache yet
        if !is_known && resource.spec.kubernetes.is_none() {
            continue;
        }
        let api = Api::<DynamicObject>::all_with(context.client.clone(), &kind);
        let found = api.get_opt(&name).await.map_err(failed)?;
        let Some(found) = found.filter(|found| is_owned(found, &resource.uid().unwrap_or_default())) else {
            continue;
        };
        let precondition = Preconditions { uid: found.uid(), ..Preconditions::default() };
        let params = DeleteParams { preconditions: Some(precondition), ..DeleteParams::background() };
        context.metrics.wrote(&kind.kind, "delete");
        match api.delete(&name, &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(())
}

fn is_overdue(resource: &ProtectedResource, now: Timestamp) -> bool {
    let drain = SignedDuration::from_secs(resource.spec.gateway.drain_seconds.into());
    let since = resource.metadata.deletion_timestamp.as_ref().map(|at| now.duration_since(at.0));
    since.is_some_and(|since| since > drain.saturating_add(PATIENCE))
}

async fn finalize(
    context: &Context,
    resource: &ProtectedResource,
    finalizers: &[String],
) -> Result<(), ResourceError> {
    let api = Api::<ProtectedResource>::namespaced(
        context.client.clone(),
        &resource.namespace().unwrap_or_default(),
    );
    // with the version that was seen: somebody else's finalizer is not lost
    let patch =
        json!({"metadata": {"resourceVersion": resource.resource_version(), "finalizers": finalizers}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    context.metrics.wrote("Resource", "finalizer");
    match api.patch_metadata(&resource.name_any(), &params, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(ResourceError::Api { step: "set the finalizer", source }),
    }
}
