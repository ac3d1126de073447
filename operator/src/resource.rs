//! Resources. The driver: five steps, in this order.
//!
//! 1. [`dereference`]: everything it depends on, from the caches
//! 2. [`validate`]: pure; an invalid spec leaves what runs as it is
//! 3. [`build`](mod@build): pure
//! 4. [`apply`]: server-side apply of what differs; what is no longer wanted goes
//! 5. [`status`]: conditions, endpoint, policies in force, and what the API server says of the gateway's [`rights`]
//!
//! One that is deleted is drained first: [`drain`].

pub mod apply;
pub mod build;
pub mod certificate;
pub mod dereference;
mod drain;
pub mod pods;
pub mod rights;
pub mod status;
pub mod validate;

use crate::context::Context;
use crate::names;
use crate::stores::{Chain, Guarded};
use crate::unreadable;
use apply::ApplyError;
use crds::v1alpha1::ProtectedResource;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use kube::runtime::controller::Action;
use rights::Rights;
use serde_json::Value;
use status::{Applied, Outcome};
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
        Err(invalid) => {
            let told = unreadable::tell::<ProtectedResource>(&context, invalid, "what runs is left as it is");
            told.await.map_err(|source| ResourceError::Api { step: "write status", source })?;
            return Ok(Action::await_change());
        }
    };
    if resource.metadata.deletion_timestamp.is_some() {
        return drain::drain(&context, resource, now).await;
    }
    let given = dereference::dereference(&context, resource);
    let outcome = match validate::validate(&given) {
        Ok(validated) => {
            drain::protect(&context, resource).await?;
            match applied(&context, &validated, now).await {
                Ok(deployment) => {
                    let (rights, again) = match &validated.elsewhere {
                        Some(_) => (Rights::told(&pods::running_reports(&given)), RESYNC),
                        None => rights::ask(&context, &validated).await,
                    };
                    Outcome::Applied(Box::new(Applied { validated, deployment, rights, again }))
                }
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
        Outcome::Applied(applied) => {
            pods::nudge(&context, &given.pods, &given.mounts).await.map_err(api("annotate a pod"))?;
            Ok(Action::requeue(applied.again))
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
        ResourceError::Apply(ApplyError::NotHeld { .. }) => ("not-held", Duration::from_secs(30)),
        ResourceError::Apply(_) => ("apply", Duration::from_secs(2)),
        ResourceError::Api { .. } => ("api", Duration::from_secs(2)),
    };
    context.metrics.reconciled("Resource", category);
    Action::requeue(pause)
}
