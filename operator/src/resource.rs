//! Resources. The driver: five steps, in this order.
//!
//! 1. [`dereference`]: everything it depends on, from the caches
//! 2. [`validate`]: pure; an invalid spec leaves what runs as it is
//! 3. [`build`](mod@build): pure
//! 4. [`apply`]: server-side apply of what differs; what is no longer wanted goes
//! 5. [`status`]: conditions, endpoint, policies in force
//!
//! One that is deleted is drained first: [`drain`].

pub mod apply;
pub mod build;
pub mod certificate;
pub mod dereference;
mod drain;
pub mod pods;
pub mod status;
pub mod validate;

use crate::conditions::{Wanted, merge};
use crate::context::Context;
use crate::names::{self, MANAGER};
use crate::stores::{Chain, Guarded};
use apply::ApplyError;
use crds::v1alpha1::ProtectedResource;
use crds::v1alpha1::conditions::{ACCEPTED, READY, STALLED};
use jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use status::Outcome;
use std::sync::Arc;
use std::time::Duration;
use validate::{Certificate, ValidatedResource};

/// How often everything is compared again though nothing told of a change: certificates grow old.
const RESYNC: Duration = Duration::from_mins(10);

/// Why a reconcile has to be tried again.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// Something could not be applied.
    #[error("apply the gateway's objects")]
    Apply(#[source] ApplyError),
    /// The API server refused or could not be reached.
    #[error("{step}")]
    Api {
        /// What failed.
        step: &'static str,
        /// Because of.
        #[source]
        source: kube::Error,
    },
}

/// Brings one Resource's gateway to what its spec says.
///
/// Cancel safe: the next reconcile goes on.
///
/// # Errors
/// The API server did not take something; to be tried again.
pub async fn reconcile(
    object: Arc<Guarded<ProtectedResource>>,
    context: Arc<Context>,
) -> Result<Action, ResourceError> {
    let now = Timestamp::now();
    let resource = match &object.0 {
        Ok(resource) => resource,
        Err(invalid) => return unreadable(&context, invalid).await,
    };
    if resource.metadata.deletion_timestamp.is_some() {
        return drain::drain(&context, resource, now).await;
    }
    let given = dereference::dereference(&context, resource);
    let outcome = match validate::validate(&given) {
        Ok(validated) => {
            drain::protect(&context, resource).await?;
            match applied(&context, &validated, now).await {
                Ok(deployment) => Outcome::Applied(Box::new(validated), Box::new(deployment)),
                Err(error) => Outcome::Failed(error),
            }
        }
        Err(invalid) => Outcome::Invalid(invalid),
    };
    let api = |step| move |source| ResourceError::Api { step, source };
    status::update(&context, &given, &outcome, now).await.map_err(api("write status"))?;
    match outcome {
        Outcome::Failed(error) => Err(ResourceError::Apply(error)),
        Outcome::Invalid(_) => Ok(Action::requeue(RESYNC)),
        Outcome::Applied(..) => {
            pods::nudge(&context, &given.pods, &given.mounts).await.map_err(api("annotate a pod"))?;
            Ok(Action::requeue(RESYNC))
        }
    }
}

/// Applies everything; returns the Deployment.
async fn applied(
    context: &Context,
    resource: &ValidatedResource,
    now: Timestamp,
) -> Result<DynamicObject, ApplyError> {
    certificate::ensure_tenant_key(context, &resource.namespace).await?;
    let mut wanted = Vec::new();
    match resource.certificate {
        Certificate::Own => {
            certificate::ensure(context, resource, now).await?;
            wanted.push(("Secret".to_owned(), names::certificate(&resource.name)));
        }
        Certificate::SshKeys => {
            certificate::ensure_ssh_keys(context, resource).await?;
            wanted.push(("Secret".to_owned(), names::ssh_keys(&resource.name)));
        }
        // its Secret is cert-manager's, or somebody's
        Certificate::CertManager(_) | Certificate::Referenced(_) => {}
    }
    let mut deployment = None;
    for object in build::build(resource, &context.settings, context.authority.certificate()) {
        // by what was built: what comes back from a list has no kind
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        let is_deployment = kind == "Deployment";
        wanted.push((kind, name));
        let object = apply::apply(context, resource, object).await?;
        if is_deployment {
            deployment = Some(object);
        }
    }
    apply::prune(context, resource, &wanted).await?;
    deployment.ok_or(ApplyError::NoDeployment)
}

/// A stored object that does not parse: somebody changed the CRD's schema, or an older version wrote it.
async fn unreadable(context: &Context, invalid: &InvalidObject) -> Result<Action, ResourceError> {
    let metadata = &invalid.metadata;
    // What its status says cannot be read either: with a time that stays, saying it again changes nothing.
    let since = metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0);
    let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else {
        return Ok(Action::await_change());
    };
    let message = format!("cannot be read: {}; what runs is left as it is", invalid.error);
    let wanted = vec![
        Wanted::no(ACCEPTED, "Invalid", message.clone()),
        Wanted::no(READY, "Invalid", message.clone()),
        Wanted::yes(STALLED, "Invalid", message),
    ];
    let conditions = merge(&[], wanted, metadata.generation, since);
    let kind = kube::api::ApiResource::erase::<ProtectedResource>(&());
    let api = Api::<DynamicObject>::namespaced_with(context.client.clone(), namespace, &kind);
    let patch = json!({
        "apiVersion": ProtectedResource::api_version(&()),
        "kind": ProtectedResource::kind(&()),
        "status": {"observedGeneration": metadata.generation, "conditions": conditions},
    });
    context.metrics.wrote("Resource", "status");
    api.patch_status(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch))
        .await
        .map_err(|source| ResourceError::Api { step: "write status", source })?;
    Ok(Action::await_change())
}

/// When to try again.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the controller wants")]
pub fn error_policy(
    object: Arc<Guarded<ProtectedResource>>,
    error: &ResourceError,
    context: Arc<Context>,
) -> Action {
    tracing::warn!(
        namespace = object.namespace(), name = object.name_any(), error = %Chain(error), "reconcile Resource"
    );
    let (category, pause) = match error {
        ResourceError::Apply(ApplyError::Taken { .. }) => ("name-taken", Duration::from_secs(30)),
        ResourceError::Apply(_) => ("apply", Duration::from_secs(2)),
        ResourceError::Api { .. } => ("api", Duration::from_secs(2)),
    };
    context.metrics.reconciled("Resource", category);
    Action::requeue(pause)
}
