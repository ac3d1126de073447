//! In which order, and how many.

use crate::query::{ApprovalRow, CommandRow, Filter, SessionSummary};
use std::cmp::Ordering;
use std::str::FromStr;

/// What to order by. Of what a row does not have, time is taken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sort {
    /// When it was; of a session, when it began.
    #[default]
    Time,
    /// Whose it is.
    User,
    /// Where, `namespace/name`.
    Resource,
    /// The verdict, by name.
    Verdict,
    /// The rule that decided.
    Rule,
    /// How long a command took; how long a session lasted.
    Duration,
    /// Rows of a command's result.
    Rows,
    /// Commands of a session.
    Commands,
    /// Denied commands of a session.
    Denied,
    /// Held commands of a session.
    Held,
    /// Results of a session in which something was masked.
    Masked,
}

/// An order: `time`, `-time` for the newest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    /// By what.
    pub by: Sort,
    /// The largest first.
    pub descending: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self { by: Sort::Time, descending: true }
    }
}

/// Names of what can be ordered by.
pub const SORTS: &[(&str, Sort)] = &[
    ("time", Sort::Time),
    ("user", Sort::User),
    ("resource", Sort::Resource),
    ("verdict", Sort::Verdict),
    ("rule", Sort::Rule),
    ("duration", Sort::Duration),
    ("rows", Sort::Rows),
    ("commands", Sort::Commands),
    ("denied", Sort::Denied),
    ("held", Sort::Held),
    ("masked", Sort::Masked),
];

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let by = SORTS.iter().find(|(known, _)| *known == name).map(|(_, by)| *by);
        by.map(|by| Self { by, descending }).ok_or_else(|| {
            let names: Vec<&str> = SORTS.iter().map(|(name, _)| *name).collect();
            format!("one of {}, with - before it for the largest first", names.join(", "))
        })
    }
}

/// A question.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// What fits.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// At most so many, the first in that order; `None`: all.
    pub limit: Option<usize>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// The rows, in order.
    pub rows: Vec<T>,
    /// More fit than the limit lets through.
    pub more: bool,
}

/// Keeps the first rows in an order, in memory for twice the limit.
#[derive(Debug)]
pub(super) struct Top<T> {
    order: Order,
    limit: Option<usize>,
    rows: Vec<T>,
    more: bool,
}

impl<T: Sortable> Top<T> {
    pub(super) fn new(query: &Query) -> Self {
        Self { order: query.order, limit: query.limit, rows: Vec::new(), more: false }
    }

    pub(super) fn push(&mut self, row: T) {
        self.rows.push(row);
        if self.limit.is_some_and(|limit| self.rows.len() >= 2 * limit.max(512)) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let order = self.order;
        self.rows.sort_by(|one, other| {
            let ordering = one.compare(other, order.by).then_with(|| one.compare(other, Sort::Time));
            if order.descending { ordering.reverse() } else { ordering }
        });
        if let Some(limit) = self.limit.filter(|limit| *limit < self.rows.len()) {
            self.rows.truncate(limit);
            self.more = true;
        }
    }

    pub(super) fn finish(mut self) -> Found<T> {
        self.cut();
        Found { rows: self.rows, more: self.more }
    }
}

pub(super) trait Sortable {
    fn compare(&self, other: &Self, by: Sort) -> Ordering;
}

fn place(session: &SessionSummary) -> (&str, &str) {
    (&session.namespace, &session.resource)
}

impl Sortable for SessionSummary {
    fn compare(&self, other: &Self, by: Sort) -> Ordering {
        match by {
            Sort::User => self.user_name.cmp(&other.user_name).then_with(|| self.user.cmp(&other.user)),
            Sort::Resource => place(self).cmp(&place(other)),
            Sort::Duration => self.lasted().cmp(&other.lasted()),
            Sort::Commands => self.statements.cmp(&other.statements),
            Sort::Denied => self.denied.cmp(&other.denied),
            Sort::Held => self.held.cmp(&other.held),
            Sort::Masked => self.masked.cmp(&other.masked),
            Sort::Time | Sort::Verdict | Sort::Rule | Sort::Rows => {
                (self.start, &self.id).cmp(&(other.start, &other.id))
            }
        }
    }
}

impl Sortable for CommandRow {
    fn compare(&self, other: &Self, by: Sort) -> Ordering {
        let (one, two) = (&self.command, &other.command);
        match by {
            Sort::User => self.session.compare(&other.session, Sort::User),
            Sort::Resource => place(&self.session).cmp(&place(&other.session)),
            Sort::Verdict => one.verdict.cmp(&two.verdict),
            Sort::Rule => one.rule.cmp(&two.rule),
            Sort::Duration => one.duration_us.cmp(&two.duration_us),
            Sort::Rows => one.rows.cmp(&two.rows),
            Sort::Masked => one.masked.len().cmp(&two.masked.len()),
            Sort::Time | Sort::Commands | Sort::Denied | Sort::Held => {
                (one.time, &self.session.log, one.sequence).cmp(&(two.time, &other.session.log, two.sequence))
            }
        }
    }
}

impl Sortable for ApprovalRow {
    fn compare(&self, other: &Self, by: Sort) -> Ordering {
        match by {
            Sort::User => self.session.compare(&other.session, Sort::User),
            Sort::Resource => place(&self.session).cmp(&place(&other.session)),
            Sort::Verdict => self.approval.verdict.cmp(&other.approval.verdict),
            Sort::Rule => self.rule.cmp(&other.rule),
            Sort::Time
            | Sort::Duration
            | Sort::Rows
            | Sort::Commands
            | Sort::Denied
            | Sort::Held
            | Sort::Masked => (self.approval.time, &self.session.log, self.sequence).cmp(&(
                other.approval.time,
                &other.session.log,
                other.sequence,
            )),
        }
    }
}
