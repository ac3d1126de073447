//! A Kubernetes cluster that agents reach through its API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Kubernetes API server. The gateway acts there as the agent, by impersonation, so that the cluster's own access
/// rules and audit log see the agent.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesTarget {
    /// Address, authorities and credential of the cluster. Omitted: the cluster in which the gateway runs; standalone
    /// it is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig_ref: Option<KubeconfigRef>,
    /// What is put before the identity's user name when the gateway acts as it. Omitted: nothing, and names that begin
    /// with `system:` are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub username_prefix: Option<String>,
    /// What is put before each of the identity's groups. Omitted: nothing, and groups that begin with `system:` are
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub groups_prefix: Option<String>,
    /// Groups of the identity that the gateway acts with, without the prefix; it leaves out the others. Omitted: all.
    /// Empty: none. In the cluster in which it runs, the gateway's account may then act with these and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub groups: Option<Vec<String>>,
}

/// A kubeconfig in a Secret.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubeconfigRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key of the Secret. Omitted: `kubeconfig`. Its current context is used; certificates, keys and tokens are in it,
    /// for files and plugins are nowhere in the gateway.
    #[serde(default = "default_kubeconfig_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn default_kubeconfig_key() -> String {
    "kubeconfig".to_owned()
}
