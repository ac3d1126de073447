//! An investigator's path: find what an agent did, see it again, report it, hand it over, catch a forger, and show that
//! no secret is on record.

use crate::scene::{Answer, Scene};
use e2e::process::wait_until;
use e2e::shop::CANARY;
use serde_json::Value;
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::process::Stdio;

#[test]
fn forensics_from_a_question_to_evidence() {
    let Some(scene) = Scene::start() else { return };
    let received = an_agents_day(&scene);

    // Find it.
    let denied = rows(&scene, &["commands", "--verdict", "deny", "--text", "DROP database"]);
    assert_eq!(denied.len(), 1, "{denied:?}");
    assert_eq!(denied[0]["user_name"], "ci-bot", "{denied:?}");
    assert!(denied[0]["rule"].as_str().unwrap().ends_with("no-drops"), "{denied:?}");
    let session = denied[0]["session"].as_str().unwrap();
    let approved = rows(&scene, &["approvals", "--verdict", "approved"]);
    assert!(approved[0]["approvers"][0].as_str().unwrap().contains("CHG-7"), "{approved:?}");
    let masked = rows(&scene, &["commands", "--detector", "public.users.email"]);
    assert!(!masked.is_empty(), "something was masked");

    // An index gives the same answer.
    let index = scene.gateway.state().join("audit.index");
    let indexed = rows(&scene, &["commands", "--verdict", "deny", "--index", index.to_str().unwrap()]);
    assert_eq!(indexed[0]["text"], denied[0]["text"]);

    // See it again: line by line what the client's psql printed.
    let replayed = scene.portcullis(&["replay", session], 0).out;
    assert!(replayed.contains(received.trim_end()), "{received}\n--- replayed ---\n{replayed}");
    assert!(replayed.contains("approved") && replayed.contains("CHG-7"), "{replayed}");

    // Report it.
    let page = scene.gateway.state().join("session.html");
    scene.portcullis(&["report", session, "--html", page.to_str().unwrap()], 0);
    let html = std::fs::read_to_string(&page).unwrap();
    for part in ["drop database shop", "CHG-7", "Ada", "no-drops"] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains(CANARY) && !html.contains("ada@example"), "a secret is on the page");

    hand_over(&scene, session);
    no_secret_is_on_record(&scene);
}

/// One psql: a masked answer, a refusal, and a delete that waits for an approval. Gives what the first printed.
fn an_agents_day(scene: &Scene) -> String {
    let token = scene.token("ci-bot");
    let mut psql = scene.psql("app", &token);
    psql.args(["-c", "select id, name, email from users order by id"]);
    psql.args(["-c", "drop database shop", "-c", "delete from orders"]);
    let waiting = psql.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let approvals = scene.gateway.state().join("approvals");
    let name = wait_until("a request for approval", || {
        let files = std::fs::read_dir(&approvals).ok()?.filter_map(Result::ok);
        let names =
            files.filter_map(|file| file.file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned));
        names.into_iter().find(|name| !name.starts_with('.'))
    })
    .unwrap();
    scene.portcullis(&["approve", &name, "--reason", "CHG-7"], 0);
    let answer = Answer::new(&waiting.wait_with_output().unwrap());
    assert!(answer.out.ends_with("DELETE 10"), "{answer:?}");
    let table = answer.out.strip_suffix("DELETE 10").unwrap().to_owned();
    assert!(table.contains("Ada") && table.contains("rows)"), "{answer:?}");
    // The end of the session is on record before anything is asked of it.
    wait_until("the session's end", || {
        let sessions = rows(scene, &["sessions", "--identity", "ci-bot"]);
        (!sessions.is_empty() && sessions.iter().all(|session| !session["end"].is_null())).then_some(())
    })
    .unwrap();
    table
}

/// Statements whose answers psql shows in many ways: tables, masked ones, tags, copies, warnings and errors.
const SHOWN: [&str; 15] = [
    "select 1 as n, null as nothing, 'ünï 漢字' as text, 3.50::numeric as price, true as yes",
    "select id, note from orders where id < 0 order by id",
    "select id, user_id, amount, note from orders order by id",
    "select '\\x00ff'::bytea as bytes, array[1, 2] as list, '{\"k\": 1}'::json as json, date '2026-01-02' as day",
    "select id, name, email, ssn from users order by id",
    "copy (select id, name, email, ssn from users order by id) to stdout",
    "copy (select id, note from orders order by id) to stdout with (format csv, header)",
    "select -1::bigint as \"A column\", 1.5::float8 as f, ''::text as empty",
    "select chr(9) || 'a' || chr(9) || 'b' || chr(13) || chr(27) || '[2J' as controls, E'two\\nlines' as lines",
    "commit",
    "select broken",
    "select id, user_id, amount, note, id, user_id, amount, note, missing, id, user_id, amount, note from orders",
    "select 1 / 0",
    "drop\n-- approved by dba\ntable orders",
    "select",
];

#[test]
fn forensics_replay_shows_what_psql_printed_byte_for_byte() {
    let Some(scene) = Scene::start() else { return };
    let mut psql = scene.psql("readonly", &scene.token("reader"));
    for sql in SHOWN {
        psql.args(["-c", sql]);
    }
    // Both in one file: what psql says of errors and warnings is where a terminal would have it.
    let mut printed = tempfile::tempfile().unwrap();
    psql.stdin(Stdio::null()).stdout(printed.try_clone().unwrap()).stderr(printed.try_clone().unwrap());
    psql.status().unwrap();
    printed.rewind().unwrap();
    let mut received = String::new();
    printed.read_to_string(&mut received).unwrap();
    assert!(!received.contains(CANARY) && received.contains("漢字"), "{received}");
    for part in
        ["WARNING:  ", "LINE 1: ...", "1\tAda\t", "id,note\n", "DETAIL:  policy agents, rule ", "HINT:  see"]
    {
        assert!(received.contains(part), "{part:?}: {received}");
    }
    let id = wait_until("the session's end", || {
        let sessions = rows(&scene, &["sessions", "--identity", "reader"]);
        let ended = sessions.first().filter(|session| !session["end"].is_null())?;
        Some(ended["id"].as_str()?.to_owned())
    })
    .unwrap();
    let replay = scene.portcullis_command().args(["replay", &id]).output().unwrap();
    let replayed = String::from_utf8(replay.stdout).unwrap();
    // All that a replay adds are the commands behind their prompts, and lines of its own.
    let (mut shown, mut commands) = (String::new(), 0);
    for line in replayed.split_inclusive('\n') {
        // What stands on the second line of a command cannot pass for a remark.
        assert!(!line.starts_with("-- approved"), "{replayed}");
        if line.starts_with("shop=> ") {
            commands += 1;
        } else if !line.starts_with("shop-> ") && !line.starts_with("-- ") {
            shown.push_str(line);
        }
    }
    assert_eq!((shown.as_str(), commands), (received.as_str(), SHOWN.len()));
}

fn rows(scene: &Scene, arguments: &[&str]) -> Vec<Value> {
    let json = scene.portcullis(&[arguments, &["-o", "json"]].concat(), 0).out;
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// The bundle verifies where nothing else is, and a changed copy of it does not.
fn hand_over(scene: &Scene, session: &str) {
    let elsewhere = tempfile::tempdir().unwrap();
    let bundle = elsewhere.path().join("evidence.tar");
    let shown = bundle.to_str().unwrap();
    let logs = proxy_audit::read::logs(&scene.gateway.state().join("audit")).unwrap();
    let key = logs[0].join("log.vkey");
    let key = key.to_str().unwrap();
    // The checkpoint over the session's end follows it within a second.
    wait_until("evidence that is complete", || {
        drop(std::fs::remove_file(&bundle));
        scene.portcullis(&["evidence", "export", session, "--file", shown], 0);
        let answer = scene.portcullis_any(&["verify", shown, "--key", key]);
        answer.success.then_some(())
    })
    .unwrap();
    let replayed = scene.portcullis(&["replay", session, "--from", shown], 0).out;
    assert!(replayed.contains("drop database shop"), "{replayed}");
    forge(&bundle, b"drop database shop", b"show database shop");
    let answer = scene.portcullis(&["verify", shown, "--key", key], 1);
    assert!(answer.out.contains("TAMPERED") && answer.out.contains("is not in the tree"), "{answer:?}");
}

fn forge(bundle: &Path, before: &[u8], after: &[u8]) {
    let mut bytes = std::fs::read(bundle).unwrap();
    let at = bytes.windows(before.len()).position(|window| window == before).unwrap();
    bytes[at..at + after.len()].copy_from_slice(after);
    std::fs::write(bundle, bytes).unwrap();
}

/// Neither the values that the masks hide nor anything a detector knows; and the search does find what is there.
fn no_secret_is_on_record(scene: &Scene) {
    // Not in the gateway's state: what is there is searched as well.
    let elsewhere = tempfile::tempdir().unwrap();
    let values = elsewhere.path().join("values");
    std::fs::write(&values, format!("{CANARY}\nada@example.com\n")).unwrap();
    let values = values.to_str().unwrap();
    let state = scene.gateway.state().to_str().unwrap();
    let clean = scene.portcullis(&["scan", "--values", values, "--file", state], 0).out;
    assert!(clean.contains("RESULT     OK") && clean.contains("base64"), "{clean}");
    std::fs::write(values, "drop database\n").unwrap();
    let found = scene.portcullis(&["scan", "--values", values, "--detector", "none"], 1).out;
    assert!(found.contains("values:1 as it is"), "{found}");
    let note = elsewhere.path().join("note");
    std::fs::write(&note, "it said: ESABATAD PORD esabatad pord").unwrap();
    let found = ["scan", "--values", values, "--detector", "none", "--file", note.to_str().unwrap()];
    let found = scene.portcullis(&found, 1).out;
    assert!(found.contains(&format!("values:1 reversed in {} at byte 23", note.display())), "{found}");
}
