//! Prepared statements and portals of the protocol, as the server has confirmed them.
//!
//! A name counts only once the server said `ParseComplete` or `BindComplete`; what was sent and not yet answered is
//! looked up in the queue of expected answers instead. So a `Parse` that fails because its name is taken cannot make
//! this gateway believe that the name means the new text.

use super::meaning::{Made, Source};
use crate::analyze::Meant;
use crate::mask::Shape;
use std::collections::HashMap;
use std::sync::Arc;

/// A prepared statement.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    /// Its text.
    pub(crate) text: Arc<str>,
    /// What it means to the server, which keeps what its names stood for when it was last planned.
    pub(crate) made: Made,
    /// Types of its columns, once it was described.
    pub(crate) shapes: Option<Arc<[Shape]>>,
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
}

impl Statement {
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

impl Portal {
    /// Types with the formats that the client asked for.
    pub(crate) fn described(&self, statement: &[Shape]) -> Arc<[Shape]> {
        let shapes = statement.iter().enumerate().map(|(index, shape)| {
            let format = match &*self.formats {
                [] => 0,
                [all] => *all,
                each => each.get(index).copied().unwrap_or_default(),
            };
            Shape { format, ..*shape }
        });
        shapes.collect()
    }
}
