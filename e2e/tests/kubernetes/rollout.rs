//! A new gateway for an old one: what is under way is finished, and nobody is turned away.

use crate::scene::{Scene, printed};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[test]
fn a_rollout_under_load_finishes_what_is_under_way() {
    let Some(scene) = Scene::set("rollout") else { return };
    let stop = AtomicBool::new(false);
    let (done, failed) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    // some seconds of the server's time
    let long =
        "select count(*) from orders a, orders b, orders c, orders d, orders e, orders f, orders g, orders h";
    let mut long = scene.psql("readonly", "agent", long);
    let long = long.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let (ok, text) = scene.run("readonly", "agent", "select count(*) from orders");
                    if ok && text == "10\n" {
                        done.fetch_add(1, Ordering::Relaxed);
                    } else {
                        failed.lock().unwrap().push(text);
                    }
                }
            });
        }
        scene.kubectl(&["rollout", "restart", "deployment/orders-gateway"]);
        scene.kubectl(&["rollout", "status", "deployment/orders-gateway", "--timeout=60s"]);
        scene.kubectl(&["wait", "--for=condition=Ready", "resource.portcullis.dev/orders", "--timeout=60s"]);
        stop.store(true, Ordering::Relaxed);
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of the sessions failed: {failed:?}", failed.len());
    assert!(done.load(Ordering::Relaxed) > 5);
    let output = long.unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{}", printed(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "100000000\n");
}
