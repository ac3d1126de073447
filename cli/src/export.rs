//! `portcullis export`: how far copies of the record have got.

use crate::logs::LogArguments;
use crate::output::{Document, Output, local, printable, warn};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use proxy_audit::export::{CURSOR, Undelivered, next_to_send, undelivered};
use proxy_audit::read::end;
use proxy_audit::verify::own_key;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// Show how far copies of the record have got to an OpenTelemetry Collector.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  portcullis export status
  portcullis export status --spool /var/lib/portcullis -o json")]
pub(crate) enum Command {
    Status(StatusArguments),
}

/// Show for each log what was sent, what is to be sent, and what the receiver refused.
///
/// From the disk alone; a gateway may be writing and sending. Exit codes: 0 all is delivered, 1 something is not (yet).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis export status
  portcullis export status -o json | jq '.[].undelivered[]'")]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    logs: LogArguments,
}

#[derive(Debug, Serialize)]
struct Standing {
    log: String,
    origin: Option<String>,
    /// Whether copies were ever sent.
    exported: bool,
    /// Number of the next record to send.
    next: u64,
    /// Number of the record after the last.
    end: u64,
    /// Records to send.
    lag: u64,
    /// Records that were refused, by the receiver's count.
    rejected: u64,
    /// What was refused.
    undelivered: Vec<Undelivered>,
}

pub(crate) fn run(command: &Command, output: &mut Output) -> anyhow::Result<ExitCode> {
    let Command::Status(arguments) = command;
    let logs = arguments.logs.directories()?;
    let standings = logs.iter().map(|log| standing(log)).collect::<anyhow::Result<Vec<_>>>()?;
    match output.format() {
        Document::Json => output.json(&standings)?,
        Document::Table => print(&standings, output)?,
    }
    let delivered = standings.iter().all(|log| log.lag == 0 && log.undelivered.is_empty());
    Ok(ExitCode::from(u8::from(!delivered)))
}

fn standing(log: &Path) -> anyhow::Result<Standing> {
    let shown = log.display();
    let next = next_to_send(log).with_context(|| format!("read {CURSOR} of {shown}"))?;
    let undelivered = undelivered(log).with_context(|| format!("read what {shown} could not deliver"))?;
    let end = end(log)?;
    if next > end {
        warn(&format!("{shown}: {next} records were sent, {end} are there: run portcullis verify"));
    }
    Ok(Standing {
        log: shown.to_string(),
        origin: own_key(log)?.map(|key| key.name().to_owned()),
        exported: log.join(CURSOR).exists(),
        next,
        end,
        lag: end.saturating_sub(next),
        rejected: undelivered.iter().map(|range| range.rejected).sum(),
        undelivered,
    })
}

fn print(standings: &[Standing], output: &mut Output) -> anyhow::Result<()> {
    let rows = standings.iter().map(|log| {
        vec![
            printable(log.origin.as_deref().unwrap_or(&log.log)),
            if log.exported { log.next.to_string() } else { "never".to_owned() },
            log.end.to_string(),
            log.lag.to_string(),
            log.rejected.to_string(),
        ]
    });
    output.table(&["LOG", "SENT", "RECORDS", "LAG", "REFUSED"], rows.collect())?;
    for log in standings {
        for range in &log.undelivered {
            output.line(&printable(&format!(
                "refused  {} of records {}..{} of {}, {}: {}",
                range.rejected,
                range.first,
                range.last,
                log.origin.as_deref().unwrap_or(&log.log),
                local(range.time),
                range.why
            )))?;
        }
    }
    Ok(())
}
