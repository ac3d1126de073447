//! Whether a condition binds an `UPDATE` or `DELETE` to some rows.
//!
//! It does if one of its conjuncts compares a column of the target (with `=`, `<`, `>`, `IN`, `BETWEEN`, `LIKE`, …) with
//! a constant, a parameter or something computed from those. It does not if the condition is constant, compares a column
//! with itself, only asks for `IS NOT NULL`, is a `LIKE '%'`, is negated (`<>`, `NOT`), or has an arm of an `OR` that
//! does not bind. A join or a subquery does not bind by itself: what it yields is data, not the author's intent. This
//! cannot tell a range that happens to hold every row; whoever wants that counted as unbounded must hold all of them.

use super::names;
use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, BoolExprType, Node};
use std::collections::BTreeSet;

/// Relation that is changed.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) alias: &'a str,
    pub(super) columns: &'a BTreeSet<String>,
    /// Its columns are not known: any unqualified name may be one.
    pub(super) open: bool,
}

/// The answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    pub(super) bounded: bool,
    /// Another literal could give another answer.
    pub(super) by_literal: bool,
}

/// Whether `condition` binds the target to some rows.
pub(super) fn restricts(condition: &Node, target: &Target<'_>) -> Verdict {
    let mut by_literal = false;
    let bounded = binds(condition, target, &mut by_literal, 0);
    Verdict { bounded, by_literal }
}

fn binds(node: &Node, target: &Target<'_>, by_literal: &mut bool, depth: usize) -> bool {
    if depth > 500 {
        return false;
    }
    match node.node.as_ref() {
        Some(NodeEnum::BoolExpr(expression)) => {
            let mut arms = expression.args.iter().map(|arm| binds(arm, target, by_literal, depth + 1));
            match expression.boolop() {
                BoolExprType::AndExpr => arms.any(|bound| bound),
                BoolExprType::OrExpr => !expression.args.is_empty() && arms.all(|bound| bound),
                BoolExprType::NotExpr | BoolExprType::Undefined => false,
            }
        }
        Some(NodeEnum::AExpr(expression)) => compares(expression, target, by_literal),
        // `where archived`, `where deleted_at is null`: a choice of rows that the author named.
        Some(NodeEnum::ColumnRef(_)) => is_column(node, target),
        Some(NodeEnum::NullTest(test)) => {
            test.nulltesttype() == pg_query::protobuf::NullTestType::IsNull
                && test.arg.as_deref().is_some_and(|arg| is_column(arg, target))
        }
        Some(NodeEnum::CurrentOfExpr(_)) => true,
        _ => false,
    }
}

fn compares(expression: &AExpr, target: &Target<'_>, by_literal: &mut bool) -> bool {
    let (Some(left), Some(right)) = (expression.lexpr.as_deref(), expression.rexpr.as_deref()) else {
        return false;
    };
    let operator = expression.name.last().and_then(names::string).unwrap_or_default();
    let sides = (mentions(left, target) && fixed(right)) || (fixed(left) && mentions(right, target));
    match expression.kind() {
        AExprKind::AexprOp => {
            sides
                && matches!(operator, "=" | "<" | ">" | "<=" | ">=" | "@>" | "<@" | "~" | "~*" | "&&" | "@@")
        }
        AExprKind::AexprIn | AExprKind::AexprOpAny => sides && operator == "=",
        AExprKind::AexprBetween | AExprKind::AexprBetweenSym | AExprKind::AexprNotDistinct => sides,
        AExprKind::AexprLike | AExprKind::AexprIlike | AExprKind::AexprSimilar => {
            *by_literal = true;
            let everything =
                names::constant_string(pattern(right)).is_some_and(|text| text.chars().all(|c| c == '%'));
            sides && !operator.starts_with('!') && !everything
        }
        AExprKind::Undefined
        | AExprKind::AexprOpAll
        | AExprKind::AexprDistinct
        | AExprKind::AexprNullif
        | AExprKind::AexprNotBetween
        | AExprKind::AexprNotBetweenSym => false,
    }
}

/// `SIMILAR TO` hands its pattern to a function.
fn pattern(node: &Node) -> &Node {
    match node.node.as_ref() {
        Some(NodeEnum::FuncCall(call)) => call.args.first().unwrap_or(node),
        _ => node,
    }
}

fn is_column(node: &Node, target: &Target<'_>) -> bool {
    let Some(NodeEnum::ColumnRef(reference)) = node.node.as_ref() else { return false };
    match names::strings(&reference.fields).as_slice() {
        [name] => target.open || target.columns.contains(name) || name == "ctid",
        [.., alias, _] => alias == target.alias,
        [] => false,
    }
}

/// A column of the target, as it is or inside a plain computation such as `lower(email)`.
fn mentions(node: &Node, target: &Target<'_>) -> bool {
    match node.node.as_ref() {
        Some(NodeEnum::ColumnRef(_)) => is_column(node, target),
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(|arg| mentions(arg, target)),
        Some(NodeEnum::CollateClause(clause)) => {
            clause.arg.as_deref().is_some_and(|arg| mentions(arg, target))
        }
        Some(NodeEnum::FuncCall(call)) => {
            matches!(
                call.funcname.last().and_then(names::string),
                Some("lower" | "upper" | "btrim" | "date_trunc" | "date")
            ) && call.args.iter().any(|arg| mentions(arg, target))
        }
        Some(NodeEnum::AExpr(expression)) => {
            let operator = expression.name.last().and_then(names::string).unwrap_or_default();
            matches!(operator, "->" | "->>" | "#>" | "#>>")
                && expression.lexpr.as_deref().is_some_and(|side| mentions(side, target))
        }
        Some(NodeEnum::RowExpr(row)) => row.args.iter().any(|arg| mentions(arg, target)),
        _ => false,
    }
}

/// Computed from constants and parameters alone.
fn fixed(node: &Node) -> bool {
    match node.node.as_ref() {
        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::SqlvalueFunction(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(fixed),
        Some(NodeEnum::CollateClause(clause)) => clause.arg.as_deref().is_some_and(fixed),
        Some(NodeEnum::List(list)) => !list.items.is_empty() && list.items.iter().all(fixed),
        Some(NodeEnum::AArrayExpr(array)) => !array.elements.is_empty() && array.elements.iter().all(fixed),
        Some(NodeEnum::RowExpr(row)) => row.args.iter().all(fixed),
        Some(NodeEnum::FuncCall(call)) => call.args.iter().all(fixed),
        Some(NodeEnum::AExpr(expression)) => {
            [expression.lexpr.as_deref(), expression.rexpr.as_deref()].into_iter().flatten().all(fixed)
        }
        _ => false,
    }
}
