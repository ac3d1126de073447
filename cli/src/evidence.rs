//! `portcullis evidence`: to hand over what happened.

mod tiles;

use crate::identities::IdentityArguments;
use crate::logs::LogArguments;
use crate::output::{Document, Output, printable};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use proxy_audit::evidence::{Manifest, export};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tempfile::TempDir;

/// Hand over recorded sessions, or whole logs, with the proof that they are unchanged.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  portcullis evidence export 0199e2 --file evidence.tar
  portcullis verify evidence.tar --key gw-1.vkey
  portcullis evidence tiles log-as-tiles --from s3://audit/prod")]
pub(crate) enum Command {
    Export(ExportArguments),
    Tiles(tiles::Arguments),
}

/// Write an evidence bundle: the records of some sessions and of no others, proofs, checkpoint, key and manifest.
///
/// Who gets it verifies it alone, with `portcullis verify FILE --key VKEY`, and looks into it with `show`, `replay`
/// and `report`, `--from FILE`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis evidence export 0199e2 --file evidence.tar
  portcullis evidence export 0199e2 0199f7 --file evidence.tar --spool /var/lib/portcullis
  portcullis evidence export 0199e2 --file evidence.tar --from s3://audit/prod")]
pub(crate) struct ExportArguments {
    /// Identifiers of the sessions, or how they begin.
    #[arg(required = true)]
    sessions: Vec<String>,
    /// The bundle to write. An existing file is not touched.
    #[arg(short, long)]
    file: PathBuf,
    #[command(flatten)]
    logs: WholeLogArguments,
    /// With it, the bundle has the keys to the encrypted results of these sessions: whoever gets it can read them, and
    /// no others. Without it they stay encrypted for the auditors.
    #[command(flatten)]
    identities: IdentityArguments,
}

/// Where whole logs are.
#[derive(Args, Debug)]
struct WholeLogArguments {
    #[command(flatten)]
    spool: LogArguments,
    /// Take them from an archive instead of a spool: `s3://BUCKET[/PREFIX]`, `gs://BUCKET[/PREFIX]`,
    /// `az://CONTAINER[/PREFIX]` or `file:///DIRECTORY`. All logs below the address are fetched.
    #[arg(long, value_name = "URL")]
    from: Option<PathBuf>,
}

/// Directories of logs, of which some may be here for as long only.
struct Logs {
    directories: Vec<PathBuf>,
    _fetched: Option<TempDir>,
}

impl WholeLogArguments {
    fn open(&self) -> anyhow::Result<Logs> {
        let fetched = self.from.as_deref().map(fetch).transpose()?;
        let directories = match &fetched {
            Some(directory) => proxy_audit::read::logs(directory.path())?,
            None => self.spool.directories()?,
        };
        Ok(Logs { directories, _fetched: fetched })
    }
}

fn fetch(from: &Path) -> anyhow::Result<TempDir> {
    let location = crate::archive::location(from)?;
    let location = location.context("--from takes an archive: s3://, gs://, az:// or file://")?;
    crate::archive::fetch(&location, None)
}

pub(crate) fn run(command: &Command, output: &mut Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Export(arguments) => bundle(arguments, output),
        Command::Tiles(arguments) => tiles::run(arguments, output),
    }
}

fn bundle(arguments: &ExportArguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let logs = arguments.logs.open()?;
    let shown = arguments.file.display();
    let file = File::create_new(&arguments.file).with_context(|| format!("create {shown}"))?;
    let written = write(&logs.directories, arguments, file);
    if written.is_err() {
        // Half a bundle is none; that it cannot be removed is not worth more than the error that made it half.
        drop(std::fs::remove_file(&arguments.file));
    }
    let manifest = written.with_context(|| format!("write {shown}"))?;
    match output.format() {
        Document::Json => output.json(&manifest)?,
        Document::Table => {
            for line in lines(&manifest) {
                output.line(&line)?;
            }
            output.line(&format!("wrote {shown}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write(logs: &[PathBuf], arguments: &ExportArguments, file: File) -> anyhow::Result<Manifest> {
    let tool = (env!("CARGO_BIN_NAME"), env!("CARGO_PKG_VERSION"));
    let mut out = BufWriter::new(file);
    let manifest = export(logs, &arguments.sessions, tool, &arguments.identities.read()?, &mut out)?;
    out.flush()?;
    out.get_ref().sync_all()?;
    Ok(manifest)
}

fn lines(manifest: &Manifest) -> Vec<String> {
    let sessions = manifest.sessions.iter().map(|session| {
        let end = if session.ended { "" } else { ", still open" };
        format!("session {}   {} records{end}", printable(&session.id), session.records)
    });
    let logs = manifest.logs.iter().map(|log| {
        let unproved = match log.unproved {
            0 => String::new(),
            unproved => format!(", {unproved} of them newer than the checkpoint"),
        };
        format!(
            "log     {}   {} records under the checkpoint of size {}{unproved}",
            printable(&log.origin),
            log.records,
            log.size
        )
    });
    sessions.chain(logs).collect()
}
