//! Records of a cluster's gateways arrive at a real Collector, those of a gateway that was killed as well.

use crate::claim::{Claim, SPOOL};
use crate::scene::{CANARY, SYSTEM, Scene, chart};
use e2e::collector::{Backend, Collector};
use e2e::process::wait_until;
use proxy_audit::event::key;
use proxy_audit::record::Record;
use std::net::SocketAddr;

/// The chart's `otlp.endpoint` is set for as long as this lives.
struct Exporting<'a>(&'a Scene);

impl<'a> Exporting<'a> {
    fn to(scene: &'a Scene, collector: SocketAddr) -> Self {
        let exporting = Self(scene);
        exporting.set(&format!("http://{collector}")).unwrap();
        wait_until("gateways are told where to", || {
            let deployment = scene.get("deployment/orders-gateway");
            deployment.to_string().contains(&format!("--otlp-endpoint=http://{collector}")).then_some(())
        })
        .unwrap();
        scene.all_ready();
        exporting
    }

    fn set(&self, endpoint: &str) -> anyhow::Result<String> {
        let set = format!("otlp.endpoint={endpoint}");
        let chart = chart();
        let upgrade =
            ["upgrade", "portcullis", &chart, "--namespace", SYSTEM, "--reuse-values", "--set", &set];
        self.0.cluster.helm(&[&upgrade[..], &["--wait", "--timeout=120s"]].concat())
    }
}

impl Drop for Exporting<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.set("") {
            println!("the operator exports still: {error:#}");
        }
    }
}

/// The records say who opened these sessions, as what, and of which Resource.
fn say_who(records: &[Record], sessions: usize) {
    let starts = records.iter().filter(|record| {
        record.name() == "portcullis.session.start"
            && record.text(key::USER_NAME) == Some("system:serviceaccount:collector:agent")
    });
    let starts: Vec<_> = starts.collect();
    assert_eq!(starts.len(), sessions, "{starts:?}");
    for start in starts {
        assert!(start.text(key::USER_ID).unwrap().starts_with("https://kubernetes.default.svc"), "{start:?}");
        assert_eq!(start.text(key::RESOURCE_NAMESPACE), Some("collector"));
        assert_eq!(start.text(key::RESOURCE_NAME), Some("orders"));
    }
}

#[test]
fn records_of_all_gateways_arrive_at_a_collector_and_none_is_lost_with_a_gateway() {
    if !Collector::is_possible() {
        return;
    }
    let claim = Claim::new();
    let gateway = format!("{{drainSeconds: 5, spool: {SPOOL}}}");
    let Some(scene) = Scene::set_alone_with("collector", &gateway, &claim.manifests("collector")) else {
        return;
    };
    let backend = Backend::start().unwrap();
    let mut collector = Collector::start(&backend).unwrap();
    let _exporting = Exporting::to(&scene, scene.cluster.expose(collector.http()).unwrap());
    let session = || {
        assert_eq!(scene.run("readonly", "agent", "select count(*) from orders"), (true, "10\n".to_owned()));
        assert!(!scene.run("readonly", "agent", "drop table orders").0);
    };
    let arrive = || {
        let arrived = wait_until("every record arrives", || {
            let missing = backend.missing(&claim.records());
            missing.is_empty().then_some(())
        });
        if arrived.is_err() {
            let records = claim.records();
            let (missing, all) = (backend.missing(&records).len(), records.len());
            let logs = scene.kubectl(&["logs", "--selector=portcullis.dev/resource=orders", "--tail=8"]);
            panic!("{missing} of {all} records are missing: {}\n{logs}", backend.summary());
        }
        backend.has_exactly(&claim.records()).unwrap();
    };
    (0..4).for_each(|_| session());
    arrive();
    let arrived = backend.records();
    assert_eq!(arrived.len(), claim.records().len(), "nothing else arrives: {}", backend.summary());
    say_who(&arrived, 8);
    let denied = arrived.iter().filter(|record| record.text(key::RULE) == Some("no-drops"));
    assert_eq!(denied.count(), 4);

    // A gateway dies right after its records went away, then one whose records could not.
    let pods = scene.gateways();
    session();
    arrive();
    scene.cluster.kill_containers(&scene.namespace, &pods[0]).unwrap();
    collector.crash().unwrap();
    scene.all_ready();
    (0..4).for_each(|_| session());
    scene.cluster.kill_containers(&scene.namespace, &pods[1]).unwrap();
    scene.kubectl(&["delete", &format!("pod/{}", pods[1]), "--force", "--grace-period=0"]);
    scene.all_ready();
    assert!(!backend.missing(&claim.records()).is_empty(), "the Collector was away");
    collector.restart().unwrap();
    session();
    arrive();
    claim.verified();
    let secrets = [CANARY, "upstream-credential-that-no-client-sees"].map(str::to_owned);
    e2e::leaks::search_collected(&backend, &secrets).unwrap();
    println!("{} records of {} logs", claim.records().len(), claim.verified().len());
}
