//! Where things stand: in namespaces, or in none.
//!
//! A path without a namespace says nothing of that: `nodes` stand in none, and `pods` are then those of every one. Of its
//! own groups the API server's table is known here; of others its discovery tells, and what is not told may stand in
//! namespaces.

use super::known::Known;
use crate::request::{RequestInfo, is_built_in};
use serde_json::Value;

/// Resources of the API server's own groups that stand in no namespace. A group that has no others is given as `*`.
const IN_NO_NAMESPACE: [(&str, &str); 33] = [
    ("", "componentstatuses"),
    ("", "groups"),
    ("", "namespaces"),
    ("", "nodes"),
    ("", "persistentvolumes"),
    ("", "users"),
    ("admissionregistration.k8s.io", "*"),
    ("apiextensions.k8s.io", "*"),
    ("apiregistration.k8s.io", "*"),
    ("authentication.k8s.io", "*"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
    ("certificates.k8s.io", "certificatesigningrequests"),
    ("certificates.k8s.io", "clustertrustbundles"),
    ("certificates.k8s.io", "signers"),
    ("flowcontrol.apiserver.k8s.io", "*"),
    ("internal.apiserver.k8s.io", "storageversions"),
    ("networking.k8s.io", "ingressclasses"),
    ("networking.k8s.io", "ipaddresses"),
    ("networking.k8s.io", "servicecidrs"),
    ("node.k8s.io", "runtimeclasses"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "devicetaintrules"),
    ("resource.k8s.io", "resourceslices"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "volumeattributesclasses"),
];

/// Whether the request is about things of every namespace, or may be. Selectors do not narrow that.
pub(super) fn is_every_namespace(info: &RequestInfo, known: &Known) -> bool {
    is_open_to_every(info) && !in_no_namespace(&info.group, &info.resource) && !known.in_no_namespace
}

/// Whether it depends on where the resource stands, and only the API server knows.
pub(super) fn is_to_be_asked(info: &RequestInfo) -> bool {
    is_open_to_every(info) && !info.is_built_in()
}

/// Whether it names no namespace, of what may be done to things of several.
fn is_open_to_every(info: &RequestInfo) -> bool {
    info.is_resource
        && info.namespace.is_empty()
        && matches!(info.verb, "list" | "watch" | "deletecollection")
}

/// Whether a resource is known to stand in no namespace.
pub(super) fn in_no_namespace(group: &str, resource: &str) -> bool {
    is_built_in(group)
        && IN_NO_NAMESPACE.iter().any(|(of, name)| *of == group && (*name == "*" || *name == resource))
}

/// Whether the discovery of a group and version says so of the resource.
pub(super) fn told(resource: &str, discovery: &Value) -> bool {
    let mut listed = discovery.get("resources").and_then(Value::as_array).into_iter().flatten();
    let named = listed.find(|listed| listed.get("name").and_then(Value::as_str) == Some(resource));
    named.is_some_and(|named| named.get("namespaced") == Some(&Value::Bool(false)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_names_no_namespace_is_about_every_one_unless_it_stands_in_none() {
        let is = |target: &str, in_no_namespace| {
            let (method, target) = target.split_once(' ').unwrap();
            let info = RequestInfo::read(method, target).unwrap();
            is_every_namespace(&info, &Known { in_no_namespace, ..Known::default() })
        };
        for (target, expected) in [
            ("GET /api/v1/configmaps", true),
            ("GET /api/v1/configmaps?watch=1", true),
            ("GET /api/v1/watch/configmaps", true),
            ("GET /api/v1/configmaps?fieldSelector=metadata.namespace%3Dshop&labelSelector=a", true),
            ("GET /api/v1/configmaps?fieldSelector=metadata.name%3Dx", true),
            ("DELETE /api/v1/configmaps", true),
            ("GET /apis/scheduling.k8s.io/v1alpha1/workloads", true),
            ("GET /apis/example.com/v1/orders", true),
            ("GET /api/v1/namespaces/shop/configmaps", false),
            ("GET /api/v1/nodes", false),
            ("GET /api/v1/nodes/n1", false),
            ("GET /api/v1/namespaces", false),
            ("GET /apis/storage.k8s.io/v1/storageclasses?watch=1", false),
            ("GET /apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", false),
            ("GET /apis/example.com/v1/orders/a", false),
            ("GET /metrics", false),
        ] {
            assert_eq!(is(target, false), expected, "{target}");
        }
        assert!(!is("GET /apis/example.com/v1/orders", true));
    }

    #[test]
    fn discovery_tells_of_the_resource_that_is_asked_for_and_only_in_plain_words() {
        let listed = |namespaced: Value| {
            json!({"resources": [
            {"name": "orders/status", "namespaced": false}, {"name": "orders", "namespaced": namespaced}]})
        };
        assert!(told("orders", &listed(false.into())));
        for discovery in [listed(true.into()), listed(Value::Null), json!({"resources": []}), Value::Null] {
            assert!(!told("orders", &discovery), "{discovery}");
        }
    }
}
