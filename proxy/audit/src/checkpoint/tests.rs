use super::*;
use crate::SessionStamp;
use crate::event::{Event, EventName, Severity, key};
use crate::inventory::{INVENTORY, Inventory, enter};
use crate::note::Checkpoint;
use crate::note::certificate::certifier;
use crate::spool::{Spool, SpoolOptions};
use crate::verify::{Outcome, verify};
use tempfile::TempDir;

const ORIGIN: &str = "dev/default/orders/0";

/// What may lie after the last whole note: each beginning of another note, and what a disk makes of a lost write.
fn tails(note: &str) -> Vec<Vec<u8>> {
    let garbage = [vec![0; 200], vec![0xff; 100], "—".repeat(40).into_bytes(), b"\xe2\x80\n\n\xe2".to_vec()];
    let whole = format!("{note}\n").into_bytes();
    (0..whole.len()).map(|end| whole[..end].to_vec()).chain(garbage).collect()
}

fn signed(size: u64) -> String {
    let signer = LogSigner::new(ORIGIN, &[7; 32]).unwrap();
    signer.sign(&Checkpoint { origin: ORIGIN.to_owned(), size, root: [5; 32] })
}

#[test]
fn whatever_follows_the_last_whole_note_no_note_before_it_is_lost() {
    let directory = TempDir::new().unwrap();
    let before = format!("{}\n{}\n", signed(3), signed(8));
    for file in [CHECKPOINTS, COSIGNED] {
        let path = directory.path().join(file);
        for tail in tails(&signed(21)) {
            std::fs::write(&path, [before.as_bytes(), &tail].concat()).unwrap();
            let (notes, torn) = read_notes(&path).unwrap();
            assert_eq!((notes, torn), (vec![signed(3), signed(8)], tail.len() as u64), "{tail:?}");
            Writer::open_file(&path, torn).unwrap().append(&signed(34)).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{before}{}\n", signed(34)));
        }
    }
}

#[test]
fn whatever_follows_its_last_entry_an_inventory_takes_the_next_log() {
    let directory = TempDir::new().unwrap();
    let signer = certifier(&[1; 32], "dev").unwrap();
    let log = |number: u8| {
        let log = directory.path().join(format!("log{number}"));
        std::fs::create_dir_all(&log).unwrap();
        let key = LogSigner::new(&format!("{ORIGIN}{number}"), &[number; 32]).unwrap().public();
        std::fs::write(log.join(VERIFIER_KEY), format!("{key}\n")).unwrap();
        log
    };
    let path = directory.path().join(INVENTORY);
    let entries = [1, 2, 3].map(|number| enter(directory.path(), &log(number), &signer).unwrap());
    for tail in tails(&entries[2]) {
        let before = format!("{}\n{}\n", entries[0], entries[1]);
        std::fs::write(&path, [before.as_bytes(), &tail].concat()).unwrap();
        let again = enter(directory.path(), &log(3), &signer).unwrap();
        assert_eq!(again, entries[2], "it names the entry before it: {tail:?}");
        let inventory = Inventory::read(directory.path()).unwrap();
        assert_eq!((inventory.entries.len(), inventory.torn_bytes), (3, 0));
    }
}

#[tokio::test]
async fn a_log_whose_last_checkpoint_is_torn_anywhere_goes_on_and_verifies() {
    let directory = TempDir::new().unwrap();
    let options = SpoolOptions::new(directory.path().join("log"), ORIGIN);
    let path = options.directory.join(CHECKPOINTS);
    let session = SessionStamp::new(vec![(key::SESSION_ID.into(), "s".into())]);
    let (spool, _) = Spool::open(&options).unwrap();
    spool.append(&session, Event::new(EventName::SessionEnd, Severity::Info, "end")).unwrap();
    spool.close().await.unwrap();
    // Around the dash of the signature, and what is no text at all.
    let tails: Vec<Vec<u8>> = tails(&signed(99)).into_iter().rev().take(130).collect();
    assert!(tails.iter().any(|tail| tail.ends_with(b"\n\xe2\x80")));
    for tail in tails {
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [whole.as_slice(), &tail].concat()).unwrap();
        let (spool, _) = Spool::open(&options).unwrap();
        spool.close().await.unwrap();
        let after = std::fs::read(&path).unwrap();
        assert!(after.starts_with(&whole) && !after[whole.len()..].starts_with(&tail), "{tail:?}");
        let report = verify(&options.directory, None).unwrap();
        assert_eq!(report.outcome, Outcome::Ok, "{:?}", report.problems);
    }
}

#[test]
fn only_whole_notes_are_whole() {
    let note = "origin\n3\nroot\n\n— key sig\n\n";
    for (text, whole) in [
        (String::new(), 0),
        (note.to_owned(), note.len()),
        (format!("{note}origin\n4\nroot\n\n"), note.len()),
        (format!("{note}{note}"), 2 * note.len()),
        (format!("{note}origin\n4\nroot\n\n— key sig\n"), note.len()),
    ] {
        assert_eq!(whole_notes(text.as_bytes()), whole, "{text:?}");
    }
}
