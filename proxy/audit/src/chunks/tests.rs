use super::*;
use crate::archive::{ArchiveOptions, Archiver, Location};
use crate::event::{Event, EventName, Severity};
use crate::evidence::{Bundle, export};
use crate::read::records;
use crate::source::{Source, SpoolSource, UnsealedSource, Wanted};
use crate::verify::{Outcome, verify, verify_bundle};
use crate::{SessionStamp, Spool, SpoolOptions};
use age::secrecy::ExposeSecret as _;
use std::collections::BTreeMap;
use std::time::Duration;
use tempfile::TempDir;

const ORIGIN: &str = "dev/default/orders/0";
const CANARY: &[u8] = b"ada@example.com";

/// A log with encrypted results, and an auditor.
struct Scene {
    directory: TempDir,
    spool: Spool,
    identity: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let auditor = age::x25519::Identity::generate();
        let identity = directory.path().join("auditor.txt");
        std::fs::write(&identity, auditor.to_string().expose_secret()).unwrap();
        let (spool, _) = Spool::open(&SpoolOptions::new(directory.path().join("log"), ORIGIN)).unwrap();
        let recipient = auditor.to_public().to_string();
        spool.encrypt_results(Some(Recipients::parse([recipient.as_str()]).unwrap()));
        Self { directory, spool, identity }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn session(&self, id: &str, results: u8) -> SessionStamp {
        let stamp = SessionStamp::new(vec![(key::SESSION_ID.into(), id.into())]);
        for number in 0..results {
            let frames = [CANARY, &[number]].concat();
            let event = Event::new(EventName::Result, Severity::Info, "x")
                .with(key::FRAMES, bytes::Bytes::from(frames));
            self.spool.append(&stamp, event).unwrap();
        }
        self.spool.append(&stamp, Event::new(EventName::SessionEnd, Severity::Info, "end")).unwrap();
        stamp
    }

    fn identities(&self) -> Identities {
        Identities::read(std::slice::from_ref(&self.identity)).unwrap()
    }

    /// The results as who has the identity sees them.
    fn frames(&self, log: &Path) -> Vec<Vec<u8>> {
        let origins = BTreeMap::from([(ORIGIN.to_owned(), log.to_owned())]);
        let inner = Box::new(SpoolSource::new(vec![log.to_owned()]));
        let source = UnsealedSource::new(inner, origins, self.identities());
        let records = source.records(&Wanted::default()).unwrap();
        records.filter_map(|record| Some(record.unwrap().bytes(key::FRAMES)?.to_vec())).collect()
    }
}

fn holds_canary(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds_canary(&path);
        }
        std::fs::read(path).unwrap().windows(CANARY.len()).any(|window| window == CANARY)
    })
}

#[test]
fn recipients_are_whole_public_keys() {
    assert_eq!(Recipients::parse([]).unwrap_err(), RecipientError::None);
    let key = age::x25519::Identity::generate();
    let public = key.to_public().to_string();
    assert!(Recipients::parse([public.as_str(), public.as_str()]).is_ok());
    let secret = key.to_string();
    let error = Recipients::parse([public.as_str(), secret.expose_secret()]).unwrap_err();
    assert_eq!(error, RecipientError::Malformed { index: 1 });
    assert!(!error.to_string().contains("SECRET"));
}

#[tokio::test]
async fn results_are_read_with_the_key_and_by_nobody_else() {
    let scene = Scene::new();
    scene.session("s1", 3);
    scene.session("s2", 2);
    scene.spool.close().await.unwrap();
    assert!(!holds_canary(&scene.log()));
    assert!(records(&scene.log()).unwrap().all(|record| record.unwrap().bytes(key::FRAMES).is_none()));
    let report = verify(&scene.log(), None).unwrap();
    assert_eq!((report.outcome, report.encrypted_chunks, report.erased_chunks), (Outcome::Ok, 5, 0));
    let expected: Vec<_> = [0, 1, 2, 0, 1].map(|number| [CANARY, &[number]].concat()).to_vec();
    assert_eq!(scene.frames(&scene.log()), expected);

    let stranger = scene.directory.path().join("stranger.txt");
    std::fs::write(&stranger, age::x25519::Identity::generate().to_string().expose_secret()).unwrap();
    let stranger = Identities::read(&[stranger]).unwrap();
    let first = records(&scene.log()).unwrap().find_map(|record| ChunkRef::of(&record.unwrap())).unwrap();
    let refused = Chunks::new(&stranger).plaintext(&scene.log(), &first).unwrap_err();
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
}

#[tokio::test]
async fn an_erased_session_still_verifies_and_a_changed_chunk_does_not() {
    let scene = Scene::new();
    scene.session("s1", 3);
    scene.session("s2", 2);
    scene.spool.close().await.unwrap();
    let path = |kind: &str| file(&scene.log(), "s2", kind).unwrap();

    let whole = std::fs::read(path(CIPHERTEXTS)).unwrap();
    for at in [whole.len() - 1, whole.len() / 2, 300] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(path(CIPHERTEXTS), &changed).unwrap();
        let report = verify(&scene.log(), None).unwrap();
        assert_eq!(report.outcome, Outcome::Tampered, "byte {at}");
        assert!(report.first_bad().unwrap().what.contains("encrypted result"), "{report:?}");
    }
    std::fs::remove_file(path(CIPHERTEXTS)).unwrap();
    assert_eq!(verify(&scene.log(), None).unwrap().outcome, Outcome::Tampered);
    // The chunks of another session are no replacement.
    std::fs::copy(file(&scene.log(), "s1", CIPHERTEXTS).unwrap(), path(CIPHERTEXTS)).unwrap();
    assert_eq!(verify(&scene.log(), None).unwrap().outcome, Outcome::Tampered);
    std::fs::write(path(CIPHERTEXTS), &whole).unwrap();
    let key = std::fs::read(path(KEY)).unwrap();
    std::fs::write(path(KEY), b"another").unwrap();
    let report = verify(&scene.log(), None).unwrap();
    assert!(report.first_bad().unwrap().what.contains("key file"), "{report:?}");
    std::fs::write(path(KEY), key).unwrap();
    assert_eq!(verify(&scene.log(), None).unwrap().outcome, Outcome::Ok);

    std::fs::remove_file(path(KEY)).unwrap();
    let report = verify(&scene.log(), None).unwrap();
    assert_eq!((report.outcome, report.encrypted_chunks, report.erased_chunks), (Outcome::Ok, 5, 2));
    assert_eq!(scene.frames(&scene.log()).len(), 3, "the other session can be read");
    std::fs::remove_file(path(CIPHERTEXTS)).unwrap();
    assert_eq!(verify(&scene.log(), None).unwrap().outcome, Outcome::Ok);
}

#[tokio::test]
async fn recipients_can_come_and_go_while_a_session_lasts() {
    let scene = Scene::new();
    let stamp = SessionStamp::new(vec![(key::SESSION_ID.into(), "s1".into())]);
    let write = || {
        let event = Event::new(EventName::Result, Severity::Info, "x");
        scene.spool.append(&stamp, event.with(key::FRAMES, bytes::Bytes::from_static(CANARY))).unwrap()
    };
    let recipients = scene.spool.clone();
    write();
    recipients.encrypt_results(None);
    write();
    let other = age::x25519::Identity::generate().to_public().to_string();
    recipients.encrypt_results(Some(Recipients::parse([other.as_str()]).unwrap()));
    let receipt = write();
    scene.spool.synced(receipt).await.unwrap();
    scene.spool.close().await.unwrap();
    // The session stays with whom it began for.
    assert_eq!(scene.frames(&scene.log()), vec![CANARY.to_vec(); 3]);
    assert_eq!(verify(&scene.log(), None).unwrap().encrypted_chunks, 2);
}

#[tokio::test]
async fn the_archive_and_evidence_have_them_too() {
    let scene = Scene::new();
    scene.session("s1", 3);
    scene.session("s2", 2);
    scene.spool.close().await.unwrap();
    let url = format!("file://{}", scene.directory.path().join("archive").display());
    let location = Location::parse(&url).unwrap();
    let archiver = Archiver::start(&scene.spool, ArchiveOptions::new(location.clone())).unwrap();
    assert!(archiver.drain(Duration::from_secs(30)).await.complete);
    let into = scene.directory.path().join("fetched");
    let to = into.clone();
    tokio::task::spawn_blocking(move || crate::archive::mirror(&location, None, &to)).await.unwrap().unwrap();
    let fetched = into.join(ORIGIN);
    assert_eq!(scene.frames(&fetched), scene.frames(&scene.log()));
    assert_eq!(verify(&fetched, None).unwrap().encrypted_chunks, 5);
    assert!(!holds_canary(&scene.directory.path().join("archive")));

    for (identities, readable) in [(Identities::default(), 0), (scene.identities(), 2)] {
        let path = scene.directory.path().join(format!("evidence-{readable}.tar"));
        let out = File::create(&path).unwrap();
        export(std::slice::from_ref(&fetched), &["s2".to_owned()], ("test", "0"), &identities, out).unwrap();
        let bundle = Bundle::open(&path).unwrap();
        let reports = verify_bundle(&bundle, &[]).unwrap();
        assert_eq!((reports[0].outcome, reports[0].encrypted_chunks), (Outcome::Ok, 2), "{reports:?}");
        let chunks = scene.directory.path().join(format!("chunks-{readable}"));
        let open = bundle.unpack_chunks(&bundle.manifest().logs[0], &chunks).unwrap();
        assert_eq!(open, readable > 0, "the keys are in it, or are not");
        let origins = open.then(|| (ORIGIN.to_owned(), chunks)).into_iter().collect();
        let source = UnsealedSource::new(Box::new(bundle), origins, Identities::default());
        let records = source.records(&Wanted::default()).unwrap();
        let read = records.filter(|record| record.as_ref().unwrap().bytes(key::FRAMES).is_some()).count();
        assert_eq!(read, readable);
    }
}
