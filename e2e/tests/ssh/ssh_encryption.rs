//! What programs and terminals showed is for auditors alone, where that is asked for.

use crate::scene::{Answer, Scene};
use crate::stage::policy;
use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use e2e::process::wait_until;
use serde_json::Value;
use std::process::Stdio;

const RULES: &str =
    "  rules:\n  - {name: anything, action: Allow, ssh: {effects: [Execute, Read, Write, Terminal]}}\n";

#[test]
fn ssh_output_and_terminals_can_be_for_auditors_alone() {
    let Some(mut scene) = Scene::with(&policy(RULES), &[], &[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let auditor = Identity::generate();
    let key = folder.path().join("auditor.txt");
    std::fs::write(&key, auditor.to_string().expose_secret()).unwrap();
    scene.hosts.gateway.encrypt_results("web.yaml", &auditor.to_public().to_string()).unwrap();
    scene.agent = scene.hosts.agent(&scene.hosts.token("ci-bot").unwrap()).unwrap();

    let answer = scene.run("printf 'output-%s' of-a-host; printf 'error-%s' of-a-host >&2");
    assert!(answer.out.contains("output-of-a-host") && answer.err.contains("error-of-a-host"), "{answer:?}");
    let mut terminal = scene.agent.program("ssh").unwrap();
    terminal.args(["-tt", "web", "printf 'terminal-%s' of-a-host"]).stdin(Stdio::null());
    let answer = Answer::of(&mut terminal);
    assert!(answer.out.contains("terminal-of-a-host"), "{answer:?}");

    let ids = wait_until("both sessions have ended on record", || {
        let listed = scene.portcullis(&["sessions", "-o", "json"], 0).out;
        let listed: Vec<Value> = serde_json::from_str(&listed).ok()?;
        let ended = listed.len() == 2 && listed.iter().all(|session| !session["end"].is_null());
        ended.then(|| listed.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>())
    })
    .unwrap();
    let replayed = |options: &[&str]| -> String {
        ids.iter().map(|id| scene.portcullis(&[&["replay", id], options].concat(), 0).out).collect()
    };
    let texts = ["output-of-a-host", "error-of-a-host", "terminal-of-a-host"];
    let (log, closed) = (scene.log(), replayed(&[]));
    let open = replayed(&["--identity", key.to_str().unwrap()]);
    for text in texts {
        assert!(!log.contains(text), "{text} is in the log");
        assert!(!closed.contains(text) && closed.contains("encrypted for the auditors"), "{text}: {closed}");
        assert!(open.contains(text), "{text}: {open}");
    }
    assert!(!open.contains("encrypted for the auditors"), "{open}");
    let cast = replayed(&["--export", "asciicast", "--identity", key.to_str().unwrap()]);
    assert!(cast.contains("terminal-of-a-host"), "{cast}");
    scene.portcullis(&["verify"], 0);
}
