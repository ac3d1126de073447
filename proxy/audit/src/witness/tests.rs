use super::*;
use crate::merkle::{CompactRange, ConsistencyProver, Hash, leaf_hash};
use crate::note::certificate::{Certified, certifier};
use crate::note::cosignature::WitnessKey;
use crate::note::{Checkpoint, LogSigner, SignedNote};
use tempfile::TempDir;

const ORIGIN: &str = "prod/shop/orders/gw-1";

struct Scene {
    state: TempDir,
    log: LogSigner,
}

impl Scene {
    fn new() -> Self {
        Self { state: TempDir::new().unwrap(), log: LogSigner::new(ORIGIN, &[7; 32]).unwrap() }
    }

    fn witness(&self) -> Witness {
        let certifier = certifier(&[1; 32], "prod").unwrap().public();
        Witness::open(self.state.path(), "witness.local", vec![certifier], &[self.log.public()]).unwrap()
    }

    /// A request for a log whose records are these numbers.
    fn request(&self, old: u64, records: &[u64]) -> String {
        let later = tree(records);
        let known = usize::try_from(old).unwrap().min(records.len());
        let mut prover = ConsistencyProver::new(tree(&records[..known]), later.size());
        records[known..].iter().for_each(|record| prover.push(leaf(*record)));
        let proof = prover.finish().map(|(_, proof)| proof).unwrap_or_default();
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: later.size(), root: later.root() };
        AddCheckpoint { old, proof, note: self.log.sign(&checkpoint) }.print()
    }
}

fn leaf(number: u64) -> Hash {
    leaf_hash(&number.to_be_bytes())
}

fn tree(records: &[u64]) -> CompactRange {
    let mut tree = CompactRange::default();
    for record in records {
        tree.push(leaf(*record));
    }
    tree
}

fn lines(answer: &Answer) -> &str {
    let Answer::Done(lines) = answer else { panic!("{answer:?}") };
    lines
}

/// When the witness says that it cosigned what the request asks for.
fn time(key: &WitnessKey, request: &str, answer: &Answer) -> Option<u64> {
    let note = AddCheckpoint::parse(request).unwrap().note + lines(answer);
    key.verify(&SignedNote::parse(&note).unwrap()).unwrap()
}

#[test]
fn a_log_that_only_grows_is_cosigned_and_the_cosignature_verifies() {
    let scene = Scene::new();
    let witness = scene.witness();
    let records: Vec<u64> = (0..40).collect();
    for (old, size) in [(0, 3), (3, 3), (3, 8), (8, 31), (31, 40)] {
        let request = scene.request(old, &records[..size]);
        let answer = witness.add_checkpoint(&request, 1_000 + old);
        assert_eq!(time(&witness.key(), &request, &answer), Some(1_000 + old), "{old} to {size}");
    }
}

#[test]
fn forks_and_rollbacks_are_refused_also_after_a_restart() {
    let scene = Scene::new();
    let witness = scene.witness();
    let records: Vec<u64> = (0..20).collect();
    lines(&witness.add_checkpoint(&scene.request(0, &records[..12]), 5));
    drop(witness);
    let witness = scene.witness();
    let mut fork = records.clone();
    fork[4] = 99;
    for (request, expected) in [
        // Rolled back, and to the witness's own size with another history.
        (scene.request(12, &records[..9]), Answer::Malformed),
        (scene.request(9, &records[..9]), Answer::Conflict(12)),
        (scene.request(0, &records[..9]), Answer::Conflict(12)),
        (scene.request(12, &fork[..12]), Answer::Conflict(12)),
        (scene.request(12, &fork), Answer::BadProof),
    ] {
        assert_eq!(witness.add_checkpoint(&request, 6), expected);
    }
    // The proof of who signed two histories is kept, and the log can go on.
    let conflicts = std::fs::read_to_string(scene.state.path().join("conflicts")).unwrap();
    assert_eq!(conflicts.matches(ORIGIN).count(), 4, "{conflicts}");
    lines(&witness.add_checkpoint(&scene.request(12, &records), 7));
}

#[test]
fn what_is_not_the_logs_is_not_cosigned() {
    let scene = Scene::new();
    let witness = scene.witness();
    let request = scene.request(0, &[1, 2, 3]);
    assert_eq!(witness.add_checkpoint("old 0\n", 5), Answer::Malformed);
    assert_eq!(witness.add_checkpoint(&request.replacen("\n3\n", "\n4\n", 1), 5), Answer::Untrusted);
    let other = request.replace(ORIGIN, "prod/shop/orders/gw-2");
    assert_eq!(witness.add_checkpoint(&other, 5), Answer::UnknownLog);
    assert!(!scene.state.path().join("conflicts").exists());
}

#[test]
fn a_certified_log_becomes_known_once_and_for_all() {
    let scene = Scene::new();
    let witness = scene.witness();
    let [tenant, thief] = [[1; 32], [2; 32]].map(|key| certifier(&key, "prod").unwrap());
    let certificate_of = |origin: &str, seed: u8| {
        let log = LogSigner::new(origin, &[seed; 32]).unwrap().public();
        Certified { log, number: 0, previous: [0; 32] }
    };
    let new = certificate_of("prod/shop/orders/gw-2", 3);
    assert_eq!(witness.add_log(&new.sign(&thief)), Answer::Untrusted);
    assert_eq!(witness.add_log("x"), Answer::Malformed);
    assert_eq!(witness.add_log(&certificate_of("test/shop/orders/gw-2", 3).sign(&tenant)), Answer::Untrusted);
    assert_eq!(witness.add_log(&new.sign(&tenant)), Answer::Done(String::new()));
    assert_eq!(witness.add_log(&new.sign(&tenant)), Answer::Done(String::new()));
    // Another key for it, even a certified one, would be another history.
    assert_eq!(witness.add_log(&certificate_of("prod/shop/orders/gw-2", 4).sign(&tenant)), Answer::OtherKey);
    drop(witness);
    let witness = scene.witness();
    assert_eq!(witness.add_log(&certificate_of(ORIGIN, 4).sign(&tenant)), Answer::OtherKey);
}

#[test]
fn a_statement_names_every_log_and_is_the_witnesss_own() {
    let scene = Scene::new();
    let witness = scene.witness();
    let records = [1, 2, 3];
    lines(&witness.add_checkpoint(&scene.request(0, &records), 5));
    let certifier = certifier(&[1; 32], "prod").unwrap();
    let log = LogSigner::new("prod/shop/orders/gw-2", &[3; 32]).unwrap().public();
    witness.add_log(&Certified { log: log.clone(), number: 1, previous: [0; 32] }.sign(&certifier));
    let note = witness.statement("abc123", 9);
    let statement = Statement::parse(&note, &witness.key()).unwrap();
    assert_eq!((statement.time, statement.nonce.as_str()), (9, "abc123"));
    let expected = Witnessed { key: scene.log.public(), size: 3, time: 5, root: tree(&records).root() };
    assert_eq!(statement.logs, [expected, Witnessed::nothing(log)]);
    // Neither a changed one nor another's; and what is asked for cannot become a line of it.
    let thief = crate::note::cosignature::WitnessSigner::new("witness.local", &[9; 32]).unwrap().public();
    assert!(Statement::parse(&note, &thief).is_err());
    assert!(Statement::parse(&note.replacen("\n3 ", "\n2 ", 1), &witness.key()).is_err());
    let odd = Statement::parse(&witness.statement("a\n9 9 x", 9), &witness.key()).unwrap();
    assert_eq!((odd.nonce.as_str(), odd.logs.len()), ("-", 2));
}

#[test]
fn two_witnesses_with_one_state_and_a_changed_state_are_refused() {
    let scene = Scene::new();
    let witness = scene.witness();
    let again = Witness::open(scene.state.path(), "witness.local", Vec::new(), &[]);
    assert!(matches!(again, Err(OpenError::Io(_))), "{again:?}");
    lines(&witness.add_checkpoint(&scene.request(0, &[1, 2, 3]), 5));
    drop(witness);
    let other = LogSigner::new(ORIGIN, &[8; 32]).unwrap().public();
    let again = Witness::open(scene.state.path(), "witness.local", Vec::new(), &[other]);
    assert!(matches!(again, Err(OpenError::OtherKey { .. })), "{again:?}");
    let entry = std::fs::read_dir(scene.state.path().join("logs")).unwrap().next().unwrap().unwrap();
    let kept = std::fs::read_to_string(entry.path()).unwrap();
    std::fs::write(entry.path(), kept.replacen("\\n3\\n", "\\n2\\n", 1)).unwrap();
    let again = Witness::open(scene.state.path(), "witness.local", Vec::new(), &[]);
    assert!(matches!(again, Err(OpenError::Log { .. })), "{again:?}");
}
