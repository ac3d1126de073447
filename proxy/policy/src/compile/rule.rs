//! One rule, compiled, and whether it is about a touch.

use cel::Env;
use crds::v1alpha1::{Approval, PolicyRule, PolicySpec, PostgresqlEffect, RuleAction, SshEffect};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

use super::condition::Condition;
use super::kubernetes::KubernetesRule;
use super::postgresql::PostgresqlRule;
use super::ssh::SshRule;
use super::window::Window;
use super::{Problems, ResourceFacts};
use crate::{ApprovalTerms, Command, RuleRef, Touch};

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
    about: About,
    roles: Vec<String>,
    during: Vec<Window>,
}

impl Rule {
    /// Whether the rule is in force for the session's role at this time. `when` is not asked: it is dear.
    pub(crate) fn in_force(&self, command: &Command, now: Timestamp) -> bool {
        (self.roles.is_empty() || self.roles.iter().any(|role| **role == *command.role))
            && (self.during.is_empty() || self.during.iter().any(|window| window.contains(now)))
    }

    /// Whether the time of day decides if it is in force.
    pub(crate) const fn is_timed(&self) -> bool {
        !self.during.is_empty()
    }

    /// Whether the rule is about a touch, `effect` being the touch's kind.
    pub(crate) fn matches(&self, touch: &Touch, effect: EffectSet, command: &Command) -> bool {
        self.effects.meets(effect)
            && match &self.about {
                About::Anything => true,
                About::Kubernetes(rule) => rule.matches(touch, self.action),
                About::Postgresql(rule) => {
                    rule.matches(touch, command, self.action, self.named.meets(effect))
                }
                About::Ssh(rule) => rule.matches(touch, command, self.action),
            }
    }
}

/// What a rule is about beyond kinds of effect.
#[derive(Debug)]
enum About {
    Anything,
    Kubernetes(KubernetesRule),
    Postgresql(PostgresqlRule),
    Ssh(SshRule),
}

impl About {
    fn compile(path: &str, rule: &PolicyRule, problems: &mut Problems<'_>) -> Self {
        match (&rule.postgresql, &rule.ssh, &rule.kubernetes) {
            (None, None, None) => Self::Anything,
            (Some(stanza), None, None) => {
                Self::Postgresql(PostgresqlRule::compile(&format!("{path}.postgresql"), stanza, problems))
            }
            (None, Some(stanza), None) => {
                Self::Ssh(SshRule::compile(&format!("{path}.ssh"), stanza, problems))
            }
            (None, None, Some(stanza)) => {
                let path = format!("{path}.kubernetes");
                Self::Kubernetes(KubernetesRule::compile(&path, stanza, rule.action, problems))
            }
            _ => {
                problems.add(path, "set at most one of postgresql, ssh and kubernetes");
                Self::Anything
            }
        }
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
        self.check_protocol(&path, rule, problems);
        Rule {
            policy: self.policy,
            reference: RuleRef {
                policy: self.reference.0.to_owned(),
                generation: self.reference.1,
                rule: rule.name.clone(),
            },
            action: rule.action,
            effects: effects(rule, unnamed_effects(rule.action)),
            named: effects(rule, EffectSet::NONE),
            message: rule.message.as_ref().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
            terms: terms(&path, rule.approval.clone().unwrap_or_default(), problems),
            when: self.condition(&path, rule, problems),
            about: About::compile(&path, rule, problems),
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

    /// A rule for another protocol is about nothing here: where the policy is about this resource alone, a mistake.
    fn check_protocol(&self, path: &str, rule: &PolicyRule, problems: &mut Problems<'_>) {
        let given = [
            ("postgresql", rule.postgresql.is_some()),
            ("ssh", rule.ssh.is_some()),
            ("kubernetes", rule.kubernetes.is_some()),
        ];
        let protocol = &self.resource.protocol;
        if protocol.is_empty() || self.spec.target_refs.len() != 1 {
            return;
        }
        for (stanza, _) in given.into_iter().filter(|(stanza, set)| *set && stanza != protocol) {
            problems.add(
                format!("{path}.{stanza}"),
                format!("resource {} is reached over {protocol}: use {protocol}", self.resource.name),
            );
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

fn effects(rule: &PolicyRule, if_empty: EffectSet) -> EffectSet {
    let postgresql = rule.postgresql.iter().flat_map(|stanza| &stanza.effects);
    let postgresql = postgresql.map(|effect| EffectSet(1 << *effect as u32));
    let ssh = rule.ssh.iter().flat_map(|stanza| &stanza.effects).map(|effect| match effect {
        SshEffect::Connect => EffectSet::CONNECT,
        SshEffect::Unknown => EffectSet::UNKNOWN,
        SshEffect::Attributes
        | SshEffect::Environment
        | SshEffect::Execute
        | SshEffect::ForwardAgent
        | SshEffect::ForwardLocal
        | SshEffect::ForwardRemote
        | SshEffect::ForwardSocket
        | SshEffect::ForwardX11
        | SshEffect::List
        | SshEffect::Read
        | SshEffect::Remove
        | SshEffect::Rename
        | SshEffect::Shell
        | SshEffect::Subsystem
        | SshEffect::Terminal
        | SshEffect::Write => EffectSet::UNNAMED,
    });
    postgresql.chain(ssh).reduce(EffectSet::union).unwrap_or(if_empty)
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
