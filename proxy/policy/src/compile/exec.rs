//! Whether a rule is about what the command line of an `exec` does: in the words of SSH, and as it is there.
//!
//! Over SSH each program and each file is a touch of its own, and several rules may allow a line between them. An `exec`
//! is one touch, so that one rule has to allow all of it: every program that it runs and, where the rule names files or
//! acts, every file that these touch.

use crds::v1alpha1::{ExecEffect, KubernetesMatch, RuleAction};

use super::Problems;
use super::paths::Paths;
use super::program::Programs;
use crate::{Runs, Touch};

/// What of a `kubernetes` stanza is about command lines, compiled.
#[derive(Debug)]
pub(super) struct ExecRule {
    effects: Vec<ExecEffect>,
    commands: Programs,
    paths: Paths,
    unbounded: Option<bool>,
}

impl ExecRule {
    pub(super) fn compile(
        path: &str,
        stanza: &KubernetesMatch,
        action: RuleAction,
        problems: &mut Problems<'_>,
    ) -> Self {
        check(path, stanza, action, problems);
        Self {
            effects: stanza.effects.clone(),
            commands: Programs::compile(&format!("{path}.commands"), &stanza.commands, problems),
            paths: Paths::new(&stanza.paths),
            unbounded: stanza.unbounded,
        }
    }

    /// An `Allow` must cover all that the line does. A `Deny` or `Hold` is about a line that does some of it, or of which
    /// it cannot be told what it does.
    pub(super) fn is_about(&self, runs: &Runs, action: RuleAction) -> bool {
        self.is_open()
            || match action {
                RuleAction::Allow => self.covers(runs),
                RuleAction::Deny | RuleAction::Hold => {
                    runs.unknown || runs.touches.iter().any(|touch| self.meets(touch, action))
                }
            }
    }

    /// Nothing is set: about every request.
    fn is_open(&self) -> bool {
        self.effects.is_empty()
            && self.commands.is_empty()
            && self.paths.is_empty()
            && self.unbounded.is_none()
    }

    fn covers(&self, runs: &Runs) -> bool {
        let is_told =
            if runs.unknown { self.effects.contains(&ExecEffect::Unknown) } else { !runs.touches.is_empty() };
        // nothing at all is known of what somebody writes to a program
        let is_named = !runs.touches.is_empty() || (self.commands.is_empty() && self.paths.is_empty());
        is_told && is_named && runs.touches.iter().all(|touch| self.covers_touch(touch))
    }

    fn covers_touch(&self, touch: &Touch) -> bool {
        if !self.names(touch) {
            return false;
        }
        if touch.effect == EXECUTE {
            let given = touch.detail.arguments().map_or(&[][..], |arguments| &arguments.files);
            return (self.commands.is_empty() || self.runs(touch, RuleAction::Allow))
                && (self.paths.is_empty() || self.paths.cover_all(given));
        }
        self.unbounded.is_none_or(|unbounded| unbounded == touch.unbounded)
            && (self.paths.is_empty() || self.paths.are_about(touch, RuleAction::Allow))
    }

    /// As over SSH: `commands` are about programs and `paths` about files, each alone where both are given.
    fn meets(&self, touch: &Touch, action: RuleAction) -> bool {
        // what a program does to files that it is given, of which nobody knows
        let given = touch.detail.arguments().is_some_and(|given| self.paths.may_be_among(&given.files));
        let is_meant = || {
            if self.commands.is_empty() && self.paths.is_empty() {
                true
            } else if touch.effect == EXECUTE {
                self.runs(touch, action)
            } else {
                self.paths.are_about(touch, action)
            }
        };
        given
            || self.names(touch)
                && self.unbounded.is_none_or(|unbounded| unbounded == touch.unbounded)
                && is_meant()
    }

    fn names(&self, touch: &Touch) -> bool {
        self.effects.is_empty() || self.effects.iter().any(|effect| name(*effect) == touch.effect)
    }

    fn runs(&self, touch: &Touch, action: RuleAction) -> bool {
        let patterns = touch.detail.arguments().map_or(&[][..], |arguments| &arguments.patterns);
        touch.detail.program().is_some_and(|program| self.commands.are_about(program, patterns, action))
    }
}

/// The kind of touch that a program is.
const EXECUTE: &str = "Execute";

const fn name(effect: ExecEffect) -> &'static str {
    match effect {
        ExecEffect::Attributes => "Attributes",
        ExecEffect::Execute => EXECUTE,
        ExecEffect::List => "List",
        ExecEffect::Read => "Read",
        ExecEffect::Remove => "Remove",
        ExecEffect::Rename => "Rename",
        ExecEffect::Unknown => "Unknown",
        ExecEffect::Write => "Write",
    }
}

/// Fields that can never be met, and an `Allow` that says nothing of programs.
fn check(path: &str, stanza: &KubernetesMatch, action: RuleAction, problems: &mut Problems<'_>) {
    let of_files = |effect: &ExecEffect| !matches!(effect, ExecEffect::Execute | ExecEffect::Unknown);
    let names_programs = stanza.effects.contains(&ExecEffect::Execute);
    for (field, is_set, is_about) in [
        ("commands", !stanza.commands.is_empty(), names_programs),
        ("paths", !stanza.paths.is_empty(), stanza.effects.iter().any(of_files)),
    ] {
        if is_set && !stanza.effects.is_empty() && !is_about {
            problems.add(format!("{path}.{field}"), format!("none of the effects named is about {field}"));
        }
    }
    if action != RuleAction::Allow || names_programs || !stanza.commands.is_empty() {
        return;
    }
    for (field, is_set) in [
        ("effects", !stanza.effects.is_empty()),
        ("paths", !stanza.paths.is_empty()),
        ("unbounded", stanza.unbounded.is_some()),
    ] {
        if is_set {
            let message =
                "an Allow has to say which programs may run: add `commands`, or `Execute` to `effects`";
            problems.add(format!("{path}.{field}"), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Arguments, Detail, Program};
    use std::sync::Arc;

    fn rule(stanza: &str, action: RuleAction) -> ExecRule {
        let stanza: KubernetesMatch = serde_json::from_str(stanza).unwrap();
        let mut list = Vec::new();
        let rule = ExecRule::compile("r", &stanza, action, &mut Problems { policy: "p", list: &mut list });
        assert!(list.is_empty(), "{list:?}");
        rule
    }

    /// `Execute cat /etc/passwd`, `Read /etc/passwd`, `Remove tree /data`, `Given xxd /etc/passwd`, `Unknown`.
    fn runs(does: &[&str]) -> Runs {
        let mut runs = Runs::default();
        for line in does {
            let (effect, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (program, args) = rest.split_once(' ').unwrap_or((rest, ""));
            let args: Vec<String> =
                args.split(' ').filter(|arg| !arg.is_empty()).map(str::to_owned).collect();
            let wild = |(at, arg): (usize, &String)| arg.contains('*').then_some(at);
            let arguments = Arguments {
                patterns: args.iter().enumerate().filter_map(wild).collect(),
                files: if effect == "Given" { args.clone() } else { Vec::new() },
            };
            let program = Arc::new(Program { word: program.to_owned(), args });
            let (object, name) = match rest.split_once(' ') {
                Some(("tree", name)) => ("tree", name),
                Some(("files", name)) => ("files", name),
                _ => ("file", rest),
            };
            let (effect, object, detail) = match effect {
                "Unknown" => {
                    runs.unknown = true;
                    continue;
                }
                "Execute" | "Given" => ("Execute", "program", Detail::Given(program, Arc::new(arguments))),
                "Read" => ("Read", object, Detail::None),
                _ => ("Remove", object, Detail::None),
            };
            let (name, unbounded) = (name.to_owned(), object == "tree");
            runs.touches.push(Touch { effect, object, name, access: Access::Read, unbounded, detail });
        }
        runs
    }

    #[test]
    fn an_allowance_covers_all_that_a_line_does() {
        for (stanza, does, expected) in [
            (r#"{"commands": [{"name": "cat"}]}"#, &["Execute cat /x", "Read /x"][..], true),
            (r#"{"commands": [{"name": "cat"}]}"#, &["Execute cat /x", "Execute rm /x"], false),
            (r#"{"commands": [{"name": "cat"}]}"#, &["Execute cat", "Unknown"], false),
            (r#"{"commands": [{"argv": ["cat", "/x*"]}]}"#, &["Execute cat /x*"], false),
            (
                r#"{"commands": [{"name": "cat"}], "paths": ["/srv/*"]}"#,
                &["Execute cat", "Read /srv/x"],
                true,
            ),
            (
                r#"{"commands": [{"name": "cat"}], "paths": ["/srv/*"]}"#,
                &["Execute cat", "Read /etc/x"],
                false,
            ),
            (
                r#"{"commands": [{"name": "cat"}], "paths": ["/srv/*"]}"#,
                &["Execute cat", "Read files /s*/x"],
                false,
            ),
            (r#"{"commands": [{"name": "xxd"}], "paths": ["/srv/*"]}"#, &["Given xxd /etc/x"], false),
            (r#"{"commands": [{"name": "xxd"}], "paths": ["/srv/*"]}"#, &["Given xxd /srv/x"], true),
            (r#"{"effects": ["Execute", "Read"]}"#, &["Execute any", "Read /x"], true),
            (r#"{"effects": ["Execute", "Read"]}"#, &["Execute any", "Remove /x"], false),
            (r#"{"effects": ["Execute", "Read"]}"#, &["Execute any", "Unknown"], false),
            (r#"{"effects": ["Execute", "Read", "Unknown"]}"#, &["Execute any", "Unknown"], true),
            (r#"{"effects": ["Execute", "Read", "Unknown"]}"#, &["Unknown"], true),
            (r#"{"effects": ["Execute", "Unknown"], "commands": [{"name": "sh"}]}"#, &["Unknown"], false),
            (
                r#"{"effects": ["Execute", "Remove"], "unbounded": false}"#,
                &["Execute rm", "Remove tree /x"],
                false,
            ),
            (r#"{"effects": ["Execute", "Remove"], "unbounded": false}"#, &["Execute rm", "Remove /x"], true),
            (r#"{"effects": ["Execute", "Read"]}"#, &[], false),
        ] {
            let is_about = rule(stanza, RuleAction::Allow).is_about(&runs(does), RuleAction::Allow);
            assert_eq!(is_about, expected, "{stanza} {does:?}");
        }
    }

    #[test]
    fn a_denial_is_about_a_line_that_does_some_of_it() {
        for (stanza, does, expected) in [
            (r#"{"commands": [{"name": "rm"}]}"#, &["Execute sh", "Execute rm /x"][..], true),
            (r#"{"commands": [{"name": "rm"}]}"#, &["Execute sh", "Remove /x"], false),
            (
                r#"{"commands": [{"name": "cat", "args": ["/etc/passwd"]}]}"#,
                &["Execute cat /etc/pass*"],
                true,
            ),
            (r#"{"paths": ["/etc/*"]}"#, &["Execute cat /etc/x", "Read /etc/x"], true),
            (r#"{"paths": ["/etc/*"]}"#, &["Execute cat /srv/x", "Read /srv/x"], false),
            (r#"{"paths": ["/etc/*"]}"#, &["Given xxd /etc/x"], true),
            (r#"{"paths": ["/etc/passwd"]}"#, &["Execute cat", "Read files **/passwd"], true),
            (
                r#"{"paths": ["/etc/passwd"], "commands": [{"name": "rm"}]}"#,
                &["Execute rm", "Remove /x"],
                true,
            ),
            (
                r#"{"paths": ["/etc/passwd"], "effects": ["Remove"]}"#,
                &["Execute cat", "Read /etc/passwd"],
                false,
            ),
            (r#"{"effects": ["Remove"], "unbounded": true}"#, &["Execute rm", "Remove tree /x"], true),
            (r#"{"effects": ["Remove"], "unbounded": true}"#, &["Execute rm", "Remove /x"], false),
            (r#"{"effects": ["Remove"]}"#, &["Execute sh", "Unknown"], true),
            (r#"{"effects": ["Unknown"]}"#, &["Execute sh", "Unknown"], true),
            (r#"{"effects": ["Unknown"]}"#, &["Execute sh"], false),
            (r#"{"paths": ["/etc/*"]}"#, &[], false),
        ] {
            for action in [RuleAction::Deny, RuleAction::Hold] {
                assert_eq!(rule(stanza, action).is_about(&runs(does), action), expected, "{stanza} {does:?}");
            }
        }
    }

    #[test]
    fn what_can_never_be_met_is_a_mistake() {
        for (stanza, action, field) in [
            (r#"{"paths": ["/srv/*"]}"#, RuleAction::Allow, "r.paths"),
            (r#"{"effects": ["Read"]}"#, RuleAction::Allow, "r.effects"),
            (r#"{"unbounded": false}"#, RuleAction::Allow, "r.unbounded"),
            (r#"{"effects": ["Execute"], "paths": ["/x"]}"#, RuleAction::Deny, "r.paths"),
            (r#"{"effects": ["Read"], "commands": [{"name": "x"}]}"#, RuleAction::Deny, "r.commands"),
        ] {
            let stanza: KubernetesMatch = serde_json::from_str(stanza).unwrap();
            let mut list = Vec::new();
            ExecRule::compile("r", &stanza, action, &mut Problems { policy: "p", list: &mut list });
            let found: Vec<_> = list.iter().map(|problem| problem.path.as_str()).collect();
            assert_eq!(found, [field], "{stanza:?}");
        }
    }
}
