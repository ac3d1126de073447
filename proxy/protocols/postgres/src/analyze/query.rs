//! Queries: `SELECT`, `VALUES`, `TABLE`, set operations, `WITH`.

use super::effect;
use super::names;
use super::scope::{OutColumn, Rowset, absorb, opaque};
use super::setting::one_setting;
use super::walk::{Certain, Cte, Walk};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, CommonTableExpr, LockingClause, Node, ResTarget, SelectStmt, SetOperation, WithClause, a_const,
};
use proxy_policy::{Access, Provenance};

/// Rounds after which a recursive query that still finds new sources is taken to carry anything.
const RECURSION_ROUNDS: usize = 16;

/// A column's name, and where it comes from: level, source and column.
type NamedPlaces = (String, Vec<(usize, usize, usize)>);

impl Walk<'_> {
    /// A statement that yields rows, wherever one may stand.
    pub(super) fn query_node(&mut self, node: &Node) -> Rowset {
        self.deeper(|walk| match node.node.as_ref() {
            Some(NodeEnum::SelectStmt(select)) => walk.select(select),
            Some(NodeEnum::InsertStmt(insert)) => walk.insert(insert),
            Some(NodeEnum::UpdateStmt(update)) => walk.update(update),
            Some(NodeEnum::DeleteStmt(delete)) => walk.delete(delete),
            Some(NodeEnum::MergeStmt(merge)) => walk.merge_statement(merge),
            _ => {
                walk.give_up("a kind of query that the analyser does not know");
                Rowset::open(opaque())
            }
        })
    }

    /// A query, its `WITH` included.
    pub(super) fn select(&mut self, select: &SelectStmt) -> Rowset {
        self.deeper(|walk| {
            let scope = walk.with(select.with_clause.as_ref());
            let mut rows = if select.op() == SetOperation::SetopNone || select.op() == SetOperation::Undefined
            {
                if select.values_lists.is_empty() { walk.plain(select) } else { walk.values(select) }
            } else {
                walk.set_operation(select)
            };
            if !select.values_lists.is_empty() || select.larg.is_some() {
                walk.order_and_limit(select, &mut rows);
            }
            walk.ctes.truncate(scope);
            rows
        })
    }

    fn set_operation(&mut self, select: &SelectStmt) -> Rowset {
        let left = select.larg.as_deref().map(|side| self.select(side)).unwrap_or_default();
        let right = select.rarg.as_deref().map(|side| self.select(side)).unwrap_or_default();
        if select.op() != SetOperation::SetopUnion || !select.all {
            // Rows are compared with each other.
            let from = left.all();
            self.filtered_by(&from);
            let from = right.all();
            self.filtered_by(&from);
        }
        left.union(&right)
    }

    fn values(&mut self, select: &SelectStmt) -> Rowset {
        let mut rows: Option<Rowset> = None;
        for list in &select.values_lists {
            let Some(NodeEnum::List(list)) = list.node.as_ref() else { continue };
            let mut columns = Vec::new();
            for (index, value) in list.items.iter().enumerate() {
                columns
                    .push(OutColumn { name: format!("column{}", index + 1), from: self.expression(value) });
            }
            let row = Rowset { columns, ..Rowset::default() };
            rows = Some(match rows {
                Some(rows) => rows.union(&row),
                None => row,
            });
        }
        rows.unwrap_or_default()
    }

    /// One `SELECT … FROM …` without set operations.
    fn plain(&mut self, select: &SelectStmt) -> Rowset {
        let certain = std::mem::take(&mut self.certain);
        self.enter(Vec::new());
        for item in &select.from_clause {
            let slots = self.from_item(item);
            self.show(slots);
        }
        if let Some(condition) = select.where_clause.as_deref() {
            self.condition(condition);
        }
        if let Some(condition) = select.having_clause.as_deref() {
            self.condition(condition);
        }
        self.close();
        self.windows(&select.window_clause);
        self.certain = certain;
        let around = std::mem::replace(&mut self.setting, one_setting(select));
        let mut rows = self.targets(&select.target_list);
        (self.certain, self.setting) = (Certain::Nothing, around);
        for node in select.group_clause.iter().chain(&select.distinct_clause) {
            if node.node.is_some() {
                self.ordering(node, &rows);
            } else {
                // `DISTINCT` alone: rows are compared with each other
                let from = rows.all();
                self.filtered_by(&from);
            }
        }
        self.order_and_limit(select, &mut rows);
        self.locks(&select.locking_clause, &select.from_clause);
        let level = self.leave();
        absorb(&mut rows.cardinality, &level.cardinality);
        absorb(&mut rows.influence, &level.influence);
        absorb(&mut rows.influence, &level.cardinality);
        spread_cardinality(&mut rows);
        rows
    }

    fn windows(&mut self, clauses: &[Node]) {
        for clause in clauses {
            let Some(NodeEnum::WindowDef(window)) = clause.node.as_ref() else { continue };
            let from = self.window(window);
            if let Some(level) = self.levels.last_mut() {
                level.windows.push((window.name.clone(), from));
            }
        }
    }

    /// The target list, or the list of a `RETURNING`.
    pub(super) fn targets(&mut self, targets: &[Node]) -> Rowset {
        let mut rows = Rowset::default();
        for target in targets {
            if let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() {
                self.target(target, &mut rows);
            } else {
                let from = self.expression(target);
                rows.columns.push(OutColumn { name: names::output_name(target), from });
            }
        }
        rows
    }

    fn target(&mut self, target: &ResTarget, rows: &mut Rowset) {
        let Some(value) = target.val.as_deref() else { return };
        match value.node.as_ref() {
            Some(NodeEnum::ColumnRef(reference)) if ends_in_star(&reference.fields) => {
                self.expand(&names::strings(&reference.fields), rows);
            }
            Some(NodeEnum::AIndirection(part)) if ends_in_star(&part.indirection) => {
                let from = self.expression(value);
                let rest = rows.rest.get_or_insert_default();
                absorb(rest, &from);
            }
            _ => {
                let name =
                    if target.name.is_empty() { names::output_name(value) } else { target.name.clone() };
                let certain = std::mem::take(&mut self.certain);
                if certain == Certain::Targets && matches!(value.node, Some(NodeEnum::FuncCall(_))) {
                    self.certain = Certain::Call;
                }
                let from = self.expression(value);
                self.certain = certain;
                rows.columns.push(OutColumn { name, from });
            }
        }
    }

    /// `*` or `alias.*`.
    fn expand(&mut self, parts: &[String], rows: &mut Rowset) {
        let depth = self.levels.len().saturating_sub(1);
        let places: Vec<NamedPlaces> = match parts {
            [] => {
                let slots = self.levels.last().map(|level| level.slots.clone()).unwrap_or_default();
                let place =
                    |slot: &super::scope::Slot| slot.places.iter().map(|(s, c)| (depth, *s, *c)).collect();
                slots.iter().map(|slot| (slot.name.clone(), place(slot))).collect()
            }
            [.., alias] => {
                let schema = parts.iter().rev().nth(1).map(String::as_str).unwrap_or_default();
                let found = self.sources_named(schema, alias);
                if found.is_empty() {
                    self.unresolved.push(alias.clone());
                    *rows.rest.get_or_insert_default() = opaque();
                    return;
                }
                self.columns_of(&found)
            }
        };
        let opened: Vec<(usize, usize)> = match parts {
            [] => (0..self.levels.last().map_or(0, |level| level.sources.len()))
                .map(|source| (depth, source))
                .collect(),
            [.., alias] => {
                self.sources_named(parts.iter().rev().nth(1).map(String::as_str).unwrap_or_default(), alias)
            }
        };
        for (name, places) in places {
            let mut values = Vec::new();
            for (level, source, column) in places {
                values.push(self.take(super::scope::Key { level, source, column }, &name));
            }
            let mut values = values.into_iter();
            let first = values.next().unwrap_or_else(opaque);
            let from = values.fold(first, |from, other| super::scope::either(&from, &other));
            rows.columns.push(OutColumn { name, from });
        }
        for (level, source) in opened {
            let rest = self
                .levels
                .get(level)
                .and_then(|l| l.sources.get(source))
                .is_some_and(|s| s.rows.rest.is_some());
            if rest {
                let from = self.take(super::scope::Key { level, source, column: super::scope::REST }, "*");
                absorb(rows.rest.get_or_insert_default(), &from);
            }
        }
    }

    fn columns_of(&self, sources: &[(usize, usize)]) -> Vec<NamedPlaces> {
        let mut columns = Vec::new();
        for (level, source) in sources {
            let Some(rows) = self.levels.get(*level).and_then(|l| l.sources.get(*source)).map(|s| &s.rows)
            else {
                continue;
            };
            let named = rows.columns.iter().enumerate();
            columns
                .extend(named.map(|(index, column)| (column.name.clone(), vec![(*level, *source, index)])));
        }
        columns
    }

    fn order_and_limit(&mut self, select: &SelectStmt, rows: &mut Rowset) {
        for sort in &select.sort_clause {
            match sort.node.as_ref() {
                Some(NodeEnum::SortBy(sort)) => {
                    if !sort.use_op.is_empty() {
                        self.operator_named(&sort.use_op);
                    }
                    if let Some(node) = sort.node.as_deref() {
                        self.ordering(node, rows);
                    }
                }
                _ => self.give_up("a construct in ORDER BY that the analyser does not know"),
            }
        }
        for bound in [select.limit_count.as_deref(), select.limit_offset.as_deref()].into_iter().flatten() {
            let from = self.derived(Some(bound));
            self.filtered_by(&from);
            absorb(&mut rows.cardinality, &from);
            absorb(&mut rows.influence, &from);
        }
        spread_cardinality(rows);
    }

    /// What rows are sorted or grouped by: an output by name or position, or an expression.
    fn ordering(&mut self, node: &Node, rows: &Rowset) {
        let output = match node.node.as_ref() {
            Some(NodeEnum::AConst(AConst { val: Some(a_const::Val::Ival(position)), .. })) => {
                self.literal_sensitive = true;
                let index = usize::try_from(position.ival).ok().and_then(|position| position.checked_sub(1));
                Some(index.and_then(|index| rows.columns.get(index)))
            }
            Some(NodeEnum::ColumnRef(reference)) => match names::strings(&reference.fields).as_slice() {
                [name] => rows.columns.iter().find(|column| column.name == *name).map(Some),
                _ => None,
            },
            _ => None,
        };
        let from = match output {
            Some(Some(column)) if rows.rest.is_none() => column.from.clone(),
            Some(_) => rows.all(),
            None => self.expression(node),
        };
        self.filtered_by(&from);
    }

    fn locks(&mut self, clauses: &[Node], from: &[Node]) {
        for clause in clauses {
            let Some(NodeEnum::LockingClause(clause)) = clause.node.as_ref() else {
                self.give_up("a locking clause that the analyser does not know");
                continue;
            };
            self.lock(clause, from);
        }
    }

    fn lock(&mut self, clause: &LockingClause, from: &[Node]) {
        let wanted: Vec<String> = clause.locked_rels.iter().map(|node| names::object(node).1).collect();
        for item in from {
            self.lock_item(item, &wanted);
        }
    }

    fn lock_item(&mut self, item: &Node, wanted: &[String]) {
        match item.node.as_ref() {
            Some(NodeEnum::RangeVar(relation)) => {
                let named = wanted.is_empty() || wanted.contains(&names::alias_of(relation));
                let cte = relation.schemaname.is_empty()
                    && self.ctes.iter().any(|cte| cte.name == relation.relname);
                if named && !cte {
                    self.touch_relation(relation, effect::LOCK, Access::Write, false);
                }
            }
            Some(NodeEnum::JoinExpr(join)) => {
                for side in [join.larg.as_deref(), join.rarg.as_deref()].into_iter().flatten() {
                    self.deeper(|walk| walk.lock_item(side, wanted));
                }
            }
            Some(NodeEnum::RangeSubselect(query)) => {
                if let Some(NodeEnum::SelectStmt(select)) =
                    query.subquery.as_deref().and_then(|node| node.node.as_ref())
                {
                    for item in &select.from_clause {
                        self.deeper(|walk| walk.lock_item(item, &[]));
                    }
                }
            }
            _ => {}
        }
    }

    /// Brings the queries of a `WITH` into scope; answers how many were there before.
    pub(super) fn with(&mut self, clause: Option<&WithClause>) -> usize {
        let before = self.ctes.len();
        let Some(clause) = clause else { return before };
        if clause.recursive {
            // Queries may name later ones: what those yield is not known yet, and no table of that name is meant.
            for node in &clause.ctes {
                if let Some(NodeEnum::CommonTableExpr(cte)) = node.node.as_ref() {
                    self.ctes.push(Cte { name: cte.ctename.clone(), rows: Rowset::open(opaque()) });
                }
            }
        }
        for node in &clause.ctes {
            match node.node.as_ref() {
                Some(NodeEnum::CommonTableExpr(cte)) => self.common_table(cte, clause.recursive),
                _ => self.give_up("a construct in WITH that the analyser does not know"),
            }
        }
        before
    }

    fn common_table(&mut self, cte: &CommonTableExpr, recursive: bool) {
        let Some(query) = cte.ctequery.as_deref() else { return };
        let names = names::strings(&cte.aliascolnames);
        let mut rows = match query.node.as_ref() {
            Some(NodeEnum::SelectStmt(select)) if recursive && select.larg.is_some() => {
                self.recursion(cte, select, &names)
            }
            _ => self.query_node(query).renamed(&names),
        };
        if let Some(search) = &cte.search_clause {
            let from = rows.all();
            rows.columns.push(OutColumn { name: search.search_seq_column.clone(), from });
        }
        if let Some(cycle) = cte.cycle_clause.as_deref() {
            let mut from = rows.all();
            absorb(
                &mut from,
                &self.pair(cycle.cycle_mark_value.as_deref(), cycle.cycle_mark_default.as_deref()),
            );
            for name in [&cycle.cycle_mark_column, &cycle.cycle_path_column] {
                rows.columns.push(OutColumn { name: name.clone(), from: from.clone() });
            }
        }
        self.ctes.push(Cte { name: cte.ctename.clone(), rows });
    }

    /// A recursive query: its own rows are what it starts with, until nothing new flows into them.
    fn recursion(&mut self, cte: &CommonTableExpr, select: &SelectStmt, names: &[String]) -> Rowset {
        let inner = self.with(select.with_clause.as_ref());
        let start = select.larg.as_deref().map(|side| self.select(side)).unwrap_or_default();
        let mut rows = start.renamed(names);
        for round in 0..=RECURSION_ROUNDS {
            self.ctes.push(Cte { name: cte.ctename.clone(), rows: rows.clone() });
            let step = select.rarg.as_deref().map(|side| self.select(side)).unwrap_or_default();
            self.ctes.pop();
            let next = rows.clone().union(&step);
            if next == rows {
                break;
            }
            rows = next;
            if round == RECURSION_ROUNDS {
                rows.columns.iter_mut().for_each(|column| column.from.opaque = true);
            }
        }
        self.order_and_limit(select, &mut rows);
        self.ctes.truncate(inner);
        rows
    }
}

fn ends_in_star(fields: &[Node]) -> bool {
    matches!(fields.last().and_then(|field| field.node.as_ref()), Some(NodeEnum::AStar(_)))
}

/// What decides the number of rows is told by every column, a constant one too.
fn spread_cardinality(rows: &mut Rowset) {
    let told: &Provenance = &rows.cardinality;
    if told.sources.is_empty() && !told.opaque {
        return;
    }
    for column in &mut rows.columns {
        let adds = told.opaque && !column.from.opaque || !told.sources.is_subset(&column.from.sources);
        if adds {
            absorb(&mut column.from, told);
        }
    }
    if let Some(rest) = rows.rest.as_mut() {
        absorb(rest, told);
    }
}
