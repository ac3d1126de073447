//! Client libraries: what the programs of `e2e/clients` see directly and through the gateway.

use super::Sides;
use super::kube_rs::gated;
use crate::pods::{IMAGE, Pods};
use e2e::tools;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const RULES: &str = r#"
rules:
- name: crown-jewels
  action: Deny
  kubernetes: {verbs: [get], names: [crown-jewels]}
  message: "Ask the owners of the jewels."
- name: everything
  action: Allow
  kubernetes: {}
"#;

/// Builds a program of `e2e/clients` with its own script, and gives the folder with the result.
fn built(client: &str) -> PathBuf {
    let folder = tools::repository().join("target/clients").join(client);
    let done =
        Command::new(sources(client).join("build")).arg(&folder).stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "build {client}: {}", String::from_utf8_lossy(&done.stderr));
    folder
}

fn sources(client: &str) -> PathBuf {
    tools::repository().join("e2e/clients").join(client)
}

/// Runs a program on both sides at once, and compares what it saw line by line. What it is denied has to look like a
/// denial of the API server's own to it.
fn compare(name: &str, needs: &[&str], program: impl Fn(&Path) -> Command + Sync) {
    if needs.iter().any(|tool| tools::or_skip(tool).is_none()) {
        return;
    }
    let folder = built(name);
    let Some(pods) = Pods::start(&name.replace('_', "-"), RULES) else { return };
    let sides = Sides::new(&pods.scene, name.rsplit('_').next().unwrap());
    sides.wait_for_accounts();
    let run = |kubeconfig: &Path, namespace: &str| {
        let mut command = program(&folder);
        command.env("KUBECONFIG", kubeconfig).env("IMAGE", IMAGE).env("NAMESPACE", namespace);
        let done = command.stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let (direct, through) = std::thread::scope(|scope| {
        let direct = scope.spawn(|| run(pods.scene.direct.kubeconfig(), &sides.direct));
        let through = run(&gated(&pods.scene), &sides.gated);
        (direct.join().unwrap(), through)
    });
    let (mut differences, mut denials) = (Vec::new(), 0);
    for (direct, through) in direct.lines().zip(through.lines()) {
        let line: Value = serde_json::from_str(direct).unwrap();
        if line["behaviour"] == "denied" {
            assert!(direct.contains("404") && direct.contains("\"NotFound\""), "{direct}");
            let says = ["403", "\"Forbidden\"", "crown-jewels", "Ask the owners of the jewels."];
            assert!(says.iter().all(|part| through.contains(part)), "{through}");
            denials += 1;
        } else if line.get("failed").is_some() || direct != through {
            differences.push(format!("directly: {direct}\nthrough:  {through}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(denials, 1, "{through}");
    assert_eq!(direct.lines().count(), through.lines().count());
    println!("{name}: {} behaviours compared", direct.lines().count());
    pods.scene.portcullis(&["verify"], 0);
}

#[test]
fn kubernetes_client_go_sees_what_it_sees_without_the_gateway() {
    compare("kubernetes_go", &["go"], |folder| Command::new(folder.join("client")));
}

#[test]
fn kubernetes_the_python_client_sees_what_it_sees_without_the_gateway() {
    compare("kubernetes_python", &["python3"], |folder| {
        let mut command = Command::new(folder.join("venv/bin/python"));
        command.arg("-B").arg(sources("kubernetes_python").join("client.py"));
        command
    });
}

#[test]
fn kubernetes_the_javascript_client_sees_what_it_sees_without_the_gateway() {
    compare("kubernetes_node", &["node", "npm"], |folder| {
        let mut command = Command::new("node");
        command.arg(folder.join("client.js"));
        command
    });
}

#[test]
fn kubernetes_the_java_client_sees_what_it_sees_without_the_gateway() {
    compare("kubernetes_java", &["java", "javac", "mvn"], |folder| {
        let mut command = Command::new("java");
        command.arg("-cp").arg(format!("{0}:{0}/lib/*", folder.display())).arg("Client");
        command
    });
}
