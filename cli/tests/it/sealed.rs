//! What a search says of results that are encrypted for auditors.

use super::{portcullis, shown, text};
use age::secrecy::ExposeSecret as _;
use bytes::Bytes;
use proxy_audit::chunks::Recipients;
use proxy_audit::event::key;
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

const SESSIONS: [&str; 2] = ["0199e2a4-7b1c-7d3e-9f00-8a6b5c4d3e2f", "0199f7a4-7b1c-7d3e-9f00-8a6b5c4d3e2f"];
const CANARY: &str = "CANARY-4711";

/// Two sessions with a result each, encrypted for an auditor; the first one has a canary in it.
struct Sealed(TempDir);

impl Sealed {
    async fn new() -> Self {
        let sealed = Self(TempDir::new().unwrap());
        let auditor = age::x25519::Identity::generate();
        std::fs::write(sealed.at("auditor.txt"), auditor.to_string().expose_secret()).unwrap();
        std::fs::write(sealed.at("values"), format!("{CANARY}\n")).unwrap();
        let (spool, _) = Spool::open(&SpoolOptions::new(sealed.log(), "dev/default/orders/gw-1")).unwrap();
        let recipient = auditor.to_public().to_string();
        spool.encrypt_results(Some(Recipients::parse([recipient.as_str()]).unwrap()));
        for (session, frames) in SESSIONS.into_iter().zip([CANARY, "nothing of interest"]) {
            let stamp = SessionStamp::new(vec![(key::SESSION_ID.into(), session.into())]);
            let result = Event::new(EventName::Result, Severity::Info, "ok")
                .with(key::COMMAND, 1_i64)
                .with(key::FRAMES, Bytes::from_static(frames.as_bytes()));
            let end = Event::new(EventName::SessionEnd, Severity::Info, "end");
            for event in [result, end] {
                spool.append(&stamp, event).unwrap();
            }
        }
        spool.close().await.unwrap();
        sealed
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.at("state/audit/default.orders/gw-1")
    }

    /// Exit code and words of a search.
    fn scan(&self, more: &[&str]) -> (Option<i32>, String) {
        let values = self.at("values");
        let mut scan = portcullis(&["scan", "--values", text(&values)]);
        if !more.contains(&"--from") {
            scan.arg("--spool").arg(self.at("state"));
        }
        let output = scan.args(more).env_remove("PORTCULLIS_SPOOL").output().unwrap();
        (output.status.code(), shown(&output))
    }

    fn erase(&self, session: &str) {
        std::fs::remove_file(self.log().join(format!("chunks/{session}.key"))).unwrap();
    }
}

#[tokio::test]
async fn a_search_that_could_not_read_a_result_proves_nothing_and_says_so() {
    let sealed = Sealed::new().await;
    let (code, shown) = sealed.scan(&[]);
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("RESULT     INCOMPLETE   0 findings, 2 parts of results not searched"), "{shown}");
    assert!(shown.contains("NOT READ   2 parts") && shown.contains("--identity FILE"), "{shown}");
    assert!(!shown.contains("RESULT     OK") && !shown.contains("erased"), "{shown}");
    let (code, json) = sealed.scan(&["-o", "json"]);
    let answer: Value = serde_json::from_str(&json).unwrap();
    let said = (answer["outcome"].as_str(), answer["sealed"].as_u64(), answer["erased"].as_u64());
    assert_eq!((code, said), (Some(2), (Some("incomplete"), Some(2), Some(0))));

    // Who has the key searches all of it.
    let auditor = sealed.at("auditor.txt");
    let (code, shown) = sealed.scan(&["--identity", text(&auditor)]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("FOUND      value") && !shown.contains("NOT READ"), "{shown}");

    // A finding elsewhere outweighs what was not read.
    std::fs::write(sealed.at("values"), format!("{}\n", SESSIONS[0])).unwrap();
    let (code, shown) = sealed.scan(&[]);
    assert!(code == Some(1) && shown.contains("RESULT     FOUND") && shown.contains("NOT READ"), "{shown}");
}

#[tokio::test]
async fn erased_results_are_told_from_those_that_a_key_opens() {
    let sealed = Sealed::new().await;
    sealed.erase(SESSIONS[0]);
    let (code, shown) = sealed.scan(&[]);
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("NOT READ   1 parts") && shown.contains("erased     1 parts"), "{shown}");
    let auditor = sealed.at("auditor.txt");
    let (code, shown) = sealed.scan(&["--identity", text(&auditor)]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("RESULT     OK") && shown.contains("erased     1 parts"), "{shown}");
    // A replay tells them apart without a key, for the key's absence is seen.
    let state = sealed.at("state");
    for (session, said) in
        [(SESSIONS[0], "were erased: the session's key is gone"), (SESSIONS[1], "--identity FILE")]
    {
        let replayed = super::succeeds(portcullis(&["replay", session, "--spool"]).arg(&state));
        assert!(replayed.contains(said), "{said}: {replayed}");
        let json = super::succeeds(portcullis(&["replay", session, "-o", "json", "--spool"]).arg(&state));
        assert_eq!(json.contains("\"erased\": true"), session == SESSIONS[0], "{json}");
    }
    // Nothing is left that anybody could read: no key would change the answer.
    sealed.erase(SESSIONS[1]);
    let (code, json) = sealed.scan(&["-o", "json"]);
    let answer: Value = serde_json::from_str(&json).unwrap();
    let said = (answer["outcome"].as_str(), answer["sealed"].as_u64(), answer["erased"].as_u64());
    assert_eq!((code, said), (Some(0), (Some("ok"), Some(0), Some(2))));
}

#[tokio::test]
async fn a_search_of_evidence_tells_what_it_could_not_read() {
    let sealed = Sealed::new().await;
    sealed.erase(SESSIONS[1]);
    let (state, auditor) = (sealed.at("state"), sealed.at("auditor.txt"));
    for (name, keys) in [("closed.tar", &[][..]), ("open.tar", &["--identity", text(&auditor)])] {
        let bundle = sealed.at(name);
        let export = ["evidence", "export", SESSIONS[0], SESSIONS[1], "--file", text(&bundle), "--spool"];
        super::succeeds(portcullis(&export).arg(&state).args(keys));
    }
    let (closed, open) = (sealed.at("closed.tar"), sealed.at("open.tar"));
    let (code, shown) = sealed.scan(&["--from", text(&closed)]);
    assert!(code == Some(2) && shown.contains("NOT READ   1 parts"), "{shown}");
    assert!(shown.contains("erased     1 parts"), "{shown}");
    // Its session's own key is in it.
    let (code, shown) = sealed.scan(&["--from", text(&open)]);
    assert!(code == Some(1) && !shown.contains("NOT READ"), "{shown}");
}
