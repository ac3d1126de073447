//! Whether a rule is about an act over SSH.

use crds::v1alpha1::{PolicyRule, RuleAction, ShellMode, SshEffect, SshMatch};

use super::Problems;
use super::glob::Globs;
use super::paths::Paths;
use super::program::Programs;
use crate::{Access, Command, Detail, Touch, destination};

/// An `ssh` stanza, compiled.
#[derive(Debug)]
pub(crate) struct SshRule {
    effects: Vec<SshEffect>,
    commands: Programs,
    paths: Paths,
    subsystems: Globs,
    variables: Globs,
    destinations: Globs,
    /// The same as hosts and ports, in the form in which these are asked about.
    endpoints: Globs,
    shells: Vec<ShellMode>,
    hosts: Globs,
    unbounded: Option<bool>,
}

impl SshRule {
    pub(super) fn compile(path: &str, stanza: &SshMatch, problems: &mut Problems<'_>) -> Self {
        check(path, stanza, problems);
        Self {
            effects: stanza.effects.clone(),
            commands: Programs::compile(&format!("{path}.commands"), &stanza.commands, problems),
            paths: Paths::new(&stanza.paths),
            subsystems: Globs::new(&stanza.subsystems),
            variables: Globs::new(&stanza.variables),
            destinations: Globs::new(&stanza.destinations),
            endpoints: Globs::new(
                &stanza.destinations.iter().map(|text| destination::pattern(text)).collect::<Vec<_>>(),
            ),
            shells: stanza.shells.clone(),
            hosts: Globs::new(&stanza.hosts),
            unbounded: stanza.unbounded,
        }
    }

    /// Whether the rule is about a touch. Whether it may be about what cannot be told is the caller's question.
    pub(super) fn matches(&self, touch: &Touch, command: &Command, action: RuleAction) -> bool {
        let effect = effect_named(touch.effect);
        if self.may_be_given(touch, command, action) {
            return true;
        }
        (self.hosts.is_empty() || self.hosts.matches(&command.namespace))
            && self.matches_anywhere(touch, effect, action)
    }

    /// The same of a touch on a host that the rule is about.
    fn matches_anywhere(&self, touch: &Touch, effect: Option<SshEffect>, action: RuleAction) -> bool {
        (self.effects.is_empty() || effect.is_some_and(|effect| self.effects.contains(&effect)))
            && self.unbounded.is_none_or(|unbounded| unbounded == touch.unbounded)
            && self.matches_object(touch, effect, action)
            && self.matches_shell(touch, effect, action)
    }

    /// Whether a program of which nobody knows what it does to files is given one that must not be touched.
    fn may_be_given(&self, touch: &Touch, command: &Command, action: RuleAction) -> bool {
        action != RuleAction::Allow
            && (self.hosts.is_empty() || self.hosts.matches(&command.namespace))
            && touch.detail.arguments().is_some_and(|given| self.paths.may_be_among(&given.files))
    }

    /// Each of these fields is about its own kinds of act, and then about no other. With several, each about its own.
    fn matches_object(&self, touch: &Touch, effect: Option<SshEffect>, action: RuleAction) -> bool {
        let narrowed = [&self.subsystems, &self.variables, &self.destinations]
            .into_iter()
            .any(|patterns| !patterns.is_empty())
            || !self.paths.is_empty()
            || !self.commands.is_empty()
            || !self.shells.is_empty();
        if !narrowed {
            return true;
        }
        match effect {
            Some(SshEffect::Execute) => {
                let program = touch.detail.program();
                program.is_some_and(|program| {
                    let arguments = touch.detail.arguments();
                    let patterns = arguments.map_or(&[][..], |arguments| &arguments.patterns);
                    self.commands.are_about(program, patterns, action)
                })
            }
            Some(
                SshEffect::Attributes
                | SshEffect::List
                | SshEffect::Read
                | SshEffect::Remove
                | SshEffect::Rename
                | SshEffect::Write,
            ) => self.paths.are_about(touch, action),
            Some(SshEffect::Subsystem) => self.subsystems.matches(&touch.name),
            Some(SshEffect::Environment) => self.variables.matches(&touch.name),
            Some(SshEffect::ForwardSocket) => self.destinations.matches(&touch.name),
            Some(SshEffect::ForwardRemote) => self.endpoints.matches(&touch.name),
            Some(SshEffect::ForwardLocal) => {
                // a host's port is the same by all names of the host: one that is allowed is allowed by its own
                self.endpoints.matches(&touch.name)
                    || action != RuleAction::Allow
                        && destination::same(&touch.name).any(|name| self.endpoints.matches(&name))
            }
            Some(SshEffect::Shell) => !self.shells.is_empty(),
            Some(
                SshEffect::Connect
                | SshEffect::ForwardAgent
                | SshEffect::ForwardX11
                | SshEffect::Terminal
                | SshEffect::Unknown,
            )
            | None => false,
        }
    }

    /// A shell in which nothing is decided must be allowed in so many words.
    fn matches_shell(&self, touch: &Touch, effect: Option<SshEffect>, action: RuleAction) -> bool {
        if effect != Some(SshEffect::Shell) {
            return true;
        }
        let record_only = touch.name == "RecordOnly";
        if self.shells.is_empty() {
            return action != RuleAction::Allow || !record_only;
        }
        let mode = if record_only { ShellMode::RecordOnly } else { ShellMode::LineDisciplined };
        self.shells.contains(&mode)
    }
}

/// Whether a shell may be opened under a rule over SSH in which nothing is decided.
pub fn lets_record_only(rule: &PolicyRule) -> bool {
    let shell = Touch {
        effect: "Shell",
        object: "shell",
        name: "RecordOnly".to_owned(),
        access: Access::Write,
        unbounded: false,
        detail: Detail::None,
    };
    let matches = match &rule.ssh {
        Some(stanza) => {
            // what is wrong with it is told elsewhere
            let mut problems = Problems { policy: "", list: &mut Vec::new() };
            let compiled = SshRule::compile("", stanza, &mut problems);
            compiled.matches_anywhere(&shell, Some(SshEffect::Shell), rule.action)
        }
        // a rule that names no protocol is about everything of each
        None => rule.postgresql.is_none() && rule.kubernetes.is_none(),
    };
    rule.action != RuleAction::Deny && matches
}

/// The kind that a touch names.
pub(super) fn effect_named(name: &str) -> Option<SshEffect> {
    Some(match name {
        "Attributes" => SshEffect::Attributes,
        "Connect" => SshEffect::Connect,
        "Environment" => SshEffect::Environment,
        "Execute" => SshEffect::Execute,
        "ForwardAgent" => SshEffect::ForwardAgent,
        "ForwardLocal" => SshEffect::ForwardLocal,
        "ForwardRemote" => SshEffect::ForwardRemote,
        "ForwardSocket" => SshEffect::ForwardSocket,
        "ForwardX11" => SshEffect::ForwardX11,
        "List" => SshEffect::List,
        "Read" => SshEffect::Read,
        "Remove" => SshEffect::Remove,
        "Rename" => SshEffect::Rename,
        "Shell" => SshEffect::Shell,
        "Subsystem" => SshEffect::Subsystem,
        "Terminal" => SshEffect::Terminal,
        "Unknown" => SshEffect::Unknown,
        "Write" => SshEffect::Write,
        _ => return None,
    })
}

/// Fields that can never be met beside the effects that are named.
fn check(path: &str, stanza: &SshMatch, problems: &mut Problems<'_>) {
    let about = |wanted: &[SshEffect]| {
        stanza.effects.is_empty() || stanza.effects.iter().any(|effect| wanted.contains(effect))
    };
    let files = [
        SshEffect::Attributes,
        SshEffect::List,
        SshEffect::Read,
        SshEffect::Remove,
        SshEffect::Rename,
        SshEffect::Write,
    ];
    let forwarding = [SshEffect::ForwardLocal, SshEffect::ForwardRemote, SshEffect::ForwardSocket];
    for (field, set, wanted) in [
        ("commands", !stanza.commands.is_empty(), &[SshEffect::Execute][..]),
        ("paths", !stanza.paths.is_empty(), &files),
        ("subsystems", !stanza.subsystems.is_empty(), &[SshEffect::Subsystem]),
        ("variables", !stanza.variables.is_empty(), &[SshEffect::Environment]),
        ("destinations", !stanza.destinations.is_empty(), &forwarding),
        ("shells", !stanza.shells.is_empty(), &[SshEffect::Shell]),
    ] {
        if set && !about(wanted) {
            problems.add(format!("{path}.{field}"), format!("none of the effects named is about {field}"));
        }
    }
}
