//! Policies are tried before they are trusted.

use super::{fails, portcullis, succeeds, text};
use serde_json::Value;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

fn example() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/standalone"))
}

#[test]
fn the_example_does_what_its_expectations_say() {
    let shown = succeeds(&mut portcullis(&["policy", "test", text(&example().join("tests/agents.yaml"))]));
    assert!(shown.contains("12"), "{shown}");
}

#[test]
fn command_lines_are_tried_by_the_analyser_of_the_gateway() {
    let suite = example().join("../ssh/tests/agents.yaml");
    let shown = succeeds(&mut portcullis(&["policy", "test", text(&suite)]));
    assert!(shown.contains("7 passed, 0 failed"), "{shown}");
}

#[test]
fn requests_are_tried_by_the_analyser_of_the_gateway() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("cluster.yaml"), CLUSTER).unwrap();
    let suite = directory.path().join("suite");
    std::fs::write(&suite, REQUESTS).unwrap();
    let shown = succeeds(&mut portcullis(&["policy", "test", text(&suite)]));
    assert!(shown.contains("6 passed, 0 failed"), "{shown}");
}

const CLUSTER: &str = r#"
apiVersion: portcullis.dev/v1alpha1
kind: Resource
metadata: {name: cluster, namespace: shop}
spec:
  kubernetes: {kubeconfigRef: {name: cluster}}
  authentication: {issuers: [{issuer: "https://idp.example.com", audiences: [cluster.shop]}]}
---
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: agents, namespace: shop}
spec:
  targetRefs: [{name: cluster}]
  rules:
  - {name: reads, action: Allow, kubernetes: {verbs: [get, list, watch], resources: [pods]}}
  - {name: no-nodes, action: Deny, kubernetes: {verbs: [delete], resources: [nodes]}}
  - {name: look, action: Allow, kubernetes: {verbs: [create], resources: [pods/exec], commands: [{name: ls}]}}
  - {name: scale, action: Hold, kubernetes: {verbs: [patch], resources: [deployments], fields: [spec.replicas]}}
"#;

const REQUESTS: &str = r#"
config: .
resource: cluster
identities: {agent: {subject: ci-bot}}
cases:
- {identity: agent, command: GET /api/v1/namespaces/shop/pods?watch=1, expect: {verdict: Allow, rule: agents/reads}}
- {identity: agent, command: DELETE /api/v1/nodes/n1, expect: {verdict: Deny, rule: agents/no-nodes}}
- {identity: agent, command: "GET /api/v1/namespaces/shop/pods/a/exec?command=ls&command=-l", expect: {verdict: Allow}}
- {identity: agent, command: "POST /api/v1/namespaces/shop/pods/a/exec?command=sh", expect: {verdict: Deny}}
- identity: agent
  command: 'PATCH /apis/apps/v1/namespaces/shop/deployments/web {"spec": {"replicas": 0}}'
  expect: {verdict: Hold, rule: agents/scale}
- {identity: agent, command: "GET /api/v1/namespaces/shop%2fpods", expect: {verdict: Deny, rule: malformed}}
"#;

#[test]
fn an_expectation_that_is_not_met_is_named_and_fails() {
    let directory = tempfile::tempdir().unwrap();
    let suite = std::fs::read_to_string(example().join("tests/agents.yaml")).unwrap();
    let wrong = suite.replace("config: ..", &format!("config: {}", example().display()));
    let wrong = wrong.replace("rule: agents/no-drops", "rule: agents/reads");
    let file = directory.path().join("wrong.yaml");
    std::fs::write(&file, wrong).unwrap();
    let output = portcullis(&["policy", "test", text(&file)]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("dropping the database is refused") && shown.contains("no-drops"), "{shown}");
}

#[test]
fn commands_on_standard_input_are_answered_one_a_line_whatever_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let identity = directory.path().join("agent.yaml");
    std::fs::write(&identity, "{subject: ci-bot, groups: [agents]}").unwrap();
    let config = example();
    let mut command = portcullis(&["policy", "explain", "-f", text(&config), "--resource", "orders"]);
    command.args(["--role", "app", "--identity", text(&identity), "--commands", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, r#"{{"id": "a", "sql": "SELECT id FROM orders"}}"#).unwrap();
    writeln!(input, r#"{{"id": 2, "command": "DROP DATABASE shop"}}"#).unwrap();
    writeln!(input, r#"{{"id": 3, "sql": "not SQL at all"}}"#).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<String> = answers
        .iter()
        .map(|answer| {
            format!("{} {}", answer["id"], answer["verdict"].as_str().unwrap_or_default().to_lowercase())
        })
        .collect();
    assert_eq!(said, ["\"a\" allow", "2 deny", "3 deny"], "{shown}");
}

#[test]
fn a_policy_that_does_not_compile_is_located() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["agents.yaml", "orders.yaml"] {
        std::fs::copy(example().join(file), directory.path().join(file)).unwrap();
    }
    let broken = directory.path().join("agents.yaml");
    let manifest =
        std::fs::read_to_string(&broken).unwrap().replace("effects: [Drop, Truncate]", "effects: [Dorp]");
    std::fs::write(&broken, manifest).unwrap();
    let identity = directory.path().join("agent.json");
    std::fs::write(&identity, r#"{"subject": "ci-bot", "groups": ["agents"]}"#).unwrap();
    let mut command =
        portcullis(&["policy", "explain", "-f", text(directory.path()), "--resource", "orders"]);
    let said = fails(command.args(["--identity", text(&identity), "--command", "SELECT 1"]));
    assert!(said.contains("agents.yaml") && said.contains("Dorp"), "{said}");
}
