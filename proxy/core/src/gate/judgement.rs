//! A verdict, with what every record of it says: kept while its command comes again, as programs repeat themselves.

use super::record;
use crate::mask::Masker;
use crate::refusal::Refusal;
use crate::session::Wording;
use proxy_audit::Common;
use proxy_policy::{ApprovalTerms, Command, Evaluation, MaskPlan, Reading, RuleRef, Verdict};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// What is said of all commands with one reading, role and namespace.
#[derive(Debug)]
pub(super) struct Judgement {
    reading: Arc<Reading>,
    role: Arc<str>,
    namespace: Arc<str>,
    pub(super) said: Said,
    /// Everything in the record of the verdict that is no command's own.
    pub(super) common: Common,
    /// It is said as long as the policies are the same.
    constant: bool,
}

/// A verdict in the parts that the gate hands on.
#[derive(Debug)]
pub(super) enum Said {
    Allow(Arc<Clearance>),
    /// And what its client is told.
    Deny {
        rule: RuleRef,
        refusal: Refusal,
    },
    Hold {
        rule: RuleRef,
        terms: ApprovalTerms,
        message: String,
    },
}

/// Under which rule a command runs, and what is masked in its results.
#[derive(Debug)]
pub(super) struct Clearance {
    pub(super) rule: RuleRef,
    pub(super) mask: MaskPlan,
}

impl Judgement {
    /// `stale`: the refusal that this is the verdict of, if no policy made it.
    pub(super) fn new(
        command: &Command,
        evaluation: Evaluation,
        stale: Option<Refusal>,
        masker: &Masker,
        wording: Wording,
    ) -> Self {
        let said = match evaluation.verdict {
            Verdict::Allow { rule, mask } => Said::Allow(Arc::new(Clearance { rule, mask })),
            Verdict::Deny { rule, message } => {
                let refusal = stale.unwrap_or_else(|| Refusal::denied(rule.clone(), message));
                Said::Deny { rule, refusal }
            }
            Verdict::Hold { rule, terms, message, .. } => Said::Hold { rule, terms, message },
        };
        let common = record::common(command, &said, &evaluation.observed, masker, wording);
        Self {
            reading: Arc::clone(&command.reading),
            role: Arc::clone(&command.role),
            namespace: Arc::clone(&command.namespace),
            said,
            common,
            constant: evaluation.constant,
        }
    }

    fn is_about(&self, command: &Command) -> bool {
        (Arc::ptr_eq(&self.reading, &command.reading) || self.reading == command.reading)
            && self.role == command.role
            && self.namespace == command.namespace
    }
}

impl Said {
    /// The verdict in one word.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Deny { .. } => "deny",
            Self::Hold { .. } => "hold",
        }
    }

    /// The rule that gave it.
    pub(super) fn rule(&self) -> &RuleRef {
        match self {
            Self::Allow(clearance) => &clearance.rule,
            Self::Deny { rule, .. } | Self::Hold { rule, .. } => rule,
        }
    }
}

/// What a session's policies said lately; forget it when they change.
#[derive(Debug, Default)]
pub(super) struct Judgements {
    /// The last few, newest first.
    recent: VecDeque<Arc<Judgement>>,
    /// Whether any column is masked, and which of those that were asked about.
    any_column: Option<bool>,
    columns: HashMap<Box<str>, bool>,
}

impl Judgements {
    /// What is known to be said of a command, whatever the time is.
    pub(super) fn of(&self, command: &Command) -> Option<Arc<Judgement>> {
        self.recent.iter().find(|judgement| judgement.is_about(command)).map(Arc::clone)
    }

    /// Keeps a judgement in mind, if it stays true and is not large: many sessions may each keep some.
    pub(super) fn keep(&mut self, judgement: &Arc<Judgement>) {
        if judgement.constant && judgement.reading.masked_text.len() <= REMEMBERED_TEXT {
            self.recent.truncate(REMEMBERED.saturating_sub(1));
            self.recent.push_front(Arc::clone(judgement));
        }
    }

    /// Whether any column is masked, as `policies` say.
    pub(super) fn masks_columns(&mut self, policies: impl FnOnce() -> bool) -> bool {
        *self.any_column.get_or_insert_with(policies)
    }

    /// Whether a column is masked, as `policies` say.
    pub(super) fn masks_column(&mut self, column: &str, policies: impl FnOnce() -> bool) -> bool {
        if let Some(known) = self.columns.get(column) {
            return *known;
        }
        let masked = policies();
        if self.columns.len() >= REMEMBERED_COLUMNS {
            self.columns.clear();
        }
        self.columns.insert(column.into(), masked);
        masked
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// As many commands as the transaction of an ordinary program has.
const REMEMBERED: usize = 8;
/// As many columns as the tables of an ordinary program have.
const REMEMBERED_COLUMNS: usize = 256;
/// Bytes of a text that an ordinary program sends again and again.
const REMEMBERED_TEXT: usize = 16 * 1024;
