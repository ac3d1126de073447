//! The checkpoints by themselves: signatures, order, forks; and against what the records say.

use crate::checkpoint::Entry;
use crate::merkle::Hash;
use crate::note::{Checkpoint, LogKey, SignedCheckpoint};
use crate::spool::closed_with;
use crate::verify::{Report, UNSIGNED_TAIL_SECONDS};
use jiff::Timestamp;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Good checkpoints by size, and what the walk over the records learns about them.
pub(super) struct Checkpoints {
    roots: BTreeMap<u64, Hash>,
    /// When they were read: what was written since none of them can cover.
    read_at: Timestamp,
    learned: RefCell<Learned>,
}

#[derive(Default)]
struct Learned {
    /// Checkpoints that recorder records name: record, size, digest.
    named: Vec<(u64, u64, String)>,
    /// Whether any record is under a checkpoint.
    signed: bool,
    /// Times of the first and of the last record since the last checkpoint, if there are any: silence before them was
    /// nothing to sign.
    unsigned: Option<(Timestamp, Timestamp)>,
}

impl Checkpoints {
    /// Judges the notes without looking at records.
    pub(super) fn check(entries: &[Entry], key: Option<&LogKey>, report: &mut Report) -> Self {
        let mut roots: BTreeMap<u64, Hash> = BTreeMap::new();
        let mut largest = 0;
        for (number, entry) in entries.iter().enumerate() {
            let Some(checkpoint) = judge(number, entry, key, report) else { continue };
            let size = checkpoint.size;
            if roots.get(&size).is_some_and(|root| *root != checkpoint.root) {
                report.tampered(Some((size, size)), format!("fork: two roots for size {size}"));
            } else if size <= largest && report.checkpoints > 0 {
                report.tampered(
                    None,
                    format!("checkpoint of size {size} replayed after one of size {largest}"),
                );
            }
            report.checkpoints += 1;
            roots.entry(size).or_insert(checkpoint.root);
            largest = largest.max(size);
        }
        report.signed_size = largest;
        report.digests = entries.iter().map(|entry| const_hex::encode(entry.digest())).collect();
        Self { roots, read_at: Timestamp::now(), learned: RefCell::default() }
    }

    /// Adds checkpoints that were seen elsewhere, as copies carry them: a log that was rolled back or written anew does
    /// not have their roots. Those of other logs are not looked at.
    pub(super) fn add_seen(&mut self, notes: &[String], key: Option<&LogKey>, report: &mut Report) {
        for note in notes {
            let Ok(signed) = SignedCheckpoint::parse(note) else {
                report.tampered(None, "a checkpoint seen elsewhere is not one".to_owned());
                continue;
            };
            let size = signed.checkpoint.size;
            if Some(signed.checkpoint.origin.as_str()) != report.origin.as_deref() {
                continue;
            }
            let Some(Ok(checkpoint)) = key.map(|key| signed.verify(key)) else {
                report
                    .tampered(None, format!("the checkpoint of size {size} seen elsewhere is not the log's"));
                continue;
            };
            report.seen += 1;
            self.add_root(size, &checkpoint.root, "seen elsewhere", report);
        }
    }

    /// Adds what somebody else saw of the log.
    pub(super) fn add_root(&mut self, size: u64, root: &Hash, who: &str, report: &mut Report) {
        report.signed_size = report.signed_size.max(size);
        if self.roots.get(&size).is_some_and(|known| known != root) {
            let what = format!("fork: the checkpoint of size {size} {who} has another root");
            report.tampered(Some((0, size.saturating_sub(1))), what);
        }
        self.roots.entry(size).or_insert(*root);
    }

    /// The signed root of this size.
    pub(super) fn root(&self, size: u64) -> Option<&Hash> {
        self.roots.get(&size)
    }

    /// The largest signed size of at most this many records; 0 if there is none.
    pub(super) fn largest(&self, at_most: u64) -> u64 {
        self.roots.range(..=at_most).next_back().map_or(0, |(size, _)| *size)
    }

    /// A recorder record names the last checkpoint before it.
    pub(super) fn name(&self, record: u64, size: u64, digest: &str) {
        self.learned.borrow_mut().named.push((record, size, digest.to_owned()));
    }

    /// A record of this time ends a tree of this size.
    pub(super) fn pass(&self, size: u64, time: Timestamp, report: &mut Report) {
        let mut learned = self.learned.borrow_mut();
        let first = learned.unsigned.map_or(time, |(first, _)| first);
        if self.roots.contains_key(&size) {
            report.max_checkpoint_gap_seconds = report.max_checkpoint_gap_seconds.max(seconds(first, time));
            learned.unsigned = None;
            learned.signed = true;
        } else {
            learned.unsigned = Some((first, time));
        }
    }

    /// What only shows once both checkpoints and records are known.
    pub(super) fn compare(&self, report: &mut Report) {
        let learned = self.learned.borrow();
        if report.signed_size > report.end {
            let range = (report.end, report.signed_size - 1);
            let what = format!(
                "tail cut: the checkpoint of size {} covers records {}..{}, which are not there",
                report.signed_size, range.0, range.1
            );
            if report.is_copy() {
                let what = format!(
                    "records {}..{} did not arrive, or were removed: a checkpoint of size {} covers them",
                    range.0, range.1, report.signed_size
                );
                report.incomplete(Some(range), what);
            } else {
                report.tampered(Some(range), what);
            }
        }
        // Of checkpoints, copies have the newest ones only.
        let named: &[_] = if report.is_copy() { &[] } else { &learned.named };
        for (record, size, digest) in named {
            if !report.digests.contains(digest) {
                let what = format!("record {record} names a checkpoint of size {size} that is not there");
                report.tampered(Some((*record, *record)), what);
            }
        }
        if let Some((first, last)) = learned.unsigned.filter(|_| report.signed_size > 0) {
            tail(first, last, self.is_young(first), report);
        }
        if !report.being_written && report.checkpoints > 0 {
            closed(report);
        }
        report.young = learned.unsigned.is_some_and(|(first, _)| !learned.signed && self.is_young(first));
    }

    /// Whether a record of this time may still wait to be signed.
    fn is_young(&self, time: Timestamp) -> bool {
        seconds(time, self.read_at) <= UNSIGNED_TAIL_SECONDS
            && seconds(Timestamp::now(), time) <= UNSIGNED_TAIL_SECONDS
    }
}

/// Records behind the last checkpoint. A gateway signs them within a second or so, or when it starts again: until then
/// nothing shows that they are its own.
fn tail(first: Timestamp, last: Timestamp, young: bool, report: &mut Report) {
    let range = (report.signed_size, report.end.saturating_sub(1));
    if range.0 > range.1 {
        return;
    }
    let what = if seconds(first, last) > UNSIGNED_TAIL_SECONDS {
        format!(
            "checkpoints missing: {} records over {:.0} s are signed by none",
            report.tail(),
            seconds(first, last)
        )
    } else if !report.being_written {
        let why = if report.is_copy() {
            "what signs them is not here"
        } else {
            "a gateway that goes on with the log signs them"
        };
        format!("records {}..{} are signed by no checkpoint: {why}", range.0, range.1)
    } else if !young {
        format!("records {}..{} should have been signed long ago", range.0, range.1)
    } else {
        return;
    };
    report.incomplete(Some(range), what);
}

/// A log that was closed in order ends where it was closed, and all of it is signed.
fn closed(report: &mut Report) {
    // what was fetched from an archive has no lock, and an older mark than records for a moment
    if !report.log.join("lock").exists() {
        return;
    }
    let (Ok(Some(size)), false) = (closed_with(&report.log), report.is_copy()) else { return };
    // retention opens such a log once more to say what it removes, and signs that
    if report.first_bad().is_some() || report.end == size || report.signed_size >= report.end.max(size) {
        return;
    }
    let range = (report.end.min(size), report.end.max(size).saturating_sub(1));
    let what = if report.end > size {
        format!("records {}..{} were added after the log was closed", range.0, range.1)
    } else {
        format!("records {}..{} are not there, with which the log was closed", range.0, range.1)
    };
    report.tampered(Some(range), what);
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

fn judge<'a>(
    number: usize,
    entry: &'a Entry,
    key: Option<&LogKey>,
    report: &mut Report,
) -> Option<&'a Checkpoint> {
    let signed = match &entry.parsed {
        Ok(signed) => signed,
        Err(error) => {
            report.tampered(None, format!("checkpoint {number} in the file: {error}"));
            return None;
        }
    };
    match signed.verify(key?) {
        Ok(checkpoint) => Some(checkpoint),
        Err(error) => {
            let size = signed.checkpoint.size;
            report.tampered(None, format!("checkpoint of size {size}: {error}"));
            None
        }
    }
}
