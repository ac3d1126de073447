//! SQL text to [`Command`]: what a statement does to what, and where the values it returns come from.
//!
//! Pure: no I/O. The real grammar (`pg_query`) gives the whole tree, every kind of node is walked explicitly, and what
//! is not known is [`Effects::Unknown`](proxy_policy::Effects), which only a policy that names it allows.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the grammar has hundreds of kinds of node: what is not named is unknown, and so not allowed"
)]
#![expect(clippy::wrong_self_convention, reason = "`from` is SQL's FROM here")]

mod bounded;
mod column;
mod condition;
mod definition;
mod effect;
mod expression;
mod from;
mod from_function;
mod function;
mod history;
mod json;
mod key;
mod meant;
mod modify;
mod names;
mod parse;
mod query;
mod relation;
mod rename;
mod run;
mod scope;
mod setting;
mod shape;
mod state;
mod statement;
mod table;
mod text;
mod utility;
mod walk;

pub use meant::Meant;
pub(crate) use relation::ViewFacts;
pub use state::{Cursor, Prepared, SessionState, StateChange};

use crate::catalogue::Catalogue;
use key::Key;
pub(crate) use key::{Circumstances, Recent, Sense};
use lru::LruCache;
use proxy_policy::Command;
use run::Subject;
use shape::{Pattern, Shape};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// Turns texts into analyses, and remembers them.
#[derive(Debug)]
pub struct Analyzer {
    remembered: Mutex<LruCache<Key, Remembered>>,
}

/// What is remembered of a text, or of all texts of one shape.
#[derive(Clone, Debug)]
enum Remembered {
    Analysis(Arc<Analysis>),
    Pattern(Arc<Pattern>),
}

/// What one text means in one session.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// What the policy judges. `outputs` has one entry per statement, [`Outputs::None`](proxy_policy::Outputs) for
    /// those that return no rows.
    pub command: Arc<Command>,
    /// One entry per statement of the text, in order.
    pub statements: Arc<[StatementFacts]>,
    /// Relations and columns that were not found, as written: the catalogue may be stale, load it again and retry once.
    pub unresolved: Vec<String>,
    /// What becomes of the session once the text has run, for [`SessionState::apply`].
    pub state_changes: Vec<StateChange>,
    /// Within a transaction block, nothing of what it does lasts unless that is committed: it reads, locks and changes
    /// rows, and does nothing else.
    pub undoable: bool,
    /// It creates, alters or drops something that the catalogue holds: load it again once the text has run.
    pub catalogue_changed: bool,
}

/// What the protocol needs to know of one statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StatementFacts {
    /// What kind it is.
    pub kind: StatementKind,
    /// It answers with rows (or, for [`StatementKind::CopyOut`], with copy data).
    pub returns_rows: bool,
}

/// Kinds of statement that the protocol has to tell apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StatementKind {
    /// `SELECT`, `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `VALUES`, `TABLE`, `EXPLAIN`, `SHOW`.
    Query,
    /// `BEGIN`, `START TRANSACTION`.
    Begin,
    /// `COMMIT`, `END`, `PREPARE TRANSACTION`; with `chain`, another transaction begins at once.
    Commit {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `ROLLBACK`, `ABORT`; with `chain`, another transaction begins at once.
    Rollback {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `SAVEPOINT`, `RELEASE`, `ROLLBACK TO`.
    Savepoint,
    /// `COPY … FROM STDIN`: the client sends data.
    CopyIn,
    /// `COPY … TO STDOUT`: the client gets data.
    CopyOut,
    /// SQL `PREPARE`.
    Prepare {
        /// Name of the prepared statement.
        name: String,
    },
    /// SQL `EXECUTE`.
    Execute {
        /// Name of the prepared statement.
        name: String,
    },
    /// SQL `DEALLOCATE`; `None` is `ALL`.
    Deallocate {
        /// Name of the prepared statement.
        name: Option<String>,
    },
    /// `DECLARE … CURSOR`.
    Declare {
        /// Name of the cursor.
        cursor: String,
    },
    /// `FETCH`, `MOVE`.
    Fetch {
        /// Name of the cursor.
        cursor: String,
    },
    /// `CLOSE`; `None` is `ALL`.
    Close {
        /// Name of the cursor.
        cursor: Option<String>,
    },
    /// `SET`; `RESET` is one without value.
    Set {
        /// Name of the setting, lower case; `role` and `session_authorization` included.
        name: String,
        /// The new value, list entries separated by a comma and a space.
        value: Option<String>,
        /// Only until the transaction ends.
        local: bool,
    },
    /// `DISCARD ALL` and its kin.
    Discard,
    /// `LISTEN`, `UNLISTEN`.
    Listen,
    /// `NOTIFY`.
    Notify,
    /// Anything else.
    Utility,
}

impl Analyzer {
    /// An analyser that remembers up to `capacity` analyses.
    pub fn new(capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self { remembered: Mutex::new(LruCache::new(capacity)) }
    }

    /// What a text means. Total: what cannot be parsed or told is `Effects::Unknown` with the reason.
    pub fn analyze(&self, sql: &str, state: &SessionState, catalogue: &Catalogue) -> Arc<Analysis> {
        self.remembered(Subject::Text(sql), state, catalogue)
    }

    /// What executing a prepared statement of the session means, for a protocol-level `Bind` to its name, however it
    /// was prepared. Names in it stand for what they did at any time since, and for what they do now: the server may
    /// plan it again or not. `None`: no such statement.
    pub fn analyze_prepared(
        &self,
        name: &str,
        state: &SessionState,
        catalogue: &Catalogue,
    ) -> Option<Arc<Analysis>> {
        let prepared = state.prepared(name)?;
        Some(self.remembered(Subject::Prepared(name, prepared.text()), state, catalogue))
    }

    /// What fetching from an SQL cursor of the session means, for a protocol-level `Execute` of its name. `None`: no
    /// such cursor.
    pub fn analyze_cursor(
        &self,
        name: &str,
        state: &SessionState,
        catalogue: &Catalogue,
    ) -> Option<Arc<Analysis>> {
        let cursor = state.cursor(name)?;
        Some(self.remembered(Subject::Cursor(name, cursor.text()), state, catalogue))
    }

    fn remembered(&self, subject: Subject<'_>, state: &SessionState, catalogue: &Catalogue) -> Arc<Analysis> {
        let circumstances = Circumstances::of(state, catalogue);
        let shaped = match subject {
            Subject::Text(text) => Shape::of(text).map(|shape| (text, shape)),
            Subject::Prepared(..) | Subject::Cursor(..) => None,
        };
        if let Some((text, shape)) = &shaped
            && let Some(Remembered::Pattern(pattern)) = self.recall(circumstances.key(SHAPE, &shape.text))
        {
            return Arc::new(pattern.filled(text, shape));
        }
        let own = circumstances.key(subject.kind(), subject.key());
        if let Some(Remembered::Analysis(found)) = self.recall(own) {
            return found;
        }
        let run::Analysed { analysis, literal_sensitive } = run::analyse(subject, state, catalogue);
        let shaped = shaped.as_ref().filter(|_| !literal_sensitive);
        let pattern =
            shaped.and_then(|(text, shape)| Some((&*shape.text, Pattern::of(&analysis, shape, text)?)));
        let analysis = Arc::new(analysis);
        match pattern {
            Some((shape, pattern)) => {
                self.remember(circumstances.key(SHAPE, shape), Remembered::Pattern(Arc::new(pattern)));
            }
            None => self.remember(own, Remembered::Analysis(Arc::clone(&analysis))),
        }
        analysis
    }

    fn recall(&self, key: key::Parts<'_>) -> Option<Remembered> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(&key as &dyn key::Keyed).cloned()
    }

    fn remember(&self, key: key::Parts<'_>, what: Remembered) {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).put(key.to_key(), what);
    }
}

/// Tells the keys of shapes from those of [`Subject`]s.
const SHAPE: u8 = u8::MAX;
