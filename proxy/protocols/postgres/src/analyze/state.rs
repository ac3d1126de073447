//! What earlier statements of a session changed about the meaning of later ones.

use crate::catalogue::Relation;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Facts of a session that change what a text means. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SessionState {
    /// Role the session runs as.
    pub role: String,
    /// Database it is connected to.
    pub database: String,
    /// The `search_path` setting, entry by entry, `$user` included; implicit schemas are not.
    pub search_path: Vec<String>,
    relations: Arc<HashMap<(String, String), Option<Arc<Relation>>>>,
    prepared: Arc<HashMap<String, Prepared>>,
    cursors: Arc<HashMap<String, String>>,
    history: u64,
}

/// A statement that the session prepared, by SQL or by protocol.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Prepared {
    text: String,
}

impl Prepared {
    /// The statement's text, without the `PREPARE … AS` before it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// One change that a statement makes to its session once it has run.
#[derive(Clone, Debug)]
pub enum StateChange {
    /// A relation exists now, or exists in another form.
    Created(Arc<Relation>),
    /// A relation is gone.
    Dropped {
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
    },
    /// A schema exists now.
    SchemaCreated(String),
    /// A statement was prepared.
    Prepared {
        /// Its name.
        name: String,
        /// Its text.
        text: String,
    },
    /// A prepared statement is gone; `None`: all of them.
    Deallocated(Option<String>),
    /// A cursor was declared.
    Declared {
        /// Its name.
        cursor: String,
        /// Text of its query.
        text: String,
    },
    /// A cursor is gone; `None`: all of them.
    Closed(Option<String>),
    /// The search path is another; `None`: the one of the session's start, which whoever holds the session knows.
    SearchPath(Option<Vec<String>>),
}

impl SessionState {
    /// A session that has done nothing yet, with the search path PostgreSQL starts with.
    pub fn new(role: &str, database: &str) -> Self {
        Self {
            role: role.to_owned(),
            database: database.to_owned(),
            search_path: vec!["$user".to_owned(), "public".to_owned()],
            ..Self::default()
        }
    }

    /// Takes over what a text that has run changed.
    pub fn apply(&mut self, changes: &[StateChange]) {
        for change in changes {
            self.apply_one(change);
        }
    }

    fn apply_one(&mut self, change: &StateChange) {
        match change {
            StateChange::Created(relation) => {
                let key = (relation.schema.clone(), relation.name.clone());
                Arc::make_mut(&mut self.relations).insert(key, Some(Arc::clone(relation)));
            }
            StateChange::Dropped { schema, name } => {
                Arc::make_mut(&mut self.relations).insert((schema.clone(), name.clone()), None);
            }
            StateChange::SchemaCreated(schema) => {
                Arc::make_mut(&mut self.relations).insert((schema.clone(), String::new()), None);
            }
            StateChange::Prepared { name, text } => {
                Arc::make_mut(&mut self.prepared).insert(name.clone(), Prepared { text: text.clone() });
            }
            StateChange::Deallocated(Some(name)) => {
                Arc::make_mut(&mut self.prepared).remove(name);
            }
            StateChange::Deallocated(None) => self.prepared = Arc::default(),
            StateChange::Declared { cursor, text } => {
                Arc::make_mut(&mut self.cursors).insert(cursor.clone(), text.clone());
            }
            StateChange::Closed(Some(cursor)) => {
                Arc::make_mut(&mut self.cursors).remove(cursor);
            }
            StateChange::Closed(None) => self.cursors = Arc::default(),
            StateChange::SearchPath(Some(path)) => self.search_path.clone_from(path),
            StateChange::SearchPath(None) => self.search_path = vec!["$user".to_owned(), "public".to_owned()],
        }
        let mut hasher = DefaultHasher::new();
        (self.history, format!("{change:?}")).hash(&mut hasher);
        self.history = hasher.finish();
    }

    /// Forgets what the session created outside its temporary schema: a newer catalogue holds it.
    pub fn catalogue_refreshed(&mut self) {
        Arc::make_mut(&mut self.relations).retain(|(schema, _), _| schema == "pg_temp");
    }

    /// Remembers a statement that the protocol prepared: SQL `EXECUTE` can name it.
    pub fn prepare(&mut self, name: &str, text: &str) {
        self.apply_one(&StateChange::Prepared { name: name.to_owned(), text: text.to_owned() });
    }

    /// The statement prepared by that name.
    pub fn prepared(&self, name: &str) -> Option<&Prepared> {
        self.prepared.get(name)
    }

    /// Text of the query of the cursor by that name.
    pub fn cursor(&self, name: &str) -> Option<&str> {
        self.cursors.get(name).map(String::as_str)
    }

    /// What the session did to a relation: `Some(None)` is dropped.
    pub(crate) fn overlay(&self, schema: &str, name: &str) -> Option<Option<&Arc<Relation>>> {
        if self.relations.is_empty() {
            return None;
        }
        self.relations.get(&(schema.to_owned(), name.to_owned())).map(Option::as_ref)
    }

    pub(crate) fn has_schema(&self, schema: &str) -> bool {
        !self.relations.is_empty() && self.relations.contains_key(&(schema.to_owned(), String::new()))
    }

    /// Identifies everything about the session that an analysis depends on besides role, database and search path.
    pub(crate) fn history(&self) -> u64 {
        self.history
    }
}
