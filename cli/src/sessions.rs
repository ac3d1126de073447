//! `portcullis sessions`: who was there.

use crate::output::{Output, inline, utc};
use crate::rows::{Answerer, Columns, RowArguments, WHOSE, print};
use clap::Args;
use proxy_audit::query::{self, SessionSummary};
use std::process::ExitCode;

/// List recorded sessions.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis sessions --since 1h
  portcullis sessions --identity agent-7 --verdict deny
  portcullis sessions --detector Jwt --sort -masked --limit 10
  portcullis sessions --resource orders --claim repository=shop/api -o json
  portcullis sessions --from collector/audit.json -o csv")]
pub(crate) struct Arguments {
    #[command(flatten)]
    rows: RowArguments,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    arguments.rows.demand_verdict(&query::VERDICTS)?;
    let query = arguments.rows.query();
    let answerer = arguments.rows.answerer()?;
    let found = match &answerer {
        Answerer::Source(source) => query::sessions(source, &query)?,
        Answerer::Index(index) => index.sessions(&query)?,
    };
    print(&found, &COLUMNS, output)?;
    Ok(answerer.conclude())
}

const COLUMNS: Columns<SessionSummary> = Columns {
    header: &["SESSION", "USER", "RESOURCE", "ROLE", "START", "END", "COMMANDS", "DENIED", "HELD", "MASKED"],
    fields: &[
        &["id"],
        WHOSE,
        &["start", "last", "end", "reason", "statements", "allowed", "denied", "held", "masked"],
    ],
    cells: row,
    nothing: "no session fits",
};

/// The user's name, or the identifier where there is none.
pub(crate) fn user(session: &SessionSummary) -> String {
    inline(if session.user_name.is_empty() { &session.user } else { &session.user_name })
}

fn row(session: &SessionSummary) -> Vec<String> {
    let end = match (&session.reason, session.end) {
        (Some(reason), Some(_)) => inline(reason),
        _ => "open".to_owned(),
    };
    vec![
        inline(&session.id),
        user(session),
        inline(&format!("{}/{}", session.namespace, session.resource)),
        inline(&session.role),
        utc(session.start),
        end,
        session.statements.to_string(),
        session.denied.to_string(),
        session.held.to_string(),
        session.masked.to_string(),
    ]
}
