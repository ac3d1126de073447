//! Manifests as people write them: a stream of YAML documents, any kinds mixed.
//!
//! YAML becomes JSON first and types after, as `kubectl` and the API server do it: `port: "5432"` is refused in both
//! places, or in none. Every error says in which file, document, line and field it is and what was expected there;
//! none ever holds a value of a Secret.

mod document;
mod object;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

use crate::v1alpha1::{ApprovalRequest, Policy, ProtectedResource};

/// Largest manifest file, in bytes: the size that etcd would refuse for one object, eight times.
pub const MAX_FILE_BYTES: usize = 8 << 20;

/// Objects of some manifests, by kind, in the order they were read.
#[derive(Clone, Default)]
pub struct Manifests {
    /// Objects of kind `portcullis.dev/v1alpha1` `Resource`.
    pub resources: Vec<ProtectedResource>,
    /// Objects of kind `portcullis.dev/v1alpha1` `Policy`.
    pub policies: Vec<Policy>,
    /// Objects of kind `v1` `Secret`; `stringData` is merged into `data`.
    pub secrets: Vec<Secret>,
    /// Objects of kind `v1` `ConfigMap`.
    pub config_maps: Vec<ConfigMap>,
    /// Objects of kind `portcullis.dev/v1alpha1` `ApprovalRequest`.
    pub approval_requests: Vec<ApprovalRequest>,
    origins: BTreeMap<ObjectKey, Origin>,
}

/// Names and counts only: Secrets are in there.
impl fmt::Debug for Manifests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifests").field("origins", &self.origins).finish_non_exhaustive()
    }
}

/// What tells objects apart.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct ObjectKey {
    kind: &'static str,
    namespace: String,
    name: String,
}

/// Where an object was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The file, as it was named to [`Manifests::parse`].
    pub file: String,
    /// Number of the document in the file, from one.
    pub document: usize,
    /// Line on which the document begins, from one.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} (document {})", self.file, self.line, self.document)
    }
}

/// One reason why a manifest cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{origin}{}: {message}", place(.kind, .name, .path))]
pub struct ManifestError {
    /// File, document, and the line on which the document begins; for bad YAML, the line of the mistake.
    pub origin: Origin,
    /// Kind of the object; empty if it cannot be told.
    pub kind: String,
    /// Name of the object; empty if it cannot be told.
    pub name: String,
    /// Path in the object: `spec.rules[2].action`; empty if it is about the whole.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

fn place(kind: &str, name: &str, path: &str) -> String {
    let mut place = String::new();
    for (before, part) in [(": ", kind), (" ", name), (": ", path)] {
        if !part.is_empty() {
            place.push_str(before);
            place.push_str(part);
        }
    }
    place
}

impl Manifests {
    /// Reads every document of a file; `file` is only for messages.
    ///
    /// # Errors
    /// Every problem of every document, in order; then nothing of the file is usable.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<ManifestError>> {
        let mut manifests = Self::default();
        let mut errors = Vec::new();
        if text.len() > MAX_FILE_BYTES {
            let origin = Origin { file: file.to_owned(), document: 1, line: 1 };
            return Err(vec![whole(origin, format!("is larger than {MAX_FILE_BYTES} bytes"))]);
        }
        for document in document::split(file, text) {
            errors.extend(object::read(&document, &mut manifests));
        }
        if errors.is_empty() { Ok(manifests) } else { Err(errors) }
    }

    /// Adds the objects of another file.
    ///
    /// # Errors
    /// Objects that are there already, in order; then nothing is added.
    pub fn append(&mut self, mut other: Self) -> Result<(), Vec<ManifestError>> {
        let errors: Vec<_> = other
            .origins
            .iter()
            .filter_map(|(key, origin)| Some(duplicate(key, origin.clone(), self.origins.get(key)?)))
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        self.resources.append(&mut other.resources);
        self.policies.append(&mut other.policies);
        self.secrets.append(&mut other.secrets);
        self.config_maps.append(&mut other.config_maps);
        self.approval_requests.append(&mut other.approval_requests);
        self.origins.append(&mut other.origins);
        Ok(())
    }

    /// Where an object was read. An empty namespace means `default`.
    pub fn origin(&self, kind: &str, namespace: &str, name: &str) -> Option<&Origin> {
        let found = self
            .origins
            .iter()
            .find(|(key, _)| key.kind == kind && key.namespace == or_default(namespace) && key.name == name);
        found.map(|(_, origin)| origin)
    }

    fn remember(&mut self, key: ObjectKey, origin: Origin) -> Option<ManifestError> {
        let error = self.origins.get(&key).map(|first| duplicate(&key, origin.clone(), first));
        self.origins.entry(key).or_insert(origin);
        error
    }
}

/// Manifests may leave the namespace out.
fn or_default(namespace: &str) -> &str {
    if namespace.is_empty() { "default" } else { namespace }
}

fn duplicate(key: &ObjectKey, origin: Origin, first: &Origin) -> ManifestError {
    ManifestError {
        origin,
        kind: key.kind.to_owned(),
        name: key.name.clone(),
        path: "metadata.name".to_owned(),
        message: format!("is defined already at {first}"),
    }
}

/// An error about a whole document.
fn whole(origin: Origin, message: String) -> ManifestError {
    ManifestError { origin, kind: String::new(), name: String::new(), path: String::new(), message }
}

/// An object cannot be written as YAML: a map with keys that are not strings, or the like.
#[derive(Debug, thiserror::Error)]
#[error("cannot be written as YAML")]
pub struct WriteError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// An object as YAML, in the way [`Manifests::parse`] reads it.
///
/// # Errors
/// The object does not serialise; no kind of this crate does that.
pub fn to_yaml<T: Serialize>(object: &T) -> Result<String, WriteError> {
    // By way of JSON, as in reading, so that no value is written in a way only YAML knows; and JSON objects are sorted,
    // so that the order of fields does not depend on a library's version.
    let value = serde_json::to_value(object).map_err(|error| WriteError(error.into()))?;
    serde_saphyr::to_string(&value).map_err(|error| WriteError(error.to_string().into()))
}

#[cfg(test)]
mod tests;
