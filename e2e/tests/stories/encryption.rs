//! Results that only auditors can read: encrypted where they lie, replayed with the key, and erased without a proof lost.

use crate::scene::{Answer, Scene, prepare};
use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use e2e::age::Age;
use e2e::process::wait_until;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A shop whose results are for an auditor, and the archive of its gateway.
struct Audited {
    scene: Scene,
    /// The archive, and the auditor's key.
    folder: TempDir,
}

impl Audited {
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let auditor = Identity::generate();
        std::fs::write(folder.path().join("auditor.txt"), auditor.to_string().expose_secret()).unwrap();
        Self::by(folder, &auditor.to_public().to_string())
    }

    /// For this recipient; the folder has its key.
    fn by(folder: TempDir, recipient: &str) -> Option<Self> {
        let mut prepared = prepare()?;
        let resource = std::fs::read_to_string(prepared.setup.config().join("resource.yaml")).unwrap();
        let encryption = format!("durability: Auto, encryption: {{recipients: [{recipient}]}}}}");
        let resource = resource.replacen("durability: Auto}", &encryption, 1);
        assert!(resource.contains("encryption"), "{resource}");
        prepared.setup.write("resource.yaml", &resource).unwrap();
        let archive = format!("file://{}", folder.path().join("archive").display());
        for argument in ["--archive", &archive, "--archive-interval=1"] {
            prepared.setup = prepared.setup.argument(argument);
        }
        Some(Self { scene: Scene::of(prepared.start().unwrap()), folder })
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn archive(&self) -> String {
        format!("file://{}", self.at("archive"))
    }

    fn portcullis(&self, arguments: &[&str]) -> String {
        self.scene.portcullis(arguments, 0).out
    }

    fn with_key(&self, arguments: &[&str]) -> String {
        self.portcullis(&[arguments, &["--identity", &self.at("auditor.txt")]].concat())
    }

    /// An agent's session with these statements, as psql showed it; and its identifier.
    fn session(&self, subject: &str, statements: &[&str]) -> (String, String) {
        let mut psql = self.scene.psql("app", &self.scene.token(subject));
        for statement in statements {
            psql.args(["-c", statement]);
        }
        let shown = Answer::new(&psql.output().unwrap());
        assert!(shown.success, "{shown:?}");
        let id = wait_until("the session has ended on record and is archived", || {
            let listed = self.scene.portcullis_any(&["sessions", "--identity", subject, "-o", "json"]).out;
            let listed: Vec<Value> = serde_json::from_str(&listed).ok()?;
            let status = self.scene.portcullis_any(&["export", "status", "-o", "json"]).out;
            let status: Vec<Value> = serde_json::from_str(&status).ok()?;
            let archived = status.iter().all(|log| log["archive"]["lag"] == 0);
            let session = listed.first().filter(|session| archived && !session["end"].is_null())?;
            Some(session["id"].as_str()?.to_owned())
        });
        (shown.out, id.unwrap())
    }
}

/// Files below a directory, but the auditor's key.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn found_in(directory: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    files(directory).into_iter().filter(holds).collect()
}

/// More than one chunk has, and a row that a search can find.
const LARGE: &str = "select id, 'row-of-a-large-result-' || id as large from generate_series(1, 4000) id";

#[test]
fn encrypted_results_are_for_auditors_and_can_be_erased() {
    let Some(audited) = Audited::start() else { return };
    let (shown, large) = audited.session("ci-bot", &[LARGE]);
    let (_, small) = audited.session("night-bot", &["select id, note from orders order by id"]);
    assert!(shown.contains("row-of-a-large-result-4000"));

    // Nobody finds a row in the state, nor in the archive; nor the masked one.
    for secret in ["row-of-a-large-result-17", "order 10", e2e::shop::CANARY] {
        let mut found = found_in(audited.scene.gateway.state(), secret);
        found.extend(found_in(&audited.folder.path().join("archive"), secret));
        assert!(found.is_empty(), "{secret}: {found:?}");
    }

    // Without the key it is said; with it, the replay is what psql showed.
    let closed = audited.portcullis(&["replay", &large]);
    assert!(closed.contains("encrypted for the auditors") && !closed.contains("row-of-a"), "{closed}");
    for from in [vec![], vec!["--from".to_owned(), audited.archive()]] {
        let from: Vec<&str> = from.iter().map(String::as_str).collect();
        let replayed = audited.with_key(&[&["replay", &large], from.as_slice()].concat());
        assert!(replayed.contains(shown.trim_end()), "{from:?}");
    }
    let verified = audited.portcullis(&["verify"]);
    assert!(
        verified.contains("RESULT   OK") && verified.contains("encrypted for the auditors"),
        "{verified}"
    );
    assert!(audited.portcullis(&["verify", "--from", &audited.archive()]).contains("RESULT   OK"));

    searched_reported_and_handed_over(&audited, &small);
    erased(&audited, &large, &small);
}

fn searched_reported_and_handed_over(audited: &Audited, session: &str) {
    std::fs::write(audited.at("values.txt"), "row-of-a-large-result-17\n").unwrap();
    let values = audited.at("values.txt");
    let searched = audited.scene.portcullis(&["scan", "--values", &values], 2).out;
    assert!(searched.contains("NOT READ") && searched.contains("RESULT     INCOMPLETE"), "{searched}");
    let key = audited.at("auditor.txt");
    let searched = audited.scene.portcullis(&["scan", "--values", &values, "--identity", &key], 1).out;
    assert!(searched.contains("FOUND") && !searched.contains("NOT READ"), "{searched}");

    let page = audited.at("session.html");
    audited.portcullis(&["report", session, "--html", &page]);
    let closed = std::fs::read_to_string(&page).unwrap();
    assert!(closed.contains("encrypted for the auditors") && !closed.contains("order 10"));
    audited.with_key(&["report", session, "--html", &page]);
    assert!(std::fs::read_to_string(&page).unwrap().contains("order 10"));

    // A bundle with the session's own key needs the auditor's no more; one without it does.
    let (closed, open) = (audited.at("closed.tar"), audited.at("open.tar"));
    audited.portcullis(&["evidence", "export", session, "--file", &closed]);
    audited.with_key(&["evidence", "export", session, "--file", &open]);
    for bundle in [&closed, &open] {
        assert!(audited.portcullis(&["verify", bundle]).contains("RESULT   OK"));
        assert!(audited.with_key(&["replay", session, "--from", bundle]).contains("order 10"));
    }
    assert!(!audited.portcullis(&["replay", session, "--from", &closed]).contains("order 10"));
    assert!(audited.portcullis(&["replay", session, "--from", &open]).contains("order 10"));
}

/// The key of one session is removed: its results are gone for good, and nothing else is.
fn erased(audited: &Audited, session: &str, other: &str) {
    let keys: Vec<PathBuf> = files(audited.scene.gateway.state())
        .into_iter()
        .chain(files(&audited.folder.path().join("archive")))
        .filter(|path| path.to_str().unwrap().contains(&format!("{session}.key")))
        .collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    for key in &keys {
        std::fs::remove_file(key).unwrap();
    }
    let from = audited.archive();
    for from in [vec![], vec!["--from", &from]] {
        let verified = audited.portcullis(&[&["verify"], from.as_slice()].concat());
        assert!(verified.contains("RESULT   OK") && verified.contains("erased"), "{verified}");
        let replayed = audited.with_key(&[&["replay", session], from.as_slice()].concat());
        assert!(
            replayed.contains("were erased: the session's key is gone") && !replayed.contains("row-of-a"),
            "{replayed}"
        );
        assert!(audited.with_key(&[&["replay", other], from.as_slice()].concat()).contains("order 10"));
    }
    // The values that were in it are in nothing that anybody can read; of the other session they would be found.
    let scan = ["scan", "--values", &audited.at("values.txt")];
    let searched = audited.scene.portcullis(&scan, 2).out;
    assert!(searched.contains("NOT READ") && searched.contains("erased     "), "{searched}");
    let searched = audited.with_key(&scan);
    assert!(searched.contains("RESULT     OK") && !searched.contains("NOT READ"), "{searched}");
    // A chunk that was changed is found without any key.
    let chunks = files(audited.scene.gateway.state())
        .into_iter()
        .find(|path| path.to_str().unwrap().ends_with(&format!("{other}.age")))
        .unwrap();
    let mut bytes = std::fs::read(&chunks).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&chunks, bytes).unwrap();
    let found = audited.scene.portcullis(&["verify"], 1).out;
    assert!(found.contains("FIRST BAD") && found.contains("encrypted result"), "{found}");
}

/// What the documentation says that an auditor can do without us.
#[test]
fn ages_own_tools_open_encrypted_results() {
    if !Age::is_possible() {
        return;
    }
    let age = Age::built().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let recipient = age.keygen(&folder.path().join("auditor.txt")).unwrap();
    let Some(audited) = Audited::by(folder, &recipient) else { return };
    let (shown, session) = audited.session("ci-bot", &[LARGE]);
    // Their file of a key is read as they write it.
    assert!(audited.with_key(&["replay", &session]).contains(shown.trim_end()));

    let of_session = |kind: &str| {
        let name = format!("{session}.{kind}");
        let found = files(audited.scene.gateway.state()).into_iter().find(|path| path.ends_with(&name));
        std::fs::read(found.unwrap()).unwrap()
    };
    let (key, chunks) = (of_session("key"), of_session("age"));
    let own = audited.folder.path().join("session.txt");
    std::fs::write(&own, age.decrypt(Path::new(&audited.at("auditor.txt")), &key).unwrap()).unwrap();
    let (mut rest, mut plain, mut count) = (chunks.as_slice(), Vec::new(), 0);
    while let Some((length, after)) = rest.split_first_chunk() {
        let (chunk, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        plain.extend(age.decrypt(&own, chunk).unwrap());
        (rest, count) = (after, count + 1);
    }
    let plain = String::from_utf8_lossy(&plain);
    assert!(count > 1 && (1..=4_000).all(|n| plain.contains(&format!("row-of-a-large-result-{n}"))));

    let other = audited.folder.path().join("other.txt");
    age.keygen(&other).unwrap();
    let refused = age.decrypt(&other, &key).unwrap_err().to_string();
    assert!(refused.contains("identit"), "{refused}");
}
