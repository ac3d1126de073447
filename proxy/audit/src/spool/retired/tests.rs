use super::*;
use crate::read::records;
use crate::spool::{CLOSED, Spool, recover_predecessors};
use crate::verify::{Outcome, verify};
use crate::{SessionStamp, Severity};
use std::os::unix::fs::MetadataExt as _;
use tempfile::TempDir;

fn options(directory: &TempDir) -> SpoolOptions {
    let options = SpoolOptions::new(directory.path().join("gw-1"), "dev/default/orders/gw-1");
    SpoolOptions { segment_bytes: 1_200, ..options }
}

fn write(options: &SpoolOptions) -> Spool {
    let (spool, _) = Spool::open(options).unwrap();
    let stamp = SessionStamp::new(vec![(key::SESSION_ID.into(), "s1".into())]);
    for _ in 0..30 {
        spool.append(&stamp, Event::new(EventName::Error, Severity::Error, "x")).unwrap();
    }
    spool
}

/// A log of 31 records in many segments, closed and without its key.
async fn retired(directory: &TempDir) -> PathBuf {
    let options = options(directory);
    write(&options).close().await.unwrap();
    assert!(retire(&options.directory).unwrap());
    options.directory
}

fn first_segments(log: &Path, count: usize) -> u64 {
    Segment::list(log).unwrap()[count].first
}

#[tokio::test]
async fn a_log_that_is_closed_keeps_no_key_and_takes_no_more_records() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory);
    let spool = write(&options);
    assert!(!retire(&options.directory).unwrap() && options.key_file.is_file(), "it is being written");
    spool.close().await.unwrap();
    assert!(retire(&options.directory).unwrap() && is_retired(&options.directory));
    assert!(!retire(&options.directory).unwrap());
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the log, and what it may say: {left:?}");
    assert_eq!(std::fs::metadata(file(&options.directory)).unwrap().mode() & 0o777, 0o600);
    assert!(matches!(Spool::open(&options), Err(SpoolError::Key(checkpoint::KeyError::Gone { .. }))));
    assert!(!options.key_file.exists(), "and no other is made");
    let report = verify(&options.directory, None).unwrap();
    assert_eq!((report.outcome, report.end, report.removed_below), (Outcome::Ok, 31, None), "{report:?}");
}

#[tokio::test]
async fn a_log_that_is_not_what_was_signed_keeps_its_key() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory);
    write(&options).close().await.unwrap();
    let last = Segment::list(&options.directory).unwrap().pop().unwrap();
    let bytes = std::fs::read(&last.path).unwrap();
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    for wrong in [changed, [bytes.as_slice(), &[0]].concat()] {
        std::fs::write(&last.path, wrong).unwrap();
        assert!(matches!(retire(&options.directory), Err(SpoolError::Damaged { .. })));
    }
    std::fs::write(&last.path, bytes).unwrap();
    // A crash leaves no mark: the next start has to sign what is not signed.
    std::fs::remove_file(options.directory.join(CLOSED)).unwrap();
    assert!(!retire(&options.directory).unwrap() && options.key_file.is_file());
}

#[tokio::test]
async fn retention_goes_on_without_the_key_and_excuses_no_more_than_it_removed() {
    let directory = TempDir::new().unwrap();
    let log = retired(&directory).await;
    let all = Segment::list(&log).unwrap().len();
    assert_eq!(remove_below(&log, 31, Duration::from_mins(1)).unwrap(), 0, "nothing is old");
    assert_eq!(remove_below(&log, 0, Duration::ZERO).unwrap(), 0, "nothing is delivered");
    for count in [2, 1, 3] {
        let below = first_segments(&log, count);
        assert!(remove_below(&log, below, Duration::ZERO).unwrap() > 0);
        let report = verify(&log, None).unwrap();
        assert_eq!((report.outcome, report.removed_below), (Outcome::Ok, Some(below)), "{report:?}");
    }
    let next = Segment::list(&log).unwrap().remove(0);
    let bytes = std::fs::read(&next.path).unwrap();
    std::fs::remove_file(&next.path).unwrap();
    assert_eq!(verify(&log, None).unwrap().outcome, Outcome::Tampered, "of this the log said nothing");
    std::fs::write(&next.path, bytes).unwrap();

    assert!(remove_below(&log, 31, Duration::ZERO).unwrap() > 0);
    let left: Vec<_> = records(&log).unwrap().map(|record| record.unwrap().int(key::REMOVED_BELOW)).collect();
    assert_eq!((left.len(), left.last()), (all, Some(&Some(31))), "one for each segment");
    let report = verify(&log, None).unwrap();
    assert_eq!((report.outcome, report.removed_below), (Outcome::Ok, Some(31)), "{report:?}");
    assert_eq!(remove_below(&log, u64::MAX, Duration::ZERO).unwrap(), 0, "what says so stays");
}

#[tokio::test]
async fn the_next_start_finishes_what_a_crash_cut_short_and_removes_keys_that_were_left() {
    let directory = TempDir::new().unwrap();
    let log = retired(&directory).await;
    let note = std::fs::read(log.join(checkpoint::CHECKPOINTS)).unwrap();
    let below = first_segments(&log, 2);
    assert!(remove_below(&log, below, Duration::ZERO).unwrap() > 0);
    // The record is there, and neither its checkpoint nor the mark.
    std::fs::write(log.join(checkpoint::CHECKPOINTS), note).unwrap();
    std::fs::remove_file(log.join(CLOSED)).unwrap();
    // Another log was closed, and the gateway killed before its key was gone.
    let other = SpoolOptions::new(directory.path().join("gw-2"), "dev/default/orders/gw-2");
    write(&other).close().await.unwrap();

    let mut third = SpoolOptions::new(directory.path().join("gw-3"), "dev/default/orders/gw-3");
    let recovered = recover_predecessors(&mut third).unwrap();
    assert!(recovered.iter().all(|earlier| earlier.outcome.is_ok()), "{recovered:?}");
    let report = verify(&log, None).unwrap();
    assert_eq!((report.outcome, report.removed_below), (Outcome::Ok, Some(below)), "{report:?}");
    assert!(is_retired(&other.directory) && !other.key_file.exists());
}
