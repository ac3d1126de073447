//! Conditions: what they compare, and what they thereby tell about the columns in them.
//!
//! A row comes out only if its conditions hold, so a column that a condition compares with a secret tells that secret:
//! `SELECT g FROM generate_series(1, 999999999) g JOIN customers ON replace(ssn, '-', '')::int = g`. Each conjunct is
//! therefore an atom, and every column in it takes the sources of all of it, until nothing changes any more.

use super::scope::{Atom, Extra, Key, REST};
use super::walk::Walk;
use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, BoolExprType, Node, SubLinkType};
use proxy_policy::Provenance;
use std::collections::BTreeSet;

/// Rounds after which atoms that still change each other are left: each round reaches one comparison further.
const ROUNDS: usize = 64;

/// What telling one column of another costs, beside a step of the walk.
const COST: usize = 4;

impl Walk<'_> {
    /// Takes in a condition of the innermost level: `WHERE`, `ON`, `HAVING`.
    pub(super) fn condition(&mut self, node: &Node) {
        if let Some(NodeEnum::BoolExpr(expression)) = node.node.as_ref()
            && expression.boolop() == BoolExprType::AndExpr
        {
            for arm in &expression.args {
                self.deeper(|walk| walk.condition(arm));
            }
            return;
        }
        let mark = self.referenced.len();
        let from = self.expression(node);
        self.filtered_by(&from);
        let keys: BTreeSet<Key> = self.referenced.get(mark..).unwrap_or_default().iter().copied().collect();
        let Some(level) = self.levels.last_mut() else { return };
        super::scope::absorb(&mut level.influence, &from);
        // What an EXISTS compares, the conditions inside it already told the columns outside.
        if !is_exists(node) {
            level.atoms.push(Atom { keys: keys.into_iter().collect(), from, equality: is_equality(node) });
        }
    }

    /// Lets every comparison so far tell its columns what they are compared with.
    pub(super) fn close(&mut self) {
        let Some(level) = self.levels.last_mut() else { return };
        let atoms = std::mem::take(&mut level.atoms);
        let links = std::mem::take(&mut level.links);
        for _ in 0..ROUNDS {
            let mut changed = false;
            for atom in &atoms {
                let told = self.told(&atom.keys, &atom.from, !atom.equality);
                for key in &atom.keys {
                    changed |= self.tell(*key, &told);
                }
                self.spend(told.from.sources.len().saturating_mul(atom.keys.len()).saturating_mul(COST));
            }
            for (source, keys) in &links {
                let told = self.told(keys, &Provenance::default(), true);
                changed |= self.tell_source(*source, &told);
            }
            if !changed || self.is_spent() {
                break;
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.atoms = atoms;
            level.links = links;
        }
    }

    fn told(&self, keys: &[Key], from: &Provenance, derived: bool) -> Extra {
        let mut told = Extra { from: from.clone(), derived };
        for key in keys {
            let extra =
                self.levels.get(key.level).and_then(|level| level.extras.get(&(key.source, key.column)));
            if let Some(extra) = extra {
                super::scope::absorb(&mut told.from, &extra.from);
                told.derived |= extra.derived;
            }
        }
        told
    }

    fn tell(&mut self, key: Key, told: &Extra) -> bool {
        if told.from.sources.is_empty() && !told.from.opaque {
            return false;
        }
        let Some(level) = self.levels.get_mut(key.level) else { return false };
        let extra = level.extras.entry((key.source, key.column)).or_default();
        let before = (extra.from.sources.len(), extra.from.opaque, extra.derived);
        super::scope::absorb(&mut extra.from, &told.from);
        extra.derived |= told.derived;
        before != (extra.from.sources.len(), extra.from.opaque, extra.derived)
    }

    fn tell_source(&mut self, source: usize, told: &Extra) -> bool {
        let level = self.levels.len().saturating_sub(1);
        let rows = self.levels.last().and_then(|level| level.sources.get(source)).map(|found| &found.rows);
        let Some(count) = rows.map(|rows| rows.columns.len()) else { return false };
        let mut changed = false;
        for column in (0..count).chain([REST]) {
            changed |= self.tell(Key { level, source, column }, told);
        }
        changed
    }
}

fn is_exists(node: &Node) -> bool {
    match node.node.as_ref() {
        Some(NodeEnum::SubLink(link)) => link.sub_link_type() == SubLinkType::ExistsSublink,
        Some(NodeEnum::BoolExpr(expression)) => {
            expression.boolop() == BoolExprType::NotExpr && expression.args.iter().all(is_exists)
        }
        _ => false,
    }
}

/// `a.x = b.y`: each is the other's value.
fn is_equality(node: &Node) -> bool {
    let Some(NodeEnum::AExpr(expression)) = node.node.as_ref() else { return false };
    let column = |side: &Option<Box<Node>>| {
        matches!(
            side.as_deref(),
            Some(Node { node: Some(NodeEnum::ColumnRef(_) | NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) })
        )
    };
    let equals = expression.kind() == AExprKind::AexprOp
        && expression.name.last().and_then(super::names::string) == Some("=");
    equals && column(&expression.lexpr) && column(&expression.rexpr)
}
