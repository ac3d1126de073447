//! The SQL/JSON expressions of the grammar.

use super::scope::{absorb, opaque};
use super::walk::Walk;
use pg_query::NodeEnum;
use pg_query::protobuf::{JsonAggConstructor, JsonBehavior, JsonKeyValue, JsonValueExpr};
use proxy_policy::Provenance;

/// How a construct is written: before PostgreSQL 16 or 17 these are calls of functions that somebody may have made.
const fn written_as(kind: &NodeEnum) -> &'static [&'static str] {
    match kind {
        NodeEnum::JsonParseExpr(_) => &["json"],
        NodeEnum::JsonScalarExpr(_) => &["json_scalar"],
        NodeEnum::JsonSerializeExpr(_) => &["json_serialize"],
        NodeEnum::JsonObjectConstructor(_) => &["json_object"],
        NodeEnum::JsonArrayConstructor(_) | NodeEnum::JsonArrayQueryConstructor(_) => &["json_array"],
        NodeEnum::JsonObjectAgg(_) => &["json_objectagg"],
        NodeEnum::JsonArrayAgg(_) => &["json_arrayagg"],
        NodeEnum::JsonFuncExpr(_) => &["json_exists", "json_query", "json_value"],
        _ => &[],
    }
}

impl Walk<'_> {
    /// A SQL/JSON expression; anything else is a construct that is not known.
    pub(super) fn json(&mut self, kind: &NodeEnum) -> Provenance {
        let from = self.json_here(kind);
        written_as(kind).iter().fold(from, |from, name| self.may_be_a_call(name, from))
    }

    fn json_here(&mut self, kind: &NodeEnum) -> Provenance {
        match kind {
            NodeEnum::JsonValueExpr(value) => self.json_value(Some(value)),
            NodeEnum::JsonKeyValue(pair) => self.json_pair(pair),
            NodeEnum::JsonArgument(argument) => self.json_value(argument.val.as_deref()),
            NodeEnum::JsonIsPredicate(test) => self.derived(test.expr.as_deref()),
            NodeEnum::JsonParseExpr(parse) => self.json_value(parse.expr.as_deref()),
            NodeEnum::JsonScalarExpr(scalar) => self.derived(scalar.expr.as_deref()),
            NodeEnum::JsonSerializeExpr(serialize) => self.json_value(serialize.expr.as_deref()),
            NodeEnum::JsonObjectConstructor(object) => self.all_of(&object.exprs),
            NodeEnum::JsonArrayConstructor(array) => self.all_of(&array.exprs),
            NodeEnum::JsonArrayQueryConstructor(array) => match array.query.as_deref() {
                Some(query) => self.query_node(query).all(),
                None => Provenance::default(),
            },
            NodeEnum::JsonObjectAgg(object) => {
                let mut from = object.arg.as_deref().map(|pair| self.json_pair(pair)).unwrap_or_default();
                absorb(&mut from, &self.json_aggregate(object.constructor.as_deref()));
                from
            }
            NodeEnum::JsonArrayAgg(array) => {
                let mut from = self.json_value(array.arg.as_deref());
                absorb(&mut from, &self.json_aggregate(array.constructor.as_deref()));
                from
            }
            NodeEnum::JsonFuncExpr(function) => {
                let mut from = self.json_value(function.context_item.as_deref());
                absorb(&mut from, &self.derived(function.pathspec.as_deref()));
                absorb(&mut from, &self.all_of(&function.passing));
                absorb(&mut from, &self.json_behaviour(function.on_empty.as_deref()));
                absorb(&mut from, &self.json_behaviour(function.on_error.as_deref()));
                from
            }
            _ => {
                self.give_up("a construct that the analyser does not know");
                opaque()
            }
        }
    }

    pub(super) fn json_value(&mut self, value: Option<&JsonValueExpr>) -> Provenance {
        let Some(value) = value else { return Provenance::default() };
        self.pair(value.raw_expr.as_deref(), value.formatted_expr.as_deref())
    }

    pub(super) fn json_behaviour(&mut self, behaviour: Option<&JsonBehavior>) -> Provenance {
        behaviour.map(|behaviour| self.derived(behaviour.expr.as_deref())).unwrap_or_default()
    }

    fn json_pair(&mut self, pair: &JsonKeyValue) -> Provenance {
        let mut from = self.derived(pair.key.as_deref());
        absorb(&mut from, &self.json_value(pair.value.as_deref()));
        from
    }

    fn json_aggregate(&mut self, aggregate: Option<&JsonAggConstructor>) -> Provenance {
        let Some(aggregate) = aggregate else { return Provenance::default() };
        let mut from = self.derived(aggregate.agg_filter.as_deref());
        absorb(&mut from, &self.all_of(&aggregate.agg_order));
        if let Some(window) = aggregate.over.as_deref() {
            absorb(&mut from, &self.window(window));
        }
        from
    }
}
