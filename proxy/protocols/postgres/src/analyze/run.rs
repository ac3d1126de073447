//! From a text to its analysis: parse, walk, and put together.

use super::scope::Rowset;
use super::state::StateChange;
use super::statement::Facts;
use super::text::{Scanned, unreadable};
use super::walk::Walk;
use super::{Analysis, SessionState, StatementFacts, StatementKind};
use crate::catalogue::Catalogue;
use pg_query::protobuf::RawStmt;
use proxy_policy::{Access, Command, Effects, Outputs, Reading, Touch};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

/// Stack of the thread that parses: deep statements make deep trees. Address space only until it is used.
const STACK: usize = 256 * 1024 * 1024;

/// What is analysed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    /// A text.
    Text(&'a str),
    /// The prepared statement by a name, and its text.
    Prepared(&'a str, &'a str),
    /// The cursor by a name, and its text.
    Cursor(&'a str, &'a str),
}

impl<'a> Subject<'a> {
    /// Tells the kinds apart.
    pub(super) fn kind(self) -> u8 {
        match self {
            Self::Text(_) => 0,
            Self::Prepared(..) => 1,
            Self::Cursor(..) => 2,
        }
    }

    /// What it is remembered by; the rest is in the session's history.
    pub(super) fn key(self) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Prepared(name, _) | Self::Cursor(name, _) => name,
        }
    }

    fn text(self) -> &'a str {
        match self {
            Self::Text(text) | Self::Prepared(_, text) | Self::Cursor(_, text) => text,
        }
    }
}

/// An analysis, and whether it holds for no other literals.
#[derive(Debug)]
pub(super) struct Analysed {
    pub(super) analysis: Analysis,
    pub(super) literal_sensitive: bool,
}

/// Analyses a subject on a thread with room for deep trees.
pub(super) fn analyse(subject: Subject<'_>, state: &SessionState, catalogue: &Catalogue) -> Analysed {
    let work = || catch_unwind(AssertUnwindSafe(|| analyse_here(subject, state, catalogue)));
    let analysis = thread::scope(|scope| {
        let builder = thread::Builder::new().name("analyse".to_owned()).stack_size(STACK);
        match builder.spawn_scoped(scope, work) {
            Ok(thread) => thread.join().ok().and_then(Result::ok),
            Err(_no_thread) => None,
        }
    });
    analysis.unwrap_or_else(|| failed(subject, state, "the analyser failed"))
}

fn analyse_here(subject: Subject<'_>, state: &SessionState, catalogue: &Catalogue) -> Analysed {
    let mut walk = Walk::new(catalogue, state.clone());
    let facts = match subject {
        Subject::Text(text) => match super::parse::parse(text) {
            Ok(parsed) => parsed.stmts.iter().map(|raw| one(&mut walk, raw, text)).collect(),
            Err(why) => {
                return failed(subject, state, &format!("cannot be parsed: {}", without_quotes(&why)));
            }
        },
        Subject::Prepared(name, _) => {
            let rows = walk.executed(name);
            vec![Facts {
                kind: StatementKind::Execute { name: name.to_owned() },
                operation: "EXECUTE".to_owned(),
                rows,
            }]
        }
        Subject::Cursor(name, _) => {
            let rows = Some(walk.fetched(name));
            vec![Facts {
                kind: StatementKind::Fetch { cursor: name.to_owned() },
                operation: "FETCH".to_owned(),
                rows,
            }]
        }
    };
    if !walk.state.in_transaction() {
        walk.change_if_local();
    }
    let literal_sensitive = walk.literal_sensitive;
    Analysed { analysis: assemble(subject, state, walk, facts), literal_sensitive }
}

/// The grammar quotes what it stumbled over, which may be a secret.
fn without_quotes(why: &str) -> String {
    let head = why.split('"').next().unwrap_or_default().trim_end();
    if head.len() < why.len() { format!("{head} …") } else { why.to_owned() }
}

fn one(walk: &mut Walk<'_>, raw: &RawStmt, text: &str) -> Facts {
    let start = usize::try_from(raw.stmt_location).unwrap_or_default();
    let length = usize::try_from(raw.stmt_len).ok().filter(|length| *length > 0);
    let part = text.get(start..).unwrap_or_default();
    let part = length.and_then(|length| part.get(..length)).unwrap_or(part);
    if let Some(node) = raw.stmt.as_deref() {
        walk.statement(node, part)
    } else {
        walk.give_up("a kind of statement that the analyser does not know");
        Facts::of(StatementKind::Utility, "UNKNOWN")
    }
}

fn assemble(subject: Subject<'_>, state: &SessionState, mut walk: Walk<'_>, facts: Vec<Facts>) -> Analysis {
    if facts.is_empty() {
        walk.read(super::effect::TRANSACTION, "transaction", "");
    }
    let operation = match facts.as_slice() {
        [] => "EMPTY".to_owned(),
        [only] => only.operation.clone(),
        _ => "MULTIPLE".to_owned(),
    };
    let changes = !walk.unknown.is_empty() || walk.touches.iter().any(|touch| touch.access == Access::Write);
    let touches = walk.touches;
    let undoable = !walk.lasting && walk.unknown.is_empty() && touches.iter().all(is_undoable);
    let scanned = Scanned::of(subject.text());
    let canonical = canonical(scanned.as_ref(), subject.text(), &touches);
    let effects = super::meant::effects(touches, &walk.unknown);
    let reading = Reading {
        operation,
        masked_text: scanned.map_or_else(|| unreadable(subject.text()), |scanned| scanned.masked()),
        beside: String::new(),
        subject: Vec::new(),
        effects,
        outputs: facts.iter().map(|facts| outputs(facts.rows.as_ref())).collect(),
        reads: walk.reads,
        predicates: walk.predicates,
        flows: walk.flows,
        changes,
    };
    let command = command(subject.text(), canonical, state, reading);
    let statements =
        facts.into_iter().map(|f| StatementFacts { returns_rows: f.rows.is_some(), kind: f.kind }).collect();
    walk.unresolved.sort_unstable();
    walk.unresolved.dedup();
    Analysis {
        command: Arc::new(command),
        statements,
        unresolved: walk.unresolved,
        state_changes: walk.changes,
        undoable,
        catalogue_changed: walk.catalogue_changed,
    }
}

pub(super) fn is_undoable(touch: &Touch) -> bool {
    use super::effect::{DELETE, INSERT, LOCK, SELECT, UPDATE};
    touch.object == "relation" && [DELETE, INSERT, LOCK, SELECT, UPDATE].contains(&touch.effect)
}

pub(super) fn outputs(rows: Option<&Rowset>) -> Outputs {
    match rows {
        None => Outputs::None,
        Some(rows) if rows.rest.is_some() => Outputs::Unaligned(rows.all()),
        Some(rows) => Outputs::Columns(rows.columns.iter().map(|column| column.from.clone()).collect()),
    }
}

/// What the effect digest is made of: the statement's tokens, and the objects that its names stand for, so that neither
/// another spelling nor another search path is another statement, and another object is.
fn canonical(scanned: Option<&Scanned<'_>>, text: &str, touches: &[Touch]) -> String {
    let mut canonical = scanned.map_or_else(|| text.to_owned(), Scanned::canonical);
    let mut objects: Vec<String> = touches.iter().map(super::meant::object).collect();
    objects.sort_unstable();
    for object in objects {
        canonical.push('\n');
        canonical.push_str(&object);
    }
    canonical
}

fn command(text: &str, canonical: String, state: &SessionState, reading: Reading) -> Command {
    Command {
        text: text.into(),
        canonical,
        role: state.role.as_str().into(),
        namespace: state.database.as_str().into(),
        binding: vec![("searchPath".into(), state.search_path.join(", ").into())],
        reading: reading.into(),
    }
}

/// What is answered for a text that could not be analysed.
fn failed(subject: Subject<'_>, state: &SessionState, why: &str) -> Analysed {
    let text = subject.text();
    let masked_text = Scanned::of(text).map_or_else(|| unreadable(text), |scanned| scanned.masked());
    let effects = Effects::Unknown { why: why.to_owned(), touches: Vec::new() };
    let reading = Reading::new("UNKNOWN", masked_text, effects);
    let command = command(text, text.to_owned(), state, reading);
    let analysis = Analysis {
        command: Arc::new(command),
        statements: Arc::default(),
        unresolved: Vec::new(),
        state_changes: Vec::new(),
        undoable: false,
        catalogue_changed: false,
    };
    Analysed { analysis, literal_sensitive: true }
}

impl Walk<'_> {
    /// Outside a block, what was set for the transaction only ends with the text.
    fn change_if_local(&mut self) {
        let local = |change: &StateChange| {
            matches!(
                change,
                StateChange::SearchPath { local: true, .. } | StateChange::Role { local: true, .. }
            )
        };
        if self.changes.iter().any(local) {
            self.change(StateChange::LocalEnds);
        }
    }
}

#[cfg(test)]
mod tests;
