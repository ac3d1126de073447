//! `portcullis verify`: is the record whole and unchanged?

use crate::logs::{Kind, LogArguments};
use crate::output::{Document, Output, complain, inline, judged, utc};
use crate::witness::{ask, read_witness_key};
use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;
use proxy_audit::archive::INVENTORIES;
use proxy_audit::evidence::Bundle;
use proxy_audit::inventory::INVENTORY;
use proxy_audit::note::cosignature::WitnessKey;
use proxy_audit::note::{LogKey, SignedCheckpoint};
use proxy_audit::source::{OtlpSource, Part};
use proxy_audit::verify::{
    Outcome, Report, Subject, Witnesses, compare_logs, given_key, missing_logs, verify_bundle_witnessed,
    verify_inventory, verify_otlp_witnessed, verify_witnessed,
};
use proxy_audit::witness::WitnessAddress;
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
  portcullis verify --from s3://audit/prod --key certifier.vkey
  portcullis verify --key certifier.vkey --witness \"$(cat witness.vkey) https://witness.example.com\"
  portcullis verify -o json | jq '.[] | select(.outcome != \"ok\")'")]
pub(crate) struct Arguments {
    /// Check these instead of a spool: files as an OpenTelemetry Collector's file exporter writes them (JSON), or one
    /// evidence bundle.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The same, as the other commands spell it; or an archive that gateways deliver their logs to:
    /// `s3://BUCKET[/PREFIX]`, `gs://BUCKET[/PREFIX]`, `az://CONTAINER[/PREFIX]` or `file:///DIRECTORY`.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "files")]
    from: Vec<PathBuf>,
    #[command(flatten)]
    logs: LogArguments,
    /// The log's public key, or that of who certifies logs (audit/certifier.vkey), or a file with it, kept where whoever
    /// can write the log cannot. Without it the key beside the log is used, and a log signed anew with another key is
    /// not found. May be given again.
    #[arg(long, value_name = "VKEY")]
    key: Vec<String>,
    /// Checkpoints that were kept elsewhere: exported copies (OTLP JSON) or a file with a signed note. A log that was
    /// rolled back with its checkpoints, or written anew with its own key, does not have their roots.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "from"])]
    seen: Vec<PathBuf>,
    /// A witness that must have cosigned the logs: its public key or a file with it. With its URL in the same argument
    /// it is asked what it saw, which finds what else cannot be: a log that was cut or rolled back with all that lies
    /// beside it, written anew with its own key, or deleted as a whole. May be given again.
    #[arg(long, value_name = "VKEY [URL]")]
    witness: Vec<String>,
    /// How many of the witnesses have to have cosigned. Omitted: all.
    #[arg(long, value_name = "COUNT", requires = "witness")]
    quorum: Option<usize>,
    /// What a witness said, as `portcullis witness logs --file` kept it: instead of its URL, for a machine without a
    /// network.
    #[arg(long, value_name = "FILE", requires = "witness")]
    witnessed: Vec<PathBuf>,
    /// Of the logs that witnesses know, miss only those whose origins begin so: CLUSTER/NAMESPACE/RESOURCE/.
    #[arg(long, value_name = "ORIGIN", default_value = "", hide_default_value = true, requires = "witness")]
    below: String,
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
    let witnesses = witnesses(arguments)?;
    let known = Known { keys: &keys, witnesses: &witnesses, below: &arguments.below };
    let files = if arguments.from.is_empty() { &arguments.files } else { &arguments.from };
    let kinds = files.iter().map(|file| Kind::of(file)).collect::<anyhow::Result<Vec<_>>>()?;
    match (files.as_slice(), kinds.as_slice()) {
        ([], _) => known.of_spool(&arguments.logs, &seen(&arguments.seen)?),
        ([directory], [Kind::Directory]) => known.of_directory(directory, &[]),
        ([archive], [Kind::Archive]) => known.of_archive(archive),
        ([bundle], [Kind::Bundle]) => Ok(verify_bundle_witnessed(&Bundle::open(bundle)?, &keys, &witnesses)?),
        (files, kinds) if kinds.iter().all(|kind| *kind == Kind::Otlp) => {
            let source = OtlpSource::new(files.iter().cloned().map(Part::whole).collect());
            let mut reports = verify_otlp_witnessed(&source, &keys, &witnesses)?;
            if reports.is_empty() {
                bail!("no record of an audit log in these files");
            }
            compare_logs(&mut reports);
            Ok(reports)
        }
        _ => bail!("verify takes one directory, one archive, one evidence bundle, or files of OTLP JSON"),
    }
}

/// The witnesses that were named, and what they say now.
fn witnesses(arguments: &Arguments) -> anyhow::Result<Witnesses> {
    let mut keys: Vec<WitnessKey> = Vec::new();
    let mut statements = Vec::new();
    for witness in &arguments.witness {
        if let Ok(address) = witness.parse::<WitnessAddress>() {
            statements.push(ask(&address)?.0);
            keys.push(address.key);
        } else {
            keys.push(read_witness_key(witness.trim())?);
        }
    }
    let count = keys.len();
    let Some(mut witnesses) = Witnesses::new(keys, arguments.quorum) else {
        bail!("--quorum: of {count} witnesses, from 1 to {count} can agree");
    };
    for file in &arguments.witnessed {
        let shown = file.display();
        statements.push(std::fs::read_to_string(file).with_context(|| format!("read {shown}"))?);
    }
    for statement in statements {
        witnesses.add_statement(&statement).context("what a witness said")?;
    }
    Ok(witnesses)
}

/// What is known from elsewhere.
struct Known<'a> {
    keys: &'a [LogKey],
    witnesses: &'a Witnesses,
    below: &'a str,
}

impl Known<'_> {
    fn of_spool(&self, arguments: &LogArguments, seen: &[String]) -> anyhow::Result<Vec<Report>> {
        // That no log is left is what a witness or the inventory tells.
        let directory = arguments.directory();
        if self.witnesses.is_empty() && inventories(directory).is_empty() {
            arguments.directories()?;
        }
        self.of_directory(directory, seen)
    }

    /// Fetches the logs and checks them as on a disk.
    fn of_archive(&self, url: &Path) -> anyhow::Result<Vec<Report>> {
        let location = crate::archive::location(url)?.context("an archive")?;
        let fetched = crate::archive::fetch(&location, None)?;
        let mut reports = self.of_directory(fetched.path(), &[])?;
        for report in &mut reports {
            report.expect_all();
            if let Ok(within) = report.log.strip_prefix(fetched.path()) {
                report.log = url.join(within);
            }
        }
        Ok(reports)
    }

    fn of_directory(&self, directory: &Path, seen: &[String]) -> anyhow::Result<Vec<Report>> {
        let logs = proxy_audit::read::logs(directory)
            .with_context(|| format!("find audit logs in {}", directory.display()))?;
        let mut reports = self.of_logs(&logs, seen)?;
        // Whoever asks about one log does not ask about the others; but that there is one log only a witness is asked.
        if logs == [directory] {
            reports.append(&mut missing_logs(&reports, self.witnesses, self.below));
            return Ok(reports);
        }
        compare_logs(&mut reports);
        let mut missing = missing_logs(&reports, self.witnesses, self.below);
        for inventory in inventories(directory) {
            for report in verify_inventory(&inventory, self.keys, &reports)? {
                if !missing.iter().any(|other| other.origin == report.origin) {
                    missing.push(report);
                }
            }
        }
        reports.append(&mut missing);
        if reports.is_empty() {
            bail!("no audit log in or below {}", directory.display());
        }
        Ok(reports)
    }

    fn of_logs(&self, logs: &[PathBuf], seen: &[String]) -> anyhow::Result<Vec<Report>> {
        let mut reports = Vec::new();
        for log in logs {
            let shown = || format!("verify {}", log.display());
            let key = given_key(log, self.keys).with_context(shown)?;
            reports.push(verify_witnessed(log, key.as_ref(), seen, self.witnesses).with_context(shown)?);
        }
        Ok(reports)
    }
}

/// Where inventories of the logs below a directory may be: a state directory keeps one beside the logs, what is fetched
/// from an archive those that came with the logs.
fn inventories(directory: &Path) -> Vec<PathBuf> {
    let fetched = std::fs::read_dir(directory.join(INVENTORIES)).into_iter().flatten();
    let fetched = fetched.filter_map(Result::ok).map(|entry| entry.path());
    let places = [directory.to_owned(), directory.join("audit")].into_iter().chain(fetched);
    places.filter(|place| place.join(INVENTORY).is_file()).collect()
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
    if report.subject == Subject::Missing {
        let what = report.origin.as_deref().unwrap_or("unknown");
        return [vec![format!("log      {}", inline(what))], conclusion(report)].concat();
    }
    let holes = report.first_bad().is_some() || report.problems.iter().any(|problem| problem.first.is_some());
    let origin = report.origin.as_deref().unwrap_or("unknown");
    let key = match (&report.key, report.key_pinned) {
        (Some(key), true) => format!("key {key} as given"),
        (Some(key), false) => format!("key {key} found beside the records"),
        (None, _) => "no key".to_owned(),
    };
    let mut lines = vec![
        format!("log      {}   ({})", inline(origin), inline(&report.log.to_string_lossy())),
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
        results_line(report),
    ];
    lines.extend(report.removed_below.map(|below| {
        format!("removed  records 0..{}, by retention: the log itself says so", below.saturating_sub(1))
    }));
    lines.extend(report.signed_late.iter().map(|(first, last)| {
        format!("late     records {first}..{last} were signed only when the gateway started again after them")
    }));
    lines.extend(clock_line(report));
    lines.push(tail_line(report));
    lines.push(witness_line(report));
    lines.extend(conclusion(report));
    lines
}

/// Nothing of a bundle: the records between its own are not there.
fn clock_line(report: &Report) -> Option<String> {
    if report.subject == Subject::Bundle {
        return None;
    }
    let Some(at) = report.clock_back_at else { return Some("clock    monotone".to_owned()) };
    let often = match report.clock_backs {
        1 => String::new(),
        times => format!(", the furthest of {times} times"),
    };
    Some(format!("clock    went back by {} ms at seq {at}{often}", report.clock_back_ms))
}

fn tail_line(report: &Report) -> String {
    match report.tail() {
        0 if report.subject == Subject::Bundle => {
            "tail     no record is newer than the checkpoint".to_owned()
        }
        0 if report.seen > 0 => {
            format!(
                "tail     all records are under a signed checkpoint, {} kept elsewhere agree",
                report.seen
            )
        }
        0 => "tail     all records are under a signed checkpoint".to_owned(),
        tail => format!("tail     {tail} records after the last signed checkpoint"),
    }
}

fn results_line(report: &Report) -> String {
    let mut line = format!("results  {} parts recorded", report.result_chunks);
    if report.encrypted_chunks > 0 {
        let here = if report.subject == Subject::Copies { ", which are not with copies" } else { "" };
        line.extend([format!(", {} of them encrypted for the auditors{here}", report.encrypted_chunks)]);
    }
    if report.erased_chunks > 0 {
        line.extend([format!(
            ", {} of these erased: the key of their session is gone",
            report.erased_chunks
        )]);
    }
    line
}

fn witness_line(report: &Report) -> String {
    let when = |seconds: Option<u64>| {
        let time = seconds.and_then(|seconds| Timestamp::from_second(i64::try_from(seconds).ok()?).ok());
        time.map_or_else(|| "?".to_owned(), utc)
    };
    let Some(witnessed) = report.witnessed.filter(|_| report.witnesses > 0) else {
        return match (report.witnesses, report.seen) {
            (0, 0) => "witness  none asked (--witness, --seen): a log cut or rolled back with its checkpoints, written anew with its own key, or deleted last is not found".to_owned(),
            (0, _) => "witness  none asked (--witness): a log deleted last is not found".to_owned(),
            (_, _) => "witness  nothing of it is witnessed".to_owned(),
        };
    };
    let known = match report.stated {
        Some(time) => format!("asked {}", when(Some(time))),
        None => "known only from beside the records: what was cut off together is not found".to_owned(),
    };
    let tail = match report.end.saturating_sub(witnessed) {
        0 => String::new(),
        tail => format!(", {tail} records after it not yet"),
    };
    format!("witness  {witnessed} records cosigned until {}{tail}   {known}", when(report.witnessed_at))
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
        lines.push(format!("FIRST BAD {}", inline(&first.what)));
    }
    let shown = report.problems.iter().take(PROBLEMS_SHOWN);
    lines.extend(shown.map(|problem| format!("  - {}", inline(&problem.what))));
    if report.problems.len() > PROBLEMS_SHOWN {
        lines.push(format!("  and {} more (-o json shows all)", report.problems.len() - PROBLEMS_SHOWN));
    }
    lines.push(String::new());
    lines
}

const PROBLEMS_SHOWN: usize = 20;
