mod copies;
mod forged;
mod matrix;
mod witnesses;

use super::*;
use crate::event::{Event, EventName, Severity, key};
use crate::merkle::{CompactRange, chain_link, leaf_hash};
use crate::note::{Checkpoint, LogSigner};
use crate::record::Record;
use crate::segment::{Frames, Header, MAGIC, Segment, frame};
use crate::{SessionStamp, Spool, SpoolOptions};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message as _;
use std::time::Duration;
use tempfile::TempDir;

const ORIGIN: &str = "dev/default/orders/0";

/// A closed log of 60 statements in one session, in segments of about 15 records, with several checkpoints.
struct Log {
    _directory: TempDir,
    options: SpoolOptions,
}

impl Log {
    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let options =
            SpoolOptions { segment_bytes: 8_000, ..SpoolOptions::new(directory.path().join("log"), ORIGIN) };
        let (spool, _) = Spool::open(&options).unwrap();
        let session = SessionStamp::new(vec![(key::SESSION_ID.into(), "s1".into())]);
        for number in 0..60 {
            let event = Event::new(EventName::Statement, Severity::Info, "statement")
                .with(key::QUERY_TEXT, format!("SELECT {number}"));
            let receipt = spool.append(&session, event).unwrap();
            if number % 20 == 19 {
                // Something that asks for a checkpoint, and long enough for it to be made.
                spool.synced(receipt).await.unwrap();
                let end = SessionStamp::new(vec![(key::SESSION_ID.into(), format!("e{number}").into())]);
                spool.append(&end, Event::new(EventName::SessionEnd, Severity::Info, "end")).unwrap();
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
        }
        spool.append(&session, Event::new(EventName::SessionEnd, Severity::Info, "end")).unwrap();
        spool.close().await.unwrap();
        Self { _directory: directory, options }
    }

    fn verify(&self) -> Report {
        verify(&self.options.directory, None).unwrap()
    }

    fn segments(&self) -> Vec<Segment> {
        Segment::list(&self.options.directory).unwrap()
    }

    /// Rewrites the log with other leaves, CRCs made to fit, each record in the segment it was in.
    fn rewrite(&self, edit: impl Fn(&mut Vec<Vec<u8>>)) {
        let mut leaves = Vec::new();
        let mut counts = Vec::new();
        for segment in self.segments() {
            let (mut frames, header) = Frames::open(&segment.path).unwrap();
            let before = leaves.len();
            leaves.extend(std::iter::from_fn(|| frames.next_frame().unwrap()));
            counts.push((segment, header, leaves.len() - before));
        }
        edit(&mut leaves);
        let mut leaves = leaves.into_iter();
        let last = counts.len() - 1;
        for (number, (segment, header, count)) in counts.into_iter().enumerate() {
            let mut bytes = MAGIC.to_vec();
            frame(&mut bytes, &header.encode());
            let take = if number == last { usize::MAX } else { count };
            if leaves.len() == 0 {
                std::fs::remove_file(&segment.path).unwrap();
                continue;
            }
            leaves.by_ref().take(take).for_each(|leaf| frame(&mut bytes, &leaf));
            std::fs::write(&segment.path, bytes).unwrap();
        }
    }

    /// Takes away the mark of a log that was closed in order.
    fn reopen(&self) {
        std::fs::remove_file(self.options.directory.join(crate::spool::CLOSED)).unwrap();
    }

    /// Writes these leaves as one segment, numbered and chained anew: what somebody with write access can do.
    fn forge(&self, leaves: &[Vec<u8>]) -> CompactRange {
        let mut bytes = MAGIC.to_vec();
        frame(&mut bytes, &Header { tree: CompactRange::default(), previous: None }.encode());
        let mut tree = CompactRange::default();
        let mut before = None;
        for (number, leaf) in (0_i64..).zip(leaves) {
            let mut record = Record::decode(leaf).unwrap().into_log_record();
            for attribute in &mut record.attributes {
                let value = attribute.value.as_mut().unwrap();
                if attribute.key == key::SEQUENCE {
                    value.value = Some(Any::IntValue(number));
                } else if attribute.key == key::CHAIN_PREVIOUS {
                    value.value = Some(Any::BytesValue(chain_link(before.as_ref()).to_vec()));
                }
            }
            let leaf = record.encode_to_vec();
            before = Some(leaf_hash(&leaf));
            tree.push(leaf_hash(&leaf));
            frame(&mut bytes, &leaf);
        }
        self.segments().iter().for_each(|segment| std::fs::remove_file(&segment.path).unwrap());
        std::fs::write(Segment::new(&self.options.directory, 0).path, bytes).unwrap();
        tree
    }

    fn leaves(&self) -> Vec<Vec<u8>> {
        let mut leaves = Vec::new();
        for segment in self.segments() {
            let (mut frames, _) = Frames::open(&segment.path).unwrap();
            leaves.extend(std::iter::from_fn(|| frames.next_frame().unwrap()));
        }
        leaves
    }

    fn checkpoints(&self) -> PathBuf {
        self.options.directory.join(checkpoint::CHECKPOINTS)
    }

    fn notes(&self) -> Vec<String> {
        checkpoint::read(&self.options.directory).unwrap().0.into_iter().map(|entry| entry.note).collect()
    }

    fn write_notes(&self, notes: &[String]) {
        std::fs::write(self.checkpoints(), notes.join("\n") + "\n").unwrap();
    }

    fn signer(&self) -> LogSigner {
        let seed = <[u8; 32]>::try_from(std::fs::read(&self.options.key_file).unwrap()).unwrap();
        LogSigner::new(ORIGIN, &seed).unwrap()
    }
}

/// The log is found tampered, and this is among what is said.
fn assert_found(report: &Report, what: &str) {
    assert_eq!(report.outcome, Outcome::Tampered, "{:?}", report.problems);
    assert!(
        report.problems.iter().any(|problem| problem.what.contains(what)),
        "{what}: {:?}",
        report.problems
    );
}

#[tokio::test]
async fn an_untouched_log_is_ok() {
    let log = Log::new().await;
    let report = log.verify();
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.problems);
    assert_eq!((report.records, report.first, report.end, report.tail()), (65, 0, 65, 0));
    assert!(report.checkpoints >= 3 && log.segments().len() >= 3);
    assert_eq!((report.sessions, report.open_sessions), (4, 0));
    assert_eq!(report.origin.as_deref(), Some(ORIGIN));
}

#[tokio::test]
async fn a_log_that_is_being_written_is_ok_too() {
    let log = Log::new().await;
    let (spool, _) = Spool::open(&log.options).unwrap();
    let session = SessionStamp::new(vec![(key::SESSION_ID.into(), "s2".into())]);
    spool.append(&session, Event::new(EventName::SessionStart, Severity::Info, "start")).unwrap();
    let report = log.verify();
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.problems);
    assert!(report.being_written);
    assert_eq!(report.open_sessions, 1);
}

#[tokio::test]
async fn one_flipped_bit_in_any_record_is_found_and_localised() {
    let log = Log::new().await;
    let original = log.leaves();
    for sample in 0_usize..300 {
        let index = sample * 7 % original.len();
        let bit = sample * 131 % (original[index].len() * 8);
        log.rewrite(|leaves| leaves[index][bit / 8] ^= 1 << (bit % 8));
        let report = log.verify();
        assert_eq!(report.outcome, Outcome::Tampered, "bit {bit} of record {index}");
        let near = report.problems.iter().any(|problem| {
            problem.first.is_some_and(|first| first <= index as u64)
                && problem.last.is_some_and(|last| last >= index as u64)
        });
        assert!(near, "bit {bit} of record {index}: {:?}", report.problems);
        log.rewrite(|leaves| leaves.clone_from(&original));
    }
    assert_eq!(log.verify().outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_changed_text_is_localised_to_its_record() {
    let log = Log::new().await;
    log.rewrite(|leaves| {
        let at = leaves[30].windows(6).position(|window| window == b"SELECT").unwrap();
        leaves[30][at..at + 6].copy_from_slice(b"DELETE");
    });
    let report = log.verify();
    assert_found(&report, "seq 30 leaf_hash mismatch");
    assert_eq!(report.first_bad().map(|bad| (bad.first, bad.last)), Some((Some(30), Some(30))));
}

#[tokio::test]
async fn a_false_number_is_localised_to_its_record() {
    let log = Log::new().await;
    log.rewrite(|leaves| {
        let mut record = Record::decode(&leaves[30]).unwrap().into_log_record();
        let number = record.attributes.iter_mut().find(|attribute| attribute.key == key::SEQUENCE).unwrap();
        number.value.as_mut().unwrap().value = Some(Any::IntValue(50));
        leaves[30] = record.encode_to_vec();
    });
    let report = log.verify();
    assert_found(&report, "seq 30 changed: it says that it is 50");
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
}

#[tokio::test]
async fn a_bit_flipped_on_disk_shows_in_the_crc() {
    let log = Log::new().await;
    let segment = log.segments().remove(0);
    let mut bytes = std::fs::read(&segment.path).unwrap();
    let at = bytes.windows(8).position(|window| window == b"SELECT 3").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment.path, bytes).unwrap();
    assert_found(&log.verify(), "seq 4 changed: CRC does not fit");
}

#[tokio::test]
async fn what_cannot_be_read_is_not_called_removed() {
    let log = Log::new().await;
    let segments = log.segments();
    let last = segments.len() - 1;
    for (number, segment) in segments.iter().enumerate() {
        let (mut frames, _) = Frames::open(&segment.path).unwrap();
        frames.next_frame().unwrap();
        let second = usize::try_from(frames.offset()).unwrap();
        let bytes = std::fs::read(&segment.path).unwrap();
        let end = segments.get(number + 1).map_or(65, |next| next.first) - 1;
        // The top bit of a length: of the second record's frame, and of the header's.
        for (at, first, byte) in [(second, segment.first + 1, second), (MAGIC.len(), segment.first, 0)] {
            let mut changed = bytes.clone();
            changed[at] ^= 0x80;
            std::fs::write(&segment.path, changed).unwrap();
            let report = log.verify();
            let name = segment.path.file_name().unwrap().display();
            let what =
                if first == end { format!("record {first}") } else { format!("records {first}..{end}") };
            assert_found(&report, &format!("{what} unreadable: {name} is damaged at byte {byte}"));
            assert_eq!(report.problems.len(), 1, "{number} of {last}: {:?}", report.problems);
        }
        std::fs::write(&segment.path, bytes).unwrap();
    }
    assert_eq!(log.verify().outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_removed_record_is_localised() {
    let log = Log::new().await;
    log.rewrite(|leaves| drop(leaves.remove(20)));
    assert_found(&log.verify(), "record removed between 19 and 21");
}

#[tokio::test]
async fn a_removed_segment_is_localised() {
    let log = Log::new().await;
    let segments = log.segments();
    std::fs::remove_file(&segments[1].path).unwrap();
    let (before, after) = (segments[1].first - 1, segments[2].first);
    assert_found(&log.verify(), &format!("removed between {before} and {after}"));
    // The first one: nothing on record says that it may be missing.
    std::fs::remove_file(&segments[0].path).unwrap();
    assert_found(&log.verify(), &format!("{after} records removed before {after}"));
}

#[tokio::test]
async fn a_tail_cut_below_a_checkpoint_is_found() {
    let log = Log::new().await;
    log.rewrite(|leaves| leaves.truncate(60));
    assert_found(&log.verify(), "tail cut: the checkpoint of size 65 covers records 60..64");
}

#[tokio::test]
async fn a_tail_that_no_checkpoint_covers_is_said_to_be_unsigned() {
    let log = Log::new().await;
    let mut notes = log.notes();
    notes.pop();
    log.write_notes(&notes);
    let report = log.verify();
    assert_eq!((report.outcome, report.tail()), (Outcome::Incomplete, 1), "{:?}", report.problems);
    assert_eq!(
        report.problems[0].what,
        "records 64..64 are signed by no checkpoint: a gateway that goes on with the log signs them"
    );
    log.rewrite(|leaves| leaves.truncate(64));
    assert_found(&log.verify(), "records 64..64 are not there, with which the log was closed");
    log.reopen();
    assert_eq!(log.verify().outcome, Outcome::Ok, "nobody signed it: only a witness could tell");
}

/// What is said of a log whose last records are of this many seconds after the others, and signed by nobody.
async fn signed_but_for(last: &[u64]) -> Report {
    let log = Log::new().await;
    let mut leaves = log.leaves();
    leaves.truncate(10 + last.len());
    let start = Record::decode(&leaves[0]).unwrap().into_log_record().time_unix_nano;
    let times = std::iter::repeat_n(&0, 10).chain(last);
    for (leaf, seconds) in leaves.iter_mut().zip(times) {
        let mut record = Record::decode(leaf).unwrap().into_log_record();
        record.time_unix_nano = start + seconds * 1_000_000_000;
        *leaf = record.encode_to_vec();
    }
    let tree = log.forge(&leaves[..10]);
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root() };
    log.write_notes(&[log.signer().sign(&checkpoint)]);
    log.forge(&leaves);
    log.reopen();
    log.verify()
}

#[tokio::test]
async fn silence_before_the_tail_was_nothing_to_sign() {
    let report = signed_but_for(&[3_600, 3_601]).await;
    assert_eq!((report.outcome, report.tail()), (Outcome::Incomplete, 2), "{:?}", report.problems);
    assert_eq!(
        report.problems[0].what,
        "records 10..11 are signed by no checkpoint: a gateway that goes on with the log signs them"
    );
    let report = signed_but_for(&[3_600, 3_605, 3_615]).await;
    assert_eq!(report.outcome, Outcome::Incomplete);
    assert_eq!(report.problems[0].what, "checkpoints missing: 3 records over 15 s are signed by none");
}

#[tokio::test]
async fn swapped_records_are_localised() {
    let log = Log::new().await;
    log.rewrite(|leaves| leaves.swap(25, 26));
    assert_found(&log.verify(), "record 25 moved: it stands after 26");
}

#[tokio::test]
async fn a_duplicated_record_is_localised() {
    let log = Log::new().await;
    log.rewrite(|leaves| leaves.insert(12, leaves[11].clone()));
    assert_found(&log.verify(), "a second record with seq 11 stands after 11");
}

#[tokio::test]
async fn an_inserted_record_is_found_even_when_all_is_chained_anew() {
    let log = Log::new().await;
    let mut leaves = log.leaves();
    leaves.insert(12, leaves[11].clone());
    log.forge(&leaves);
    let first = SignedSize::of(&log.notes()[0]);
    assert_found(&log.verify(), &format!("records 0..{} are not those that the checkpoint", first - 1));
}

struct SignedSize;

impl SignedSize {
    fn of(note: &str) -> u64 {
        crate::note::SignedCheckpoint::parse(note).unwrap().checkpoint.size
    }
}

#[tokio::test]
async fn a_replayed_checkpoint_is_found() {
    let log = Log::new().await;
    let mut notes = log.notes();
    notes.push(notes[0].clone());
    log.write_notes(&notes);
    assert_found(&log.verify(), "replayed after one of size 65");
}

#[tokio::test]
async fn a_fork_signed_by_the_logs_own_key_is_found() {
    let log = Log::new().await;
    let mut notes = log.notes();
    let root = CompactRange::default().root();
    notes.push(log.signer().sign(&Checkpoint { origin: ORIGIN.to_owned(), size: 65, root }));
    log.write_notes(&notes);
    assert_found(&log.verify(), "fork: two roots for size 65");
}

#[tokio::test]
async fn a_log_signed_anew_with_another_key_is_found_with_the_key_or_without() {
    let log = Log::new().await;
    let key = log.signer().public();
    let tree = log.forge(&log.leaves()[..10]);
    let thief = LogSigner::new(ORIGIN, &[9; 32]).unwrap();
    let note = thief.sign(&Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root() });
    log.write_notes(&[note]);
    log.reopen();
    assert_found(&log.verify(), "checkpoint of size 10: not signed by the log's key");
    // The thief replaces the public key as well: only a key kept elsewhere tells.
    std::fs::write(log.options.directory.join(VERIFIER_KEY), format!("{}\n", thief.public())).unwrap();
    assert_eq!(log.verify().outcome, Outcome::Ok);
    let pinned = verify(&log.options.directory, Some(&key)).unwrap();
    assert_found(&pinned, "is not the log's key");
}

#[tokio::test]
async fn a_log_that_none_of_several_given_keys_signed_is_found() {
    let log = Log::new().await;
    let directory = &log.options.directory;
    let certifiers = ["dev", "prod"].map(|name| LogSigner::new(name, &[3; 32]).unwrap().public());
    // The log's own key lies beside it, which proves nothing to who gave others.
    for keys in [&certifiers[..1], &certifiers[..]] {
        let given = given_key(directory, keys).unwrap();
        let report = verify(directory, given.as_ref()).unwrap();
        assert_found(&report, "none of the given keys is this log's, and none certified");
        assert_eq!((report.key_pinned, report.origin.as_deref()), (true, Some(ORIGIN)));
    }
    let own = log.signer().public();
    let keys = [certifiers.as_slice(), std::slice::from_ref(&own)].concat();
    let given = given_key(directory, &keys).unwrap();
    assert_eq!(given.as_ref(), Some(&own));
    assert_eq!(verify(directory, given.as_ref()).unwrap().outcome, Outcome::Ok);
    assert_eq!(given_key(directory, &[]).unwrap(), None);
}

#[tokio::test]
async fn a_removed_checkpoint_that_the_log_names_is_found() {
    let log = Log::new().await;
    let (spool, _) = Spool::open(&log.options).unwrap();
    spool.close().await.unwrap();
    assert_eq!(log.verify().outcome, Outcome::Ok);
    let mut notes = log.notes();
    notes.remove(notes.len() - 2);
    log.write_notes(&notes);
    assert_found(&log.verify(), "names a checkpoint of size 65 that is not there");
}

#[tokio::test]
async fn a_false_segment_header_is_found() {
    let log = Log::new().await;
    let segment = log.segments().remove(1);
    let (mut frames, mut header) = Frames::open(&segment.path).unwrap();
    let leaves: Vec<_> = std::iter::from_fn(|| frames.next_frame().unwrap()).collect();
    header.previous = Some([1; 32]);
    let mut bytes = MAGIC.to_vec();
    frame(&mut bytes, &header.encode());
    for leaf in &leaves {
        frame(&mut bytes, leaf);
    }
    std::fs::write(&segment.path, bytes).unwrap();
    assert_found(&log.verify(), "header of segment");
}

#[tokio::test]
async fn an_unfinished_record_is_incomplete_and_no_evidence_cannot_be_verified() {
    let log = Log::new().await;
    let last = log.segments().pop().unwrap();
    let mut bytes = std::fs::read(&last.path).unwrap();
    bytes.extend_from_slice(&[0, 0, 1]);
    std::fs::write(&last.path, bytes).unwrap();
    let report = log.verify();
    assert_eq!((report.outcome, report.torn_bytes), (Outcome::Incomplete, 3));
    assert_eq!(report.outcome.exit_code(), 2);

    std::fs::remove_file(log.checkpoints()).unwrap();
    assert_eq!(log.verify().outcome, Outcome::CannotVerify);
    std::fs::remove_file(log.options.directory.join(VERIFIER_KEY)).unwrap();
    assert_eq!(log.verify().outcome, Outcome::CannotVerify);
    let empty = TempDir::new().unwrap();
    assert_eq!(verify(empty.path(), None).unwrap().outcome.exit_code(), 3);
}
