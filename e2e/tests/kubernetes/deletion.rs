//! A Resource that is deleted: nobody new gets in, what is under way is finished, and what is left is a whole log.

use crate::claim::{Claim, SPOOL};
use crate::live::Live;
use crate::scene::{Scene, printed};
use e2e::process::wait_until;
use proxy_audit::event::key;
use std::process::{Child, Stdio};

const STOPPING: &str = "the gateway is stopping";

/// Starts a read that takes the server a while: as many steps as there are orders, to the power of `tables`.
fn long(scene: &Scene, tables: usize) -> Child {
    let tables: Vec<String> = (0..tables).map(|number| format!("orders t{number}")).collect();
    let sql = format!("select count(*) from {}", tables.join(", "));
    let mut psql = scene.psql("readonly", "agent", &sql);
    let child = psql.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the server is at it", || (busy(scene) > 0).then_some(())).unwrap();
    child
}

/// How many sessions of the server work on something of ours.
fn busy(scene: &Scene) -> usize {
    let active = "select count(*) from pg_stat_activity where usename = 'readonly' and state = 'active'";
    scene.server.sql("postgres", active).unwrap().parse().unwrap()
}

fn delete(scene: &Scene) {
    scene.kubectl(&["delete", "resource.portcullis.dev/orders", "--wait=false"]);
}

/// Waits until the Resource is gone, and with it all that was made for it, but for the key that records depend on.
fn gone(scene: &Scene) {
    let gone = ["wait", "--for=delete", "resource.portcullis.dev/orders", "--timeout=120s"];
    scene.kubectl(&gone);
    wait_until("what was made for it is gone", || {
        let kinds = "deployments,pods,services,serviceaccounts,roles,rolebindings,configmaps,secrets,\
                     networkpolicies,poddisruptionbudgets";
        let names = scene.kubectl(&["get", kinds, "--output=name"]);
        (!names.contains("orders-gateway")).then_some(())
    })
    .unwrap();
    scene.kubectl(&["get", "secret/portcullis-tenant-key"]);
}

/// The logs are whole, sealed, and say that every session ended.
fn sealed(claim: &Claim) {
    let reports = claim.verified();
    assert_eq!(reports.len(), 2, "one log of each gateway: {reports:?}");
    for report in &reports {
        assert_eq!(report["being_written"], false, "{report}");
        assert_eq!(report["open_sessions"], 0, "{report}");
        assert_eq!(report["crash_recovered"], 0, "{report}");
        assert_eq!(report["signed_size"], report["end"], "signed to its last record: {report}");
    }
}

#[test]
fn a_deleted_resource_lets_what_runs_finish_and_leaves_a_sealed_log() {
    let claim = Claim::new();
    let gateway = format!("{{drainSeconds: 200, spool: {SPOOL}}}");
    let Some(scene) = Scene::set_with("deletion", &gateway, &claim.manifests("deletion")) else { return };
    // one may be in the making still
    let addresses: Vec<String> = wait_until("every gateway has an address", || {
        scene.get("pods")["items"].as_array()?.iter().map(address).collect()
    })
    .unwrap();
    let mut idle = Live::open(&scene, "readonly", "agent");
    let mut transaction = Live::open(&scene, "readonly", "agent");
    transaction.ask("begin");
    let long = long(&scene, 8);
    delete(&scene);

    wait_until("the Service lets nobody in", || {
        let (ok, text) = scene.run("readonly", "agent", "select 1");
        (!ok).then_some(text)
    })
    .unwrap();
    wait_until("neither do the gateways", || {
        let refuses = |address: &String| {
            let mut psql = scene.psql_at(address, "readonly", "agent", "select 1");
            !psql.output().unwrap().status.success()
        };
        addresses.iter().all(refuses).then_some(())
    })
    .unwrap();
    wait_until("an idle session is told", || idle.ask("select 1").contains(STOPPING).then_some(())).unwrap();
    // What is under way goes on, under the Policies of before.
    assert_eq!(transaction.ask("select count(*) from orders"), "10\n");
    let denied = transaction.ask("drop table orders");
    assert!(denied.contains("no-drops"), "{denied}");
    let resource = scene.get("resource.portcullis.dev/orders");
    assert_eq!(resource["metadata"]["finalizers"], serde_json::json!(["portcullis.dev/drain"]));
    let output = long.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", printed(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "100000000\n");
    // with the answer, or when it asks again
    let said = format!("{}{}", transaction.ask("rollback"), transaction.ask("select 1"));
    assert!(said.contains(STOPPING), "{said}");

    gone(&scene);
    sealed(&claim);
    let records = claim.records();
    let ends = records.iter().filter(|record| record.name() == "portcullis.session.end");
    let ended = ends.filter(|record| record.text(key::REASON) == Some("ended by the gateway"));
    // and perhaps one that was to find out whether the Service still lets anybody in
    assert!(ended.count() >= 2, "the idle session, and the one with a transaction once that was over");
}

#[test]
fn sessions_that_outlive_the_drain_time_of_a_deleted_resource_are_ended() {
    let claim = Claim::new();
    let gateway = format!("{{drainSeconds: 5, spool: {SPOOL}}}");
    let Some(scene) = Scene::set_with("overdue", &gateway, &claim.manifests("overdue")) else { return };
    let mut transaction = Live::open(&scene, "readonly", "agent");
    transaction.ask("begin");
    // would take hours
    let long = long(&scene, 12);
    delete(&scene);

    let output = long.wait_with_output().unwrap();
    let text = printed(&output);
    assert!(!output.status.success() && text.contains(STOPPING), "{text}");
    // perhaps of another gateway, whose time is over a little later
    let told = || transaction.ask("select 1").contains(STOPPING).then_some(());
    wait_until("the session with a transaction is told", told).unwrap();
    gone(&scene);
    sealed(&claim);
}

fn address(pod: &serde_json::Value) -> Option<String> {
    Some(pod["status"]["podIP"].as_str()?.to_owned())
}
