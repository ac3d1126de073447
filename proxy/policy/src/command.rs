//! One unit of client intent, and what it does to what. Protocol-neutral; each protocol's analyser builds it.

mod detail;

pub use detail::{ApiRequest, Arguments, Detail, Program, Runs};

use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// One unit of client intent: a whole simple-query message, an executed portal, an exec line, an API request.
///
/// What is the same every time a text is run is in its [`Reading`], which executions share; the rest is their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The exact text the client sent. Holds literals: never recorded or logged, only digested.
    pub text: Arc<str>,
    /// Canonical form of the effect, stable over comments and spacing; input of the effect digest.
    pub canonical: String,
    /// Upstream role the session is logged in as.
    pub role: Arc<str>,
    /// Namespace of the command within the resource: the database of a PostgreSQL session.
    pub namespace: Arc<str>,
    /// Facts that bind the decision besides the text: search path, parameters' digest, current role.
    pub binding: Vec<(Cow<'static, str>, Arc<str>)>,
    /// What the analyser reads out of it.
    pub reading: Arc<Reading>,
}

/// What an analyser reads out of a command: all that policies ask for besides its role and its namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Short operation for lists and metrics: `SELECT`, `DROP DATABASE`, `connect`. Bounded vocabulary.
    pub operation: String,
    /// The text with every literal replaced, fit for records and approvals. Detectors run over it as well.
    pub masked_text: String,
    /// What goes along with it that is no part of its text (variables for a program), fit for records and approvals as
    /// the text is; shown behind it. Conditions do not see it. Empty: nothing.
    pub beside: String,
    /// Record attributes of its protocol that say what it is about, by key and in plain form, for records only: detectors
    /// run over them. Empty: the text says all.
    pub subject: Vec<(&'static str, String)>,
    /// What it does.
    pub effects: Effects,
    /// What it returns, one entry per result in order: one per statement of a simple query.
    pub outputs: Vec<Outputs>,
    /// Columns read anywhere, predicates included. Whether an error text may carry a masked value.
    pub reads: BTreeSet<ColumnName>,
    /// Columns that decide which rows come back or in which order, without being shown by that: `WHERE`, `JOIN … ON`,
    /// `GROUP BY`, `HAVING`, `ORDER BY`, `DISTINCT`. For `maskedPredicates: Deny`.
    pub predicates: BTreeSet<ColumnName>,
    /// Values stored somewhere, and where they came from.
    pub flows: Vec<Flow>,
    /// It may change something: decides how hard its record must be before it runs.
    pub changes: bool,
}

impl Reading {
    /// An operation that does this, and of which nothing is known that it returns or stores. It `changes` if a touch
    /// writes, or if it cannot be told.
    pub fn new(operation: impl Into<String>, masked_text: impl Into<String>, effects: Effects) -> Self {
        let changes = match &effects {
            Effects::Known(touches) => touches.iter().any(|touch| touch.access == Access::Write),
            Effects::Unknown { .. } => true,
        };
        Self {
            operation: operation.into(),
            masked_text: masked_text.into(),
            beside: String::new(),
            subject: Vec::new(),
            effects,
            outputs: Vec::new(),
            reads: BTreeSet::new(),
            predicates: BTreeSet::new(),
            flows: Vec::new(),
            changes,
        }
    }
}

/// What a command does, or why nobody can tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Effects {
    /// All that it does. Never empty to mean "don't know".
    Known(Vec<Touch>),
    /// At least `touches`, and something that cannot be told.
    Unknown {
        /// Why, in words that a policy author can act on.
        why: String,
        /// What is certain all the same.
        touches: Vec<Touch>,
    },
}

/// One thing done to one object.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Touch {
    /// Kind of effect, in the words of the protocol's own CRD enum: `Select`, `Drop`, `Connect`.
    pub effect: &'static str,
    /// Kind of object: `relation`, `function`, `database`, `role`, `setting`, `file`, `transaction`, …
    ///
    /// Of `files`, a `directory` and a `tree` the name is a word of a shell that stands for any that it may become; with
    /// a `tree` goes everything below it, and a `directory` may be one whose files get other names.
    pub object: &'static str,
    /// Canonical name: `public.orders`, `pg_catalog.pg_sleep`. Empty where the object has none.
    pub name: String,
    /// Whether it reads or writes.
    pub access: Access,
    /// No bound is put to it: a change of rows without a predicate, the removal of a whole tree.
    pub unbounded: bool,
    /// What it is beyond that.
    pub detail: Detail,
}

/// Stands for the part of a command that cannot be told, so that rules may name it.
pub(crate) static UNKNOWN: Touch = Touch {
    effect: "Unknown",
    object: "other",
    name: String::new(),
    access: Access::Write,
    unbounded: false,
    detail: Detail::None,
};

impl fmt::Display for Touch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.effect)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if self.unbounded {
            f.write_str(" (unbounded)")?;
        }
        Ok(())
    }
}

/// Reads or writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Access {
    /// Leaves the object as it was.
    Read,
    /// May change it.
    Write,
}

/// A source column: `schema.table.column`; `schema.table.*` for a whole row.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ColumnName(pub String);

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one result carries.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outputs {
    /// No rows.
    None,
    /// Rows whose columns, in order, come from these sources.
    Columns(Vec<Provenance>),
    /// Rows of which only the possible sources are known, not which column carries which.
    Unaligned(Provenance),
}

/// Where the value of one output column can come from.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// Source columns that can flow into it.
    pub sources: BTreeSet<ColumnName>,
    /// The value is a source column's value unchanged (renamed at most), so that a partial mask makes sense.
    pub verbatim: bool,
    /// It may carry anything at all: an unknown function, a relation that the catalogue does not know.
    pub opaque: bool,
}

/// Values stored by the command itself: `INSERT … SELECT`, `CREATE TABLE AS`, `UPDATE … SET`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// Where the values come from.
    pub from: Provenance,
    /// Column they are stored in; a relation's name with `.*` if the column is not known.
    pub into: ColumnName,
}
