//! What an API server and programs in pods gave back is for auditors alone, where that is asked for.

use crate::pods::Pods;
use crate::scene::Answer;
use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use serde_json::Value;

const RULES: &str = r"
rules:
- {name: everything, action: Allow, kubernetes: {}}
";

/// Runs kubectl, whose streams go over WebSocket or SPDY.
fn run(pods: &Pods, websockets: &str, rest: &[&str]) -> Answer {
    let mut command = pods.scene.kubectl(&pods.scene.token("bot"));
    command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
    Answer::new(&command.args(pods.arguments(rest)).output().unwrap())
}

#[test]
fn kubernetes_streams_and_answers_can_be_for_auditors_alone() {
    let Some(mut pods) = Pods::start("sealed", RULES) else { return };
    let folder = tempfile::tempdir().unwrap();
    let auditor = Identity::generate();
    let key = folder.path().join("auditor.txt");
    std::fs::write(&key, auditor.to_string().expose_secret()).unwrap();
    pods.scene.gateway.encrypt_results("resource.yaml", &auditor.to_public().to_string()).unwrap();
    let transports = [("websocket", "true"), ("spdy", "false")];
    for (name, websockets) in transports {
        let script = format!("printf 'output-%s-%s' of-a-pod {name}");
        let answer = run(&pods, websockets, &["exec", "web", "--", "sh", "-c", &script]);
        assert_eq!(answer.out, format!("output-of-a-pod-{name}"), "{answer:?}");
    }
    let answer = run(&pods, "true", &["get", "pod", "web", "-o", "json"]);
    assert!(answer.out.contains("terminationGracePeriodSeconds"), "{answer:?}");

    for text in ["output-of-a-pod", "terminationGracePeriodSeconds"] {
        pods.scene.assert_nowhere(text);
    }
    let sessions = pods.scene.portcullis(&["sessions", "-o", "json"], 0).out;
    let sessions: Value = serde_json::from_str(&sessions).unwrap();
    let replayed = |options: &[&str]| -> String {
        let ids = sessions.as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap());
        ids.map(|id| pods.scene.portcullis(&[&["replay", id], options].concat(), 0).out).collect()
    };
    let closed = replayed(&[]);
    assert!(closed.contains("encrypted for the auditors") && !closed.contains("output-of"), "{closed}");
    let open = replayed(&["--identity", key.to_str().unwrap()]);
    for (name, _) in transports {
        assert!(open.contains(&format!("output-of-a-pod-{name}")), "{name}: {open}");
    }
    assert!(!open.contains("encrypted for the auditors"), "{open}");
    pods.scene.portcullis(&["verify"], 0);
}
