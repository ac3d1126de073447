//! `portcullis export`: how far the record has got to where it is delivered.

use crate::logs::LogArguments;
use crate::output::{Document, Output, printable, utc, warn};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use proxy_audit::archive;
use proxy_audit::export::{CURSOR, Undelivered, next_to_send, undelivered};
use proxy_audit::read::end;
use proxy_audit::verify::own_key;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// Show how far the record has got to an OpenTelemetry Collector and to an archive.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  portcullis export status
  portcullis export status --spool /var/lib/portcullis -o json")]
pub(crate) enum Command {
    Status(StatusArguments),
}

/// Show for each log what was sent and archived, what is still to be, and what the receiver refused.
///
/// From the disk alone; a gateway may be writing and sending. Exit codes: 0 all is delivered, 1 something is not
/// (yet), 3 that cannot be told.
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
    /// How far it has got to an archive, if it is delivered to one.
    archive: Option<Archive>,
}

#[derive(Debug, Serialize)]
struct Archive {
    #[serde(flatten)]
    standing: archive::Standing,
    /// Records that are not there.
    lag: u64,
}

pub(crate) fn run(command: &Command, output: &mut Output) -> anyhow::Result<ExitCode> {
    let Command::Status(arguments) = command;
    let logs = arguments.logs.directories()?;
    let standings = logs.iter().map(|log| standing(log)).collect::<anyhow::Result<Vec<_>>>()?;
    match output.format() {
        Document::Json => output.json(&standings)?,
        Document::Table => print(&standings, output)?,
    }
    let delivered = standings.iter().all(Standing::is_delivered);
    Ok(ExitCode::from(u8::from(!delivered)))
}

impl Standing {
    /// What is archived and never sent is delivered: not every gateway has a Collector.
    fn is_delivered(&self) -> bool {
        let archived = self.archive.as_ref().map(|archive| archive.lag == 0);
        let sent = (self.exported || archived.is_none()).then_some(self.lag == 0);
        sent.unwrap_or(true) && archived.unwrap_or(true) && self.undelivered.is_empty()
    }
}

fn standing(log: &Path) -> anyhow::Result<Standing> {
    let shown = log.display();
    let next = next_to_send(log).with_context(|| format!("read {CURSOR} of {shown}"))?;
    let undelivered = undelivered(log).with_context(|| format!("read what {shown} could not deliver"))?;
    let end = end(log)?;
    let archive =
        archive::standing(log).with_context(|| format!("read {} of {shown}", archive::ARCHIVE_CURSOR))?;
    let archive = archive.map(|standing| Archive { lag: end.saturating_sub(standing.next), standing });
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
        archive,
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
            log.archive.as_ref().map_or_else(|| "no".to_owned(), |archive| archive.standing.next.to_string()),
        ]
    });
    output.table(&["LOG", "SENT", "RECORDS", "LAG", "REFUSED", "ARCHIVED"], rows.collect())?;
    for log in standings {
        for range in &log.undelivered {
            output.line(&printable(&format!(
                "refused  {} of records {}..{} of {}, {}: {}",
                range.rejected,
                range.first,
                range.last,
                log.origin.as_deref().unwrap_or(&log.log),
                utc(range.time),
                range.why
            )))?;
        }
    }
    Ok(())
}
