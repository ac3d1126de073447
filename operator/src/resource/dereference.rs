//! Step 1: everything that a Resource depends on, from the caches. What is missing is data, not an error.

use crate::context::Context;
use crate::names::{self, RESOURCE_LABEL};
use crate::stores::{Guarded, Stores};
use crds::v1alpha1::{KeyKind, Policy, ProtectedResource, ResourceSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource as _, ResourceExt as _};
use proxy_policy::{ResourceFacts, selects};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// An object in the Resource's namespace that its spec names.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Mention {
    /// What it is; `None`: a PersistentVolumeClaim.
    pub kind: Option<MountKind>,
    /// Its name.
    pub name: String,
    /// Where the spec names it.
    pub path: String,
}

/// Kinds that are mounted into the gateway's pods.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum MountKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl MountKind {
    /// As in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

impl From<KeyKind> for MountKind {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::ConfigMap => Self::ConfigMap,
            KeyKind::Secret => Self::Secret,
        }
    }
}

impl Mention {
    /// `Secret orders-readonly`, for people.
    pub fn describe(&self) -> String {
        let kind = self.kind.map_or("PersistentVolumeClaim", MountKind::as_str);
        format!("{kind} {}", self.name)
    }
}

/// Everything that a spec names, in the order of the spec.
pub fn mentioned(spec: &ResourceSpec) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut add = |kind, name: &str, path: String| {
        found.push(Mention { kind, name: name.to_owned(), path });
    };
    if let Some(target) = &spec.postgresql {
        if let Some(reference) = &target.tls.ca_ref {
            add(Some(reference.kind.into()), &reference.name, "spec.postgresql.tls.caRef".to_owned());
        }
        for (index, role) in target.roles.iter().enumerate() {
            let path = format!("spec.postgresql.roles[{index}].credentialsRef");
            add(Some(MountKind::Secret), &role.credentials_ref.name, path);
        }
    }
    for (index, issuer) in spec.authentication.issuers.iter().enumerate() {
        if let Some(reference) = &issuer.ca_ref {
            let path = format!("spec.authentication.issuers[{index}].caRef");
            add(Some(reference.kind.into()), &reference.name, path);
        }
    }
    let tls = spec.gateway.tls.as_ref();
    if let Some(reference) = tls.and_then(|tls| tls.secret_ref.as_ref()) {
        add(Some(MountKind::Secret), &reference.name, "spec.gateway.tls.secretRef".to_owned());
    }
    if let Some(claim) = spec.gateway.spool.as_ref().and_then(|spool| spool.claim_ref.as_ref()) {
        add(None, &claim.name, "spec.gateway.spool.claimRef".to_owned());
    }
    found
}

/// Whether a Resource names this object. `None` for a claim.
pub fn mentions(resource: &Guarded<ProtectedResource>, kind: Option<KeyKind>, name: &str) -> bool {
    let kind = kind.map(MountKind::from);
    resource.0.as_ref().is_ok_and(|resource| {
        let own = kind == Some(MountKind::Secret)
            && resource.metadata.name.as_deref().is_some_and(|resource| names::certificate(resource) == name);
        own || mentioned(&resource.spec).iter().any(|mention| mention.kind == kind && mention.name == name)
    })
}

/// A Resource with all that it depends on.
#[derive(Clone, Debug)]
pub struct Dereferenced {
    /// The Resource.
    pub resource: Arc<ProtectedResource>,
    /// What it names that is not there.
    pub missing: Vec<Mention>,
    /// Policies that select it.
    pub policies: Vec<Arc<Guarded<Policy>>>,
    /// Its gateways' pods, whatever state they are in.
    pub pods: Vec<Arc<Pod>>,
    /// Changes when something that is mounted does.
    pub mounts: String,
}

/// Looks everything up.
pub fn dereference(context: &Context, resource: &ProtectedResource) -> Dereferenced {
    let stores = &context.stores;
    let namespace = resource.namespace().unwrap_or_default();
    let mut missing = Vec::new();
    let mut mounts = Sha256::new();
    let mut mentioned = mentioned(&resource.spec);
    for mention in &mentioned {
        match version(stores, &namespace, mention) {
            Some(version) => mounts.update(format!("{}={version};", mention.describe())),
            None => missing.push(mention.clone()),
        }
    }
    mentioned.clear();
    let own = Mention {
        kind: Some(MountKind::Secret),
        name: names::certificate(&resource.name_any()),
        path: String::new(),
    };
    mounts.update(version(stores, &namespace, &own).unwrap_or_default());
    let facts = ResourceFacts::of(resource);
    let policies =
        stores.policies.state_filter(|policy| policy.0.as_ref().is_ok_and(|policy| selects(&facts, policy)));
    Dereferenced {
        resource: Arc::new(resource.clone()),
        missing,
        policies,
        pods: pods(stores, &namespace, &resource.name_any()),
        mounts: crate::authority::hex(&mounts.finalize()).chars().take(16).collect(),
    }
}

/// Pods of a Resource's gateway.
pub fn pods(stores: &Stores, namespace: &str, resource: &str) -> Vec<Arc<Pod>> {
    let mut pods = stores.pods.state_filter(|pod| {
        pod.metadata.namespace.as_deref() == Some(namespace)
            && pod.labels().get(RESOURCE_LABEL).is_some_and(|name| name == resource)
    });
    pods.sort_by_key(|pod| pod.metadata.name.clone());
    pods
}

/// An object's resource version; `None`: it is not there.
fn version(stores: &Stores, namespace: &str, mention: &Mention) -> Option<String> {
    let name = &mention.name;
    let metadata = match mention.kind {
        Some(MountKind::Secret) => {
            stores.secrets.get(&ObjectRef::new(name).within(namespace))?.meta().clone()
        }
        Some(MountKind::ConfigMap) => {
            stores.config_maps.get(&ObjectRef::new(name).within(namespace))?.meta().clone()
        }
        // its size may change while nothing of it concerns the gateway
        None => {
            return stores
                .claims
                .get(&ObjectRef::new(name).within(namespace))
                .map(|claim| claim.meta().uid.clone().unwrap_or_default());
        }
    };
    Some(metadata.resource_version.unwrap_or_default())
}
