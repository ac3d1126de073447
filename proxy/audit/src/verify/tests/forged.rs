//! What somebody makes who can write the log's directory and has no key: none of it may pass for whole.

use super::*;

impl Log {
    /// Writes a segment of this name with these leaves behind this header, chained to one another as they are.
    fn write_segment(&self, name: u64, header: &Header, leaves: &[Vec<u8>]) {
        let mut bytes = MAGIC.to_vec();
        frame(&mut bytes, &header.encode());
        for leaf in leaves {
            frame(&mut bytes, leaf);
        }
        std::fs::write(Segment::new(&self.options.directory, name).path, bytes).unwrap();
    }
}

/// The first leaf, numbered and chained to follow these, with other attributes.
fn another(leaves: &[Vec<u8>], attributes: &[(&'static str, i64)]) -> Vec<u8> {
    let mut record = Record::decode(&leaves[0]).unwrap().into_log_record();
    let before = leaf_hash(leaves.last().unwrap());
    for attribute in &mut record.attributes {
        let value = attribute.value.as_mut().unwrap();
        if attribute.key == key::SEQUENCE {
            value.value = Some(Any::IntValue(i64::try_from(leaves.len()).unwrap()));
        } else if attribute.key == key::CHAIN_PREVIOUS {
            value.value = Some(Any::BytesValue(chain_link(Some(&before)).to_vec()));
        }
    }
    let last = Record::decode(leaves.last().unwrap()).unwrap().into_log_record();
    record.time_unix_nano = last.time_unix_nano;
    for (name, number) in attributes {
        let mut attribute = record.attributes[0].clone();
        (*name).clone_into(&mut attribute.key);
        attribute.value.as_mut().unwrap().value = Some(Any::IntValue(*number));
        record.attributes.push(attribute);
    }
    record.encode_to_vec()
}

#[tokio::test]
async fn a_segment_that_begins_the_log_once_more_does_not_replace_it() {
    let log = Log::new().await;
    let key = log.signer().public();
    let leaves = log.leaves();
    log.forge(&leaves);
    let begin = Header { tree: CompactRange::default(), previous: None };
    log.write_segment(0, &begin, &leaves[..1]);
    // all others, changed, behind a header that says that nothing was before
    let mut forged = vec![leaves[0].clone()];
    for leaf in &leaves[1..] {
        let mut record = Record::decode(leaf).unwrap().into_log_record();
        let before = leaf_hash(forged.last().unwrap());
        for attribute in &mut record.attributes {
            let value = attribute.value.as_mut().unwrap();
            if attribute.key == key::CHAIN_PREVIOUS {
                let before = (forged.len() > 1).then_some(&before);
                value.value = Some(Any::BytesValue(chain_link(before).to_vec()));
            } else if attribute.key == key::QUERY_TEXT {
                value.value = Some(Any::StringValue("select 1 -- never mind".to_owned()));
            }
        }
        forged.push(record.encode_to_vec());
    }
    log.write_segment(1, &begin, &forged[1..]);
    let notes = log.notes();
    for report in [
        log.verify(),
        verify(&log.options.directory, Some(&key)).unwrap(),
        verify_with(&log.options.directory, Some(&key), &notes[notes.len() - 1..]).unwrap(),
    ] {
        assert_found(&report, "the segment called 1 says that it begins with record 0");
    }
    // under the name that its header has, it is the first
    std::fs::rename(
        Segment::new(&log.options.directory, 1).path,
        Segment::new(&log.options.directory, 0).path,
    )
    .unwrap();
    assert_eq!(log.verify().outcome, Outcome::Tampered);
}

#[tokio::test]
async fn the_oldest_records_do_not_go_by_another_name_of_the_next_segment() {
    let log = Log::new().await;
    let segments = log.segments();
    std::fs::rename(&segments[1].path, &segments[0].path).unwrap();
    let first = segments[1].first;
    let report = log.verify();
    assert_found(&report, &format!("{first} records removed before {first}"));
    assert!(report.problems.iter().any(|problem| problem.what.contains("the segment called 0 says")));
    // nor by a name that is only near
    std::fs::rename(&segments[0].path, Segment::new(&log.options.directory, first - 1).path).unwrap();
    assert_eq!(log.verify().outcome, Outcome::Tampered);
}

#[tokio::test]
async fn what_nobody_signed_excuses_no_removal() {
    let log = Log::new().await;
    let mut leaves = log.leaves();
    let segments = log.segments();
    let first = i64::try_from(segments[1].first).unwrap();
    leaves.push(another(&leaves, &[(key::REMOVED_BELOW, first)]));
    log.rewrite(|all| all.push(leaves.last().unwrap().clone()));
    std::fs::remove_file(&segments[0].path).unwrap();
    let report = log.verify();
    assert_eq!(report.removed_below, None);
    assert_found(&report, &format!("{first} records removed before {first}"));
}

#[tokio::test]
async fn nothing_is_added_to_a_log_that_was_closed() {
    let log = Log::new().await;
    let leaves = log.leaves();
    let added = another(&leaves, &[]);
    log.rewrite(|all| all.push(added.clone()));
    assert_found(&log.verify(), "records 65..65 were added after the log was closed");
    log.reopen();
    let report = log.verify();
    assert_eq!((report.outcome, report.problems[0].first), (Outcome::Incomplete, Some(65)));
    // a lock that anybody can hold is no gateway: that would have signed it long ago
    let lock = std::fs::File::options().append(true).open(log.options.directory.join("lock")).unwrap();
    lock.lock().unwrap();
    let report = log.verify();
    assert!(report.being_written);
    assert_eq!(report.outcome, Outcome::Ok, "for as long as a gateway may take: {:?}", report.problems);
}

#[tokio::test]
async fn a_lock_does_not_stand_for_checkpoints() {
    let log = Log::new().await;
    let mut leaves = log.leaves();
    for leaf in &mut leaves {
        let mut record = Record::decode(leaf).unwrap().into_log_record();
        record.time_unix_nano -= 3_600_000_000_000;
        *leaf = record.encode_to_vec();
    }
    log.forge(&leaves);
    log.write_notes(&[]);
    let lock = std::fs::File::options().append(true).open(log.options.directory.join("lock")).unwrap();
    lock.lock().unwrap();
    let report = log.verify();
    assert!(report.being_written);
    assert_eq!(report.outcome, Outcome::CannotVerify, "{:?}", report.problems);
}

#[tokio::test]
async fn what_a_start_signs_of_the_time_before_is_told_and_a_closed_log_gets_nothing_more() {
    let log = Log::new().await;
    let leaves = log.leaves();
    let added = another(&leaves, &[]);
    log.rewrite(|all| all.push(added.clone()));
    let refused = Spool::open(&log.options).unwrap_err().to_string();
    assert!(refused.contains("it was closed with 65 records, and 66 are here"), "{refused}");
    // after a crash nobody can tell
    log.reopen();
    let (spool, _) = Spool::open(&log.options).unwrap();
    spool.close().await.unwrap();
    let report = log.verify();
    assert_eq!((report.outcome, report.signed_late), (Outcome::Ok, vec![(65, 65)]), "{:?}", report.problems);
}

#[tokio::test]
async fn a_clock_that_went_back_is_named_by_the_record_and_is_no_tampering() {
    let log = Log::new().await;
    let mut leaves = log.leaves();
    // Two steps back: by 9 s at record 20, and by 30 s at record 40.
    for (number, leaf) in leaves.iter_mut().enumerate() {
        let mut record = Record::decode(leaf).unwrap().into_log_record();
        record.time_unix_nano = 2_000_000_000_000_000_000 + number as u64 * 1_000_000_000;
        record.time_unix_nano -= [0, 10, 41][number / 20 % 3] * 1_000_000_000;
        *leaf = record.encode_to_vec();
    }
    let leaves = &leaves[..60];
    let tree = log.forge(leaves);
    let signed = Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root() };
    log.write_notes(&[log.signer().sign(&signed)]);
    log.reopen();
    let report = log.verify();
    assert_eq!((report.clock_back_ms, report.clock_back_at, report.clock_backs), (30_000, Some(40), 2));
    assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.problems);
}

#[tokio::test]
async fn parts_of_results_that_changed_places_are_found() {
    let log = Log::new().await;
    let (spool, _) = Spool::open(&log.options).unwrap();
    let session = SessionStamp::new(vec![(key::SESSION_ID.into(), "s2".into())]);
    for (command, text) in [(1_i64, "alice"), (2, "robin")] {
        let event = |name| Event::new(name, Severity::Info, "of a command").with(key::COMMAND, command);
        let frames = crate::Value::Bytes(text.as_bytes().to_vec().into());
        spool.append(&session, event(EventName::Statement)).unwrap();
        spool.append(&session, event(EventName::Result).with(key::FRAMES, frames)).unwrap();
    }
    spool.append(&session, Event::new(EventName::SessionEnd, Severity::Info, "end")).unwrap();
    spool.close().await.unwrap();
    let parts: Vec<usize> = (0..log.leaves().len())
        .filter(|at| Record::decode(&log.leaves()[*at]).unwrap().bytes(key::FRAMES).is_some())
        .collect();
    assert_eq!(log.verify().outcome, Outcome::Ok);
    log.rewrite(|leaves| {
        for (at, from, to) in [(parts[0], b"alice", b"robin"), (parts[1], b"robin", b"alice")] {
            let place = leaves[at].windows(5).position(|window| window == from).unwrap();
            leaves[at][place..place + 5].copy_from_slice(to);
        }
    });
    let report = log.verify();
    assert_eq!(report.outcome, Outcome::Tampered);
    for at in parts {
        let at = Some(at as u64);
        assert!(report.problems.iter().any(|bad| bad.first <= at && at <= bad.last), "{:?}", report.problems);
    }
}
