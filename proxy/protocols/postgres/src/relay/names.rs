//! Prepared statements and portals of the protocol, as the server has confirmed them.
//!
//! A name counts only once the server said `ParseComplete` or `BindComplete`; what was sent and not yet answered is
//! looked up in the queue of expected answers instead. So a `Parse` that fails because its name is taken cannot make
//! this gateway believe that the name means the new text.

use super::meaning::{Made, Source};
use crate::analyze::Meant;
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
    /// Types with the formats that the client asked for.
    pub(crate) fn described(&self, statement: &[Shape]) -> Arc<[Shape]> {
        let shapes = statement
            .iter()
            .enumerate()
            .map(|(index, shape)| Shape { format: mask::format_of(&self.formats, index), ..*shape });
        shapes.collect()
    }
}
