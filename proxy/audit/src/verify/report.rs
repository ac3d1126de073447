//! What `verify` says of a log.

use crate::checkpoint::VERIFIER_KEY;
use crate::chunks::{Checker, ChunkRef, Standing};
use crate::note::LogKey;
use crate::verify::being_written;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The answer in one word, and the exit code of `portcullis verify`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Whole and unchanged as far as the evidence goes.
    Ok = 0,
    /// Something was changed, removed, added or moved.
    Tampered = 1,
    /// Nothing contradicts the evidence, but part of the log or of the evidence is not there.
    Incomplete = 2,
    /// There is no key, no checkpoint, or no log to check.
    CannotVerify = 3,
}

impl Outcome {
    /// Exit code.
    pub fn exit_code(self) -> u8 {
        self as u8
    }
}

/// Something wrong, and where.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// What it means for the log.
    pub outcome: Outcome,
    /// First record concerned; `None` when it concerns no record.
    pub first: Option<u64>,
    /// Last record concerned.
    pub last: Option<u64>,
    /// One line.
    pub what: String,
}

/// What was checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A log on disk.
    Log,
    /// Copies of a log's records, as exported.
    Copies,
    /// Part of an evidence bundle: the records do not follow one another, each is proved to be in the log by itself.
    Bundle,
    /// Nothing: a log that should be here, or the inventory that says so.
    Missing,
}

/// What `verify` found in one log.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Directory of the log.
    pub log: PathBuf,
    /// Its origin, by its key.
    pub origin: Option<String>,
    /// Fingerprint of the key.
    pub key: Option<String>,
    /// Whether whoever asked gave keys: then none that was found beside the log is used.
    pub key_pinned: bool,
    /// What was checked.
    pub subject: Subject,
    /// A gateway is writing it now.
    pub being_written: bool,
    /// Records read.
    pub records: u64,
    /// Sequence of the first record that is here.
    pub first: u64,
    /// Sequence after the last.
    pub end: u64,
    /// Records below this are not here because the log itself says that retention removed them.
    pub removed_below: Option<u64>,
    /// Records that no checkpoint signed before a later start found them, as inclusive ranges: what a crash left, and
    /// whatever somebody may have put behind it meanwhile.
    pub signed_late: Vec<(u64, u64)>,
    /// Bytes of records.
    pub bytes: u64,
    /// Sessions seen.
    pub sessions: u64,
    /// Of these, without an end.
    pub open_sessions: u64,
    /// Of these, ended by recovery after a crash.
    pub crash_recovered: u64,
    /// Records that carry parts of results.
    pub result_chunks: u64,
    /// Of these, the ones that lie beside the log, encrypted for the auditors.
    pub encrypted_chunks: u64,
    /// Of these, the ones that nobody can read any more: the key of their session is gone.
    pub erased_chunks: u64,
    /// Checkpoints with a good signature.
    pub checkpoints: u64,
    /// Checkpoints of this log that were seen elsewhere and given, with a good signature.
    pub seen: u64,
    /// Size of the largest of all these, those of witnesses included.
    pub signed_size: u64,
    /// Witnesses whose word was asked for; 0: nobody outside was, so what only a witness can find was not looked for.
    pub witnesses: u64,
    /// Checkpoints with a good cosignature of any of these.
    pub cosigned: u64,
    /// Records that as many witnesses as were asked for cosigned.
    pub witnessed: Option<u64>,
    /// When the last of these cosignatures was made, in seconds since 1970.
    pub witnessed_at: Option<u64>,
    /// When the witnesses themselves were asked, in seconds since 1970; `None`: only what lies beside the records was
    /// looked at, which could have been rolled back together with them.
    pub stated: Option<u64>,
    /// Seconds that records of one checkpoint are apart, at most: how long one waited to be signed.
    pub max_checkpoint_gap_seconds: f64,
    /// Largest step backwards of the clock, in milliseconds.
    pub clock_back_ms: i64,
    /// The record at which it was made: it says an earlier time than the one before it.
    pub clock_back_at: Option<u64>,
    /// How often the clock went back.
    pub clock_backs: u64,
    /// Bytes of an unfinished frame at the end.
    pub torn_bytes: u64,
    /// The log that this one says it follows.
    pub predecessor: Option<Predecessor>,
    /// No checkpoint covers any record, and all of them are of the last seconds.
    #[serde(skip)]
    pub(super) young: bool,
    /// Digests of the checkpoints in the file.
    #[serde(skip)]
    pub(super) digests: BTreeSet<String>,
    /// All that is wrong, in the order of the log.
    pub problems: Vec<Problem>,
    /// The answer.
    pub outcome: Outcome,
}

/// What the first record of a log says of the log before.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Predecessor {
    /// Its origin.
    pub origin: String,
    /// Size of its last checkpoint.
    pub size: u64,
    /// SHA-256 of that checkpoint's note, hexadecimal.
    pub digest: String,
}

impl Report {
    pub(super) fn new(directory: &Path, key: Option<&LogKey>, key_pinned: bool) -> Self {
        Self {
            log: directory.to_owned(),
            origin: key.map(|key| key.name().to_owned()),
            key: key.map(LogKey::fingerprint),
            key_pinned,
            subject: Subject::Log,
            being_written: being_written(directory),
            records: 0,
            first: 0,
            end: 0,
            removed_below: None,
            signed_late: Vec::new(),
            bytes: 0,
            sessions: 0,
            open_sessions: 0,
            crash_recovered: 0,
            result_chunks: 0,
            encrypted_chunks: 0,
            erased_chunks: 0,
            checkpoints: 0,
            seen: 0,
            signed_size: 0,
            witnesses: 0,
            cosigned: 0,
            witnessed: None,
            witnessed_at: None,
            stated: None,
            max_checkpoint_gap_seconds: 0.0,
            clock_back_ms: 0,
            clock_back_at: None,
            clock_backs: 0,
            torn_bytes: 0,
            predecessor: None,
            young: false,
            digests: BTreeSet::new(),
            problems: Vec::new(),
            outcome: Outcome::Ok,
        }
    }

    /// Records that no checkpoint covers.
    pub fn tail(&self) -> u64 {
        self.end.saturating_sub(self.signed_size)
    }

    /// Whether copies were checked and not the log itself: what is missing there may not have arrived.
    pub fn is_copy(&self) -> bool {
        matches!(self.subject, Subject::Copies | Subject::Bundle)
    }

    /// For a copy that should have all records, as an archive should: that the gateway no longer had to keep some is no
    /// reason that they are not there.
    pub fn expect_all(&mut self) {
        if let Some(below) = self.removed_below.take().filter(|below| *below > 0) {
            let last = below - 1;
            let what =
                format!("records 0..{last} are not here; retention removed them from the gateway's disk");
            self.incomplete(Some((0, last)), what);
            self.conclude();
        }
    }

    /// First thing that is wrong.
    pub fn first_bad(&self) -> Option<&Problem> {
        self.problems.iter().find(|problem| problem.outcome == Outcome::Tampered)
    }

    pub(super) fn problem(&mut self, outcome: Outcome, range: Option<(u64, u64)>, what: String) {
        let (first, last) = range.unzip();
        self.problems.push(Problem { outcome, first, last, what });
    }

    pub(super) fn tampered(&mut self, range: Option<(u64, u64)>, what: String) {
        self.problem(Outcome::Tampered, range, what);
    }

    pub(super) fn incomplete(&mut self, range: Option<(u64, u64)>, what: String) {
        self.problem(Outcome::Incomplete, range, what);
    }

    /// Whether the part of a result that this record names is there as it was written.
    pub(super) fn look_at(&mut self, checker: Option<&mut Checker>, chunk: &ChunkRef, at: u64) {
        self.encrypted_chunks += 1;
        let Some(checker) = checker else { return };
        let session = &chunk.session;
        match checker.look(chunk) {
            Ok(Standing::There) => {}
            Ok(Standing::Erased) => self.erased_chunks += 1,
            Ok(Standing::Damaged) => {
                self.tampered(
                    Some((at, at)),
                    format!("seq {at}: its encrypted result is not there, or was changed"),
                );
            }
            Ok(Standing::AnotherKey) => {
                self.tampered(
                    Some((at, at)),
                    format!("seq {at}: the key file of session {session} was changed"),
                );
            }
            Err(error) => {
                let what = format!("seq {at}: read the encrypted results of session {session}: {error}");
                self.problem(Outcome::CannotVerify, Some((at, at)), what);
            }
        }
    }

    pub(super) fn check_evidence(&mut self) {
        if self.key.is_none() {
            let what = if self.key_pinned {
                format!(
                    "none of the given keys is this log's, and copies carry no certificate: give the log's own key, its {VERIFIER_KEY}"
                )
            } else {
                format!("there is no {VERIFIER_KEY} and no key was given")
            };
            self.problem(Outcome::CannotVerify, None, what);
        }
        if self.records == 0 {
            self.problem(Outcome::CannotVerify, None, "there is no record".to_owned());
        } else if self.checkpoints == 0 && !(self.being_written && self.young) {
            self.problem(Outcome::CannotVerify, None, "there is no signed checkpoint".to_owned());
        }
    }

    /// This record says a time so long before that of the one before it. Clocks are set, so it proves nothing by itself.
    pub(super) fn clock_went_back(&mut self, at: u64, by_ms: i64) {
        self.clock_backs += 1;
        if self.clock_back_at.is_none() || by_ms > self.clock_back_ms {
            (self.clock_back_at, self.clock_back_ms) = (Some(at), by_ms);
        }
    }

    pub(super) fn conclude(&mut self) {
        self.problems.sort_by_key(|problem| problem.first.unwrap_or(u64::MAX));
        let has = |outcome| self.problems.iter().any(|problem| problem.outcome == outcome);
        self.outcome = if has(Outcome::Tampered) {
            Outcome::Tampered
        } else if has(Outcome::CannotVerify) {
            Outcome::CannotVerify
        } else if has(Outcome::Incomplete) {
            Outcome::Incomplete
        } else {
            Outcome::Ok
        };
    }
}
