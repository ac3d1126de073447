//! Where clients reach a gateway, and how many of its pods may go at once.

use super::object;
use crate::names;
use crate::resource::validate::ValidatedResource;
use serde_json::{Value, json};

pub(super) fn service(resource: &ValidatedResource) -> Value {
    let spec = json!({
        "type": resource.service,
        "selector": names::selector(&resource.name),
        "ports": [{"name": resource.protocol, "port": resource.port, "targetPort": "gateway", "protocol": "TCP"}],
    });
    object(resource, ("v1", "Service"), &resource.gateway(), json!({"spec": spec}))
}

pub(super) fn disruption_budget(resource: &ValidatedResource) -> Value {
    let spec = json!({
        "maxUnavailable": 1,
        "selector": {"matchLabels": names::selector(&resource.name)},
    });
    object(resource, ("policy/v1", "PodDisruptionBudget"), &resource.gateway(), json!({"spec": spec}))
}
