//! A CI job in the cluster: its service account's token, projected for the Resource alone, is all it has to show.

use crate::claim::{Claim, SPOOL};
use crate::scene::{PSQL, Scene, load_psql};
use e2e::tools;
use proxy_audit::event::key;

#[test]
fn a_ci_job_is_who_its_projected_token_says() {
    let claim = Claim::new();
    let gateway = format!("{{drainSeconds: 5, spool: {SPOOL}}}");
    let Some(scene) = Scene::set_with("ci-job", &gateway, &claim.manifests("ci-job")) else { return };
    load_psql(scene.cluster).unwrap();
    // The example as it is, in this story's names.
    let example = std::fs::read_to_string(tools::repository().join("examples/kubernetes/ci.yaml")).unwrap();
    let run = |name: &str, changes: &[(&str, &str)]| {
        let mut manifest = example
            .replace("namespace: shop", "namespace: ci-job")
            .replace("orders-gateway.shop.svc", "orders-gateway.ci-job.svc")
            .replace("orders.shop", "orders.ci-job")
            .replace("name: PGDATABASE, value: orders", "name: PGDATABASE, value: shop")
            .replace("docker.io/library/postgres:17-alpine", PSQL)
            .replace("kind: Job\nmetadata: {name: ci,", &format!("kind: Job\nmetadata: {{name: {name},"));
        for (from, to) in changes {
            assert!(manifest.contains(from), "{from}");
            manifest = manifest.replace(from, to);
        }
        scene.cluster.apply(&manifest).unwrap();
        let ended = e2e::process::wait_until("the job ends", || {
            let status = scene.get(&format!("job/{name}"))["status"].clone();
            let count = |which: &str| status[which].as_i64().unwrap_or_default();
            (count("succeeded") + count("failed") > 0).then(|| count("succeeded") == 1)
        });
        (ended.unwrap(), scene.kubectl(&["logs", &format!("job/{name}")]))
    };
    assert_eq!(run("allowed", &[]), (true, "10\n".to_owned()));
    let (ok, said) = run("refused", &[("select count(*) from orders", "select name from users")]);
    assert!(!ok && said.contains("ERROR"), "its Policy lets it read orders only: {said}");
    let (ok, said) = run("elsewhere", &[("audience: orders.ci-job", "audience: another.ci-job")]);
    assert!(!ok && said.contains("FATAL"), "a token for another audience: {said}");
    let (ok, said) = run("impostor", &[("serviceAccountName: ci", "serviceAccountName: default")]);
    assert!(!ok, "another account, without a Policy: {said}");

    let records = claim.records();
    let starts = records.iter().filter(|record| record.name() == "portcullis.session.start");
    let of_ci = starts.filter(|start| start.text(key::USER_NAME) == Some("system:serviceaccount:ci-job:ci"));
    assert_eq!(of_ci.count(), 2, "the first and the second");
}
