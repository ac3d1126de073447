//! `ApprovalRequest`: one held command, and what was decided about it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::policy::{OnDisconnect, ReviewerRequirement};

/// One held command. Written once by the gateway; only `decisions` may grow.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "ApprovalRequest",
    namespaced,
    status = "ApprovalRequestStatus",
    derive = "PartialEq",
    shortname = "par",
    category = "portcullis",
    doc = "One held command. Append a decision to spec.decisions to approve or deny it.",
    selectable = ".spec.resourceRef.name",
    selectable = ".spec.policyRef.name",
    printcolumn(name = "Requester", type_ = "string", json_path = ".spec.requester.username"),
    printcolumn(name = "Resource", type_ = "string", json_path = ".spec.resourceRef.name"),
    printcolumn(name = "Command", type_ = "string", json_path = ".spec.command.summary"),
    printcolumn(
        name = "Decision",
        type_ = "string",
        json_path = ".status.conditions[?(@.status=='True')].type"
    ),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.resourceRef == oldSelf.resourceRef && self.requester == oldSelf.requester && self.session == oldSelf.session && self.policyRef == oldSelf.policyRef && self.expiresAt == oldSelf.expiresAt && self.onDisconnect == oldSelf.onDisconnect")
    .message("only decisions may be appended; everything else was written by the gateway and is immutable"))]
#[x_kube(validation = Rule::new("self.command == oldSelf.command")
    .message("command: immutable; an approval is for the command that was held"))]
#[x_kube(validation = Rule::new("self.reviewers == oldSelf.reviewers")
    .message("reviewers: immutable; change the Policy and have the command sent again"))]
pub struct ApprovalRequestSpec {
    /// The Resource that the command is for.
    pub resource_ref: ResourceRef,
    /// Who asks.
    pub requester: Requester,
    /// Session of the command, as in the audit log.
    #[schemars(length(max = 64))]
    pub session: String,
    /// The command.
    pub command: HeldCommand,
    /// The rule that holds it.
    pub policy_ref: PolicyRef,
    /// Who must approve: alternatives. Empty: one approver of any group.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub reviewers: Vec<ReviewerRequirement>,
    /// When the request expires, RFC 3339.
    #[schemars(length(max = 40))]
    pub expires_at: String,
    /// Whether an approval can be claimed by repeating the command while nobody waits for it: `Claimable` where the rule
    /// says so, and of every request to a Kubernetes API, which is withdrawn all the same if its client goes away before
    /// it was told to repeat it.
    #[serde(default)]
    pub on_disconnect: OnDisconnect,
    /// Appended by approvers, one entry each.
    #[serde(default)]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["approver".into()]))]
    pub decisions: Vec<Decision>,
}

/// A Resource, bound by UID where there is one.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceRef {
    /// Name of the Resource.
    pub name: String,
    /// Its UID. Omitted outside Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// The identity that sent a held command.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requester {
    /// Issuer of its token.
    pub issuer: String,
    /// Subject of its token.
    pub subject: String,
    /// Its user name (the mapped claim).
    pub username: String,
    /// Its groups.
    #[serde(default)]
    #[schemars(length(max = 256), inner(length(max = 1024)))]
    pub groups: Vec<String>,
    /// Claims that help an approver: repository, ref, run id and the like. Values are masked like any text.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 64), inner(length(max = 4096)))]
    pub claims: BTreeMap<String, String>,
}

/// A held command, literals masked.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeldCommand {
    /// Protocol of the Resource.
    pub protocol: String,
    /// One short line for lists.
    #[schemars(length(max = 256))]
    pub summary: String,
    /// The command with every literal replaced.
    #[schemars(length(max = 16384))]
    pub text: String,
    /// Its effects, one line each: `Delete public.orders (unbounded)`.
    #[serde(default)]
    #[schemars(length(max = 256), inner(length(max = 1024)))]
    pub effects: Vec<String>,
    /// Keyed digest of the exact command, its parameters, database, role and search path: releases this instance.
    pub digest: String,
    /// Keyed digest of the canonical effect: lets a repetition claim the approval.
    pub effect_digest: String,
    /// Whether it was sent inside a transaction. Omitted: `Idle`.
    #[serde(default)]
    pub transaction: TransactionState,
    /// What is known of what it would do, one line or several: `about 1200 rows`, `spec.replicas: 1 → 3`. Values that
    /// are masked are not in it. Omitted: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub estimate: Option<String>,
    /// The commands, where one request is for several that came together: an approval is for these and no other, each
    /// once. Omitted: it is for one command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub members: Vec<HeldMember>,
}

/// One of several commands that are held together.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeldMember {
    /// One short line for lists.
    #[schemars(length(max = 256))]
    pub summary: String,
    /// As `digest` of the whole, of this command.
    #[schemars(length(max = 128))]
    pub digest: String,
    /// As `effectDigest` of the whole, of this command.
    #[schemars(length(max = 128))]
    pub effect_digest: String,
}

/// Transaction status when the command was held.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TransactionState {
    /// Outside a transaction.
    #[default]
    Idle,
    /// Inside one: its locks are kept while the command waits.
    InTransaction,
}

/// The rule that holds a command.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRef {
    /// Name of the Policy.
    pub name: String,
    /// Generation that was in force. Outside Kubernetes: 0.
    #[serde(default)]
    pub generation: i64,
    /// Name of the rule.
    pub rule: String,
}

/// One approver's decision.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decision {
    /// Authenticated name of who decides; admission checks it. Outside Kubernetes: the operating-system user.
    #[schemars(length(min = 1, max = 253))]
    pub approver: String,
    /// Group in which they decide. Needed where `reviewers` name a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What they decide.
    pub verdict: ApprovalVerdict,
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
}

/// What an approver decides.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ApprovalVerdict {
    /// It may run.
    Approved,
    /// It may not. One denial denies.
    Denied,
}

/// The one terminal condition, then `Consumed`.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRequestStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Approved`, `Denied`, `Expired` or `Withdrawn`, then `Consumed`. None of them: pending.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
