//! What is known of one database: relations with their columns, views, functions, operators, casts. Pure model; the
//! texts that load it are here, and whoever holds a connection runs them.

mod builtin;
mod load;
mod model;
mod resolve;

pub use load::{CatalogueError, Row};
pub use model::{Column, Function, Relation, RelationKind};

pub(crate) use builtin::{
    Judgement, builtin_function, information_schema_function, is_builtin_operator, is_revealing,
};
pub(crate) use resolve::Resolved;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What is known of one database as one role sees it. An immutable snapshot, shared behind an [`Arc`].
///
/// Built with [`Catalogue::build`] from what a server answers to its queries, or with
/// [`Catalogue::builtin`] when there is no server to ask.
#[derive(Debug)]
pub struct Catalogue {
    pub(crate) generation: u64,
    pub(crate) relations: HashMap<String, HashMap<String, Arc<Relation>>>,
    pub(crate) by_oid: HashMap<u32, Arc<Relation>>,
    pub(crate) descendants: HashMap<u32, Vec<u32>>,
    pub(crate) functions: HashMap<String, Vec<Function>>,
    pub(crate) operators: HashMap<String, Vec<String>>,
    pub(crate) cast_types: HashSet<String>,
    pub(crate) schemas: HashMap<String, bool>,
}

impl Catalogue {
    /// Number of this snapshot, unique in the process: part of the key of everything cached about it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The relation with an object identifier, as `RowDescription` carries it.
    pub fn relation_by_oid(&self, oid: u32) -> Option<&Arc<Relation>> {
        self.by_oid.get(&oid)
    }

    /// The relation of that schema and name.
    pub fn relation(&self, schema: &str, name: &str) -> Option<&Arc<Relation>> {
        self.relations.get(schema).and_then(|relations| relations.get(name))
    }
}
