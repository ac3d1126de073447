use super::*;
use crate::SessionStamp;
use crate::archive::{ArchiveOptions, Archiver, Location};
use crate::event::{Event, EventName, Severity, key};
use crate::read::records;
use crate::segment::Segment;
use crate::spool::SpoolOptions;
use crate::verify::{Outcome, verify};
use std::path::PathBuf;
use std::time::SystemTime;
use tempfile::TempDir;

const OLD: Duration = Duration::from_hours(24 * 100);

fn options(directory: &TempDir) -> SpoolOptions {
    let options = SpoolOptions::new(directory.path().join("log"), "dev/default/orders/0");
    SpoolOptions { segment_bytes: 4_000, ..options }
}

fn write(options: &SpoolOptions, count: usize) -> Spool {
    let (spool, _) = Spool::open(options).unwrap();
    let stamp = SessionStamp::new(vec![(key::SESSION_ID.into(), "s1".into())]);
    for _ in 0..count {
        spool.append(&stamp, Event::new(EventName::Error, Severity::Error, "x")).unwrap();
    }
    spool
}

/// Makes all segments but the last so old.
fn age(log: &Path, by: Duration, last_too: bool) {
    let segments = Segment::list(log).unwrap();
    let count = if last_too { segments.len() } else { segments.len() - 1 };
    for segment in &segments[..count] {
        let file = OpenOptions::new().append(true).open(&segment.path).unwrap();
        file.set_modified(SystemTime::now() - by).unwrap();
    }
}

fn days(days: u64) -> Retention {
    Retention { older_than: Duration::from_secs(days * DAY_SECONDS), exported: false, archive: None }
}

#[test]
fn policies_have_names_and_days() {
    assert_eq!("pci".parse(), Ok(Policy { keep_days: 366, at_hand_days: 92 }));
    assert_eq!("45d".parse(), Ok(Policy { keep_days: 45, at_hand_days: 30 }));
    assert_eq!("7d".parse(), Ok(Policy { keep_days: 7, at_hand_days: 7 }));
    for (name, policy) in PRESETS {
        assert_eq!(name.parse(), Ok(policy));
        assert!(policy.in_spool(true) <= policy.in_spool(false));
    }
    for wrong in ["", "d", "0d", "forever", "90", "-1d", "10000d", "99999999999d", "PCI"] {
        assert!(wrong.parse::<Policy>().unwrap_err().contains("pci"), "{wrong}");
    }
}

#[tokio::test]
async fn a_segment_can_be_begun_before_the_last_is_full() {
    let directory = TempDir::new().unwrap();
    let spool = write(&options(&directory), 3);
    let count = || Segment::list(&options(&directory).directory).unwrap().len();
    let before = count();
    spool.seal().unwrap();
    spool.seal().unwrap();
    assert_eq!(count(), before + 1, "an empty segment is not sealed");
    spool.close().await.unwrap();
    let report = verify(&options(&directory).directory, None).unwrap();
    assert_eq!((report.outcome, report.end), (Outcome::Ok, 4), "{report:?}");
}

#[tokio::test]
async fn what_is_old_leaves_and_verify_says_so() {
    let directory = TempDir::new().unwrap();
    let spool = write(&options(&directory), 60);
    let log = options(&directory).directory;
    let before = Segment::list(&log).unwrap().len();
    assert_eq!(days(90).apply(&spool).await.unwrap(), 0, "nothing is old");
    age(&log, OLD, false);
    assert!(days(90).apply(&spool).await.unwrap() > 0);
    assert!(before > 3 && Segment::list(&log).unwrap().len() <= 2);
    spool.close().await.unwrap();
    let report = verify(&log, None).unwrap();
    assert_eq!((report.outcome, report.removed_below), (Outcome::Ok, Some(report.first)), "{report:?}");
    assert!(report.first > 0 && report.problems.is_empty());
    // Of a copy that should have all, it is not an excuse.
    let mut copy = report.clone();
    copy.expect_all();
    assert_eq!((copy.outcome, copy.problems[0].last), (Outcome::Incomplete, Some(report.first - 1)));

    // What somebody else removed is damage.
    let (spool, _) = Spool::open(&options(&directory)).unwrap();
    drop(spool);
    let left = Segment::list(&log).unwrap();
    if left.len() > 1 {
        std::fs::remove_file(&left[0].path).unwrap();
        assert_eq!(verify(&log, None).unwrap().outcome, Outcome::Tampered);
    }
}

#[tokio::test]
async fn nothing_leaves_before_it_is_where_it_has_to_be() {
    let directory = TempDir::new().unwrap();
    let spool = write(&options(&directory), 60);
    let log = options(&directory).directory;
    age(&log, OLD, false);
    let location = format!("file://{}", directory.path().join("archive").display());
    let needs_archive = Retention { archive: Some(location.clone()), ..days(90) };
    let needs_both = Retention { exported: true, ..needs_archive.clone() };
    assert_eq!(needs_archive.apply(&spool).await.unwrap(), 0, "nothing is archived");
    let archiver = ArchiveOptions::new(Location::parse(&location).unwrap());
    let archiver =
        Archiver::start(&spool, ArchiveOptions { interval: Duration::from_millis(20), ..archiver }).unwrap();
    let mut status = archiver.watch();
    let rounds = status.wait_for(|status| status.next == 61).await.unwrap().rounds;
    status.wait_for(|status| status.rounds > rounds).await.unwrap();
    assert_eq!(needs_both.apply(&spool).await.unwrap(), 0, "nothing is exported");
    let elsewhere = Retention { archive: Some("s3://other".to_owned()), ..days(90) };
    assert_eq!(elsewhere.apply(&spool).await.unwrap(), 0, "that archive has nothing");
    let all: Vec<_> = records(&log).unwrap().map(|record| *record.unwrap().leaf_hash()).collect();
    assert!(needs_archive.apply(&spool).await.unwrap() > 0);
    spool.close().await.unwrap();
    assert!(archiver.drain(Duration::from_secs(30)).await.complete);

    // The archive has the log as a whole, what is gone here too.
    let into = TempDir::new().unwrap();
    let (location, path) = (Location::parse(&location).unwrap(), into.path().to_owned());
    tokio::task::spawn_blocking(move || crate::archive::mirror(&location, None, &path))
        .await
        .unwrap()
        .unwrap();
    let fetched = into.path().join("dev/default/orders/0");
    let there: Vec<_> = records(&fetched).unwrap().map(|record| *record.unwrap().leaf_hash()).collect();
    assert!(there.starts_with(&all) && there.len() > all.len(), "and what was said of it");
    let report = verify(&fetched, None).unwrap();
    assert_eq!((report.outcome, report.first, report.removed_below), (Outcome::Ok, 0, None), "{report:?}");
}

#[tokio::test]
async fn logs_of_earlier_starts_shrink_to_what_says_that_they_did() {
    let directory = TempDir::new().unwrap();
    let spool = write(&options(&directory), 60);
    let log = options(&directory).directory;
    let retention = days(90);
    assert_eq!(retention.apply_closed(&log).unwrap(), 0, "it is being written");
    spool.close().await.unwrap();
    drop(spool);
    assert_eq!(retention.apply_closed(&log).unwrap(), 0, "it is not old");
    age(&log, OLD, true);
    let written = |log: &PathBuf| std::fs::metadata(log.join(CHECKPOINTS)).unwrap().modified().unwrap();
    let before = written(&log);
    assert!(retention.apply_closed(&log).unwrap() > 0);
    assert_eq!(written(&log), before, "the order of logs is as it was");
    let left: Vec<_> = records(&log).unwrap().map(|record| record.unwrap().name().to_owned()).collect();
    assert!(!left.is_empty() && left.iter().all(|name| name == "portcullis.recorder"), "{left:?}");
    let report = verify(&log, None).unwrap();
    assert_eq!((report.outcome, report.removed_below), (Outcome::Ok, Some(report.first)), "{report:?}");
    assert_eq!(retention.apply_closed(&log).unwrap(), 0, "and no further");
}
