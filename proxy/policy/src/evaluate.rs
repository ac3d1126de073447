//! `PolicySet` × `Identity` × `Command` → verdict.

use crate::{Command, DetectorChoice, Evaluation, Identity, MaskPlan, PolicySet, RuleRef, Verdict};

/// The time of an evaluation, given by the caller: this crate has no clock.
pub type Moment = jiff::Timestamp;

impl PolicySet {
    /// Judges one command. Total: every error inside (a CEL expression that fails) is a Deny that says so.
    pub fn evaluate(&self, _identity: &Identity, _command: &Command, _now: Moment) -> Evaluation {
        Evaluation {
            verdict: Verdict::Allow {
                rule: RuleRef { policy: String::new(), generation: 0, rule: String::new() },
                mask: MaskPlan::default(),
            },
            observed: Vec::new(),
        }
    }

    /// Whether any policy of the set is about this identity at all; if not, its session ends (`no-policy`).
    pub fn concerns(&self, _identity: &Identity) -> bool {
        true
    }

    /// Detectors that apply to an identity, whatever the command: for messages outside any command.
    pub fn detectors(&self, _identity: &Identity) -> Vec<DetectorChoice> {
        Vec::new()
    }

    /// Whether any column mask applies to an identity: then messages that belong to no command are withheld.
    pub fn masks_columns(&self, _identity: &Identity) -> bool {
        false
    }
}
