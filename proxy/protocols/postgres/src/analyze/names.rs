//! Names and constants out of parse-tree nodes.

use pg_query::NodeEnum;
use pg_query::protobuf::{AConst, Node, RangeVar, RoleSpec, RoleSpecType, TypeName, a_const};

/// The text of a name node; `None` for anything that is not one.
pub(super) fn string(node: &Node) -> Option<&str> {
    match node.node.as_ref() {
        Some(NodeEnum::String(string)) => Some(&string.sval),
        _ => None,
    }
}

/// The texts of a list of name nodes, others left out.
pub(super) fn strings(nodes: &[Node]) -> Vec<String> {
    nodes.iter().filter_map(string).map(str::to_owned).collect()
}

/// Schema (empty if not written) and name of a possibly qualified name: `db.schema.name` loses its database.
pub(super) fn qualified(nodes: &[Node]) -> (String, String) {
    let mut parts = strings(nodes);
    let name = parts.pop().unwrap_or_default();
    (parts.pop().unwrap_or_default(), name)
}

/// The qualified name in a node that holds a list of names, one name, a type or a function with its arguments.
pub(super) fn object(node: &Node) -> (String, String) {
    match node.node.as_ref() {
        Some(NodeEnum::List(list)) => match list.items.first().and_then(|first| first.node.as_ref()) {
            Some(NodeEnum::TypeName(name)) => qualified(&name.names),
            _ => qualified(&list.items),
        },
        Some(NodeEnum::String(string)) => (String::new(), string.sval.clone()),
        Some(NodeEnum::TypeName(name)) => qualified(&name.names),
        Some(NodeEnum::ObjectWithArgs(object)) => qualified(&object.objname),
        Some(NodeEnum::RangeVar(relation)) => (relation.schemaname.clone(), relation.relname.clone()),
        Some(NodeEnum::RoleSpec(spec)) => (String::new(), role(spec)),
        _ => (String::new(), String::new()),
    }
}

/// Name of a type without its schema.
pub(super) fn type_name(name: &TypeName) -> String {
    qualified(&name.names).1
}

/// The constant's text if it is a string.
pub(super) fn constant_string(node: &Node) -> Option<&str> {
    match node.node.as_ref() {
        Some(NodeEnum::AConst(AConst { val: Some(a_const::Val::Sval(value)), .. })) => Some(&value.sval),
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().and_then(constant_string),
        _ => None,
    }
}

/// The constant's text if it is a string as it is written: a cast to anything but text may cut it.
pub(super) fn plain_string(node: &Node) -> Option<&str> {
    match node.node.as_ref() {
        Some(NodeEnum::AConst(AConst { val: Some(a_const::Val::Sval(value)), .. })) => Some(&value.sval),
        Some(NodeEnum::TypeCast(cast)) => {
            let name = cast.type_name.as_ref()?;
            let is_text = type_name(name) == "text" && name.array_bounds.is_empty();
            cast.arg.as_deref().filter(|_| is_text).and_then(plain_string)
        }
        _ => None,
    }
}

/// A name as PostgreSQL keeps it: its first 63 bytes, in whole characters.
pub(super) fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(63)).unwrap_or(name)
}

/// How a constant reads in a setting: `64`, `on`, `public`.
pub(super) fn constant_text(node: &Node) -> Option<String> {
    match node.node.as_ref() {
        Some(NodeEnum::AConst(constant)) => match constant.val.as_ref() {
            Some(a_const::Val::Ival(value)) => Some(value.ival.to_string()),
            Some(a_const::Val::Fval(value)) => Some(value.fval.clone()),
            Some(a_const::Val::Boolval(value)) => Some(value.boolval.to_string()),
            Some(a_const::Val::Sval(value)) => Some(value.sval.clone()),
            Some(a_const::Val::Bsval(value)) => Some(value.bsval.clone()),
            None => None,
        },
        Some(NodeEnum::String(value)) => Some(value.sval.clone()),
        Some(NodeEnum::Integer(value)) => Some(value.ival.to_string()),
        Some(NodeEnum::Float(value)) => Some(value.fval.clone()),
        Some(NodeEnum::Boolean(value)) => Some(value.boolval.to_string()),
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().and_then(constant_text),
        _ => None,
    }
}

/// Name of a role; `current_user` and its kin in lower case.
pub(super) fn role(spec: &RoleSpec) -> String {
    match spec.roletype() {
        RoleSpecType::RolespecCurrentRole | RoleSpecType::RolespecCurrentUser => "current_user".to_owned(),
        RoleSpecType::RolespecSessionUser => "session_user".to_owned(),
        RoleSpecType::RolespecPublic => "public".to_owned(),
        RoleSpecType::Undefined | RoleSpecType::RolespecCstring => spec.rolename.clone(),
    }
}

/// Alias of a relation in `FROM`, or its name.
pub(super) fn alias_of(relation: &RangeVar) -> String {
    relation.alias.as_ref().map_or_else(|| relation.relname.clone(), |alias| alias.aliasname.clone())
}

/// Name PostgreSQL gives to an output column that has no `AS`.
pub(super) fn output_name(node: &Node) -> String {
    figure(node).unwrap_or_else(|| "?column?".to_owned())
}

fn figure(node: &Node) -> Option<String> {
    let name = |text: &str| Some(text.to_owned());
    match node.node.as_ref()? {
        NodeEnum::ColumnRef(reference) => reference.fields.iter().rev().find_map(string).map(str::to_owned),
        NodeEnum::AIndirection(part) => {
            let field = part.indirection.iter().rev().find_map(string).map(str::to_owned);
            field.or_else(|| part.arg.as_deref().and_then(figure))
        }
        NodeEnum::FuncCall(call) => call.funcname.last().and_then(string).map(str::to_owned),
        NodeEnum::TypeCast(cast) => {
            let inner = cast.arg.as_deref().and_then(figure);
            inner.or_else(|| cast.type_name.as_ref().map(type_name))
        }
        NodeEnum::CollateClause(clause) => clause.arg.as_deref().and_then(figure),
        NodeEnum::CaseExpr(case) => case.defresult.as_deref().and_then(figure).or_else(|| name("case")),
        NodeEnum::CoalesceExpr(_) => name("coalesce"),
        NodeEnum::AArrayExpr(_) => name("array"),
        NodeEnum::RowExpr(_) => name("row"),
        NodeEnum::SubLink(link) => sublink_name(link),
        NodeEnum::MinMaxExpr(expression) => name(if expression.op == 1 { "greatest" } else { "least" }),
        NodeEnum::GroupingFunc(_) => name("grouping"),
        NodeEnum::AExpr(expression) if expression.kind() == pg_query::protobuf::AExprKind::AexprNullif => {
            name("nullif")
        }
        NodeEnum::XmlSerialize(_) => name("xmlserialize"),
        NodeEnum::SqlvalueFunction(function) => Some(value_function(function.op())),
        _ => None,
    }
}

fn sublink_name(link: &pg_query::protobuf::SubLink) -> Option<String> {
    use pg_query::protobuf::SubLinkType as Kind;
    match link.sub_link_type() {
        Kind::ExistsSublink => Some("exists".to_owned()),
        Kind::ArraySublink => Some("array".to_owned()),
        Kind::ExprSublink => match link.subselect.as_deref()?.node.as_ref()? {
            NodeEnum::SelectStmt(select) => match select.target_list.first()?.node.as_ref()? {
                NodeEnum::ResTarget(target) if !target.name.is_empty() => Some(target.name.clone()),
                NodeEnum::ResTarget(target) => target.val.as_deref().and_then(figure),
                _ => None,
            },
            _ => None,
        },
        Kind::Undefined
        | Kind::AllSublink
        | Kind::AnySublink
        | Kind::RowcompareSublink
        | Kind::MultiexprSublink
        | Kind::CteSublink => None,
    }
}

fn value_function(op: pg_query::protobuf::SqlValueFunctionOp) -> String {
    let name = op.as_str_name().trim_start_matches("SVFOP_").to_ascii_lowercase();
    name.strip_suffix("_n").map(str::to_owned).unwrap_or(name)
}

/// A name as a node.
pub(super) fn string_node(name: &str) -> Node {
    Node { node: Some(NodeEnum::String(pg_query::protobuf::String { sval: name.to_owned() })) }
}
