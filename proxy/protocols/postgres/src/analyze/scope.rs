//! Which columns a name can stand for, and where their values come from.

use proxy_policy::{ColumnName, Provenance};
use std::collections::BTreeMap;

/// Index that stands for the columns of a source that are not known one by one.
pub(super) const REST: usize = usize::MAX;

/// A column of a row set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OutColumn {
    pub(super) name: String,
    pub(super) from: Provenance,
}

/// Columns that something in `FROM`, or a whole query, yields.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rowset {
    pub(super) columns: Vec<OutColumn>,
    /// There are columns, or there is an order of them, that is not known; this is where their values can come from.
    pub(super) rest: Option<Provenance>,
    /// Where the number of rows can come from, `WHERE` aside: arguments of set-returning functions, limits.
    pub(super) cardinality: Provenance,
    /// What decides which rows there are: every filter inside.
    pub(super) influence: Provenance,
}

/// A column by level, source and index.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Key {
    pub(super) level: usize,
    pub(super) source: usize,
    pub(super) column: usize,
}

/// One thing in `FROM`.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) alias: String,
    /// Schema by which it can be qualified; empty if it has an alias or is no relation.
    pub(super) schema: String,
    pub(super) rows: Rowset,
    /// Relations that it may be, when the catalogue knows none by that name.
    pub(super) unknown: Vec<String>,
}

/// One name in an unqualified `*`: a column, or several that `USING` merged.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) places: Vec<(usize, usize)>,
}

/// What comparing a column with something adds to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Extra {
    pub(super) from: Provenance,
    /// The comparison was not a plain equality of two columns: the value is not the other's, only tells of it.
    pub(super) derived: bool,
}

/// The `FROM` of one query.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) sources: Vec<Source>,
    pub(super) slots: Vec<Slot>,
    pub(super) extras: BTreeMap<(usize, usize), Extra>,
    pub(super) atoms: Vec<Atom>,
    /// Sources that were computed from columns of their siblings.
    pub(super) links: Vec<(usize, Vec<Key>)>,
    /// Sources before this one cannot be named where the walk is now.
    pub(super) visible_from: usize,
    /// What decides the number of rows, set-returning functions of the target list included.
    pub(super) cardinality: Provenance,
    /// What decides which rows there are.
    pub(super) influence: Provenance,
    /// Named windows, and what they order and partition by.
    pub(super) windows: Vec<(String, Provenance)>,
}

/// A condition that must hold for a row to come out, and the columns in it.
#[derive(Clone, Debug)]
pub(super) struct Atom {
    pub(super) keys: Vec<Key>,
    pub(super) from: Provenance,
    /// Plain equality of columns.
    pub(super) equality: bool,
}

impl Level {
    /// Where the value of a column of a source comes from, comparisons included.
    pub(super) fn provenance(&self, source: usize, column: usize) -> Provenance {
        let Some(rows) = self.sources.get(source).map(|found| &found.rows) else { return opaque() };
        let mut from = match rows.columns.get(column) {
            Some(found) => found.from.clone(),
            None => rows.rest.clone().unwrap_or_else(opaque),
        };
        if let Some(extra) = self.extras.get(&(source, column)) {
            let adds = extra.from.opaque || !extra.from.sources.is_subset(&from.sources);
            from.verbatim &= !(extra.derived && adds);
            from.sources.extend(extra.from.sources.iter().cloned());
            from.opaque |= extra.from.opaque;
        }
        from
    }
}

/// It may carry anything.
pub(super) fn opaque() -> Provenance {
    Provenance { opaque: true, ..Provenance::default() }
}

/// Adds sources to a derived value.
pub(super) fn absorb(into: &mut Provenance, from: &Provenance) {
    into.sources.extend(from.sources.iter().cloned());
    into.opaque |= from.opaque;
    into.verbatim = false;
}

/// The value of either: verbatim only if both are.
pub(super) fn either(left: &Provenance, right: &Provenance) -> Provenance {
    let empty = |p: &Provenance| p.sources.is_empty() && !p.opaque;
    Provenance {
        sources: left.sources.union(&right.sources).cloned().collect(),
        opaque: left.opaque || right.opaque,
        verbatim: (left.verbatim || empty(left))
            && (right.verbatim || empty(right))
            && (left.verbatim || right.verbatim),
    }
}

/// A source column itself.
pub(super) fn column(name: String) -> Provenance {
    Provenance { sources: [ColumnName(name)].into(), verbatim: true, opaque: false }
}

impl Rowset {
    /// Of which only the possible sources are known.
    pub(super) fn open(from: Provenance) -> Self {
        Self { rest: Some(from), ..Self::default() }
    }

    /// Everything it carries, as one value.
    pub(super) fn all(&self) -> Provenance {
        let mut from = self.rest.clone().unwrap_or_default();
        from.verbatim = false;
        for column in &self.columns {
            absorb(&mut from, &column.from);
        }
        from
    }

    /// The same rows under other column names. Where the order of columns is not known, each name may be any of them.
    pub(super) fn renamed(mut self, names: &[String]) -> Self {
        if self.rest.is_some() && !names.is_empty() {
            let all = self.all();
            self.columns =
                names.iter().map(|name| OutColumn { name: name.clone(), from: all.clone() }).collect();
            self.rest = Some(all);
            return self;
        }
        for (column, name) in self.columns.iter_mut().zip(names) {
            column.name.clone_from(name);
        }
        self
    }

    /// Rows of either, column by column, as `UNION` has them.
    pub(super) fn union(self, other: &Self) -> Self {
        let mut cardinality = self.cardinality.clone();
        absorb(&mut cardinality, &other.cardinality);
        let mut influence = self.influence.clone();
        absorb(&mut influence, &other.influence);
        if self.rest.is_some() || other.rest.is_some() || self.columns.len() != other.columns.len() {
            let mut from = self.all();
            absorb(&mut from, &other.all());
            let columns =
                self.columns.into_iter().map(|column| OutColumn { from: from.clone(), ..column }).collect();
            return Self { columns, rest: Some(from), cardinality, influence };
        }
        let both = self.columns.into_iter().zip(&other.columns);
        let columns =
            both.map(|(left, right)| OutColumn { from: either(&left.from, &right.from), name: left.name });
        Self { columns: columns.collect(), rest: None, cardinality, influence }
    }
}
