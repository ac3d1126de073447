//! What things are called in a cluster. One place, because the gateway, the chart and the documentation rely on it.

use std::collections::BTreeMap;

/// Field manager of everything the operator applies, and the name of its controller in Events.
pub const MANAGER: &str = "portcullis-operator";
/// Its lease.
pub const LEASE: &str = "portcullis-operator";
/// Secret of its certificate authority, in its own namespace.
pub const AUTHORITY_SECRET: &str = "portcullis-ca";
/// Secret of a namespace's tenant key.
pub const TENANT_KEY_SECRET: &str = "portcullis-tenant-key";
/// Key in that Secret.
pub const TENANT_KEY: &str = "key";
/// Finalizer of Resources: their sessions are drained before they go.
pub const DRAIN_FINALIZER: &str = "portcullis.dev/drain";
/// Label with the name of the Resource that an object belongs to.
pub const RESOURCE_LABEL: &str = "portcullis.dev/resource";
/// Label of what belongs to a Resource and to no namespace: the Resource's namespace.
pub const RESOURCE_NAMESPACE_LABEL: &str = "portcullis.dev/resource-namespace";
/// Label of the same: the Resource's UID. It stands for the owner reference, which cannot lead into a namespace.
pub const RESOURCE_UID_LABEL: &str = "portcullis.dev/resource-uid";
/// Label of everything that the operator made; its caches hold nothing else of the common kinds.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by=portcullis-operator";
/// Annotation: SHA-256 of what was applied. A field that is no longer wanted shows in nothing else.
pub const APPLIED: &str = "portcullis.dev/applied";
/// Annotation of pods: changes with the mounted Secrets and ConfigMaps, so that the kubelet looks at them at once.
pub const MOUNTS: &str = "portcullis.dev/mounts";
/// Annotation of the gateway's certificate: when it is to be renewed, RFC 3339.
pub const RENEW_AT: &str = "portcullis.dev/renew-at";
/// Annotation of the gateway's certificate: SHA-256 of the authority and the names it was issued by and for.
pub const ISSUED_FOR: &str = "portcullis.dev/issued-for";

/// Name of a Resource's gateway: of its Deployment, Service, ServiceAccount and most other objects.
pub fn gateway(resource: &str) -> String {
    format!("{resource}-gateway")
}

/// `ClusterRole` that lets a Resource's gateway act as its agents, and the binding of the same name.
pub fn impersonator(namespace: &str, resource: &str) -> String {
    format!("portcullis:{namespace}:{}", gateway(resource))
}

/// After the Resource's name: the Secret with its gateway's certificate.
pub const CERTIFICATE_SUFFIX: &str = "-gateway-tls";

/// Secret with the gateway's certificate, when the Resource names none.
pub fn certificate(resource: &str) -> String {
    format!("{resource}{CERTIFICATE_SUFFIX}")
}

/// After the Resource's name: the Secret with its gateway's keys for SSH.
pub const SSH_KEYS_SUFFIX: &str = "-gateway-ssh";

/// Secret with the gateway's keys for SSH, when the Resource names none.
pub fn ssh_keys(resource: &str) -> String {
    format!("{resource}{SSH_KEYS_SUFFIX}")
}

/// ConfigMap with the authority that signed it.
pub fn authority(resource: &str) -> String {
    format!("{resource}-gateway-ca")
}

/// Secret with the headers of OTLP requests.
pub fn otlp(resource: &str) -> String {
    format!("{resource}-gateway-otlp")
}

/// Labels of everything that belongs to a Resource.
pub fn labels(resource: &str) -> BTreeMap<String, String> {
    let mut labels = selector(resource);
    labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned());
    labels.insert(RESOURCE_LABEL.to_owned(), resource.to_owned());
    labels
}

/// Labels that select a Resource's pods. A Deployment's selector cannot be changed: neither may these.
pub fn selector(resource: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "portcullis-gateway".to_owned()),
        ("app.kubernetes.io/instance".to_owned(), resource.to_owned()),
    ])
}
