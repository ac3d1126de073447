//! One document to an object of its kind.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Resource;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document::Document;
use super::{ManifestError, Manifests, ObjectKey, or_default};
use crate::v1alpha1::{ApprovalRequest, GROUP, Policy, ProtectedResource, VERSION};
use crate::validation::{Problem, Validate, check_name};

/// Kinds that a manifest may hold, with their API versions.
const KINDS: &str =
    "Resource, Policy and ApprovalRequest of portcullis.dev/v1alpha1, Secret and ConfigMap of v1";

/// What every object begins with.
#[derive(Default)]
struct Header {
    api_version: String,
    kind: String,
    name: String,
}

/// Reads a document into `manifests`. Returns what is wrong with it.
pub(super) fn read(document: &Document<'_>, manifests: &mut Manifests) -> Vec<ManifestError> {
    let value = match document.parse() {
        Ok(Value::Null) => return Vec::new(),
        Ok(value) => value,
        Err(error) => return vec![*error],
    };
    let header = header(&value);
    let problems = match add(&header, value, document, manifests) {
        Ok(()) => return Vec::new(),
        Err(problems) => problems,
    };
    let located = |problem: Problem| ManifestError {
        origin: document.origin.clone(),
        kind: header.kind.clone(),
        name: header.name.clone(),
        path: problem.path,
        message: problem.message,
    };
    problems.into_iter().map(located).collect()
}

fn header(value: &Value) -> Header {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    Header {
        api_version: text(value.get("apiVersion")),
        kind: text(value.get("kind")),
        name: text(value.pointer("/metadata/name")),
    }
}

fn add(
    header: &Header,
    value: Value,
    document: &Document<'_>,
    manifests: &mut Manifests,
) -> Result<(), Vec<Problem>> {
    let ours = format!("{GROUP}/{VERSION}");
    let expected = match header.kind.as_str() {
        "Resource" | "Policy" | "ApprovalRequest" => ours.as_str(),
        "Secret" | "ConfigMap" => "v1",
        "" => return Err(one("kind", format!("must be set to one of {KINDS}"))),
        other => return Err(one("kind", format!("unknown kind `{other}`; expected {KINDS}"))),
    };
    if header.api_version != expected {
        let message =
            format!("expected `{expected}` for kind {}, found `{}`", header.kind, header.api_version);
        return Err(one("apiVersion", message));
    }
    let duplicate = match header.kind.as_str() {
        "Resource" => {
            let object = custom::<ProtectedResource>(value)?;
            remember("Resource", &object, document, manifests).map(|()| manifests.resources.push(object))
        }
        "Policy" => {
            let object = custom::<Policy>(value)?;
            remember("Policy", &object, document, manifests).map(|()| manifests.policies.push(object))
        }
        "ApprovalRequest" => {
            let object = custom::<ApprovalRequest>(value)?;
            remember("ApprovalRequest", &object, document, manifests)
                .map(|()| manifests.approval_requests.push(object))
        }
        "Secret" => {
            let object = secret(value)?;
            remember("Secret", &object, document, manifests).map(|()| manifests.secrets.push(object))
        }
        _ => {
            let object = config_map(value)?;
            remember("ConfigMap", &object, document, manifests).map(|()| manifests.config_maps.push(object))
        }
    };
    duplicate.map_err(|problem| vec![problem])
}

fn remember<K>(
    kind: &'static str,
    object: &K,
    document: &Document<'_>,
    manifests: &mut Manifests,
) -> Result<(), Problem>
where
    K: Resource,
{
    let meta = object.meta();
    let key = ObjectKey {
        kind,
        namespace: or_default(meta.namespace.as_deref().unwrap_or_default()).to_owned(),
        name: meta.name.clone().unwrap_or_default(),
    };
    match manifests.remember(key, document.origin.clone()) {
        None => Ok(()),
        Some(duplicate) => Err(Problem { path: duplicate.path, message: duplicate.message }),
    }
}

/// An object of one of our kinds, checked as the API server would.
fn custom<K: DeserializeOwned + Validate>(value: Value) -> Result<K, Vec<Problem>> {
    check_fields(&value, &["apiVersion", "kind", "metadata", "spec", "status"])?;
    let object: K = typed(value)?;
    let problems = object.validate();
    if problems.is_empty() { Ok(object) } else { Err(problems) }
}

fn config_map(value: Value) -> Result<ConfigMap, Vec<Problem>> {
    check_fields(&value, &["apiVersion", "kind", "metadata", "data", "binaryData", "immutable"])?;
    let object: ConfigMap = typed(value)?;
    match check_name(object.metadata.name.as_deref().unwrap_or_default()) {
        None => Ok(object),
        Some(problem) => Err(vec![problem]),
    }
}

/// A Secret. Its values are read one by one, since an error of serde would quote them.
fn secret(mut value: Value) -> Result<Secret, Vec<Problem>> {
    check_fields(&value, &["apiVersion", "kind", "metadata", "data", "stringData", "immutable", "type"])?;
    let mut take = |field: &str| value.as_object_mut().and_then(|object| object.remove(field));
    let (data, string_data) = (take("data"), take("stringData"));
    let mut secret: Secret = typed(value)?;
    let mut problems: Vec<_> =
        check_name(secret.metadata.name.as_deref().unwrap_or_default()).into_iter().collect();
    let merged = secret.data.get_or_insert_default();
    for (field, entries) in [("data", data), ("stringData", string_data)] {
        match entries {
            None | Some(Value::Null) => {}
            Some(Value::Object(entries)) => {
                for (name, value) in entries {
                    match bytes(field, value) {
                        // As in the API server, stringData wins.
                        Ok(bytes) => drop(merged.insert(name, bytes)),
                        Err(message) => problems.push(Problem { path: format!("{field}.{name}"), message }),
                    }
                }
            }
            Some(_) => problems.extend(one(field, "expected a map of names to texts".to_owned())),
        }
    }
    if problems.is_empty() { Ok(secret) } else { Err(problems) }
}

fn bytes(field: &str, value: Value) -> Result<ByteString, String> {
    match value {
        Value::String(text) if field == "stringData" => Ok(ByteString(text.into_bytes())),
        // Lines may be broken, as `base64` prints them.
        Value::String(text) => ByteString::deserialize(Value::String(text.split_whitespace().collect()))
            .map_err(|_error| "expected base64; plain text belongs into stringData".to_owned()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err("expected a text; put quotes around it".to_owned())
        }
    }
}

/// The outer struct ignores fields it does not know; a misspelt `spec` would only be called missing.
fn check_fields(value: &Value, known: &[&str]) -> Result<(), Vec<Problem>> {
    let Some(object) = value.as_object() else {
        return Err(one("", "expected a map with apiVersion, kind and metadata".to_owned()));
    };
    let unknown = object.keys().filter(|name| !known.contains(&name.as_str()));
    let problems: Vec<_> = unknown
        .map(|name| Problem {
            path: name.clone(),
            message: format!("unknown field; expected {}", known.join(", ")),
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Vec<Problem>> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        one(&path, error.into_inner().to_string())
    })
}

fn one(path: &str, message: String) -> Vec<Problem> {
    vec![Problem { path: path.to_owned(), message }]
}
