//! Expressions: which source columns can flow into their value, and what they do besides.

use super::effect;
use super::names;
use super::scope::{absorb, opaque};
use super::walk::Walk;
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AIndirection, CaseExpr, Node, SubLink, SubLinkType, TypeCast, TypeName, WindowDef,
};
use proxy_policy::Provenance;

impl Walk<'_> {
    /// The value of an expression. What is not an expression that a statement can hold is unknown.
    pub(super) fn expression(&mut self, node: &Node) -> Provenance {
        let from = self.deeper(|walk| walk.expression_here(node));
        self.spend(from.sources.len());
        from
    }

    fn expression_here(&mut self, node: &Node) -> Provenance {
        let Some(kind) = node.node.as_ref() else {
            self.give_up("a construct that the analyser does not know");
            return opaque();
        };
        match kind {
            NodeEnum::ColumnRef(reference) => self.column_reference(reference),
            NodeEnum::AConst(_)
            | NodeEnum::ParamRef(_)
            | NodeEnum::SqlvalueFunction(_)
            | NodeEnum::SetToDefault(_)
            | NodeEnum::Integer(_)
            | NodeEnum::Float(_)
            | NodeEnum::String(_)
            | NodeEnum::Boolean(_)
            | NodeEnum::AStar(_) => Provenance::default(),
            NodeEnum::MergeSupportFunc(_) => self.may_be_a_call("merge_action", Provenance::default()),
            NodeEnum::AExpr(expression) => self.operator(expression),
            NodeEnum::BoolExpr(expression) => self.all_of(&expression.args),
            NodeEnum::FuncCall(call) => self.function_call(call),
            NodeEnum::TypeCast(cast) => self.cast(cast),
            NodeEnum::SubLink(link) => self.sublink(link),
            NodeEnum::CaseExpr(case) => self.case(case),
            NodeEnum::AIndirection(part) => self.indirection(part),
            _ => self.composite(kind),
        }
    }

    /// Expressions that are no more than their parts.
    fn composite(&mut self, kind: &NodeEnum) -> Provenance {
        match kind {
            NodeEnum::CoalesceExpr(expression) => self.all_of(&expression.args),
            NodeEnum::MinMaxExpr(expression) => self.all_of(&expression.args),
            NodeEnum::NullTest(test) => self.derived(test.arg.as_deref()),
            NodeEnum::BooleanTest(test) => self.derived(test.arg.as_deref()),
            NodeEnum::AArrayExpr(array) => self.all_of(&array.elements),
            NodeEnum::RowExpr(row) => self.all_of(&row.args),
            NodeEnum::List(list) => self.all_of(&list.items),
            NodeEnum::CollateClause(clause) => self.derived(clause.arg.as_deref()),
            NodeEnum::NamedArgExpr(argument) => self.derived(argument.arg.as_deref()),
            NodeEnum::MultiAssignRef(reference) => self.derived(reference.source.as_deref()),
            NodeEnum::GroupingFunc(function) => self.all_of(&function.args),
            NodeEnum::GroupingSet(set) => self.all_of(&set.content),
            NodeEnum::SortBy(sort) => {
                let mut from = self.derived(sort.node.as_deref());
                if !sort.use_op.is_empty() {
                    absorb(&mut from, &self.operator_named(&sort.use_op));
                }
                from
            }
            NodeEnum::ResTarget(target) => self.derived(target.val.as_deref()),
            NodeEnum::XmlExpr(expression) => {
                let mut from = self.all_of(&expression.args);
                absorb(&mut from, &self.all_of(&expression.named_args));
                from
            }
            NodeEnum::XmlSerialize(expression) => self.derived(expression.expr.as_deref()),
            NodeEnum::AIndices(index) => self.pair(index.lidx.as_deref(), index.uidx.as_deref()),
            NodeEnum::CurrentOfExpr(cursor) => {
                let known = self.state.cursor(&cursor.cursor_name).is_some();
                if !known {
                    self.give_up("WHERE CURRENT OF a cursor that this session did not declare");
                }
                Provenance::default()
            }
            _ => self.json(kind),
        }
    }

    /// Everything that the parts carry, as a derived value.
    pub(super) fn all_of(&mut self, nodes: &[Node]) -> Provenance {
        let mut from = Provenance::default();
        for node in nodes {
            absorb(&mut from, &self.expression(node));
        }
        from
    }

    pub(super) fn derived(&mut self, node: Option<&Node>) -> Provenance {
        let mut from = Provenance::default();
        if let Some(node) = node {
            absorb(&mut from, &self.expression(node));
        }
        from
    }

    pub(super) fn pair(&mut self, left: Option<&Node>, right: Option<&Node>) -> Provenance {
        let mut from = self.derived(left);
        absorb(&mut from, &self.derived(right));
        from
    }

    fn operator(&mut self, expression: &AExpr) -> Provenance {
        let mut from = self.pair(expression.lexpr.as_deref(), expression.rexpr.as_deref());
        absorb(&mut from, &self.operator_named(&expression.name));
        from
    }

    /// Touches the functions behind an operator that is not PostgreSQL's own.
    pub(super) fn operator_named(&mut self, name: &[Node]) -> Provenance {
        let (schema, symbol) = names::qualified(name);
        if symbol.starts_with(|c: char| c.is_ascii_alphabetic()) || symbol.is_empty() {
            return Provenance::default();
        }
        let mut reached = self.catalogue.user_operators(&self.state, &schema, &symbol);
        let own =
            (schema.is_empty() || schema == "pg_catalog") && crate::catalogue::is_builtin_operator(&symbol);
        if !own && reached.is_empty() {
            let schema = if schema.is_empty() { "public".to_owned() } else { schema };
            reached.push(format!("{schema}.{symbol}"));
        }
        for operator in &reached {
            self.write(effect::CALL, "operator", operator);
        }
        if reached.is_empty() { Provenance::default() } else { opaque() }
    }

    fn cast(&mut self, cast: &TypeCast) -> Provenance {
        let mut from = self.derived(cast.arg.as_deref());
        if let Some(name) = &cast.type_name {
            absorb(&mut from, &self.type_used(name));
        }
        from
    }

    /// Touches the functions that a cast to this type may run.
    pub(super) fn type_used(&mut self, name: &TypeName) -> Provenance {
        let (schema, plain) = names::qualified(&name.names);
        if schema != "pg_catalog" && self.catalogue.cast_types.contains(&plain) {
            self.write(effect::CALL, "cast", &plain);
            return opaque();
        }
        Provenance::default()
    }

    fn case(&mut self, case: &CaseExpr) -> Provenance {
        let mut from = self.pair(case.arg.as_deref(), case.defresult.as_deref());
        for arm in &case.args {
            match arm.node.as_ref() {
                Some(NodeEnum::CaseWhen(when)) => {
                    absorb(&mut from, &self.pair(when.expr.as_deref(), when.result.as_deref()));
                }
                _ => absorb(&mut from, &self.expression(arm)),
            }
        }
        from
    }

    /// `(c).x`, `a[1]`: one field of a whole row where the row is a relation's, else all of it.
    fn indirection(&mut self, part: &AIndirection) -> Provenance {
        if let (Some(Node { node: Some(NodeEnum::ColumnRef(reference)) }), Some(field)) =
            (part.arg.as_deref(), part.indirection.first().and_then(names::string))
        {
            let parts = names::strings(&reference.fields);
            if let [alias] = parts.as_slice()
                && self.is_row_of(alias, field)
            {
                let fields = [alias.as_str(), field].map(names::string_node).to_vec();
                let direct = pg_query::protobuf::ColumnRef { fields, location: 0 };
                return self.column_reference(&direct);
            }
        }
        let mut from = self.derived(part.arg.as_deref());
        for step in &part.indirection {
            if let Some(field) = names::string(step) {
                from = self.field_or_function(field, from);
            } else if matches!(step.node, Some(NodeEnum::AIndices(_))) {
                absorb(&mut from, &self.expression(step));
            }
        }
        from
    }

    fn sublink(&mut self, link: &SubLink) -> Provenance {
        let test = self.derived(link.testexpr.as_deref());
        let mut from = test;
        if !link.oper_name.is_empty() {
            absorb(&mut from, &self.operator_named(&link.oper_name));
        }
        let Some(query) = link.subselect.as_deref() else { return from };
        let rows = self.query_node(query);
        match link.sub_link_type() {
            SubLinkType::ExistsSublink => absorb(&mut from, &rows.influence),
            SubLinkType::ExprSublink if link.testexpr.is_none() => {
                let value = rows.columns.first().filter(|_| rows.columns.len() == 1 && rows.rest.is_none());
                let bare = value.map_or_else(|| rows.all(), |column| column.from.clone());
                if bare.sources.is_empty() && !bare.opaque {
                    // A constant tells only whether there was a row.
                    absorb(&mut from, &rows.influence);
                    return from;
                }
                return bare;
            }
            SubLinkType::Undefined
            | SubLinkType::AllSublink
            | SubLinkType::AnySublink
            | SubLinkType::RowcompareSublink
            | SubLinkType::ExprSublink
            | SubLinkType::MultiexprSublink
            | SubLinkType::ArraySublink
            | SubLinkType::CteSublink => absorb(&mut from, &rows.all()),
        }
        absorb(&mut from, &rows.cardinality);
        from
    }

    /// What a window orders and partitions by: it decides the value of a window function.
    pub(super) fn window(&mut self, window: &WindowDef) -> Provenance {
        let mut from = self.all_of(&window.partition_clause);
        absorb(&mut from, &self.all_of(&window.order_clause));
        absorb(&mut from, &self.pair(window.start_offset.as_deref(), window.end_offset.as_deref()));
        let windows = self.levels.last().map(|level| level.windows.clone()).unwrap_or_default();
        for (name, named) in windows {
            if (!window.name.is_empty() && name == window.name)
                || (!window.refname.is_empty() && name == window.refname)
            {
                absorb(&mut from, &named);
            }
        }
        from
    }
}
