//! The `FROM` clause: what each item in it yields, and which names it brings into scope.

use super::names;
use super::scope::{Key, Level, OutColumn, Rowset, Slot, Source, absorb, opaque};
use super::walk::Walk;
use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, JoinExpr, Node, RangeSubselect, RangeVar};
use proxy_policy::Provenance;

impl Walk<'_> {
    /// Opens a level with sources that are ready.
    pub(super) fn enter(&mut self, sources: Vec<(String, Rowset)>) {
        self.levels.push(Level::default());
        for (alias, rows) in sources {
            let slots = self.add_source(Source { alias, rows, ..Source::default() });
            self.show(slots);
        }
    }

    /// Closes the innermost level, and forgets the references to its columns.
    pub(super) fn leave(&mut self) -> Level {
        let level = self.levels.pop().unwrap_or_default();
        let depth = self.levels.len();
        self.referenced.retain(|key| key.level < depth);
        level
    }

    /// Makes slots visible to unqualified names.
    pub(super) fn show(&mut self, slots: Vec<Slot>) {
        if let Some(level) = self.levels.last_mut() {
            level.slots.extend(slots);
        }
    }

    /// Adds a source to the innermost level; answers its columns, not yet visible unqualified.
    pub(super) fn add_source(&mut self, source: Source) -> Vec<Slot> {
        let Some(level) = self.levels.last_mut() else { return Vec::new() };
        let index = level.sources.len();
        let names = source.rows.columns.iter().enumerate();
        let slots = names
            .map(|(column, found)| Slot { name: found.name.clone(), places: vec![(index, column)] })
            .collect();
        absorb(&mut level.cardinality, &source.rows.cardinality);
        absorb(&mut level.influence, &source.rows.influence);
        level.sources.push(source);
        slots
    }

    /// One item of `FROM`.
    pub(super) fn from_item(&mut self, node: &Node) -> Vec<Slot> {
        self.deeper(|walk| match node.node.as_ref() {
            Some(NodeEnum::RangeVar(relation)) => walk.from_relation(relation),
            Some(NodeEnum::RangeSubselect(query)) => walk.from_query(query),
            Some(NodeEnum::RangeFunction(function)) => walk.from_function(function),
            Some(NodeEnum::JoinExpr(join)) => walk.from_join(join),
            Some(NodeEnum::RangeTableSample(sample)) => {
                let told = walk.pair(sample.repeatable.as_deref(), None);
                walk.counted(&told);
                let arguments = walk.all_of(&sample.args);
                walk.counted(&arguments);
                sample.relation.as_deref().map(|relation| walk.from_item(relation)).unwrap_or_default()
            }
            Some(NodeEnum::RangeTableFunc(table)) => walk.from_xml(table),
            Some(NodeEnum::JsonTable(table)) => walk.from_json(table),
            _ => {
                walk.give_up("a construct in FROM that the analyser does not know");
                walk.add_source(Source { rows: Rowset::open(opaque()), ..Source::default() })
            }
        })
    }

    /// Notes what decides how many rows there are.
    pub(super) fn counted(&mut self, from: &Provenance) {
        self.filtered_by(from);
        if let Some(level) = self.levels.last_mut() {
            absorb(&mut level.cardinality, from);
            absorb(&mut level.influence, from);
        }
    }

    fn from_relation(&mut self, relation: &RangeVar) -> Vec<Slot> {
        let cte =
            self.ctes.iter().rev().find(|cte| relation.schemaname.is_empty() && cte.name == relation.relname);
        let (rows, unknown) = match cte.map(|cte| cte.rows.clone()) {
            Some(rows) => (rows, Vec::new()),
            None => self.relation_rows(relation),
        };
        let rows = rows.renamed(
            &relation.alias.as_ref().map(|alias| names::strings(&alias.colnames)).unwrap_or_default(),
        );
        let schema = if relation.alias.is_some() { String::new() } else { self.schema_of(relation) };
        self.add_source(Source { alias: names::alias_of(relation), schema, rows, unknown })
    }

    fn schema_of(&self, relation: &RangeVar) -> String {
        if !relation.schemaname.is_empty() {
            return relation.schemaname.clone();
        }
        match self.catalogue.resolve(&self.state, "", &relation.relname) {
            crate::catalogue::Resolved::Known(known, _) => known.schema.clone(),
            crate::catalogue::Resolved::Unknown(_) => String::new(),
        }
    }

    fn from_query(&mut self, query: &RangeSubselect) -> Vec<Slot> {
        let Some(node) = query.subquery.as_deref() else { return Vec::new() };
        let mark = self.referenced.len();
        let rows =
            if query.lateral { self.query_node(node) } else { self.aside(|walk| walk.query_node(node)) };
        let slots = self.add_source(Source {
            alias: alias_name(query.alias.as_ref()),
            rows: renamed(rows, query.alias.as_ref()),
            ..Source::default()
        });
        if query.lateral {
            self.link(mark);
        }
        slots
    }

    /// Evaluates something that cannot see its siblings in `FROM`.
    fn aside<T: Default>(&mut self, step: impl FnOnce(&mut Self) -> T) -> T {
        self.narrowed(usize::MAX, Vec::new(), step)
    }

    /// Evaluates something that sees only sources from an index on, and only these slots.
    fn narrowed<T>(&mut self, from: usize, slots: Vec<Slot>, step: impl FnOnce(&mut Self) -> T) -> T {
        let depth = self.levels.len().saturating_sub(1);
        let mut before = (0, Vec::new());
        if let Some(level) = self.levels.get_mut(depth) {
            before = (
                std::mem::replace(&mut level.visible_from, from),
                std::mem::replace(&mut level.slots, slots),
            );
        }
        let result = step(self);
        if let Some(level) = self.levels.get_mut(depth) {
            (level.visible_from, level.slots) = before;
        }
        result
    }

    /// Notes that the newest source was computed from columns of its siblings, those referenced since `mark`.
    pub(super) fn link(&mut self, mark: usize) {
        let depth = self.levels.len().saturating_sub(1);
        let keys =
            self.referenced.get(mark..).unwrap_or_default().iter().copied().filter(|key| key.level == depth);
        let keys: Vec<Key> = keys.collect();
        if let Some(level) = self.levels.last_mut() {
            let source = level.sources.len().saturating_sub(1);
            if !keys.is_empty() {
                level.links.push((source, keys));
            }
        }
    }

    fn from_join(&mut self, join: &JoinExpr) -> Vec<Slot> {
        let start = self.levels.last().map_or(0, |level| level.sources.len());
        let left = join.larg.as_deref().map(|node| self.from_item(node)).unwrap_or_default();
        let lateral_view: Vec<Slot> = left.clone();
        let right = self.beside(lateral_view, |walk| {
            join.rarg.as_deref().map(|node| walk.from_item(node)).unwrap_or_default()
        });
        let open = self
            .levels
            .last()
            .is_some_and(|level| level.sources.iter().skip(start).any(|s| s.rows.rest.is_some()));
        if join.is_natural && open {
            // Which columns are merged is not known, so neither is the order of what comes out.
            self.disorder(start);
        }
        let using = if join.is_natural { common(&left, &right) } else { names::strings(&join.using_clause) };
        let slots = self.merge(left, right, &using);
        if let Some(quals) = join.quals.as_deref() {
            self.narrowed(start, slots.clone(), |walk| walk.condition(quals));
        }
        if let Some(alias) = &join.join_using_alias {
            let merged: Vec<Slot> = slots.iter().filter(|slot| slot.places.len() > 1).cloned().collect();
            let rows = self.rows_of_slots(&merged, start);
            self.add_source(Source { alias: alias.aliasname.clone(), rows, ..Source::default() });
        }
        match &join.alias {
            Some(alias) => self.aliased_join(&slots, start, alias),
            None => slots,
        }
    }

    /// Shows the left side of a join to a lateral right side.
    fn beside<T>(&mut self, slots: Vec<Slot>, step: impl FnOnce(&mut Self) -> T) -> T {
        let added = slots.len();
        self.show(slots);
        let result = step(self);
        if let Some(level) = self.levels.last_mut() {
            let keep = level.slots.len().saturating_sub(added);
            level.slots.truncate(keep);
        }
        result
    }

    fn disorder(&mut self, start: usize) {
        let Some(level) = self.levels.last_mut() else { return };
        for source in level.sources.iter_mut().skip(start) {
            if source.rows.rest.is_none() {
                source.rows.rest = Some(source.rows.all());
            }
        }
    }

    /// Columns of both sides, those of `USING` merged and first; merging compares them.
    fn merge(&mut self, left: Vec<Slot>, right: Vec<Slot>, using: &[String]) -> Vec<Slot> {
        let mut slots: Vec<Slot> = Vec::with_capacity(left.len() + right.len());
        for name in using {
            let both = left.iter().chain(&right).filter(|slot| slot.name == *name);
            let places: Vec<(usize, usize)> = both.flat_map(|slot| slot.places.iter().copied()).collect();
            self.compare(&places);
            if !places.is_empty() {
                slots.push(Slot { name: name.clone(), places });
            }
        }
        slots.extend(left.into_iter().chain(right).filter(|slot| !using.contains(&slot.name)));
        slots
    }

    fn compare(&mut self, places: &[(usize, usize)]) {
        let depth = self.levels.len().saturating_sub(1);
        let mut from = Provenance::default();
        let mut keys = Vec::new();
        for (source, column) in places {
            let key = Key { level: depth, source: *source, column: *column };
            absorb(&mut from, &self.take(key, ""));
            keys.push(key);
        }
        self.filtered_by(&from);
        if let Some(level) = self.levels.last_mut() {
            absorb(&mut level.influence, &from);
            level.atoms.push(super::scope::Atom { keys, from, equality: true });
        }
    }

    fn aliased_join(&mut self, slots: &[Slot], start: usize, alias: &Alias) -> Vec<Slot> {
        self.close();
        let rows = self.rows_of_slots(slots, start).renamed(&names::strings(&alias.colnames));
        let depth = self.levels.len().saturating_sub(1);
        let places = slots.iter().flat_map(|slot| slot.places.iter());
        let keys: Vec<Key> =
            places.map(|(source, column)| Key { level: depth, source: *source, column: *column }).collect();
        if let Some(level) = self.levels.last_mut() {
            for source in level.sources.iter_mut().skip(start) {
                // The alias of the join hides those inside.
                source.alias.clear();
                source.schema.clear();
            }
        }
        let slots = self.add_source(Source { alias: alias.aliasname.clone(), rows, ..Source::default() });
        if let Some(level) = self.levels.last_mut() {
            let source = level.sources.len().saturating_sub(1);
            level.links.push((source, keys));
        }
        slots
    }

    fn rows_of_slots(&self, slots: &[Slot], start: usize) -> Rowset {
        let Some(level) = self.levels.last() else { return Rowset::open(opaque()) };
        let value = |slot: &Slot| {
            let mut places = slot.places.iter().map(|(source, column)| level.provenance(*source, *column));
            let first = places.next().unwrap_or_else(opaque);
            places.fold(first, |from, other| super::scope::either(&from, &other))
        };
        let columns =
            slots.iter().map(|slot| OutColumn { name: slot.name.clone(), from: value(slot) }).collect();
        let mut rows = Rowset { columns, ..Rowset::default() };
        for source in level.sources.iter().skip(start).filter(|source| source.rows.rest.is_some()) {
            let mut rest = rows.rest.take().unwrap_or_default();
            absorb(&mut rest, &source.rows.all());
            rows.rest = Some(rest);
        }
        rows
    }
}

fn common(left: &[Slot], right: &[Slot]) -> Vec<String> {
    left.iter()
        .map(|slot| slot.name.clone())
        .filter(|name| right.iter().any(|slot| slot.name == *name))
        .collect()
}

pub(super) fn alias_name(alias: Option<&Alias>) -> String {
    alias.map(|alias| alias.aliasname.clone()).unwrap_or_default()
}

pub(super) fn renamed(rows: Rowset, alias: Option<&Alias>) -> Rowset {
    rows.renamed(&alias.map(|alias| names::strings(&alias.colnames)).unwrap_or_default())
}
