//! What is observed of a Resource, by the operator and by its gateways.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator observed of a Resource.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Protocol of the Resource, for the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Host and port where clients reach the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Policies in force, with the generation that every gateway runs.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub policies: Vec<PolicyAttachment>,
    /// What each gateway pod runs, in its own words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["pod".into()]))]
    #[schemars(length(max = 256))]
    pub gateways: Vec<GatewayReport>,
    /// `Accepted`, `ResolvedRefs`, `Programmed`, `Ready`, `ApproverBinding`, `Impersonation`, `Reconciling`, `Stalled`.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What one gateway pod runs. It writes this entry itself, before it says that it is ready, and after each change.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayReport {
    /// Name of the pod.
    pub pod: String,
    /// Name of the process, as in the origin of its audit log: a container that was started again has another one.
    #[serde(default)]
    pub instance: String,
    /// Generation of the Resource that it runs; 0 when it runs none.
    #[serde(default)]
    pub resource_generation: i64,
    /// Policies that it enforces.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub policies: Vec<RunningPolicy>,
    /// Why it does not run what was written last; the last good configuration stays in force. Omitted: it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub problem: Option<String>,
    /// Public key by which SSH clients know the gateway, as in `known_hosts` without the name. Omitted: it speaks
    /// another protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub ssh_host_key: Option<String>,
    /// What the cluster of `spec.kubernetes.kubeconfigRef` says of the account under which the gateway acts there.
    /// Omitted: there is no other cluster, or it was not asked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_account: Option<UpstreamAccount>,
}

/// What an upstream says of the gateway's own account there.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamAccount {
    /// What it may not impersonate though it has to, as `RESOURCE[/SUBRESOURCE][/NAME]`. Empty: nothing.
    // always written: of an object without fields, server-side apply leaves null
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub missing: Vec<String>,
    /// Kinds of names of which it may impersonate some at most. Omitted: any, or those of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub narrow: Vec<String>,
    /// Why nothing is known of it. Omitted: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub problem: Option<String>,
}

/// A Policy that a gateway enforces.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningPolicy {
    /// Its name.
    pub name: String,
    /// Its UID: one that was deleted and made again is another one.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
}

/// A Policy in force on a Resource.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAttachment {
    /// Name of the Policy.
    pub name: String,
    /// Its generation that is in force.
    pub observed_generation: i64,
}
