//! `portcullis verify`: is the record whole and unchanged?

use crate::logs::{Kind, LogArguments};
use crate::output::{Document, Output, complain, judged, printable};
use anyhow::{Context as _, bail};
use clap::Args;
use proxy_audit::evidence::Bundle;
use proxy_audit::note::{LogKey, SignedCheckpoint};
use proxy_audit::source::{OtlpSource, Part};
use proxy_audit::verify::{
    Outcome, Report, Subject, choose_key, compare_logs, verify_bundle, verify_otlp, verify_with,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check audit logs, exported copies or evidence: chain, Merkle tree, signed checkpoints.
///
/// Works offline. Exit codes: 0 whole and unchanged, 1 tampered, 2 incomplete, 3 cannot be verified. With several
/// logs, the worst.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis verify --spool /var/lib/portcullis
  portcullis verify --spool ./state/audit/orders/gw-1 --key gw-1.vkey
  portcullis verify --seen collector/audit.json --key gw-1.vkey
  portcullis verify collector/audit.json --key gw-1.vkey
  portcullis verify evidence.tar --key gw-1.vkey
  portcullis verify -o json | jq '.[] | select(.outcome != \"ok\")'")]
pub(crate) struct Arguments {
    /// Check these instead of a spool: files as an OpenTelemetry Collector's file exporter writes them (JSON), or one
    /// evidence bundle.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    logs: LogArguments,
    /// The log's public key, or a file with it, kept where whoever can write the log cannot. Without it the key beside
    /// the log is used, and a log signed anew with another key is not found. Once for each log.
    #[arg(long, value_name = "VKEY")]
    key: Vec<String>,
    /// Checkpoints that were kept elsewhere: exported copies (OTLP JSON) or a file with a signed note. A log that was
    /// rolled back with its checkpoints, or written anew with its own key, does not have their roots.
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    seen: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    match reports(arguments) {
        Ok(reports) => {
            match output.format() {
                Document::Json => output.json(&reports)?,
                Document::Table => {
                    for line in reports.iter().flat_map(lines) {
                        output.line(&line)?;
                    }
                }
            }
            Ok(ExitCode::from(worst(&reports).exit_code()))
        }
        Err(error) => {
            complain(&error);
            Ok(ExitCode::from(Outcome::CannotVerify.exit_code()))
        }
    }
}

fn reports(arguments: &Arguments) -> anyhow::Result<Vec<Report>> {
    let keys = arguments.key.iter().map(|key| read_key(key)).collect::<anyhow::Result<Vec<_>>>()?;
    let kinds = arguments.files.iter().map(|file| Kind::of(file)).collect::<anyhow::Result<Vec<_>>>()?;
    match (arguments.files.as_slice(), kinds.as_slice()) {
        ([], _) => {
            let logs = arguments.logs.directories()?;
            // Whoever asks about one log does not ask about the others.
            of_logs(&logs, &keys, &seen(&arguments.seen)?, !arguments.logs.is_one_log(&logs))
        }
        ([directory], [Kind::Directory]) => {
            let logs = proxy_audit::read::logs(directory)?;
            of_logs(&logs, &keys, &[], !logs.contains(directory))
        }
        ([bundle], [Kind::Bundle]) => Ok(verify_bundle(&Bundle::open(bundle)?, &keys)?),
        (files, kinds) if kinds.iter().all(|kind| *kind == Kind::Otlp) => {
            let source = OtlpSource::new(files.iter().cloned().map(Part::whole).collect());
            let mut reports = verify_otlp(&source, &keys)?;
            if reports.is_empty() {
                bail!("no record of an audit log in these files");
            }
            compare_logs(&mut reports);
            Ok(reports)
        }
        _ => bail!("verify takes one directory, one evidence bundle, or files of OTLP JSON"),
    }
}

/// The checkpoints in these files.
fn seen(files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut notes = Vec::new();
    for file in files {
        if Kind::of(file).is_ok_and(|kind| kind == Kind::Otlp) {
            notes.extend(OtlpSource::new(vec![Part::whole(file.clone())]).checkpoints()?);
        } else {
            let note = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
            SignedCheckpoint::parse(&note).with_context(|| format!("read {}", file.display()))?;
            notes.push(note);
        }
    }
    Ok(notes)
}

fn of_logs(logs: &[PathBuf], keys: &[LogKey], seen: &[String], compare: bool) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for log in logs {
        // The only key there is is meant for every log, so that a log that is not the key's is found out.
        let own = proxy_audit::verify::own_key(log).with_context(|| format!("verify {}", log.display()))?;
        let key = choose_key(keys, own.as_ref().map_or("", LogKey::name));
        reports.push(verify_with(log, key, seen).with_context(|| format!("verify {}", log.display()))?);
    }
    if compare {
        compare_logs(&mut reports);
    }
    Ok(reports)
}

pub(crate) fn read_key(key: &str) -> anyhow::Result<LogKey> {
    if let Ok(key) = LogKey::parse(key) {
        return Ok(key);
    }
    let text = std::fs::read_to_string(Path::new(key)).with_context(|| format!("read key {key}"))?;
    LogKey::parse(&text).with_context(|| format!("read key {key}"))
}

/// Tampering outweighs all; then what cannot be verified, then what is incomplete.
fn worst(reports: &[Report]) -> Outcome {
    let has = |outcome: &Outcome| reports.iter().any(|report| report.outcome == *outcome);
    [Outcome::Tampered, Outcome::CannotVerify, Outcome::Incomplete]
        .into_iter()
        .find(has)
        .unwrap_or(Outcome::Ok)
}

fn lines(report: &Report) -> Vec<String> {
    let holes = report.first_bad().is_some() || report.problems.iter().any(|problem| problem.first.is_some());
    let origin = report.origin.as_deref().unwrap_or("unknown");
    let key = match (&report.key, report.key_pinned) {
        (Some(key), true) => format!("key {key} as given"),
        (Some(key), false) => format!("key {key} found beside the records"),
        (None, _) => "no key".to_owned(),
    };
    let mut lines = vec![
        format!("log      {}   ({})", printable(origin), report.log.display()),
        format!(
            "records  {}   seq {}..{}   {}",
            report.records,
            report.first,
            report.end.saturating_sub(1),
            match (holes, report.subject == Subject::Bundle) {
                (true, _) => "see below",
                (false, true) => "each proved by the checkpoint, sessions gap-free",
                (false, false) => "gap-free, chain OK, merkle OK",
            }
        ),
        format!(
            "sessions {}   {} open, {} ended by crash recovery",
            report.sessions, report.open_sessions, report.crash_recovered
        ),
        format!(
            "checkpt  {} signatures OK   {key}   max gap {:.3} s",
            report.checkpoints, report.max_checkpoint_gap_seconds
        ),
        format!("results  {} parts recorded", report.result_chunks),
    ];
    lines.push(if report.clock_back_ms > 0 {
        format!("clock    went back by up to {} ms", report.clock_back_ms)
    } else {
        "clock    monotone".to_owned()
    });
    lines.push(match report.tail() {
        0 if report.subject == Subject::Bundle => {
            "tail     no record is newer than the checkpoint".to_owned()
        }
        0 if report.seen > 0 => {
            format!(
                "tail     all records are under a signed checkpoint, {} kept elsewhere agree",
                report.seen
            )
        }
        0 => "tail     all records are under a signed checkpoint (none from elsewhere, --seen)".to_owned(),
        tail => format!("tail     {tail} records after the last signed checkpoint"),
    });
    lines.extend(conclusion(report));
    lines
}

/// The answer, and what is wrong.
fn conclusion(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    let word = match report.outcome {
        Outcome::Ok => "OK",
        Outcome::Tampered => "TAMPERED",
        Outcome::Incomplete => "INCOMPLETE",
        Outcome::CannotVerify => "CANNOT VERIFY",
    };
    let writing = if report.being_written { "   (a gateway is writing it)" } else { "" };
    lines.push(format!("RESULT   {}{writing}", judged(word)));
    if let Some(first) = report.first_bad() {
        lines.push(format!("FIRST BAD {}", printable(&first.what)));
    }
    let shown = report.problems.iter().take(PROBLEMS_SHOWN);
    lines.extend(shown.map(|problem| format!("  - {}", printable(&problem.what))));
    if report.problems.len() > PROBLEMS_SHOWN {
        lines.push(format!("  and {} more (-o json shows all)", report.problems.len() - PROBLEMS_SHOWN));
    }
    lines.push(String::new());
    lines
}

const PROBLEMS_SHOWN: usize = 20;
