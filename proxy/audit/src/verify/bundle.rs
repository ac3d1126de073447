//! An evidence bundle by itself: files as the manifest says, a signed checkpoint, a proof for every record, and every
//! session whole.

use crate::checkpoint::Entry;
use crate::chunks::{Checker, ChunkRef};
use crate::event::{EventName, key};
use crate::evidence::{Bundle, LogEntry, MANIFEST};
use crate::merkle::Proof;
use crate::note::certificate::Certificate;
use crate::note::{Checkpoint, LogKey, SignedCheckpoint};
use crate::record::Record;
use crate::source::{Source as _, SourceError, Wanted};
use crate::verify::{Checkpoints, Outcome, Report, Subject, Witnesses, another_key, choose_key};
use std::collections::BTreeMap;

/// Checks a bundle, log by log. Without a key from elsewhere, the key in the bundle is used, which whoever changed the
/// bundle could have changed too.
///
/// # Errors
/// The file cannot be read; what is wrong *in* it is in the reports.
pub fn verify_bundle(bundle: &Bundle, keys: &[LogKey]) -> Result<Vec<Report>, SourceError> {
    verify_bundle_witnessed(bundle, keys, &Witnesses::default())
}

/// As [`verify_bundle`]; witnesses must also have cosigned its checkpoints.
///
/// # Errors
/// As [`verify_bundle`].
pub fn verify_bundle_witnessed(
    bundle: &Bundle,
    keys: &[LogKey],
    witnesses: &Witnesses,
) -> Result<Vec<Report>, SourceError> {
    let mut reports = Vec::new();
    for log in &bundle.manifest().logs {
        reports.push(verify_log(bundle, log, keys, witnesses)?);
    }
    if reports.is_empty() {
        let mut report = Report::new(bundle.path(), None, false);
        report.subject = Subject::Bundle;
        report.problem(Outcome::CannotVerify, None, "there is no record in the bundle".to_owned());
        reports.push(report);
    }
    if let Some(report) = reports.first_mut() {
        check_files(bundle, report)?;
    }
    check_sessions(bundle, &mut reports);
    reports.iter_mut().for_each(Report::conclude);
    Ok(reports)
}

fn check_files(bundle: &Bundle, report: &mut Report) -> Result<(), SourceError> {
    let listed = &bundle.manifest().files;
    for entry in listed {
        if !bundle.fits(entry)? {
            report.tampered(None, format!("{} is not the file that the manifest lists", entry.path));
        }
    }
    for name in bundle.names() {
        if name != MANIFEST && !listed.iter().any(|entry| entry.path == name) {
            report.tampered(None, format!("{name} is not in the manifest"));
        }
    }
    Ok(())
}

/// That the sessions which the manifest names are those whose records are there.
fn check_sessions(bundle: &Bundle, reports: &mut [Report]) {
    let Some(report) = reports.first_mut() else { return };
    let listed: u64 = bundle.manifest().logs.iter().map(|log| log.records).sum();
    let sessions: u64 = bundle.manifest().sessions.iter().map(|session| session.records).sum();
    if listed != sessions {
        report.tampered(
            None,
            format!("the manifest counts {listed} records of logs and {sessions} of sessions"),
        );
    }
}

fn verify_log(
    bundle: &Bundle,
    log: &LogEntry,
    keys: &[LogKey],
    witnesses: &Witnesses,
) -> Result<Report, SourceError> {
    let own = LogKey::parse(&bundle.text(&format!("{}/log.vkey", log.directory))?).ok();
    let certified = certified(bundle, log, keys);
    let pinned = certified.as_ref().or_else(|| choose_key(keys, &log.origin));
    let key = pinned.or(own.as_ref());
    let mut report = Report::new(bundle.path(), key, pinned.is_some());
    report.subject = Subject::Bundle;
    report.origin = Some(log.origin.clone());
    if own.is_none() {
        report.tampered(None, format!("{}/log.vkey is not a key", log.directory));
    }
    if let (Some(pinned), Some(own)) = (pinned, &own)
        && pinned != own
    {
        report.tampered(None, another_key(pinned, own, "in the bundle"));
    }
    let note = bundle.text(&format!("{}/checkpoint", log.directory))?;
    let parsed = SignedCheckpoint::parse(&note);
    let signed = parsed.clone().ok().map(|signed| signed.checkpoint);
    let checkpoint = [Entry { note, parsed }];
    let mut checkpoints = Checkpoints::check(&checkpoint, key, &mut report);
    witnesses.check(&checkpoint, key, &mut checkpoints, &mut report);
    // A statement may be of a later state than the bundle is of.
    report.signed_size = signed.as_ref().map_or(0, |signed| signed.size);
    let (proofs, all) = bundle.proofs(&log.directory)?;
    if !all {
        report.tampered(None, format!("{}/proofs.jsonl has lines that are no proofs", log.directory));
    }
    let chunks =
        tempfile::tempdir().map_err(|source| SourceError::Io { path: std::env::temp_dir(), source })?;
    bundle.unpack_chunks(log, chunks.path())?;
    let (sessions, checker) = (BTreeMap::new(), Checker::new(chunks.path()));
    let mut walk = Walk { log, signed, proofs, sessions, checker, report: &mut report };
    match bundle.log(&log.directory).records(&Wanted::default()) {
        Ok(records) => walk.run(records),
        Err(error @ SourceError::Io { .. }) => return Err(error),
        Err(error) => walk.report.tampered(None, format!("records.jsonl: {error}")),
    }
    witnesses.conclude(&mut report);
    report.check_evidence();
    Ok(report)
}

/// The log's key, when one of these keys certified it.
fn certified(bundle: &Bundle, log: &LogEntry, keys: &[LogKey]) -> Option<LogKey> {
    let text = bundle.text(&format!("{}/log.certificate", log.directory)).ok()?;
    let certificate = Certificate::parse(&text).ok()?;
    keys.iter().find_map(|key| certificate.verify(key).ok()).map(|certified| certified.log.clone())
}

struct Walk<'a> {
    log: &'a LogEntry,
    signed: Option<Checkpoint>,
    /// Proofs whose record did not come yet.
    proofs: BTreeMap<u64, Proof>,
    /// Number of the next record of each session; `None` once it ended.
    sessions: BTreeMap<String, Option<u64>>,
    /// Looks after what is encrypted.
    checker: Checker,
    report: &'a mut Report,
}

impl Walk<'_> {
    fn run(&mut self, records: impl Iterator<Item = Result<Record, SourceError>>) {
        let mut last = None;
        for record in records {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    self.report.tampered(None, format!("after record {last:?}: {error}"));
                    break;
                }
            };
            let at = record.sequence();
            self.report.records += 1;
            self.report.first = if last.is_none() { at } else { self.report.first };
            self.report.end = at + 1;
            if last == Some(at) {
                self.tampered(at, format!("record added: a second record with seq {at}"));
            }
            last = Some(at);
            self.record(&record);
        }
        self.finish();
    }

    fn tampered(&mut self, at: u64, what: String) {
        self.report.tampered(Some((at, at)), what);
    }

    fn record(&mut self, record: &Record) {
        let at = record.sequence();
        let chunk = ChunkRef::of(record);
        self.report.result_chunks += u64::from(record.bytes(key::FRAMES).is_some() || chunk.is_some());
        if let Some(chunk) = &chunk {
            self.report.look_at(Some(&mut self.checker), chunk, at);
        }
        if record.origin() != self.log.origin {
            self.tampered(at, format!("seq {at} is of another log: {}", record.origin()));
        }
        match (self.proofs.remove(&at), &self.signed) {
            (Some(proof), Some(signed)) => {
                if proof.root(record.leaf_hash(), signed.size) != Some(signed.root) {
                    self.tampered(at, format!("seq {at} is not in the tree that the checkpoint signs"));
                }
            }
            (None, Some(signed)) if at < signed.size => {
                self.tampered(at, format!("seq {at} has no proof"));
            }
            (None, _) => {
                let what = format!("seq {at} is newer than the checkpoint: it has no proof");
                self.report.incomplete(Some((at, at)), what);
            }
            (Some(_), None) => {}
        }
        self.session(record);
    }

    fn session(&mut self, record: &Record) {
        let at = record.sequence();
        let Some(session) = record.text(key::SESSION_ID).map(str::to_owned) else {
            return self.tampered(at, format!("seq {at} is of no session"));
        };
        let new = !self.sessions.contains_key(&session);
        self.report.sessions += u64::from(new);
        let expected = self.sessions.get(&session).copied().unwrap_or(Some(0));
        let number = record.session_sequence();
        match expected {
            Some(expected) if expected != number => {
                let what = format!(
                    "records {expected}..{} of session {session} are missing",
                    number.saturating_sub(1)
                );
                self.tampered(at, format!("{what} before seq {at}"));
            }
            Some(_) => {}
            None => self.tampered(at, format!("seq {at} comes after the end of session {session}")),
        }
        let ended = record.name() == EventName::SessionEnd.as_str();
        self.report.crash_recovered +=
            u64::from(ended && record.text(key::REASON) == Some("crash_recovered"));
        self.sessions.insert(session, if ended { None } else { Some(number + 1) });
    }

    fn finish(&mut self) {
        for at in std::mem::take(&mut self.proofs).into_keys() {
            self.tampered(at, format!("record {at} was removed: its proof is there"));
        }
        if self.report.records != self.log.records {
            let what =
                format!("the manifest lists {} records, there are {}", self.log.records, self.report.records);
            self.report.tampered(None, what);
        }
        for (session, next) in &self.sessions {
            let Some(next) = next else { continue };
            self.report.open_sessions += 1;
            let what =
                format!("session {session} has no end here: what came after its record {next} is not known");
            self.report.problem(Outcome::Incomplete, None, what);
        }
    }
}
