//! The objects in a directory's files, each with its place.

use super::{Place, Problem, ResourceKey, Snapshot};
use crds::manifest::Manifests;
use crds::v1alpha1::{Policy, ProtectedResource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proxy_core::secret::Secret;
use std::collections::BTreeMap;

/// Keys and values of a Secret or ConfigMap.
pub type Values<T> = BTreeMap<String, T>;

/// Namespace and name.
type Name = (String, String);

/// An object and where it stands.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// Where.
    pub place: Place,
    /// Its namespace; `default` where the manifest has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The object.
    pub object: T,
}

impl<T> Located<T> {
    /// Namespace and name.
    pub fn key(&self) -> ResourceKey {
        ResourceKey { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// Everything in a directory, by kind.
#[derive(Debug, Default)]
pub struct Objects {
    /// Resources, in the order of the files.
    pub resources: Vec<Located<ProtectedResource>>,
    /// Policies, in the order of the files.
    pub policies: Vec<Located<Policy>>,
    /// Secrets, decoded.
    pub secrets: BTreeMap<Name, Located<Values<Secret<String>>>>,
    /// The `ConfigMap`s.
    pub config_maps: BTreeMap<Name, Located<Values<String>>>,
}

/// Reads every object of every file; what cannot be read is a problem, and the rest is there all the same.
pub fn read(snapshot: &Snapshot) -> (Objects, Vec<Problem>) {
    let mut manifests = Manifests::default();
    let mut problems = Vec::new();
    for (file, text) in &snapshot.files {
        let read = Manifests::parse(file, text).and_then(|more| manifests.append(more));
        if let Err(errors) = read {
            problems.extend(errors.into_iter().map(Problem::from));
        }
    }
    (sort_out(manifests, &mut problems), problems)
}

fn sort_out(mut manifests: Manifests, problems: &mut Vec<Problem>) -> Objects {
    let mut objects = Objects::default();
    for resource in std::mem::take(&mut manifests.resources) {
        objects.resources.push(located(&manifests, "Resource", &resource.metadata.clone(), resource));
    }
    for policy in std::mem::take(&mut manifests.policies) {
        objects.policies.push(located(&manifests, "Policy", &policy.metadata.clone(), policy));
    }
    for secret in std::mem::take(&mut manifests.secrets) {
        let secret = located(&manifests, "Secret", &secret.metadata, secret.data);
        let mut values = BTreeMap::new();
        for (key, bytes) in secret.object.unwrap_or_default() {
            // what is not text is named, and never shown
            match String::from_utf8(bytes.0) {
                Ok(text) => {
                    values.insert(key, Secret::new(text));
                }
                Err(_) => problems.push(secret.place.problem(format!("data.{key}"), "expected UTF-8 text")),
            }
        }
        let (place, namespace, name) = (secret.place, secret.namespace, secret.name);
        let key = (namespace.clone(), name.clone());
        objects.secrets.insert(key, Located { place, namespace, name, object: values });
    }
    for map in std::mem::take(&mut manifests.config_maps) {
        let map = located(&manifests, "ConfigMap", &map.metadata, map.data.unwrap_or_default());
        objects.config_maps.insert((map.namespace.clone(), map.name.clone()), map);
    }
    for request in &manifests.approval_requests {
        let request = located(&manifests, "ApprovalRequest", &request.metadata, ());
        problems.push(request.place.problem("kind", "expected in the state directory's approvals, not here"));
    }
    objects
}

fn located<T>(manifests: &Manifests, kind: &str, metadata: &ObjectMeta, object: T) -> Located<T> {
    let name = metadata.name.clone().unwrap_or_default();
    let namespace = metadata.namespace.clone().filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    let place = manifests
        .origin(kind, &namespace, &name)
        .map_or_else(|| Place::file(""), |origin| Place::document(origin, kind, &name));
    Located { place, namespace, name, object }
}
