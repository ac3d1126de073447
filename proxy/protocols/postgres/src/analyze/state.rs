//! What earlier statements of a session changed about the meaning of later ones.

use crate::catalogue::Relation;
use pg_query::protobuf::Node;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

/// Histories are compared by their hashes, so whoever writes statements must not be able to choose those.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Most subtransactions that are told apart; beyond, rolling back forgets what is known.
const SAVEPOINTS_MAX: usize = 64;

/// Facts of a session that change what a text means. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SessionState {
    /// Role the session runs as.
    pub role: String,
    /// Database it is connected to.
    pub database: String,
    /// The `search_path` setting, entry by entry, `$user` included; implicit schemas are not.
    pub search_path: Vec<String>,
    initial: Option<Arc<Initial>>,
    relations: Overlay,
    prepared: Arc<HashMap<String, Prepared>>,
    cursors: Arc<HashMap<String, Prepared>>,
    transaction: Arc<Vec<Snapshot>>,
    /// Search path that comes back when the transaction ends.
    after_transaction: Option<Vec<String>>,
    history: u64,
}

type Overlay = Arc<HashMap<(String, String), Option<Arc<Relation>>>>;

#[derive(Debug, Eq, PartialEq)]
struct Initial {
    role: String,
    search_path: Vec<String>,
}

/// What a rollback brings back.
#[derive(Clone, Debug)]
struct Snapshot {
    /// Name of the savepoint; `None`: the transaction itself.
    savepoint: Option<String>,
    role: String,
    search_path: Vec<String>,
    relations: Overlay,
    cursors: Arc<HashMap<String, Prepared>>,
}

/// A statement that the session prepared, by SQL or by protocol, or declared a cursor for.
#[derive(Clone, Debug)]
pub struct Prepared {
    text: String,
    statement: Option<Arc<Node>>,
    hold: bool,
    then: Arc<Then>,
}

/// What names stood for when a statement was prepared.
#[derive(Clone, Debug)]
struct Then {
    role: String,
    search_path: Vec<String>,
    relations: Overlay,
}

impl Prepared {
    /// `hold`: a cursor that outlives its transaction.
    pub(super) fn new(text: String, statement: Option<Arc<Node>>, hold: bool, state: &SessionState) -> Self {
        let then = Then {
            role: state.role.clone(),
            search_path: state.search_path.clone(),
            relations: Arc::clone(&state.relations),
        };
        Self { text, statement, hold, then: Arc::new(then) }
    }

    /// The session as it was then, as far as names go.
    pub(super) fn state_then(&self, now: &SessionState) -> SessionState {
        SessionState {
            role: self.then.role.clone(),
            search_path: self.then.search_path.clone(),
            relations: Arc::clone(&self.then.relations),
            ..now.clone()
        }
    }

    /// The text that prepared it: the statement, or the `PREPARE` or `DECLARE` around it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The statement inside, unless the text is all there is.
    pub(super) fn statement(&self) -> Option<&Arc<Node>> {
        self.statement.as_ref()
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
        /// What was prepared.
        statement: Prepared,
    },
    /// A prepared statement is gone; `None`: all of them.
    Deallocated(Option<String>),
    /// A cursor was declared.
    Declared {
        /// Its name.
        cursor: String,
        /// Its query.
        query: Prepared,
    },
    /// A cursor is gone; `None`: all of them.
    Closed(Option<String>),
    /// The search path is another; `None`: the one the session started with.
    SearchPath {
        /// The new entries.
        path: Option<Vec<String>>,
        /// Only until the transaction ends.
        local: bool,
    },
    /// The session runs as another role; `None`: the one it started as.
    Role(Option<String>),
    /// Temporary relations are gone.
    TemporaryDiscarded,
    /// A transaction block begins.
    Begin,
    /// The transaction block ends well. Whoever sees that it did not applies [`StateChange::RolledBack`] instead.
    Committed,
    /// What was set for the transaction only ends, without a block around it.
    LocalEnds,
    /// The transaction block is undone.
    RolledBack,
    /// A savepoint is set.
    Savepoint(String),
    /// What came after a savepoint is undone.
    RolledBackTo(String),
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

    pub(super) fn apply_one(&mut self, change: &StateChange) {
        if self.initial.is_none() {
            let initial = Initial { role: self.role.clone(), search_path: self.search_path.clone() };
            self.initial = Some(Arc::new(initial));
        }
        self.history = HASHER.hash_one((self.history, fingerprint(change)));
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
            StateChange::Prepared { name, statement } => {
                Arc::make_mut(&mut self.prepared).insert(name.clone(), statement.clone());
            }
            StateChange::Deallocated(Some(name)) => drop(Arc::make_mut(&mut self.prepared).remove(name)),
            StateChange::Deallocated(None) => self.prepared = Arc::default(),
            StateChange::Declared { cursor, query } => {
                Arc::make_mut(&mut self.cursors).insert(cursor.clone(), query.clone());
            }
            StateChange::Closed(Some(cursor)) => drop(Arc::make_mut(&mut self.cursors).remove(cursor)),
            StateChange::Closed(None) => self.cursors = Arc::default(),
            StateChange::TemporaryDiscarded => {
                Arc::make_mut(&mut self.relations).retain(|(schema, _), _| schema != "pg_temp");
            }
            StateChange::SearchPath { .. }
            | StateChange::Role(_)
            | StateChange::Begin
            | StateChange::Committed
            | StateChange::LocalEnds
            | StateChange::RolledBack
            | StateChange::Savepoint(_)
            | StateChange::RolledBackTo(_) => self.apply_transactional(change),
        }
    }

    fn apply_transactional(&mut self, change: &StateChange) {
        match change {
            StateChange::SearchPath { path, local } => {
                let path =
                    path.clone().or_else(|| self.initial.as_ref().map(|initial| initial.search_path.clone()));
                let before = std::mem::replace(&mut self.search_path, path.unwrap_or_default());
                if *local {
                    self.after_transaction.get_or_insert(before);
                } else {
                    self.after_transaction = None;
                }
            }
            StateChange::Role(role) => {
                let role = role.clone().or_else(|| self.initial.as_ref().map(|initial| initial.role.clone()));
                self.role = role.unwrap_or_default();
            }
            StateChange::Begin => self.snapshot(None),
            StateChange::Savepoint(name) => self.snapshot(Some(name.clone())),
            StateChange::Committed => {
                self.transaction = Arc::default();
                Arc::make_mut(&mut self.cursors).retain(|_, cursor| cursor.hold);
                self.local_ends();
            }
            StateChange::LocalEnds => self.local_ends(),
            StateChange::RolledBack => {
                self.after_transaction = None;
                let first = self.transaction.first().cloned();
                self.restore(first);
                self.transaction = Arc::default();
            }
            StateChange::RolledBackTo(name) => {
                let position =
                    self.transaction.iter().rposition(|snapshot| snapshot.savepoint.as_ref() == Some(name));
                let found = position.and_then(|position| self.transaction.get(position)).cloned();
                self.restore(found);
                if let Some(position) = position {
                    Arc::make_mut(&mut self.transaction).truncate(position + 1);
                }
            }
            _ => {}
        }
    }

    fn local_ends(&mut self) {
        if let Some(path) = self.after_transaction.take() {
            self.search_path = path;
        }
    }

    /// A transaction block that this state saw begin is open.
    pub(super) fn in_transaction(&self) -> bool {
        !self.transaction.is_empty()
    }

    fn snapshot(&mut self, savepoint: Option<String>) {
        if self.transaction.len() >= SAVEPOINTS_MAX || (savepoint.is_none() && !self.transaction.is_empty()) {
            return;
        }
        let snapshot = Snapshot {
            savepoint,
            role: self.role.clone(),
            search_path: self.search_path.clone(),
            relations: Arc::clone(&self.relations),
            cursors: Arc::clone(&self.cursors),
        };
        Arc::make_mut(&mut self.transaction).push(snapshot);
    }

    fn restore(&mut self, snapshot: Option<Snapshot>) {
        let Some(snapshot) = snapshot else { return };
        self.role = snapshot.role;
        self.search_path = snapshot.search_path;
        self.relations = snapshot.relations;
        self.cursors = snapshot.cursors;
    }

    /// Forgets what the session created outside its temporary schema: a newer catalogue holds it.
    pub fn catalogue_refreshed(&mut self) {
        Arc::make_mut(&mut self.relations).retain(|(schema, _), _| schema == "pg_temp");
        self.history = HASHER.hash_one((self.history, "refreshed"));
    }

    /// Remembers a statement that the protocol prepared: SQL `EXECUTE` can name it.
    pub fn prepare(&mut self, name: &str, text: &str) {
        let statement = Prepared::new(text.to_owned(), None, false, self);
        self.apply_one(&StateChange::Prepared { name: name.to_owned(), statement });
    }

    /// The statement prepared by that name.
    pub fn prepared(&self, name: &str) -> Option<&Prepared> {
        self.prepared.get(name)
    }

    /// The query of the cursor by that name.
    pub fn cursor(&self, name: &str) -> Option<&Prepared> {
        self.cursors.get(name)
    }

    /// What the session did to a relation: `Some(None)` is dropped.
    #[expect(clippy::option_option, reason = "untouched, dropped and replaced are three things")]
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
    pub(super) fn history(&self) -> u64 {
        self.history
    }
}

/// What tells one change from another: texts instead of trees.
fn fingerprint(change: &StateChange) -> String {
    match change {
        StateChange::Prepared { name, statement } => format!("prepared {name:?} {}", statement.text),
        StateChange::Declared { cursor, query } => format!("declared {cursor:?} {}", query.text),
        _ => format!("{change:?}"),
    }
}
