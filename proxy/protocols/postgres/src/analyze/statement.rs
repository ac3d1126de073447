//! One statement: which it is, and what it does.

use super::StatementKind;
use super::effect;
use super::names;
use super::scope::{OutColumn, Rowset, opaque};
use super::state::{Cursor, Prepared, StateChange};
use super::walk::{Certain, Walk};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    DeclareCursorStmt, DiscardMode, ExecuteStmt, ExplainStmt, FetchStmt, Node, PrepareStmt, SelectStmt,
    TransactionStmt, TransactionStmtKind,
};
use proxy_policy::{Access, Provenance};
use std::sync::Arc;

/// Depth beyond which a statement is not kept for later.
const KEPT_DEPTH_MAX: u32 = 300;
/// `CURSOR_OPT_HOLD` of PostgreSQL's `parsenodes.h`.
const CURSOR_OPT_HOLD: i32 = 0x0020;

/// What is known of one statement once it was walked.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) kind: StatementKind,
    pub(super) operation: String,
    pub(super) rows: Option<Rowset>,
}

impl Facts {
    pub(super) fn of(kind: StatementKind, operation: &str) -> Self {
        Self { kind, operation: operation.to_owned(), rows: None }
    }

    pub(super) fn rows(kind: StatementKind, operation: &str, rows: Rowset) -> Self {
        Self { kind, operation: operation.to_owned(), rows: Some(rows) }
    }
}

impl Walk<'_> {
    /// Notes a change to the session, which later statements of the text see.
    pub(super) fn change(&mut self, change: StateChange) {
        self.state.apply_one(&change);
        self.changes.push(change);
    }

    /// One statement at the top of a text; `text` is its own part of it.
    pub(super) fn statement(&mut self, node: &Node, text: &str) -> Facts {
        match node.node.as_ref() {
            Some(NodeEnum::SelectStmt(select)) => self.top_select(select),
            Some(
                kind @ (NodeEnum::InsertStmt(_)
                | NodeEnum::UpdateStmt(_)
                | NodeEnum::DeleteStmt(_)
                | NodeEnum::MergeStmt(_)),
            ) => self.top_change(node, kind),
            Some(NodeEnum::TransactionStmt(transaction)) => self.transaction(transaction),
            Some(NodeEnum::VariableSetStmt(set)) => self.set_statement(set),
            Some(NodeEnum::VariableShowStmt(show)) => self.show_setting(&show.name),
            Some(NodeEnum::ExplainStmt(explain)) => self.explain(explain, text),
            Some(NodeEnum::CopyStmt(copy)) => self.copy(copy),
            Some(NodeEnum::PrepareStmt(prepare)) => self.prepare(prepare, text),
            Some(NodeEnum::ExecuteStmt(execute)) => self.execute(execute),
            Some(NodeEnum::DeallocateStmt(deallocate)) => {
                let name = (!deallocate.isall).then(|| deallocate.name.clone());
                self.change(StateChange::Deallocated(name.clone()));
                self.read(effect::TRANSACTION, "statement", "");
                Facts::of(StatementKind::Deallocate { name }, "DEALLOCATE")
            }
            Some(NodeEnum::DeclareCursorStmt(declare)) => self.declare(declare, text),
            Some(NodeEnum::FetchStmt(fetch)) => self.fetch(fetch),
            Some(NodeEnum::ClosePortalStmt(close)) => {
                let cursor = (!close.portalname.is_empty()).then(|| close.portalname.clone());
                self.change(StateChange::Closed(cursor.clone()));
                self.read(effect::TRANSACTION, "cursor", "");
                Facts::of(StatementKind::Close { cursor }, "CLOSE")
            }
            Some(NodeEnum::DiscardStmt(discard)) => self.discard(discard.target()),
            Some(kind) => self.utility(kind),
            None => {
                self.give_up("a kind of statement that the analyser does not know");
                Facts::of(StatementKind::Utility, "UNKNOWN")
            }
        }
    }

    fn top_select(&mut self, select: &SelectStmt) -> Facts {
        self.certain = certain(select);
        let rows = self.select(select);
        if let Some(into) = leftmost(select).into_clause.as_deref() {
            self.create_from(into, rows, false);
            return Facts::of(StatementKind::Query, "SELECT INTO");
        }
        if self.touches.is_empty() {
            // `SELECT 1` does nothing to anything.
            self.read(effect::SELECT, "relation", "");
        }
        Facts::rows(StatementKind::Query, "SELECT", rows)
    }

    fn top_change(&mut self, node: &Node, kind: &NodeEnum) -> Facts {
        let rows = self.query_node(node);
        let (operation, returns) = match kind {
            NodeEnum::InsertStmt(insert) => ("INSERT", insert.returning_clause.is_some()),
            NodeEnum::UpdateStmt(update) => ("UPDATE", update.returning_clause.is_some()),
            NodeEnum::DeleteStmt(delete) => ("DELETE", delete.returning_clause.is_some()),
            NodeEnum::MergeStmt(merge) => ("MERGE", merge.returning_clause.is_some()),
            _ => ("UNKNOWN", true),
        };
        if returns {
            return Facts::rows(StatementKind::Query, operation, rows);
        }
        Facts::of(StatementKind::Query, operation)
    }

    fn transaction(&mut self, transaction: &TransactionStmt) -> Facts {
        self.touch(effect::TRANSACTION, "transaction", "", Access::Read);
        let chain = transaction.chain;
        let name = transaction.savepoint_name.clone();
        let (kind, operation, change) = match transaction.kind() {
            TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart => {
                (StatementKind::Begin, "BEGIN", Some(StateChange::Begin))
            }
            TransactionStmtKind::TransStmtCommit => {
                (StatementKind::Commit { chain }, "COMMIT", Some(StateChange::Committed))
            }
            TransactionStmtKind::TransStmtPrepare => {
                // Even if it only read, its locks stay when the session has gone, until somebody ends it.
                self.write(effect::LOCK, "transaction", &transaction.gid);
                (StatementKind::Commit { chain }, "PREPARE TRANSACTION", Some(StateChange::Committed))
            }
            TransactionStmtKind::TransStmtRollback => {
                (StatementKind::Rollback { chain }, "ROLLBACK", Some(StateChange::RolledBack))
            }
            TransactionStmtKind::TransStmtSavepoint => {
                if self.state.has_all_savepoints() {
                    self.give_up("more savepoints within one another than are followed");
                }
                (StatementKind::Savepoint, "SAVEPOINT", Some(StateChange::Savepoint(name)))
            }
            TransactionStmtKind::TransStmtRollbackTo => {
                (StatementKind::Savepoint, "ROLLBACK TO", Some(StateChange::RolledBackTo(name)))
            }
            TransactionStmtKind::TransStmtRelease => {
                (StatementKind::Savepoint, "RELEASE", Some(StateChange::Released(name)))
            }
            TransactionStmtKind::TransStmtCommitPrepared | TransactionStmtKind::TransStmtRollbackPrepared => {
                self.give_up("a transaction prepared earlier, whose statements are not known here");
                (StatementKind::Utility, "COMMIT PREPARED", None)
            }
            TransactionStmtKind::Undefined => {
                self.give_up("a transaction statement that the analyser does not know");
                (StatementKind::Utility, "UNKNOWN", None)
            }
        };
        if let Some(change) = change {
            self.change(change);
        }
        if chain {
            self.change(StateChange::Begin);
        }
        Facts::of(kind, operation)
    }

    /// It takes back what the session itself has set and made for itself, as `RESET ALL` does: pools of connections send it
    /// between two of their users.
    fn discard(&mut self, mode: DiscardMode) -> Facts {
        self.write(effect::SET, "setting", "*");
        if mode == DiscardMode::DiscardAll {
            self.change(StateChange::Deallocated(None));
            self.change(StateChange::Closed(None));
            self.change(StateChange::SearchPath { path: None, local: false });
            self.change(StateChange::Role { role: None, local: false });
        }
        if matches!(mode, DiscardMode::DiscardAll | DiscardMode::DiscardTemp) {
            self.change(StateChange::TemporaryDiscarded);
        }
        Facts::of(StatementKind::Discard, "DISCARD")
    }

    /// Without `ANALYZE` nothing runs, and what would be changed is only read about.
    fn explain(&mut self, explain: &ExplainStmt, text: &str) -> Facts {
        let before = (std::mem::take(&mut self.touches), std::mem::take(&mut self.flows), self.changes.len());
        let reads = std::mem::take(&mut self.reads);
        let state = self.state.clone();
        if let Some(query) = explain.query.as_deref() {
            self.deeper(|walk| drop(Some(walk.statement(query, text))));
        }
        let analyze = explain.options.iter().any(runs);
        if !analyze {
            self.state = state;
            self.forget_changes(before.2);
            self.flows.clear();
            for touch in &mut self.touches {
                if touch.object == "relation" {
                    (touch.effect, touch.access, touch.unbounded) = (effect::SELECT, Access::Read, false);
                }
            }
        }
        // Constants that a function of the user's was folded to stand in the plan.
        let told = self.touches.iter().any(|touch| touch.effect == effect::CALL);
        let inner = std::mem::replace(&mut self.touches, before.0);
        for touch in inner {
            self.add(touch);
        }
        self.flows.extend(before.1);
        let mut from = if told { opaque() } else { Provenance::default() };
        if analyze {
            // How many rows each step had: with `generate_series(1, ascii(ssn))` that is a character of it.
            from.sources.extend(self.reads.iter().cloned());
        }
        self.reads.extend(reads);
        let columns = vec![OutColumn { name: "QUERY PLAN".to_owned(), from }];
        let operation = if analyze { "EXPLAIN ANALYZE" } else { "EXPLAIN" };
        Facts::rows(StatementKind::Query, operation, Rowset { columns, ..Rowset::default() })
    }

    /// Preparing touches what executing would: what is refused there is refused here already.
    fn prepare(&mut self, prepare: &PrepareStmt, text: &str) -> Facts {
        let name = prepare.name.clone();
        if let Some(query) = prepare.query.as_deref() {
            let mark = self.mark_depth();
            let (state, changes) = (self.state.clone(), self.changes.len());
            let meant = self.finding(|walk| walk.kept(query));
            // it has not run
            self.state = state;
            self.forget_changes(changes);
            drop(self.does(&meant));
            if self.depth_since(mark) > KEPT_DEPTH_MAX {
                self.give_up("too deep to be prepared");
            } else {
                let statement = Prepared::by_sql(text, query, meant);
                self.change(StateChange::Prepared { name: name.clone(), statement });
            }
        }
        Facts::of(StatementKind::Prepare { name }, "PREPARE")
    }

    fn execute(&mut self, execute: &ExecuteStmt) -> Facts {
        self.all_of(&execute.params);
        let rows = self.executed(&execute.name);
        Facts {
            kind: StatementKind::Execute { name: execute.name.clone() },
            operation: "EXECUTE".to_owned(),
            rows,
        }
    }

    /// What running a prepared statement does, and its rows if it returns any. The server plans it again at some times
    /// and not at others, so its names stand for whatever they did at any of them.
    pub(super) fn executed(&mut self, name: &str) -> Option<Rowset> {
        let Some(prepared) = self.state.prepared(name).cloned() else {
            self.give_up("EXECUTE of a statement that this session did not prepare");
            return Some(Rowset::open(opaque()));
        };
        let now = self.finding(|walk| walk.run_prepared(&prepared));
        self.found_again(name, &prepared, &now)
    }

    fn run_prepared(&mut self, prepared: &Prepared) -> Option<Rowset> {
        match prepared.statement() {
            Some(statement) => self.kept(statement),
            None => self.deeper(|walk| {
                let Ok(parsed) = super::parse::parse(prepared.text()) else {
                    walk.give_up("EXECUTE of a statement that cannot be parsed");
                    return Some(Rowset::open(opaque()));
                };
                let node = parsed.stmts.first().and_then(|statement| statement.stmt.as_deref());
                node.and_then(|node| walk.statement(node, prepared.text()).rows)
            }),
        }
    }

    fn kept(&mut self, statement: &Node) -> Option<Rowset> {
        if let Some(NodeEnum::SelectStmt(select)) = statement.node.as_ref() {
            self.certain = certain(select);
        }
        let rows = self.query_node(statement);
        let returns = match statement.node.as_ref() {
            Some(NodeEnum::InsertStmt(insert)) => insert.returning_clause.is_some(),
            Some(NodeEnum::UpdateStmt(update)) => update.returning_clause.is_some(),
            Some(NodeEnum::DeleteStmt(delete)) => delete.returning_clause.is_some(),
            Some(NodeEnum::MergeStmt(merge)) => merge.returning_clause.is_some(),
            _ => true,
        };
        returns.then_some(rows)
    }

    fn declare(&mut self, declare: &DeclareCursorStmt, text: &str) -> Facts {
        let cursor = declare.portalname.clone();
        if let Some(query) = declare.query.as_deref() {
            let meant = self.finding(|walk| Some(walk.query_node(query)));
            drop(self.does(&meant));
            let hold = declare.options & CURSOR_OPT_HOLD != 0;
            let query = Cursor { text: text.to_owned(), hold, meant: Arc::new(meant) };
            self.change(StateChange::Declared { cursor: cursor.clone(), query });
        }
        Facts::of(StatementKind::Declare { cursor }, "DECLARE")
    }

    fn fetch(&mut self, fetch: &FetchStmt) -> Facts {
        let cursor = fetch.portalname.clone();
        let rows = self.fetched(&cursor);
        let operation = if fetch.ismove { "MOVE" } else { "FETCH" };
        let rows = (!fetch.ismove).then_some(rows);
        Facts { kind: StatementKind::Fetch { cursor }, operation: operation.to_owned(), rows }
    }

    /// What reading on from a cursor does, and its rows. Its names stand for what they did when it was declared.
    pub(super) fn fetched(&mut self, cursor: &str) -> Rowset {
        if let Some(cursor) = self.state.cursor(cursor).cloned() {
            self.does(&cursor.meant).unwrap_or_default()
        } else {
            self.give_up("FETCH from a cursor that this session did not declare");
            Rowset::open(opaque())
        }
    }
}

/// An option of `EXPLAIN` that makes it run the statement.
fn runs(option: &Node) -> bool {
    let Some(NodeEnum::DefElem(option)) = option.node.as_ref() else { return true };
    let off = option.arg.as_deref().and_then(names::constant_text);
    let off = off.is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "false" | "off" | "0"));
    option.defname == "analyze" && !off
}

/// Of nothing but a list of calls and constants each runs once, if the statement does.
fn certain(select: &SelectStmt) -> Certain {
    let runs = |target: &Node| match target.node.as_ref() {
        Some(NodeEnum::ResTarget(target)) => {
            match target.val.as_deref().and_then(|value| value.node.as_ref()) {
                Some(NodeEnum::FuncCall(call)) => names::qualified(&call.funcname).1 == "set_config",
                Some(NodeEnum::AConst(_)) => true,
                _ => false,
            }
        }
        _ => false,
    };
    let SelectStmt { target_list, from_clause, where_clause, having_clause, group_clause, .. } = select;
    let is_bare = select.with_clause.is_none()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.into_clause.is_none()
        && select.larg.is_none()
        && select.distinct_clause.is_empty()
        && select.values_lists.is_empty()
        && (from_clause.is_empty() && group_clause.is_empty())
        && (where_clause.is_none() && having_clause.is_none())
        && target_list.iter().all(runs);
    if is_bare { Certain::Targets } else { Certain::Nothing }
}

/// The part of a set operation that an `INTO` stands in.
fn leftmost(mut select: &SelectStmt) -> &SelectStmt {
    while let Some(left) = select.larg.as_deref() {
        select = left;
    }
    select
}
