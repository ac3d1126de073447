//! The policy's answer.

use crds::v1alpha1::{Detector, Mask, OnDisconnect, PatternMask, ReviewerRequirement};
use serde::Serialize;
use std::time::Duration;

/// Which rule gave an answer.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleRef {
    /// Name of the Policy; empty for a built-in rule.
    pub policy: String,
    /// Its generation; 0 outside Kubernetes.
    pub generation: i64,
    /// Name of the rule. Built-in ones that refuse: `conflicting-holds`, `default-deny`, `masked-copy`, `masked-predicate`,
    /// `unknown-effects`, `no-policy`; that allow: `connect`, `transaction`, `no-effects`. `observe`, under the name
    /// of a policy, allows what only policies in Observe mode are about.
    pub rule: String,
}

/// Allow, deny or hold, always with the rule that gave it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It may run; results are masked by the plan.
    Allow {
        /// The rule that allowed it: the first, by policy then rule name, where several did.
        rule: RuleRef,
        /// What is masked.
        mask: MaskPlan,
    },
    /// It may not.
    Deny {
        /// The rule that refused it.
        rule: RuleRef,
        /// For the client: what was refused, the author's words, what to do next.
        message: String,
    },
    /// It may if somebody approves.
    Hold {
        /// The rule that holds it.
        rule: RuleRef,
        /// What is masked once it runs.
        mask: MaskPlan,
        /// The terms.
        terms: ApprovalTerms,
        /// For the client.
        message: String,
    },
}

/// Terms of an approval, compiled.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalTerms {
    /// How long the command waits.
    pub timeout: Duration,
    /// Who must approve: alternatives; empty: one approver of any group.
    pub reviewers: Vec<ReviewerRequirement>,
    /// What becomes of the request when the client goes away.
    pub on_disconnect: OnDisconnect,
}

/// A verdict, and what policies in Observe mode would have said.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// What binds.
    pub verdict: Verdict,
    /// What each Observe policy would have done, if other than allowing.
    pub observed: Vec<Observed>,
    /// No rule asked for the time or for a condition: the same set of policies says the same of every command with this
    /// reading, role and namespace, from the same identity.
    #[serde(skip)]
    pub constant: bool,
}

/// What a policy in Observe mode would have done.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// The rule.
    pub rule: RuleRef,
    /// `deny` or `hold`.
    pub verdict: &'static str,
}

/// What to mask in what comes back. "Nothing" is an explicit plan: every list empty, `tainted` false.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MaskPlan {
    /// One entry per result of the command, in order. Nothing is known of a result without an entry: it must be
    /// masked whole if the plan is `tainted`.
    pub outputs: Vec<OutputMask>,
    /// Detectors over every value and message, shared by all commands of the identity.
    pub detectors: Vec<DetectorChoice>,
    /// Masks of fields of objects, for protocols that return objects.
    pub fields: Vec<FieldChoice>,
    /// The command touches masked columns somewhere: texts of errors and notices are withheld.
    pub tainted: bool,
}

/// Masks of one result.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OutputMask {
    /// No column is masked.
    Clear,
    /// One entry per output column; `None` leaves it. A row with another count of columns is masked whole.
    Columns(Vec<Option<Mask>>),
    /// Every column is masked.
    Whole(Mask),
}

/// A detector or pattern, and how its findings are masked.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectorChoice {
    /// Built-in detectors.
    pub detectors: Vec<Detector>,
    /// The author's own patterns.
    pub patterns: Vec<PatternMask>,
    /// How a finding is masked.
    pub with: Mask,
}

/// Fields of objects, and how they are masked.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChoice {
    /// Resources in the plural, with their group unless it is the core one. `*` stands for any characters.
    pub resources: Vec<String>,
    /// Dotted paths; lists are passed through. `*` stands for any characters.
    pub paths: Vec<String>,
    /// How a value is masked.
    pub with: Mask,
}
