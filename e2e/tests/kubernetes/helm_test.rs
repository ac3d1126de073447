//! `helm test`: an agent's session that whoever installed the chart can have tried.

use crate::scene::{SYSTEM, Scene, chart, load_psql, release_alone};

#[test]
fn helm_test_runs_a_real_session_and_says_what_is_wrong_with_it() {
    let Some(scene) = Scene::set("helm-test") else { return };
    load_psql(scene.cluster).unwrap();
    let chart = chart();
    let _release = release_alone();
    let try_it = |set: &str| {
        let set = format!(
            "tests.image=localhost/psql:e2e,tests.resource=orders,tests.namespace=helm-test,tests.serviceAccountName=agent,\
             tests.audience=orders.helm-test,tests.database=shop,{set}"
        );
        let upgrade =
            ["upgrade", "portcullis", &chart, "--namespace", SYSTEM, "--reuse-values", "--set", &set];
        scene.cluster.helm(&upgrade).unwrap();
        let test = ["test", "portcullis", "--namespace", SYSTEM, "--timeout=120s"];
        let output = scene.cluster.helm_command().unwrap().args(test).output().unwrap();
        (output.status.success(), scene.kubectl(&["logs", "portcullis-test-session"]))
    };
    let (ok, said) = try_it("tests.query=select count(*) from orders,tests.expect=10");
    assert!(ok, "{said}");

    let (ok, said) = try_it("tests.query=select count(*) from orders,tests.expect=11");
    assert!(!ok && said.contains("FAILED: select count(*) from orders: expected 11, found 10"), "{said}");

    let (ok, said) = try_it("tests.query=select 1,tests.expect=1,tests.refused=select 2");
    assert!(!ok && said.contains("FAILED: select 2: it was not refused"), "{said}");

    let (ok, said) =
        try_it("tests.query=select 1,tests.expect=1,tests.refused=,tests.audience=somebody-else");
    assert!(!ok && said.contains("FAILED: select 1: "), "{said}");
}
