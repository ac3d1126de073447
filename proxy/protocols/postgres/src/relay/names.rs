//! Prepared statements and portals of the protocol, as the server has confirmed them.
//!
//! A name counts only once the server said `ParseComplete` or `BindComplete`; what was sent and not yet answered is
//! looked up in the queue of expected answers instead. So a `Parse` that fails because its name is taken cannot make
//! this gateway believe that the name means the new text.

use super::meaning::{Made, Source};
use crate::analyze::{Meant, StateChange};
use crate::mask::{self, Shape};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// A prepared statement.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    /// Its text.
    pub(crate) text: Arc<str>,
    /// Types of its parameters, as sent.
    pub(crate) types: Arc<[u8]>,
    /// What it means to the server, which keeps what its names stood for when it was last planned.
    pub(crate) made: Made,
    /// Types of its columns, once it was described.
    pub(crate) shapes: Option<Arc<[Shape]>>,
    /// Its `RowDescription` as the client got it, until an execution has it on record.
    pub(crate) description: Option<Bytes>,
    /// The analyser knows it: SQL `EXECUTE` can name it. It is told late, because every change of its state makes it
    /// forget what texts mean.
    pub(crate) told: bool,
}

/// A portal.
#[derive(Clone, Debug)]
pub(crate) struct Portal {
    /// What it runs.
    pub(crate) source: Source,
    /// Name of the prepared statement it was bound from.
    pub(crate) statement: String,
    /// Digest of its parameters, in hexadecimal; empty if it has none.
    pub(crate) parameters: Arc<str>,
    /// Result formats as in `Bind`.
    pub(crate) formats: Arc<[i16]>,
    /// Types and formats of its columns, as far as they are known.
    pub(crate) shapes: Option<Arc<[Shape]>>,
    /// Its `RowDescription` as the client got it.
    pub(crate) description: Option<Bytes>,
    /// It has been run.
    pub(crate) run: bool,
}

impl Statement {
    pub(crate) fn new(text: Arc<str>, types: Arc<[u8]>, made: Made) -> Self {
        Self { text, types, made, shapes: None, description: None, told: false }
    }

    /// The server may have planned it again, at a time when it meant this.
    pub(crate) fn may_mean(&mut self, then: &Meant) {
        self.made = self.made.or(then);
    }
}

/// All names of a session.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) statements: HashMap<String, Statement>,
    pub(crate) portals: HashMap<String, Portal>,
}

impl Names {
    /// What the client was told of a portal's columns, for the record of its execution. What it was told of the
    /// statement is recorded once.
    pub(crate) fn description(&mut self, portal: &Portal) -> Option<Bytes> {
        portal.description.clone().or_else(|| {
            let told = self.statements.get_mut(&portal.statement)?.description.take()?;
            mask::bound(&told, &portal.formats).ok()
        })
    }
}

impl Portal {
    /// It has been run, and what it set would be taken to be set once more.
    pub(crate) fn sets_again(&self) -> bool {
        let sets = |change: &StateChange| {
            matches!(change, StateChange::SearchPath { .. } | StateChange::Role { .. })
        };
        let Source::Made { made, .. } = &self.source else { return false };
        self.run && made.analysis.state_changes.iter().any(sets)
    }

    /// Types with the formats that the client asked for.
    pub(crate) fn described(&self, statement: &[Shape]) -> Arc<[Shape]> {
        let shapes = statement
            .iter()
            .enumerate()
            .map(|(index, shape)| Shape { format: mask::format_of(&self.formats, index), ..*shape });
        shapes.collect()
    }
}

/// Whether a text may name a statement or a cursor: `EXECUTE`, `FETCH`, `MOVE`, `WHERE CURRENT OF`.
pub(crate) fn says_a_name(text: &[u8]) -> bool {
    // by letters that are rare, or few in front of which a word can begin
    [(&b"execute"[..], 1, b'x'), (b"fetch", 4, b'h'), (b"move", 2, b'v'), (b"current", 0, b'c')]
        .into_iter()
        .any(|(word, offset, letter)| says(text, word, (offset, letter)))
}

/// Whether a text has the word `EXECUTE` somewhere.
pub(crate) fn says_execute(text: &[u8]) -> bool {
    says(text, b"execute", (1, b'x'))
}

/// Whether a word stands anywhere in a text, found by one of its letters.
fn says(text: &[u8], word: &[u8], (offset, letter): (usize, u8)) -> bool {
    memchr::memchr2_iter(letter, letter.to_ascii_uppercase(), text).any(|at| {
        let found = at.checked_sub(offset).and_then(|start| text.get(start..start.checked_add(word.len())?));
        found.is_some_and(|found| found.eq_ignore_ascii_case(word))
    })
}
