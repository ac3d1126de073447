//! The gateway's pods. They fulfil the restricted Pod Security Standard.
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>

use super::object;
use crate::args::Settings;
use crate::names;
use crate::resource::dereference::MountKind;
use crate::resource::validate::ValidatedResource;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// Where the gateway finds what its Resource refers to: `<kind>/<name>/<key>` below it.
const MOUNTS: &str = "/etc/portcullis/mounts";
/// Where the tenant key is.
const TENANT: &str = "/etc/portcullis/tenant";
/// The state directory.
const STATE: &str = "/var/lib/portcullis";
/// User and group of the process, as in the image.
const NOBODY: i64 = 65532;
/// Port of /healthz, /readyz and /metrics.
const ADMIN_PORT: u16 = 9464;
/// Seconds between a pod's end being announced and the gateway being told: so long do nodes take to send nobody there.
const PRE_STOP_SECONDS: i64 = 3;
/// Seconds that are left for sealing the log after sessions were drained.
const SEAL_SECONDS: i64 = 30;
/// Ports below are for processes with a capability, unless the pod says otherwise.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

pub(super) fn build(resource: &ValidatedResource, settings: &Settings) -> Value {
    let spec = json!({
        "replicas": resource.replicas,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": names::selector(&resource.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {"labels": names::labels(&resource.name)},
            "spec": pod(resource, settings),
        },
    });
    object(resource, ("apps/v1", "Deployment"), &resource.gateway(), json!({"spec": spec}))
}

fn pod(resource: &ValidatedResource, settings: &Settings) -> Value {
    let (volumes, mounts) = volumes(resource);
    let mut security = json!({
        "runAsNonRoot": true,
        "runAsUser": NOBODY,
        "runAsGroup": NOBODY,
        "fsGroup": NOBODY,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    if let (true, Some(security)) = (resource.port < FIRST_UNPRIVILEGED_PORT, security.as_object_mut()) {
        let sysctl = json!([{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]);
        security.insert("sysctls".to_owned(), sysctl);
    }
    json!({
        "serviceAccountName": resource.gateway(),
        "automountServiceAccountToken": true,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": resource.drain_seconds + SEAL_SECONDS,
        "securityContext": security,
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": names::selector(&resource.name)},
        }],
        "containers": [container(resource, settings, &mounts)],
        "volumes": volumes,
    })
}

fn container(resource: &ValidatedResource, settings: &Settings, mounts: &[Value]) -> Value {
    let mut container = json!({
        "name": "gateway",
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy.as_str(),
        "args": arguments(resource, settings),
        "env": environment(resource, settings),
        "ports": [
            {"name": "gateway", "containerPort": resource.port, "protocol": "TCP"},
            {"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "admin"}, "periodSeconds": 2},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "admin"}, "periodSeconds": 10},
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    });
    // Arguments outweigh what else may be in it.
    if let (Some(secret), Some(container)) =
        (settings.archive.as_ref().and_then(|archive| archive.secret.as_ref()), container.as_object_mut())
    {
        container.insert("envFrom".to_owned(), json!([{"secretRef": {"name": secret}}]));
    }
    container
}

fn arguments(resource: &ValidatedResource, settings: &Settings) -> Vec<String> {
    let mut arguments = vec![
        format!("--resource={}/{}", resource.namespace, resource.name),
        format!("--mounts={MOUNTS}"),
        format!("--state={STATE}"),
        format!("--tenant-key={TENANT}/{}", names::TENANT_KEY),
        "--listen-address=0.0.0.0".to_owned(),
        format!("--admin-listen=0.0.0.0:{ADMIN_PORT}"),
        format!("--cluster={}", settings.cluster),
        "--log-format=json".to_owned(),
    ];
    arguments.extend(settings.witnesses.iter().map(|witness| format!("--witness={witness}")));
    if let Some(otlp) = &settings.otlp {
        arguments.push(format!("--otlp-endpoint={}", otlp.endpoint));
        arguments.extend(otlp.protocol.iter().map(|protocol| format!("--otlp-protocol={protocol}")));
    }
    if let Some(archive) = &settings.archive {
        arguments.push(format!("--archive={}", archive.url));
        arguments.extend(archive.lock_days.iter().map(|days| format!("--archive-lock-days={days}")));
    }
    arguments
}

fn environment(resource: &ValidatedResource, settings: &Settings) -> Vec<Value> {
    let mut environment =
        vec![json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})];
    if settings.otlp.as_ref().is_some_and(|otlp| otlp.headers.is_some()) {
        environment.push(json!({
            "name": "OTEL_EXPORTER_OTLP_HEADERS",
            "valueFrom": {"secretKeyRef": {"name": names::otlp(&resource.name), "key": "headers"}},
        }));
    }
    environment
}

fn volumes(resource: &ValidatedResource) -> (Vec<Value>, Vec<Value>) {
    let state = match (&resource.spool.claim_ref, &resource.spool.size_limit) {
        (Some(claim), _) => json!({"name": "state", "persistentVolumeClaim": {"claimName": claim.name}}),
        (None, Some(limit)) => json!({"name": "state", "emptyDir": {"sizeLimit": limit}}),
        (None, None) => json!({"name": "state", "emptyDir": {}}),
    };
    let tenant = json!({"secretName": names::TENANT_KEY_SECRET, "defaultMode": 0o440});
    let mut volumes = vec![state, json!({"name": "tenant-key", "secret": tenant})];
    let mut mounts = vec![
        json!({"name": "state", "mountPath": STATE}),
        json!({"name": "tenant-key", "mountPath": TENANT, "readOnly": true}),
    ];
    let mut all: BTreeSet<(MountKind, String)> = resource.mounts.clone();
    all.insert((MountKind::Secret, resource.certificate_secret()));
    for (kind, name) in all {
        let volume = volume_name(kind, &name);
        volumes.push(match kind {
            MountKind::ConfigMap => json!({"name": volume, "configMap": {"name": name}}),
            MountKind::Secret => {
                json!({"name": volume, "secret": {"secretName": name, "defaultMode": 0o440}})
            }
        });
        let path = format!("{MOUNTS}/{}/{name}", kind.as_str());
        mounts.push(json!({"name": volume, "mountPath": path, "readOnly": true}));
    }
    (volumes, mounts)
}

/// Names of objects may be longer than those of volumes.
fn volume_name(kind: MountKind, name: &str) -> String {
    let digest = const_hex::encode(Sha256::digest(format!("{}/{name}", kind.as_str())));
    format!("mount-{}", digest.chars().take(12).collect::<String>())
}
