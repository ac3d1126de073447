//! `portcullis report`: one session as one page that can be attached to a ticket.
//!
//! `items` puts the session together, `page` makes HTML of it. The page needs nothing but itself: its style and script
//! are in it and allowed by their digests, everything else is forbidden to it. Without its script it can be read; with
//! it, recorded terminals can be played.

mod html;
mod items;
mod page;

use crate::identities::IdentityArguments;
use crate::logs::{Kind, SourceArguments};
use crate::output::{Document, Output};
use crate::replay::steps;
use crate::verify::read_key;
use anyhow::Context as _;
use clap::Args;
use items::items;
use proxy_audit::evidence::Bundle;
use proxy_audit::note::LogKey;
use proxy_audit::query;
use proxy_audit::source::{OtlpSource, Part};
use proxy_audit::verify::{Report, given_key, own_key, verify, verify_bundle, verify_otlp};
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a session as one HTML page: timeline, verdicts, approvals, results, and whether the record is unchanged.
///
/// The page needs no network and no other file, is readable without scripts, and plays recorded terminals with them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis report 0199e2 --html session.html
  portcullis report 0199e2 --html session.html --from evidence.tar --key gw-1.vkey")]
pub(crate) struct Arguments {
    /// Identifier of the session, or how it begins.
    session: String,
    /// The page to write. An existing one is replaced.
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    identities: IdentityArguments,
    /// The log's public key, or a file with it, as for `verify`.
    #[arg(long, value_name = "VKEY")]
    key: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let opened = arguments.identities.open_with_chunks(&arguments.source)?;
    let session = query::session(&opened.source, &arguments.session)?;
    let steps = steps(&opened, &arguments.session)?;
    let keys = arguments.key.iter().map(|key| read_key(key)).collect::<anyhow::Result<Vec<_>>>()?;
    let report = report(&arguments.source, &keys, &session.summary.log)?;
    let page = page::page(&session, &items(&session, &steps), report.as_ref());
    let shown = arguments.html.display();
    std::fs::write(&arguments.html, page).with_context(|| format!("write {shown}"))?;
    let outcome = report.map(|report| report.outcome);
    match output.format() {
        Document::Json => output.json(&serde_json::json!({
            "session": session.summary.id, "html": arguments.html, "verification": outcome,
        }))?,
        Document::Table => output.line(&format!("wrote {shown}"))?,
    }
    Ok(opened.source.conclude())
}

/// What verification says of the log that the session is in; nothing, of a backend.
fn report(source: &SourceArguments, keys: &[LogKey], origin: &str) -> anyhow::Result<Option<Report>> {
    if let Some(path) = source.from.first()
        && crate::backend::open(path)?.is_some()
    {
        return Ok(None);
    }
    let kind = source.from.first().map(|path| Kind::of(path)).transpose()?;
    let reports = match (kind, source.from.first()) {
        (Some(Kind::Bundle), Some(path)) => verify_bundle(&Bundle::open(path)?, keys)?,
        (Some(Kind::Otlp), _) => {
            let parts = source.from.iter().cloned().map(Part::whole).collect();
            verify_otlp(&OtlpSource::new(parts), keys)?
        }
        (Some(Kind::Directory), Some(path)) => of_log(&proxy_audit::read::logs(path)?, keys, origin)?,
        (Some(Kind::Archive), Some(path)) => match crate::archive::location(path)? {
            Some(location) => {
                let fetched = crate::archive::fetch(&location, Some(origin))?;
                of_log(&proxy_audit::read::logs(fetched.path())?, keys, origin)?
            }
            None => Vec::new(),
        },
        (_, _) => of_log(&source.logs.directories()?, keys, origin)?,
    };
    Ok(reports.into_iter().find(|report| report.origin.as_deref() == Some(origin)))
}

fn of_log(logs: &[PathBuf], keys: &[LogKey], origin: &str) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for log in logs {
        if own_key(log)?.is_some_and(|key| key.name() == origin) {
            reports.push(verify(log, given_key(log, keys)?.as_ref())?);
        }
    }
    Ok(reports)
}
