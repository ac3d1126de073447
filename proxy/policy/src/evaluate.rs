//! `PolicySet` × `Identity` × `Command` → verdict.
//!
//! # Which policies
//! Those of the set whose `subjects` match the identity. If there is none, the answer is Deny by the built-in rule
//! `no-policy`.
//!
//! # Which rules
//! Every [`Touch`](crate::Touch) of the command is judged by every rule of those policies that is in force (`roles`,
//! `during`) and matches it (`effects`, `relations`, `functions`, `databases`, `unbounded`), and whose `when` is true.
//! A `Deny` or `Hold` applies to the command if it matches any touch. The command is allowed if every touch is matched
//! by an `Allow` or a `Hold`; else it is denied by `default-deny`. Deny beats Hold beats Allow. Of several rules that
//! give the same answer, the first by policy, then by rule name is named; of several Holds the first whose reviewers
//! satisfy all of them, with the shortest timeout. If there is none, since each asks for others, the answer is Deny by
//! `conflicting-holds`: an approval is given under one rule, and would pass the other by. A `when` that fails to
//! evaluate denies by its rule, whatever the action of the rule: an `Allow` that cannot be judged is no permission, a
//! `Deny` that cannot be judged no freedom.
//!
//! # What needs no rule
//! * Touches `Transaction` that read (`BEGIN`, `COMMIT`, `SHOW`) do nothing by themselves, and a client that cannot
//!   end a transaction is worse off than one that may. Only rules that name `Transaction` are about them.
//! * The touch `Connect` is how a session begins: whom some policy concerns may connect, and is judged by what it
//!   then does. A `Deny` that matches it refuses; once some `Allow` of the identity's policies names `Connect`, one of
//!   those must match; a `Hold` is about it only if it names it, since holding every command is not meant to hold
//!   log-ins.
//! * A command without any touch (an empty query) is allowed by `no-effects`.
//!
//! # What cannot be told
//! [`Effects::Unknown`](crate::Effects::Unknown) counts as one more touch, of kind `Unknown` and object `other`. An
//! `Allow` or `Hold` matches it only if it names `Unknown`; a `Deny` also if it names no effect at all. Otherwise the
//! answer is Deny by `unknown-effects`. The touches that are certain are judged as ever. An `Allow` of `Unknown` gives
//! up `masked-copy` for what it allows: where a `DO` block stores what it reads, nobody sees.
//!
//! # Observe mode
//! Rules of policies in Observe mode never bind; what they would have done is in [`Evaluation::observed`]. If only
//! such policies concern the identity, everything but what masking refuses is allowed, by the rule `observe`.
//!
//! # Masking
//! Binds in both modes. See the plan's builder for which value gets which mask. Two built-in rules refuse:
//! `masked-copy` what would store a masked value where no mask covers it, and, for policies with
//! `maskedPredicates: Deny`, `masked-predicate` what filters or sorts by a masked column.

mod judge;
mod mask;
mod message;

use crds::v1alpha1::PolicyMode;

use self::judge::{Case, Judgement};
use self::mask::Masking;
use crate::{
    ColumnName, Command, DetectorChoice, Evaluation, FieldChoice, Identity, MaskPlan, PolicySet, RuleRef,
    Verdict,
};

/// The time of an evaluation, given by the caller: this crate has no clock.
pub type Moment = jiff::Timestamp;

impl PolicySet {
    /// Judges one command. Total: every error inside (a CEL expression that fails) is a Deny that says so.
    pub fn evaluate(&self, identity: &Identity, command: &Command, now: Moment) -> Evaluation {
        let concerned = self.concerned(identity);
        if !concerned.contains(&true) {
            let verdict = Verdict::Deny {
                rule: built_in("no-policy"),
                message: message::no_policy(command, &self.resource.name),
            };
            return Evaluation { verdict, observed: Vec::new(), constant: true };
        }
        let case = Case::new(self, identity, command, now, &concerned);
        let (judgement, observed) = case.judge();
        let constant = case.is_constant();
        Evaluation { verdict: self.verdict(judgement, command, &concerned), observed, constant }
    }

    /// Masks may refuse what rules allow, and everything that is not refused carries its masks.
    fn verdict(&self, judgement: Judgement<'_>, command: &Command, concerned: &[bool]) -> Verdict {
        if let Judgement::Deny { rule, message } = judgement {
            return Verdict::Deny { rule, message };
        }
        let masking = Masking::new(self, concerned);
        if let Some((rule, message)) = masking.refusal(command) {
            return Verdict::Deny { rule: built_in(rule), message };
        }
        let mask = MaskPlan {
            detectors: self.detectors_of(concerned),
            fields: self.fields_of(concerned),
            ..masking.plan(command)
        };
        match judgement {
            Judgement::Deny { rule, message } => Verdict::Deny { rule, message },
            Judgement::Allow { rule } => Verdict::Allow { rule, mask },
            Judgement::Hold { rule, touch, terms } => Verdict::Hold {
                rule: rule.reference.clone(),
                mask,
                terms,
                message: message::hold(rule, touch, command),
            },
        }
    }

    /// Whether any policy of the set is about this identity at all; if not, its session ends (`no-policy`).
    pub fn concerns(&self, identity: &Identity) -> bool {
        self.policies.iter().any(|policy| policy.concerns(identity))
    }

    /// Detectors that apply to an identity, whatever the command: for messages outside any command.
    pub fn detectors(&self, identity: &Identity) -> Vec<DetectorChoice> {
        self.detectors_of(&self.concerned(identity))
    }

    /// Masks of fields that apply to an identity, whatever the command.
    pub fn fields(&self, identity: &Identity) -> Vec<FieldChoice> {
        self.fields_of(&self.concerned(identity))
    }

    /// Whether any column mask applies to an identity: then messages that belong to no command are withheld.
    pub fn masks_columns(&self, identity: &Identity) -> bool {
        self.policies.iter().any(|policy| policy.masks_columns && policy.concerns(identity))
    }

    /// Whether a column (`schema.table.column`) is masked for an identity.
    pub fn masks_column(&self, identity: &Identity, column: &str) -> bool {
        Masking::new(self, &self.concerned(identity)).is_masked(&ColumnName(column.to_owned()))
    }

    /// For each policy, whether it is about the identity.
    fn concerned(&self, identity: &Identity) -> Vec<bool> {
        self.policies.iter().map(|policy| policy.concerns(identity)).collect()
    }

    fn detectors_of(&self, concerned: &[bool]) -> Vec<DetectorChoice> {
        let policies = self.policies.iter().zip(concerned).filter(|(_, concerned)| **concerned);
        policies.flat_map(|(policy, _)| policy.detectors.iter().cloned()).collect()
    }

    fn fields_of(&self, concerned: &[bool]) -> Vec<FieldChoice> {
        let policies = self.policies.iter().zip(concerned).filter(|(_, concerned)| **concerned);
        policies.flat_map(|(policy, _)| policy.fields.iter().cloned()).collect()
    }

    fn is_enforced(&self, policy: usize) -> bool {
        self.policies.get(policy).is_some_and(|policy| policy.mode == PolicyMode::Enforce)
    }
}

/// Names a rule that no policy wrote.
fn built_in(rule: &str) -> RuleRef {
    RuleRef { policy: String::new(), generation: 0, rule: rule.to_owned() }
}

#[cfg(test)]
mod tests;
