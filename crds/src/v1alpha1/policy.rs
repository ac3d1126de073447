//! `Policy`: who may do what to which Resources, and what is masked.

mod kubernetes;
mod program;
mod ssh;

pub use kubernetes::{ExecEffect, KubernetesMatch};
pub use program::ProgramPattern;
pub use ssh::{ShellMode, SshEffect, SshMatch};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::masking::{MaskingRule, PredicateAccess};

/// Rules and masks for some identities on some Resources.
///
/// All Policies of a Resource are judged together: Deny beats Hold beats Allow, and what nothing allows is denied.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "Policy",
    namespaced,
    status = "PolicyStatus",
    derive = "PartialEq",
    shortname = "ppol",
    category = "portcullis",
    doc = "Who may do what to which Resources, and what is masked.",
    printcolumn(name = "Targets", type_ = "string", json_path = ".spec.targetRefs[*].name"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.resourceSelector) != (has(self.targetRefs) && size(self.targetRefs) > 0)")
    .message("set either targetRefs or resourceSelector"))]
pub struct PolicySpec {
    /// The Resources by name. Omitted or empty: `resourceSelector` must be set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub target_refs: Vec<TargetRef>,
    /// The Resources by label, in the same namespace. Omitted: `targetRefs` must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_selector: Option<LabelSelector>,
    /// Whom the rules are about: an identity that matches any entry. Omitted or empty: every authenticated one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub subjects: Vec<Subject>,
    /// Rules; their order has no meaning. Names must differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub rules: Vec<PolicyRule>,
    /// What is masked in results, messages and records. Applies to every identity that `subjects` matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub masking: Vec<MaskingRule>,
    /// Whether commands may filter or sort by masked columns, which tells values by counting. Omitted: `Allow`.
    #[serde(default)]
    pub masked_predicates: PredicateAccess,
    /// Whether the rules bind. Omitted: `Enforce`. Masking binds in both modes.
    #[serde(default)]
    pub mode: PolicyMode,
}

/// A Resource by name.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// Omitted: `Resource`, the only kind there is.
    #[serde(default)]
    pub kind: TargetKind,
    /// Name of the Resource, in the Policy's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Kinds a Policy can be about.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TargetKind {
    /// `portcullis.dev/Resource`.
    #[default]
    Resource,
}

/// Matches identities; every field that is set must match.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// A group of the identity. Exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The identity's user name (the mapped claim). Exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The token's issuer. Exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// A claim of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimMatch>,
}

/// Matches one claim.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimMatch {
    /// Name of the claim, for example `repository`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The claim (or, if it is a list, one of its entries) must match one of these. `*` stands for any characters.
    #[schemars(length(min = 1, max = 64))]
    pub values: Vec<String>,
}

/// One rule.
///
/// `Deny` and `Hold` apply to a command if any of its effects matches. A command is allowed if every one of its
/// effects is matched by some `Allow` (or `Hold`, then it is held).
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.approval) || self.action == 'Hold'")
    .message("approval is only for action Hold"))]
#[x_kube(validation = Rule::new("[has(self.postgresql), has(self.ssh), has(self.kubernetes)].filter(set, set).size() <= 1")
    .message("set at most one of postgresql, ssh and kubernetes"))]
pub struct PolicyRule {
    /// Name, unique in the Policy; it is in every refusal and record.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What happens to a command that matches.
    pub action: RuleAction,
    /// Matches PostgreSQL effects. Omitted, as the other protocols are: matches every effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<PostgresqlMatch>,
    /// Matches what is done over SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshMatch>,
    /// Matches requests to a Kubernetes API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesMatch>,
    /// Upstream roles this rule is about. Omitted or empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub roles: Vec<String>,
    /// A CEL expression over `identity`, `command`, `resource`, `now` that must be true. Omitted: true. One that
    /// fails to evaluate refuses the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub when: Option<String>,
    /// Times at which the rule is in force; any of them. Omitted or empty: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub during: Vec<TimeWindow>,
    /// What the client is told when the rule refuses or holds: the author's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// Terms of the approval. Only with `action: Hold`; omitted there: 900 seconds, anybody who may approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RuleAction {
    /// The matched effects may happen.
    Allow,
    /// The command is refused.
    Deny,
    /// The command waits for an approval.
    Hold,
}

/// Matches effects of a PostgreSQL statement; every field that is set must match.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresqlMatch {
    /// Kinds of effect. Omitted or empty: every kind, but an `Allow` or `Hold` must name `Unknown` to be about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub effects: Vec<PostgresqlEffect>,
    /// Relations as `schema.name`, resolved against the catalogue; `*` stands for any characters. Omitted: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub relations: Vec<String>,
    /// Functions as `schema.name`, `*` as above; about effects of kind `Call`. Omitted: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub functions: Vec<String>,
    /// Databases by name, `*` as above. Omitted: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub databases: Vec<String>,
    /// `true`: only an `Update` or `Delete` that nothing bounds to some rows. `false`: only bounded ones, and whatever
    /// other effects the rule names. Omitted: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unbounded: Option<bool>,
}

/// What a PostgreSQL statement does to an object.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum PostgresqlEffect {
    /// `ALTER` of anything, `COMMENT`, `SECURITY LABEL`.
    Alter,
    /// `ALTER SYSTEM`, `CHECKPOINT`, `LOAD`, `DISCARD`, tablespaces, and the like: the server itself.
    Administer,
    /// A function outside the allow-list.
    Call,
    /// The opening of a session on a database.
    Connect,
    /// `CREATE` of anything.
    Create,
    /// Rows removed: `DELETE`, `MERGE … DELETE`.
    Delete,
    /// `DROP` of anything.
    Drop,
    /// `GRANT`, `REVOKE`, role membership, default privileges, ownership.
    Grant,
    /// Rows added: `INSERT`, `MERGE … INSERT`, `COPY … FROM STDIN`.
    Insert,
    /// `LISTEN`, `UNLISTEN`, `NOTIFY`.
    Notify,
    /// `LOCK TABLE`, `SELECT … FOR UPDATE` and its kin.
    Lock,
    /// `VACUUM`, `ANALYZE`, `REINDEX`, `CLUSTER`, `REFRESH MATERIALIZED VIEW`.
    Maintain,
    /// Rows read, anywhere in the statement.
    Select,
    /// A file or program of the server: `COPY … TO 'file'`, `COPY … PROGRAM`.
    ServerFile,
    /// A session setting: `SET`, `RESET`, `SET ROLE`.
    Set,
    /// `BEGIN`, `COMMIT`, `ROLLBACK`, savepoints, cursors being closed, `SHOW`: nothing by themselves.
    Transaction,
    /// `TRUNCATE`.
    Truncate,
    /// What cannot be told: `DO`, `CALL`, dynamic SQL, a construct that the analyser does not know.
    Unknown,
    /// Rows changed: `UPDATE`, `MERGE … UPDATE`, `INSERT … ON CONFLICT DO UPDATE`.
    Update,
}

/// A time of the week.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeWindow {
    /// Days on which the window opens. Omitted or empty: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Weekday>,
    /// Opening time `HH:MM`, inclusive. Omitted: `00:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Closing time `HH:MM`, exclusive; earlier than `from`: the next day. Omitted: `24:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// IANA time zone. Omitted: `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// Days of the week.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[expect(missing_docs, reason = "days explain themselves")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// Terms under which a held command is approved.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// Seconds after which the request expires and the command is refused. Omitted: 900.
    #[serde(default = "default_timeout_seconds")]
    #[schemars(range(min = 1, max = 86400))]
    pub timeout_seconds: i32,
    /// Who must approve: alternatives, any one entry suffices. Omitted or empty: one approver of any group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub reviewers: Vec<ReviewerRequirement>,
    /// What becomes of the request when the client goes away. Omitted: `Withdraw`. A client of the Kubernetes API that
    /// has waited for the Resource's `holdSeconds` is told to repeat its request: that is not going away, and the
    /// approval can be claimed either way.
    #[serde(default)]
    pub on_disconnect: OnDisconnect,
}

impl Default for Approval {
    fn default() -> Self {
        Self {
            timeout_seconds: default_timeout_seconds(),
            reviewers: Vec::new(),
            on_disconnect: OnDisconnect::Withdraw,
        }
    }
}

/// So many approvers of one group.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReviewerRequirement {
    /// Group in which they decide. Omitted: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How many different approvers. Omitted: 1.
    #[serde(default = "default_count")]
    #[schemars(range(min = 1, max = 16))]
    pub count: i32,
}

/// What becomes of a request when the client that waited goes away.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum OnDisconnect {
    /// It can still be approved until it expires; the same identity repeating the command gets it at once.
    Claimable,
    /// It is withdrawn.
    #[default]
    Withdraw,
}

/// Whether rules bind.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PolicyMode {
    /// They do.
    #[default]
    Enforce,
    /// They do not: commands that no other Policy refuses run, and the record says what would have happened.
    Observe,
}

/// What the operator observed of a Policy.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `ResolvedRefs`, `Programmed`.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

fn default_timeout_seconds() -> i32 {
    900
}
fn default_count() -> i32 {
    1
}
