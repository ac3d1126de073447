//! What a statement was found to mean at some time, and the union of two such findings: of a statement that the server
//! analysed then and runs now, nobody can tell from outside which of both its names stand for.

use super::Analysis;
use super::scope::{OutColumn, Rowset};
use super::state::{Prepared, StateChange};
use super::walk::Walk;
use proxy_policy::{Access, ColumnName, Effects, Flow, Outputs, Provenance, Reading, Touch};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What running one statement does, and the rows it returns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meant {
    touches: Vec<Touch>,
    unknown: Vec<String>,
    reads: BTreeSet<ColumnName>,
    predicates: BTreeSet<ColumnName>,
    flows: Vec<Flow>,
    pub(super) rows: Option<Rowset>,
}

impl Meant {
    /// What a text of one statement does.
    pub(super) fn of(reading: &Reading) -> Self {
        let (touches, unknown) = match &reading.effects {
            Effects::Known(touches) => (touches.clone(), Vec::new()),
            Effects::Unknown { why, touches } => (touches.clone(), vec![why.clone()]),
        };
        let column = |from: &Provenance| OutColumn { name: String::new(), from: from.clone() };
        let rows = match reading.outputs.last() {
            None | Some(Outputs::None) => None,
            Some(Outputs::Columns(columns)) => {
                Some(Rowset { columns: columns.iter().map(column).collect(), ..Rowset::default() })
            }
            Some(Outputs::Unaligned(from)) => Some(Rowset::open(from.clone())),
        };
        Self {
            touches,
            unknown,
            reads: reading.reads.clone(),
            predicates: reading.predicates.clone(),
            flows: reading.flows.clone(),
            rows,
        }
    }

    /// Either of two findings about one statement.
    pub(super) fn union(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for touch in &other.touches {
            add(&mut both.touches, touch.clone());
        }
        both.unknown.extend(other.unknown.iter().filter(|why| !self.unknown.contains(why)).cloned());
        both.reads.extend(other.reads.iter().cloned());
        both.predicates.extend(other.predicates.iter().cloned());
        both.flows.extend(other.flows.iter().filter(|flow| !self.flows.contains(flow)).cloned());
        both.rows = match (self.rows.clone(), &other.rows) {
            (Some(rows), Some(others)) => Some(rows.union(others)),
            (rows, others) => rows.or_else(|| others.clone()),
        };
        both
    }
}

/// Adds a touch, once; an unbounded one replaces a bounded one.
pub(super) fn add(touches: &mut Vec<Touch>, touch: Touch) {
    let same = |known: &&mut Touch| {
        known.effect == touch.effect && known.object == touch.object && known.name == touch.name
    };
    if let Some(known) = touches.iter_mut().find(same) {
        known.unbounded |= touch.unbounded;
        if touch.access == Access::Write {
            known.access = Access::Write;
        }
    } else {
        touches.push(touch);
    }
}

impl Walk<'_> {
    /// What a step of the walk finds, apart from everything around it.
    pub(super) fn finding(&mut self, step: impl FnOnce(&mut Self) -> Option<Rowset>) -> Meant {
        let around = self.set_apart();
        let rows = step(self);
        Meant { rows, ..self.put_back(around) }
    }

    fn set_apart(&mut self) -> Meant {
        Meant {
            touches: std::mem::take(&mut self.touches),
            unknown: std::mem::take(&mut self.unknown),
            reads: std::mem::take(&mut self.reads),
            predicates: std::mem::take(&mut self.predicates),
            flows: std::mem::take(&mut self.flows),
            rows: None,
        }
    }

    fn put_back(&mut self, around: Meant) -> Meant {
        let found = self.set_apart();
        let Meant { touches, unknown, reads, predicates, flows, rows: _ } = around;
        (self.touches, self.unknown, self.flows) = (touches, unknown, flows);
        (self.reads, self.predicates) = (reads, predicates);
        found
    }

    /// Takes a finding for what is done here, and returns its rows.
    pub(super) fn does(&mut self, meant: &Meant) -> Option<Rowset> {
        for touch in &meant.touches {
            self.add(touch.clone());
        }
        for why in &meant.unknown {
            self.give_up(why);
        }
        self.reads.extend(meant.reads.iter().cloned());
        self.predicates.extend(meant.predicates.iter().cloned());
        for flow in &meant.flows {
            if !self.flows.contains(flow) {
                self.flows.push(flow.clone());
            }
        }
        meant.rows.clone()
    }

    /// Running a prepared statement means whatever it has been found to mean since it was prepared, this time included.
    pub(super) fn found_again(&mut self, name: &str, prepared: &Prepared, now: &Meant) -> Option<Rowset> {
        let Some(meant) = prepared.gains(now) else { return self.does(&prepared.meant) };
        self.change(StateChange::Replanned { name: name.to_owned(), meant: Arc::clone(&meant) });
        self.does(&meant)
    }

    /// Forgets changes that are not made after all. What the server may have planned again stays planned.
    pub(super) fn forget_changes(&mut self, from: usize) {
        let mut index = 0_usize;
        self.changes.retain(|change| {
            index += 1;
            index <= from || matches!(change, StateChange::Replanned { .. })
        });
    }
}

impl Analysis {
    /// What its text means if each name may stand for this as well. The same analysis if that adds nothing.
    pub(crate) fn or(self: &Arc<Self>, then: &Meant) -> Arc<Self> {
        let reading = &self.command.reading;
        let now = Meant::of(reading);
        let both = now.union(then);
        let outputs = |meant: &Meant| super::run::outputs(meant.rows.as_ref());
        let rows = outputs(&both);
        if rows == outputs(&now) && (Meant { rows: None, ..both.clone() }) == (Meant { rows: None, ..now }) {
            return Arc::clone(self);
        }
        let mut analysis = Self::clone(self);
        let command = Arc::make_mut(&mut analysis.command);
        let mut added: Vec<String> = both.touches.iter().map(object).collect();
        added.retain(|line| !command.canonical.lines().any(|known| known == line));
        added.sort_unstable();
        for line in added {
            command.canonical.push('\n');
            command.canonical.push_str(&line);
        }
        let Meant { touches, unknown, reads, predicates, flows, rows: _ } = both;
        analysis.undoable &= unknown.is_empty() && touches.iter().all(super::run::is_undoable);
        let reading = Arc::make_mut(&mut command.reading);
        reading.changes |= !unknown.is_empty() || touches.iter().any(|touch| touch.access == Access::Write);
        reading.effects = effects(touches, &unknown);
        (reading.reads, reading.predicates, reading.flows) = (reads, predicates, flows);
        if let Some(outputs) = reading.outputs.last_mut() {
            *outputs = rows;
        }
        Arc::new(analysis)
    }

    /// What its text does, to be remembered.
    pub(crate) fn meant(&self) -> Meant {
        Meant::of(&self.command.reading)
    }
}

/// What is done, and why that may not be all.
pub(super) fn effects(touches: Vec<Touch>, unknown: &[String]) -> Effects {
    if unknown.is_empty() {
        Effects::Known(touches)
    } else {
        Effects::Unknown { why: unknown.join("; "), touches }
    }
}

/// The line of an effect digest that stands for a touch.
pub(super) fn object(touch: &Touch) -> String {
    format!("{} {} {touch}", touch.effect, touch.object)
}
