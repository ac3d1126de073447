//! Step 4: what is wanted becomes what is there. Nothing is sent for an object that is as it should be.
//!
//! An object is as it should be when every field that is wanted has its value (what others changed shows here) and the
//! annotation with the digest of what was applied is that of what is wanted (a field that is no longer wanted shows
//! only there).

use crate::context::Context;
use crate::names::{APPLIED, MANAGER, RESOURCE_UID_LABEL};
use crate::resource::validate::ValidatedResource;
use crate::stores::{belongs_to, cluster_kinds, is_cluster_wide, owned_kinds};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, Preconditions,
};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Why an object could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server did not take it.
    #[error("{step} {kind} {name}")]
    Api {
        /// `apply`, `read`, `delete`.
        step: &'static str,
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// Because of.
        #[source]
        source: Box<kube::Error>,
    },
    /// Somebody else's object has the name.
    #[error(
        "{kind} {name} exists already and is not this Resource's: rename the Resource, or remove the {kind}"
    )]
    Taken {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
    },
    /// A right that the operator does not have, and so cannot grant.
    #[error(
        "spec.kubernetes: the operator may not grant what {kind} {name} says; name the users and groups in the chart's \
         impersonation.users and impersonation.groups, or ask for fewer: spec.kubernetes.groups, and a user in every \
         subject of the Policies (the API server: {said})"
    )]
    NotHeld {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// What the API server said.
        said: String,
    },
    /// A certificate could not be made.
    #[error("issue the gateway's certificate")]
    Certificate(#[source] crate::authority::AuthorityError),
    /// A key for SSH could not be made.
    #[error("make the gateway's SSH key")]
    SshKey(#[source] ssh_key::Error),
    /// What was built is no object, which only a mistake in this program can cause.
    #[error("built something that is no Kubernetes object")]
    Built(#[source] serde_json::Error),
    /// As above: nothing of it is a Deployment.
    #[error("built no Deployment")]
    NoDeployment,
    /// As above: its `apiVersion` is none.
    #[error("built something without a proper apiVersion")]
    Types(#[source] kube::core::gvk::ParseGroupVersionError),
}

/// Applies one object, if it is not as it should be. Returns it as the API server has it.
///
/// Cancel safe: an object is applied or not.
///
/// # Errors
/// The API server did not take it, or the name is taken.
pub async fn apply(
    context: &Context,
    resource: &ValidatedResource,
    wanted: Value,
) -> Result<DynamicObject, ApplyError> {
    let mut wanted: DynamicObject = serde_json::from_value(wanted).map_err(ApplyError::Built)?;
    let types = wanted.types.clone().unwrap_or_default();
    let kind = match GroupVersionKind::try_from(&types) {
        Ok(kind) => ApiResource::from_gvk(&kind),
        Err(error) => return Err(ApplyError::Types(error)),
    };
    let digest = digest(&wanted);
    wanted.annotations_mut().insert(APPLIED.to_owned(), digest);
    let name = wanted.name_any();
    let failed = |step, source| ApplyError::Api {
        step,
        kind: kind.kind.clone(),
        name: name.clone(),
        source: Box::new(source),
    };
    let api = api(&context.client, resource, &kind);
    let mut reference = ObjectRef::new_with(&name, kind.clone());
    if !is_cluster_wide(&kind) {
        reference = reference.within(&resource.namespace);
    }
    let known = context.stores.owned.get(&kind.kind).and_then(|store| store.get(&reference));
    let known = match known {
        Some(known) => Some((*known).clone()),
        // new, or somebody else's, or the cache is behind
        None => api.get_opt(&name).await.map_err(|source| failed("read", source))?,
    };
    if let Some(known) = known {
        if !is_owned(&known, &resource.uid) {
            return Err(ApplyError::Taken { kind: kind.kind.clone(), name });
        }
        if is_current(&wanted, &known) {
            return Ok(known);
        }
    }
    let params = PatchParams::apply(MANAGER).force();
    context.metrics.wrote(&kind.kind, "apply");
    tracing::debug!(kind = kind.kind, namespace = resource.namespace, name, "apply");
    match api.patch(&name, &params, &Patch::Apply(&wanted)).await {
        Err(kube::Error::Api(status)) if status.code == 403 && is_cluster_wide(&kind) => {
            Err(ApplyError::NotHeld { kind: kind.kind, name, said: status.message.clone() })
        }
        applied => applied.map_err(|source| failed("apply", source)),
    }
}

/// Deletes what the operator made for the Resource earlier and does not want any more.
///
/// Cancel safe: the next reconcile goes on.
///
/// # Errors
/// The API server did not delete something.
pub async fn prune(
    context: &Context,
    resource: &ValidatedResource,
    wanted: &[(String, String)],
) -> Result<(), ApplyError> {
    let own = ObjectRef::new(&resource.name).within(&resource.namespace);
    for kind in owned_kinds().into_iter().chain(cluster_kinds()) {
        let Some(store) = context.stores.owned.get(&kind.kind) else { continue };
        let stale = store.state_filter(|object| {
            belongs_to(object).as_ref() == Some(&own)
                && object.metadata.deletion_timestamp.is_none()
                && is_owned(object, &resource.uid)
                && !wanted.iter().any(|(kind_, name)| *kind_ == kind.kind && *name == object.name_any())
        });
        for object in stale {
            let name = object.name_any();
            let precondition = Preconditions { uid: object.uid(), ..Preconditions::default() };
            let params = DeleteParams { preconditions: Some(precondition), ..DeleteParams::background() };
            context.metrics.wrote(&kind.kind, "delete");
            match api(&context.client, resource, &kind).delete(&name, &params).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
                Err(source) => {
                    let kind = kind.kind;
                    return Err(ApplyError::Api { step: "delete", kind, name, source: Box::new(source) });
                }
            }
        }
    }
    Ok(())
}

fn api(client: &Client, resource: &ValidatedResource, kind: &ApiResource) -> Api<DynamicObject> {
    if is_cluster_wide(kind) {
        Api::all_with(client.clone(), kind)
    } else {
        Api::namespaced_with(client.clone(), &resource.namespace, kind)
    }
}

/// Whether the Resource controls an object.
pub(super) fn is_owned(object: &DynamicObject, uid: &str) -> bool {
    if object.metadata.namespace.is_none() {
        return object.labels().get(RESOURCE_UID_LABEL).is_some_and(|owner| owner == uid);
    }
    is_controlled_by(object.owner_references(), uid)
}

/// Whether one of the owners is the controller with this UID.
pub(super) fn is_controlled_by(owners: &[OwnerReference], uid: &str) -> bool {
    owners.iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// SHA-256 of what is wanted; JSON objects are sorted, so equal ones have equal digests.
fn digest(wanted: &DynamicObject) -> String {
    let bytes = serde_json::to_vec(wanted).unwrap_or_default();
    const_hex::encode(Sha256::digest(bytes))
}

fn is_current(wanted: &DynamicObject, known: &DynamicObject) -> bool {
    if known.annotations().get(APPLIED) != wanted.annotations().get(APPLIED) {
        return false;
    }
    let (Ok(mut wanted), Ok(known)) = (serde_json::to_value(wanted), serde_json::to_value(known)) else {
        return false;
    };
    if let Some(wanted) = wanted.as_object_mut() {
        // Secrets are cached without what is in them; the digest tells.
        if wanted.get("kind").and_then(Value::as_str) == Some("Secret") {
            wanted.remove("data");
            wanted.remove("stringData");
        }
        // lists and watches leave them out
        wanted.remove("apiVersion");
        wanted.remove("kind");
    }
    contains(&known, &wanted)
}

/// Whether `known` has every field of `wanted`; lists must have as many entries, in the same order.
fn contains(known: &Value, wanted: &Value) -> bool {
    match (known, wanted) {
        (Value::Object(known), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            known.get(name).map_or(is_nothing(wanted), |known| contains(known, wanted))
        }),
        (Value::Array(known), Value::Array(wanted)) => {
            known.len() == wanted.len()
                && known.iter().zip(wanted).all(|(known, wanted)| contains(known, wanted))
        }
        (known, wanted) => known == wanted,
    }
}

/// What the API server leaves out.
fn is_nothing(wanted: &Value) -> bool {
    match wanted {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::contains;
    use serde_json::json;

    #[test]
    fn defaults_of_the_server_are_no_difference_and_changes_are() {
        let wanted = json!({"spec": {"replicas": 2, "list": [{"name": "a"}], "none": {}}});
        let check = |known| contains(&known, &wanted);
        assert!(check(
            json!({"spec": {"replicas": 2, "list": [{"name": "a", "protocol": "TCP"}], "more": 1}})
        ));
        assert!(!check(json!({"spec": {"replicas": 3, "list": [{"name": "a"}]}})));
        assert!(!check(json!({"spec": {"replicas": 2, "list": [{"name": "a"}, {"name": "b"}]}})));
        assert!(!check(json!({"spec": {"replicas": 2}})));
    }
}
