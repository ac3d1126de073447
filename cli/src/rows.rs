//! Lists of what is on record: the filters they share, and how they are printed.

use crate::index::Index;
use crate::logs::SourceArguments;
use crate::output::{Format, Output, Usage, warn};
use crate::salvage::Salvaged;
use clap::Args;
use jiff::{SpanRelativeTo, Timestamp};
use proxy_audit::query::{Filter, Found, Order, Query};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Filters, order and number.
#[derive(Args, Debug)]
pub(crate) struct RowArguments {
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    /// An index of the spool, made and kept up to date here: answers over millions of records in less than a second.
    /// It is derived: it can be removed at any time, and proves nothing.
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_INDEX", conflicts_with = "from")]
    index: Option<PathBuf>,
    /// User as `issuer#subject`, subject, or user name.
    #[arg(long)]
    identity: Option<String>,
    /// A group of the user.
    #[arg(long)]
    group: Option<String>,
    /// A claim on the session's records.
    #[arg(long, value_name = "NAME=VALUE", value_parser = claim)]
    claim: Vec<(String, String)>,
    /// Resource as `name` or `namespace/name`.
    #[arg(long)]
    resource: Option<String>,
    /// Identifier of a session, or how it begins.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Not before: a time (`2026-11-23T08:00:00Z`) or an age (`2h`, `3 days`). Of a session: not ended before.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before: a time or an age. Of a session: begun before.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// The verdict on a command: `allow`, `deny`, `hold`; of an approval: `requested`, `approved`, `denied`,
    /// `expired`, `withdrawn`, `left` (to be repeated), `claimed`.
    #[arg(long)]
    verdict: Option<String>,
    /// The rule that decided, as `rule` or `policy/rule`.
    #[arg(long)]
    rule: Option<String>,
    /// Part of a command's masked text; upper and lower case are the same.
    #[arg(long)]
    text: Option<String>,
    /// Something that was masked: a detector (`Jwt`) or a column (`public.users.email`).
    #[arg(long, value_name = "NAME")]
    detector: Option<String>,
    /// `time`, `user`, `resource`, `verdict`, `rule`, `duration`, `rows`, `commands`, `denied`, `held` or `masked`;
    /// `-` before it for the largest first.
    #[arg(long, value_name = "FIELD", default_value = "-time", allow_hyphen_values = true)]
    sort: Order,
    /// At most so many, the first in the order; 0 for all.
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
}

/// Who answers.
pub(crate) enum Answerer {
    /// The records themselves.
    Source(Salvaged),
    /// An index of them, up to date.
    Index(Box<Index>),
}

impl Answerer {
    /// Says what the answer lacks; gives the exit code.
    pub(crate) fn conclude(&self) -> ExitCode {
        match self {
            Self::Source(source) => source.conclude(),
            Self::Index(_) => ExitCode::SUCCESS,
        }
    }
}

impl RowArguments {
    /// Refuses a verdict that the list cannot have.
    pub(crate) fn demand_verdict(&self, known: &[&str]) -> anyhow::Result<()> {
        match &self.verdict {
            Some(verdict) if !known.contains(&verdict.as_str()) => {
                Err(Usage::error(format!("--verdict {verdict}: one of {}", known.join(", "))))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn query(&self) -> Query {
        let filter = Filter {
            identity: self.identity.clone(),
            group: self.group.clone(),
            resource: self.resource.clone(),
            since: self.since,
            until: self.until,
            claims: self.claim.clone(),
            session: self.session.clone(),
            verdict: self.verdict.clone(),
            rule: self.rule.clone(),
            text: self.text.clone(),
            detector: self.detector.clone(),
        };
        Query { filter, order: self.sort, limit: (self.limit > 0).then_some(self.limit) }
    }

    pub(crate) fn answerer(&self) -> anyhow::Result<Answerer> {
        Ok(match &self.index {
            Some(path) => {
                let mut index = Index::open(path)?;
                index.refresh(&self.source.logs.directories()?)?;
                Answerer::Index(Box::new(index))
            }
            None => Answerer::Source(Salvaged::new(self.source.open()?)),
        })
    }
}

/// Fields that every row has: whose session it is of, with what, and where that is on record.
pub(crate) const WHOSE: &[&str] =
    &["user", "user_name", "groups", "claims", "namespace", "resource", "protocol", "role", "log"];

/// How a list looks as a table.
pub(crate) struct Columns<T> {
    /// Header.
    pub(crate) header: &'static [&'static str],
    /// The fields of its JSON form, as CSV has them, in their order.
    pub(crate) fields: &'static [&'static [&'static str]],
    /// The cells of one row.
    pub(crate) cells: fn(&T) -> Vec<String>,
    /// What is said when nothing fits.
    pub(crate) nothing: &'static str,
}

/// Prints an answer in the form that was asked for.
pub(crate) fn print<T: Serialize>(
    found: &Found<T>,
    columns: &Columns<T>,
    output: &mut Output,
) -> anyhow::Result<()> {
    let cells = || found.rows.iter().map(columns.cells);
    match output.form() {
        Format::Json => output.json(&found.rows)?,
        Format::Ndjson => found.rows.iter().try_for_each(|row| output.json_line(row))?,
        Format::Csv => output.csv(&columns.fields.concat(), &found.rows)?,
        Format::Table if found.rows.is_empty() => output.line(columns.nothing)?,
        Format::Table => output.table(columns.header, cells().collect())?,
    }
    if found.more {
        warn(&format!("only the first {} are shown (--limit)", found.rows.len()));
    }
    Ok(())
}

/// A point in time, or an age counted back from now.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let now = Timestamp::now();
    let age = text.parse::<jiff::Span>().map_err(|error| format!("neither a time nor an age: {error}"))?;
    age.to_duration(SpanRelativeTo::days_are_24_hours())
        .and_then(|age| now.checked_sub(age))
        .map_err(|error| error.to_string())
}

fn claim(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a claim is given as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages_are_understood() {
        assert_eq!(time("1970-01-01T00:00:00Z"), Ok(Timestamp::UNIX_EPOCH));
        for age in ["2h", "3 days", "90m"] {
            assert!(time(age).unwrap() < Timestamp::now(), "{age}");
        }
        assert!(time("yesterday-ish").is_err());
    }
}
