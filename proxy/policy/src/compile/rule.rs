//! One rule, compiled, and whether it is about a touch.

use cel::Env;
use crds::v1alpha1::{Approval, PolicyRule, PolicySpec, PostgresqlEffect, PostgresqlMatch, RuleAction};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

use super::condition::Condition;
use super::glob::Globs;
use super::window::Window;
use super::{Problems, ResourceFacts};
use crate::{Access, ApprovalTerms, Command, RuleRef, Touch};

/// Kinds of effect as bits, so that rules without a matching kind are skipped by one `and`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct EffectSet(u32);

impl EffectSet {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const UNKNOWN: Self = Self(1 << PostgresqlEffect::Unknown as u32);
    pub(crate) const CONNECT: Self = Self(1 << PostgresqlEffect::Connect as u32);
    pub(crate) const TRANSACTION: Self = Self(1 << PostgresqlEffect::Transaction as u32);
    /// A kind that the CRD has no word for: only rules about every kind match it.
    const UNNAMED: Self = Self(1 << 31);
    const ALL: Self = Self(!0);
    const ALL_BUT_UNKNOWN: Self = Self(!Self::UNKNOWN.0);

    pub(crate) fn of(touch: &Touch) -> Self {
        effect_named(touch.effect).map_or(Self::UNNAMED, |effect| Self(1 << effect as u32))
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A rule, compiled.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Index of its policy in the set.
    pub(crate) policy: usize,
    pub(crate) reference: RuleRef,
    pub(crate) action: RuleAction,
    /// Kinds it is about.
    pub(crate) effects: EffectSet,
    /// Kinds it names itself; none when it names none.
    pub(crate) named: EffectSet,
    pub(crate) message: Option<String>,
    pub(crate) terms: ApprovalTerms,
    pub(crate) when: Option<Condition>,
    relations: Globs,
    functions: Globs,
    databases: Globs,
    unbounded: Option<bool>,
    roles: Vec<String>,
    during: Vec<Window>,
}

impl Rule {
    /// Whether the rule is in force for the session's role at this time. `when` is not asked: it is dear.
    pub(crate) fn in_force(&self, command: &Command, now: Timestamp) -> bool {
        (self.roles.is_empty() || self.roles.contains(&command.role))
            && (self.during.is_empty() || self.during.iter().any(|window| window.contains(now)))
    }

    /// Whether the rule is about a touch, `effect` being the touch's kind.
    pub(crate) fn matches(&self, touch: &Touch, effect: EffectSet, command: &Command) -> bool {
        self.effects.meets(effect)
            && self.matches_bound(touch, effect)
            && self.matches_object(touch)
            && self.matches_database(touch, command)
    }

    /// Only an `Update` or `Delete` can be unbounded. Other kinds are never meant by `unbounded: true`, and by
    /// `unbounded: false` only if the rule names them: an `Allow` of whatever is bounded must not cover a `Drop`.
    fn matches_bound(&self, touch: &Touch, effect: EffectSet) -> bool {
        self.unbounded.is_none_or(|unbounded| match touch.effect {
            "Update" | "Delete" => touch.unbounded == unbounded,
            _ => !unbounded && self.named.meets(effect),
        })
    }

    /// With `relations` or `functions`, objects of other kinds are not meant: an `Allow` for a table must not
    /// cover a role. With both, each is about its own kind. `SELECT 1` reads no relation at all: whoever may read some
    /// may run it, and no `Deny` or `Hold` of some is about it.
    fn matches_object(&self, touch: &Touch) -> bool {
        if self.relations.is_empty() && self.functions.is_empty() {
            return true;
        }
        match touch.object {
            "relation" if touch.name.is_empty() && touch.access == Access::Read => {
                self.action == RuleAction::Allow && !self.relations.is_empty()
            }
            "relation" => self.relations.matches(&touch.name),
            "function" => self.functions.matches(&touch.name),
            _ => false,
        }
    }

    fn matches_database(&self, touch: &Touch, command: &Command) -> bool {
        let database = match touch.object {
            "database" if !touch.name.is_empty() => &touch.name,
            _ => &command.namespace,
        };
        self.databases.is_empty() || self.databases.matches(database)
    }
}

/// What the rules of one policy are compiled with.
pub(super) struct RuleCompiler<'a> {
    pub(super) policy: usize,
    /// Name and generation of the policy.
    pub(super) reference: (&'a str, i64),
    pub(super) spec: &'a PolicySpec,
    pub(super) resource: &'a ResourceFacts,
    pub(super) env: &'a Arc<Env>,
}

impl RuleCompiler<'_> {
    pub(super) fn compile(&self, index: usize, rule: &PolicyRule, problems: &mut Problems<'_>) -> Rule {
        let path = format!("spec.rules[{index}]");
        if rule.name.is_empty() {
            problems.add(format!("{path}.name"), "must not be empty");
        }
        if rule.approval.is_some() && rule.action != RuleAction::Hold {
            problems.add(format!("{path}.approval"), "is only for `action: Hold`");
        }
        self.check_roles(&path, rule, problems);
        let postgresql = rule.postgresql.clone().unwrap_or_default();
        check_match(&path, &postgresql, problems);
        Rule {
            policy: self.policy,
            reference: RuleRef {
                policy: self.reference.0.to_owned(),
                generation: self.reference.1,
                rule: rule.name.clone(),
            },
            action: rule.action,
            effects: effects(&postgresql, unnamed_effects(rule.action)),
            named: effects(&postgresql, EffectSet::NONE),
            message: rule.message.as_ref().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
            terms: terms(&path, rule.approval.clone().unwrap_or_default(), problems),
            when: self.condition(&path, rule, problems),
            relations: Globs::new(&postgresql.relations),
            functions: Globs::new(&postgresql.functions),
            databases: Globs::new(&postgresql.databases),
            unbounded: postgresql.unbounded,
            roles: rule.roles.clone(),
            during: windows(&path, rule, problems),
        }
    }

    /// Only where the policy is about this resource alone: of several, another may have the role.
    fn check_roles(&self, path: &str, rule: &PolicyRule, problems: &mut Problems<'_>) {
        if self.resource.roles.is_empty() || self.spec.target_refs.len() != 1 {
            return;
        }
        for (index, role) in rule.roles.iter().enumerate() {
            if !self.resource.roles.contains(role) {
                problems.add(
                    format!("{path}.roles[{index}]"),
                    format!(
                        "resource {} has no role `{role}`; it has {}",
                        self.resource.name,
                        self.resource.roles.join(", ")
                    ),
                );
            }
        }
    }

    fn condition(&self, path: &str, rule: &PolicyRule, problems: &mut Problems<'_>) -> Option<Condition> {
        match Condition::compile(rule.when.as_deref()?, self.env, self.resource) {
            Ok(condition) => Some(condition),
            Err(messages) => {
                for message in messages {
                    problems.add(format!("{path}.when"), message);
                }
                None
            }
        }
    }
}

fn effects(postgresql: &PostgresqlMatch, if_empty: EffectSet) -> EffectSet {
    if postgresql.effects.is_empty() {
        return if_empty;
    }
    EffectSet(postgresql.effects.iter().fold(0, |bits, effect| bits | 1 << *effect as u32))
}

/// What a rule is about that names no effect. Nothing that cannot be told is allowed by accident, and nothing
/// escapes a `Deny` of everything.
fn unnamed_effects(action: RuleAction) -> EffectSet {
    match action {
        RuleAction::Deny => EffectSet::ALL,
        RuleAction::Allow | RuleAction::Hold => EffectSet::ALL_BUT_UNKNOWN,
    }
}

fn windows(path: &str, rule: &PolicyRule, problems: &mut Problems<'_>) -> Vec<Window> {
    let mut windows = Vec::new();
    for (index, window) in rule.during.iter().enumerate() {
        match Window::compile(window) {
            Ok(window) => windows.push(window),
            Err((field, message)) => problems.add(format!("{path}.during[{index}].{field}"), message),
        }
    }
    windows
}

/// Patterns that can match nothing are mistakes, and in a `Deny` dangerous ones.
fn check_match(path: &str, postgresql: &PostgresqlMatch, problems: &mut Problems<'_>) {
    for (field, patterns) in [("relations", &postgresql.relations), ("functions", &postgresql.functions)] {
        for (index, pattern) in patterns.iter().enumerate() {
            if !pattern.contains('.') && !pattern.contains('*') {
                problems.add(
                    format!("{path}.postgresql.{field}[{index}]"),
                    format!("`{pattern}` names no schema; expected schema.name, where `*` stands for any characters"),
                );
            }
        }
    }
    for (index, pattern) in postgresql.databases.iter().enumerate() {
        if pattern.is_empty() {
            problems.add(format!("{path}.postgresql.databases[{index}]"), "must not be empty");
        }
    }
    let changes_rows = [PostgresqlEffect::Update, PostgresqlEffect::Delete];
    if postgresql.unbounded.is_some()
        && !postgresql.effects.is_empty()
        && !changes_rows.iter().any(|effect| postgresql.effects.contains(effect))
    {
        problems.add(format!("{path}.postgresql.unbounded"), "is only about the effects Update and Delete");
    }
}

fn terms(path: &str, approval: Approval, problems: &mut Problems<'_>) -> ApprovalTerms {
    let seconds =
        u64::try_from(approval.timeout_seconds).ok().filter(|seconds| (1..=86_400).contains(seconds));
    if seconds.is_none() {
        problems.add(format!("{path}.approval.timeoutSeconds"), "must be from 1 to 86400");
    }
    for (index, reviewer) in approval.reviewers.iter().enumerate() {
        if !(1..=16).contains(&reviewer.count) {
            problems.add(format!("{path}.approval.reviewers[{index}].count"), "must be from 1 to 16");
        }
    }
    ApprovalTerms {
        timeout: Duration::from_secs(seconds.unwrap_or(1)),
        reviewers: approval.reviewers,
        on_disconnect: approval.on_disconnect,
    }
}

/// The CRD's word for a kind of effect.
fn effect_named(name: &str) -> Option<PostgresqlEffect> {
    Some(match name {
        "Alter" => PostgresqlEffect::Alter,
        "Administer" => PostgresqlEffect::Administer,
        "Call" => PostgresqlEffect::Call,
        "Connect" => PostgresqlEffect::Connect,
        "Create" => PostgresqlEffect::Create,
        "Delete" => PostgresqlEffect::Delete,
        "Drop" => PostgresqlEffect::Drop,
        "Grant" => PostgresqlEffect::Grant,
        "Insert" => PostgresqlEffect::Insert,
        "Notify" => PostgresqlEffect::Notify,
        "Lock" => PostgresqlEffect::Lock,
        "Maintain" => PostgresqlEffect::Maintain,
        "Select" => PostgresqlEffect::Select,
        "ServerFile" => PostgresqlEffect::ServerFile,
        "Set" => PostgresqlEffect::Set,
        "Transaction" => PostgresqlEffect::Transaction,
        "Truncate" => PostgresqlEffect::Truncate,
        "Unknown" => PostgresqlEffect::Unknown,
        "Update" => PostgresqlEffect::Update,
        _ => return None,
    })
}
