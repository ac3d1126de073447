//! Logs on a claim outlive their pods: the next gateway's log follows the one before, and all of them are whole.

use crate::claim::{Claim, SPOOL};
use crate::scene::Scene;
use e2e::process::wait_until;
use proxy_audit::event::key;
use std::collections::BTreeSet;

#[test]
fn logs_on_a_claim_are_followed_by_those_of_the_next_pods() {
    let claim = Claim::new();
    let gateway = format!("{{drainSeconds: 5, spool: {SPOOL}}}");
    let Some(scene) = Scene::set_with("spool", &gateway, &claim.manifests("spool")) else { return };
    let sessions = |count: usize| {
        for _ in 0..count {
            assert_eq!(
                scene.run("readonly", "agent", "select count(*) from orders"),
                (true, "10\n".to_owned())
            );
        }
    };
    sessions(6);
    let origins = || -> BTreeSet<String> {
        claim.verified().iter().map(|report| report["origin"].as_str().unwrap().to_owned()).collect()
    };
    let before = origins();
    assert_eq!(before.len(), 2, "one log of each gateway");

    // One is told to go; of the other the process is killed, and then the pod.
    let pods = scene.gateways();
    scene.kubectl(&["delete", &format!("pod/{}", pods[0]), "--timeout=60s"]);
    scene.all_ready();
    sessions(2);
    scene.cluster.kill_containers(&scene.namespace, &pods[1]).unwrap();
    scene.kubectl(&["delete", &format!("pod/{}", pods[1]), "--force", "--grace-period=0"]);
    scene.all_ready();
    sessions(6);

    // The process that was started again in the pod that was removed by force has as long to end as any other.
    let reports = wait_until("the logs of the pods that run are the only ones being written", || {
        let reports = claim.verified();
        let written = reports.iter().filter(|report| report["being_written"] == true).count();
        (written == 2).then_some(reports)
    })
    .unwrap();
    let all: BTreeSet<String> = origins();
    assert!(all.is_superset(&before) && all.len() >= 4, "{all:?}");
    // The pod that came after the kill found a log that nobody wrote any more, mended it and followed it; the one that
    // came while both others were still at work followed none.
    let new = reports.iter().filter(|report| !before.contains(report["origin"].as_str().unwrap()));
    let followed: Vec<&str> = new.filter_map(|report| report["predecessor"]["origin"].as_str()).collect();
    assert!(!followed.is_empty() && followed.iter().all(|origin| all.contains(*origin)), "{reports:?}");
    let records = claim.records();
    let starts = records.iter().filter(|record| {
        record.name() == "portcullis.session.start"
            && record.text(key::USER_NAME) == Some("system:serviceaccount:spool:agent")
    });
    assert_eq!(starts.count(), 14, "every session is on record");
}
