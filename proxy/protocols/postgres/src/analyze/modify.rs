//! `INSERT`, `UPDATE`, `DELETE`, `MERGE`: rows changed, values stored, rows returned.
//!
//! Reading for a `WHERE` is part of the change; `Select` is touched as well where values of the target come back
//! (`RETURNING`), and for every other relation.

use super::bounded;
use super::effect;
use super::names;
use super::scope::{OutColumn, Rowset, Source, absorb};
use super::walk::Walk;
use pg_query::NodeEnum;
use pg_query::protobuf::{
    CmdType, DeleteStmt, InsertStmt, MergeStmt, MergeWhenClause, Node, OnConflictAction, OnConflictClause,
    RangeVar, ResTarget, ReturningClause, UpdateStmt,
};
use proxy_policy::{Access, ColumnName, Provenance};
use std::collections::BTreeSet;

impl Walk<'_> {
    pub(super) fn insert(&mut self, insert: &InsertStmt) -> Rowset {
        let scope = self.with(insert.with_clause.as_ref());
        let Some(target) = insert.relation.as_ref() else { return Rowset::default() };
        self.touch_relation(target, effect::INSERT, Access::Write, false);
        if let Some(query) = insert.select_stmt.as_deref() {
            let rows = self.query_node(query);
            self.store_rows(target, &targets_named(&insert.cols), &rows);
        }
        self.enter_target(target, &["excluded"]);
        if let Some(conflict) = insert.on_conflict_clause.as_deref() {
            self.on_conflict(target, conflict);
        }
        let rows = self.returning(insert.returning_clause.as_ref(), target);
        self.leave();
        self.ctes.truncate(scope);
        rows
    }

    fn on_conflict(&mut self, target: &RangeVar, conflict: &OnConflictClause) {
        if let Some(infer) = conflict.infer.as_deref() {
            for element in &infer.index_elems {
                if let Some(NodeEnum::IndexElem(element)) = element.node.as_ref() {
                    self.derived(element.expr.as_deref());
                }
            }
            if let Some(condition) = infer.where_clause.as_deref() {
                self.condition(condition);
            }
        }
        if conflict.action() == OnConflictAction::OnconflictUpdate {
            // It can only reach rows that conflict with those given.
            self.touch_relation(target, effect::UPDATE, Access::Write, false);
            self.assign(target, &conflict.target_list);
            if let Some(condition) = conflict.where_clause.as_deref() {
                self.condition(condition);
            }
        }
    }

    pub(super) fn update(&mut self, update: &UpdateStmt) -> Rowset {
        let scope = self.with(update.with_clause.as_ref());
        let Some(target) = update.relation.as_ref() else { return Rowset::default() };
        let unbounded = !self.is_bounded(target, update.where_clause.as_deref());
        self.touch_relation(target, effect::UPDATE, Access::Write, unbounded);
        self.enter_target(target, &[]);
        self.more_sources(&update.from_clause);
        if let Some(condition) = update.where_clause.as_deref() {
            self.condition(condition);
        }
        self.close();
        self.assign(target, &update.target_list);
        let rows = self.returning(update.returning_clause.as_ref(), target);
        self.leave();
        self.ctes.truncate(scope);
        rows
    }

    pub(super) fn delete(&mut self, delete: &DeleteStmt) -> Rowset {
        let scope = self.with(delete.with_clause.as_ref());
        let Some(target) = delete.relation.as_ref() else { return Rowset::default() };
        let unbounded = !self.is_bounded(target, delete.where_clause.as_deref());
        self.touch_relation(target, effect::DELETE, Access::Write, unbounded);
        self.enter_target(target, &[]);
        self.more_sources(&delete.using_clause);
        if let Some(condition) = delete.where_clause.as_deref() {
            self.condition(condition);
        }
        self.close();
        let rows = self.returning(delete.returning_clause.as_ref(), target);
        self.leave();
        self.ctes.truncate(scope);
        rows
    }

    pub(super) fn merge_statement(&mut self, merge: &MergeStmt) -> Rowset {
        let scope = self.with(merge.with_clause.as_ref());
        let Some(target) = merge.relation.as_ref() else { return Rowset::default() };
        self.enter_target(target, &[]);
        // `RETURNING *` has the columns of the source first.
        let own = self.levels.last_mut().map(|level| std::mem::take(&mut level.slots)).unwrap_or_default();
        if let Some(source) = merge.source_relation.as_deref() {
            let slots = self.from_item(source);
            self.show(slots);
        }
        self.show(own);
        if let Some(condition) = merge.join_condition.as_deref() {
            self.condition(condition);
        }
        self.close();
        for clause in &merge.merge_when_clauses {
            match clause.node.as_ref() {
                Some(NodeEnum::MergeWhenClause(when)) => self.merge_when(merge, target, when),
                _ => self.give_up("a construct in MERGE that the analyser does not know"),
            }
        }
        let rows = self.returning(merge.returning_clause.as_ref(), target);
        self.leave();
        self.ctes.truncate(scope);
        rows
    }

    fn merge_when(&mut self, merge: &MergeStmt, target: &RangeVar, when: &MergeWhenClause) {
        if let Some(condition) = when.condition.as_deref() {
            self.condition(condition);
        }
        let bounded = self.is_bounded(target, merge.join_condition.as_deref())
            || self.is_bounded(target, when.condition.as_deref());
        match when.command_type() {
            CmdType::CmdInsert => {
                self.touch_relation(target, effect::INSERT, Access::Write, false);
                let columns = when
                    .values
                    .iter()
                    .map(|value| OutColumn { name: String::new(), from: self.expression(value) });
                let rows = Rowset { columns: columns.collect(), ..Rowset::default() };
                self.store_rows(target, &targets_named(&when.target_list), &rows);
            }
            CmdType::CmdUpdate => {
                self.touch_relation(target, effect::UPDATE, Access::Write, !bounded);
                self.assign(target, &when.target_list);
            }
            CmdType::CmdDelete => self.touch_relation(target, effect::DELETE, Access::Write, !bounded),
            CmdType::CmdNothing => {}
            CmdType::Undefined
            | CmdType::CmdUnknown
            | CmdType::CmdSelect
            | CmdType::CmdMerge
            | CmdType::CmdUtility => {
                self.give_up("a construct in MERGE that the analyser does not know");
            }
        }
    }

    /// Whether a condition binds the change to some rows.
    fn is_bounded(&mut self, target: &RangeVar, condition: Option<&Node>) -> bool {
        let Some(condition) = condition else { return false };
        let (rows, _) = self.rows_by_name(target);
        let columns: BTreeSet<String> = rows.columns.iter().map(|column| column.name.clone()).collect();
        let open = rows.rest.is_some();
        let alias = names::alias_of(target);
        let verdict =
            bounded::restricts(condition, &bounded::Target { alias: &alias, columns: &columns, open });
        self.literal_sensitive |= verdict.by_literal;
        verdict.bounded
    }

    /// Opens a level in which the target can be named, by its alias and by what else stands for its rows.
    fn enter_target(&mut self, target: &RangeVar, other_names: &[&str]) {
        let (rows, unknown) = self.rows_by_name(target);
        self.enter(Vec::new());
        let alias = names::alias_of(target);
        let schema = if target.alias.is_some() { String::new() } else { target.schemaname.clone() };
        for other in other_names.iter().chain(&["old", "new"]) {
            let source = Source {
                alias: (*other).to_owned(),
                rows: rows.clone(),
                unknown: unknown.clone(),
                ..Source::default()
            };
            drop(self.add_source(source));
        }
        let slots = self.add_source(Source { alias, schema, rows, unknown });
        self.show(slots);
    }

    fn more_sources(&mut self, items: &[Node]) {
        for item in items {
            let slots = self.from_item(item);
            self.show(slots);
        }
    }

    fn returning(&mut self, clause: Option<&ReturningClause>, target: &RangeVar) -> Rowset {
        let Some(clause) = clause else { return Rowset::default() };
        for option in &clause.options {
            if let Some(NodeEnum::ReturningOption(option)) = option.node.as_ref() {
                let (rows, unknown) = self.rows_by_name(target);
                drop(self.add_source(Source {
                    alias: option.value.clone(),
                    rows,
                    unknown,
                    ..Source::default()
                }));
            }
        }
        let before = std::mem::take(&mut self.reads);
        let mut rows = self.targets(&clause.exprs);
        if !self.reads.is_empty() || rows.columns.iter().any(|column| column.from.opaque) {
            self.touch_relation(target, effect::SELECT, Access::Read, false);
        }
        self.reads.extend(before);
        if let Some(level) = self.levels.last() {
            absorb(&mut rows.influence, &level.influence);
            absorb(&mut rows.cardinality, &level.cardinality);
        }
        rows
    }

    /// `SET` lists: what flows into which column.
    fn assign(&mut self, target: &RangeVar, list: &[Node]) {
        for node in list {
            match node.node.as_ref() {
                Some(NodeEnum::ResTarget(assignment)) => {
                    let from = self.assigned(assignment);
                    self.store(target, &assignment.name, &from);
                }
                _ => self.give_up("a construct in SET that the analyser does not know"),
            }
        }
    }

    fn assigned(&mut self, assignment: &ResTarget) -> Provenance {
        let value = assignment.val.as_deref().map(|value| self.expression(value)).unwrap_or_default();
        let mut index = Provenance::default();
        for step in &assignment.indirection {
            if matches!(step.node, Some(NodeEnum::AIndices(_))) {
                absorb(&mut index, &self.expression(step));
            }
        }
        if index.sources.is_empty() && !index.opaque {
            return value;
        }
        absorb(&mut index, &value);
        index
    }

    /// Rows of a query stored into columns, those named or all in order.
    pub(super) fn store_rows(&mut self, target: &RangeVar, listed: &[String], rows: &Rowset) {
        let (into, _) = self.rows_by_name(target);
        let names: Vec<String> = if listed.is_empty() {
            into.columns.iter().map(|column| column.name.clone()).collect()
        } else {
            listed.to_vec()
        };
        let aligned = rows.rest.is_none() && rows.columns.len() <= names.len();
        if !aligned {
            self.store(target, "*", &rows.all());
            return;
        }
        for (column, name) in rows.columns.iter().zip(&names) {
            self.store(target, name, &column.from);
        }
    }

    /// A value stored into a column, and into whatever column of a table a view's column stands for.
    pub(super) fn store(&mut self, target: &RangeVar, name: &str, from: &Provenance) {
        if from.sources.is_empty() && !from.opaque {
            return;
        }
        let (rows, candidates) = self.rows_by_name(target);
        let behind: Vec<ColumnName> =
            if let Some(column) = rows.columns.iter().find(|column| column.name == name) {
                column.from.sources.iter().cloned().collect()
            } else {
                let mut relations = candidates;
                if relations.is_empty() {
                    relations = self.relation_names(&target.schemaname, &target.relname);
                }
                relations.iter().map(|relation| ColumnName(format!("{relation}.{name}"))).collect()
            };
        for column in behind {
            self.flow(from.clone(), column.0);
        }
    }
}

fn targets_named(nodes: &[Node]) -> Vec<String> {
    let name = |node: &Node| match node.node.as_ref() {
        Some(NodeEnum::ResTarget(target)) => Some(target.name.clone()),
        _ => None,
    };
    nodes.iter().filter_map(name).collect()
}
