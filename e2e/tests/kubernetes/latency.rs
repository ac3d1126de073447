//! How fast what is promised is true. Without `PORTCULLIS_ROUNDS` a few rounds see that it is; `make bench-operator` runs
//! as many as a percentile takes. Nothing here fails for being slow: figures are for people.

use crate::scene::{Scene, installed};
use e2e::cluster::ADMIN;
use e2e::process::wait_until;
use e2e::rest::Rest;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn rounds() -> usize {
    std::env::var("PORTCULLIS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3)
}

fn report(what: &str, mut taken: Vec<Duration>) {
    taken.sort();
    let at = |share: usize| taken[(taken.len() * share / 100).min(taken.len() - 1)].as_secs_f64() * 1000.0;
    println!("{what}: p50 {:.0} ms, p99 {:.0} ms, of {}", at(50), at(99), taken.len());
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

fn path(scene: &Scene, object: &str) -> String {
    format!("/apis/portcullis.dev/v1alpha1/namespaces/{}/{object}", scene.namespace)
}

#[test]
fn from_a_policy_change_to_programmed() {
    let Some(scene) = Scene::set("latency-policy") else { return };
    let rest = Rest::new(scene.cluster.kubeconfig(), ADMIN).unwrap();
    let policy = path(&scene, "policies/agents");
    let mut taken = Vec::new();
    for round in 0..rounds() {
        let patch = json!({"metadata": {"labels": {"round": round.to_string()}},
            "spec": {"subjects": [{"user": format!("somebody-{round}")}]}});
        let began = Instant::now();
        runtime().block_on(async {
            let changed = rest.merge(&policy, &patch).await.unwrap();
            let generation = changed["metadata"]["generation"].clone();
            let programmed = |object: &Value| {
                object["status"]["conditions"].as_array().is_some_and(|conditions| {
                    conditions.iter().any(|condition| {
                        condition["type"] == "Programmed"
                            && condition["status"] == "True"
                            && condition["observedGeneration"] == generation
                    })
                })
            };
            while !programmed(&rest.get(&policy).await.unwrap()) {
                assert!(began.elapsed() < Duration::from_mins(1));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        taken.push(began.elapsed());
    }
    report("policy change to Programmed on both gateways", taken);
}

#[test]
fn from_an_approval_to_the_server() {
    let Some(scene) = Scene::set("latency-approval") else { return };
    scene
        .server
        .sql(
            "shop",
            "create table ticks (at timestamptz); insert into ticks values (null);
             create function tick() returns trigger language plpgsql as 'begin new.at = clock_timestamp(); return new; end';
             create trigger tick before update on ticks for each row execute function tick();
             grant select, update on ticks to app",
        )
        .unwrap();
    let alice = Rest::new(scene.cluster.kubeconfig(), "alice").unwrap();
    let mut taken = Vec::new();
    for _ in 0..rounds() {
        let (held, request) = scene.hold("app", "agent", "update ticks set at = null");
        let decision = json!({"approver": "alice", "group": "dba", "verdict": "Approved"});
        let patch = json!({"spec": {"decisions": [decision]}});
        let began = jiff::Timestamp::now();
        runtime()
            .block_on(alice.merge(&path(&scene, &format!("approvalrequests/{request}")), &patch))
            .unwrap();
        assert!(held.wait_with_output().unwrap().status.success());
        // the server's clock is this machine's
        let ran = scene.server.sql("shop", "select extract(epoch from at) * 1000000 from ticks").unwrap();
        let ran: f64 = ran.parse().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "microseconds of this century")]
        let began = began.as_microsecond() as f64;
        taken.push(Duration::from_secs_f64((ran - began).max(0.0) / 1e6));
    }
    report("approval patched to run by the server", taken);
}

#[test]
fn from_kubectl_apply_to_an_answer() {
    if installed().is_none() {
        return;
    }
    let began = Instant::now();
    let Some(scene) = Scene::set("latency-apply") else { return };
    wait_until("psql is answered", || scene.run("readonly", "agent", "select 1").0.then_some(())).unwrap();
    let whole = began.elapsed();
    // what the scene does before it applies is not the operator's
    let created = scene.get("resource.portcullis.dev/orders")["metadata"]["creationTimestamp"].clone();
    let created: jiff::Timestamp = created.as_str().unwrap().parse().unwrap();
    let since = jiff::Timestamp::now().duration_since(created);
    println!(
        "kubectl apply to psql answered: at most {:.1} s (the scene took {:.1} s in all)",
        since.as_secs_f64(),
        whole.as_secs_f64()
    );
}
