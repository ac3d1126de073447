//! The walk over one text's parse tree, and what it gathers.

use super::scope::{Key, Level, Rowset};
use super::state::SessionState;
use crate::catalogue::Catalogue;
use proxy_policy::{Access, ColumnName, Detail, Flow, Provenance, Touch};
use std::collections::BTreeSet;

/// Levels of nesting after which a statement is not followed any further.
const DEPTH_MAX: u32 = 1_500;
/// Nodes visited, repeated ones counted again, after which a statement is too much to judge.
const BUDGET: u32 = 2_000_000;

const TOO_MUCH: &str = "too deep or too large to be judged";

/// A common table expression in scope.
#[derive(Debug)]
pub(super) struct Cte {
    pub(super) name: String,
    pub(super) rows: Rowset,
}

/// What runs for sure, and once, if the statement does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Certain {
    /// Nothing that is known.
    #[default]
    Nothing,
    /// The targets of the query that comes next.
    Targets,
    /// The call that comes next.
    Call,
}

/// One walk.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) state: SessionState,
    pub(super) touches: Vec<Touch>,
    pub(super) unknown: Vec<String>,
    pub(super) reads: BTreeSet<ColumnName>,
    pub(super) predicates: BTreeSet<ColumnName>,
    pub(super) flows: Vec<Flow>,
    pub(super) unresolved: Vec<String>,
    pub(super) levels: Vec<Level>,
    pub(super) referenced: Vec<Key>,
    pub(super) ctes: Vec<Cte>,
    /// Views and generated columns being looked into, against circles.
    pub(super) open_definitions: Vec<String>,
    /// The value of a literal mattered: the analysis holds for no other literal.
    pub(super) literal_sensitive: bool,
    /// It changes something that no rollback undoes, although its effects do not say so.
    pub(super) lasting: bool,
    /// What runs for sure.
    pub(super) certain: Certain,
    /// The one setting whose row of `pg_settings` the innermost query reads.
    pub(super) setting: Option<String>,
    /// Changes to the session so far.
    pub(super) changes: Vec<super::state::StateChange>,
    /// Something that the catalogue holds was created, altered or dropped.
    pub(super) catalogue_changed: bool,
    depth: u32,
    deepest: u32,
    spent: u32,
}

impl<'a> Walk<'a> {
    pub(super) fn new(catalogue: &'a Catalogue, state: SessionState) -> Self {
        Self {
            catalogue,
            state,
            touches: Vec::new(),
            unknown: Vec::new(),
            reads: BTreeSet::new(),
            predicates: BTreeSet::new(),
            flows: Vec::new(),
            unresolved: Vec::new(),
            levels: Vec::new(),
            referenced: Vec::new(),
            ctes: Vec::new(),
            open_definitions: Vec::new(),
            literal_sensitive: false,
            lasting: false,
            certain: Certain::Nothing,
            setting: None,
            changes: Vec::new(),
            catalogue_changed: false,
            depth: 0,
            deepest: 0,
            spent: 0,
        }
    }

    /// Runs a step one level deeper; at the limit the step is left out and the statement is unknown.
    pub(super) fn deeper<T: Default>(&mut self, step: impl FnOnce(&mut Self) -> T) -> T {
        if self.depth >= DEPTH_MAX || self.spent >= BUDGET {
            self.give_up(TOO_MUCH);
            return T::default();
        }
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        self.spent += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }

    /// Counts work that is more than a step: so many names of columns handed on.
    pub(super) fn spend(&mut self, names: usize) {
        self.spent = self.spent.saturating_add(u32::try_from(names).unwrap_or(u32::MAX));
    }

    /// The statement is too much to be judged.
    pub(super) fn is_spent(&mut self) -> bool {
        let spent = self.spent >= BUDGET;
        if spent {
            self.give_up(TOO_MUCH);
        }
        spent
    }

    /// Starts to measure how deep a part of the statement is.
    pub(super) fn mark_depth(&mut self) -> u32 {
        self.deepest = self.depth;
        self.depth
    }

    /// How deep the walk went since the mark.
    pub(super) fn depth_since(&self, mark: u32) -> u32 {
        self.deepest.saturating_sub(mark)
    }

    /// Notes that something cannot be told.
    pub(super) fn give_up(&mut self, why: &str) {
        if !self.unknown.iter().any(|known| known == why) {
            self.unknown.push(why.to_owned());
        }
    }

    /// Notes a touch, once.
    pub(super) fn touch(&mut self, effect: &'static str, object: &'static str, name: &str, access: Access) {
        self.add(Touch {
            effect,
            object,
            name: name.to_owned(),
            access,
            unbounded: false,
            detail: Detail::None,
        });
    }

    /// Notes a touch, once; an unbounded one replaces a bounded one.
    pub(super) fn add(&mut self, touch: Touch) {
        super::meant::add(&mut self.touches, touch);
    }

    pub(super) fn read(&mut self, effect: &'static str, object: &'static str, name: &str) {
        self.touch(effect, object, name, Access::Read);
    }

    pub(super) fn write(&mut self, effect: &'static str, object: &'static str, name: &str) {
        self.touch(effect, object, name, Access::Write);
    }

    /// Notes columns that decide which rows there are, or how many.
    pub(super) fn filtered_by(&mut self, from: &Provenance) {
        self.predicates.extend(from.sources.iter().cloned());
    }

    /// Notes that values are stored.
    pub(super) fn flow(&mut self, from: Provenance, into: String) {
        if from.sources.is_empty() && !from.opaque {
            return;
        }
        let flow = Flow { from, into: ColumnName(into) };
        if !self.flows.contains(&flow) {
            self.flows.push(flow);
        }
    }
}
