use super::*;
use crate::chunks::Identities;
use crate::evidence::{Bundle, EvidenceError, export, write_tiles};
use crate::segment::{Frames, MAGIC, Segment, frame};
use crate::source::{OtlpSource, Part, Source as _, SourceError, SpoolSource, Wanted};
use crate::verify::{Outcome, verify, verify_bundle, verify_otlp};
use crate::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What no record of a log can be numbered, and whoever counts on from it would overflow.
const NONE: [i64; 4] = [-1, i64::MIN, i64::MAX, i64::MIN + 1];

/// A closed log of one session, the directory it is in.
async fn log(directory: &TempDir) -> PathBuf {
    let options = SpoolOptions::new(directory.path().join("log"), "dev/default/orders/0");
    let (spool, _) = Spool::open(&options).unwrap();
    let session = SessionStamp::new(vec![(key::SESSION_ID.into(), "s1".into())]);
    for name in [EventName::Statement; 12].into_iter().chain([EventName::SessionEnd]) {
        spool.append(&session, Event::new(name, Severity::Info, "x")).unwrap();
    }
    spool.close().await.unwrap();
    options.directory
}

fn numbered(leaf: &[u8], attribute: &str, number: i64) -> LogRecord {
    let mut record = LogRecord::decode(leaf).unwrap();
    let found = record.attributes.iter_mut().find(|one| one.key == attribute).unwrap();
    found.value.as_mut().unwrap().value = Some(Any::IntValue(number));
    record
}

/// Numbers the last record of the log anew, CRC made to fit.
fn number_last(log: &Path, attribute: &str, number: i64) {
    let segment = Segment::list(log).unwrap().remove(0);
    let (mut frames, header) = Frames::open(&segment.path).unwrap();
    let mut leaves: Vec<Vec<u8>> = std::iter::from_fn(|| frames.next_frame().unwrap()).collect();
    let last = leaves.pop().unwrap();
    leaves.push(numbered(&last, attribute, number).encode_to_vec());
    let mut bytes = MAGIC.to_vec();
    frame(&mut bytes, &header.encode());
    for leaf in &leaves {
        frame(&mut bytes, leaf);
    }
    std::fs::write(&segment.path, bytes).unwrap();
}

#[tokio::test]
async fn a_number_that_is_none_makes_no_record() {
    let directory = TempDir::new().unwrap();
    let records = SpoolSource::new(vec![log(&directory).await]);
    let record = records.records(&Wanted::default()).unwrap().nth(1).unwrap().unwrap();
    for attribute in [key::SEQUENCE, key::SESSION_SEQUENCE] {
        for number in NONE {
            let leaf = numbered(&record.leaf(), attribute, number).encode_to_vec();
            let refused = Record::decode(&leaf);
            assert!(matches!(refused, Err(RecordError::Sequence(key)) if key == attribute), "{number}");
            assert_eq!(crate::leaf::scan(&leaf, |_, _| {}), None, "{number}");
        }
        let last = numbered(&record.leaf(), attribute, i64::MAX - 1).encode_to_vec();
        assert!(Record::decode(&last).is_ok() && crate::leaf::scan(&last, |_, _| {}).is_some());
    }
}

#[tokio::test]
async fn every_reader_of_a_log_says_that_such_a_record_is_damage() {
    for attribute in [key::SEQUENCE, key::SESSION_SEQUENCE] {
        for number in NONE {
            let directory = TempDir::new().unwrap();
            let log = log(&directory).await;
            number_last(&log, attribute, number);
            assert!(crate::read::records(&log).unwrap().last().unwrap().is_err(), "{number}");
            assert!(crate::read::end(&log).is_err());
            assert!(matches!(
                export(
                    std::slice::from_ref(&log),
                    &["s1".to_owned()],
                    ("", ""),
                    &Identities::default(),
                    Vec::new()
                ),
                Err(EvidenceError::Read(_))
            ));
            assert!(write_tiles(&log, &directory.path().join("tiles")).is_err());
            assert!(Spool::open(&SpoolOptions::new(&log, "dev/default/orders/0")).is_err());
            assert_eq!(verify(&log, None).unwrap().outcome, Outcome::Tampered, "{attribute} {number}");
        }
    }
}

#[tokio::test]
async fn copies_and_bundles_with_such_a_record_are_refused() {
    let directory = TempDir::new().unwrap();
    let log = log(&directory).await;
    let path = directory.path().join("bundle.tar");
    let out = std::fs::File::create(&path).unwrap();
    export(&[log], &["s1".to_owned()], ("", ""), &Identities::default(), out).unwrap();
    assert_eq!(verify_bundle(&Bundle::open(&path).unwrap(), &[]).unwrap()[0].outcome, Outcome::Ok);
    let whole = std::fs::read_to_string(&path).unwrap();
    let number = format!(r#""{}","value":{{"intValue":"13"}}"#, key::SEQUENCE);
    let line = whole.lines().find(|line| line.contains(&number)).expect("the last record");
    let line = line.trim_start_matches(|byte| byte != '{');
    for other in ["-1", "9223372036854775807", "18446744073709551615", "-9223372036854775808"] {
        let copies = directory.path().join("copies.json");
        std::fs::write(&copies, line.replace(&number, &number.replace("13", other))).unwrap();
        let copies = OtlpSource::new(vec![Part::whole(copies)]);
        let mut read = copies.records(&Wanted::default()).unwrap();
        let first = read.next().unwrap().unwrap_err();
        assert!(matches!(first, SourceError::Record { .. } | SourceError::Json { .. }), "{other}: {first}");
        assert!(read.all(|record| record.is_ok()), "the others are not hidden");
        let reports = verify_otlp(&copies, &[]).unwrap();
        assert_eq!(reports[0].outcome, Outcome::Tampered, "{other}: {:?}", reports[0].problems);
    }
    // As many bytes, so that the archive stays one.
    std::fs::write(&path, whole.replace(&number, &number.replace("13", "-1"))).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    assert!(bundle.records(&Wanted::default()).unwrap().any(|record| record.is_err()));
    let reports = verify_bundle(&bundle, &[]);
    assert!(reports.is_ok_and(|reports| reports[0].outcome == Outcome::Tampered));
}
