//! An evidence bundle by itself: files as the manifest says, a signed checkpoint, a proof for every record, and every
//! session whole.

use crate::checkpoint::Entry;
use crate::chunks::{Checker, ChunkRef};
use crate::event::{EventName, key};
use crate::evidence::{Bundle, LogEntry, MANIFEST, SessionEntry};
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
    let (mut reports, mut sessions) = (Vec::new(), Vec::new());
    for log in &bundle.manifest().logs {
        reports.push(verify_log(bundle, log, (keys, witnesses), &mut sessions)?);
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
    check_sessions(&bundle.manifest().sessions, &sessions, &mut reports);
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

/// That the sessions which the manifest names are those whose records are there: no other ones, as many records, and
/// those with an end that have one.
fn check_sessions(listed: &[SessionEntry], found: &[SessionEntry], reports: &mut [Report]) {
    let mut tampered = |log: &str, what: String| {
        let at = reports.iter().position(|report| report.origin.as_deref() == Some(log)).unwrap_or_default();
        if let Some(report) = reports.get_mut(at) {
            report.tampered(None, what);
        }
    };
    let same = |one: &SessionEntry, other: &SessionEntry| one.id == other.id && one.log == other.log;
    for (number, entry) in listed.iter().enumerate() {
        let SessionEntry { id, log, records, ended } = entry;
        if listed.iter().take(number).any(|before| same(before, entry)) {
            tampered(log, format!("the manifest lists session {id} twice"));
            continue;
        }
        let Some(there) = found.iter().find(|found| same(found, entry)) else {
            tampered(
                log,
                format!("the manifest lists session {id} of log {log}, of which no record is there"),
            );
            continue;
        };
        if there.records != *records {
            let what =
                format!("the manifest lists {records} records of session {id}, there are {}", there.records);
            tampered(log, what);
        }
        if there.ended != *ended {
            let says = if *ended { "has its end here" } else { "has no end here" };
            tampered(
                log,
                format!("the manifest says that session {id} {says}, and its records say otherwise"),
            );
        }
    }
    for there in found.iter().filter(|found| !listed.iter().any(|entry| same(entry, found))) {
        tampered(&there.log, format!("session {} is not in the manifest", there.id));
    }
}

fn verify_log(
    bundle: &Bundle,
    log: &LogEntry,
    (keys, witnesses): (&[LogKey], &Witnesses),
    found: &mut Vec<SessionEntry>,
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
    if let Some(signed) = signed.as_ref().filter(|signed| signed.size != log.size) {
        let what =
            format!("the manifest lists a checkpoint over {} records, it is over {}", log.size, signed.size);
        report.tampered(None, what);
    }
    let (proofs, all) = bundle.proofs(&log.directory)?;
    if !all {
        report.tampered(None, format!("{}/proofs.jsonl has lines that are no proofs", log.directory));
    }
    let chunks =
        tempfile::tempdir().map_err(|source| SourceError::Io { path: std::env::temp_dir(), source })?;
    bundle.unpack_chunks(log, chunks.path())?;
    let (sessions, checker) = (BTreeMap::new(), Checker::new(chunks.path()));
    let mut walk = Walk { log, signed, proofs, unproved: 0, sessions, checker, report: &mut report };
    match bundle.log(&log.directory).records(&Wanted::default()) {
        Ok(records) => walk.run(records),
        Err(error @ SourceError::Io { .. }) => return Err(error),
        Err(error) => walk.report.tampered(None, format!("records.jsonl: {error}")),
    }
    let entry = |(id, seen): (String, Seen)| SessionEntry {
        id,
        log: log.origin.clone(),
        records: seen.records,
        ended: seen.next.is_none(),
    };
    found.extend(walk.sessions.into_iter().map(entry));
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
    /// Records without a proof.
    unproved: u64,
    sessions: BTreeMap<String, Seen>,
    /// Looks after what is encrypted.
    checker: Checker,
    report: &'a mut Report,
}

/// What came of a session.
#[derive(Clone, Copy)]
struct Seen {
    /// Number of its next record; `None` once it ended.
    next: Option<u64>,
    records: u64,
}

impl Walk<'_> {
    fn run(&mut self, records: impl Iterator<Item = Result<Record, SourceError>>) {
        let mut last = None;
        for record in records {
            let record = match record {
                Ok(record) => record,
                Err(error) if error.is_damage() => {
                    self.report.tampered(None, format!("records.jsonl: {error}"));
                    continue;
                }
                Err(error) => {
                    self.report.tampered(None, format!("after record {last:?}: {error}"));
                    break;
                }
            };
            let at = record.sequence();
            self.report.records += 1;
            self.report.first = if last.is_none() { at } else { self.report.first };
            self.report.end = at.saturating_add(1);
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
                self.unproved += 1;
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
        let seen = self.sessions.get(&session).copied().unwrap_or(Seen { next: Some(0), records: 0 });
        let number = record.session_sequence();
        match seen.next {
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
        let next = if ended { None } else { Some(number.saturating_add(1)) };
        self.sessions.insert(session, Seen { next, records: seen.records + 1 });
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
        if self.unproved != self.log.unproved {
            let what = format!(
                "the manifest lists {} records without a proof, there are {}",
                self.log.unproved, self.unproved
            );
            self.report.tampered(None, what);
        }
        for (session, seen) in &self.sessions {
            let Some(next) = seen.next else { continue };
            self.report.open_sessions += 1;
            let what =
                format!("session {session} has no end here: what came after its record {next} is not known");
            self.report.problem(Outcome::Incomplete, None, what);
        }
    }
}
