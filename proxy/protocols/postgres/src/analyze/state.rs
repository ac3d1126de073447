//! What earlier statements of a session changed about the meaning of later ones.

use super::history::History;
use super::meant::Meant;
use crate::catalogue::Relation;
use pg_query::protobuf::Node;
use std::collections::HashMap;
use std::sync::Arc;

/// Most savepoints that are followed.
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
    cursors: Arc<HashMap<String, Cursor>>,
    transaction: Arc<Vec<Snapshot>>,
    /// What comes back when the transaction ends.
    after: After,
    history: History,
}

type Overlay = Arc<HashMap<(String, String), Option<Arc<Relation>>>>;

/// Settings before they were set for the rest of the transaction only.
#[derive(Clone, Debug, Default)]
struct After {
    role: Option<String>,
    search_path: Option<Vec<String>>,
}

#[derive(Debug)]
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
    after: After,
    relations: Overlay,
    cursors: Arc<HashMap<String, Cursor>>,
    history: History,
}

/// A statement that the session prepared, by SQL or by protocol.
#[derive(Clone, Debug)]
pub struct Prepared {
    text: Arc<str>,
    statement: Option<Arc<Node>>,
    /// Everything that its names may stand for: the server keeps its plan from any time since it was prepared.
    pub(super) meant: Arc<Meant>,
}

/// A cursor that the session declared.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// The `DECLARE`.
    pub(super) text: String,
    /// It outlives its transaction.
    pub(super) hold: bool,
    /// What its query meant when it was declared, and means to its end.
    pub(super) meant: Arc<Meant>,
}

impl Prepared {
    pub(super) fn by_sql(text: &str, statement: &Node, meant: Meant) -> Self {
        Self { text: text.into(), statement: Some(Arc::new(statement.clone())), meant: Arc::new(meant) }
    }

    /// All that it may mean if it may mean this as well; `None`: that is nothing new.
    pub(crate) fn gains(&self, meant: &Meant) -> Option<Arc<Meant>> {
        let both = self.meant.union(meant);
        (both != *self.meant).then(|| Arc::new(both))
    }

    /// The text that prepared it: the statement, or the `PREPARE` around it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The statement inside, unless the text is all there is.
    pub(super) fn statement(&self) -> Option<&Arc<Node>> {
        self.statement.as_ref()
    }
}

impl Cursor {
    /// The `DECLARE` around its query.
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
    /// What has become of relations and schemas cannot be told before the catalogue is loaded again: a name stands for
    /// everything along the path.
    Doubted,
    /// A statement was prepared.
    Prepared {
        /// Its name.
        name: String,
        /// What was prepared.
        statement: Prepared,
    },
    /// The server may have planned a prepared statement again, so that its names stand for more than they did.
    Replanned {
        /// Its name.
        name: String,
        /// What it was found to mean at any time.
        meant: Arc<Meant>,
    },
    /// A prepared statement is gone; `None`: all of them.
    Deallocated(Option<String>),
    /// A cursor was declared.
    Declared {
        /// Its name.
        cursor: String,
        /// Its query.
        query: Cursor,
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
    Role {
        /// The new role.
        role: Option<String>,
        /// Only until the transaction ends.
        local: bool,
    },
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
    /// A savepoint is gone, and those after it; what came after them stays.
    Released(String),
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
            self.history.initial.changed(format_args!("{initial:?}"));
            self.initial = Some(Arc::new(initial));
        }
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
            StateChange::Doubted => {
                Arc::make_mut(&mut self.relations).insert((String::new(), String::new()), None);
            }
            StateChange::Prepared { name, statement } => {
                Arc::make_mut(&mut self.prepared).insert(name.clone(), statement.clone());
            }
            StateChange::Replanned { name, meant } => {
                if let Some(statement) = Arc::make_mut(&mut self.prepared).get_mut(name) {
                    statement.meant = Arc::clone(meant);
                }
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
            | StateChange::Role { .. }
            | StateChange::Begin
            | StateChange::Committed
            | StateChange::LocalEnds
            | StateChange::RolledBack
            | StateChange::Savepoint(_)
            | StateChange::Released(_)
            | StateChange::RolledBackTo(_) => self.apply_transactional(change),
        }
        self.note(change);
    }

    fn apply_transactional(&mut self, change: &StateChange) {
        match change {
            StateChange::SearchPath { path, local } => {
                let path =
                    path.clone().or_else(|| self.initial.as_ref().map(|initial| initial.search_path.clone()));
                let before = std::mem::replace(&mut self.search_path, path.unwrap_or_default());
                let kept = self.after.search_path.take();
                self.after.search_path = local.then(|| kept.unwrap_or(before));
            }
            StateChange::Role { role, local } => {
                let role = role.clone().or_else(|| self.initial.as_ref().map(|initial| initial.role.clone()));
                let before = std::mem::replace(&mut self.role, role.unwrap_or_default());
                let kept = self.after.role.take();
                self.after.role = local.then(|| kept.unwrap_or(before));
            }
            StateChange::Begin => self.snapshot(None),
            StateChange::Savepoint(name) => self.snapshot(Some(name.clone())),
            StateChange::Committed => {
                self.transaction = Arc::default();
                if self.cursors.values().any(|cursor| !cursor.hold) {
                    Arc::make_mut(&mut self.cursors).retain(|_, cursor| cursor.hold);
                    self.history.cursors.changed("committed");
                }
                self.local_ends();
            }
            StateChange::LocalEnds => self.local_ends(),
            StateChange::RolledBack => {
                self.local_ends();
                let first = self.transaction.first().cloned();
                self.restore(first);
                self.transaction = Arc::default();
            }
            StateChange::Released(name) => {
                if let Some(position) = self.savepoint(name) {
                    Arc::make_mut(&mut self.transaction).truncate(position);
                }
            }
            StateChange::RolledBackTo(name) => {
                let position = self.savepoint(name);
                let found = position.and_then(|position| self.transaction.get(position)).cloned();
                self.restore(found);
                if let Some(position) = position {
                    Arc::make_mut(&mut self.transaction).truncate(position + 1);
                }
            }
            _ => {}
        }
    }

    /// Keeps the history in step with what was just applied.
    fn note(&mut self, change: &StateChange) {
        let Self { history, .. } = self;
        match change {
            StateChange::Created(_)
            | StateChange::Dropped { .. }
            | StateChange::SchemaCreated(_)
            | StateChange::Doubted
            | StateChange::TemporaryDiscarded => history.objects.changed(format_args!("{change:?}")),
            StateChange::Prepared { .. } | StateChange::Replanned { .. } | StateChange::Deallocated(_) => {
                history.prepared.changed(fingerprint(change));
            }
            StateChange::Declared { .. } | StateChange::Closed(_) => {
                history.cursors.changed(fingerprint(change));
            }
            // Role and path are circumstances of their own; what comes back when they end is not.
            StateChange::SearchPath { local, .. } | StateChange::Role { local, .. } => {
                if *local || !self.transaction.is_empty() {
                    let Self { after, .. } = self;
                    history.transaction.changed(format_args!("{change:?} {after:?}"));
                }
            }
            StateChange::Released(_) => history.transaction.changed(format_args!("{change:?}")),
            // Snapshots have histories of their own.
            StateChange::Begin | StateChange::Savepoint(_) | StateChange::RolledBackTo(_) => {}
            StateChange::LocalEnds if !self.transaction.is_empty() => history.transaction.changed("local"),
            StateChange::LocalEnds | StateChange::Committed | StateChange::RolledBack => {
                history.transaction.forget();
            }
        }
        if self.relations.is_empty() {
            self.history.objects.forget();
        }
        if self.prepared.is_empty() {
            self.history.prepared.forget();
        }
        if self.cursors.is_empty() {
            self.history.cursors.forget();
        }
    }

    fn savepoint(&self, name: &str) -> Option<usize> {
        self.transaction.iter().rposition(|snapshot| snapshot.savepoint.as_deref() == Some(name))
    }

    /// One more savepoint could not be followed.
    pub(super) fn has_all_savepoints(&self) -> bool {
        self.transaction.len() > SAVEPOINTS_MAX
    }

    fn local_ends(&mut self) {
        let After { role, search_path } = std::mem::take(&mut self.after);
        if let Some(role) = role {
            self.role = role;
        }
        if let Some(path) = search_path {
            self.search_path = path;
        }
    }

    /// A transaction block that this state saw begin is open.
    pub(super) fn in_transaction(&self) -> bool {
        !self.transaction.is_empty()
    }

    fn snapshot(&mut self, savepoint: Option<String>) {
        if self.has_all_savepoints() || (savepoint.is_none() && !self.transaction.is_empty()) {
            return;
        }
        let Self { role, search_path, history, after, .. } = &mut *self;
        let names = (history.objects, history.cursors);
        history
            .transaction
            .changed(format_args!("{savepoint:?} {role:?} {search_path:?} {after:?} {names:?}"));
        let snapshot = Snapshot {
            savepoint,
            after: self.after.clone(),
            role: self.role.clone(),
            search_path: self.search_path.clone(),
            relations: Arc::clone(&self.relations),
            cursors: Arc::clone(&self.cursors),
            history: self.history,
        };
        Arc::make_mut(&mut self.transaction).push(snapshot);
    }

    fn restore(&mut self, snapshot: Option<Snapshot>) {
        let Some(snapshot) = snapshot else { return };
        self.role = snapshot.role;
        self.search_path = snapshot.search_path;
        self.after = snapshot.after;
        self.relations = snapshot.relations;
        self.cursors = snapshot.cursors;
        // Statements stay prepared.
        self.history = History { prepared: self.history.prepared, ..snapshot.history };
    }

    /// A transaction that nobody began in so many words is undone: back to what was before it. Statements stay prepared.
    pub(crate) fn undone_to(&mut self, before: Self) {
        let prepared = (Arc::clone(&self.prepared), self.history.prepared);
        *self = before;
        (self.prepared, self.history.prepared) = prepared;
    }

    /// Forgets what the session created outside its temporary schema: a newer catalogue holds it.
    pub fn catalogue_refreshed(&mut self) {
        if self.relations.keys().all(|(schema, _)| schema == "pg_temp") {
            return;
        }
        Arc::make_mut(&mut self.relations).retain(|(schema, _), _| schema == "pg_temp");
        self.history.objects.changed("refreshed");
        if self.relations.is_empty() {
            self.history.objects.forget();
        }
    }

    /// Remembers a statement that the protocol prepared, and what it was found to mean: SQL `EXECUTE` can name it.
    pub fn prepare(&mut self, name: &str, text: &Arc<str>, meant: Meant) {
        let statement = Prepared { text: Arc::clone(text), statement: None, meant: Arc::new(meant) };
        self.apply_one(&StateChange::Prepared { name: name.to_owned(), statement });
    }

    /// The statement prepared by that name.
    pub fn prepared(&self, name: &str) -> Option<&Prepared> {
        self.prepared.get(name)
    }

    /// The query of the cursor by that name.
    pub fn cursor(&self, name: &str) -> Option<&Cursor> {
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

    /// A name stands for everything along the path: something was dropped or renamed of which it cannot be told what else
    /// that took away, or the session runs as another role than the catalogue was loaded as, which may use other schemas.
    pub(crate) fn is_in_doubt(&self) -> bool {
        let another = self.initial.as_ref().is_some_and(|initial| initial.role != self.role);
        another || self.overlay("", "").is_some()
    }

    pub(crate) fn has_schema(&self, schema: &str) -> bool {
        !self.relations.is_empty() && self.relations.contains_key(&(schema.to_owned(), String::new()))
    }

    /// Identifies everything about the session that an analysis depends on besides role, database and search path.
    pub(super) fn history(&self) -> History {
        self.history
    }
}

/// What tells one change from another: texts instead of trees.
fn fingerprint(change: &StateChange) -> String {
    match change {
        StateChange::Prepared { name, statement } => {
            format!("prepared {name:?} {:?} {:?}", statement.text, statement.meant)
        }
        StateChange::Declared { cursor, query } => format!("declared {cursor:?} {query:?}"),
        _ => format!("{change:?}"),
    }
}

#[cfg(test)]
mod tests;
