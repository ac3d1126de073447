//! The cluster's DNS: a server in the node's network, behind the Service that pods are told of.

use super::super::component::Component;
use super::super::control_plane::ControlPlane;
use super::super::entrance::Entrance;
use super::super::programs;
use super::{ADDRESS, DNS};
use anyhow::{Context as _, Result};
use serde_json::json;

/// Starts it.
pub(super) fn start(entrance: &Entrance, plane: &ControlPlane) -> Result<Component> {
    let program = programs::DNS.build()?.join("coredns");
    let config = entrance.directory.join("Corefile");
    let kubeconfig = plane.kubectl().kubeconfig().display();
    // A second is how long a name that was not there a moment ago stays unknown.
    let text = format!(
        ".:53 {{\n  bind {ADDRESS}\n  errors\n  kubernetes cluster.local in-addr.arpa {{\n    kubeconfig {kubeconfig}\n    ttl 1\n  }}\n}}\n"
    );
    std::fs::write(&config, text).context("write the DNS server's configuration")?;
    plane.kubectl().apply(&service()).context("make the Service of DNS")?;
    let mut command = entrance.place().command(&program);
    Component::start("coredns", command.arg("-conf").arg(config), &entrance.logs())
}

fn service() -> String {
    // Without `targetPort` a Service's port leads to the same of its endpoints.
    let ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
        .map(|(name, protocol)| json!({"name": name, "protocol": protocol, "port": 53}));
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": DNS, "ports": ports},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "endpoints": [{"addresses": [ADDRESS.to_string()], "conditions": {"ready": true}}],
        "ports": ports,
    });
    format!("{service}\n---\n{slice}\n")
}
