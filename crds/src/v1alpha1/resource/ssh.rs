//! Hosts that agents reach over SSH.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::v1alpha1::refs::{KeyRef, SecretRef};

/// Hosts that are reached over SSH, and whom an agent may be on them.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshTarget {
    /// The hosts. An agent chooses one by its user name, `role%host`; the first where it names none. At least one.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub hosts: Vec<SshHost>,
    /// Logins that an agent may ask for by user name. At least one.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub roles: Vec<SshRole>,
    /// Secret with the gateway's own keys in OpenSSH's format: `ssh-hostkey`, and `ssh-ca`, which signs the
    /// certificates of `portcullis ssh login`; without it there are none. Omitted: the operator makes the Secret
    /// `<name>-gateway-ssh` once and keeps it; standalone it is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_ref: Option<SecretRef>,
}

/// One host.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.hostKeys) != has(self.hostKeysRef)")
    .message("set either hostKeys or hostKeysRef: a host that nobody knows is not logged in to"))]
pub struct SshHost {
    /// The name by which agents and policies mean it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// DNS name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// TCP port. Omitted: 22.
    #[serde(default = "default_ssh_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Public keys that the host may show, as in `known_hosts` without the name: `ssh-ed25519 AAAA…`; any of them.
    /// Omitted: `hostKeysRef` must be set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub host_keys: Vec<String>,
    /// The same, one per line, in a ConfigMap or Secret. Omitted: `hostKeys` must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_keys_ref: Option<KeyRef>,
}

/// One login on the hosts, and the Secret with its credential.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshRole {
    /// The name an agent gives as its SSH user, and the one that policies name under `roles`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[^%@:\s]+$"))]
    pub name: String,
    /// Secret with key `username`, and either `ssh-privatekey` in OpenSSH's format (with `ssh-certificate`, if the
    /// hosts want one) or `password`. The credential stays in the gateway.
    pub credentials_ref: SecretRef,
}

fn default_ssh_port() -> i32 {
    22
}
