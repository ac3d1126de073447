//! What a gateway may do at the API server: look at its own Resource, the namespace's Policies and the requests, report
//! what it runs, ask for approval. Which requests and which of their conditions is the admission policy's business.

use super::object;
use crate::resource::validate::ValidatedResource;
use serde_json::{Value, json};

pub(super) fn build(resource: &ValidatedResource) -> Vec<Value> {
    let gateway = resource.gateway();
    let group = crds::v1alpha1::GROUP;
    let own = [&resource.name];
    let rules = json!([
        {"apiGroups": [group], "resources": ["resources"], "resourceNames": own, "verbs": ["get", "list", "watch"]},
        {"apiGroups": [group], "resources": ["resources/status"], "resourceNames": own, "verbs": ["get", "patch"]},
        {"apiGroups": [group], "resources": ["policies"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [group], "resources": ["approvalrequests"], "verbs": ["create", "get", "list", "watch"]},
        {"apiGroups": [group], "resources": ["approvalrequests/status"], "verbs": ["get", "patch", "update"]},
    ]);
    vec![
        // the pod asks for its token itself
        object(resource, ("v1", "ServiceAccount"), &gateway, json!({"automountServiceAccountToken": false})),
        object(resource, ("rbac.authorization.k8s.io/v1", "Role"), &gateway, json!({"rules": rules})),
        object(
            resource,
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            &gateway,
            json!({
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": gateway},
                "subjects": [{"kind": "ServiceAccount", "name": gateway, "namespace": resource.namespace}],
            }),
        ),
    ]
}
