//! Statements that create, alter or drop what exists.

use super::StatementKind;
use super::effect;
use super::names;
use super::scope::Rowset;
use super::statement::Facts;
use super::walk::Walk;
use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ObjectType, RangeVar};
use proxy_policy::Provenance;

/// Name of a kind of object in touches. Whatever can stand in `FROM` is a `relation`.
pub(super) fn object_kind(kind: ObjectType) -> &'static str {
    match kind {
        ObjectType::ObjectTable
        | ObjectType::ObjectView
        | ObjectType::ObjectMatview
        | ObjectType::ObjectForeignTable
        | ObjectType::ObjectSequence => "relation",
        ObjectType::ObjectAggregate
        | ObjectType::ObjectFunction
        | ObjectType::ObjectProcedure
        | ObjectType::ObjectRoutine => "function",
        ObjectType::ObjectColumn | ObjectType::ObjectAttribute => "column",
        ObjectType::ObjectCast => "cast",
        ObjectType::ObjectDatabase => "database",
        ObjectType::ObjectDomain | ObjectType::ObjectType => "type",
        ObjectType::ObjectEventTrigger => "event trigger",
        ObjectType::ObjectExtension => "extension",
        ObjectType::ObjectFdw => "foreign data wrapper",
        ObjectType::ObjectForeignServer => "server",
        ObjectType::ObjectIndex => "index",
        ObjectType::ObjectLanguage => "language",
        ObjectType::ObjectLargeobject => "large object",
        ObjectType::ObjectOperator => "operator",
        ObjectType::ObjectPolicy => "policy",
        ObjectType::ObjectPublication => "publication",
        ObjectType::ObjectRole => "role",
        ObjectType::ObjectRule => "rule",
        ObjectType::ObjectSchema => "schema",
        ObjectType::ObjectSubscription => "subscription",
        ObjectType::ObjectTablespace => "tablespace",
        ObjectType::ObjectTrigger => "trigger",
        ObjectType::ObjectUserMapping => "user mapping",
        ObjectType::ObjectDefacl => "default privileges",
        ObjectType::ObjectDomconstraint | ObjectType::ObjectTabconstraint => "constraint",
        ObjectType::ObjectParameterAcl => "setting",
        ObjectType::Undefined
        | ObjectType::ObjectAccessMethod
        | ObjectType::ObjectAmop
        | ObjectType::ObjectAmproc
        | ObjectType::ObjectCollation
        | ObjectType::ObjectConversion
        | ObjectType::ObjectDefault
        | ObjectType::ObjectOpclass
        | ObjectType::ObjectOpfamily
        | ObjectType::ObjectPublicationNamespace
        | ObjectType::ObjectPublicationRel
        | ObjectType::ObjectStatisticExt
        | ObjectType::ObjectTransform
        | ObjectType::ObjectTsconfiguration
        | ObjectType::ObjectTsdictionary
        | ObjectType::ObjectTsparser
        | ObjectType::ObjectTstemplate => "object",
    }
}

/// A definition that is told by its kind, its effect and one name.
struct Plain<'a> {
    operation: &'static str,
    effect: &'static str,
    object: &'static str,
    name: &'a str,
}

impl Walk<'_> {
    #[expect(clippy::too_many_lines, reason = "a table: one arm a kind of statement")]
    pub(super) fn definition_statement(&mut self, kind: &NodeEnum) -> Facts {
        self.schema_changed();
        if let Some(facts) = self.relation_definition(kind) {
            return facts;
        }
        if let Some(plain) = plain(kind) {
            self.write(plain.effect, plain.object, plain.name);
            return Facts::of(StatementKind::Utility, plain.operation);
        }
        let (operation, effect, object, nodes): (_, _, _, &[Node]) = match kind {
            NodeEnum::CreateFunctionStmt(create) => {
                if create.replace {
                    let name = self.created_name(&create.funcname);
                    self.write(effect::ALTER, "function", &name);
                }
                ("CREATE FUNCTION", effect::CREATE, "function", &create.funcname)
            }
            NodeEnum::AlterFunctionStmt(alter) => {
                let name: &[Node] =
                    alter.func.as_ref().map(|function| function.objname.as_slice()).unwrap_or_default();
                ("ALTER FUNCTION", effect::ALTER, "function", name)
            }
            NodeEnum::DefineStmt(define) => {
                ("CREATE", effect::CREATE, object_kind(define.kind()), &define.defnames)
            }
            NodeEnum::CreateDomainStmt(create) => {
                self.of_a_value(&create.constraints);
                ("CREATE DOMAIN", effect::CREATE, "type", &create.domainname)
            }
            NodeEnum::AlterDomainStmt(alter) => {
                self.of_a_value(alter.def.as_deref().map(std::slice::from_ref).unwrap_or_default());
                ("ALTER DOMAIN", effect::ALTER, "type", &alter.type_name)
            }
            NodeEnum::CreateEnumStmt(create) => ("CREATE TYPE", effect::CREATE, "type", &create.type_name),
            NodeEnum::AlterEnumStmt(alter) => ("ALTER TYPE", effect::ALTER, "type", &alter.type_name),
            NodeEnum::CreateRangeStmt(create) => ("CREATE TYPE", effect::CREATE, "type", &create.type_name),
            NodeEnum::AlterTypeStmt(alter) => ("ALTER TYPE", effect::ALTER, "type", &alter.type_name),
            NodeEnum::AlterCollationStmt(alter) => {
                ("ALTER COLLATION", effect::ALTER, "object", &alter.collname)
            }
            NodeEnum::AlterOperatorStmt(alter) => {
                let name: &[Node] =
                    alter.opername.as_ref().map(|operator| operator.objname.as_slice()).unwrap_or_default();
                ("ALTER OPERATOR", effect::ALTER, "operator", name)
            }
            NodeEnum::CreateOpClassStmt(create) => {
                ("CREATE OPERATOR CLASS", effect::CREATE, "operator", &create.opclassname)
            }
            NodeEnum::CreateOpFamilyStmt(create) => {
                ("CREATE OPERATOR FAMILY", effect::CREATE, "operator", &create.opfamilyname)
            }
            NodeEnum::AlterOpFamilyStmt(alter) => {
                ("ALTER OPERATOR FAMILY", effect::ALTER, "operator", &alter.opfamilyname)
            }
            NodeEnum::CreateConversionStmt(create) => {
                ("CREATE CONVERSION", effect::CREATE, "object", &create.conversion_name)
            }
            NodeEnum::CreateStatsStmt(create) => {
                ("CREATE STATISTICS", effect::CREATE, "object", &create.defnames)
            }
            NodeEnum::AlterStatsStmt(alter) => ("ALTER STATISTICS", effect::ALTER, "object", &alter.defnames),
            NodeEnum::AlterTsdictionaryStmt(alter) => {
                ("ALTER TEXT SEARCH DICTIONARY", effect::ALTER, "object", &alter.dictname)
            }
            NodeEnum::AlterTsconfigurationStmt(alter) => {
                ("ALTER TEXT SEARCH CONFIGURATION", effect::ALTER, "object", &alter.cfgname)
            }
            _ => return self.other_definition(kind),
        };
        let name = self.created_name(nodes);
        self.write(effect, object, &name);
        let is_code = effect == effect::CREATE && matches!(object, "function" | "operator");
        if is_code {
            // It runs later, for a default, a trigger, an index, where nobody sees what it copies.
            self.flow(super::scope::opaque(), format!("{name}.*"));
        }
        Facts::of(StatementKind::Utility, operation)
    }

    /// `schema.name` of something that is or would be created where names without schema go.
    pub(super) fn created_name(&self, nodes: &[Node]) -> String {
        let (schema, name) = names::qualified(nodes);
        let schema = if schema.is_empty() { self.catalogue.creation_schema(&self.state) } else { schema };
        format!("{schema}.{name}")
    }

    #[expect(clippy::too_many_lines, reason = "a table: one arm a kind of statement")]
    fn other_definition(&mut self, kind: &NodeEnum) -> Facts {
        let utility = |operation: &str| Facts::of(StatementKind::Utility, operation);
        match kind {
            NodeEnum::CreateCastStmt(create) => {
                let target = create.targettype.as_ref().map(names::type_name).unwrap_or_default();
                self.write(effect::CREATE, "cast", &target);
                utility("CREATE CAST")
            }
            NodeEnum::AlterExtensionContentsStmt(alter) => {
                self.write(effect::ALTER, "extension", &alter.extname);
                utility("ALTER EXTENSION")
            }
            NodeEnum::AlterObjectDependsStmt(alter) => {
                let kind = alter.object_type();
                match (&alter.relation, alter.object.as_deref()) {
                    (Some(relation), _) => {
                        self.attached(Some(relation), effect::ALTER, object_kind(kind), "");
                    }
                    (None, Some(object)) => {
                        let name = self.object_name(object, kind);
                        self.write(effect::ALTER, object_kind(kind), &name);
                    }
                    (None, None) => self.give_up("a kind of statement that the analyser does not know"),
                }
                utility("ALTER … DEPENDS ON EXTENSION")
            }
            NodeEnum::CreateTrigStmt(create) => {
                self.attached(create.relation.as_ref(), effect::CREATE, "trigger", &create.trigname);
                self.conditions(create.relation.as_ref(), &[create.when_clause.as_deref()]);
                // Whatever function it calls may copy any column, PostgreSQL's own `tsvector_update_trigger` too.
                self.flow(super::scope::opaque(), format!("trigger.{}.*", create.trigname));
                utility("CREATE TRIGGER")
            }
            NodeEnum::RuleStmt(rule) => {
                self.attached(rule.relation.as_ref(), effect::CREATE, "rule", &rule.rulename);
                self.rule(rule);
                utility("CREATE RULE")
            }
            NodeEnum::CreatePolicyStmt(policy) => {
                self.attached(policy.table.as_ref(), effect::CREATE, "policy", &policy.policy_name);
                self.conditions(
                    policy.table.as_ref(),
                    &[policy.qual.as_deref(), policy.with_check.as_deref()],
                );
                utility("CREATE POLICY")
            }
            NodeEnum::AlterPolicyStmt(policy) => {
                self.attached(policy.table.as_ref(), effect::ALTER, "policy", &policy.policy_name);
                self.conditions(
                    policy.table.as_ref(),
                    &[policy.qual.as_deref(), policy.with_check.as_deref()],
                );
                utility("ALTER POLICY")
            }
            NodeEnum::DropRoleStmt(drop) => {
                for role in &drop.roles {
                    self.write(effect::DROP, "role", &names::object(role).1);
                }
                utility("DROP ROLE")
            }
            NodeEnum::AlterRoleStmt(alter) => {
                let name = alter.role.as_ref().map(names::role).unwrap_or_default();
                self.write(effect::ALTER, "role", &name);
                utility("ALTER ROLE")
            }
            NodeEnum::AlterRoleSetStmt(alter) => {
                let name = alter.role.as_ref().map(names::role).unwrap_or_default();
                self.write(effect::ALTER, "role", &name);
                utility("ALTER ROLE")
            }
            NodeEnum::CreateSchemaStmt(create) => {
                let owner = create.authrole.as_ref().map(names::role).unwrap_or_default();
                let name = if create.schemaname.is_empty() { owner } else { create.schemaname.clone() };
                self.write(effect::CREATE, "schema", &name);
                self.change(super::state::StateChange::SchemaCreated(name));
                for element in &create.schema_elts {
                    drop(self.deeper(|walk| Some(walk.statement(element, ""))));
                }
                utility("CREATE SCHEMA")
            }
            NodeEnum::CommentStmt(comment) => {
                let name = comment
                    .object
                    .as_deref()
                    .map(|object| self.object_name(object, comment.objtype()))
                    .unwrap_or_default();
                self.write(effect::ALTER, object_kind(comment.objtype()), &name);
                utility("COMMENT")
            }
            NodeEnum::SecLabelStmt(label) => {
                let name = label
                    .object
                    .as_deref()
                    .map(|object| self.object_name(object, label.objtype()))
                    .unwrap_or_default();
                self.write(effect::ALTER, object_kind(label.objtype()), &name);
                utility("SECURITY LABEL")
            }
            _ => {
                self.give_up("a kind of statement that the analyser does not know");
                utility("UNKNOWN")
            }
        }
    }

    /// Something that belongs to a relation, and changes how that behaves.
    fn attached(
        &mut self,
        relation: Option<&RangeVar>,
        effect: &'static str,
        object: &'static str,
        name: &str,
    ) {
        let Some(relation) = relation else { return };
        for table in self.relation_names(&relation.schemaname, &relation.relname) {
            self.write(effect, object, &format!("{table}.{name}"));
            self.write(effect::ALTER, "relation", &table);
        }
    }

    /// Conditions on the rows of a relation, which a definition keeps.
    fn conditions(&mut self, relation: Option<&RangeVar>, conditions: &[Option<&Node>]) {
        let Some(relation) = relation else { return };
        let (rows, _) = self.rows_by_name(relation);
        let names = [relation.relname.as_str(), "new", "old"];
        self.enter(names.map(|name| (name.to_owned(), rows.clone())).into());
        for condition in conditions {
            self.derived(*condition);
        }
        self.leave();
    }

    /// Constraints of a domain: conditions on a value that has no name but `VALUE`.
    fn of_a_value(&mut self, constraints: &[Node]) {
        self.enter(vec![(String::new(), Rowset::open(Provenance::default()))]);
        self.definition_parts(constraints);
        self.leave();
    }

    /// Canonical name of an object in `COMMENT`, `DROP` and their kin.
    pub(super) fn object_name(&mut self, object: &Node, kind: ObjectType) -> String {
        let (schema, name) = names::object(object);
        let in_schema = matches!(object_kind(kind), "relation" | "function" | "type" | "index" | "operator");
        if object_kind(kind) == "relation" {
            return self.relation_names(&schema, &name).join(",");
        }
        match (schema.is_empty(), in_schema) {
            (true, true) => format!("{}.{name}", self.catalogue.creation_schema(&self.state)),
            (true, false) => name,
            (false, _) => format!("{schema}.{name}"),
        }
    }
}

#[expect(clippy::too_many_lines, reason = "a table: one arm a kind of statement")]
fn plain(kind: &NodeEnum) -> Option<Plain<'_>> {
    let plain = |operation, effect, object, name| Some(Plain { operation, effect, object, name });
    match kind {
        NodeEnum::CreatedbStmt(s) => plain("CREATE DATABASE", effect::CREATE, "database", &s.dbname),
        NodeEnum::DropdbStmt(s) => plain("DROP DATABASE", effect::DROP, "database", &s.dbname),
        NodeEnum::AlterDatabaseStmt(s) => plain("ALTER DATABASE", effect::ALTER, "database", &s.dbname),
        NodeEnum::AlterDatabaseSetStmt(s) => plain("ALTER DATABASE", effect::ALTER, "database", &s.dbname),
        NodeEnum::AlterDatabaseRefreshCollStmt(s) => {
            plain("ALTER DATABASE", effect::ALTER, "database", &s.dbname)
        }
        NodeEnum::CreateRoleStmt(s) => plain("CREATE ROLE", effect::CREATE, "role", &s.role),
        NodeEnum::CreateTableSpaceStmt(s) => {
            plain("CREATE TABLESPACE", effect::ADMINISTER, "tablespace", &s.tablespacename)
        }
        NodeEnum::DropTableSpaceStmt(s) => {
            plain("DROP TABLESPACE", effect::ADMINISTER, "tablespace", &s.tablespacename)
        }
        NodeEnum::AlterTableSpaceOptionsStmt(s) => {
            plain("ALTER TABLESPACE", effect::ADMINISTER, "tablespace", &s.tablespacename)
        }
        NodeEnum::AlterTableMoveAllStmt(s) => {
            plain("ALTER TABLE ALL IN TABLESPACE", effect::ADMINISTER, "tablespace", &s.orig_tablespacename)
        }
        NodeEnum::CreateExtensionStmt(s) => {
            plain("CREATE EXTENSION", effect::CREATE, "extension", &s.extname)
        }
        NodeEnum::AlterExtensionStmt(s) => plain("ALTER EXTENSION", effect::ALTER, "extension", &s.extname),
        NodeEnum::CreateFdwStmt(s) => {
            plain("CREATE FOREIGN DATA WRAPPER", effect::CREATE, "foreign data wrapper", &s.fdwname)
        }
        NodeEnum::AlterFdwStmt(s) => {
            plain("ALTER FOREIGN DATA WRAPPER", effect::ALTER, "foreign data wrapper", &s.fdwname)
        }
        NodeEnum::CreateForeignServerStmt(s) => {
            plain("CREATE SERVER", effect::CREATE, "server", &s.servername)
        }
        NodeEnum::AlterForeignServerStmt(s) => plain("ALTER SERVER", effect::ALTER, "server", &s.servername),
        NodeEnum::CreateUserMappingStmt(s) => {
            plain("CREATE USER MAPPING", effect::CREATE, "user mapping", &s.servername)
        }
        NodeEnum::AlterUserMappingStmt(s) => {
            plain("ALTER USER MAPPING", effect::ALTER, "user mapping", &s.servername)
        }
        NodeEnum::DropUserMappingStmt(s) => {
            plain("DROP USER MAPPING", effect::DROP, "user mapping", &s.servername)
        }
        NodeEnum::ImportForeignSchemaStmt(s) => {
            plain("IMPORT FOREIGN SCHEMA", effect::CREATE, "schema", &s.local_schema)
        }
        NodeEnum::CreateAmStmt(s) => plain("CREATE ACCESS METHOD", effect::CREATE, "object", &s.amname),
        NodeEnum::CreateEventTrigStmt(s) => {
            plain("CREATE EVENT TRIGGER", effect::CREATE, "event trigger", &s.trigname)
        }
        NodeEnum::AlterEventTrigStmt(s) => {
            plain("ALTER EVENT TRIGGER", effect::ALTER, "event trigger", &s.trigname)
        }
        NodeEnum::CreatePlangStmt(s) => plain("CREATE LANGUAGE", effect::CREATE, "language", &s.plname),
        NodeEnum::CreateTransformStmt(s) => plain("CREATE TRANSFORM", effect::CREATE, "object", &s.lang),
        NodeEnum::CreatePublicationStmt(s) => {
            plain("CREATE PUBLICATION", effect::CREATE, "publication", &s.pubname)
        }
        NodeEnum::AlterPublicationStmt(s) => {
            plain("ALTER PUBLICATION", effect::ALTER, "publication", &s.pubname)
        }
        NodeEnum::CreateSubscriptionStmt(s) => {
            plain("CREATE SUBSCRIPTION", effect::CREATE, "subscription", &s.subname)
        }
        NodeEnum::AlterSubscriptionStmt(s) => {
            plain("ALTER SUBSCRIPTION", effect::ALTER, "subscription", &s.subname)
        }
        NodeEnum::DropSubscriptionStmt(s) => {
            plain("DROP SUBSCRIPTION", effect::DROP, "subscription", &s.subname)
        }
        _ => None,
    }
}
