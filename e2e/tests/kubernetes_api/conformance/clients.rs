//! Client libraries: what the programs of `e2e/clients` see directly and through the gateway.

use super::kube_rs::gated;
use super::{RULES, Sides};
use crate::pods::{IMAGE, Pods};
use e2e::tools;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// Runs a program on both sides at once, and compares what it saw line by line.
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
    let mut differences = Vec::new();
    for (direct, through) in direct.lines().zip(through.lines()) {
        let line: Value = serde_json::from_str(direct).unwrap();
        if line.get("failed").is_some() || direct != through {
            differences.push(format!("directly: {direct}\nthrough:  {through}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
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
