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
    /// Namespaces. With it, a request about all namespaces (`list`, `watch` or `deletecollection`, whatever its selectors)
    /// is matched by a `Deny` or `Hold`, for it is about these too, and not by an `Allow`; cluster-wide objects are not
    /// meant. Omitted: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub namespaces: Vec<String>,
    /// Names of objects; of one that is created, the name in its body. With it, a request that names none (`list`,
    /// `deletecollection`, `create` with `generateName`) is matched by a `Deny` or `Hold`, for it may be about the
    /// object, and not by an `Allow`. Omitted: all.
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
    /// Files that the command line of an `exec` touches, as over SSH: `/srv/*`. An `Allow` names `commands` besides (or
    /// `effects` with `Execute`), and must cover every program and every file. A `Deny` or `Hold` is about a line that
    /// touches any, or of which it cannot be told; with `commands` as well, each is enough. In which directory a program
    /// of a pod starts is not known, so that a relative name may be any that ends so. With it, other requests are not
    /// meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub paths: Vec<String>,
    /// What the command line of an `exec` does, in the words of SSH. An `Allow` must name all that it does, running a program
    /// included, and is about a line of which something cannot be told only if it names `Unknown`. Omitted or empty:
    /// every kind but that. With it, other requests are not meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub effects: Vec<ExecEffect>,
    /// Of what the command line of an `exec` does. `true`: only what is done to a whole tree or device, as by `rm -r`.
    /// `false`: only what is not. Omitted: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unbounded: Option<bool>,
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
    /// Whether the API server is asked not to keep the change, of a type that it serves itself: what another server
    /// behind it does counts as no dry run, and so does what nobody is known to serve. Omitted: either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}

/// What the command line of an `exec` does, as [`SshEffect`](super::SshEffect) has it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ExecEffect {
    /// Owner, mode or times of a file are changed.
    Attributes,
    /// A program is run: one for each simple command of a command line.
    Execute,
    /// A directory is listed, or a file's attributes are read.
    List,
    /// A file is read.
    Read,
    /// A file or directory is removed.
    Remove,
    /// A file or directory is renamed or linked.
    Rename,
    /// What cannot be told: a command word that is not literal, code handed to an interpreter, a script.
    Unknown,
    /// A file is written, or a directory made.
    Write,
}
