//! Relations: what touching one touches, and where the values of its columns come from.

use super::effect;
use super::scope::{OutColumn, Rowset, absorb, column, opaque};
use super::state::SessionState;
use super::walk::Walk;
use crate::catalogue::{Relation, RelationKind, Resolved, is_revealing};
use pg_query::NodeEnum;
use pg_query::protobuf::RangeVar;
use proxy_policy::{Access, ColumnName, Detail, Provenance, Touch};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a view's definition means.
#[derive(Debug, Default)]
pub(crate) struct ViewFacts {
    pub(super) rows: Rowset,
    pub(super) touches: Vec<Touch>,
    pub(super) unknown: Vec<String>,
    pub(super) reads: BTreeSet<ColumnName>,
    pub(super) predicates: BTreeSet<ColumnName>,
}

impl Walk<'_> {
    /// Every relation that a name may stand for, `schema.name`, the likeliest first; one that is not found is noted as unresolved.
    pub(super) fn relation_names(&mut self, schema: &str, name: &str) -> Vec<String> {
        match self.catalogue.resolve(&self.state, schema, name) {
            Resolved::Known(relation, hidden) => {
                std::iter::once(relation).chain(hidden).map(|relation| relation.qualified()).collect()
            }
            Resolved::Unknown(candidates) => {
                self.unresolved.push(if schema.is_empty() {
                    name.to_owned()
                } else {
                    format!("{schema}.{name}")
                });
                candidates
            }
        }
    }

    /// Notes an effect on a relation, and on what stands behind it: the tables of a view, the parents of a partition.
    pub(super) fn touch_relation(
        &mut self,
        relation: &RangeVar,
        effect: &'static str,
        access: Access,
        unbounded: bool,
    ) {
        match self.catalogue.resolve(&self.state, &relation.schemaname, &relation.relname) {
            Resolved::Known(known, hidden) => {
                for relation in std::iter::once(&known).chain(&hidden) {
                    self.touch_known(relation, effect, access, unbounded);
                }
            }
            Resolved::Unknown(candidates) => {
                self.unresolved.push(relation.relname.clone());
                for name in candidates {
                    self.add(Touch {
                        effect,
                        object: "relation",
                        name,
                        access,
                        unbounded,
                        detail: Detail::None,
                    });
                }
            }
        }
    }

    fn touch_known(
        &mut self,
        relation: &Arc<Relation>,
        effect: &'static str,
        access: Access,
        unbounded: bool,
    ) {
        let add = |walk: &mut Self, name: String| {
            walk.add(Touch { effect, object: "relation", name, access, unbounded, detail: Detail::None });
        };
        add(self, relation.qualified());
        for parent in self.ancestors(relation) {
            add(self, parent.qualified());
        }
        if relation.kind == RelationKind::View && !relation.is_system() {
            let facts = self.view_facts(relation);
            self.unknown.extend(facts.unknown.iter().cloned());
            for touch in &facts.touches {
                let changes =
                    access == Access::Write && touch.object == "relation" && touch.effect == effect::SELECT;
                self.add(touch.clone());
                if changes {
                    add(self, touch.name.clone());
                }
            }
        }
    }

    /// The rows of a relation in `FROM`, its reading noted.
    pub(super) fn relation_rows(&mut self, relation: &RangeVar) -> (Rowset, Vec<String>) {
        self.touch_relation(relation, effect::SELECT, Access::Read, false);
        self.rows_by_name(relation)
    }

    /// The rows of a relation without noting anything but what a view's definition does.
    pub(super) fn rows_by_name(&mut self, relation: &RangeVar) -> (Rowset, Vec<String>) {
        match self.catalogue.resolve(&self.state, &relation.schemaname, &relation.relname) {
            Resolved::Known(known, hidden) => {
                let mut rows = self.rows_of(&known);
                for relation in &hidden {
                    let others = self.rows_of(relation);
                    rows = rows.union(&others);
                }
                (rows, Vec::new())
            }
            Resolved::Unknown(candidates) => {
                let sources = candidates.iter().map(|name| ColumnName(format!("{name}.*"))).collect();
                let from = Provenance { sources, opaque: true, verbatim: false };
                (Rowset::open(from), candidates)
            }
        }
    }

    pub(super) fn rows_of(&mut self, relation: &Arc<Relation>) -> Rowset {
        if relation.open {
            let sources = [ColumnName(format!("{}.*", relation.qualified()))].into();
            return Rowset::open(Provenance { sources, opaque: true, verbatim: false });
        }
        let related = self.related(relation);
        let facts = self.definition(relation);
        if let Some(facts) = &facts {
            self.reads.extend(facts.reads.iter().cloned());
            self.predicates.extend(facts.predicates.iter().cloned());
        }
        let mut columns = Vec::with_capacity(relation.columns.len());
        for (index, found) in relation.columns.iter().enumerate() {
            let mut from = column(format!("{}.{}", relation.qualified(), found.name));
            for other in related.iter().filter(|other| other.columns.iter().any(|c| c.name == found.name)) {
                from.sources.insert(ColumnName(format!("{}.{}", other.qualified(), found.name)));
            }
            if let Some(facts) = &facts {
                mix(&mut from, &defined(&facts.rows, index, relation.columns.len()));
            }
            if let Some(expression) = &found.generated {
                let computed = self.generated(relation, expression);
                absorb(&mut from, &computed);
            }
            from.opaque |= relation.is_system() && is_revealing(&relation.name, &found.name);
            columns.push(OutColumn { name: found.name.clone(), from });
        }
        let (cardinality, influence) = facts
            .map(|facts| (facts.rows.cardinality.clone(), facts.rows.influence.clone()))
            .unwrap_or_default();
        Rowset { columns, rest: None, cardinality, influence }
    }

    /// What stands behind a view, a materialised view, or a table that this session made from a query.
    fn definition(&mut self, relation: &Arc<Relation>) -> Option<Arc<ViewFacts>> {
        let stored = !matches!(relation.kind, RelationKind::View | RelationKind::MaterializedView);
        if relation.is_system() || (stored && relation.view.is_none() && relation.facts.get().is_none()) {
            return None;
        }
        Some(self.view_facts(relation))
    }

    fn ancestors(&self, relation: &Relation) -> Vec<Arc<Relation>> {
        let mut found: Vec<Arc<Relation>> = Vec::new();
        let mut next: Vec<u32> = relation.parents.clone();
        while let Some(oid) = next.pop() {
            let Some(parent) = self.catalogue.relation_by_oid(oid) else { continue };
            if !found.iter().any(|known| known.oid == oid) {
                found.push(Arc::clone(parent));
                next.extend(&parent.parents);
            }
        }
        found
    }

    /// Ancestors and descendants: their columns of the same name hold the same rows' values.
    fn related(&self, relation: &Relation) -> Vec<Arc<Relation>> {
        let mut found = self.ancestors(relation);
        let mut next: Vec<u32> = self.catalogue.descendants.get(&relation.oid).cloned().unwrap_or_default();
        while let Some(oid) = next.pop() {
            let Some(child) = self.catalogue.relation_by_oid(oid) else { continue };
            if !found.iter().any(|known| known.oid == oid) {
                found.push(Arc::clone(child));
                next.extend(self.catalogue.descendants.get(&oid).into_iter().flatten());
            }
        }
        found
    }

    pub(super) fn view_facts(&mut self, relation: &Arc<Relation>) -> Arc<ViewFacts> {
        if let Some(facts) = relation.facts.get() {
            return Arc::clone(facts);
        }
        let name = relation.qualified();
        if self.open_definitions.contains(&name) {
            let unknown = vec![format!("the view {name} is defined by itself")];
            return Arc::new(ViewFacts { rows: Rowset::open(opaque()), unknown, ..ViewFacts::default() });
        }
        let text = relation.view.clone().unwrap_or_default();
        let facts = Arc::new(self.deeper(|walk| walk.look_into(&name, &text)));
        if self.open_definitions.is_empty() && facts.unknown.is_empty() {
            // Two that set it at once found the same.
            drop(relation.facts.set(Arc::clone(&facts)));
        }
        facts
    }

    fn look_into(&mut self, name: &str, text: &str) -> ViewFacts {
        let mut state = SessionState::new(&self.state.role, &self.state.database);
        state.search_path = vec!["pg_catalog".to_owned()];
        let mut walk = Walk::new(self.catalogue, state);
        walk.open_definitions.clone_from(&self.open_definitions);
        walk.open_definitions.push(name.to_owned());
        let parsed = super::parse::parse(text);
        let statement = parsed.as_ref().ok().and_then(|tree| match tree.stmts.as_slice() {
            [one] => one.stmt.as_deref().and_then(|node| node.node.as_ref()),
            _ => None,
        });
        let rows = if let Some(NodeEnum::SelectStmt(select)) = statement {
            walk.select(select)
        } else {
            walk.give_up(&format!("the definition of the view {name} cannot be read"));
            Rowset::open(opaque())
        };
        ViewFacts {
            rows,
            touches: walk.touches,
            unknown: walk.unknown,
            reads: walk.reads,
            predicates: walk.predicates,
        }
    }

    fn generated(&mut self, relation: &Relation, expression: &str) -> Provenance {
        let select = format!("SELECT {expression}");
        let Ok(parsed) = super::parse::parse(&select) else { return opaque() };
        let names: Vec<ColumnName> = relation
            .columns
            .iter()
            .map(|column| ColumnName(format!("{}.{}", relation.qualified(), column.name)))
            .collect();
        let mut walk = Walk::new(self.catalogue, self.state.clone());
        let columns = relation.columns.iter().zip(names);
        let columns = columns.map(|(column, name)| OutColumn {
            name: column.name.clone(),
            from: super::scope::column(name.0),
        });
        let rows = Rowset { columns: columns.collect(), ..Rowset::default() };
        walk.enter(vec![(String::new(), rows)]);
        let mut from = Provenance::default();
        for statement in &parsed.stmts {
            if let Some(node) = statement.stmt.as_deref() {
                let value = walk.query_node(node).all();
                absorb(&mut from, &value);
            }
        }
        from
    }
}

fn defined(rows: &Rowset, index: usize, count: usize) -> Provenance {
    match rows.columns.get(index) {
        Some(found) if rows.rest.is_none() && rows.columns.len() == count => found.from.clone(),
        Some(_) | None => {
            let mut from = rows.all();
            from.opaque = true;
            from
        }
    }
}

/// Adds what a definition yields to a column's own name, which names the same value.
fn mix(into: &mut Provenance, from: &Provenance) {
    into.verbatim = from.verbatim;
    into.sources.extend(from.sources.iter().cloned());
    into.opaque |= from.opaque;
}
