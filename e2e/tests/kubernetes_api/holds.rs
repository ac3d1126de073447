//! Held requests: a drain is one question, and whoever answers it sees what would happen.

use crate::kubernetes_streams::{TRANSPORTS, kubectl};
use crate::pods::{Pods, pod};
use crate::scene::{Answer, Scene, feed};
use e2e::process::wait_until;
use serde_json::{Value, json};
use std::process::Command;
use std::thread::JoinHandle;

const RULES: &str = "
rules:
- name: evictions
  action: Hold
  kubernetes: {verbs: [create], resources: [pods/eviction]}
  approval: {timeoutSeconds: 300}
- name: writes
  action: Hold
  kubernetes: {verbs: [create, patch, update, delete], resources: [configmaps, secrets, deployments]}
  approval: {timeoutSeconds: 300}
- name: everything
  action: Allow
  kubernetes: {}
";

/// The requests that wait, as the command line lists them.
fn waiting(scene: &Scene) -> Vec<Value> {
    let listed = scene.portcullis(&["requests", "-o", "json"], 0).out;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    listed.as_array().unwrap().iter().map(|one| one["request"].clone()).collect()
}

/// The one request that waits.
fn only(scene: &Scene) -> Value {
    wait_until("a request waits", || {
        let mut waiting = waiting(scene);
        assert!(waiting.len() <= 1, "{waiting:?}");
        waiting.pop()
    })
    .unwrap()
}

fn name(request: &Value) -> &str {
    request["metadata"]["name"].as_str().unwrap()
}

/// Starts kubectl as an agent. It waits for an approval.
fn begin(scene: &Scene, arguments: &[&str], input: &str) -> JoinHandle<Answer> {
    let mut command = scene.kubectl(&scene.token("bot"));
    command.args(arguments);
    wait_beside(command, input)
}

/// Runs a command while the story goes on.
fn wait_beside(command: Command, input: &str) -> JoinHandle<Answer> {
    let input = input.to_owned();
    std::thread::spawn(move || Answer::new(&feed(command, &input)))
}

/// A pod that a drain of this story is about.
fn labelled(name: &str, namespace: &str) -> Value {
    let mut pod = pod(name, namespace, "sleep 3600");
    pod["metadata"]["labels"] = json!({"drain": "yes"});
    pod
}

#[test]
fn kubernetes_a_drain_is_one_request_that_shows_every_pod_and_evicts_no_other() {
    let Some(pods) = Pods::start("drain", RULES) else { return };
    let Pods { scene, cluster, namespace } = &pods;
    let n = format!("--namespace={namespace}");
    for number in 0..5 {
        cluster.apply(&labelled(&format!("drained-{number}"), namespace).to_string()).unwrap();
    }
    let ready = ["wait", "--for=condition=Ready", "pod", "--selector=drain=yes", &n, "--timeout=60s"];
    cluster.kubectl(&ready).unwrap();
    let names = || {
        let listed = cluster.kubectl(&["get", "pods", "--selector=drain=yes", "--output=name", &n]).unwrap();
        listed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // nothing else of the node is touched
    let arguments = [
        "drain",
        "node-0",
        "--pod-selector=drain=yes",
        "--force",
        "--delete-emptydir-data",
        "--timeout=120s",
    ];
    let drain = begin(scene, &arguments, "");
    let request = only(scene);
    // it would be drained too, but nobody was asked about it
    cluster.apply(&labelled("drained-late", namespace).to_string()).unwrap();

    let command = &request["spec"]["command"];
    assert_eq!(command["members"].as_array().unwrap().len(), 5, "{command}");
    let shown = scene.portcullis(&["describe", name(&request)], 0).out;
    for number in 0..5 {
        assert!(shown.contains(&format!("/pods/drained-{number}/eviction")), "{shown}");
    }
    assert!(shown.contains("[5/5] would evict it"), "{shown}");
    assert_eq!(names().len(), 6, "something was evicted before it was approved");

    scene.portcullis(&["approve", name(&request), "--reason", "CHG-7"], 0);
    let drained = drain.join().unwrap();
    cluster.kubectl(&["uncordon", "node-0"]).unwrap();
    assert!(drained.ok(), "{drained:?}");
    for number in 0..5 {
        assert!(drained.out.contains(&format!("drained-{number} evicted")), "{drained:?}");
    }
    assert_eq!(names(), ["pod/drained-late"]);
    // one request, five evictions on record as approved by it
    let all: Value =
        serde_json::from_str(&scene.portcullis(&["requests", "--all", "-o", "json"], 0).out).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    let approvals: Value =
        serde_json::from_str(&scene.portcullis(&["approvals", "-o", "json"], 0).out).unwrap();
    let mentions = approvals.to_string().matches(name(&request)).count();
    assert!(mentions >= 5, "{approvals}");
    scene.portcullis(&["verify"], 0);
}

#[test]
fn kubernetes_an_approver_sees_what_a_held_write_would_change_and_no_secret() {
    const CANARIES: [&str; 4] =
        ["canary-old-8sK2", "Y2FuYXJ5LW9sZC04c0sy", "canary-new-5tQ9", "Y2FuYXJ5LW5ldy01dFE5"];
    let Some(scene) = Scene::start(RULES) else { return };
    let namespace = scene.namespace("estimates");
    let n = format!("--namespace={namespace}");
    let make = |object: &Value| scene.direct.apply(&object.to_string()).unwrap();
    let labels = json!({"app": "web"});
    make(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": namespace},
        "data": {"password": CANARIES[1]}}));
    make(
        &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "shop/web:1"}]}}}}),
    );
    // what is asked, what the approver is told, and whether it is let through
    let held = |arguments: &[&str], input: &str, parts: &[&str]| {
        let agent = begin(&scene, &[arguments, &[n.as_str()]].concat(), input);
        let request = only(&scene);
        let shown = scene.portcullis(&["describe", name(&request)], 0).out;
        for part in parts {
            assert!(shown.contains(part), "{arguments:?}: {part} is not in\n{shown}");
        }
        assert!(
            CANARIES.iter().all(|canary| !shown.contains(canary) && !request.to_string().contains(canary))
        );
        scene.portcullis(&["approve", name(&request)], 0);
        agent.join().unwrap()
    };

    let patch =
        json!({"stringData": {"password": CANARIES[2]}, "metadata": {"labels": {"tier": "b"}}}).to_string();
    let parts = ["would change:", "data.password: changed, ", r#"metadata.labels: new, {"tier":"b"}"#];
    let answer = held(&["patch", "secret", "db", "--patch", &patch], "", &parts);
    assert!(answer.ok(), "{answer:?}");
    let stored =
        scene.direct.run(&["get", "secret", "db", &n, "--output=jsonpath={.data.password}"]).unwrap();
    assert_eq!(stored, CANARIES[3], "it was tried, and not done");

    let applied = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "shop/web:2"}, {"name": "side", "image": "shop/side"}]}}}});
    let parts = [r#"containers[web].image: "shop/web:1" → "shop/web:2""#, "containers[side]: new, "];
    let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let answer = held(&arguments, &applied.to_string(), &parts);
    assert!(answer.ok(), "{answer:?}");
    let answer = held(&["delete", "deployment", "web", "--wait=false"], "", &["would delete it"]);
    assert!(answer.ok(), "{answer:?}");
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}).to_string();
    let answer = held(&["create", "-f", "-"], &config, &["would create it"]);
    assert!(answer.ok(), "{answer:?}");
    // what the API server would say is said before somebody decides
    let answer =
        held(&["create", "-f", "-"], &config, &["the API server would refuse it: 409", "already exists"]);
    assert!(answer.err.contains("AlreadyExists"), "{answer:?}");

    for canary in CANARIES {
        scene.assert_nowhere(canary);
    }
    let shown = scene.portcullis(&["approvals", "-o", "json"], 0).out;
    assert!(shown.contains("requested") || shown.contains("approved"), "{shown}");
    scene.portcullis(&["verify"], 0);
}

const INTO_PODS: &str = "
rules:
- name: brief
  action: Hold
  kubernetes: {resources: [pods/exec], commands: [{name: cat}]}
  approval: {timeoutSeconds: 2}
- name: programs
  action: Hold
  kubernetes: {resources: [pods/exec], commands: [{name: echo}]}
  approval: {timeoutSeconds: 300}
- name: everything
  action: Allow
  kubernetes: {}
";

/// How many requests there have been.
fn asked(scene: &Scene) -> usize {
    let all: Value =
        serde_json::from_str(&scene.portcullis(&["requests", "--all", "-o", "json"], 0).out).unwrap();
    all.as_array().unwrap().len()
}

#[test]
fn kubernetes_a_held_exec_is_asked_about_once_however_kubectl_goes_on() {
    let Some(pods) = Pods::start("held-exec", INTO_PODS) else { return };
    let scene = &pods.scene;
    let mut expected = 0;
    for (name, transport) in TRANSPORTS {
        let exec = |words: &[&str]| {
            wait_beside(kubectl(&pods, transport, &[&["exec", "web", "--"], words].concat()), "")
        };
        let held = exec(&["echo", "approved", name]);
        scene.portcullis(&["approve", self::name(&only(scene))], 0);
        let answer = held.join().unwrap();
        assert!(answer.ok() && answer.out == format!("approved {name}\n"), "{answer:?}");

        // over a WebSocket kubectl asks again by itself
        let held = exec(&["echo", "denied", name]);
        scene.portcullis(&["deny", self::name(&only(scene)), "--reason", "not today"], 0);
        let answer = held.join().unwrap();
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.err.contains("was denied by") && answer.err.contains("not today"), "{answer:?}");

        let answer = exec(&["cat", &format!("/tmp/{name}")]).join().unwrap();
        assert!(answer.err.contains("expired undecided"), "{answer:?}");
        expected += 3;
        assert_eq!((asked(scene), waiting(scene).len()), (expected, 0), "{name}");
    }
    // somebody who means it is heard
    let held = wait_beside(kubectl(&pods, "true", &["exec", "web", "--", "echo", "denied", "websocket"]), "");
    scene.portcullis(&["approve", name(&only(scene))], 0);
    assert!(held.join().unwrap().ok());
    scene.portcullis(&["verify"], 0);
}
