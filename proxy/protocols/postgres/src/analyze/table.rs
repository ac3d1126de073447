//! Definitions of relations: tables, views, sequences, indexes, and what becomes of their columns.

use super::StatementKind;
use super::definition::object_kind;
use super::effect;
use super::names;
use super::relation::ViewFacts;
use super::scope::{Rowset, absorb};
use super::state::StateChange;
use super::statement::Facts;
use super::walk::Walk;
use crate::catalogue::{Column, Relation, RelationKind, Resolved};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterTableCmd, AlterTableStmt, AlterTableType, ColumnDef, ConstrType, CreateStmt, CreateTableAsStmt,
    DropBehavior, DropStmt, IndexStmt, IntoClause, Node, ObjectType, RangeVar, ViewStmt,
};
use proxy_policy::{Access, Provenance};
use std::sync::{Arc, OnceLock};

impl Walk<'_> {
    /// Statements that define what can stand in `FROM`, and those that drop, rename or move anything.
    #[expect(clippy::too_many_lines, reason = "a table: one arm a kind of statement")]
    pub(super) fn relation_definition(&mut self, kind: &NodeEnum) -> Option<Facts> {
        let utility = |operation: &str| Some(Facts::of(StatementKind::Utility, operation));
        match kind {
            NodeEnum::CreateStmt(create) => {
                self.create_table(create);
                utility("CREATE TABLE")
            }
            NodeEnum::CreateForeignTableStmt(create) => {
                if let Some(base) = &create.base_stmt {
                    self.create_table(base);
                }
                utility("CREATE FOREIGN TABLE")
            }
            NodeEnum::CreateTableAsStmt(create) => Some(self.create_table_as(create)),
            NodeEnum::ViewStmt(view) => {
                self.create_view(view);
                utility("CREATE VIEW")
            }
            NodeEnum::CreateSeqStmt(create) => {
                self.created(create.sequence.as_ref(), None, create.if_not_exists);
                utility("CREATE SEQUENCE")
            }
            NodeEnum::AlterSeqStmt(alter) => {
                self.altered(alter.sequence.as_ref());
                utility("ALTER SEQUENCE")
            }
            NodeEnum::IndexStmt(index) => {
                self.create_index(index);
                utility("CREATE INDEX")
            }
            NodeEnum::CompositeTypeStmt(create) => {
                if let Some(name) = &create.typevar {
                    let name = self.new_name(name);
                    self.write(effect::CREATE, "type", &format!("{}.{}", name.0, name.1));
                }
                utility("CREATE TYPE")
            }
            NodeEnum::AlterTableStmt(alter) => {
                self.alter_table(alter);
                utility("ALTER TABLE")
            }
            NodeEnum::DropStmt(drop) => {
                self.drop_objects(drop);
                utility(drop_operation(drop.remove_type()))
            }
            NodeEnum::RenameStmt(rename) => {
                self.rename(rename);
                utility("ALTER … RENAME")
            }
            NodeEnum::AlterObjectSchemaStmt(alter) => {
                self.moved(
                    alter.relation.as_ref(),
                    alter.object.as_deref(),
                    alter.object_type(),
                    effect::ALTER,
                );
                utility("ALTER … SET SCHEMA")
            }
            NodeEnum::AlterOwnerStmt(alter) => {
                self.moved(
                    alter.relation.as_ref(),
                    alter.object.as_deref(),
                    alter.object_type(),
                    effect::GRANT,
                );
                utility("ALTER … OWNER")
            }
            _ => None,
        }
    }

    /// Schema and name under which `CREATE` makes something.
    fn new_name(&self, relation: &RangeVar) -> (String, String) {
        let schema = if relation.relpersistence == "t" || relation.schemaname.starts_with("pg_temp") {
            "pg_temp".to_owned()
        } else if relation.schemaname.is_empty() {
            let first = self.state.search_path.first().is_some_and(|schema| schema.starts_with("pg_temp"));
            if first { "pg_temp".to_owned() } else { self.catalogue.creation_schema(&self.state) }
        } else {
            relation.schemaname.clone()
        };
        (schema, relation.relname.clone())
    }

    /// Notes a relation that exists from now on; without columns, only the server knows them. One that exists already
    /// may stay what it is, if the statement says so.
    fn created(
        &mut self,
        relation: Option<&RangeVar>,
        made: Option<(Vec<Column>, Option<ViewFacts>)>,
        if_not_exists: bool,
    ) {
        let Some(relation) = relation else { return };
        let (schema, name) = self.new_name(relation);
        self.write(effect::CREATE, "relation", &format!("{schema}.{name}"));
        let exists = matches!(self.catalogue.resolve(&self.state, &schema, &name), Resolved::Known(..));
        if if_not_exists && exists && self.state.overlay(&schema, &name).is_none() {
            return;
        }
        let made = made.filter(|_| !(if_not_exists && exists));
        let open = made.is_none();
        let (columns, facts) = made.unwrap_or_default();
        let facts = facts.map(|facts| OnceLock::from(Arc::new(facts))).unwrap_or_default();
        let kind = RelationKind::Table;
        let relation = Relation { schema, name, kind, columns, open, facts, ..Relation::default() };
        self.change(StateChange::Created(Arc::new(relation)));
    }

    pub(super) fn altered(&mut self, relation: Option<&RangeVar>) {
        let Some(relation) = relation else { return };
        for name in self.relation_names(&relation.schemaname, &relation.relname) {
            self.write(effect::ALTER, "relation", &name);
        }
    }

    /// From now on only the server knows the columns of this relation.
    pub(super) fn forget_columns(&mut self, relation: &RangeVar) {
        if let Resolved::Known(known, _) =
            self.catalogue.resolve(&self.state, &relation.schemaname, &relation.relname)
        {
            let changed = Relation { open: true, facts: OnceLock::new(), ..(*known).clone() };
            self.change(StateChange::Created(Arc::new(changed)));
        }
    }

    fn create_table(&mut self, create: &CreateStmt) {
        let mut columns: Option<Vec<Column>> = Some(Vec::new());
        self.enter(vec![(String::new(), Rowset::open(Provenance::default()))]);
        for element in &create.table_elts {
            match element.node.as_ref() {
                Some(NodeEnum::ColumnDef(column)) => {
                    self.column_definition(column);
                    let column = Column { name: column.colname.clone(), ..Column::default() };
                    columns.as_mut().into_iter().for_each(|columns| columns.push(column.clone()));
                }
                Some(NodeEnum::Constraint(_)) => self.definition_part(element),
                Some(NodeEnum::TableLikeClause(like)) => {
                    columns = None;
                    if let Some(model) = &like.relation {
                        self.touch_relation(model, effect::SELECT, Access::Read, false);
                    }
                }
                _ => self.give_up("a construct in CREATE TABLE that the analyser does not know"),
            }
        }
        self.definition_parts(&create.constraints);
        self.leave();
        for parent in &create.inh_relations {
            columns = None;
            if let Some(NodeEnum::RangeVar(parent)) = parent.node.as_ref() {
                self.altered(Some(parent));
            }
        }
        if create.of_typename.is_some() {
            columns = None;
        }
        let made = columns.map(|columns| (columns, None));
        self.created(create.relation.as_ref(), made, create.if_not_exists);
    }

    fn column_definition(&mut self, column: &ColumnDef) {
        let default = self.derived(column.raw_default.as_deref());
        self.stored_by_default(&default, &column.colname);
        if let Some(name) = &column.type_name {
            self.type_used(name);
        }
        self.definition_parts(&column.constraints);
    }

    /// What a default computes is stored by whoever leaves the column out.
    fn stored_by_default(&mut self, value: &Provenance, column: &str) {
        if value.opaque {
            self.flow(value.clone(), format!("default.{column}.*"));
        }
    }

    pub(super) fn definition_parts(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.definition_part(node);
        }
    }

    fn definition_part(&mut self, node: &Node) {
        match node.node.as_ref() {
            Some(NodeEnum::Constraint(constraint)) => {
                let value = self.derived(constraint.raw_expr.as_deref());
                if constraint.contype() == ConstrType::ConstrDefault {
                    self.stored_by_default(&value, "");
                }
                self.derived(constraint.where_clause.as_deref());
                if let Some(other) = &constraint.pktable {
                    self.touch_relation(other, effect::SELECT, Access::Read, false);
                }
            }
            Some(NodeEnum::ColumnDef(column)) => self.column_definition(column),
            Some(NodeEnum::IndexElem(element)) => {
                self.derived(element.expr.as_deref());
            }
            _ => {}
        }
    }

    /// `CREATE TABLE … AS`, `CREATE MATERIALIZED VIEW`.
    fn create_table_as(&mut self, create: &CreateTableAsStmt) -> Facts {
        let rows = match create.query.as_deref().and_then(|query| query.node.as_ref()) {
            Some(NodeEnum::ExecuteStmt(execute)) => {
                self.all_of(&execute.params);
                let (state, changes) = (self.state.clone(), self.changes.len());
                let rows = self.executed(&execute.name).unwrap_or_default();
                // `WITH NO DATA`, or a table that is there already: then it does not run
                self.state = state;
                self.forget_changes(changes);
                rows
            }
            _ => create.query.as_deref().map(|query| self.query_node(query)).unwrap_or_default(),
        };
        let view = create.objtype() == ObjectType::ObjectMatview;
        if let Some(into) = create.into.as_deref() {
            self.create_from(into, rows, create.if_not_exists);
        }
        Facts::of(StatementKind::Utility, if view { "CREATE MATERIALIZED VIEW" } else { "CREATE TABLE AS" })
    }

    /// A relation filled from a query: values flow into it, and later readings of it know where they came from.
    pub(super) fn create_from(&mut self, into: &IntoClause, rows: Rowset, if_not_exists: bool) {
        let Some(relation) = into.rel.as_ref() else { return };
        self.schema_changed();
        let rows = rows.renamed(&names::strings(&into.col_names));
        let (schema, name) = self.new_name(relation);
        let columns: Vec<Column> = rows
            .columns
            .iter()
            .map(|column| Column { name: column.name.clone(), ..Column::default() })
            .collect();
        if rows.rest.is_some() {
            self.flow(rows.all(), format!("{schema}.{name}.*"));
        } else {
            for column in &rows.columns {
                self.flow(column.from.clone(), format!("{schema}.{name}.{}", column.name));
            }
        }
        let open = rows.rest.is_some();
        let facts = ViewFacts { rows, ..ViewFacts::default() };
        self.created(Some(relation), (!open).then_some((columns, Some(facts))), if_not_exists);
    }

    /// A view stores no values: reading it later reads what it is defined over.
    fn create_view(&mut self, view: &ViewStmt) {
        let rows = view.query.as_deref().map(|query| self.query_node(query)).unwrap_or_default();
        let rows = rows.renamed(&names::strings(&view.aliases));
        let Some(relation) = view.view.as_ref() else { return };
        if view.replace {
            for name in self.relation_names(&relation.schemaname, &relation.relname) {
                self.write(effect::ALTER, "relation", &name);
            }
        }
        let columns = rows
            .columns
            .iter()
            .map(|column| Column { name: column.name.clone(), ..Column::default() })
            .collect();
        let open = rows.rest.is_some();
        let facts = ViewFacts { rows, touches: self.touches.clone(), ..ViewFacts::default() };
        self.created(Some(relation), (!open).then_some((columns, Some(facts))), false);
    }

    fn create_index(&mut self, index: &IndexStmt) {
        let Some(relation) = index.relation.as_ref() else { return };
        let name = if index.idxname.is_empty() { relation.relname.clone() } else { index.idxname.clone() };
        let schema = self.relation_names(&relation.schemaname, &relation.relname);
        let schema =
            schema.first().and_then(|name| name.split_once('.')).map(|(schema, _)| schema.to_owned());
        self.write(effect::CREATE, "index", &format!("{}.{name}", schema.unwrap_or_default()));
        let (rows, _) = self.rows_by_name(relation);
        self.enter(vec![(relation.relname.clone(), rows)]);
        for element in &index.index_params {
            if let Some(NodeEnum::IndexElem(element)) = element.node.as_ref() {
                let mut from = self.derived(element.expr.as_deref());
                if !element.name.is_empty() {
                    let fields = vec![names::string_node(&element.name)];
                    absorb(
                        &mut from,
                        &self.column_reference(&pg_query::protobuf::ColumnRef { fields, location: 0 }),
                    );
                }
                if index.unique {
                    // Building it compares the values, and an error names one that occurs twice.
                    self.filtered_by(&from);
                }
            }
        }
        self.derived(index.where_clause.as_deref());
        self.leave();
    }

    fn alter_table(&mut self, alter: &AlterTableStmt) {
        let Some(relation) = alter.relation.as_ref() else { return };
        self.altered(Some(relation));
        let (rows, _) = self.rows_by_name(relation);
        self.enter(vec![(relation.relname.clone(), rows)]);
        for command in &alter.cmds {
            match command.node.as_ref() {
                Some(NodeEnum::AlterTableCmd(command)) => self.alter_command(relation, command),
                _ => self.give_up("a construct in ALTER TABLE that the analyser does not know"),
            }
        }
        self.leave();
        self.forget_columns(relation);
    }

    fn alter_command(&mut self, relation: &RangeVar, command: &AlterTableCmd) {
        let names = self.relation_names(&relation.schemaname, &relation.relname);
        match command.subtype() {
            AlterTableType::AtDropColumn => {
                for name in &names {
                    self.write(effect::DROP, "column", &format!("{name}.{}", command.name));
                }
            }
            AlterTableType::AtChangeOwner => {
                for name in &names {
                    self.write(effect::GRANT, "relation", name);
                }
            }
            _ => {}
        }
        let Some(part) = command.def.as_deref() else { return };
        if let Some(NodeEnum::ColumnDef(column)) = part.node.as_ref()
            && command.subtype() == AlterTableType::AtAlterColumnType
        {
            // `USING`: every row's value is computed anew
            let value = self.derived(column.raw_default.as_deref());
            for name in &names {
                self.flow(value.clone(), format!("{name}.{}", command.name));
            }
        }
        match part.node.as_ref() {
            Some(NodeEnum::ColumnDef(_) | NodeEnum::Constraint(_)) => self.definition_part(part),
            Some(NodeEnum::PartitionCmd(partition)) => self.altered(partition.name.as_ref()),
            Some(NodeEnum::RangeVar(parent)) => {
                self.altered(Some(parent));
                // Whoever reads it reads this one as well from now on.
                self.forget_columns(parent);
            }
            Some(
                NodeEnum::ReplicaIdentityStmt(_)
                | NodeEnum::AtalterConstraint(_)
                | NodeEnum::TypeName(_)
                | NodeEnum::Integer(_)
                | NodeEnum::String(_)
                | NodeEnum::DefElem(_)
                | NodeEnum::List(_),
            ) => {}
            Some(_) => {
                let value = self.expression(part);
                if command.subtype() == AlterTableType::AtColumnDefault {
                    self.stored_by_default(&value, &command.name);
                }
            }
            None => self.give_up("a construct in ALTER TABLE that the analyser does not know"),
        }
    }

    fn drop_objects(&mut self, statement: &DropStmt) {
        let kind = statement.remove_type();
        let takes_more = matches!(
            kind,
            ObjectType::ObjectSchema
                | ObjectType::ObjectExtension
                | ObjectType::ObjectType
                | ObjectType::ObjectDomain
        );
        if takes_more || statement.behavior() == DropBehavior::DropCascade {
            self.much_changed();
        }
        for object in &statement.objects {
            let (schema, name) = names::object(object);
            if object_kind(kind) == "relation" {
                for (index, relation) in self.relation_names(&schema, &name).into_iter().enumerate() {
                    self.write(effect::DROP, "relation", &relation);
                    // Only the first is what the name stands for, as far as can be told.
                    if let Some((schema, name)) = relation.split_once('.').filter(|_| index == 0) {
                        self.change(StateChange::Dropped {
                            schema: schema.to_owned(),
                            name: name.to_owned(),
                        });
                    }
                }
                continue;
            }
            if matches!(kind, ObjectType::ObjectTrigger | ObjectType::ObjectRule | ObjectType::ObjectPolicy) {
                self.drop_attached(object, kind);
                continue;
            }
            let name = self.object_name(object, kind);
            self.write(effect::DROP, object_kind(kind), &name);
        }
    }

    fn drop_attached(&mut self, object: &Node, kind: ObjectType) {
        let Some(NodeEnum::List(list)) = object.node.as_ref() else { return };
        let mut parts = names::strings(&list.items);
        let name = parts.pop().unwrap_or_default();
        let table = parts.pop().unwrap_or_default();
        let schema = parts.pop().unwrap_or_default();
        for relation in self.relation_names(&schema, &table) {
            self.write(effect::DROP, object_kind(kind), &format!("{relation}.{name}"));
            self.write(effect::ALTER, "relation", &relation);
        }
    }
}

fn drop_operation(kind: ObjectType) -> &'static str {
    match object_kind(kind) {
        "relation" => "DROP TABLE",
        "function" => "DROP FUNCTION",
        "schema" => "DROP SCHEMA",
        "index" => "DROP INDEX",
        "type" => "DROP TYPE",
        "extension" => "DROP EXTENSION",
        "trigger" => "DROP TRIGGER",
        _ => "DROP",
    }
}
