//! API servers behind the API server, by the one that most clusters have: metrics-server, which `kubectl top` asks.

use super::Ignores::{Errors, Nothing};
use super::{Answer, RULES, Scene, shown};
use crate::pods::Pods;
use e2e::cluster::programs::METRICS;
use e2e::image::Image;
use e2e::process::wait_until;

const IMAGE: &str = "localhost/metrics-server:e2e";
/// Everything but what another server says of pods.
const NO_METRICS: &str = r#"
rules:
- name: everything
  action: Allow
  kubernetes: {}
- name: no-metrics-of-pods
  action: Deny
  kubernetes: {apiGroups: ["metrics.k8s.io"], resources: [pods]}
"#;

/// What an answer shows, the figures left out: they are of another moment each time.
fn without_figures(answer: &Answer, namespace: &str) -> String {
    let text = shown(answer, namespace, Errors);
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[test]
fn kubernetes_metrics_are_asked_for_as_directly() {
    let Some(pods) = Pods::start("top", RULES) else { return };
    let program = METRICS.build().unwrap().join("metrics-server");
    pods.cluster.load(&Image::of_binary(IMAGE, &program).unwrap()).unwrap();
    pods.cluster.apply(&MANIFEST.replace("IMAGE", IMAGE)).unwrap();
    let told = wait_until("metrics-server tells of the pod", || {
        let top = pods.cluster.kubectl(&["top", "pod", "web", "--namespace", &pods.namespace]).ok()?;
        top.contains("web").then_some(())
    });
    if let Err(error) = told {
        let ask = |arguments: &[&str]| format!("{:?}", pods.cluster.kubectl(arguments));
        let service = ask(&["get", "apiservice", "v1beta1.metrics.k8s.io", "-o", "jsonpath={.status}"]);
        let said = ask(&["logs", "metrics-server", "--namespace=kube-system", "--tail=20"]);
        panic!("{error}\n{service}\n{said}");
    }
    let direct = |arguments: &[&str]| {
        Answer::new(&pods.scene.direct.command().args(pods.arguments(arguments)).output().unwrap())
    };
    for arguments in [
        ["top", "pods"].as_slice(),
        &["top", "pods", "--containers"],
        &["top", "nodes"],
        &["get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"],
        &["get", "pods.metrics.k8s.io", "web", "-o", "yaml"],
        &["describe", "pods.metrics.k8s.io", "web"],
    ] {
        let (there, here) = (direct(arguments), pods.scene.run(&pods.arguments(arguments)));
        assert!(there.ok(), "{arguments:?}: {there:?}");
        let figures = |answer: &Answer| without_figures(answer, &pods.namespace);
        assert_eq!(figures(&here), figures(&there), "{arguments:?}");
    }
    for arguments in [
        ["api-resources", "--api-group=metrics.k8s.io"].as_slice(),
        &["explain", "podmetrics"],
        &["get", "apiservices", "v1beta1.metrics.k8s.io", "-o", "jsonpath={.status.conditions[0].reason}"],
        &["auth", "can-i", "list", "pods.metrics.k8s.io"],
        &["get", "pods.metrics.k8s.io", "nobody"],
    ] {
        let (there, here) = (direct(arguments), pods.scene.run(&pods.arguments(arguments)));
        let plain = |answer: &Answer| shown(answer, &pods.namespace, Nothing);
        assert_eq!(plain(&here), plain(&there), "{arguments:?}");
    }

    let narrow = Scene::before(pods.cluster.client().clone(), NO_METRICS);
    let answer = narrow.run(&pods.arguments(&["top", "pods"]));
    assert!(!answer.ok() && answer.err.contains("no-metrics-of-pods"), "{answer:?}");
    assert!(narrow.run(&pods.arguments(&["get", "pods"])).ok());
    assert!(narrow.run(&["top", "nodes"]).ok());
    narrow.portcullis(&["verify"], 0);
}

/// As its own release has it, but for the certificate of kubelets, which here is nobody's.
const MANIFEST: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: metrics-server, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:metrics-server"}
rules:
- {apiGroups: [""], resources: [nodes/metrics], verbs: [get]}
- {apiGroups: [""], resources: [pods, nodes], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:metrics-server"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:metrics-server"}
subjects: [{kind: ServiceAccount, name: metrics-server, namespace: kube-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "metrics-server:system:auth-delegator"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects: [{kind: ServiceAccount, name: metrics-server, namespace: kube-system}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: metrics-server-auth-reader, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects: [{kind: ServiceAccount, name: metrics-server, namespace: kube-system}]
---
apiVersion: v1
kind: Service
metadata: {name: metrics-server, namespace: kube-system}
spec: {selector: {k8s-app: metrics-server}, ports: [{port: 443, targetPort: 10250}]}
---
apiVersion: v1
kind: Pod
metadata: {name: metrics-server, namespace: kube-system, labels: {k8s-app: metrics-server}}
spec:
  serviceAccountName: metrics-server
  terminationGracePeriodSeconds: 0
  containers:
  - name: metrics-server
    image: IMAGE
    imagePullPolicy: Never
    args: [--cert-dir=/tmp, --secure-port=10250, --kubelet-insecure-tls, --metric-resolution=10s, --kubelet-request-timeout=5s,
      --kubelet-preferred-address-types=InternalIP]
    readinessProbe: {httpGet: {path: /readyz, port: 10250, scheme: HTTPS}, periodSeconds: 1}
    volumeMounts: [{name: tmp, mountPath: /tmp}]
  volumes: [{name: tmp, emptyDir: {}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: metrics-server, namespace: kube-system}
"#;
