//! Policies change while sessions live.

use crate::scene::{Scene, prepare};
use e2e::process::{Process, wait_until};
use std::io::Write as _;
use std::process::Stdio;

#[test]
fn a_change_reaches_a_live_session_without_ending_it() {
    let Some(scene) = Scene::start() else { return };
    let mut psql = scene.psql("readonly", &scene.token("ci-bot"));
    psql.arg("-At").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = psql.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "select count(*) from orders;\n\\! touch {}/first", scene.gateway.state().display())
        .unwrap();
    input.flush().unwrap();
    wait_until("the first answer", || scene.gateway.state().join("first").exists().then_some(())).unwrap();
    let policy = scene.gateway.config().join("policy.yaml");
    let text = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, text.replace("  - name: no-drops", NO_READS)).unwrap();
    wait_until("the new policy is in force", || {
        let answer = scene.run("readonly", &scene.token("other"), "select count(*) from orders");
        answer.err.contains("closed-for-today").then_some(())
    })
    .unwrap();
    writeln!(input, "select count(*) from orders;\nselect 40 + 2;").unwrap();
    drop(input);
    let done = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(out.lines().collect::<Vec<_>>(), ["10", "42"], "{err}");
    assert!(err.contains("closed-for-today"), "{err}");
}

const NO_READS: &str = "  - name: closed-for-today
    action: Deny
    postgresql: {effects: [Select], relations: [public.orders]}
  - name: no-drops";

#[test]
fn a_policy_that_does_not_compile_keeps_the_last_good_one_and_says_so() {
    let Some(scene) = Scene::start() else { return };
    let policy = scene.gateway.config().join("policy.yaml");
    let text = std::fs::read_to_string(&policy).unwrap();
    let token = scene.token("ci-bot");
    // One that cannot be read, and one that can be read and means nothing.
    for (place, broken) in [
        (".action", text.replace("action: Deny", "action: Denny")),
        (".when", text.replace("name: no-drops\n", "name: no-drops\n    when: 'identity.nope('\n")),
    ] {
        assert_ne!(broken, text);
        std::fs::write(&policy, broken).unwrap();
        wait_until("the problem is logged", || {
            let log = scene.gateway.log();
            log.lines().any(|line| line.contains("policy.yaml") && line.contains(place)).then_some(())
        })
        .unwrap();
        let metrics = scene.gateway.admin("metrics").unwrap();
        assert!(metrics.contains("portcullis_config_last_reload_successful 0"), "{metrics}");
        assert!(scene.run("app", &token, "drop table orders").err.contains("no-drops"), "{place}");
        assert_eq!(scene.run("app", &token, "select count(*) from orders").out, "10", "{place}");
    }
}

#[test]
fn an_identity_that_loses_access_loses_its_session() {
    let Some(scene) = Scene::start() else { return };
    let mut session = scene.psql("readonly", &scene.token("ci-bot"));
    // psql notices the end of its session at the next command, so it asks again and again.
    session.arg("-At").arg("-f").arg(scene.again_and_again("select 'alive'"));
    let mut session = Process::start("psql", &mut session).unwrap();
    session.wait_for_line("an answer", |line| line.contains("alive").then_some(())).unwrap();
    let policy = scene.gateway.config().join("policy.yaml");
    let text = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, text.replace("group: agents", "group: others")).unwrap();
    session.wait_for_line("the end", |line| line.contains("may no longer use").then_some(())).unwrap();
}

#[test]
fn a_broken_configuration_is_refused_with_file_path_and_reason() {
    let Some(prepared) = prepare() else { return };
    let file = prepared.setup.config().join("policy.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("keepLast: 4", "keepLast: four").replace("name: reads", "name: Reads!"),
    )
    .unwrap();
    let done = prepared.setup.command().unwrap().output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{said}");
    for part in ["policy.yaml", "spec.masking[0].with.keepLast"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}
