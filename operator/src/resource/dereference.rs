//! Step 1: everything that a Resource depends on, from the caches. What is missing is data, not an error.

use crate::context::Context;
use crate::names::{self, RESOURCE_LABEL};
use crate::stores::{Guarded, Stores};
use crds::v1alpha1::{KeyKind, Policy, ProtectedResource, ResourceSpec, SshTarget};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource as _, ResourceExt as _};
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
    visit(spec, &mut |kind, name, path| {
        found.push(Mention { kind, name: name.to_owned(), path: path() });
    });
    found
}

/// Calls back for everything that a spec names. Paths are made on demand: most callers only compare names, of every
/// Resource there is.
fn visit(spec: &ResourceSpec, found: &mut impl FnMut(Option<MountKind>, &str, &dyn Fn() -> String)) {
    if let Some(target) = &spec.postgresql {
        if let Some(reference) = &target.tls.ca_ref {
            found(Some(reference.kind.into()), &reference.name, &|| "spec.postgresql.tls.caRef".to_owned());
        }
        for (index, role) in target.roles.iter().enumerate() {
            let path = || format!("spec.postgresql.roles[{index}].credentialsRef");
            found(Some(MountKind::Secret), &role.credentials_ref.name, &path);
        }
    }
    if let Some(target) = &spec.ssh {
        visit_ssh(target, found);
    }
    if let Some(reference) = spec.kubernetes.as_ref().and_then(|target| target.kubeconfig_ref.as_ref()) {
        found(Some(MountKind::Secret), &reference.name, &|| "spec.kubernetes.kubeconfigRef".to_owned());
    }
    for (index, issuer) in spec.authentication.issuers.iter().enumerate() {
        if let Some(reference) = &issuer.ca_ref {
            let path = || format!("spec.authentication.issuers[{index}].caRef");
            found(Some(reference.kind.into()), &reference.name, &path);
        }
    }
    if let Some(reference) = spec.gateway.tls.as_ref().and_then(|tls| tls.secret_ref.as_ref()) {
        found(Some(MountKind::Secret), &reference.name, &|| "spec.gateway.tls.secretRef".to_owned());
    }
    if let Some(claim) = spec.gateway.spool.as_ref().and_then(|spool| spool.claim_ref.as_ref()) {
        found(None, &claim.name, &|| "spec.gateway.spool.claimRef".to_owned());
    }
}

fn visit_ssh(target: &SshTarget, found: &mut impl FnMut(Option<MountKind>, &str, &dyn Fn() -> String)) {
    for (index, host) in target.hosts.iter().enumerate() {
        if let Some(reference) = &host.host_keys_ref {
            let path = || format!("spec.ssh.hosts[{index}].hostKeysRef");
            found(Some(reference.kind.into()), &reference.name, &path);
        }
    }
    for (index, role) in target.roles.iter().enumerate() {
        let path = || format!("spec.ssh.roles[{index}].credentialsRef");
        found(Some(MountKind::Secret), &role.credentials_ref.name, &path);
    }
    if let Some(reference) = &target.keys_ref {
        found(Some(MountKind::Secret), &reference.name, &|| "spec.ssh.keysRef".to_owned());
    }
}

/// Whether a Resource names this object. `None` for a claim.
pub fn mentions(resource: &Guarded<ProtectedResource>, kind: Option<KeyKind>, name: &str) -> bool {
    let Ok(resource) = &resource.0 else { return false };
    let kind = kind.map(MountKind::from);
    let suffix = if resource.spec.ssh.is_some() { names::SSH_KEYS_SUFFIX } else { names::CERTIFICATE_SUFFIX };
    let own = resource.metadata.name.as_deref().zip(name.strip_suffix(suffix));
    let mut named = kind == Some(MountKind::Secret) && own.is_some_and(|(own, name)| own == name);
    visit(&resource.spec, &mut |other, mentioned, _| named |= other == kind && mentioned == name);
    named
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
    for mention in mentioned(&resource.spec) {
        match version(stores, &namespace, &mention) {
            Some(version) => mounts.update(format!("{}={version};", mention.describe())),
            None => missing.push(mention),
        }
    }
    let own = Mention {
        kind: Some(MountKind::Secret),
        name: match &resource.spec.ssh {
            Some(_) => names::ssh_keys(&resource.name_any()),
            None => names::certificate(&resource.name_any()),
        },
        path: String::new(),
    };
    mounts.update(version(stores, &namespace, &own).unwrap_or_default());
    Dereferenced {
        resource: Arc::new(resource.clone()),
        missing,
        policies: stores.policies_of(resource),
        pods: pods(stores, &namespace, &resource.name_any()),
        mounts: const_hex::encode(mounts.finalize()).chars().take(16).collect(),
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
