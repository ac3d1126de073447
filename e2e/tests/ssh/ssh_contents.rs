//! Contents of transferred files on record, where the Resource says so: given back as they went, and masked.

use crate::scene::{Answer, Scene};
use crate::stage::policy;
use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use std::path::Path;
use std::process::Stdio;

/// Put together here, so that no scanner takes this file for a leak.
fn canary() -> String {
    format!("AKIA{}", "IOSFODNN7EXAMPLF")
}

fn rules() -> String {
    policy(
        "  rules:
  - name: files
    action: Allow
    ssh: {effects: [Execute, Subsystem, Read, Write, List, Attributes]}
  masking: [{detectors: [Secrets]}]
",
    )
}

/// Nothing that a text would be, and every byte.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from(state >> 24).unwrap()
    };
    (0..length).map(next).collect()
}

fn copy(scene: &Scene, how: &[&str], from: &Path, to: &Path) {
    let copied = Answer::of(
        scene.agent.program("scp").unwrap().args(how).arg(from).arg(format!("web:{}", to.display())),
    );
    assert_eq!(copied.code, Some(0), "{copied:?}");
}

/// The file, byte for byte, as `portcullis replay --file` gives it, and what it says beside it.
fn given_back(scene: &Scene, session: &str, name: &str) -> (Vec<u8>, String) {
    let mut replay = scene.hosts.portcullis().unwrap();
    let given = replay.args(["replay", session, "--file", name]).stdin(Stdio::null()).output().unwrap();
    (given.stdout, String::from_utf8(given.stderr).unwrap())
}

fn sessions(scene: &Scene) -> Vec<String> {
    let listed = scene.portcullis(&["sessions", "-o", "json"], 0).out;
    let sessions: serde_json::Value = serde_json::from_str(&listed).unwrap();
    sessions.as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

/// What any session's record gives back under this name.
fn found(scene: &Scene, name: &str) -> (Vec<u8>, String) {
    let given = sessions(scene).into_iter().map(|session| given_back(scene, &session, name));
    given.into_iter().find(|(bytes, _)| !bytes.is_empty()).unwrap_or_else(|| panic!("{name} is on no record"))
}

#[test]
fn a_file_comes_back_from_the_record_byte_for_byte_however_it_was_copied() {
    let Some(scene) = Scene::recording(&rules(), "transfers: Contents, ") else { return };
    let directory = scene.agent.path();
    let content = noise(300_000);
    let local = directory.join("local");
    std::fs::write(&local, &content).unwrap();
    let uploaded = directory.join("uploaded");
    copy(&scene, &[], &local, &uploaded);
    let legacy = directory.join("legacy");
    copy(&scene, &["-O"], &local, &legacy);
    let mut sftp = scene.agent.program("sftp").unwrap();
    let fetched = directory.join("fetched");
    let got = Answer::of(sftp.arg(format!("web:{}", local.display())).arg(&fetched).stdin(Stdio::null()));
    assert_eq!(got.code, Some(0), "{got:?}");
    for (file, name) in
        [(&uploaded, uploaded.to_str().unwrap()), (&legacy, "local"), (&fetched, local.to_str().unwrap())]
    {
        assert!(std::fs::read(file).unwrap() == content, "{} is another file", file.display());
        let (bytes, said) = found(&scene, name);
        assert!(bytes == content && said.is_empty(), "{name}: {} bytes, {said}", bytes.len());
    }
    let session = sessions(&scene).remove(0);
    let (bytes, said) = given_back(&scene, &session, "/no/such/file");
    assert!(bytes.is_empty() && said.contains("no contents of that file are recorded"), "{said}");
    scene.portcullis(&["verify"], 0);
}

#[test]
fn what_a_detector_finds_in_a_file_that_is_written_is_on_no_record() {
    let Some(scene) = Scene::recording(&rules(), "transfers: Contents, ") else { return };
    let local = scene.agent.path().join("local");
    let reversed: String = canary().chars().rev().collect();
    // a program's input, which legacy scp's is, is looked at as it stands
    let legacy = format!("key = {}\n", canary());
    let content = format!("{}first\n{legacy}again = {reversed}\nlast\n", "line\n".repeat(9_000));
    for (how, name, content) in [(&[][..], "uploaded", &content), (&["-O"], "legacy", &legacy)] {
        let to = scene.agent.path().join(name);
        std::fs::write(&local, content).unwrap();
        copy(&scene, how, &local, &to);
        assert!(std::fs::read_to_string(&to).unwrap() == *content, "the file itself is not changed");
    }
    let uploaded = scene.agent.path().join("uploaded");
    let (bytes, said) = found(&scene, uploaded.to_str().unwrap());
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains("key = [MASKED:") && text.ends_with("last\n"), "{text}");
    assert!(said.contains("masked"), "{said}");
    let log = scene.log();
    assert!(!log.contains(&canary()) && !log.contains(&reversed), "the log holds what is masked");
}

#[test]
fn without_the_setting_the_record_holds_sizes_and_digests_alone() {
    let Some(scene) = Scene::recording(&rules(), "") else { return };
    let local = scene.agent.path().join("local");
    std::fs::write(&local, "these words are the content").unwrap();
    let to = scene.agent.path().join("uploaded");
    copy(&scene, &[], &local, &to);
    assert!(!scene.log().contains("these words"));
    let (bytes, said) = given_back(&scene, &sessions(&scene)[0], to.to_str().unwrap());
    assert!(bytes.is_empty() && said.contains("recording.transfers: Contents"), "{said}");
}

#[test]
fn contents_can_be_for_auditors_alone() {
    let auditor = Identity::generate();
    let fields = format!("transfers: Contents, encryption: {{recipients: [{}]}}, ", auditor.to_public());
    let Some(scene) = Scene::recording(&rules(), &fields) else { return };
    let key = scene.agent.path().join("auditor.txt");
    std::fs::write(&key, auditor.to_string().expose_secret()).unwrap();
    let local = scene.agent.path().join("local");
    std::fs::write(&local, "these words are the content\n").unwrap();
    let to = scene.agent.path().join("uploaded");
    copy(&scene, &[], &local, &to);
    assert!(!scene.log().contains("these words"));
    let session = sessions(&scene).remove(0);
    let (bytes, said) = given_back(&scene, &session, to.to_str().unwrap());
    assert!(bytes.is_empty() && said.contains("encrypted for the auditors"), "{said}");
    let opened = ["replay", &session, "--identity", key.to_str().unwrap(), "--file", to.to_str().unwrap()];
    assert_eq!(scene.portcullis(&opened, 0).out, "these words are the content\n");
}
