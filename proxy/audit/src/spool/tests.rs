use super::*;
use crate::event::{Common, Severity, key};
use crate::read;
use crate::record::Record;
use crate::segment::Segment;
use std::fs::OpenOptions;
use tempfile::TempDir;

const ORIGIN: &str = "dev/default/orders/0";

fn options(directory: &TempDir) -> SpoolOptions {
    SpoolOptions::new(directory.path().join("log"), ORIGIN)
}

fn stamp(session: &str) -> SessionStamp {
    SessionStamp::new(vec![
        (key::SESSION_ID.into(), session.into()),
        (key::USER_ID.into(), "iss#agent".into()),
    ])
}

fn statement(text: &str) -> Event {
    Event::new(EventName::Statement, Severity::Info, "statement").with(key::QUERY_TEXT, text)
}

fn end() -> Event {
    Event::new(EventName::SessionEnd, Severity::Info, "ended").with(key::REASON, "client_close")
}

fn records(options: &SpoolOptions) -> Vec<Record> {
    read::records(&options.directory).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn records_come_back_in_order_with_their_envelope() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory);
    let (spool, recovery) = Spool::open(&options).unwrap();
    assert_eq!(recovery, Recovery::default());
    let session = stamp("s1");
    for number in 0..5 {
        let receipt = spool.append(&session, statement(&format!("SELECT {number}"))).unwrap();
        spool.synced(receipt).await.unwrap();
    }
    spool.append(&session, end()).unwrap();
    spool.close().await.unwrap();

    let records = records(&options);
    assert_eq!(records.len(), 7, "the recorder's own, five statements, one end");
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record.sequence(), number as u64);
        assert_eq!(record.text(key::LOG_ORIGIN), Some(ORIGIN));
    }
    let numbers: Vec<u64> = records[1..].iter().map(Record::session_sequence).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    assert_eq!(records[3].text(key::QUERY_TEXT), Some("SELECT 2"));
    let (entries, torn) = crate::checkpoint::read(&options.directory).unwrap();
    let last = entries.last().unwrap().parsed.as_ref().unwrap();
    assert_eq!((last.checkpoint.size, torn), (7, 0));
}

#[tokio::test]
async fn a_closed_log_goes_on_where_it_ended() {
    let directory = TempDir::new().unwrap();
    let options = SpoolOptions { segment_bytes: 2_000, ..options(&directory) };
    for run in 0..4 {
        let (spool, recovery) = Spool::open(&options).unwrap();
        assert_eq!(recovery, Recovery { records: run * 12, ..Recovery::default() });
        let session = stamp(&format!("s{run}"));
        for _ in 0..10 {
            spool.append(&session, statement("SELECT 1")).unwrap();
        }
        spool.append(&session, end()).unwrap();
        spool.close().await.unwrap();
    }
    assert!(Segment::list(&options.directory).unwrap().len() > 4, "segments rotate");
    assert_eq!(records(&options).len(), 48);
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_open_sessions_are_closed() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory);
    let (spool, _) = Spool::open(&options).unwrap();
    let session = stamp("s1");
    spool.append(&session, statement("SELECT 1")).unwrap();
    spool.append(&session, statement("SELECT 2")).unwrap();
    let segment = Segment::list(&options.directory).unwrap().remove(0);
    // A crash: the copy has records that no checkpoint covers yet.
    let copy = SpoolOptions { directory: directory.path().join("copy"), ..options.clone() };
    std::fs::create_dir(&copy.directory).unwrap();
    let length = std::fs::metadata(&segment.path).unwrap().len();
    std::fs::copy(&segment.path, copy.directory.join(segment.path.file_name().unwrap())).unwrap();
    let torn = Segment::list(&copy.directory).unwrap().remove(0);
    OpenOptions::new().write(true).open(&torn.path).unwrap().set_len(length - 7).unwrap();

    let (recovered, recovery) = Spool::open(&copy).unwrap();
    recovered.close().await.unwrap();
    assert_eq!(recovery.records, 2, "the recorder's own and the first statement");
    assert!(recovery.torn_bytes > 0);
    assert_eq!(recovery.open_sessions, ["s1"]);
    let records = records(&copy);
    let last = records.last().unwrap();
    assert_eq!((last.name(), last.text(key::REASON)), ("portcullis.session.end", Some("crash_recovered")));
    assert_eq!((last.text(key::USER_ID), last.session_sequence()), (Some("iss#agent"), 1));
    assert_eq!(records[2].text(key::RECORDER_EVENT), Some("recovered"));
}

#[tokio::test]
async fn records_under_a_checkpoint_cannot_be_lost_silently() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory);
    let (spool, _) = Spool::open(&options).unwrap();
    spool.append(&stamp("s1"), statement("SELECT 1")).unwrap();
    spool.close().await.unwrap();
    let segment = Segment::list(&options.directory).unwrap().remove(0);
    let file = OpenOptions::new().write(true).open(&segment.path).unwrap();
    file.set_len(std::fs::metadata(&segment.path).unwrap().len() - 7).unwrap();
    assert!(matches!(Spool::open(&options), Err(SpoolError::Damaged { .. })));
}

#[tokio::test]
async fn a_full_spool_refuses_until_there_is_room() {
    let directory = TempDir::new().unwrap();
    let options = SpoolOptions { max_bytes: 4_000, ..options(&directory) };
    let (spool, _) = Spool::open(&options).unwrap();
    let session = stamp("s1");
    let refused = (0..100).find_map(|_| spool.append(&session, statement("SELECT 1")).err()).unwrap();
    assert!(matches!(refused, SpoolError::Full { limit: 4_000 }));
    spool.append(&session, end()).expect("the end of a session fits into the reserve");
    spool.close().await.unwrap();
    let numbers: Vec<u64> = records(&options)[1..].iter().map(Record::session_sequence).collect();
    assert!(numbers.iter().enumerate().all(|(number, sequence)| number as u64 == *sequence), "no gap");
}

#[tokio::test]
async fn whether_there_is_room_is_told_without_a_record_and_a_refused_one_calls_for_it() {
    let directory = TempDir::new().unwrap();
    let options = SpoolOptions { max_bytes: 100_000, ..options(&directory) };
    let (spool, _) = Spool::open(&options).unwrap();
    let files = || std::fs::read_dir(&options.directory).unwrap().count();
    let before = files();
    spool.try_room().unwrap();
    assert_eq!(files(), before, "nothing is left behind");
    let session = stamp("s1");
    let until_full = || (0..1_000).find_map(|_| spool.append(&session, statement("SELECT 1")).err());
    // the largest record has none before the smallest has none
    while spool.try_room().is_ok() {
        spool.append(&session, statement("SELECT 1")).unwrap();
    }
    assert!(matches!(spool.try_room(), Err(SpoolError::Full { limit: 100_000 })));
    let waits = tokio::time::timeout(Duration::from_millis(10), spool.refused_for_room());
    assert!(waits.await.is_err(), "none was refused");
    assert!(matches!(until_full(), Some(SpoolError::Full { .. })));
    spool.refused_for_room().await;
}

#[tokio::test]
async fn a_record_cut_short_by_a_full_disk_leaves_the_log_whole() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory);
    let (spool, _) = Spool::open(&options).unwrap();
    let session = stamp("s1");
    spool.append(&session, statement("SELECT 1")).unwrap();
    spool.inject(Fault::DiskFull, 0);
    assert!(matches!(spool.append(&session, statement("SELECT 2")), Err(SpoolError::DiskFull)));
    spool.inject(Fault::None, 0);
    spool.append(&session, statement("SELECT 3")).unwrap();
    spool.append(&session, end()).unwrap();
    spool.close().await.unwrap();
    assert_eq!(records(&options).len(), 4);
    let (_, recovery) = Spool::open(&options).unwrap();
    assert_eq!(recovery.torn_bytes, 0);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_taken_any_more() {
    let directory = TempDir::new().unwrap();
    let (spool, _) = Spool::open(&options(&directory)).unwrap();
    let session = stamp("s1");
    spool.inject(Fault::SyncFails, 0);
    let receipt = spool.append(&session, statement("SELECT 1")).unwrap();
    assert!(matches!(spool.synced(receipt).await, Err(SpoolError::Failed)));
    spool.inject(Fault::None, 0);
    assert!(matches!(spool.append(&session, statement("SELECT 2")), Err(SpoolError::Failed)));
    assert!(matches!(spool.close().await, Err(SpoolError::Failed)));
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_taken_any_more() {
    let directory = TempDir::new().unwrap();
    let (spool, _) = Spool::open(&options(&directory)).unwrap();
    let session = stamp("s1");
    spool.inject(Fault::WriteFails, 1);
    spool.append(&session, statement("SELECT 1")).unwrap();
    assert!(matches!(spool.append(&session, statement("SELECT 2")), Err(SpoolError::Io(_))));
    spool.inject(Fault::None, 0);
    assert!(matches!(spool.append(&session, statement("SELECT 3")), Err(SpoolError::Failed)));
}

#[tokio::test]
async fn a_log_has_one_writer_and_one_key() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory);
    let (spool, _) = Spool::open(&options).unwrap();
    assert!(matches!(Spool::open(&options), Err(SpoolError::Locked { .. })));
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&options.key_file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    drop(spool);
    let other = SpoolOptions { key_file: directory.path().join("other.key"), ..options };
    assert!(matches!(Spool::open(&other), Err(SpoolError::Key(_))));
}

#[tokio::test]
async fn records_that_are_too_large_or_ambiguous_are_refused() {
    let directory = TempDir::new().unwrap();
    let (spool, _) = Spool::open(&options(&directory)).unwrap();
    let large = statement("x").with(key::FRAMES, bytes::Bytes::from(vec![0; 65_535]));
    assert!(matches!(spool.append(&stamp("s"), large), Err(SpoolError::TooLarge { .. })));
    let chunk = statement("x").with(key::FRAMES, bytes::Bytes::from(vec![0; 48 << 10]));
    spool.append(&stamp("s"), chunk).unwrap();
    let twice = statement("x").with(key::USER_ID, "other");
    assert!(matches!(spool.append(&stamp("s"), twice), Err(SpoolError::DuplicateKey { key: "user.id" })));
    let common = Common::new(vec![(key::VERDICT, "allow".into()), (key::USER_ID, "other".into())]);
    let twice = statement("x").with_common(common);
    assert!(matches!(spool.append(&stamp("s"), twice), Err(SpoolError::DuplicateKey { key: "user.id" })));
    let common = Common::new(vec![(key::VERDICT, "allow".into())]);
    let twice = statement("x").with_common(common).with(key::VERDICT, "deny");
    let refused = spool.append(&stamp("s"), twice);
    assert!(matches!(refused, Err(SpoolError::DuplicateKey { key: key::VERDICT })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_share_one_log_without_a_gap() {
    let directory = TempDir::new().unwrap();
    let options = SpoolOptions { segment_bytes: 50_000, ..options(&directory) };
    let (spool, _) = Spool::open(&options).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..16 {
        let spool = spool.clone();
        tasks.spawn(async move {
            let session = stamp(&format!("s{number}"));
            for _ in 0..50 {
                let receipt = spool.append(&session, statement("SELECT 1")).unwrap();
                spool.synced(receipt).await.unwrap();
            }
            spool.append(&session, end()).unwrap();
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.unwrap();
    }
    spool.close().await.unwrap();
    assert_eq!(records(&options).len(), 1 + 16 * 51);
    let (_, recovery) = Spool::open(&options).unwrap();
    assert_eq!((recovery.torn_bytes, recovery.open_sessions.len()), (0, 0));
}

#[tokio::test]
async fn a_new_log_repairs_and_names_the_ones_before_it() {
    let directory = TempDir::new().unwrap();
    let log =
        |name: &str| SpoolOptions::new(directory.path().join(name), format!("dev/default/orders/{name}"));
    let (first, _) = Spool::open(&log("gw-1")).unwrap();
    first.append(&stamp("s1"), statement("SELECT 1")).unwrap();
    // A crash of gw-1: what it wrote is there, its lock is gone, its session has no end.
    let crashed = log("gw-2");
    std::fs::create_dir(&crashed.directory).unwrap();
    for name in ["00000000000000000000.seg", "log.vkey"] {
        std::fs::copy(first.directory().join(name), crashed.directory.join(name)).unwrap();
    }
    std::fs::copy(log("gw-1").key_file, &crashed.key_file).unwrap();

    let mut third = log("gw-3");
    let recovered = recover_predecessors(&mut third).unwrap();
    assert_eq!(recovered.len(), 1, "gw-1 is being written: {recovered:?}");
    assert_eq!(recovered[0].outcome.as_ref().unwrap().open_sessions, ["s1"]);
    assert_eq!(third.predecessor.as_deref(), Some(crashed.directory.as_path()));
    assert!(recover_predecessors(&mut third).unwrap().is_empty(), "gw-2 is closed now");
    assert!(!crashed.key_file.exists() && log("gw-1").key_file.exists(), "and needs its key no more");

    let (spool, _) = Spool::open(&third).unwrap();
    spool.close().await.unwrap();
    let opening = records(&third).remove(0);
    assert_eq!(opening.text(key::PREDECESSOR_ORIGIN), Some("dev/default/orders/gw-1"));
    assert_eq!(opening.int(key::PREDECESSOR_SIZE), Some(4));

    let verify = |directory: &Path| crate::verify::verify(directory, None).unwrap();
    let mut reports = [verify(&crashed.directory), verify(&third.directory)];
    crate::verify::compare_logs(&mut reports);
    assert!(reports.iter().all(|report| report.outcome == crate::verify::Outcome::Ok), "{reports:?}");
    crate::verify::compare_logs(&mut reports[1..]);
    assert_eq!(reports[1].outcome, crate::verify::Outcome::Incomplete, "the log before it is gone");
}
