//! Functions and table constructors in `FROM`.

use super::from::{alias_name, renamed};
use super::names;
use super::scope::{OutColumn, Rowset, Slot, Source, absorb};
use super::walk::Walk;
use crate::catalogue::builtin_function;
use pg_query::NodeEnum;
use pg_query::protobuf::{JsonTable, Node, RangeFunction, RangeTableFunc};
use proxy_policy::Provenance;

impl Walk<'_> {
    pub(super) fn from_function(&mut self, function: &RangeFunction) -> Vec<Slot> {
        let mark = self.referenced.len();
        let mut columns: Option<Vec<OutColumn>> = Some(Vec::new());
        let mut all = Provenance::default();
        let alias = function.alias.as_ref();
        let single = function.functions.len() == 1;
        for item in &function.functions {
            // Each item is a pair: the call, and its own column definitions inside ROWS FROM.
            let Some(NodeEnum::List(pair)) = item.node.as_ref() else { continue };
            let (call, own) = (pair.items.first(), pair.items.get(1));
            let from = call.map(|call| self.expression(call)).unwrap_or_default();
            absorb(&mut all, &from);
            let defined = if function.coldeflist.is_empty() {
                own.map(list_items).unwrap_or_default()
            } else {
                &function.coldeflist
            };
            let names = call
                .filter(|call| !defined.is_empty() || !self.is_overloaded(call))
                .and_then(|call| returned_names(call, defined));
            let names = names.map(|mut names| {
                if let (true, [only], Some(alias)) =
                    (single && defined.is_empty(), names.as_mut_slice(), alias)
                {
                    only.clone_from(&alias.aliasname);
                }
                names
            });
            let from = Provenance { verbatim: false, ..from };
            columns = columns.zip(names).map(|(mut columns, names)| {
                columns.extend(names.into_iter().map(|name| OutColumn { name, from: from.clone() }));
                columns
            });
        }
        self.counted(&all);
        let ordinality = function
            .ordinality
            .then(|| OutColumn { name: "ordinality".to_owned(), from: Provenance::default() });
        let mut rows = match columns {
            Some(columns) => Rowset { columns, ..Rowset::default() },
            None => Rowset::open(all.clone()),
        };
        rows.columns.extend(ordinality);
        rows.cardinality = all;
        let source =
            Source { alias: function_alias(function), rows: renamed(rows, alias), ..Source::default() };
        let slots = self.add_source(source);
        self.link(mark);
        slots
    }

    /// Whether the call can reach a function that is not PostgreSQL's own, which may return anything.
    fn is_overloaded(&self, call: &Node) -> bool {
        let Some(NodeEnum::FuncCall(function)) = call.node.as_ref() else { return false };
        let (schema, name) = names::qualified(&function.funcname);
        self.catalogue.has_function(&self.state, &schema, &name, function.args.len())
    }

    pub(super) fn from_xml(&mut self, table: &RangeTableFunc) -> Vec<Slot> {
        let mark = self.referenced.len();
        let mut from = self.pair(table.docexpr.as_deref(), table.rowexpr.as_deref());
        absorb(&mut from, &self.all_of(&table.namespaces));
        let mut columns = Vec::new();
        for column in &table.columns {
            let Some(NodeEnum::RangeTableFuncCol(column)) = column.node.as_ref() else { continue };
            let mut own = self.pair(column.colexpr.as_deref(), column.coldefexpr.as_deref());
            absorb(&mut own, &from);
            columns.push(OutColumn { name: column.colname.clone(), from: own });
        }
        self.counted(&from);
        let rows = Rowset { columns, cardinality: from, ..Rowset::default() };
        let alias = table.alias.as_ref();
        let slots = self.add_source(Source {
            alias: alias_name(alias),
            rows: renamed(rows, alias),
            ..Source::default()
        });
        self.link(mark);
        slots
    }

    pub(super) fn from_json(&mut self, table: &JsonTable) -> Vec<Slot> {
        let mark = self.referenced.len();
        let mut from = self.json_value(table.context_item.as_deref());
        absorb(&mut from, &self.all_of(&table.passing));
        absorb(&mut from, &self.json_behaviour(table.on_error.as_deref()));
        let mut columns = Vec::new();
        self.json_columns(&table.columns, &from, &mut columns);
        self.counted(&from);
        let rows = Rowset { columns, cardinality: from, ..Rowset::default() };
        let alias = table.alias.as_ref();
        let slots = self.add_source(Source {
            alias: alias_name(alias),
            rows: renamed(rows, alias),
            ..Source::default()
        });
        self.link(mark);
        slots
    }

    fn json_columns(&mut self, nodes: &[Node], from: &Provenance, columns: &mut Vec<OutColumn>) {
        for node in nodes {
            let Some(NodeEnum::JsonTableColumn(column)) = node.node.as_ref() else { continue };
            let mut own = self.json_behaviour(column.on_empty.as_deref());
            absorb(&mut own, &self.json_behaviour(column.on_error.as_deref()));
            absorb(&mut own, from);
            if column.columns.is_empty() {
                columns.push(OutColumn { name: column.name.clone(), from: own });
            } else {
                self.deeper(|walk| walk.json_columns(&column.columns, from, columns));
            }
        }
    }
}

fn list_items(node: &Node) -> &[Node] {
    match node.node.as_ref() {
        Some(NodeEnum::List(list)) => &list.items,
        _ => &[],
    }
}

fn function_alias(function: &RangeFunction) -> String {
    if let Some(alias) = &function.alias {
        return alias.aliasname.clone();
    }
    match function.functions.first().map(list_items).and_then(<[Node]>::first) {
        Some(call) => names::output_name(call),
        None => String::new(),
    }
}

/// Names of the columns that a call in `FROM` yields; `None` if they depend on types that are not followed.
fn returned_names(call: &Node, defined: &[Node]) -> Option<Vec<String>> {
    if !defined.is_empty() {
        let name = |node: &Node| match node.node.as_ref() {
            Some(NodeEnum::ColumnDef(column)) => Some(column.colname.clone()),
            _ => None,
        };
        return Some(defined.iter().filter_map(name).collect());
    }
    let Some(NodeEnum::FuncCall(function)) = call.node.as_ref() else {
        return Some(vec![names::output_name(call)]);
    };
    let (schema, name) = names::qualified(&function.funcname);
    if !(schema.is_empty() || schema == "pg_catalog") {
        return None;
    }
    match builtin_function(&name)?.columns? {
        "" => Some(vec![name]),
        // What the server tells of itself changes with its version.
        _ if name.starts_with("pg_") => None,
        columns => Some(columns.split(',').map(str::to_owned).collect()),
    }
}
