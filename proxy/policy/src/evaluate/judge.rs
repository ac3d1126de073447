//! Touches against rules.

use crds::v1alpha1::{OnDisconnect, ReviewerRequirement, RuleAction};
use std::cell::Cell;

use super::{Moment, built_in, message};
use crate::command::UNKNOWN;
use crate::compile::condition::Scope;
use crate::compile::rule::{EffectSet, Rule};
use crate::{Access, ApprovalTerms, Command, Effects, Identity, Observed, PolicySet, RuleRef, Touch};

/// What the rules say, before masks.
pub(super) enum Judgement<'a> {
    Allow { rule: RuleRef },
    Deny { rule: RuleRef, message: String },
    Hold { rule: &'a Rule, touch: &'a Touch, terms: ApprovalTerms },
}

/// One command to judge.
pub(super) struct Case<'a> {
    set: &'a PolicySet,
    command: &'a Command,
    now: Moment,
    /// For each policy, whether it is about the identity.
    concerned: &'a [bool],
    scope: Scope<'a>,
    touches: Vec<Judged<'a>>,
    /// Kinds of all touches.
    effects: EffectSet,
    /// A rule asked for the time or for a condition.
    varies: Cell<bool>,
}

/// A touch with its kind, looked up once.
#[derive(Clone, Copy)]
struct Judged<'a> {
    touch: &'a Touch,
    effect: EffectSet,
}

/// What the rules of one mode found.
#[derive(Default)]
struct Findings<'a> {
    deny: Option<Denial<'a>>,
    /// Every rule that holds, and the first touch it is about.
    holds: Vec<(&'a Rule, &'a Touch)>,
    /// First rule that allows some touch.
    allow: Option<&'a Rule>,
    /// For each touch, whether some rule allows or holds it.
    covered: Vec<bool>,
    /// Some `Allow` names `Connect`, so that connecting needs one that matches.
    restricts_connect: bool,
}

struct Denial<'a> {
    rule: &'a Rule,
    touch: &'a Touch,
    /// The rule could not be judged, and why.
    failure: Option<String>,
}

/// What a rule does to the command.
enum Effect<'a> {
    /// Nothing: it does not match.
    None,
    /// It matches, first this touch.
    Matches(&'a Touch),
    /// It would match this touch, but its `when` cannot be evaluated.
    Fails(&'a Touch, String),
}

impl<'a> Case<'a> {
    pub(super) fn new(
        set: &'a PolicySet,
        identity: &'a Identity,
        command: &'a Command,
        now: Moment,
        concerned: &'a [bool],
    ) -> Self {
        let (touches, unknown) = match &command.reading.effects {
            Effects::Known(touches) => (touches, None),
            Effects::Unknown { touches, .. } => (touches, Some(&UNKNOWN)),
        };
        let touches: Vec<_> = touches
            .iter()
            .chain(unknown)
            .map(|touch| Judged { touch, effect: EffectSet::of(touch) })
            .collect();
        let effects = touches.iter().fold(EffectSet::NONE, |all, judged| all.union(judged.effect));
        let scope = Scope::new(&set.env, &set.resource, identity, command, now);
        Self { set, command, now, concerned, scope, touches, effects, varies: Cell::new(false) }
    }

    /// Whether what was judged depends on nothing but the policies, the identity, and what the command is.
    pub(super) fn is_constant(&self) -> bool {
        !self.varies.get()
    }

    /// What binds, and what each policy in Observe mode would have done.
    pub(super) fn judge(&self) -> (Judgement<'a>, Vec<Observed>) {
        let mut enforced = self.findings();
        let mut trial = self.findings();
        let mut observed = Vec::new();
        for rule in self.set.rules.iter().filter(|rule| self.is_concerned(rule.policy)) {
            if self.set.is_enforced(rule.policy) {
                self.apply(rule, &mut enforced);
            } else {
                self.observe(rule, &mut trial, &mut observed);
            }
        }
        let policies = self.set.policies.iter().enumerate().filter(|(index, _)| self.is_concerned(*index));
        let mut policies = policies.map(|(index, policy)| (self.set.is_enforced(index), policy));
        let Some((_, first)) = policies.clone().next() else { return (self.conclude(&enforced), observed) };
        if policies.any(|(enforced, _)| enforced) {
            return (self.conclude(&enforced), observed);
        }
        if observed.is_empty()
            && let Judgement::Deny { rule, .. } = self.conclude(&trial)
        {
            observed.push(Observed { rule, verdict: "deny" });
        }
        let rule =
            RuleRef { policy: first.name.clone(), generation: first.generation, rule: "observe".to_owned() };
        (Judgement::Allow { rule }, observed)
    }

    fn findings(&self) -> Findings<'a> {
        Findings { covered: vec![false; self.touches.len()], ..Findings::default() }
    }

    fn is_concerned(&self, policy: usize) -> bool {
        self.concerned.get(policy).copied().unwrap_or(false)
    }

    fn apply(&self, rule: &'a Rule, findings: &mut Findings<'a>) {
        if rule.action == RuleAction::Allow && rule.named.meets(EffectSet::CONNECT) {
            findings.restricts_connect = true;
        }
        let touch = match self.effect(rule) {
            Effect::None => return,
            Effect::Matches(touch) => touch,
            Effect::Fails(touch, failure) => {
                findings.deny.get_or_insert(Denial { rule, touch, failure: Some(failure) });
                return;
            }
        };
        match rule.action {
            RuleAction::Deny => {
                findings.deny.get_or_insert(Denial { rule, touch, failure: None });
                return;
            }
            RuleAction::Hold => {
                findings.holds.push((rule, touch));
            }
            RuleAction::Allow => {
                findings.allow.get_or_insert(rule);
            }
        }
        for (covered, judged) in findings.covered.iter_mut().zip(&self.touches) {
            *covered |= self.matches(rule, *judged);
        }
    }

    /// One entry for each policy: its first rule that denies, else its first that holds.
    fn observe(&self, rule: &'a Rule, trial: &mut Findings<'a>, observed: &mut Vec<Observed>) {
        let mut alone = self.findings();
        self.apply(rule, &mut alone);
        let verdict = match (&alone.deny, alone.holds.is_empty()) {
            (Some(_), _) => Some("deny"),
            (None, false) => Some("hold"),
            (None, true) => None,
        };
        if let Some(verdict) = verdict {
            let said = observed.iter_mut().find(|earlier| earlier.rule.policy == rule.reference.policy);
            match said {
                None => observed.push(Observed { rule: rule.reference.clone(), verdict }),
                Some(earlier) if earlier.verdict == "hold" && verdict == "deny" => {
                    *earlier = Observed { rule: rule.reference.clone(), verdict };
                }
                Some(_) => {}
            }
        }
        trial.merge(alone);
    }

    fn effect(&self, rule: &'a Rule) -> Effect<'a> {
        if !rule.effects.meets(self.effects) {
            return Effect::None;
        }
        if rule.is_timed() || rule.when.is_some() {
            self.varies.set(true);
        }
        if !rule.in_force(self.command, self.now) {
            return Effect::None;
        }
        let Some(first) = self.touches.iter().find(|judged| self.matches(rule, **judged)) else {
            return Effect::None;
        };
        match rule.when.as_ref().map(|condition| condition.holds(&self.scope)) {
            None | Some(Ok(true)) => Effect::Matches(first.touch),
            Some(Ok(false)) => Effect::None,
            Some(Err(failure)) => Effect::Fails(first.touch, failure),
        }
    }

    /// Whether a rule is about a touch; those that need no rule are only for rules that name them.
    fn matches(&self, rule: &Rule, judged: Judged<'_>) -> bool {
        let about = match rule.action {
            _ if judged.is_plain_transaction() => rule.named.meets(EffectSet::TRANSACTION),
            RuleAction::Deny => true,
            RuleAction::Allow | RuleAction::Hold => {
                !judged.effect.meets(EffectSet::CONNECT) || rule.named.meets(EffectSet::CONNECT)
            }
        };
        about && rule.matches(judged.touch, judged.effect, self.command)
    }

    fn conclude(&self, findings: &Findings<'a>) -> Judgement<'a> {
        if let Some(denial) = &findings.deny {
            return self.denied(denial);
        }
        if let Some(uncovered) = self.uncovered(findings) {
            return self.denied_by_default(uncovered.touch);
        }
        if let Some(first) = findings.holds.first() {
            return self.held(first, &findings.holds);
        }
        let rule = findings.allow.map_or_else(|| built_in(self.needless()), |rule| rule.reference.clone());
        Judgement::Allow { rule }
    }

    /// The rule whose reviewers an approval needs: those who satisfy every rule that holds, so that none of them is
    /// passed by; with the shortest wait of all, and claimable only if all say so.
    fn held(&self, first: &(&'a Rule, &'a Touch), holds: &[(&'a Rule, &'a Touch)]) -> Judgement<'a> {
        let all = |rule: &Rule| holds.iter().all(|(other, _)| satisfies(&rule.terms, &other.terms));
        let Some((rule, touch)) = holds.iter().find(|(rule, _)| all(rule)) else {
            let other =
                holds.iter().find(|(other, _)| !satisfies(&first.0.terms, &other.terms)).unwrap_or(first);
            return Judgement::Deny {
                rule: built_in("conflicting-holds"),
                message: message::conflicting(first.0, other.0, self.command),
            };
        };
        let mut terms = rule.terms.clone();
        for (other, _) in holds {
            terms.timeout = terms.timeout.min(other.terms.timeout);
            if other.terms.on_disconnect == OnDisconnect::Withdraw {
                terms.on_disconnect = OnDisconnect::Withdraw;
            }
        }
        Judgement::Hold { rule, touch, terms }
    }

    fn denied(&self, denial: &Denial<'_>) -> Judgement<'a> {
        let message = match &denial.failure {
            Some(failure) => message::failed(denial.rule, failure, self.command),
            None => message::deny(denial.rule, denial.touch, self.command),
        };
        Judgement::Deny { rule: denial.rule.reference.clone(), message }
    }

    /// The first touch that nothing permits; what cannot be told comes before the rest, as it says more.
    fn uncovered(&self, findings: &Findings<'_>) -> Option<&Judged<'a>> {
        let mut uncovered = self.touches.iter().zip(&findings.covered).filter(|(judged, covered)| {
            !**covered
                && !judged.is_plain_transaction()
                && (!judged.effect.meets(EffectSet::CONNECT) || findings.restricts_connect)
        });
        let first = uncovered.next()?.0;
        let last = uncovered.next_back().map_or(first, |(judged, _)| judged);
        Some(if last.effect.meets(EffectSet::UNKNOWN) { last } else { first })
    }

    fn denied_by_default(&self, touch: &Touch) -> Judgement<'a> {
        match &self.command.reading.effects {
            Effects::Unknown { why, .. } if *touch == UNKNOWN => Judgement::Deny {
                rule: built_in("unknown-effects"),
                message: message::unknown(why, self.command),
            },
            Effects::Unknown { .. } | Effects::Known(_) => Judgement::Deny {
                rule: built_in("default-deny"),
                message: message::default_deny(touch, self.command, &self.set.resource.name),
            },
        }
    }

    /// The built-in rule that allows what needs no rule.
    fn needless(&self) -> &'static str {
        if self.effects.meets(EffectSet::CONNECT) {
            "connect"
        } else if self.touches.is_empty() {
            "no-effects"
        } else {
            "transaction"
        }
    }
}

/// Whether whoever may approve under the one terms, in any of the ways they give, satisfies the other ones too.
fn satisfies(one: &ApprovalTerms, other: &ApprovalTerms) -> bool {
    let anybody = [ReviewerRequirement { group: None, count: 1 }];
    let ways = |terms: &'_ ApprovalTerms| -> Vec<ReviewerRequirement> {
        if terms.reviewers.is_empty() { anybody.to_vec() } else { terms.reviewers.clone() }
    };
    let needed = ways(other);
    ways(one).iter().all(|way| {
        let meets = |need: &ReviewerRequirement| {
            way.count >= need.count && (need.group.is_none() || need.group == way.group)
        };
        needed.iter().any(meets)
    })
}

impl Judged<'_> {
    fn is_plain_transaction(self) -> bool {
        self.effect.meets(EffectSet::TRANSACTION) && self.touch.access == Access::Read
    }
}

impl Findings<'_> {
    /// Adds what a later rule found.
    fn merge(&mut self, later: Self) {
        self.deny = self.deny.take().or(later.deny);
        self.holds.extend(later.holds);
        self.allow = self.allow.or(later.allow);
        self.restricts_connect |= later.restricts_connect;
        for (covered, more) in self.covered.iter_mut().zip(later.covered) {
            *covered |= more;
        }
    }
}
