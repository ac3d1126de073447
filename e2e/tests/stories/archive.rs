//! Logs in an object store: delivered to a real S3 server while agents work, locked there, and all that an investigator
//! needs when the gateway and its volume are gone. And the same log in Azure's.

use crate::scene::{Answer, Scene, prepare};
use e2e::azure::Azure;
use e2e::process::wait_until;
use e2e::s3::{S3, SECRET_KEY};
use serde_json::Value;
use std::path::Path;

const ARCHIVE: &str = "s3://audit/prod";

/// A shop whose gateway delivers its log to the archive, every second and locked for a day.
fn archived() -> Option<(Scene, S3)> {
    if !S3::is_possible() {
        return None;
    }
    let mut prepared = prepare()?;
    let s3 = S3::start().unwrap();
    s3.create_bucket("audit").unwrap();
    for argument in ["--archive", ARCHIVE, "--archive-interval=1", "--archive-lock-days=1"] {
        prepared.setup = prepared.setup.argument(argument);
    }
    for (name, value) in s3.environment() {
        prepared.setup = prepared.setup.environment(name, value);
    }
    Some((Scene::of(prepared.start().unwrap()), s3))
}

/// Runs `portcullis` with the archive's credentials; it must exit with `code`.
fn portcullis(scene: &Scene, s3: &S3, arguments: &[&str], code: i32) -> Answer {
    let mut command = scene.portcullis_command();
    let done = command.args(arguments).envs(s3.environment()).output().unwrap();
    let answer = Answer::new(&done);
    assert_eq!(done.status.code(), Some(code), "portcullis {arguments:?}: {answer:?}");
    answer
}

fn agents_session(scene: &Scene, subject: &str) {
    let mut psql = scene.psql("app", &scene.token(subject));
    psql.args(["-c", "select id, name, email from users order by id", "-c", "drop database shop"]);
    psql.output().unwrap();
}

/// Waits until all sessions have ended on record and all records are in the archive.
fn wait_until_archived(scene: &Scene, sessions: usize) {
    wait_until("all is archived", || {
        let listed = scene.portcullis_any(&["sessions", "-o", "json"]).out;
        let listed: Vec<Value> = serde_json::from_str(&listed).ok()?;
        let ended = listed.iter().all(|session| !session["end"].is_null());
        let status = scene.portcullis_any(&["export", "status", "-o", "json"]).out;
        let status: Vec<Value> = serde_json::from_str(&status).ok()?;
        let there = status.iter().all(|log| log["archive"]["lag"] == 0);
        (listed.len() == sessions && ended && there).then_some(())
    })
    .unwrap();
}

#[test]
fn an_archive_answers_as_the_log_does_and_outlives_it() {
    let Some((mut scene, mut s3)) = archived() else { return };
    agents_session(&scene, "ci-bot");
    wait_until_archived(&scene, 1);

    // The store is away for a while: agents notice nothing, the metrics do, and nothing is lost.
    s3.crash().unwrap();
    agents_session(&scene, "night-bot");
    wait_until("failures are counted", || metric(&scene, "portcullis_audit_archive_failures")).unwrap();
    assert!(scene.portcullis(&["export", "status"], 1).out.contains("ARCHIVED"));
    s3.restart().unwrap();
    wait_until_archived(&scene, 2);

    let sessions = scene.portcullis(&["sessions", "-o", "json"], 0).out;
    let sessions: Vec<Value> = serde_json::from_str(&sessions).unwrap();
    let session = sessions[0]["id"].as_str().unwrap().to_owned();
    for question in [
        &["sessions", "-o", "json"][..],
        &["commands", "-o", "json"],
        &["commands", "--verdict", "deny", "--identity", "night-bot", "-o", "json"],
        &["approvals", "-o", "json"],
        &["show", &session],
        &["replay", &session],
        &["replay", &session, "-o", "json"],
    ] {
        let of_log = scene.portcullis(question, 0).out;
        let of_archive = portcullis(&scene, &s3, &[question, &["--from", ARCHIVE]].concat(), 0).out;
        assert_eq!(of_archive, of_log, "{question:?}");
    }
    let scanned = portcullis(&scene, &s3, &["scan", "--from", ARCHIVE], 0).out;
    assert!(scanned.contains("RESULT") && scanned.contains("archive s3://audit/prod"), "{scanned}");

    locked(&s3);
    // The credentials went nowhere.
    e2e::leaks::search(&scene.gateway, &[SECRET_KEY.to_owned()], &[]).unwrap();

    // The gateway ends, and its volume is gone.
    scene.gateway.process().signal("TERM").unwrap();
    scene.gateway.process_mut().wait().unwrap();
    let key = scene.gateway.state().join("audit/certifier.vkey");
    let kept = std::fs::read_to_string(&key).unwrap();
    std::fs::remove_dir_all(scene.gateway.state().join("audit")).unwrap();
    alone(&scene, &s3, &session, kept.trim());
}

/// Microsoft's own emulator, and the same crate that serves S3.
#[test]
fn an_archive_in_azure_answers_as_the_log_does() {
    const ARCHIVE: &str = "az://audit/prod";
    if !Azure::is_possible() {
        return;
    }
    let Some(mut prepared) = prepare() else { return };
    let azure = Azure::start().unwrap();
    azure.create("audit").unwrap();
    for argument in ["--archive", ARCHIVE, "--archive-interval=1"] {
        prepared.setup = prepared.setup.argument(argument);
    }
    for (name, value) in azure.environment() {
        prepared.setup = prepared.setup.environment(name, value);
    }
    let scene = Scene::of(prepared.start().unwrap());
    agents_session(&scene, "ci-bot");
    wait_until_archived(&scene, 1);
    let ask = |question: &[&str]| {
        let mut command = scene.portcullis_command();
        let done = command.args(question).args(["--from", ARCHIVE]).envs(azure.environment()).output();
        let answer = Answer::new(&done.unwrap());
        assert!(answer.success, "{question:?}: {answer:?}");
        answer.out
    };
    for question in [&["sessions", "-o", "json"][..], &["commands", "-o", "json"]] {
        assert_eq!(ask(question), scene.portcullis(question, 0).out, "{question:?}");
    }
    let key = std::fs::read_to_string(scene.gateway.state().join("audit/certifier.vkey")).unwrap();
    let verified = ask(&["verify", "--key", key.trim()]);
    assert!(verified.contains("RESULT   OK") && verified.contains(ARCHIVE), "{verified}");
    e2e::leaks::search(&scene.gateway, &[azure.key().to_owned()], &[]).unwrap();
}

/// All from the archive alone.
fn alone(scene: &Scene, s3: &S3, session: &str, key: &str) {
    let verified = portcullis(scene, s3, &["verify", "--from", ARCHIVE, "--key", key], 0).out;
    assert!(verified.contains("RESULT   OK") && verified.contains("s3://audit/prod/"), "{verified}");
    assert!(verified.contains("all records are under a signed checkpoint"), "{verified}");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let page = at("session.html");
    portcullis(scene, s3, &["report", session, "--html", &page, "--from", ARCHIVE, "--key", key], 0);
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("drop database shop") && html.contains("Ada"), "{page}");
    assert!(html.contains("The record is whole and unchanged"), "{page}");
    let bundle = at("evidence.tar");
    portcullis(scene, s3, &["evidence", "export", session, "--file", &bundle, "--from", ARCHIVE], 0);
    portcullis(scene, s3, &["verify", &bundle, "--key", key], 0);

    // The same objects in a directory, to try something on.
    let copied = Path::new(&at("copied")).to_owned();
    copy(&s3.objects().join("audit/prod"), &copied);
    let url = format!("file://{}", copied.display());
    portcullis(scene, s3, &["verify", "--from", &url, "--key", key], 0);
    portcullis(scene, s3, &["verify", &url, "--key", key], 0);
    let mut segments: Vec<_> = files(&copied);
    segments.retain(|path| path.display().to_string().contains(".seg/"));
    let mut bytes = std::fs::read(&segments[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segments[0], bytes).unwrap();
    let found = portcullis(scene, s3, &["verify", "--from", &url, "--key", key], 1).out;
    assert!(found.contains("FIRST BAD"), "{found}");
    let none = portcullis(scene, s3, &["sessions", "--from", "s3://audit/elsewhere"], 1).err;
    assert!(none.contains("there is no audit log"), "{none}");
    let refused = portcullis(scene, s3, &["sessions", "--from", "s3://me:hunter3@audit"], 1).err;
    assert!(refused.contains("environment") && !refused.contains("hunter3"), "{refused}");
}

/// Neither the server's owner nor whoever has the gateway's credentials can change or remove what is there.
fn locked(s3: &S3) {
    let (status, listed) = s3.request("GET", "audit?versions=", &[]).unwrap();
    assert_eq!(status, 200, "{listed}");
    let of = |tag: &str| {
        let (_, rest) = listed.split_once(&format!("<{tag}>")).unwrap_or_else(|| panic!("{tag}: {listed}"));
        rest.split('<').next().unwrap().to_owned()
    };
    let (object, version) = (of("Key"), of("VersionId"));
    let (status, said) = s3.request("DELETE", &format!("audit/{object}?versionId={version}"), &[]).unwrap();
    assert_eq!(status, 403, "{object} is locked: {said}");
    let (status, said) = s3.request("GET", &format!("audit/{object}?retention="), &[]).unwrap();
    assert!(status == 200 && said.contains("COMPLIANCE"), "{status} {said}");
}

fn metric(scene: &Scene, name: &str) -> Option<u64> {
    let metrics = scene.gateway.admin("metrics").ok()?;
    let line = metrics.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok().filter(|count| *count > 0)
}

fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
