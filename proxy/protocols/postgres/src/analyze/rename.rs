//! Definitions by which values are read under another name: renamed and moved relations, rules.

use super::definition::object_kind;
use super::effect;
use super::walk::Walk;
use pg_query::NodeEnum;
use pg_query::protobuf::{CmdType, Node, ObjectType, RangeVar, RenameStmt, RuleStmt};

impl Walk<'_> {
    /// What a rule does whenever its relation is used. One that answers with rows of its own does so to statements that
    /// have none, and one for `SELECT` makes a view of its table.
    pub(super) fn rule(&mut self, rule: &RuleStmt) {
        let Some(relation) = rule.relation.as_ref() else { return };
        let (rows, _) = self.rows_by_name(relation);
        self.enter(vec![("new".to_owned(), rows.clone()), ("old".to_owned(), rows)]);
        self.derived(rule.where_clause.as_deref());
        for action in &rule.actions {
            match action.node.as_ref() {
                Some(
                    NodeEnum::InsertStmt(_)
                    | NodeEnum::UpdateStmt(_)
                    | NodeEnum::DeleteStmt(_)
                    | NodeEnum::NotifyStmt(_),
                ) if rule.event() != CmdType::CmdSelect => {
                    drop(self.statement(action, ""));
                }
                Some(NodeEnum::SelectStmt(_)) if rule.event() == CmdType::CmdSelect => {
                    drop(self.query_node(action));
                }
                _ => self.give_up("a rule that answers with rows of its own"),
            }
        }
        self.leave();
        if rule.event() == CmdType::CmdSelect {
            self.forget_columns(relation);
        }
    }

    /// Every relation of a renamed schema keeps its values under a name that no mask knows.
    fn rename_schema(&mut self, schema: &str, name: &str) {
        self.much_changed();
        let relations = self.catalogue.relations.get(schema);
        for relation in relations.into_iter().flatten().map(|(_, relation)| relation) {
            let values = super::scope::column(format!("{}.*", relation.qualified()));
            self.flow(values, format!("{name}.{}.*", relation.name));
        }
    }

    /// A renamed column or table keeps its values under a name that no mask knows: that is a flow.
    pub(super) fn rename(&mut self, rename: &RenameStmt) {
        let Some(relation) = rename.relation.as_ref() else {
            let kind = rename.rename_type();
            let name = rename.object.as_deref().map(|object| self.object_name(object, kind));
            let name = name.unwrap_or_else(|| rename.subname.clone());
            self.write(effect::ALTER, object_kind(kind), &name);
            if kind == ObjectType::ObjectSchema {
                self.rename_schema(&name, &rename.newname);
            }
            return;
        };
        self.altered(Some(relation));
        let (rows, _) = self.rows_by_name(relation);
        let names = self.relation_names(&relation.schemaname, &relation.relname);
        let whole = object_kind(rename.rename_type()) == "relation";
        for name in &names {
            if whole {
                let schema = name.split_once('.').map(|(schema, _)| schema).unwrap_or_default();
                for column in &rows.columns {
                    self.flow(column.from.clone(), format!("{schema}.{}.{}", rename.newname, column.name));
                }
            } else if let Some(column) = rows.columns.iter().find(|column| column.name == rename.subname) {
                self.flow(column.from.clone(), format!("{name}.{}", rename.newname));
            }
        }
        self.forget_columns(relation);
    }

    pub(super) fn moved(
        &mut self,
        relation: Option<&RangeVar>,
        object: Option<&Node>,
        kind: ObjectType,
        effect: &'static str,
    ) {
        if let Some(relation) = relation {
            let (rows, _) = self.rows_by_name(relation);
            for name in self.relation_names(&relation.schemaname, &relation.relname) {
                self.write(effect, "relation", &name);
                if effect == effect::ALTER {
                    self.flow(rows.all(), format!("{name}.*"));
                }
            }
            self.forget_columns(relation);
            return;
        }
        let name = object.map(|object| self.object_name(object, kind)).unwrap_or_default();
        self.write(effect, object_kind(kind), &name);
    }
}
