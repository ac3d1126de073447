//! SQL text to [`Command`]: what a statement does to what, and where the values it returns come from.
//!
//! Pure: no I/O. The real grammar (`pg_query`) gives the whole tree, every kind of node is walked explicitly, and what
//! is not known is [`Effects::Unknown`](proxy_policy::Effects), which only a policy that names it allows.

mod state;

pub use state::{Prepared, SessionState, StateChange};

use crate::catalogue::Catalogue;
use proxy_policy::{Command, Provenance};
use std::sync::Arc;

/// What a view's definition means.
#[derive(Debug, Default)]
pub(crate) struct ViewFacts {
    pub(crate) columns: Vec<Provenance>,
}

/// Turns texts into analyses, and remembers them.
#[derive(Debug, Default)]
pub struct Analyzer {}

/// What one text means in one session.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// What the policy judges. `outputs` has one entry per statement, [`Outputs::None`](proxy_policy::Outputs) for
    /// those that return no rows.
    pub command: Command,
    /// One entry per statement of the text, in order.
    pub statements: Vec<StatementFacts>,
    /// Relations and columns that were not found, as written: the catalogue may be stale, load it again and retry once.
    pub unresolved: Vec<String>,
    /// What becomes of the session once the text has run, for [`SessionState::apply`].
    pub state_changes: Vec<StateChange>,
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
    pub fn new(_capacity: usize) -> Self {
        Self::default()
    }

    /// What a text means. Total: what cannot be parsed or told is `Effects::Unknown` with the reason.
    pub fn analyze(&self, sql: &str, state: &SessionState, catalogue: &Catalogue) -> Arc<Analysis> {
        let _skeleton = (state, catalogue);
        Arc::new(Analysis {
            command: unknown(sql, state),
            statements: Vec::new(),
            unresolved: Vec::new(),
            state_changes: Vec::new(),
            catalogue_changed: false,
        })
    }

    /// What executing an SQL-prepared statement of the session means, for a protocol-level `Bind` to its name. `None`:
    /// no such statement.
    pub fn analyze_prepared(&self, name: &str, state: &SessionState, catalogue: &Catalogue) -> Option<Arc<Analysis>> {
        let prepared = state.prepared(name)?;
        Some(self.analyze(prepared.text(), state, catalogue))
    }

    /// What fetching from an SQL cursor of the session means, for a protocol-level `Execute` of its name. `None`: no
    /// such cursor.
    pub fn analyze_cursor(&self, name: &str, state: &SessionState, catalogue: &Catalogue) -> Option<Arc<Analysis>> {
        let cursor = state.cursor(name)?;
        Some(self.analyze(cursor, state, catalogue))
    }
}

fn unknown(sql: &str, state: &SessionState) -> Command {
    Command {
        operation: "UNKNOWN".to_owned(),
        text: sql.to_owned(),
        masked_text: String::new(),
        canonical: String::new(),
        role: state.role.clone(),
        namespace: state.database.clone(),
        binding: Vec::new(),
        effects: proxy_policy::Effects::Unknown { why: "not analysed".to_owned(), touches: Vec::new() },
        outputs: Vec::new(),
        reads: std::collections::BTreeSet::new(),
        predicates: std::collections::BTreeSet::new(),
        flows: Vec::new(),
        changes: true,
    }
}
