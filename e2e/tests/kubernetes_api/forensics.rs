//! An investigator's path through what one agent did to a database, a host and a cluster.

use crate::scene::Answer;
use crate::whole::Whole;
use e2e::{hosts, shop};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The protocols, and what the agent did with each: of what it was allowed, and of what it was refused.
const DONE: [(&str, &str, &str); 3] = [
    ("postgresql", "a-row-of-the-day", "drop database shop"),
    ("ssh", "a-file-of-the-day", "rm -r /srv"),
    ("kubernetes", "an-object-of-the-day", "nodes/important"),
];

#[test]
fn forensics_of_a_day_at_a_database_a_host_and_a_cluster() {
    let Some(mut whole) = Whole::start() else { return };
    whole.renew();
    let received = an_agents_day(&whole);
    whole.stop();

    let sessions = rows(&whole, &["sessions", "--identity", "loader"]);
    let mut bundle = Vec::new();
    for (protocol, allowed, refused) in DONE {
        let of_protocol = |row: &&Value| row["protocol"] == protocol;
        let ids: Vec<&str> =
            sessions.iter().filter(of_protocol).map(|row| row["id"].as_str().unwrap()).collect();
        assert!(!ids.is_empty() && ids.iter().all(|id| id.len() > 30), "{protocol}: {sessions:?}");
        let denied = rows(&whole, &["commands", "--verdict", "deny", "--text", refused]);
        assert_eq!(denied.len(), 1, "{protocol}: {denied:?}");
        let session = denied[0]["session"].as_str().unwrap();
        assert!(ids.contains(&session) && !denied[0]["rule"].is_null(), "{protocol}: {denied:?}");

        // See it again, and report it.
        let replayed: String = ids.iter().map(|id| ok(&whole, &["replay", id])).collect();
        let page = whole.file("session.html");
        ok(&whole, &["report", session, "--html", page.to_str().unwrap()]);
        let html = std::fs::read_to_string(&page).unwrap();
        assert!(replayed.contains(allowed) && replayed.contains(refused), "{protocol}: {replayed}");
        assert!(html.contains(refused) && !html.contains("<script src"), "{protocol}");
        bundle.extend(ids.iter().map(|id| (*id).to_owned()));
    }
    let replayed: String = bundle.iter().map(|id| ok(&whole, &["replay", id])).collect();
    for line in received.lines() {
        assert!(replayed.contains(line), "{line:?} was received: {replayed}");
    }
    hand_over(&whole, &bundle);
    e2e::leaks::search(&whole.shop.gateway, &whole.shop.secrets(), &[]).unwrap();
}

/// What each client did, was refused, and got.
fn an_agents_day(whole: &Whole) -> String {
    let [row, file, object] = DONE.map(|(_, allowed, _)| allowed);
    let mut psql = whole.shop.psql("app", &whole.token(shop::AUDIENCE)).unwrap();
    psql.args(["-At", "-c", &format!("insert into marks values ('x') returning '{row}' as \"{row}\"")]);
    let inserted = Answer::new(&psql.args(["-c", DONE[0].2]).output().unwrap());
    assert!(inserted.out.contains(row) && inserted.err.contains("no-drops"), "{inserted:?}");

    let path = whole.files().join(file);
    let mut ssh = whole.agent.program("ssh").unwrap();
    let written = ssh.args([hosts::RESOURCE, &format!("echo it-was-written > {0}; cat {0}", path.display())]);
    let written = Answer::new(&written.output().unwrap());
    assert!(written.ok() && path.is_file(), "{written:?}");
    let mut ssh = whole.agent.program("ssh").unwrap();
    let removed = ssh.args([hosts::RESOURCE, DONE[1].2]).output().unwrap();
    assert_eq!(removed.status.code(), Some(126), "{:?}", Answer::new(&removed));

    let namespace = format!("--namespace={}", whole.namespace);
    let kubectl =
        |arguments: &[&str]| Answer::new(&whole.kubectl("forensics").args(arguments).output().unwrap());
    let made = kubectl(&["create", "configmap", object, &namespace, "--from-literal=k=it-was-made"]);
    let shown = kubectl(&["get", "configmap", object, &namespace, "-o", "jsonpath={.data.k}"]);
    assert!(made.ok() && shown.out == "it-was-made", "{made:?} {shown:?}");
    let deleted = kubectl(&["delete", "node", "important", "--wait=false"]);
    assert!(!deleted.ok() && deleted.err.contains("Forbidden"), "{deleted:?}");
    [inserted.out.lines().next().unwrap(), written.out.trim_end(), &shown.out].join("\n")
}

/// All of it as one bundle, which verifies alone; and in which a change of any session is found.
fn hand_over(whole: &Whole, sessions: &[String]) {
    let elsewhere = tempfile::tempdir().unwrap();
    let bundle = elsewhere.path().join("evidence.tar");
    let certifier = whole.shop.gateway.state().join("audit/certifier.vkey");
    let [file, key] = [&bundle, &certifier].map(|path| path.to_str().unwrap().to_owned());
    let mut export = vec!["evidence", "export"];
    export.extend(sessions.iter().map(String::as_str));
    ok(whole, &[&export[..], &["--file", &file]].concat());
    let verify = |code: i32| {
        let mut command = Command::new(e2e::tools::own("portcullis").unwrap());
        let done = command.args(["verify", &file, "--key", &key]).output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{:?}", Answer::new(&done));
        Answer::new(&done)
    };
    verify(0);
    for (protocol, _, refused) in DONE {
        let whole_file = std::fs::read(&bundle).unwrap();
        forge(&bundle, refused);
        let forged = verify(1);
        assert!(
            forged.out.contains("TAMPERED") && forged.out.contains("is not in the tree"),
            "{protocol}: {forged:?}"
        );
        std::fs::write(&bundle, whole_file).unwrap();
    }
    verify(0);
}

fn forge(bundle: &Path, text: &str) {
    let mut bytes = std::fs::read(bundle).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    bytes[at] ^= 1;
    std::fs::write(bundle, bytes).unwrap();
}

fn ok(whole: &Whole, arguments: &[&str]) -> String {
    let answer = Answer::new(&whole.shop.portcullis().unwrap().args(arguments).output().unwrap());
    assert!(answer.ok(), "{arguments:?}: {answer:?}");
    answer.out
}

fn rows(whole: &Whole, arguments: &[&str]) -> Vec<Value> {
    serde_json::from_str(&ok(whole, &[arguments, &["-o", "json"]].concat())).unwrap()
}
