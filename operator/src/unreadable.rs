//! Stored objects that do not parse: somebody changed the definition's schema, or an older version wrote them.

use crate::conditions::{Wanted, merge};
use crate::context::Context;
use crate::names::MANAGER;
use crds::v1alpha1::conditions::{ACCEPTED, READY, STALLED};
use jiff::Timestamp;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::error_boundary::InvalidObject;
use serde_json::json;

/// Says so in the object's status, and what `stays` as it is meanwhile.
///
/// Cancel safe.
///
/// # Errors
/// The API server did not take the status.
pub async fn tell<K>(context: &Context, invalid: &InvalidObject, stays: &str) -> Result<(), kube::Error>
where
    K: kube::Resource<DynamicType = ()>,
{
    let metadata = &invalid.metadata;
    let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else {
        return Ok(());
    };
    // What its status says cannot be read either: with a time that stays, saying it again changes nothing.
    let since = metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0);
    let message = format!("cannot be read: {}; {stays}", invalid.error);
    let wanted = vec![
        Wanted::no(ACCEPTED, "Invalid", message.clone()),
        Wanted::no(READY, "Invalid", message.clone()),
        Wanted::yes(STALLED, "Invalid", message),
    ];
    let conditions = merge(&[], wanted, metadata.generation, since);
    let kind = ApiResource::erase::<K>(&());
    let patch = json!({
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "status": {"observedGeneration": metadata.generation, "conditions": conditions},
    });
    context.metrics.wrote(&kind.kind, "status");
    let api = Api::<DynamicObject>::namespaced_with(context.client.clone(), namespace, &kind);
    api.patch_status(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch)).await.map(drop)
}
