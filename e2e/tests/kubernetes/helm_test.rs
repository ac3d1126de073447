//! `helm test`: an agent's session that whoever installed the chart can have tried.

use crate::scene::{SYSTEM, Scene};
use e2e::image::Image;
use e2e::tools;
use std::path::Path;

#[test]
fn helm_test_runs_a_real_session_and_says_what_is_wrong_with_it() {
    let Some(scene) = Scene::set("helm-test") else { return };
    // What postgres:17-alpine has as well.
    let image = Image::new("localhost/psql:e2e").client().unwrap();
    let image = image.program(&tools::need("psql").unwrap(), "/bin/psql").unwrap();
    let image = image.program(Path::new("/bin/sh"), "/bin/sh").unwrap();
    scene.cluster.load(&image.program(Path::new("/bin/cat"), "/bin/cat").unwrap()).unwrap();

    let chart = tools::repository().join("charts/portcullis");
    let try_it = |set: &str| {
        let set = format!(
            "tests.image=localhost/psql:e2e,tests.resource=orders,tests.namespace=helm-test,tests.serviceAccountName=agent,\
             tests.audience=orders.helm-test,tests.database=shop,{set}"
        );
        let chart = chart.to_str().unwrap();
        let upgrade =
            ["upgrade", "portcullis", chart, "--namespace", SYSTEM, "--reuse-values", "--set", &set];
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
