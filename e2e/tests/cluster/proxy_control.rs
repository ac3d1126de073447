//! The gateway of one Resource of a cluster: real psql, PostgreSQL and API server, mounts as plain directories.

mod claims;
mod kills;
mod line;
mod outage;
mod promptly;
mod scene;

use e2e::process::{Process, wait_until};
use scene::{Answer, Scene, login};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Stdio;

const NO_READS: &str = "  - name: closed-for-today
    action: Deny
    postgresql: {effects: [Select], relations: [public.orders]}
  - name: no-drops";

#[test]
fn a_gateway_is_ready_once_its_resources_status_says_what_it_runs() {
    let Some(scene) = Scene::start() else { return };
    let gateway = scene.gateway("orders-gateway-1");
    let report = scene.report("orders-gateway-1");
    let policy = scene.server.client().get(&["policy.portcullis.dev/agents", "-n", "shop"]).unwrap();
    let uid = &policy["metadata"]["uid"];
    assert_eq!(report["policies"], json!([{"name": "agents", "uid": uid, "generation": 1}]));
    assert_eq!((&report["resourceGeneration"], &report["problem"]), (&json!(1), &Value::Null));
    assert!(report["instance"].as_str().is_some_and(|instance| !instance.is_empty()));
    let token = scene.token("ci-bot");
    assert_eq!(gateway.run("readonly", &token, "select count(*) from orders").out, "10");
    let denied = gateway.run("app", &token, "drop table orders").err;
    assert!(denied.contains("no-drops") && denied.contains("42501"), "{denied}");
    // Another pod's entry stands beside it.
    let second = scene.gateway("orders-gateway-2");
    assert_eq!(scene.report("orders-gateway-1"), report);
    assert_eq!(scene.report("orders-gateway-2")["policies"], report["policies"]);
    drop(second);
    let writes = scene.server.audit().unwrap();
    let written = writes.iter().filter(|write| {
        write["user"]["username"] == "system:serviceaccount:shop:orders-gateway"
            && write["objectRef"]["resource"] == "resources"
    });
    assert_eq!(written.count(), 2, "each wrote its report once");
}

#[test]
fn a_policy_change_reaches_a_live_session_and_a_broken_one_changes_nothing_but_the_report() {
    let Some(scene) = Scene::start() else { return };
    let gateway = scene.gateway("gateway-1");
    let token = scene.token("ci-bot");
    let mut psql = gateway.psql(&login("readonly", &token));
    psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = psql.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "select count(*) from orders;").unwrap();
    scene.change_policy("  - name: no-drops", NO_READS);
    let enforced = |generation: i64| {
        wait_until("the generation is reported", || {
            (scene.report("gateway-1")["policies"][0]["generation"] == json!(generation)).then_some(())
        })
        .unwrap();
    };
    enforced(2);
    writeln!(input, "select count(*) from orders;\nselect 40 + 2;").unwrap();
    drop(input);
    let answer = Answer::of(child);
    assert!(answer.err.contains("closed-for-today"), "{answer:?}");
    assert!(answer.out.ends_with("42"), "the session went on: {answer:?}");

    scene.change_policy(
        "  - name: no-drops",
        "  - name: broken\n    action: Deny\n    when: 'identity.nope('\n  - name: no-drops",
    );
    let report = wait_until("the problem is reported", || {
        Some(scene.report("gateway-1")).filter(|report| !report["problem"].is_null())
    })
    .unwrap();
    let problem = report["problem"].as_str().unwrap();
    assert!(problem.contains("Policy shop/agents: spec.rules["), "{problem}");
    assert_eq!(report["policies"][0]["generation"], json!(2), "the last good generation");
    let still = gateway.run("readonly", &token, "select count(*) from orders").err;
    assert!(still.contains("closed-for-today"), "{still}");
    assert_eq!(gateway.admin("readyz").unwrap(), "ready\n");

    // One that starts now has no last good generation: it lets nobody in, and says why.
    let fresh = scene.launch("gateway-2", &[]);
    wait_until("it is reported", || {
        let report = scene.report("gateway-2");
        report["problem"].as_str().filter(|said| said.contains("spec.rules[")).map(drop)
    })
    .unwrap();
    assert!(fresh.admin("readyz").is_err());
    assert_eq!(fresh.admin("resources").unwrap(), "[]");

    scene.change_policy("", "");
    enforced(4);
    fresh.wait_until_ready();
    assert_eq!(scene.report("gateway-1")["problem"], Value::Null);
}

#[test]
fn a_resource_whose_secrets_are_not_mounted_yet_is_taken_over_when_they_are() {
    let Some(scene) = Scene::start() else { return };
    let gateway = scene.gateway("gateway-1");
    let resource = scene.manifest("resource.yaml");
    let role = "    - {name: app, credentialsRef: {name: orders-app}}";
    let more = format!("{role}\n    - {{name: late, credentialsRef: {{name: orders-late}}}}");
    assert!(resource.contains(role));
    scene.server.apply(&resource.replace(role, &more)).unwrap();
    let problem = wait_until("the problem is reported", || {
        scene.report("gateway-1")["problem"].as_str().map(str::to_owned)
    })
    .unwrap();
    assert!(problem.contains("expected a Secret orders-late in namespace shop, found none"), "{problem}");
    // Policies do not wait for it.
    scene.change_policy("  - name: no-drops", NO_READS);
    let token = scene.token("ci-bot");
    wait_until("the policy is enforced", || {
        let answer = gateway.run("readonly", &token, "select count(*) from orders");
        answer.err.contains("closed-for-today").then_some(())
    })
    .unwrap();
    assert_eq!(scene.report("gateway-1")["resourceGeneration"], json!(1));
    scene.mount("Secret/orders-late/username", "readonly");
    scene.mount("Secret/orders-late/password", "upstream-credential-that-no-client-sees");
    wait_until("it is taken over", || {
        (scene.report("gateway-1")["resourceGeneration"] == json!(2)).then_some(())
    })
    .unwrap();
    assert_eq!(gateway.run("late", &token, "select 40 + 2").out, "42");
}

#[test]
fn a_deleted_resource_is_served_until_the_gateway_is_told_to_stop() {
    let Some(scene) = Scene::start() else { return };
    let mut gateway = scene.gateway("gateway-1");
    let token = scene.token("ci-bot");
    let mut session = gateway.psql(&login("readonly", &token));
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), "\\set ON_ERROR_STOP on\nselect 'alive' \\watch 0.1\n").unwrap();
    let mut session = Process::start("psql", session.arg("-f").arg(script.path())).unwrap();
    session.wait_for_line("an answer", |line| line.contains("alive").then_some(())).unwrap();
    scene.server.kubectl(&["delete", "resource.portcullis.dev/orders", "-n", "shop"]).unwrap();
    wait_until("it is noticed", || gateway.process.log().contains("expected it to exist").then_some(()))
        .unwrap();
    assert_eq!(gateway.run("readonly", &token, "select 40 + 2").out, "42");
    gateway.process.signal("TERM").unwrap();
    assert_eq!(gateway.process.wait().unwrap(), Some(0));
    session.wait_for_line("its end", |line| line.contains("FATAL").then_some(())).unwrap();
}

#[test]
fn what_changes_while_a_gateway_drains_binds_the_sessions_that_are_left() {
    let Some(scene) = Scene::start() else { return };
    let gateway = scene.gateway("gateway-1");
    let token = scene.token("ci-bot");
    // A transaction is open, so that draining waits for it.
    let mut psql = gateway.psql(&login("readonly", &token));
    let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let begun = tempfile::tempdir().unwrap();
    writeln!(input, "begin;\nselect count(*) from users;\n\\! touch {}/begun", begun.path().display())
        .unwrap();
    wait_until("the transaction is open", || begun.path().join("begun").exists().then_some(())).unwrap();
    gateway.process.signal("TERM").unwrap();
    wait_until("it drains", || gateway.admin("readyz").is_err_and(|said| said == "draining\n").then_some(()))
        .unwrap();
    scene.change_policy("  - name: no-drops", NO_READS);
    wait_until("the generation is reported", || {
        (scene.report("gateway-1")["policies"][0]["generation"] == json!(2)).then_some(())
    })
    .unwrap();
    writeln!(input, "select count(*) from orders;").unwrap();
    drop(input);
    let answer = Answer::of(child);
    assert!(answer.err.contains("closed-for-today"), "{answer:?}");
}
