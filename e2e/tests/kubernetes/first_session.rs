//! A pod's own identity, an unchanged psql, and a gateway that the operator made.

use crate::scene::{CANARY, Scene};

#[test]
fn an_agent_reads_what_it_may_masked_and_is_refused_the_rest() {
    let Some(scene) = Scene::set("first-session") else { return };
    let run = |role: &str, account: &str, sql: &str| scene.run(role, account, sql);

    let (ok, text) = run("readonly", "agent", "select name, ssn from users");
    assert!(ok && text.starts_with("Ada|"), "{text}");
    assert!(!text.contains(CANARY), "{text}");

    let (ok, text) = run("readonly", "agent", "drop database shop");
    assert!(!ok && text.contains("no-drops") && text.contains("Ask #dba."), "{text}");
    assert!(!scene.server.log().to_lowercase().contains("drop database shop"), "the server never saw it");

    // Another identity, another Policy.
    assert_eq!(run("readonly", "ci", "select count(*) from orders"), (true, "10\n".to_owned()));
    let (ok, text) = run("readonly", "ci", "select name from users");
    assert!(!ok && text.contains("ERROR"), "{text}");

    // Nobody without a Policy.
    let (ok, text) = run("readonly", "default", "select 1");
    assert!(!ok && !text.starts_with('1'), "{text}");

    // The credential is in no object that the gateway's own account may read.
    let account = format!("--as=system:serviceaccount:{}:orders-gateway", scene.namespace);
    let may = scene.try_kubectl("admin", &["auth", "can-i", "get", "secrets", &account]);
    assert!(may.is_err(), "the gateway may read Secrets through the API");
}
