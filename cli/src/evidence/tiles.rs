//! `portcullis evidence tiles`: whole logs for the tools of others.

use crate::evidence::WholeLogArguments;
use crate::output::{Document, Output, printable};
use anyhow::Context as _;
use clap::Args;
use proxy_audit::evidence::write_tiles;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write whole logs in the form of transparency logs (C2SP tlog-tiles), each up to its newest checkpoint.
///
/// Any client of tlog-tiles reads and checks them, from the directory or from behind a server of static files; it needs
/// the log's public key (log.vkey), which you give it by another way. All records are in there, of every session.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis evidence tiles log-as-tiles --spool /var/lib/portcullis
  portcullis evidence tiles log-as-tiles --from s3://audit/prod")]
pub(crate) struct Arguments {
    /// The directory to write: 0, 1 and so on in it are the logs. It must not be there yet.
    directory: PathBuf,
    #[command(flatten)]
    logs: WholeLogArguments,
}

/// A log that was written.
#[derive(Serialize)]
struct Written {
    origin: String,
    records: u64,
    directory: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let logs = arguments.logs.open()?;
    let shown = arguments.directory.display();
    std::fs::create_dir(&arguments.directory).with_context(|| format!("create {shown}"))?;
    let mut all = Vec::new();
    for (number, log) in logs.directories.iter().enumerate() {
        let directory = arguments.directory.join(number.to_string());
        let signed =
            write_tiles(log, &directory).with_context(|| format!("write {}", directory.display()))?;
        all.push(Written { origin: signed.origin, records: signed.size, directory });
    }
    match output.format() {
        Document::Json => output.json(&all)?,
        Document::Table => {
            for one in &all {
                let (origin, directory) = (printable(&one.origin), one.directory.display());
                output.line(&format!("log     {origin}   {} records in {directory}", one.records))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
