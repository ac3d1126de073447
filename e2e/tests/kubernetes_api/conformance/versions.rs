//! kubectl of other versions: an old one, which speaks SPDY/3.1 alone, and one in between.

use super::Ignores::{Errors, Order, Output};
use super::{RULES, Sides, Step, step};
use crate::pods::{FORWARD, Forwarded, Pods};
use e2e::cluster::programs::{KUBECTL_1_28, KUBECTL_1_31, Module};
use std::process::Command;

const MANIFEST: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: applied}
data: {colour: red}
";

const CHANGED: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: applied}
data: {colour: blue}
";

const STEPS: &[Step<'_>] = &[
    step(&["version", "-o", "yaml"]),
    step(&["api-resources", "-o", "name"]).ignoring(Order),
    step(&["explain", "deployment.spec.strategy"]),
    step(&["auth", "can-i", "create", "deployments"]),
    step(&["apply", "-f", "-"]).input(MANIFEST),
    step(&["diff", "-f", "-"]).input(CHANGED).ignoring(Errors),
    step(&["apply", "-f", "-"]).input(CHANGED),
    step(&["apply", "--server-side", "--force-conflicts", "-f", "-"]).input(MANIFEST),
    step(&["patch", "configmap", "applied", "-p", r#"{"data":{"size":"3"}}"#]),
    step(&["edit", "configmap", "applied"]).editor("sed -i s/red/green/"),
    step(&["get", "configmap", "applied"]),
    step(&["get", "configmap", "applied", "-o", "yaml"]),
    // an event that is there already; then the request's own end
    step(&["get", "configmap", "applied", "--watch", "--request-timeout=2s"]).ignoring(Errors),
    step(&[
        "create",
        "deployment",
        "web",
        "--image={image}",
        "--",
        "sh",
        "-c",
        "echo started; exec sleep 3600",
    ]),
    step(&["rollout", "status", "deployment/web", "--timeout=60s"]).ignoring(Output),
    step(&["get", "pods", "-o", "wide"]),
    step(&["describe", "deployment", "web"]),
    step(&["logs", "deployment/web"]),
    step(&[
        "run",
        "ticker",
        "--image={image}",
        "--restart=Never",
        "--",
        "sh",
        "-c",
        "for n in 1 2 3; do echo tick $n; sleep 0.3; done",
    ]),
    step(&["wait", "pod/ticker", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"]),
    step(&["logs", "--follow", "ticker"]),
    // from before it ends until it has
    step(&[
        "run",
        "follower",
        "--image={image}",
        "--restart=Never",
        "--",
        "sh",
        "-c",
        "echo first; sleep 5; for n in 1 2 3; do echo tick $n; sleep 0.3; done; exit 3",
    ]),
    step(&["wait", "pod/follower", "--for=condition=Ready", "--timeout=60s"]),
    step(&["logs", "-f", "follower"]),
    step(&["exec", "deployment/web", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]),
    step(&["exec", "-i", "deployment/web", "--", "cat"]).input("there and back"),
    step(&["run", "files", "--image={image}", "--", "sh", "-c", "mkdir /tmp; exec sleep 3600"]),
    step(&["wait", "pod/files", "--for=condition=Ready", "--timeout=60s"]),
    step(&["exec", "files", "--", "sh", "-c", "echo content > /tmp/file"]),
    // what tar says on standard error kubectl prints on its output, and does not wait for its end
    step(&["cp", "files:/tmp/file", "copied"]).ignoring(Output),
    step(&["cp", "copied", "files:/tmp/again"]),
    step(&["exec", "files", "--", "cat", "/tmp/again"]),
    step(&["scale", "deployment/web", "--replicas=0"]),
    step(&["delete", "deployment/web", "configmap/applied", "--wait=false"]),
    step(&["delete", "pod", "files", "follower", "ticker", "--grace-period=0", "--force"]).ignoring(Errors),
];

/// How a program and a port were reached: kubectl says it in its log.
fn transport(pods: &Pods) -> &'static str {
    let mut command = pods.scene.kubectl(&pods.scene.token("bot"));
    command.args(pods.arguments(&["exec", "-v=9", "web", "--", "sh", "-c", "echo reached"]));
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && done.stdout == b"reached\n", "{said}");
    if said.contains("POST https://") { "SPDY" } else { "WebSocket" }
}

/// What comes through a forwarded port, and what kubectl says of it, is what comes without the gateway.
fn port(pods: &Pods) {
    let forwarded = |mut command: Command| {
        command.args(pods.arguments(FORWARD));
        let forwarded = Forwarded::start(command);
        let page = forwarded.page();
        let lines: Vec<_> =
            page.lines().filter(|line| !line.starts_with("Date: ")).map(str::to_owned).collect();
        (forwarded.said(), lines)
    };
    let direct = forwarded(pods.scene.direct.command());
    let gated = forwarded(pods.scene.kubectl(&pods.scene.token("bot")));
    assert!(direct.1.last().is_some_and(|line| line == "hello"), "{direct:?}");
    assert_eq!(gated, direct);
}

fn compare(version: &str, module: &Module, expected: &str) {
    let name = format!("kubectl-{}", version.replace('.', "-"));
    let Some(mut pods) = Pods::start(&name, RULES) else { return };
    let program = module.build().unwrap().join(format!("kubectl-{version}"));
    pods.scene.direct = pods.scene.direct.clone().of(program);
    let said = pods.scene.direct.run(&["version", "--client"]).unwrap();
    assert!(said.contains(&format!("v{version}.")), "{said}");
    let sides = Sides::new(&pods.scene, &name);
    sides.wait_for_accounts();
    sides.compare(STEPS);
    assert_eq!(transport(&pods), expected);
    port(&pods);
    pods.scene.portcullis(&["verify"], 0);
}

#[test]
fn kubernetes_kubectl_1_28_which_speaks_spdy_prints_what_it_prints_without_the_gateway() {
    compare("1.28", &KUBECTL_1_28, "SPDY");
}

#[test]
fn kubernetes_kubectl_1_31_prints_what_it_prints_without_the_gateway() {
    compare("1.31", &KUBECTL_1_31, "WebSocket");
}
