//! Statements that are neither queries nor definitions: `COPY`, `LOCK`, `TRUNCATE`, `VACUUM`, `GRANT`, …

use super::StatementKind;
use super::effect;
use super::names;
use super::scope::{OutColumn, Rowset};
use super::state::StateChange;
use super::statement::Facts;
use super::walk::Walk;
use pg_query::NodeEnum;
use pg_query::protobuf::{CopyStmt, DropBehavior, GrantStmt, Node, ObjectType, RangeVar};
use proxy_policy::Access;

impl Walk<'_> {
    pub(super) fn copy(&mut self, copy: &CopyStmt) -> Facts {
        let attributes = names::strings(&copy.attlist);
        let file = copy.is_program || !copy.filename.is_empty();
        if copy.is_program {
            // The command line may hold secrets: it is in the text, not in the name of what is touched.
            self.write(effect::SERVER_FILE, "program", "");
        } else if file {
            self.write(effect::SERVER_FILE, "file", &copy.filename);
        }
        if copy.is_from {
            if let Some(target) = &copy.relation {
                self.touch_relation(target, effect::INSERT, Access::Write, false);
                self.filter_of_copy(target, copy.where_clause.as_deref());
            }
            let kind = if file { StatementKind::Utility } else { StatementKind::CopyIn };
            return Facts::of(kind, "COPY FROM");
        }
        let rows = match (copy.query.as_deref(), &copy.relation) {
            (Some(query), _) => self.query_node(query),
            (None, Some(source)) => self.copied(source, &attributes),
            (None, None) => Rowset::default(),
        };
        if file {
            self.flow(rows.all(), "server.file".to_owned());
            return Facts::of(StatementKind::Utility, "COPY TO");
        }
        Facts::rows(StatementKind::CopyOut, "COPY TO", rows)
    }

    fn filter_of_copy(&mut self, target: &RangeVar, condition: Option<&Node>) {
        let Some(condition) = condition else { return };
        let (rows, _) = self.rows_by_name(target);
        self.enter(vec![(target.relname.clone(), rows)]);
        self.condition(condition);
        self.leave();
    }

    /// Columns that `COPY t TO` writes: those named, or all but the generated ones.
    fn copied(&mut self, source: &RangeVar, attributes: &[String]) -> Rowset {
        let (rows, unknown) = self.relation_rows(source);
        let generated = self.generated_columns(source);
        if attributes.is_empty() {
            let columns: Vec<OutColumn> =
                rows.columns.iter().filter(|column| !generated.contains(&column.name)).cloned().collect();
            self.reads.extend(rows.all().sources);
            return Rowset { columns, ..rows };
        }
        self.enter(Vec::new());
        let source = super::scope::Source {
            alias: source.relname.clone(),
            rows,
            unknown,
            ..super::scope::Source::default()
        };
        let slots = self.add_source(source);
        self.show(slots);
        let mut columns = Vec::new();
        for name in attributes {
            let fields = vec![names::string_node(name)];
            let from = self.column_reference(&pg_query::protobuf::ColumnRef { fields, location: 0 });
            columns.push(OutColumn { name: name.clone(), from });
        }
        self.leave();
        Rowset { columns, ..Rowset::default() }
    }

    fn generated_columns(&self, relation: &RangeVar) -> Vec<String> {
        match self.catalogue.resolve(&self.state, &relation.schemaname, &relation.relname) {
            crate::catalogue::Resolved::Known(known, _) => known
                .columns
                .iter()
                .filter(|column| column.generated.is_some())
                .map(|column| column.name.clone())
                .collect(),
            crate::catalogue::Resolved::Unknown(_) => Vec::new(),
        }
    }

    /// Statements about what exists, other than its definition.
    #[expect(clippy::too_many_lines, reason = "a table: one arm a kind of statement")]
    pub(super) fn utility(&mut self, kind: &NodeEnum) -> Facts {
        let utility = |operation: &str| Facts::of(StatementKind::Utility, operation);
        match kind {
            NodeEnum::LockStmt(lock) => {
                self.each_relation(&lock.relations, effect::LOCK, false);
                utility("LOCK")
            }
            NodeEnum::TruncateStmt(truncate) => {
                self.each_relation(&truncate.relations, effect::TRUNCATE, true);
                if truncate.behavior() == DropBehavior::DropCascade {
                    self.give_up("TRUNCATE … CASCADE empties every table that refers to these as well");
                }
                utility("TRUNCATE")
            }
            NodeEnum::VacuumStmt(vacuum) => {
                for node in &vacuum.rels {
                    if let Some(NodeEnum::VacuumRelation(relation)) = node.node.as_ref() {
                        self.maintain(relation.relation.as_ref());
                    }
                }
                if vacuum.rels.is_empty() {
                    self.maintain(None);
                }
                utility(if vacuum.is_vacuumcmd { "VACUUM" } else { "ANALYZE" })
            }
            NodeEnum::ClusterStmt(cluster) => {
                self.maintain(cluster.relation.as_ref());
                utility("CLUSTER")
            }
            NodeEnum::ReindexStmt(reindex) => {
                self.maintain(reindex.relation.as_ref());
                utility("REINDEX")
            }
            NodeEnum::RefreshMatViewStmt(refresh) => {
                self.maintain(refresh.relation.as_ref());
                utility("REFRESH MATERIALIZED VIEW")
            }
            NodeEnum::NotifyStmt(notify) => {
                self.literal_sensitive = true;
                self.write(effect::NOTIFY, "channel", &notify.conditionname);
                Facts::of(StatementKind::Notify, "NOTIFY")
            }
            NodeEnum::ListenStmt(listen) => {
                self.read(effect::NOTIFY, "channel", &listen.conditionname);
                Facts::of(StatementKind::Listen, "LISTEN")
            }
            NodeEnum::UnlistenStmt(unlisten) => {
                self.read(
                    effect::NOTIFY,
                    "channel",
                    if unlisten.conditionname.is_empty() { "*" } else { &unlisten.conditionname },
                );
                Facts::of(StatementKind::Listen, "UNLISTEN")
            }
            NodeEnum::ConstraintsSetStmt(_) => {
                self.read(effect::TRANSACTION, "constraints", "");
                utility("SET CONSTRAINTS")
            }
            NodeEnum::DoStmt(_) => {
                self.give_up("DO runs a block of code that is not looked into");
                utility("DO")
            }
            NodeEnum::CallStmt(call) => {
                if let Some(call) = call.funccall.as_deref() {
                    self.function_call(call);
                }
                self.give_up("CALL runs a procedure that is not looked into");
                let rows = Rowset::open(super::scope::opaque());
                Facts::rows(StatementKind::Query, "CALL", rows)
            }
            _ => self.administration(kind),
        }
    }

    fn administration(&mut self, kind: &NodeEnum) -> Facts {
        let utility = |operation: &str| Facts::of(StatementKind::Utility, operation);
        match kind {
            NodeEnum::AlterSystemStmt(alter) => {
                let name =
                    alter.setstmt.as_ref().map(|set| set.name.to_ascii_lowercase()).unwrap_or_default();
                self.write(effect::ADMINISTER, "setting", &name);
                utility("ALTER SYSTEM")
            }
            NodeEnum::CheckPointStmt(_) => {
                self.write(effect::ADMINISTER, "server", "");
                utility("CHECKPOINT")
            }
            NodeEnum::LoadStmt(load) => {
                self.write(effect::ADMINISTER, "library", &load.filename);
                utility("LOAD")
            }
            NodeEnum::GrantStmt(grant) => {
                self.grant(grant);
                utility(if grant.is_grant { "GRANT" } else { "REVOKE" })
            }
            NodeEnum::GrantRoleStmt(grant) => {
                for role in grant.granted_roles.iter().chain(&grant.grantee_roles) {
                    let name = match role.node.as_ref() {
                        Some(NodeEnum::AccessPriv(privilege)) => privilege.priv_name.clone(),
                        _ => names::object(role).1,
                    };
                    self.write(effect::GRANT, "role", &name);
                }
                utility(if grant.is_grant { "GRANT" } else { "REVOKE" })
            }
            NodeEnum::AlterDefaultPrivilegesStmt(_) => {
                self.write(effect::GRANT, "default privileges", "");
                utility("ALTER DEFAULT PRIVILEGES")
            }
            NodeEnum::DropOwnedStmt(owned) => {
                for role in &owned.roles {
                    self.write(effect::DROP, "owned", &names::object(role).1);
                }
                self.much_changed();
                utility("DROP OWNED")
            }
            NodeEnum::ReassignOwnedStmt(owned) => {
                for role in owned.roles.iter().map(|role| names::object(role).1) {
                    self.write(effect::GRANT, "owned", &role);
                }
                utility("REASSIGN OWNED")
            }
            _ => self.definition_statement(kind),
        }
    }

    fn grant(&mut self, grant: &GrantStmt) {
        if grant.objtype() == ObjectType::ObjectSchema {
            self.much_changed();
        }
        for object in &grant.objects {
            if let Some(NodeEnum::RangeVar(relation)) = object.node.as_ref() {
                for name in self.relation_names(&relation.schemaname, &relation.relname) {
                    self.write(effect::GRANT, "relation", &name);
                }
            } else {
                let (schema, name) = names::object(object);
                let name = if schema.is_empty() { name } else { format!("{schema}.{name}") };
                self.write(effect::GRANT, super::definition::object_kind(grant.objtype()), &name);
            }
        }
        if grant.objects.is_empty() {
            self.write(effect::GRANT, super::definition::object_kind(ObjectType::ObjectSchema), "");
        }
    }

    fn each_relation(&mut self, nodes: &[Node], effect: &'static str, unbounded: bool) {
        for node in nodes {
            match node.node.as_ref() {
                Some(NodeEnum::RangeVar(relation)) => {
                    self.touch_relation(relation, effect, Access::Write, unbounded);
                }
                _ => self.give_up("a relation that the analyser does not know"),
            }
        }
    }

    fn maintain(&mut self, relation: Option<&RangeVar>) {
        match relation {
            Some(relation) => {
                for name in self.relation_names(&relation.schemaname, &relation.relname) {
                    self.write(effect::MAINTAIN, "relation", &name);
                }
            }
            None => self.write(effect::MAINTAIN, "database", ""),
        }
    }

    /// What the catalogue holds is about to be another.
    pub(super) fn schema_changed(&mut self) {
        self.catalogue_changed = true;
    }

    /// The same, and what else is another by that cannot be told: what depended on it, or who may use a schema.
    pub(super) fn much_changed(&mut self) {
        self.schema_changed();
        self.change(StateChange::Doubted);
    }
}
