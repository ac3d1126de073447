//! The parts of a catalogue.

use crate::analyze::ViewFacts;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

/// Kinds of relation, by what reading them means.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RelationKind {
    /// An ordinary table.
    #[default]
    Table,
    /// A partitioned table.
    Partitioned,
    /// A foreign table.
    Foreign,
    /// A view: reading it reads what its definition reads.
    View,
    /// A materialised view.
    MaterializedView,
    /// A sequence.
    Sequence,
}

/// One column of a relation, dropped ones left out.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Object identifier of its type; 0 if not known.
    #[serde(default, rename = "type")]
    pub type_oid: u32,
    /// Its number in `pg_attribute`; 0 if not known.
    #[serde(default)]
    pub attnum: i16,
    /// Expression that a generated column is computed from.
    #[serde(default)]
    pub generated: Option<String>,
}

/// A relation: whatever can stand in `FROM`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Relation {
    /// Object identifier; 0 for one that the session created and the server was not asked about.
    #[serde(default)]
    pub oid: u32,
    /// Schema; `pg_temp` for a temporary one.
    pub schema: String,
    /// Name without schema.
    pub name: String,
    /// What kind it is.
    #[serde(default)]
    pub kind: RelationKind,
    /// Its columns, in order.
    #[serde(default)]
    pub columns: Vec<Column>,
    /// Object identifiers of the tables it inherits from or is a partition of.
    #[serde(default)]
    pub parents: Vec<u32>,
    /// Definition of a view, every name in it qualified.
    #[serde(default)]
    pub view: Option<String>,
    /// Its columns are not known: this session made or changed it in a way that only the server can tell.
    #[serde(skip)]
    pub(crate) open: bool,
    /// What the definition means, once somebody asked.
    #[serde(skip)]
    pub(crate) facts: OnceLock<Arc<ViewFacts>>,
}

impl Relation {
    /// `schema.name`.
    pub fn qualified(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// It belongs to the server itself: its definition is not looked into.
    pub(crate) fn is_system(&self) -> bool {
        matches!(self.schema.as_str(), "pg_catalog" | "information_schema" | "pg_toast")
    }
}

/// A function that is not part of PostgreSQL itself.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Function {
    /// Schema.
    pub schema: String,
    /// Name without schema.
    pub name: String,
    /// Fewest arguments it takes.
    #[serde(default)]
    pub arguments_min: u16,
    /// Most arguments it takes; omitted: any number.
    #[serde(default)]
    pub arguments_max: Option<u16>,
    /// It does nothing but compute its value, as those of a few well-known extensions: to call it is no effect.
    #[serde(default)]
    pub computes: bool,
}
