//! Throughput of the masker over a list of 5,000 objects: `cargo run --release -p proxy-kubernetes --example mask_bench`.
//!
//! Pods as the API server writes them, managed fields and a last-applied annotation included; Secrets of three keys.
//! Each is measured as it streams through in pieces of 64 KiB; the median of several runs is printed.

#![expect(clippy::print_stdout, reason = "it is a program that prints its measurements")]
#![expect(clippy::cast_precision_loss, reason = "sizes and times are far below 2^52")]

use proxy_core::mask::Masker;
use proxy_kubernetes::mask::{Answer, Masks, Unmaskable};
use proxy_kubernetes::request::RequestInfo;
use proxy_policy::{Detector, DetectorChoice, FieldChoice, Mask};
use serde_json::{Value, json};
use std::time::Instant;

const MIB: f64 = 1024.0 * 1024.0;
const OBJECTS: usize = 5000;
const RUNS: usize = 9;
const PIECE: usize = 64 * 1024;

fn masks(detectors: &[Detector], fields: &[FieldChoice]) -> Masks {
    let choice =
        DetectorChoice { detectors: detectors.to_vec(), patterns: Vec::new(), with: Mask::default() };
    let choices = if detectors.is_empty() { Vec::new() } else { vec![choice] };
    Masks::new(Masker::new(&choices, &[7; 32]), fields)
}

/// One pod; one in a hundred `dirty` ones has a credential in its environment.
fn pod(index: usize, dirty: bool) -> Value {
    let name = format!("web-6d4cf56db6-{index:05}");
    let spec = json!({"containers": [{"name": "app", "image": format!("registry.example.com/shop/app:{}", index % 7),
        "args": ["--listen=:8080", "--log-level=info"], "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": "MODE", "value": "production"}, {"name": "POD", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
                {"name": "UPSTREAM", "value": if dirty && index.is_multiple_of(100) { "AKIAZ7QXWERTYUIOPLKJ" } else { "http://orders.shop.svc:8080" }}],
        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1},
        "volumeMounts": [{"name": "kube-api-access-x7k2p", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
        "terminationMessagePath": "/dev/termination-log", "imagePullPolicy": "IfNotPresent"}],
        "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "serviceAccountName": "default", "nodeName": format!("node-{}", index % 40),
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]});
    let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}, "f:pod-template-hash": {}}, "f:ownerReferences": {".": {}, "k:{\"uid\":\"7a1f\"}": {}}},
        "f:spec": {"f:containers": {"k:{\"name\":\"app\"}": {".": {}, "f:args": {}, "f:env": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:livenessProbe": {}}}, "f:dnsPolicy": {}, "f:restartPolicy": {}}});
    json!({"metadata": {"name": name, "generateName": "web-6d4cf56db6-", "namespace": "shop",
            "uid": format!("1f0c8e1a-9b9e-4c1b-8d56-{index:012x}"), "resourceVersion": format!("{}", 100_000 + index), "creationTimestamp": "2026-11-24T10:00:00Z",
            "labels": {"app": "web", "pod-template-hash": "6d4cf56db6"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-24T09:00:00Z"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d4cf56db6", "uid": "7a1f0b36-2c2e-4a4e-9d8e-0d4b1f0c9a11", "controller": true}],
            "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "time": "2026-11-24T10:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields}]},
        "spec": spec,
        "status": {"phase": "Running", "podIP": format!("10.1.{}.{}", index / 250, index % 250), "startTime": "2026-11-24T10:00:00Z",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-24T10:00:05Z"}],
            "containerStatuses": [{"name": "app", "ready": true, "restartCount": 0, "containerID": format!("containerd://{index:064x}"), "state": {"running": {"startedAt": "2026-11-24T10:00:02Z"}}}]}})
}

fn secret(index: usize) -> Value {
    let applied = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "x"}});
    json!({"metadata": {"name": format!("s-{index}"), "namespace": "shop",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied.to_string()}},
        "data": {"username": "YWRtaW4=", "password": "c3VwZXItc2VjcmV0LXZhbHVl", "tls.crt": "QUFBQUFBQUFBQUFBQUFBQUFBQUE=".repeat(40)}, "type": "Opaque"})
}

fn list(kind: &str, items: &[Value]) -> Vec<u8> {
    json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
        .to_string()
        .into_bytes()
}

fn measure(name: &str, target: &str, masks: &Masks, body: &[u8]) -> Result<(), Unmaskable> {
    let mut rates = Vec::new();
    let mut found = 0;
    for _ in 0..RUNS {
        let answer = Answer { status: 200, content_type: Some("application/json"), content_encoding: None };
        let Ok(info) = RequestInfo::read("GET", target) else { return Err(Unmaskable::Malformed) };
        let Ok(mut masker) = masks.response(&info, answer) else { return Err(Unmaskable::Malformed) };
        let mut out = Vec::with_capacity(2 * PIECE);
        let begun = Instant::now();
        for piece in body.chunks(PIECE) {
            out.clear();
            masker.push(piece, &mut out)?;
        }
        masker.finish(&mut out)?;
        rates.push(body.len() as f64 / MIB / begun.elapsed().as_secs_f64());
        found = masker.counts().total();
    }
    rates.sort_by(f64::total_cmp);
    let median = rates.get(RUNS / 2).copied().unwrap_or_default();
    println!("{name:<46} {:>6.1} MiB  {median:>8.0} MiB/s  {found:>6} masked", body.len() as f64 / MIB);
    Ok(())
}

fn main() -> Result<(), Unmaskable> {
    let pods = |dirty| list("PodList", &(0..OBJECTS).map(|index| pod(index, dirty)).collect::<Vec<_>>());
    let secrets = list("SecretList", &(0..OBJECTS).map(secret).collect::<Vec<_>>());
    let (clean, dirty) = (pods(false), pods(true));
    let field = FieldChoice {
        resources: vec!["pods".to_owned()],
        paths: vec!["spec.containers.env.value".to_owned()],
        with: Mask::default(),
    };
    let all = [Detector::Secrets, Detector::PersonalData];
    measure("pods, nothing to mask", "/api/v1/pods", &masks(&[], &[]), &clean)?;
    measure("pods, clean, secrets", "/api/v1/pods", &masks(&[Detector::Secrets], &[]), &clean)?;
    measure("pods, clean, secrets and personal data", "/api/v1/pods", &masks(&all, &[]), &clean)?;
    measure("pods, one in 100 dirty, secrets", "/api/v1/pods", &masks(&[Detector::Secrets], &[]), &dirty)?;
    measure("pods, a field, no detectors", "/api/v1/pods", &masks(&[], &[field]), &clean)?;
    measure("Secrets, no detectors", "/api/v1/secrets", &masks(&[], &[]), &secrets)?;
    measure("Secrets, secrets", "/api/v1/secrets", &masks(&[Detector::Secrets], &[]), &secrets)
}
