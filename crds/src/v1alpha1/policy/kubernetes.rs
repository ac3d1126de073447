//! Matches requests to the Kubernetes API, in RBAC's own words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::program::ProgramPattern;

/// Matches a request to a Kubernetes API server; every field that is set must match. `*` stands for any characters
/// in every pattern, dots and slashes included.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesMatch {
    /// Verbs as RBAC knows them: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`;
    /// for paths that are no resource the HTTP method in lower case. Exec, attach and port-forward are `create` of
    /// their subresource, whatever the HTTP method. Omitted: every verb.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub verbs: Vec<String>,
    /// API groups; the empty text is the core group. Omitted: every group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub api_groups: Vec<String>,
    /// Resources in the plural, subresources behind a slash: `pods`, `pods/exec`, `*/scale`. A pattern without a slash
    /// is about no subresource, unless it is `*`. Omitted: every resource and subresource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub resources: Vec<String>,
    /// Subresources by themselves: `exec`, `scale`. Omitted: as `resources` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub subresources: Vec<String>,
    /// Namespaces. With it, requests about all namespaces or about cluster-wide objects are not meant. Omitted: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub namespaces: Vec<String>,
    /// Names of objects. With it, a request that names none (`list`, `deletecollection`) is matched by a `Deny` or
    /// `Hold`, for it may be about the object, and not by an `Allow`. Omitted: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub names: Vec<String>,
    /// Paths that are no resource: `/metrics`, `/logs/*`. With it, requests for resources are not meant.
    #[serde(default, rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub non_resource_urls: Vec<String>,
    /// Programs that the command line of an `exec` runs: those that a shell or another program is given to run
    /// (`sh -c`, `env`, `xargs`) are found as over SSH. An `Allow` must cover every one of them; a `Deny` or `Hold` is
    /// about a line that runs any, or of which it cannot be told what it runs. With it, other requests are not meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub commands: Vec<ProgramPattern>,
    /// Images. A `Deny` or `Hold` is met when some image that the request writes matches, an `Allow` when all do. With
    /// it, a request that writes no image is not meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub images: Vec<String>,
    /// Fields that an update or patch touches, as dotted paths: `spec.replicas`, `metadata.labels.*`. A `Deny` or
    /// `Hold` is met when some touched field matches, an `Allow` when all do. With it, a request whose touched fields
    /// are not known is matched by a `Deny` or `Hold` and not by an `Allow`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub fields: Vec<String>,
    /// Whether `exec` or `attach` passes standard input. Omitted: either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<bool>,
    /// Whether `exec` or `attach` asks for a terminal. Omitted: either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    /// Whether the API server is asked not to keep the change. Omitted: either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}
