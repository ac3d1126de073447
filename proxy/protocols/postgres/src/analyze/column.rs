//! Column references: from a name to the source columns behind it, the way PostgreSQL looks names up.

use super::names;
use super::scope::{Key, REST, absorb, column, opaque};
use super::walk::Walk;
use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, Node};
use proxy_policy::Provenance;

/// Columns that every table has and that carry nothing of the user's.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid"];

impl Walk<'_> {
    /// Where the value of a reference comes from; a whole row where it names a relation or ends in `*`.
    pub(super) fn column_reference(&mut self, reference: &ColumnRef) -> Provenance {
        let star = matches!(reference.fields.last(), Some(Node { node: Some(NodeEnum::AStar(_)) }));
        let parts = names::strings(&reference.fields);
        match (parts.as_slice(), star) {
            ([], true) => self.every_row(),
            ([name], false) => self.unqualified(name),
            ([.., schema, alias], true) => self.whole_of(schema, alias),
            ([alias], true) => self.whole_of("", alias),
            ([alias, name], false) => self.qualified_column("", alias, name),
            ([.., schema, alias, name], false) => self.qualified_column(schema, alias, name),
            ([], false) => opaque(),
        }
    }

    /// One column of one source, noted as read.
    pub(super) fn take(&mut self, key: Key, name: &str) -> Provenance {
        self.referenced.push(key);
        let Some(level) = self.levels.get(key.level) else { return opaque() };
        let mut from = level.provenance(key.source, key.column);
        if key.column == REST {
            let unknown =
                level.sources.get(key.source).map(|source| source.unknown.as_slice()).unwrap_or_default();
            from.sources
                .extend(unknown.iter().flat_map(|relation| column(format!("{relation}.{name}")).sources));
        }
        self.reads.extend(from.sources.iter().cloned());
        self.spend(from.sources.len());
        from
    }

    fn every_row(&mut self) -> Provenance {
        let mut from = Provenance::default();
        let level = self.levels.len().saturating_sub(1);
        let count = self.levels.last().map_or(0, |level| level.sources.len());
        for source in 0..count {
            absorb(&mut from, &self.whole_row(level, source));
        }
        from
    }

    /// Every column of a source as one value.
    pub(super) fn whole_row(&mut self, level: usize, source: usize) -> Provenance {
        let Some(rows) = self.levels.get(level).and_then(|l| l.sources.get(source)).map(|found| &found.rows)
        else {
            return opaque();
        };
        let (count, open) = (rows.columns.len(), rows.rest.is_some());
        let mut from = Provenance::default();
        for column in 0..count {
            if self.is_spent() {
                return opaque();
            }
            absorb(&mut from, &self.take(Key { level, source, column }, ""));
        }
        if open {
            absorb(&mut from, &self.take(Key { level, source, column: REST }, "*"));
        }
        from
    }

    /// Sources that an alias stands for: those of the nearest level that has any.
    pub(super) fn sources_named(&self, schema: &str, alias: &str) -> Vec<(usize, usize)> {
        for (depth, level) in self.levels.iter().enumerate().rev() {
            let named = level.sources.iter().enumerate().skip(level.visible_from).filter(|(_, source)| {
                source.alias == alias && (schema.is_empty() || source.schema == schema)
            });
            let found: Vec<(usize, usize)> = named.map(|(index, _)| (depth, index)).collect();
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    fn whole_of(&mut self, schema: &str, alias: &str) -> Provenance {
        let found = self.sources_named(schema, alias);
        if found.is_empty() {
            return self.not_found(alias);
        }
        let mut from = Provenance::default();
        for (level, source) in found {
            absorb(&mut from, &self.whole_row(level, source));
        }
        from
    }

    fn not_found(&mut self, name: &str) -> Provenance {
        self.unresolved.push(name.to_owned());
        opaque()
    }

    fn unqualified(&mut self, name: &str) -> Provenance {
        let mut open: Vec<Key> = Vec::new();
        for depth in (0..self.levels.len()).rev() {
            let exact = self.exact(depth, name);
            if !exact.is_empty() {
                return self.union_of(&exact, &open, name);
            }
            open.extend(self.open_sources(depth));
        }
        let rows = self.sources_named("", name);
        if rows.is_empty() && open.is_empty() {
            if SYSTEM_COLUMNS.contains(&name) {
                return Provenance::default();
            }
            return self.not_found(name);
        }
        let mut from = Provenance::default();
        for (level, source) in rows {
            absorb(&mut from, &self.whole_row(level, source));
        }
        for key in open {
            absorb(&mut from, &self.take(key, name));
        }
        from
    }

    fn exact(&self, depth: usize, name: &str) -> Vec<Key> {
        let Some(level) = self.levels.get(depth) else { return Vec::new() };
        let slots = level.slots.iter().filter(|slot| slot.name == name);
        let places = slots.flat_map(|slot| slot.places.iter());
        places.map(|(source, column)| Key { level: depth, source: *source, column: *column }).collect()
    }

    fn open_sources(&self, depth: usize) -> Vec<Key> {
        let Some(level) = self.levels.get(depth) else { return Vec::new() };
        let sources = level.sources.iter().enumerate().skip(level.visible_from);
        let open = sources.filter(|(_, source)| source.rows.rest.is_some());
        open.map(|(source, _)| Key { level: depth, source, column: REST }).collect()
    }

    fn union_of(&mut self, exact: &[Key], open: &[Key], name: &str) -> Provenance {
        if let ([key], []) = (exact, open) {
            return self.take(*key, name);
        }
        let mut from = Provenance::default();
        let mut verbatim = open.is_empty();
        for key in exact.iter().chain(open) {
            let one = self.take(*key, name);
            verbatim &= one.verbatim;
            absorb(&mut from, &one);
        }
        from.verbatim = verbatim;
        from
    }

    fn qualified_column(&mut self, schema: &str, alias: &str, name: &str) -> Provenance {
        let found = self.sources_named(schema, alias);
        let (mut keys, mut known): (Vec<Key>, bool) = (Vec::new(), false);
        for (level, source) in &found {
            let Some(rows) = self.levels.get(*level).and_then(|l| l.sources.get(*source)).map(|s| &s.rows)
            else {
                continue;
            };
            let matching = rows.columns.iter().enumerate().filter(|(_, column)| column.name == name);
            let before = keys.len();
            keys.extend(matching.map(|(column, _)| Key { level: *level, source: *source, column }));
            known |= keys.len() > before;
            if rows.rest.is_some() {
                keys.push(Key { level: *level, source: *source, column: REST });
            }
        }
        if !keys.is_empty() {
            let from = self.union_of(&keys, &[], name);
            // `c.f` is also a way to write `f(c)`, where `c` has no column of that name.
            return if known { from } else { self.field_or_function(name, from) };
        }
        if found.is_empty() {
            return self.not_found(&format!("{alias}.{name}"));
        }
        if SYSTEM_COLUMNS.contains(&name) {
            return Provenance::default();
        }
        let row = self.whole_of(schema, alias);
        self.named_function("", name, 1, row)
    }
}
