//! `portcullis sessions`: who was there.

use crate::logs::LogArguments;
use crate::output::{Format, Output, local, printable};
use anyhow::Context as _;
use clap::Args;
use jiff::{SpanRelativeTo, Timestamp};
use proxy_audit::query::{self, Filter, SessionSummary};
use std::process::ExitCode;

/// List recorded sessions.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis sessions --since 1h
  portcullis sessions --identity agent-7 --verdict deny
  portcullis sessions --resource orders --claim repository=shop/api -o json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    logs: LogArguments,
    /// User as `issuer#subject`, subject, or user name.
    #[arg(long)]
    identity: Option<String>,
    /// A group of the user.
    #[arg(long)]
    group: Option<String>,
    /// Resource as `name` or `namespace/name`.
    #[arg(long)]
    resource: Option<String>,
    /// Not ended before: a time (`2026-11-23T08:00:00Z`) or an age (`2h`, `3 days`).
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Begun before: a time or an age.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// A command got this verdict.
    #[arg(long, value_parser = ["allow", "deny", "hold"])]
    verdict: Option<String>,
    /// A claim on its records.
    #[arg(long, value_name = "NAME=VALUE", value_parser = claim)]
    claim: Vec<(String, String)>,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let filter = Filter {
        identity: arguments.identity.clone(),
        group: arguments.group.clone(),
        resource: arguments.resource.clone(),
        since: arguments.since,
        until: arguments.until,
        verdict: arguments.verdict.clone(),
        claims: arguments.claim.clone(),
    };
    let sessions = query::sessions(&arguments.logs.directories()?, &filter).context("read audit logs")?;
    match output.format() {
        Format::Json => output.json(&sessions)?,
        Format::Table if sessions.is_empty() => output.line("no session fits")?,
        Format::Table => output.table(
            &["SESSION", "USER", "RESOURCE", "ROLE", "START", "END", "COMMANDS", "DENIED", "HELD", "MASKED"],
            sessions.iter().map(row).collect(),
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

fn row(session: &SessionSummary) -> Vec<String> {
    let user = if session.user_name.is_empty() { &session.user } else { &session.user_name };
    let end = match (&session.reason, session.end) {
        (Some(reason), Some(_)) => reason.clone(),
        _ => "open".to_owned(),
    };
    vec![
        session.id.clone(),
        printable(user),
        format!("{}/{}", session.namespace, session.resource),
        printable(&session.role),
        local(session.start),
        end,
        session.statements.to_string(),
        session.denied.to_string(),
        session.held.to_string(),
        session.masked.to_string(),
    ]
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
