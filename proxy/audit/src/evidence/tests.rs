use super::*;
use crate::chunks::Identities;
use crate::event::{Event, EventName, SessionStamp, Severity, key};
use crate::note::LogKey;
use crate::query::{Query, commands, sessions};
use crate::verify::{Outcome, Report, verify_bundle};
use crate::{Spool, SpoolOptions};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::path::PathBuf;
use tempfile::TempDir;

struct Scene {
    directory: TempDir,
    logs: Vec<PathBuf>,
    key: LogKey,
}

/// A log of five sessions that take turns; the fourth does not end.
async fn scene() -> Scene {
    let directory = TempDir::new().unwrap();
    let options = SpoolOptions {
        segment_bytes: 9_000,
        ..SpoolOptions::new(directory.path().join("log"), "dev/default/orders/0")
    };
    let (spool, _) = Spool::open(&options).unwrap();
    let stamps: Vec<SessionStamp> = (0..5)
        .map(|number| SessionStamp::new(vec![(key::SESSION_ID.into(), format!("session-{number}").into())]))
        .collect();
    for number in 0..12_i64 {
        for stamp in &stamps {
            let event = Event::new(EventName::Statement, Severity::Info, "allow")
                .with(key::COMMAND, number)
                .with(key::QUERY_TEXT, format!("SELECT {number}"))
                .with(key::VERDICT, "allow");
            spool.append(stamp, event).unwrap();
        }
    }
    for stamp in stamps.iter().take(3).chain(&stamps[4..]) {
        spool.append(stamp, Event::new(EventName::SessionEnd, Severity::Info, "end")).unwrap();
    }
    spool.close().await.unwrap();
    let key = LogKey::parse(&std::fs::read_to_string(options.directory.join("log.vkey")).unwrap()).unwrap();
    Scene { logs: vec![options.directory], directory, key }
}

impl Scene {
    fn export(&self, prefixes: &[&str]) -> Result<(PathBuf, Manifest), EvidenceError> {
        let path = self.directory.path().join("bundle.tar");
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        let out = std::fs::File::create(&path).unwrap();
        let manifest = export(&self.logs, &prefixes, ("portcullis", "test"), &Identities::default(), out)?;
        Ok((path, manifest))
    }

    fn check(&self, path: &std::path::Path) -> Result<Vec<Report>, crate::source::SourceError> {
        verify_bundle(&Bundle::open(path)?, std::slice::from_ref(&self.key))
    }
}

#[tokio::test]
async fn a_bundle_holds_the_sessions_and_no_others_and_verifies_alone() {
    let scene = scene().await;
    let (path, manifest) = scene.export(&["session-1", "session-4"]).unwrap();
    let ids: Vec<&str> = manifest.sessions.iter().map(|session| session.id.as_str()).collect();
    assert_eq!(ids, ["session-1", "session-4"]);
    std::fs::remove_dir_all(&scene.logs[0]).unwrap();
    let reports = scene.check(&path).unwrap();
    assert_eq!((reports.len(), reports[0].outcome), (1, Outcome::Ok), "{:?}", reports[0].problems);
    assert_eq!((reports[0].records, reports[0].sessions, reports[0].key_pinned), (26, 2, true));
    let bundle = Bundle::open(&path).unwrap();
    assert_eq!(sessions(&bundle, &Query::default()).unwrap().rows.len(), 2);
    assert_eq!(commands(&bundle, &Query::default()).unwrap().rows.len(), 24);
    assert!(!String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains("session-2"));
}

#[tokio::test]
async fn a_session_without_an_end_is_incomplete_and_an_unknown_one_refused() {
    let scene = scene().await;
    let (path, manifest) = scene.export(&["session-3"]).unwrap();
    assert!(!manifest.sessions[0].ended);
    assert_eq!(scene.check(&path).unwrap()[0].outcome, Outcome::Incomplete);
    let error = scene.export(&["session-9"]).unwrap_err().to_string();
    assert_eq!(error, "0 sessions begin with session-9");
    assert!(matches!(scene.export(&["session-"]), Err(EvidenceError::Session { found: 5, .. })));
}

#[tokio::test]
async fn another_key_is_found_and_no_key_is_said() {
    let scene = scene().await;
    let (path, _) = scene.export(&["session-1"]).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    let thief = crate::note::LogSigner::new(scene.key.name(), &[3; 32]).unwrap().public();
    assert_eq!(verify_bundle(&bundle, &[thief]).unwrap()[0].outcome, Outcome::Tampered);
    let others = ["dev", "prod"].map(|name| crate::note::LogSigner::new(name, &[3; 32]).unwrap().public());
    for keys in [&others[..1], &others[..]] {
        let report = &verify_bundle(&bundle, keys).unwrap()[0];
        assert_eq!((report.outcome, report.key_pinned), (Outcome::Tampered, true), "{:?}", report.problems);
        assert!(report.problems.iter().any(|problem| problem.what.contains("none of the given keys")));
    }
    let unpinned = verify_bundle(&bundle, &[]).unwrap();
    assert_eq!((unpinned[0].outcome, unpinned[0].key_pinned), (Outcome::Ok, false));
}

/// Every byte that means something is covered: flipped anywhere in a file's content, it is found. What the archive
/// itself adds (times, padding) means nothing.
#[tokio::test]
async fn a_flipped_bit_in_any_file_is_found() {
    let scene = scene().await;
    let (path, manifest) = scene.export(&["session-1"]).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut archive = tar::Archive::new(whole.as_slice());
    let places: Vec<(String, u64, u64)> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            (name, entry.raw_file_position(), entry.size())
        })
        .collect();
    assert_eq!(places.len(), manifest.files.len() + 1);
    let rounds = if std::env::var_os("PORTCULLIS_LONG").is_some() { 2_000 } else { 150 };
    let mut random = StdRng::seed_from_u64(7);
    for round in 0..rounds {
        let (name, start, length) = &places[round % places.len()];
        let byte = usize::try_from(start + random.random_range(0..*length)).unwrap();
        let mut changed = whole.clone();
        changed[byte] ^= 1 << random.random_range(0..8);
        std::fs::write(&path, &changed).unwrap();
        let found = match scene.check(&path) {
            Ok(reports) => reports.iter().any(|report| report.outcome == Outcome::Tampered),
            Err(_) => true,
        };
        // By which program and when it was written nothing can prove.
        let harmless = name == MANIFEST && {
            let read = Bundle::open(&path).map(|bundle| bundle.manifest().clone());
            read.is_ok_and(|read| {
                let told = (read.tool.clone(), read.version.clone(), read.created);
                let first = (manifest.tool.clone(), manifest.version.clone(), manifest.created);
                let rest = (&read.format, &read.sessions, &read.logs, &read.files);
                told != first
                    && rest == (&manifest.format, &manifest.sessions, &manifest.logs, &manifest.files)
            })
        };
        assert!(found || harmless, "byte {byte} in {name}");
    }
}

/// The bundle with another manifest.
fn with_manifest(path: &std::path::Path, manifest: &Manifest) {
    with_file(path, MANIFEST, |content| *content = serde_json::to_vec(manifest).unwrap());
}

/// The bundle with another content of each file that is named so.
fn with_file(path: &std::path::Path, name: &str, change: impl Fn(&mut Vec<u8>)) {
    let whole = std::fs::read(path).unwrap();
    let mut changed = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(whole.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let (mut header, mut content) = (entry.header().clone(), Vec::new());
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        if entry.path_bytes().ends_with(name.as_bytes()) {
            change(&mut content);
        }
        header.set_size(content.len() as u64);
        header.set_cksum();
        changed.append(&header, content.as_slice()).unwrap();
    }
    std::fs::write(path, changed.into_inner().unwrap()).unwrap();
}

#[tokio::test]
async fn a_line_that_is_longer_than_any_proof_is_none_and_nothing_after_it_is_read() {
    let scene = scene().await;
    let (path, manifest) = scene.export(&["session-1"]).unwrap();
    let proofs = || Bundle::open(&path).unwrap().proofs(&manifest.logs[0].directory).unwrap();
    assert_eq!((proofs().0.len(), proofs().1), (13, true));
    let first = proofs().0;
    with_file(&path, "/proofs.jsonl", |content| {
        content.splice(0..0, [b" ".repeat(1 << 20), b"\n".to_vec()].concat());
    });
    assert_eq!((proofs().0.len(), proofs().1), (0, false));
    with_file(&path, "/proofs.jsonl", |content| {
        content.drain(..=1 << 20);
        content.splice(0..0, *b"no proof\n");
    });
    assert_eq!(proofs(), (first, false), "a line that is none hides no other");
    assert_eq!(scene.check(&path).unwrap()[0].outcome, Outcome::Tampered);
}

type Wrong = fn(&mut Manifest);

#[tokio::test]
async fn a_manifest_that_says_something_else_of_its_sessions_is_found() {
    let scene = scene().await;
    let wrongs: [(&str, Wrong); 9] = [
        // Another one of as many records.
        ("session session-1 of log dev/default/orders/0, of which", |manifest| {
            manifest.sessions[1].id = "session-1".to_owned();
        }),
        ("session session-0 is not in the manifest", |manifest| {
            let records = manifest.sessions.remove(0).records;
            manifest.sessions[0].records += records;
        }),
        ("lists 14 records of session session-4, there are 13", |manifest| {
            manifest.sessions[0].records -= 1;
            manifest.sessions[1].records += 1;
        }),
        ("session session-3 has its end here, and", |manifest| manifest.sessions[1].ended = true),
        ("session session-4 has no end here, and", |manifest| manifest.sessions[1].ended = false),
        ("lists session session-0 twice", |manifest| manifest.sessions[1] = manifest.sessions[0].clone()),
        ("of log dev/default/orders/1, of which", |manifest| {
            manifest.sessions[0].log = "dev/default/orders/1".to_owned();
        }),
        ("lists a checkpoint over", |manifest| manifest.logs[0].size -= 1),
        ("lists 2 records without a proof, there are 0", |manifest| manifest.logs[0].unproved = 2),
    ];
    for (said, wrong) in wrongs {
        let second = if said.contains("session-3") { "session-3" } else { "session-4" };
        let (path, mut manifest) = scene.export(&["session-0", second]).unwrap();
        with_manifest(&path, &manifest);
        assert_ne!(scene.check(&path).unwrap()[0].outcome, Outcome::Tampered, "{said}: only written anew");
        wrong(&mut manifest);
        with_manifest(&path, &manifest);
        let report = &scene.check(&path).unwrap()[0];
        assert_eq!(report.outcome, Outcome::Tampered, "{said}");
        let problems = &report.problems;
        assert!(problems.iter().any(|problem| problem.what.contains(said)), "{said}: {problems:?}");
    }
}
