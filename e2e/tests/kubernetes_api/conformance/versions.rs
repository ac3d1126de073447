//! kubectl of other versions: an old one, which speaks SPDY/3.1 alone, and one in between.

use super::Ignores::{Errors, Order, Output};
use super::{RULES, Sides, Step, step};
use crate::pods::{FORWARD, Forwarded, Pods};
use e2e::cluster::programs::{KUBECTL_1_28, KUBECTL_1_31, Module};

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
    step(&["delete", "pod", "files", "ticker", "--grace-period=0", "--force"]).ignoring(Errors),
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

fn port(pods: &Pods) {
    let mut command = pods.scene.kubectl(&pods.scene.token("bot"));
    command.args(pods.arguments(FORWARD));
    let answer = Forwarded::start(command).page();
    assert!(answer.ends_with("hello\n"), "{answer}");
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
