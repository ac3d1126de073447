//! helm: what it does directly and through the gateway.

use super::kube_rs::gated;
use super::{RULES, Sides, plain_lines};
use crate::pods::Pods;
use std::path::Path;
use std::process::Stdio;

/// What helm prints.
fn helm(pods: &Pods, kubeconfig: &Path, namespace: &str, arguments: &[&str]) -> String {
    let mut helm = pods.cluster.helm_command().unwrap();
    helm.env("KUBECONFIG", kubeconfig).env("HELM_NAMESPACE", namespace);
    // where releases are Secrets, the gateway masks them and helm cannot read them
    helm.env("HELM_DRIVER", "configmap").args(arguments);
    let done = helm.stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// A chart with what charts have.
fn chart(directory: &Path) {
    let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
    std::fs::create_dir(directory.join("templates")).unwrap();
    write("Chart.yaml", "{apiVersion: v2, name: small, version: 1.0.0}");
    write("values.yaml", "{colour: red}");
    write(
        "templates/all.yaml",
        "
apiVersion: v1
kind: ConfigMap
metadata: {name: '{{ .Release.Name }}'}
data: {colour: '{{ .Values.colour }}'}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: '{{ .Release.Name }}'}
spec:
  replicas: 0
  selector: {matchLabels: {app: small}}
  template:
    metadata: {labels: {app: small}}
    spec: {containers: [{name: main, image: example.test/a:1}]}
",
    );
}

#[test]
fn kubernetes_helm_installs_upgrades_and_uninstalls_as_it_does_without_the_gateway() {
    let Some(pods) = Pods::start("helm", RULES) else { return };
    let sides = Sides::new(&pods.scene, "helm");
    let directory = tempfile::tempdir().unwrap();
    chart(directory.path());
    let chart = directory.path().to_str().unwrap();
    for arguments in [
        &["install", "small", chart, "--wait", "--timeout=60s"] as &[&str],
        &["upgrade", "small", chart, "--set=colour=blue"],
        &["list"],
        &["status", "small"],
        &["get", "manifest", "small"],
        &["history", "small"],
        &["rollback", "small", "1"],
        &["get", "values", "small", "--all"],
        &["uninstall", "small"],
    ] {
        let direct = helm(&pods, pods.scene.direct.kubeconfig(), &sides.direct, arguments);
        let gate = helm(&pods, &gated(&pods.scene), &sides.gated, arguments);
        // `helm status` lists the kinds of a release in the order of a Go map: another one each time
        let sorted = |text: &str, namespace: &str| {
            let mut lines = plain_lines(text, namespace);
            lines.sort();
            lines
        };
        assert_eq!(sorted(&direct, &sides.direct), sorted(&gate, &sides.gated), "{arguments:?}");
    }
}
