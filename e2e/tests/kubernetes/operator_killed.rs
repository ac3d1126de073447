//! The operator is killed while it rolls gateways: the one that takes over finishes it, and no agent notices.

use crate::scene::{SYSTEM, Scene};
use e2e::process::wait_until;
use e2e::random::Random;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const KILLS: u64 = 3;

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The replica of the operator that works; the other waits for its lease.
fn leader(scene: &Scene) -> String {
    let client = scene.cluster.client();
    wait_until("an operator leads", || {
        let pods = client.get(&["pods", "--namespace", SYSTEM]).unwrap();
        // of one that was killed and is not started again yet, the log is still there
        let runs = |pod: &&Value| pod["status"]["containerStatuses"][0]["state"]["running"].is_object();
        let pods = pods["items"].as_array()?.iter().filter(runs);
        let pods = pods.filter_map(|pod| pod["metadata"]["name"].as_str());
        let leads = |pod: &&str| {
            let log = scene.cluster.kubectl(&["logs", pod, "--namespace", SYSTEM]).unwrap_or_default();
            log.contains("got the lease")
        };
        pods.clone().find(leads).map(str::to_owned)
    })
    .unwrap()
}

#[test]
fn a_rollout_during_which_the_operator_is_killed_is_finished_by_the_next() {
    let Some(scene) = Scene::set_alone("operator-killed") else { return };
    let mut random = Random::printed();
    let stop = AtomicBool::new(false);
    let (done, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|threads| {
        // whatever fails here, the agent comes to an end
        let _stop = Stop(&stop);
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                match scene.run("readonly", "agent", "select count(*) from orders") {
                    (true, text) if text == "10\n" => _ = done.fetch_add(1, Ordering::Relaxed),
                    (_, text) => failed.lock().unwrap().push(text),
                }
            }
        });
        for round in 0..KILLS {
            // It is a pod's own time to end: the Deployment rolls.
            let drain = 21 + round;
            let patch = json!({"spec": {"gateway": {"drainSeconds": drain}}}).to_string();
            let leader = leader(&scene);
            scene.kubectl(&["patch", "resource.portcullis.dev/orders", "--type=merge", "--patch", &patch]);
            std::thread::sleep(Duration::from_millis(random.below(400)));
            scene.cluster.kill_containers(SYSTEM, &leader).unwrap();
            let began = Instant::now();
            wait_until("the rollout is finished", || finished(&scene, drain).then_some(())).unwrap();
            println!("kill {}: finished after {:.1?}", round + 1, began.elapsed());
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of the sessions failed: {failed:?}", failed.len());
    assert!(done.load(Ordering::Relaxed) > 5);
    let ready = ["wait", "--for=condition=Programmed", "policy.portcullis.dev/agents", "--timeout=60s"];
    scene.kubectl(&ready);
}

/// Whether the gateways that run are those of this spec, and the Resource says so.
fn finished(scene: &Scene, drain: u64) -> bool {
    let deployment = scene.get("deployment/orders-gateway");
    let resource = scene.get("resource.portcullis.dev/orders");
    let ready = resource["status"]["conditions"].as_array().into_iter().flatten().any(|condition| {
        condition["type"] == "Ready"
            && condition["status"] == "True"
            && condition["observedGeneration"] == resource["metadata"]["generation"]
    });
    let status = &deployment["status"];
    let grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
    ready
        && grace.is_some_and(|grace| grace >= drain)
        && status["observedGeneration"] == deployment["metadata"]["generation"]
        && [&status["updatedReplicas"], &status["availableReplicas"], &status["replicas"]]
            .iter()
            .all(|count| **count == 2)
}
