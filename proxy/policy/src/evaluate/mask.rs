//! Which value gets which mask.
//!
//! The masks that count are those of every policy about the identity, in whatever mode. For an output column:
//! * some source matches a mask: masked. If the value is one source column's, unchanged, with that rule's own mask; if it
//!   was computed, or is a whole row, then redacted as a whole (or NULL where the rule says so), since a part of a
//!   computed value, or its hash, says something about other values;
//! * several masks match: the strictest, in the order Null, Redact, Hash, Token, Partial (fewer characters first);
//! * it may carry anything: redacted if the identity has any column mask at all.
//!
//! Where it is not known which column carries which source, every column gets the same answer.

use crds::v1alpha1::{Mask, MaskType};

use super::message;
use crate::compile::masking::ColumnMask;
use crate::{ColumnName, Command, Effects, Flow, MaskPlan, OutputMask, Outputs, PolicySet, Provenance};

/// The default of `keepLast`.
const KEEP_LAST: i32 = 4;

/// Column masks of one identity.
pub(super) struct Masking<'a> {
    set: &'a PolicySet,
    concerned: &'a [bool],
    /// Some mask applies to the identity.
    any: bool,
}

impl<'a> Masking<'a> {
    pub(super) fn new(set: &'a PolicySet, concerned: &'a [bool]) -> Self {
        let any =
            set.policies.iter().zip(concerned).any(|(policy, concerned)| *concerned && policy.masks_columns);
        Self { set, concerned, any }
    }

    /// The built-in rule by which masks refuse a command, and what the client is told.
    pub(super) fn refusal(&self, command: &Command) -> Option<(&'static str, String)> {
        if !self.any {
            return None;
        }
        self.masked_copy(command).or_else(|| self.masked_predicate(command))
    }

    /// Masks of all results. Detectors are for the caller to add.
    pub(super) fn plan(&self, command: &Command) -> MaskPlan {
        if !self.any {
            return MaskPlan {
                outputs: vec![OutputMask::Clear; command.reading.outputs.len()],
                ..MaskPlan::default()
            };
        }
        let outputs: Vec<_> = command.reading.outputs.iter().map(|output| self.output(output)).collect();
        // What cannot be told can touch anything, and say so in an error.
        let tainted = matches!(command.reading.effects, Effects::Unknown { .. })
            || outputs.iter().any(|output| *output != OutputMask::Clear)
            || command
                .reading
                .reads
                .iter()
                .chain(&command.reading.predicates)
                .any(|column| self.is_masked(column))
            || command.reading.flows.iter().any(|flow| self.mask(&flow.from).is_some());
        MaskPlan { outputs, tainted, ..MaskPlan::default() }
    }

    fn masked_copy(&self, command: &Command) -> Option<(&'static str, String)> {
        let flow = command
            .reading
            .flows
            .iter()
            .find(|flow| self.mask(&flow.from).is_some_and(|mask| !self.hides(flow, &mask)))?;
        let masked = flow.from.sources.iter().find(|source| self.is_masked(source));
        let from = masked
            .map_or("a value that may be masked".to_owned(), |column| format!("{column}, which is masked,"));
        Some(("masked-copy", message::masked_copy(&from, &flow.into.0, command)))
    }

    fn masked_predicate(&self, command: &Command) -> Option<(&'static str, String)> {
        command.reading.predicates.iter().find_map(|column| {
            let mask = self.hits(column).find(|mask| mask.guards_predicates)?;
            let policy = self.set.policies.get(mask.policy).map_or("", |policy| policy.name.as_str());
            Some(("masked-predicate", message::masked_predicate(&column.0, policy, command)))
        })
    }

    fn output(&self, output: &Outputs) -> OutputMask {
        match output {
            Outputs::None => OutputMask::Clear,
            Outputs::Unaligned(provenance) => {
                // Which value it is cannot be told, so neither can what part of it would be harmless.
                self.mask(provenance).map_or(OutputMask::Clear, |mask| OutputMask::Whole(whole(mask)))
            }
            Outputs::Columns(columns) => {
                let masks: Vec<_> = columns.iter().map(|column| self.mask(column)).collect();
                if masks.iter().all(Option::is_none) { OutputMask::Clear } else { OutputMask::Columns(masks) }
            }
        }
    }

    /// The mask of one value, if it needs one.
    fn mask(&self, provenance: &Provenance) -> Option<Mask> {
        if !self.any {
            return None;
        }
        let hits = provenance.sources.iter().flat_map(|source| self.hits(source)).map(|hit| &hit.mask);
        let strictest = hits.min_by_key(|mask| rank(mask)).cloned();
        let mut sources = provenance.sources.iter();
        let single =
            matches!((sources.next(), sources.next()), (Some(source), None) if !source.0.ends_with(".*"));
        match strictest {
            Some(mask) if provenance.verbatim && single && !provenance.opaque => Some(mask),
            Some(mask) => Some(whole(mask)),
            None if provenance.opaque => Some(Mask::default()),
            None => None,
        }
    }

    fn hits<'b>(&'b self, column: &'b ColumnName) -> impl Iterator<Item = &'b ColumnMask> {
        self.set.masks.hits(&column.0).filter(|mask| self.applies(mask))
    }

    pub(super) fn is_masked(&self, column: &ColumnName) -> bool {
        self.hits(column).next().is_some()
    }

    /// Whether what a value is stored in hides it as its own mask does. A mask that shows something of its values, or
    /// makes equal ones equal, does so only with a whole value: `repeat('x', 20) || left(email, 4)` under a mask that
    /// keeps the last four characters shows the first four.
    fn hides(&self, flow: &Flow, mask: &Mask) -> bool {
        let covers = self.set.masks.covers(&flow.into.0).filter(|mask| self.applies(mask));
        covers.map(|cover| &cover.mask).min_by_key(|cover| rank(cover)).is_some_and(|cover| {
            match cover.type_ {
                MaskType::Null | MaskType::Redact => true,
                // the value's own mask is weaker than redacting only if the value is a whole column's
                MaskType::Hash | MaskType::Token | MaskType::Partial => rank(mask) >= rank(cover),
            }
        })
    }

    fn applies(&self, mask: &ColumnMask) -> bool {
        self.concerned.get(mask.policy).copied().unwrap_or(false)
    }
}

/// A mask that leaves nothing of the value.
fn whole(mask: Mask) -> Mask {
    match mask.type_ {
        MaskType::Null | MaskType::Redact => mask,
        MaskType::Partial | MaskType::Hash | MaskType::Token => Mask::default(),
    }
}

/// Order of strictness, the strictest first.
fn rank(mask: &Mask) -> (u8, i32) {
    let kind = match mask.type_ {
        MaskType::Null => 0,
        MaskType::Redact => 1,
        MaskType::Hash => 2,
        MaskType::Token => 3,
        MaskType::Partial => 4,
    };
    (kind, mask.keep_last.unwrap_or(KEEP_LAST))
}
