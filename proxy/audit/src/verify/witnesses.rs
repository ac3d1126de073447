//! What witnesses know of a log: the only thing that finds a log which was cut or rolled back together with all that
//! lies beside it, written anew with its own key, or deleted as a whole.
//!
//! Cosigned checkpoints beside the log show how far it was witnessed, and that it is the log that was. They can be cut
//! together with it: what is missing at its end only the witness's own word shows, its [`Statement`].

use crate::checkpoint::Entry;
use crate::note::cosignature::WitnessKey;
use crate::note::{LogKey, NoteError};
use crate::verify::{Checkpoints, Outcome, Report, Subject};
use crate::witness::{Statement, Witnessed};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Witnesses that whoever asks trusts, and what they say now.
#[derive(Clone, Debug, Default)]
pub struct Witnesses {
    keys: Vec<WitnessKey>,
    quorum: usize,
    statements: Vec<Statement>,
}

/// What one witness saw of a log: the size, and when.
type Sight = (u64, u64);

impl Witnesses {
    /// These witnesses, of which so many have to agree; all, when it is not said. `None` when it is more than there
    /// are, or none.
    pub fn new(keys: Vec<WitnessKey>, quorum: Option<usize>) -> Option<Self> {
        let quorum = quorum.unwrap_or(keys.len());
        (quorum <= keys.len() && (quorum > 0 || keys.is_empty())).then_some(Self {
            keys,
            quorum,
            statements: Vec::new(),
        })
    }

    /// Takes a statement of one of them.
    ///
    /// # Errors
    /// It is none, or of another.
    pub fn add_statement(&mut self, note: &str) -> Result<(), NoteError> {
        let mut error = NoteError::UnknownKey;
        for key in &self.keys {
            match Statement::parse(note, key) {
                Ok(statement) => {
                    self.statements.push(statement);
                    return Ok(());
                }
                Err(other) if other != NoteError::UnknownKey => error = other,
                Err(_) => {}
            }
        }
        Err(error)
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Judges cosigned checkpoints and what the witnesses say of this log.
    pub(super) fn check(
        &self,
        cosigned: &[Entry],
        key: Option<&LogKey>,
        checkpoints: &mut Checkpoints,
        report: &mut Report,
    ) {
        report.witnesses = self.keys.len() as u64;
        if self.is_empty() {
            return;
        }
        let mut sights: BTreeMap<&str, Sight> = BTreeMap::new();
        let mut see = |name: &str, sight: Sight| {
            if let Some(key) = self.keys.iter().find(|key| key.name() == name) {
                let known = sights.entry(key.name()).or_default();
                *known = (*known).max(sight);
            }
        };
        for entry in cosigned {
            for (witness, sight) in self.cosignatures(entry, key, checkpoints, report) {
                see(witness, sight);
            }
        }
        for statement in &self.statements {
            report.stated = report.stated.max(Some(statement.time));
            if let Some(sight) = stated(statement, key, checkpoints, report) {
                see(&statement.witness, sight);
            }
        }
        let mut sights: Vec<Sight> = sights.into_values().collect();
        sights.sort_unstable_by(|one, other| other.cmp(one));
        let agreed = sights.get(self.quorum.saturating_sub(1)).filter(|(size, _)| *size > 0);
        (report.witnessed, report.witnessed_at) = agreed.copied().unzip();
    }

    /// Whose cosignatures a checkpoint has, of those that are trusted.
    fn cosignatures(
        &self,
        entry: &Entry,
        key: Option<&LogKey>,
        checkpoints: &mut Checkpoints,
        report: &mut Report,
    ) -> Vec<(&str, Sight)> {
        let Ok(signed) = &entry.parsed else {
            report.tampered(None, "a cosigned checkpoint is not one".to_owned());
            return Vec::new();
        };
        let size = signed.checkpoint.size;
        let mut found = Vec::new();
        for witness in &self.keys {
            match witness.verify(signed.note()) {
                Ok(Some(time)) => found.push((witness.name(), (size, time))),
                Ok(None) => {}
                Err(error) => {
                    let what = format!("cosignature of {} on {size} records: {error}", witness.name());
                    report.tampered(None, what);
                }
            }
        }
        if found.is_empty() {
            return found;
        }
        let Some(Ok(checkpoint)) = key.map(|key| signed.verify(key)) else {
            report.tampered(None, format!("the cosigned checkpoint of size {size} is not the log's"));
            return Vec::new();
        };
        report.cosigned += 1;
        checkpoints.add_root(size, &checkpoint.root, "cosigned", report);
        found
    }

    /// What shows once the records were read.
    pub(super) fn conclude(&self, report: &mut Report) {
        if self.is_empty() {
            return;
        }
        match report.witnessed {
            None => {
                let what = format!(
                    "not witnessed: no checkpoint has the cosignatures of {} of the {} witnesses given",
                    self.quorum,
                    self.keys.len()
                );
                report.incomplete(None, what);
            }
            Some(size) if size < report.end && !report.being_written => {
                let range = (size, report.end - 1);
                let what = format!("records {}..{} are not witnessed", range.0, range.1);
                report.incomplete(Some(range), what);
            }
            Some(_) => {}
        }
    }
}

/// What a statement says of this log.
fn stated(
    statement: &Statement,
    key: Option<&LogKey>,
    checkpoints: &mut Checkpoints,
    report: &mut Report,
) -> Option<Sight> {
    let witness = &statement.witness;
    let origin = report.origin.clone()?;
    let Some(log) = statement.logs.iter().find(|log| log.key.name() == origin) else {
        report.incomplete(None, format!("witness {witness} does not know this log"));
        return None;
    };
    if key != Some(&log.key) {
        let known = log.key.fingerprint();
        report.tampered(None, format!("witness {witness} knows this log by another key ({known})"));
        return None;
    }
    // Part of a log has no other tree than its checkpoint's to compare with.
    if report.subject == Subject::Bundle && log.size != report.signed_size {
        return None;
    }
    if log.size > 0 {
        checkpoints.add_root(log.size, &log.root, &format!("that witness {witness} saw"), report);
    }
    Some((log.size, log.time))
}

/// Logs that witnesses know and that are not among these: deleted as a whole, or kept elsewhere. Only those whose
/// origins begin so are looked for.
pub fn missing_logs(reports: &[Report], witnesses: &Witnesses, below: &str) -> Vec<Report> {
    let here: BTreeSet<&str> = reports.iter().filter_map(|report| report.origin.as_deref()).collect();
    let mut missing: BTreeMap<&str, (&Statement, &Witnessed)> = BTreeMap::new();
    for statement in &witnesses.statements {
        for log in &statement.logs {
            let origin = log.key.name();
            if origin.starts_with(below) && !here.contains(origin) {
                let known = missing.entry(origin).or_insert((statement, log));
                if log.size > known.1.size {
                    *known = (statement, log);
                }
            }
        }
    }
    let report = |(statement, log): (&Statement, &Witnessed)| {
        let seen = match (log.size, time(log.time)) {
            (0, _) | (_, None) => "knows of it and saw no record".to_owned(),
            (size, Some(time)) => format!("saw {size} records of it, the last at {time}"),
        };
        let what = format!(
            "the whole log is not here: deleted, or kept elsewhere; witness {} {seen}",
            statement.witness
        );
        missing_log(&log.key, what)
    };
    missing.into_values().map(report).collect()
}

/// A report on a log of which nothing is here.
pub(super) fn missing_log(key: &LogKey, what: String) -> Report {
    let mut report = Report::new(Path::new("-"), Some(key), true);
    report.subject = Subject::Missing;
    report.problem(Outcome::Incomplete, None, what);
    report.conclude();
    report
}

/// A time of a witness, in words.
fn time(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}
