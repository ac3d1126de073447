//! Whether a rule is about what a PostgreSQL statement does.

use crds::v1alpha1::{PostgresqlEffect, PostgresqlMatch, RuleAction};

use super::Problems;
use super::glob::Globs;
use crate::{Access, Command, Touch};

/// A `postgresql` stanza, compiled. Kinds of effect are in the rule's bits.
#[derive(Debug)]
pub(crate) struct PostgresqlRule {
    relations: Globs,
    functions: Globs,
    databases: Globs,
    unbounded: Option<bool>,
}

impl PostgresqlRule {
    pub(super) fn compile(path: &str, stanza: &PostgresqlMatch, problems: &mut Problems<'_>) -> Self {
        check_match(path, stanza, problems);
        Self {
            relations: Globs::new(&stanza.relations),
            functions: Globs::new(&stanza.functions),
            databases: Globs::new(&stanza.databases),
            unbounded: stanza.unbounded,
        }
    }

    /// Whether the rule is about a touch; `named`: the rule names the touch's kind of effect.
    pub(super) fn matches(&self, touch: &Touch, command: &Command, action: RuleAction, named: bool) -> bool {
        self.matches_bound(touch, named)
            && self.matches_object(touch, action)
            && self.matches_database(touch, command)
    }

    /// Only an `Update` or `Delete` can be unbounded. Other kinds are never meant by `unbounded: true`, and by
    /// `unbounded: false` only if the rule names them: an `Allow` of whatever is bounded must not cover a `Drop`.
    fn matches_bound(&self, touch: &Touch, named: bool) -> bool {
        self.unbounded.is_none_or(|unbounded| match touch.effect {
            "Update" | "Delete" => touch.unbounded == unbounded,
            _ => !unbounded && named,
        })
    }

    /// With `relations` or `functions`, objects of other kinds are not meant: an `Allow` for a table must not
    /// cover a role. With both, each is about its own kind. `SELECT 1` reads no relation at all: whoever may read some
    /// may run it, and no `Deny` or `Hold` of some is about it.
    fn matches_object(&self, touch: &Touch, action: RuleAction) -> bool {
        if self.relations.is_empty() && self.functions.is_empty() {
            return true;
        }
        match touch.object {
            "relation" if touch.name.is_empty() && touch.access == Access::Read => {
                action == RuleAction::Allow && !self.relations.is_empty()
            }
            "relation" => self.relations.matches(&touch.name),
            "function" => self.functions.matches(&touch.name),
            _ => false,
        }
    }

    fn matches_database(&self, touch: &Touch, command: &Command) -> bool {
        let database = match touch.object {
            "database" if !touch.name.is_empty() => touch.name.as_str(),
            _ => &command.namespace,
        };
        self.databases.is_empty() || self.databases.matches(database)
    }
}

/// Patterns that can match nothing are mistakes, and in a `Deny` dangerous ones.
fn check_match(path: &str, postgresql: &PostgresqlMatch, problems: &mut Problems<'_>) {
    for (field, patterns) in [("relations", &postgresql.relations), ("functions", &postgresql.functions)] {
        for (index, pattern) in patterns.iter().enumerate() {
            if !pattern.contains('.') && !pattern.contains('*') {
                problems.add(
                    format!("{path}.{field}[{index}]"),
                    format!("`{pattern}` names no schema; expected schema.name, where `*` stands for any characters"),
                );
            }
        }
    }
    for (index, pattern) in postgresql.databases.iter().enumerate() {
        if pattern.is_empty() {
            problems.add(format!("{path}.databases[{index}]"), "must not be empty");
        }
    }
    let changes_rows = [PostgresqlEffect::Update, PostgresqlEffect::Delete];
    if postgresql.unbounded.is_some()
        && !postgresql.effects.is_empty()
        && !changes_rows.iter().any(|effect| postgresql.effects.contains(effect))
    {
        problems.add(format!("{path}.unbounded"), "is only about the effects Update and Delete");
    }
}
