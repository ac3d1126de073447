//! Commands about what runs: deployments that roll out, processes in pods, a node that is drained.

use super::Ignores::{Errors, Order, Output};
use super::{RULES, Sides, Step, step};
use crate::pods::Pods;

const ROLLOUTS: &[Step<'_>] = &[
    step(&[
        "create",
        "deployment",
        "web",
        "--image={image}",
        "--",
        "sh",
        "-c",
        "trap 'exit 0' TERM; echo started; sleep 3600 & wait",
    ]),
    step(&["rollout", "status", "deployment/web", "--timeout=60s"]).ignoring(Output),
    step(&["rollout", "status", "deployment/web", "--watch=false"]),
    step(&["logs", "deployment/web"]),
    step(&["logs", "--selector=app=web", "--tail=1", "--prefix", "--timestamps"]),
    step(&["logs", "deployment/web", "--previous"]),
    step(&["logs", "deployment/web", "-c", "nobody"]),
    step(&["get", "pods,replicasets"]),
    step(&["get", "pods", "-o", "wide"]),
    step(&["describe", "replicasets"]).ignoring(Order),
    step(&["exec", "deployment/web", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]),
    step(&["exec", "-i", "deployment/web", "--", "cat"]).input("there and back"),
    step(&["exec", "deployment/web", "--", "nothing"]),
    step(&["exec", "nobody", "--", "sh"]),
    step(&["annotate", "deployment/web", "kubernetes.io/change-cause=first"]),
    step(&["set", "env", "deployment/web", "COLOUR=red"]),
    step(&["rollout", "status", "deployment/web", "--timeout=60s"]).ignoring(Output),
    step(&["rollout", "history", "deployment/web"]),
    step(&["rollout", "history", "deployment/web", "--revision=2"]),
    step(&["rollout", "undo", "deployment/web"]),
    step(&["rollout", "status", "deployment/web", "--timeout=60s"]).ignoring(Output),
    step(&["rollout", "restart", "deployment/web"]),
    step(&["scale", "deployment/web", "--replicas=0"]),
    step(&["wait", "pod", "-l", "app=web", "--for=delete", "--timeout=60s"]).ignoring(Output),
    step(&["get", "pods"]),
];

/// A program that answers after a moment. containerd gives a process what comes on its input before it listens to its
/// output, so that an answer at once may be lost, with the gateway and without.
const LATE: &str = r#"read line; sleep 1; echo "$line""#;

const PROCESSES: &[Step<'_>] = &[
    step(&["run", "sleeper", "--image={image}", "--labels=app={n}", "--", "sh", "-c", "exec sleep 3600"]),
    step(&[
        "run",
        "talker",
        "--image={image}",
        "--restart=Never",
        "-i",
        "--attach=false",
        "--",
        "sh",
        "-c",
        LATE,
    ]),
    step(&["wait", "pod/sleeper", "pod/talker", "--for=condition=Ready", "--timeout=60s"]).ignoring(Order),
    step(&["attach", "-i", "talker"]).input("hello\n"),
    step(&["wait", "pod/talker", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s"]),
    step(&["logs", "talker"]),
    step(&["run", "once", "--rm", "-i", "--restart=Never", "--image={image}", "--", "sh", "-c", LATE])
        .input("through\n")
        .ignoring(Errors),
    step(&["exec", "sleeper", "--", "sh", "-c", "mkdir /tmp; echo content > /tmp/file"]),
    // what tar says on standard error kubectl prints on its output, and does not wait for its end
    step(&["cp", "sleeper:/tmp/file", "copied"]).ignoring(Output),
    step(&["cp", "copied", "sleeper:/tmp/again"]),
    step(&["exec", "sleeper", "--", "cat", "/tmp/again"]),
    step(&["cp", "sleeper:/tmp/nothing", "never"]).ignoring(Output),
    step(&["debug", "sleeper", "--image={image}", "-c", "look", "-i", "--attach", "--", "sh", "-c", LATE])
        .input("from within\n")
        .ignoring(Errors),
    step(&["debug", "sleeper", "--image={image}", "--copy-to=other", "--", "sh", "-c", "exit 0"]),
    step(&["describe", "pod", "sleeper"]).ignoring(Order),
    step(&["get", "pod", "sleeper", "-o", "jsonpath={.spec.ephemeralContainers[*].name}"]),
    step(&["delete", "pod", "other", "talker", "--grace-period=0", "--force"]).ignoring(Errors),
    step(&["wait", "pod/other", "--for=delete", "--timeout=30s"]),
];

const NODE: &[Step<'_>] = &[
    step(&["get", "nodes"]),
    step(&["cordon", "node-0"]),
    step(&["uncordon", "node-0"]),
    step(&["taint", "node", "node-0", "conformance=yes:PreferNoSchedule"]),
    step(&["taint", "node", "node-0", "conformance-"]),
    step(&["drain", "node-0", "--pod-selector=app={n}", "--dry-run=server", "--force"]),
    step(&["drain", "node-0", "--pod-selector=app={n}", "--force", "--grace-period=1", "--timeout=60s"]),
    step(&["uncordon", "node-0"]),
    step(&["get", "pod", "sleeper"]),
];

#[test]
fn kubernetes_kubectl_prints_of_what_runs_what_it_prints_without_the_gateway() {
    let Some(pods) = Pods::start("conformance", RULES) else { return };
    let sides = Sides::new(&pods.scene, "processes");
    sides.wait_for_accounts();
    sides.compare(&[ROLLOUTS, PROCESSES].concat());
    sides.compare_in_turn(NODE);
    pods.scene.portcullis(&["verify"], 0);
}
