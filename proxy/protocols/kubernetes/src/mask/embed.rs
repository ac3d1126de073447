//! Resources whose objects may hold other objects: a Secret may be among them.

use crate::request::RequestInfo;

/// Groups of the API server's own types, each of which has the fields of its type and no others.
const BUILT_IN: [&str; 22] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// Whether objects of a resource may hold whole objects of any kind: custom resources, what aggregated API servers
/// serve, and the one built-in type that keeps others as they were.
pub(super) fn may_hold_objects(info: &RequestInfo) -> bool {
    !BUILT_IN.contains(&info.group.as_str())
        || (info.group == "apps" && info.resource == "controllerrevisions")
}
