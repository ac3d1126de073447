//! What a client is told: what was refused, why, what to do next.
//!
//! Built from the operation, names of objects and the author's words, never from the command's text or literals.

use crate::compile::rule::Rule;
use crate::{Command, Detail, Touch};

pub(super) fn deny(rule: &Rule, touch: &Touch, command: &Command) -> String {
    by_rule(&format!("{} is denied by", command.reading.operation), rule, touch, "")
}

pub(super) fn hold(rule: &Rule, touch: &Touch, command: &Command) -> String {
    let next = "an approver has to let it run";
    by_rule(&format!("{} waits for an approval by", command.reading.operation), rule, touch, next)
}

fn by_rule(what: &str, rule: &Rule, touch: &Touch, otherwise: &str) -> String {
    let words = rule.message.as_deref().unwrap_or(otherwise);
    let colon = if words.is_empty() { "" } else { ": " };
    let reference = &rule.reference;
    format!("{what} rule {} of policy {}{colon}{words} [{}]", reference.rule, reference.policy, named(touch))
}

pub(super) fn failed(rule: &Rule, failure: &str, command: &Command) -> String {
    format!(
        "{} is denied by rule {} of policy {}: its condition cannot be evaluated ({failure}); \
         ask the author of the policy to correct it",
        command.reading.operation, rule.reference.rule, rule.reference.policy
    )
}

pub(super) fn default_deny(touch: &Touch, command: &Command, resource: &str) -> String {
    format!(
        "{} is denied: no rule allows {}; ask the owner of resource {resource} for a rule that does",
        command.reading.operation,
        named(touch)
    )
}

pub(super) fn unknown(why: &str, command: &Command) -> String {
    format!(
        "{} is denied by built-in rule unknown-effects: what it does cannot be told, because {why}; \
         send a command whose effects are plain",
        command.reading.operation
    )
}

pub(super) fn no_policy(command: &Command, resource: &str) -> String {
    format!(
        "{} is denied: no policy of resource {resource} is about this identity; ask the owner of the resource",
        command.reading.operation
    )
}

pub(super) fn conflicting(one: &Rule, other: &Rule, command: &Command) -> String {
    let name = |rule: &Rule| format!("{}/{}", rule.reference.policy, rule.reference.rule);
    format!(
        "{} is denied by built-in rule conflicting-holds: rules {} and {} hold it and ask for other reviewers, and an \
         approval is given under one of them; send what each is about separately, or ask for a rule whose reviewers \
         satisfy both",
        command.reading.operation,
        name(one),
        name(other)
    )
}

pub(super) fn masked_copy(from: &str, into: &str, command: &Command) -> String {
    format!(
        "{} is denied by built-in rule masked-copy: it would copy {from} into {into}, which no mask covers \
         that hides as much; leave that column out",
        command.reading.operation
    )
}

pub(super) fn masked_predicate(column: &str, policy: &str, command: &Command) -> String {
    format!(
        "{} is denied by built-in rule masked-predicate: policy {policy} masks {column}, and does not let it \
         be filtered, joined, grouped or sorted by; use another column",
        command.reading.operation
    )
}

/// A touch, without the name where that is a literal of the command.
fn named(touch: &Touch) -> String {
    match (touch.object, &touch.detail) {
        ("file" | "files" | "directory" | "tree" | "program" | "library", Detail::None) => {
            touch.effect.to_owned()
        }
        (_, Detail::Request(request)) if request.runs.unknown => {
            format!("{touch}; what it runs cannot be told")
        }
        (_, Detail::Request(request)) if request.resource == "signers" && request.name.is_empty() => {
            format!(
                "{touch}; whose signer that is cannot be told: the request names no `metadata.uid` of a stored one that \
                 its sender may get"
            )
        }
        _ => touch.to_string(),
    }
}
