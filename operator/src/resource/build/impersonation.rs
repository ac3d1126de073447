//! What a gateway may do in the cluster in which it runs: act as its agents. These objects belong to no namespace, and so
//! to no Resource by owner reference: labels say whose they are, and the Resource's finalizer has them removed.

use crate::names;
use crate::resource::validate::{Names, ValidatedResource};
use serde_json::{Value, json};

const RBAC: &str = "rbac.authorization.k8s.io";

/// None where the gateway acts in another cluster, or nobody may come.
pub(super) fn build(resource: &ValidatedResource) -> Vec<Value> {
    let Some(wanted) = resource.impersonation.as_ref().filter(|wanted| wanted.is_needed()) else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    rules.extend(rule("users", &wanted.users));
    rules.extend(rule("groups", &wanted.groups));
    rules.push(json!({
        "apiGroups": ["authentication.k8s.io"],
        "resources": ["uids", "userextras/portcullis.dev/session", "userextras/portcullis.dev/command"],
        "verbs": ["impersonate"],
    }));
    let name = names::impersonator(&resource.namespace, &resource.name);
    vec![
        object(resource, "ClusterRole", json!({"rules": rules})),
        object(
            resource,
            "ClusterRoleBinding",
            json!({
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
                "subjects": [{
                    "kind": "ServiceAccount", "name": resource.gateway(), "namespace": resource.namespace,
                }],
            }),
        ),
    ]
}

/// None for no names: a rule without names is about all.
fn rule(kind: &str, names: &Names) -> Option<Value> {
    match names {
        Names::Any => Some(json!({"apiGroups": [""], "resources": [kind], "verbs": ["impersonate"]})),
        Names::These(names) if names.is_empty() => None,
        Names::These(names) => Some(json!({
            "apiGroups": [""], "resources": [kind], "resourceNames": names, "verbs": ["impersonate"],
        })),
    }
}

fn object(resource: &ValidatedResource, kind: &str, rest: Value) -> Value {
    let mut labels = names::labels(&resource.name);
    labels.insert(names::RESOURCE_NAMESPACE_LABEL.to_owned(), resource.namespace.clone());
    labels.insert(names::RESOURCE_UID_LABEL.to_owned(), resource.uid.clone());
    let mut object = json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": kind,
        "metadata": {"name": names::impersonator(&resource.namespace, &resource.name), "labels": labels},
    });
    if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
        object.extend(rest);
    }
    object
}
