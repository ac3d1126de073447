//! Held requests: a drain is one question, and whoever answers it sees what would happen.

use crate::kubernetes_streams::{TRANSPORTS, kubectl};
use crate::pods::{Pods, pod};
use crate::scene::{self, Answer, Scene, feed};
use e2e::cluster::Kubectl;
use e2e::process::wait_until;
use serde_json::{Value, json};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
fn labelled(name: &str, namespace: &str, drain: &str) -> Value {
    let mut pod = pod(name, namespace, "sleep 3600");
    pod["metadata"]["labels"] = json!({"drain": drain});
    pod
}

#[test]
fn kubernetes_a_drain_is_one_request_that_shows_every_pod_and_evicts_no_other() {
    let Some(pods) = Pods::start("drain", RULES) else { return };
    let Pods { scene, cluster, namespace } = &pods;
    let n = format!("--namespace={namespace}");
    for number in 0..5 {
        cluster.apply(&labelled(&format!("drained-{number}"), namespace, "yes").to_string()).unwrap();
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
    cluster.apply(&labelled("drained-late", namespace, "yes").to_string()).unwrap();

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

/// How long clients wait in the stories about those that are told to come back: long enough for a look at what waits.
const SECONDS: u64 = 6;

/// A gateway whose clients wait no longer.
fn impatient(direct: Kubectl, rules: &str) -> Scene {
    Scene::holding(direct, rules, &json!({"holdSeconds": SECONDS}))
}

/// Runs kubectl to the end, which is told to repeat what it was asked. The name of the request that waits.
fn told(scene: &Scene, arguments: &[&str]) -> String {
    let answer = begin(scene, arguments, "").join().unwrap();
    told_by(scene, &answer)
}

/// The name of the one request that waits, which this answer names.
fn told_by(scene: &Scene, answer: &Answer) -> String {
    let name = name(&only(scene)).to_owned();
    assert_eq!(answer.code, Some(1), "{answer:?}");
    for part in [
        &format!("waiting for approval {name}"),
        &format!("decide with: portcullis approve {name}"),
        "it expires in ",
        "repeat the command once it is approved",
    ] {
        assert!(answer.err.contains(part), "{part}: {answer:?}");
    }
    name
}

#[test]
fn kubernetes_a_held_command_is_told_to_come_back_and_runs_once_when_it_is_repeated() {
    let Some(server) = scene::server() else { return };
    let scene = impatient(server.client().clone(), RULES);
    let namespace = scene.namespace("come-back");
    let n = format!("--namespace={namespace}");
    let make = || scene.direct.run(&["create", "configmap", "c", &n]).unwrap();
    let is_there = || scene.direct.run(&["get", "configmap", "c", &n]).is_ok();
    let delete = ["delete", "configmap", "c", &n];
    make();

    // no rule says a word about clients that go away
    let first = told(&scene, &delete);
    let answer = begin(&scene, &delete, "").join().unwrap();
    assert!(
        answer.err.starts_with("Error from server (Forbidden): delete configmaps waits for"),
        "{answer:?}"
    );
    assert_eq!(told_by(&scene, &answer), first, "the repetition asks nobody anew");
    scene.portcullis(&["approve", &first, "--reason", "CHG-7"], 0);
    assert!(is_there(), "nobody waits for it");
    // an approval is for the identity that asked
    let mut another = scene.kubectl(&scene.token("another-bot"));
    another.args(delete);
    let answer = wait_beside(another, "").join().unwrap();
    assert!(!answer.ok() && !answer.err.contains(&first) && is_there(), "{answer:?}");
    let answer = scene.run(&delete);
    assert!(answer.ok() && !is_there(), "{answer:?}");
    // and once
    make();
    let again = begin(&scene, &delete, "");
    let second = wait_until("it is asked about anew", || {
        let of_bot = |request: &Value| request["spec"]["requester"]["subject"] == "bot";
        waiting(&scene).into_iter().find(of_bot)
    })
    .unwrap();
    assert_ne!(name(&second), first);
    scene.portcullis(&["deny", name(&second)], 0);
    assert!(again.join().unwrap().err.contains("was denied by") && is_there());

    let states = scene.portcullis(&["approvals", "-o", "json"], 0).out;
    let states: Value = serde_json::from_str(&states).unwrap();
    let of_first = states.as_array().unwrap().iter().filter(|row| row["name"] == *first);
    let words: Vec<_> = of_first.map(|row| row["verdict"].as_str().unwrap().to_owned()).collect();
    for (word, count) in [("requested", 3), ("left", 2), ("approved", 1)] {
        assert_eq!(words.iter().filter(|one| *one == word).count(), count, "{words:?}");
    }
    scene.portcullis(&["verify"], 0);
}

#[test]
fn kubernetes_what_a_clock_writes_into_a_command_does_not_make_it_another_and_what_nobody_repeats_expires() {
    let Some(server) = scene::server() else { return };
    let (evictions, brief) = ("[pods/eviction]}\n  approval: {timeoutSeconds: 300}", SERVICE_ACCOUNTS);
    assert!(RULES.contains(evictions));
    let scene = impatient(server.client().clone(), &RULES.replace(evictions, brief));
    let namespace = scene.namespace("clocks");
    let n = format!("--namespace={namespace}");
    let labels = json!({"app": "web"});
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "shop/web:1"}]}}}});
    scene.direct.apply(&web.to_string()).unwrap();
    let restart = ["rollout", "restart", "deployment", "web", &n];
    let first = told(&scene, &restart);
    scene.portcullis(&["approve", &first], 0);
    let answer = scene.run(&restart);
    assert!(answer.ok() && answer.out.contains("restarted"), "{answer:?}");

    let create = ["create", "serviceaccount", "nobody", &n];
    let first = told(&scene, &create);
    wait_until("it expires", || waiting(&scene).is_empty().then_some(())).unwrap();
    scene.portcullis(&["approve", &first], 1);
    assert_ne!(told(&scene, &create), first);
    assert!(scene.direct.run(&["get", "serviceaccount", "nobody", &n]).is_err());
}

#[test]
fn kubernetes_whoever_stops_waiting_before_it_was_told_to_come_back_withdraws_its_request() {
    let Some(scene) = Scene::start(RULES) else { return };
    let namespace = scene.namespace("given-up");
    let arguments = ["create", "configmap", "c", &format!("--namespace={namespace}")];
    let mut kubectl = scene.kubectl(&scene.token("bot")).args(arguments).spawn().unwrap();
    let first = only(&scene);
    kubectl.kill().unwrap();
    kubectl.wait().unwrap();
    wait_until("it is withdrawn", || waiting(&scene).is_empty().then_some(())).unwrap();
    scene.portcullis(&["approve", name(&first)], 1);
    let again = begin(&scene, &arguments, "");
    let second = only(&scene);
    assert_ne!(name(&second), name(&first));
    scene.portcullis(&["approve", name(&second)], 0);
    assert!(again.join().unwrap().ok());
}

#[test]
fn kubernetes_execs_and_drains_are_told_to_come_back_and_claim_their_approval() {
    let Some(mut pods) = Pods::start("back", RULES) else { return };
    pods.scene = impatient(pods.cluster.client().clone(), &RULES.replace("- name: everything", EXECS));
    for (name, transport) in TRANSPORTS {
        let exec = || {
            let began = Instant::now();
            let words = ["exec", "web", "--", "echo", "repeated", name];
            let answer = wait_beside(kubectl(&pods, transport, &words), "").join().unwrap();
            (answer, began.elapsed())
        };
        // over a WebSocket kubectl asks twice by itself, and waits once
        let (answer, took) = exec();
        let request = told_by(&pods.scene, &answer);
        assert!(took < Duration::from_secs(2 * SECONDS), "{name}: it waited {took:?}");
        pods.scene.portcullis(&["approve", &request], 0);
        let (answer, _) = exec();
        assert!(answer.ok() && answer.out == format!("repeated {name}\n"), "{answer:?}");
    }

    let Pods { scene, cluster, namespace } = &pods;
    let n = format!("--namespace={namespace}");
    for number in 0..3 {
        cluster.apply(&labelled(&format!("drained-{number}"), namespace, "back").to_string()).unwrap();
    }
    let ready = ["wait", "--for=condition=Ready", "pod", "--selector=drain=back", &n, "--timeout=60s"];
    cluster.kubectl(&ready).unwrap();
    let drain = [
        "drain",
        "node-0",
        "--pod-selector=drain=back",
        "--force",
        "--delete-emptydir-data",
        "--timeout=120s",
    ];
    let answer = begin(scene, &drain, "").join().unwrap();
    // other stories start pods there
    cluster.kubectl(&["uncordon", "node-0"]).unwrap();
    let request = only(scene);
    assert!(!answer.ok() && answer.err.contains(name(&request)), "{answer:?}");
    assert_eq!(request["spec"]["command"]["members"].as_array().unwrap().len(), 3, "{request}");
    scene.portcullis(&["approve", name(&request)], 0);
    // one is gone meanwhile: what is left is part of what was approved
    cluster.kubectl(&["delete", "pod", "drained-1", &n, "--wait=true"]).unwrap();
    let answer = scene.run(&drain);
    cluster.kubectl(&["uncordon", "node-0"]).unwrap();
    assert!(answer.ok(), "{answer:?}");
    for number in [0, 2] {
        assert!(answer.out.contains(&format!("drained-{number} evicted")), "{answer:?}");
    }
    assert!(waiting(scene).is_empty());
    scene.portcullis(&["verify"], 0);
}

/// A rule before the one that allows everything.
const EXECS: &str = "- name: programs
  action: Hold
  kubernetes: {resources: [pods/exec]}
- name: everything";
/// Another resource than evictions, and not much longer than clients wait.
const SERVICE_ACCOUNTS: &str = "[serviceaccounts]}
  approval: {timeoutSeconds: 12}";
