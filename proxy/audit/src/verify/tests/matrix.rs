//! The tamper matrix: each manipulation at many positions of a log; all are found, and where.
//!
//! `PORTCULLIS_LONG=1` tries each at 5,000 positions; otherwise at as many as a debug build does in some 20 seconds.

use super::*;
use crate::note::SignedCheckpoint;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Positions of each manipulation.
fn positions() -> usize {
    if std::env::var_os("PORTCULLIS_LONG").is_some() { 5_000 } else { 300 }
}

/// Random positions: the seed is printed by a failing assertion's message, as the position is.
fn random() -> StdRng {
    StdRng::seed_from_u64(20_261_124)
}

/// The first record blamed is at most so far from where something was done.
fn assert_near(report: &Report, at: u64, distance: u64, what: &str) {
    assert_eq!(report.outcome, Outcome::Tampered, "{what} at {at}: {:?}", report.problems);
    let near = report.problems.iter().any(|problem| {
        let (Some(first), Some(last)) = (problem.first, problem.last) else { return false };
        first <= at + distance && at <= last + distance
    });
    assert!(near, "{what} at {at}: {:?}", report.problems);
}

/// A copy of the log's directory to spoil, and its repair.
struct Spoiled<'a> {
    log: &'a Log,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl<'a> Spoiled<'a> {
    fn new(log: &'a Log) -> Self {
        let paths = log.segments().into_iter().map(|segment| segment.path).chain([log.checkpoints()]);
        Self { log, files: paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect() }
    }

    fn repair(&self) {
        self.log.segments().iter().for_each(|segment| std::fs::remove_file(&segment.path).unwrap());
        self.files.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    }
}

/// The record whose frame has this byte of a segment; the first, of what stands before it.
fn record_at(segment: &[u8], first: u64, byte: usize) -> u64 {
    let (mut start, mut frames) = (MAGIC.len(), 0);
    loop {
        let length = u32::from_be_bytes(segment[start..start + 4].try_into().unwrap()) as usize;
        start += crate::segment::FRAME_HEAD_BYTES + length;
        if byte < start {
            // The first frame is the header.
            return first + if frames == 0 { 0 } else { frames - 1 };
        }
        frames += 1;
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_found_and_its_record_named() {
    let log = Log::new().await;
    let spoiled = Spoiled::new(&log);
    let mut random = random();
    for _ in 0..positions() {
        let (path, bytes) = &spoiled.files[random.random_range(0..spoiled.files.len())];
        let (byte, bit) = (random.random_range(0..bytes.len()), random.random_range(0..8));
        let mut changed = bytes.clone();
        changed[byte] ^= 1 << bit;
        std::fs::write(path, changed).unwrap();
        let report = log.verify();
        // A flip in the last frame's length, or in the last note, looks like a write that a crash cut short.
        let cut = path == &log.checkpoints() || Some(path) == log.segments().last().map(|last| &last.path);
        let found = report.outcome == Outcome::Tampered || (cut && report.outcome == Outcome::Incomplete);
        assert!(found, "bit {bit} of byte {byte} of {}: {:?}", path.display(), report.problems);
        let segments = log.segments();
        if let Some(segment) = segments.iter().find(|segment| segment.path == *path) {
            let record = record_at(bytes, segment.first, byte);
            let named = |problem: &Problem| problem.first <= Some(record) && Some(record) <= problem.last;
            assert!(
                report.problems.iter().any(named),
                "record {record}, bit {bit} of byte {byte}: {:?}",
                report.problems
            );
        }
        std::fs::write(path, bytes).unwrap();
    }
    assert_eq!(log.verify().outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_changed_record_is_found_and_named() {
    let log = Log::new().await;
    let spoiled = Spoiled::new(&log);
    let mut random = random();
    let count = log.leaves().len();
    for _ in 0..positions() {
        let at = random.random_range(0..count);
        log.rewrite(|leaves| {
            let mut record = Record::decode(&leaves[at]).unwrap().into_log_record();
            record.time_unix_nano += 1;
            leaves[at] = record.encode_to_vec();
        });
        assert_near(&log.verify(), at as u64, 0, "changed");
        spoiled.repair();
    }
}

#[tokio::test]
async fn removed_swapped_inserted_and_repeated_records_are_found_where_they_are() {
    let log = Log::new().await;
    let spoiled = Spoiled::new(&log);
    let mut random = random();
    let count = log.leaves().len();
    for _ in 0..positions() {
        let at = random.random_range(1..count - 1);
        log.rewrite(|leaves| drop(leaves.remove(at)));
        assert_near(&log.verify(), at as u64, 0, "removed");
        spoiled.repair();

        let other = random.random_range(1..count - 1);
        if at != other {
            log.rewrite(|leaves| leaves.swap(at, other));
            assert_near(&log.verify(), at.min(other) as u64, 0, "swapped");
            spoiled.repair();
        }

        log.rewrite(|leaves| leaves.insert(at, leaves[at].clone()));
        assert_near(&log.verify(), at as u64, 1, "repeated");
        spoiled.repair();

        log.rewrite(|leaves| leaves.insert(at, leaves[other].clone()));
        assert_near(&log.verify(), other.min(at) as u64, 1, "inserted");
        spoiled.repair();
    }
}

#[tokio::test]
async fn a_cut_tail_is_found_and_its_range_said() {
    let log = Log::new().await;
    let spoiled = Spoiled::new(&log);
    let count = log.leaves().len();
    for keep in 1..count {
        log.rewrite(|leaves| leaves.truncate(keep));
        let report = log.verify();
        assert_near(&report, keep as u64, 0, "cut");
        spoiled.repair();
    }
    // Together with the checkpoints that covered it: what only a witness knows.
    let notes = log.notes();
    let first = SignedCheckpoint::parse(&notes[0]).unwrap().checkpoint.size;
    log.rewrite(|leaves| leaves.truncate(usize::try_from(first).unwrap()));
    log.write_notes(&notes[..1]);
    log.reopen();
    assert_eq!(
        log.verify().outcome,
        Outcome::Ok,
        "the rollback of log and checkpoints shows only from outside"
    );
    // One checkpoint that was kept elsewhere is enough.
    let report = verify_with(&log.options.directory, None, &notes[notes.len() - 1..]).unwrap();
    assert_near(&report, first, 0, "rolled back");
    spoiled.repair();
}

#[tokio::test]
async fn changed_removed_replayed_and_forked_checkpoints_are_found() {
    let log = Log::new().await;
    let spoiled = Spoiled::new(&log);
    let notes = log.notes();
    for at in 0..notes.len() {
        let mut replayed = notes.clone();
        replayed.push(notes[at].clone());
        log.write_notes(&replayed);
        assert_eq!(log.verify().outcome, Outcome::Tampered, "replayed {at}");
        let mut fork = notes.clone();
        let size = SignedCheckpoint::parse(&notes[at]).unwrap().checkpoint.size;
        fork.insert(at, log.signer().sign(&Checkpoint { origin: ORIGIN.to_owned(), size, root: [1; 32] }));
        log.write_notes(&fork);
        assert_found(&log.verify(), &format!("two roots for size {size}"));
        let mut stolen = notes.clone();
        let thief = LogSigner::new(ORIGIN, &[9; 32]).unwrap();
        stolen[at] = thief.sign(&SignedCheckpoint::parse(&notes[at]).unwrap().checkpoint);
        log.write_notes(&stolen);
        assert_eq!(log.verify().outcome, Outcome::Tampered, "signed by another {at}");
    }
    spoiled.repair();
}

#[tokio::test]
async fn a_log_written_anew_with_its_own_key_is_found_by_a_checkpoint_kept_elsewhere() {
    let log = Log::new().await;
    let kept = log.notes();
    let mut leaves = log.leaves();
    let mut record = Record::decode(&leaves[17]).unwrap().into_log_record();
    record.time_unix_nano += 1;
    leaves[17] = record.encode_to_vec();
    let tree = log.forge(&leaves);
    let forged = Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root() };
    log.write_notes(&[log.signer().sign(&forged)]);
    assert_eq!(log.verify().outcome, Outcome::Ok, "nothing in the log shows it");
    for note in &kept {
        let report = verify_with(&log.options.directory, None, std::slice::from_ref(note)).unwrap();
        let size = SignedCheckpoint::parse(note).unwrap().checkpoint.size;
        let expected = if size > 17 { Outcome::Tampered } else { Outcome::Ok };
        assert_eq!((report.outcome, report.seen), (expected, 1), "{size}: {:?}", report.problems);
    }
    let foreign = LogSigner::new("another/log", &[1; 32]).unwrap();
    let foreign = foreign.sign(&Checkpoint { origin: "another/log".to_owned(), size: 1, root: [0; 32] });
    let report = verify_with(&log.options.directory, None, &[foreign]).unwrap();
    assert_eq!((report.outcome, report.seen), (Outcome::Ok, 0));
}
