//! A Kubernetes cluster that agents reach through its API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Kubernetes API server. The gateway acts there as the agent, by impersonation, so that the cluster's own access
/// rules and audit log see the agent.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
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
    /// Seconds that a held request waits before its client is told to repeat it once it is approved; the request for
    /// approval stays open until it expires. Omitted: 50, for load balancers close what is silent for 60. Longer than
    /// the rule's `timeoutSeconds`: it waits until that.
    #[serde(default = "default_hold_seconds")]
    #[schemars(range(min = 5, max = 86400))]
    pub hold_seconds: i32,
}

impl Default for KubernetesTarget {
    fn default() -> Self {
        Self {
            kubeconfig_ref: None,
            username_prefix: None,
            groups_prefix: None,
            groups: None,
            hold_seconds: default_hold_seconds(),
        }
    }
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

const fn default_hold_seconds() -> i32 {
    50
}

fn default_kubeconfig_key() -> String {
    "kubeconfig".to_owned()
}
