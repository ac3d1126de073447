//! References from one object to another, always within the namespace of the object that holds them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Secret in the same namespace.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A PersistentVolumeClaim in the same namespace.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimRef {
    /// Name of the PersistentVolumeClaim.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One key of a ConfigMap or Secret in the same namespace.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRef {
    /// Which kind holds the key. Omitted: `ConfigMap`.
    #[serde(default)]
    pub kind: KeyKind,
    /// Name of the ConfigMap or Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key within `data` (or `stringData`), for example `ca.crt`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Kinds that a [`KeyRef`] may name.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum KeyKind {
    /// A `v1` ConfigMap.
    #[default]
    ConfigMap,
    /// A `v1` Secret.
    Secret,
}
