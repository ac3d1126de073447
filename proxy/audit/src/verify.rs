//! Is the log whole and unchanged, and if not, where?
//!
//! What is checked: every frame's CRC and canonical form, the gap-free numbering, the hash chain, every segment
//! header, every checkpoint's signature, order and root, the checkpoints that the recorder's own records name, and
//! the sessions' numbering. What cannot be found without something from outside: a log that was rolled back to an
//! earlier state together with its checkpoints, one that was rewritten by somebody who has the log's key, and one that
//! was deleted with all that names it. A checkpoint that was kept elsewhere finds the first two ([`verify_with`]);
//! exported copies carry such checkpoints. Witnesses find all three ([`verify_witnessed`], [`missing_logs`]).

mod bundle;
mod checkpoints;
mod copies;
mod facts;
mod inventory;
mod lanes;
mod report;
mod walk;
mod witnesses;

use crate::checkpoint::{self, VERIFIER_KEY};
use crate::note::{LogKey, NoteError};
use crate::read::ReadError;
use crate::spool::closed_with;
use crate::witness::COSIGNED;
use checkpoints::Checkpoints;
use std::io;
use std::path::{Path, PathBuf};
use walk::Walk;

pub use bundle::{verify_bundle, verify_bundle_witnessed};
pub use copies::{choose_key, verify_otlp, verify_otlp_witnessed};
pub use inventory::{certified_key, given_key, verify_inventory};
pub use report::{Outcome, Predecessor, Problem, Report, Subject};
pub use witnesses::{Witnesses, missing_logs};

/// A tail without a checkpoint is ordinary for a second, while a gateway writes; over this it would have signed it.
const UNSIGNED_TAIL_SECONDS: f64 = 10.0;

/// How often a log is read that shrinks meanwhile.
const ATTEMPTS: u32 = 3;

/// Why a log could not be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file cannot be read.
    #[error("read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The log cannot be listed.
    #[error("list audit log")]
    Read(#[from] ReadError),
    /// The public key beside the log is not one.
    #[error("read {path}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: NoteError,
    },
}

/// Checks one log. With a `key` from elsewhere, a log that was re-signed with another key is found too.
///
/// # Errors
/// The log cannot be read; what is wrong *in* it is in the report.
pub fn verify(directory: &Path, key: Option<&LogKey>) -> Result<Report, VerifyError> {
    verify_with(directory, key, &[])
}

/// As [`verify`]; the log must also have the roots of these checkpoints, signed notes that were kept elsewhere. That
/// finds what the log alone cannot show: that it was rolled back together with its checkpoints, or written anew with
/// its own key.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(directory: &Path, key: Option<&LogKey>, seen: &[String]) -> Result<Report, VerifyError> {
    verify_witnessed(directory, key, seen, &Witnesses::default())
}

/// As [`verify_with`]; witnesses must also have cosigned the log, and it must have what they saw of it.
///
/// # Errors
/// As [`verify`].
pub fn verify_witnessed(
    directory: &Path,
    key: Option<&LogKey>,
    seen: &[String],
    witnesses: &Witnesses,
) -> Result<Report, VerifyError> {
    let mut attempts = 1;
    loop {
        let before = standing(directory);
        match check(directory, key, seen, witnesses) {
            // It was opened or closed meanwhile, so that the parts of it do not belong together.
            Ok(report)
                if report.outcome != Outcome::Ok && attempts < ATTEMPTS && standing(directory) != before =>
            {
                attempts += 1;
            }
            // Retention may remove a segment after it was listed: then it is read anew.
            Err(VerifyError::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && attempts < ATTEMPTS =>
            {
                attempts += 1;
            }
            answer => return answer,
        }
    }
}

/// Whether some process writes the log, and the mark with which it was closed.
fn standing(directory: &Path) -> (bool, Option<u64>) {
    (being_written(directory), closed_with(directory).ok().flatten())
}

fn check(
    directory: &Path,
    key: Option<&LogKey>,
    seen: &[String],
    witnesses: &Witnesses,
) -> Result<Report, VerifyError> {
    let own_key = own_key(directory)?;
    let mut report = Report::new(directory, key.or(own_key.as_ref()), key.is_some());
    if let (Some(pinned), Some(own)) = (key, &own_key)
        && pinned != own
    {
        // The log as it calls itself, so that whoever looks for it finds what is said of it.
        report.origin = Some(own.name().to_owned());
        report.tampered(None, another_key(pinned, own, "beside the log"));
    }
    let io_error = |source| VerifyError::Io { path: directory.join(checkpoint::CHECKPOINTS), source };
    let (entries, torn_note) = checkpoint::read(directory).map_err(io_error)?;
    if torn_note > 0 && !report.being_written {
        report.incomplete(None, format!("the last checkpoint is unfinished ({torn_note} bytes)"));
    }
    let mut checkpoints = Checkpoints::check(&entries, key.or(own_key.as_ref()), &mut report);
    checkpoints.add_seen(seen, key.or(own_key.as_ref()), &mut report);
    let io_error = |source| VerifyError::Io { path: directory.join(COSIGNED), source };
    let cosigned = checkpoint::read_cosigned(directory).map_err(io_error)?;
    witnesses.check(&cosigned, key.or(own_key.as_ref()), &mut checkpoints, &mut report);
    Walk::new(&checkpoints, &mut report).run(directory)?;
    checkpoints.compare(&mut report);
    witnesses.conclude(&mut report);
    report.check_evidence();
    report.conclude();
    Ok(report)
}

/// What to say of a log whose key is not the one that was given.
fn another_key(given: &LogKey, own: &LogKey, place: &str) -> String {
    let own_fingerprint = own.fingerprint();
    if given.name() == own.name() {
        return format!("the key {place} ({own_fingerprint}) is not the log's key");
    }
    format!(
        "none of the given keys is this log's, and none certified the key {place} ({own_fingerprint}): if the log should be theirs, it was written anew; if not, give its own key as it was kept elsewhere"
    )
}

/// Checks that the logs that others follow are there, with the checkpoint that these name: that no log vanished as a
/// whole. `reports` are those of all logs of a state directory.
pub fn compare_logs(reports: &mut [Report]) {
    find_nested(reports);
    for number in 0..reports.len() {
        let Some(predecessor) = reports.get(number).and_then(|report| report.predecessor.clone()) else {
            continue;
        };
        let named = reports.iter().find(|other| other.origin.as_deref() == Some(predecessor.origin.as_str()));
        let (outcome, what) = match named {
            Some(other) if other.is_copy() || other.digests.contains(&predecessor.digest) => continue,
            Some(_) => (
                Outcome::Tampered,
                format!("log {} has lost its checkpoint of size {}", predecessor.origin, predecessor.size),
            ),
            None => (
                Outcome::Incomplete,
                format!(
                    "the log before it, {} with {} records, is not here",
                    predecessor.origin, predecessor.size
                ),
            ),
        };
        if let Some(report) = reports.get_mut(number) {
            report.problem(outcome, None, what);
            report.conclude();
        }
    }
}

/// No gateway keeps a log within another one's directory: it stands there so that one of the two is overlooked.
fn find_nested(reports: &mut [Report]) {
    let is_log = |report: &&Report| report.subject == Subject::Log;
    let places: Vec<PathBuf> = reports.iter().filter(is_log).map(|report| report.log.clone()).collect();
    for report in reports.iter_mut().filter(|report| report.subject == Subject::Log) {
        let outer = places.iter().find(|place| report.log != **place && report.log.starts_with(place));
        if let Some(outer) = outer {
            let what = format!("it lies within another log, that in {}", outer.display());
            report.tampered(None, what);
            report.conclude();
        }
    }
}

/// The public key beside a log.
///
/// # Errors
/// The file cannot be read, or is no key.
pub fn own_key(directory: &Path) -> Result<Option<LogKey>, VerifyError> {
    let path = directory.join(VERIFIER_KEY);
    match std::fs::read_to_string(&path) {
        Ok(text) => LogKey::parse(&text).map(Some).map_err(|source| VerifyError::Key { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(VerifyError::Io { path, source }),
    }
}

/// Whether some process holds the log's lock.
pub(crate) fn being_written(directory: &Path) -> bool {
    let Ok(file) = std::fs::File::open(directory.join("lock")) else { return false };
    matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests;
