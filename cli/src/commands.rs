//! `portcullis commands`: what was done, across sessions.

use crate::output::{Output, inline, judged, utc};
use crate::rows::{Answerer, Columns, RowArguments, WHOSE, print};
use crate::sessions::user;
use clap::Args;
use proxy_audit::query::{self, CommandRow};
use std::process::ExitCode;

/// List recorded commands, whoever's they were.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis commands --since 1h --verdict deny
  portcullis commands --text 'drop table' --identity agent-7
  portcullis commands --rule orders/no-drops --sort -duration --limit 20
  portcullis commands --detector Jwt -o ndjson | jq -r .session
  portcullis commands --index audit.index --resource default/orders --until 2026-11-01T00:00:00Z")]
pub(crate) struct Arguments {
    #[command(flatten)]
    rows: RowArguments,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    arguments.rows.demand_verdict(&query::VERDICTS)?;
    let query = arguments.rows.query();
    let answerer = arguments.rows.answerer()?;
    let found = match &answerer {
        Answerer::Source(source) => query::commands(source, &query)?,
        Answerer::Index(index) => index.commands(&query)?,
    };
    print(&found, &COLUMNS, output)?;
    Ok(answerer.conclude())
}

const COLUMNS: Columns<CommandRow> = Columns {
    header: &["TIME", "SESSION", "#", "USER", "RESOURCE", "VERDICT", "RULE", "OUTCOME", "ROWS", "COMMAND"],
    fields: &[
        &["session"],
        WHOSE,
        &[
            "sequence",
            "command",
            "time",
            "verdict",
            "rule",
            "operation",
            "text",
            "outcome",
            "status_code",
            "rows",
            "bytes",
            "duration_us",
            "masked",
        ],
    ],
    cells: row,
    nothing: "no command fits",
};

/// Most characters of a command in a table; the other forms have all of it.
pub(crate) const TEXT_SHOWN: usize = 120;

/// A text in one line, cut where it is too long for a table.
pub(crate) fn shortened(text: &str) -> String {
    let text = inline(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    match text.char_indices().nth(TEXT_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn row(row: &CommandRow) -> Vec<String> {
    let (session, command) = (&row.session, &row.command);
    let outcome = match (&command.outcome, &command.status_code) {
        (Some(outcome), Some(code)) => format!("{outcome} {code}"),
        (Some(outcome), None) => outcome.clone(),
        (None, _) => "none".to_owned(),
    };
    vec![
        utc(command.time),
        inline(&session.id),
        command.number.to_string(),
        user(session),
        inline(&format!("{}/{}", session.namespace, session.resource)),
        judged(&inline(&command.verdict)),
        inline(&command.rule),
        inline(&outcome),
        command.rows.map(|rows| rows.to_string()).unwrap_or_default(),
        shortened(&command.text),
    ]
}
