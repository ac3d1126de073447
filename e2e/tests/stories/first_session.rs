//! An agent's first session: a masked answer, a refusal, a hold that is approved, and the record of all of it.

use crate::scene::{Answer, Scene};
use e2e::process::wait_until;
use e2e::shop::CANARY;

#[test]
fn an_allowed_query_comes_back_masked() {
    let Some(scene) = Scene::start() else { return };
    let answer =
        scene.run("readonly", &scene.token("ci-bot"), "select id, name, email, ssn from users order by id");
    assert!(answer.success, "{answer:?}");
    let first = answer.out.lines().next().unwrap();
    assert!(first.starts_with("1|Ada|"), "{answer:?}");
    assert!(!answer.out.contains("ada@example") && !answer.out.contains(CANARY), "{answer:?}");
}

#[test]
fn dropping_the_database_is_refused_before_the_server_sees_it() {
    let Some(scene) = Scene::start() else { return };
    let answer = scene.run("app", &scene.token("ci-bot"), "drop database shop");
    assert!(!answer.success);
    for part in ["42501", "no-drops", "Ask #dba; schema changes go through migrations."] {
        assert!(answer.err.contains(part), "{part} is not in {answer:?}");
    }
    assert!(!scene.server.log().to_lowercase().contains("drop database"), "{}", scene.server.log());
    assert_eq!(
        scene.server.sql("postgres", "select count(*) from pg_database where datname = 'shop'").unwrap(),
        "1"
    );
}

#[test]
fn a_delete_without_where_waits_for_approval_and_then_runs() {
    let Some(scene) = Scene::start() else { return };
    let waiting = scene.begin("app", &scene.token("ci-bot"), "delete from orders");
    let name = pending(&scene);
    assert_eq!(
        scene.server.sql("shop", "select count(*) from orders").unwrap(),
        "10",
        "it ran before approval"
    );
    scene.portcullis(&["approve", &name, "--reason", "CHG-7"], 0);
    let answer = Answer::new(&waiting.wait_with_output().unwrap());
    assert!(answer.success && answer.out == "DELETE 10", "{answer:?}");
    assert!(answer.err.contains(&name), "no notice: {answer:?}");
    scene.portcullis(&["approve", &name], 1);
    let shown = scene.portcullis(&["sessions", "-o", "json"], 0).out;
    assert!(shown.contains("ci-bot"), "{shown}");
}

#[test]
fn a_denied_hold_is_a_refusal_and_nothing_runs() {
    let Some(scene) = Scene::start() else { return };
    let waiting = scene.begin("app", &scene.token("ci-bot"), "delete from orders");
    let name = pending(&scene);
    scene.portcullis(&["deny", &name, "--reason", "not today"], 0);
    let answer = Answer::new(&waiting.wait_with_output().unwrap());
    assert!(!answer.success && answer.err.contains("42501") && answer.err.contains("denied"), "{answer:?}");
    assert_eq!(scene.server.sql("shop", "select count(*) from orders").unwrap(), "10");
}

#[test]
fn the_session_is_listed_replayed_and_verified_and_a_changed_copy_is_caught() {
    let Some(scene) = Scene::start() else { return };
    let token = scene.token("ci-bot");
    scene.run("readonly", &token, "select name, email from users order by id");
    scene.run("readonly", &token, "drop table orders");
    let listed = scene.portcullis(&["sessions", "--verdict", "deny", "-o", "json"], 0).out;
    let sessions: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(sessions.as_array().unwrap().len(), 1, "{listed}");
    let all: serde_json::Value =
        serde_json::from_str(&scene.portcullis(&["sessions", "-o", "json"], 0).out).unwrap();
    let sessions = all.as_array().unwrap();
    let replayed: String = sessions
        .iter()
        .map(|session| scene.portcullis(&["replay", session["id"].as_str().unwrap()], 0).out)
        .collect();
    assert!(replayed.contains("Ada") && replayed.contains("(2 rows)"), "{replayed}");
    assert!(!replayed.contains("ada@example"), "{replayed}");
    scene.portcullis(&["verify"], 0);
    let copy = tempfile::tempdir().unwrap();
    let audit = scene.gateway.state().join("audit");
    let copied = std::process::Command::new("cp").arg("-r").arg(audit).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    change_a_byte(copy.path());
    scene.portcullis(&["verify", "--spool", copy.path().to_str().unwrap()], 1);
}

/// Name of the one request that waits.
fn pending(scene: &Scene) -> String {
    let approvals = scene.gateway.state().join("approvals");
    wait_until("a request for approval", || {
        let files = std::fs::read_dir(&approvals).ok()?.filter_map(Result::ok);
        let names =
            files.filter_map(|file| file.file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned));
        names.into_iter().find(|name| !name.starts_with('.'))
    })
    .unwrap()
}

/// Changes one letter of a recorded text, in the middle of the largest segment.
fn change_a_byte(directory: &std::path::Path) {
    let listed = std::process::Command::new("find")
        .arg(directory)
        .args(["-type", "f", "-size", "+1k"])
        .output()
        .unwrap();
    let files = String::from_utf8(listed.stdout).unwrap();
    let largest = files.lines().max_by_key(|file| std::fs::metadata(file).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(largest).unwrap();
    let position = bytes.windows(5).position(|window| window == b"users").unwrap();
    bytes[position] = b'U';
    std::fs::write(largest, bytes).unwrap();
}
