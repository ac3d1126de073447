use super::*;
use crate::checkpoint::newest;
use crate::inventory::{INVENTORY, enter};
use crate::merkle::ConsistencyProver;
use crate::note::certificate::certifier;
use crate::witness::{AddCheckpoint, Answer, COSIGNED, Witness};

/// Witnesses of one log, who are asked directly.
struct Witnessed {
    log: Log,
    witnesses: Vec<(TempDir, Witness)>,
}

impl Witnessed {
    async fn new(count: usize) -> Self {
        let log = Log::new().await;
        let witness = |number| {
            let state = TempDir::new().unwrap();
            let name = format!("witness{number}.local");
            let witness = Witness::open(state.path(), &name, Vec::new(), &[log.signer().public()]).unwrap();
            (state, witness)
        };
        let witnesses = (0..count).map(witness).collect();
        Self { log, witnesses }
    }

    /// This witness cosigns the newest checkpoint of at most this size; kept beside the log, as a gateway does.
    fn cosign(&self, number: usize, at_most: u64) -> u64 {
        let (size, note) = newest(&self.log.options.directory, at_most).unwrap().unwrap();
        let request = AddCheckpoint { old: 0, proof: Vec::new(), note: note.clone() };
        let answer = self.witnesses[number].1.add_checkpoint(&request.print(), 1_700_000_000 + size);
        let Answer::Done(lines) = answer else { panic!("{answer:?}") };
        let path = self.log.options.directory.join(COSIGNED);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, format!("{before}{note}{lines}\n")).unwrap();
        size
    }

    fn keys(&self) -> Vec<crate::note::cosignature::WitnessKey> {
        self.witnesses.iter().map(|(_, witness)| witness.key()).collect()
    }

    fn verify(&self, witnesses: &Witnesses) -> Report {
        verify_witnessed(&self.log.options.directory, None, &[], witnesses).unwrap()
    }
}

#[tokio::test]
async fn as_many_witnesses_as_are_asked_for_have_to_agree() {
    let all = Witnessed::new(3).await;
    let (most, first) = (all.cosign(0, u64::MAX), SignedSize::of(&all.log.notes()[0]));
    assert_eq!((most, all.cosign(1, first)), (65, first));
    for (quorum, witnessed) in [(1, Some(most)), (2, Some(first)), (3, None)] {
        let witnesses = Witnesses::new(all.keys(), Some(quorum)).unwrap();
        let report = all.verify(&witnesses);
        assert_eq!((report.witnessed, report.cosigned), (witnessed, 2), "of {quorum}");
        let expected = if quorum == 1 { Outcome::Ok } else { Outcome::Incomplete };
        assert_eq!(report.outcome, expected, "{:?}", report.problems);
    }
    assert!(Witnesses::new(all.keys(), Some(4)).is_none() && Witnesses::new(all.keys(), Some(0)).is_none());
    assert_eq!(all.verify(&Witnesses::default()).witnesses, 0);
}

#[tokio::test]
async fn a_changed_cosignature_and_one_of_another_log_are_found() {
    let one = Witnessed::new(1).await;
    one.cosign(0, u64::MAX);
    let witnesses = Witnesses::new(one.keys(), None).unwrap();
    let path = one.log.options.directory.join(COSIGNED);
    let cosigned = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, cosigned.replacen("\n65\n", "\n64\n", 1)).unwrap();
    assert_found(&one.verify(&witnesses), "cosignature of witness0.local on 64 records");
    // What somebody who is not trusted added says nothing, and does no harm.
    let stranger = Witnessed::new(1).await;
    std::fs::write(&path, &cosigned).unwrap();
    let report = one.verify(&Witnesses::new(stranger.keys(), None).unwrap());
    // The strangers' names are equal and their keys are not.
    assert_eq!((report.outcome, report.witnessed), (Outcome::Incomplete, None), "{:?}", report.problems);
}

#[tokio::test]
async fn only_the_witnesss_own_word_finds_what_was_rolled_back_together() {
    let one = Witnessed::new(1).await;
    one.cosign(0, u64::MAX);
    let mut asked = Witnesses::new(one.keys(), None).unwrap();
    asked.add_statement(&one.witnesses[0].1.statement("-", 1_700_001_000)).unwrap();
    assert_eq!(one.verify(&asked).outcome, Outcome::Ok);
    // Cut at the first checkpoint, with all that was signed later.
    let first = usize::try_from(SignedSize::of(&one.log.notes()[0])).unwrap();
    one.log.rewrite(|leaves| leaves.truncate(first));
    one.log.write_notes(&one.log.notes()[..1]);
    one.log.reopen();
    std::fs::remove_file(one.log.options.directory.join(COSIGNED)).unwrap();
    assert_eq!(one.log.verify().outcome, Outcome::Ok, "the log alone shows nothing");
    let report = one.verify(&asked);
    assert_found(&report, &format!("covers records {first}..64, which are not there"));
    assert_eq!(report.stated, Some(1_700_001_000));
}

#[tokio::test]
async fn a_log_that_was_written_anew_with_its_own_key_is_a_fork() {
    let one = Witnessed::new(1).await;
    one.cosign(0, u64::MAX);
    let mut asked = Witnesses::new(one.keys(), None).unwrap();
    asked.add_statement(&one.witnesses[0].1.statement("-", 5)).unwrap();
    let mut leaves = one.log.leaves();
    leaves.swap(10, 11);
    let tree = one.log.forge(&leaves);
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root() };
    one.log.write_notes(&[one.log.signer().sign(&checkpoint)]);
    std::fs::remove_file(one.log.options.directory.join(COSIGNED)).unwrap();
    assert_found(&one.verify(&asked), "fork: the checkpoint of size 65 that witness witness0.local saw");
    // And the witness does not take it.
    let note = one.log.notes().remove(0);
    let proof = ConsistencyProver::new(tree, 65).finish().unwrap().1;
    let request = AddCheckpoint { old: 65, proof, note }.print();
    assert_eq!(one.witnesses[0].1.add_checkpoint(&request, 6), Answer::Conflict(65));
}

#[tokio::test]
async fn a_log_that_is_gone_is_missed_by_witnesses_and_by_the_inventory() {
    let one = Witnessed::new(1).await;
    one.cosign(0, u64::MAX);
    let mut asked = Witnesses::new(one.keys(), None).unwrap();
    asked.add_statement(&one.witnesses[0].1.statement("-", 5)).unwrap();
    let here = [one.verify(&asked)];
    assert!(missing_logs(&here, &asked, "").is_empty());
    let gone = missing_logs(&[], &asked, "dev/default/");
    assert_eq!((gone.len(), gone[0].outcome), (1, Outcome::Incomplete));
    assert!(gone[0].problems[0].what.contains("saw 65 records of it"), "{:?}", gone[0].problems);
    assert!(missing_logs(&[], &asked, "prod/").is_empty());

    let directory = one.log.options.directory.parent().unwrap();
    let certifier = certifier(&[1; 32], "dev").unwrap();
    enter(directory, &one.log.options.directory, &certifier).unwrap();
    enter(directory, &one.log.options.directory, &certifier).unwrap();
    let keys = [certifier.public()];
    assert!(verify_inventory(directory, &keys, &here).unwrap().is_empty());
    let gone = verify_inventory(directory, &keys, &[]).unwrap();
    assert_eq!((gone.len(), gone[0].origin.as_deref()), (1, Some(ORIGIN)));
    let others = ["dev", "prod"].map(|name| LogSigner::new(name, &[3; 32]).unwrap().public());
    let replaced = verify_inventory(directory, &others, &here).unwrap();
    assert_found(&replaced[0], "the certifier's key beside the inventory");
    // Who gives the key of one log says nothing of the certifier.
    assert!(verify_inventory(directory, &[one.log.signer().public()], &here).unwrap().is_empty());
    let own = certified_key(&one.log.options.directory, &keys).unwrap();
    assert_eq!(own, Some(one.log.signer().public()));
    assert_eq!(given_key(&one.log.options.directory, &[&others[..], &keys].concat()).unwrap(), own);
    let thief = crate::note::certificate::certifier(&[2; 32], "dev").unwrap().public();
    assert_eq!(certified_key(&one.log.options.directory, &[thief]).unwrap(), None);
}

#[tokio::test]
async fn an_inventory_that_lost_an_entry_is_found() {
    let folder = TempDir::new().unwrap();
    let certifier = certifier(&[1; 32], "dev").unwrap();
    for name in ["a", "b", "c"] {
        let options = SpoolOptions::new(folder.path().join(name), format!("dev/default/orders/{name}"));
        let (spool, _) = Spool::open(&options).unwrap();
        spool.close().await.unwrap();
        enter(folder.path(), &options.directory, &certifier).unwrap();
    }
    let reports: Vec<Report> =
        ["a", "b", "c"].map(|name| verify(&folder.path().join(name), None).unwrap()).into();
    let check = || verify_inventory(folder.path(), &[], &reports).unwrap();
    assert!(check().is_empty());
    let path = folder.path().join(INVENTORY);
    let entries = checkpoint::read_notes(&path).unwrap().0;
    std::fs::write(&path, format!("{}\n{}\n", entries[0], entries[2])).unwrap();
    assert_found(&check()[0], "entry 1 of the inventory does not follow the one before it");
    std::fs::write(&path, format!("{}\n{}\n", entries[0], entries[1].replacen("\n1\n", "\n2\n", 1))).unwrap();
    assert_found(&check()[0], "entry 1 of the inventory: signature does not fit");
    // A crash while the last one was written; the next start goes on.
    std::fs::write(&path, format!("{}\n{}\n{}", entries[0], entries[1], entries[2].split_at(40).0)).unwrap();
    assert_eq!(check()[0].outcome, Outcome::Incomplete);
    enter(folder.path(), &folder.path().join("c"), &certifier).unwrap();
    assert!(check().is_empty());
}
