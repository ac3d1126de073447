//! Copies of records in OTLP JSON: chained as in their log, with the checkpoints that followed them.
//!
//! A copy that is missing may not have arrived, or was removed: that cannot be told apart here, and the log itself can.

use crate::checkpoint::Entry;
use crate::note::{LogKey, SignedCheckpoint};
use crate::source::{OtlpSource, SourceError};
use crate::verify::{Checkpoints, Report, Subject, Walk, Witnesses};
use std::path::Path;

/// Checks copies of records, log by log. Without a key for a log, its checkpoints are not believed.
///
/// # Errors
/// A file cannot be read, or nothing in it; what is wrong *in* it is in the reports.
pub fn verify_otlp(source: &OtlpSource, keys: &[LogKey]) -> Result<Vec<Report>, SourceError> {
    verify_otlp_witnessed(source, keys, &Witnesses::default())
}

/// As [`verify_otlp`]; witnesses must also have cosigned what is there.
///
/// # Errors
/// As [`verify_otlp`].
pub fn verify_otlp_witnessed(
    source: &OtlpSource,
    keys: &[LogKey],
    witnesses: &Witnesses,
) -> Result<Vec<Report>, SourceError> {
    let mut copies = source.copies()?;
    let mut damage = copies.take_damage();
    let mut reports = Vec::new();
    for log in copies.logs() {
        // A key with another name may be the certifier's, and copies carry no certificate: that says nothing of them.
        let key = named(keys, log.origin);
        let mut report = Report::new(Path::new(&source.path()), key, !keys.is_empty());
        report.subject = Subject::Copies;
        report.origin = Some(log.origin.to_owned());
        let mut entries: Vec<Entry> = log
            .notes
            .iter()
            .map(|note| Entry { note: note.clone(), parsed: SignedCheckpoint::parse(note) })
            .collect();
        // Deliveries come in any order and more than once.
        entries.sort_by_key(|entry| entry.parsed.as_ref().map_or(0, |signed| signed.checkpoint.size));
        entries.dedup_by(|one, other| one.note == other.note);
        let mut checkpoints = Checkpoints::check(&entries, key, &mut report);
        witnesses.check(&entries, key, &mut checkpoints, &mut report);
        Walk::new(&checkpoints, &mut report).run_copies(copies.records(&log))?;
        checkpoints.compare(&mut report);
        witnesses.conclude(&mut report);
        report.check_evidence();
        // Of which log it was cannot be told; that its records are not here, each log's own numbers tell.
        damage.drain(..).for_each(|error| note(&mut report, &error));
        report.conclude();
        reports.push(report);
    }
    damage.into_iter().next().map_or(Ok(reports), Err)
}

fn note(report: &mut Report, error: &SourceError) {
    let what = error.to_string();
    if matches!(error, SourceError::Torn { .. }) {
        report.incomplete(None, what);
    } else {
        report.tampered(None, what);
    }
}

/// The key of this log among several: the one with its name, or else any of them, so that a log that is none of theirs
/// is found out. The key that lies beside a log is no answer to whoever gave keys: who changed the log can have put it
/// there.
pub fn choose_key<'a>(keys: &'a [LogKey], origin: &str) -> Option<&'a LogKey> {
    named(keys, origin).or(keys.first())
}

fn named<'a>(keys: &'a [LogKey], origin: &str) -> Option<&'a LogKey> {
    keys.iter().find(|key| key.name() == origin)
}
