//! `portcullis approvals`: what is on record about approvals. What waits for one now, `requests` shows.

use crate::commands::shortened;
use crate::output::{Output, inline, judged, utc};
use crate::rows::{Answerer, Columns, RowArguments, WHOSE, print};
use crate::sessions::user;
use clap::Args;
use proxy_audit::query::{self, ApprovalRow};
use std::process::ExitCode;

/// List what is on record about approvals: asked for, decided, used.
///
/// What waits for an approval now, `portcullis requests` lists.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis approvals --since 7d
  portcullis approvals --verdict approved --text delete
  portcullis approvals --identity agent-7 -o csv")]
pub(crate) struct Arguments {
    #[command(flatten)]
    rows: RowArguments,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    arguments.rows.demand_verdict(&query::APPROVAL_VERDICTS)?;
    let query = arguments.rows.query();
    let answerer = arguments.rows.answerer()?;
    let found = match &answerer {
        Answerer::Source(source) => query::approvals(source, &query)?,
        Answerer::Index(index) => index.approvals(&query)?,
    };
    print(&found, &COLUMNS, output)?;
    Ok(answerer.conclude())
}

const COLUMNS: Columns<ApprovalRow> = Columns {
    header: &["TIME", "SESSION", "#", "USER", "RESOURCE", "VERDICT", "BY", "RULE", "REQUEST", "COMMAND"],
    fields: &[
        &["session"],
        WHOSE,
        &["sequence", "command", "time", "name", "verdict", "approvers", "rule", "text"],
    ],
    cells: row,
    nothing: "no approval fits",
};

fn row(row: &ApprovalRow) -> Vec<String> {
    let session = &row.session;
    vec![
        utc(row.approval.time),
        inline(&session.id),
        row.command.to_string(),
        user(session),
        inline(&format!("{}/{}", session.namespace, session.resource)),
        judged(&inline(&row.approval.verdict)),
        inline(&row.approval.approvers.join(", ")),
        inline(&row.rule),
        inline(&row.approval.name),
        shortened(&row.text),
    ]
}
