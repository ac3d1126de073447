//! The cluster behind a gateway that runs in it: an agent's kubectl, with a kubeconfig that the command line wrote.

use crate::claim::SPOOL;
use crate::place::{Place, is_below, refused, run};
use e2e::process::wait_until;
use std::process::Command;

/// A value of a Secret: it must be seen nowhere but in the API server.
const CANARY: &str = "canary-5rT8wZ2q";
/// The same, as the API server writes it.
const ENCODED: &str = "Y2FuYXJ5LTVyVDh3WjJx";
const NAMESPACE: &str = "cluster-story";
const RESOURCE: &str = "resource.portcullis.dev/cluster";

const MANIFESTS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: agent}
---
apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {password: canary-5rT8wZ2q}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: web
    image: localhost/host:e2e
    command: [/bin/sleep, "3600"]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: portcullis.dev/v1alpha1
kind: Resource
metadata: {name: cluster}
spec:
  kubernetes: {usernamePrefix: "agent:", groups: []}
  authentication:
    issuers:
    - issuer: https://kubernetes.default.svc
      audiences: [cluster.NAMESPACE]
      caRef: {name: kube-root-ca.crt, key: ca.crt}
  gateway: {drainSeconds: 5, spool: SPOOL}
---
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: agents}
spec:
  targetRefs: [{name: cluster}]
  subjects: [{user: "system:serviceaccount:NAMESPACE:agent"}]
  rules:
  - {name: reads, action: Allow, kubernetes: {verbs: [get, list, watch]}}
  - name: look-around
    action: Allow
    kubernetes: {resources: [pods/exec], namespaces: [NAMESPACE], commands: [{name: cat}, {name: sh}]}
  - name: no-nodes
    action: Deny
    kubernetes: {verbs: [delete, deletecollection], resources: [nodes]}
    message: "Ask #platform; nodes are drained by the pipeline."
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: agents}
rules:
- {apiGroups: [""], resources: [pods, secrets], verbs: [get, list]}
- {apiGroups: [""], resources: [pods/exec], verbs: [create, get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: agents}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: agents}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "agent:system:serviceaccount:NAMESPACE:agent"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAMESPACE-agents}
rules:
- {apiGroups: [""], resources: [nodes], verbs: [get, list, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAMESPACE-agents}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE-agents}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "agent:system:serviceaccount:NAMESPACE:agent"}]
"#;

/// The agent's kubectl, with a kubeconfig that `portcullis kubeconfig` wrote.
struct Agent {
    place: Place,
    kubeconfig: std::path::PathBuf,
}

impl Agent {
    fn new(place: Place) -> Self {
        let token = place.token(&format!("cluster.{NAMESPACE}"));
        let gateway = place.reach("cluster", 6443);
        let token = token.to_str().unwrap();
        let namespace = ["--namespace", NAMESPACE, "--default-namespace", NAMESPACE];
        let written = ["kubeconfig", "cluster", "--gateway", &gateway, "--token-file", token];
        let text = run(&mut place.portcullis(&[&written[..], &namespace].concat()));
        let kubeconfig = place.home.path().join("kubeconfig");
        std::fs::write(&kubeconfig, text).unwrap();
        Self { place, kubeconfig }
    }

    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.cluster.client().command();
        command.env("KUBECONFIG", &self.kubeconfig);
        command.env("KUBECACHEDIR", self.place.home.path().join("cache")).args(arguments);
        command
    }
}

#[test]
fn kubernetes_an_agents_kubectl_reaches_the_cluster_through_a_gateway_pod_of_it() {
    let Some(place) = Place::set(NAMESPACE, &MANIFESTS.replace("SPOOL", SPOOL)) else { return };
    place.wait("Ready", &[RESOURCE, "policy.portcullis.dev/agents", "pod/web"]);
    place.wait("Impersonation", &[RESOURCE]);
    let agent = Agent::new(place);
    let kubectl = |arguments: &[&str]| agent.kubectl(arguments);

    // nodes route to a Service a moment after its pods are ready
    wait_until("the gateway answers", || {
        kubectl(&["get", "pods"]).output().unwrap().status.success().then_some(())
    })
    .unwrap();
    let pods = run(&mut kubectl(&["get", "pods"]));
    assert!(pods.contains("web") && pods.contains("Running"), "{pods}");

    // the cluster's own rules would let it: the gateway does not
    let node = run(&mut kubectl(&["get", "nodes", "--output=name"]));
    let (code, said) = refused(&mut kubectl(&["delete", node.trim()]));
    assert_eq!(code, Some(1));
    for part in ["Forbidden", "no-nodes", "Ask #platform; nodes are drained by the pipeline."] {
        assert!(said.contains(part), "{part}: {said}");
    }
    agent.place.kubectl(&["get", node.trim()]).unwrap();

    // the policy would let it: the cluster's own rules do not, for the gateway is no more than the agent
    let (_, said) = refused(&mut kubectl(&["get", "pods", "--namespace=kube-system"]));
    assert!(said.contains("agent:system:serviceaccount:cluster-story:agent"), "{said}");

    let secret = run(&mut kubectl(&["get", "secret", "db", "--output=yaml"]));
    assert!(secret.contains("password:") && !secret.contains(ENCODED), "{secret}");
    let inside = run(&mut kubectl(&["exec", "web", "--", "sh", "-c", "echo inside; id -u"]));
    assert_eq!(inside, "inside\n65532\n");
    let (_, said) = refused(&mut kubectl(&["exec", "web", "--", "id"]));
    assert!(!said.contains("65532"), "{said}");

    on_record(&agent.place);
    withdrawn(&agent.place);
}

fn on_record(place: &Place) {
    wait_until("the record has all of it", || place.replayed().contains("kubectl exec web").then_some(()))
        .unwrap();
    let shown = place.replayed();
    for part in [
        "$ kubectl get pods --namespace=cluster-story",
        "1/1     Running   0",
        "-- deny by agents/no-nodes",
        "$ kubectl get secrets db --namespace=cluster-story",
        "$ kubectl exec web --namespace=cluster-story",
        "inside\n65532\n",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    place.claim.verified();
    for text in [CANARY, ENCODED] {
        assert!(!is_below(place.claim.path(), text) && !shown.contains(text), "{text} is on record");
    }
}

/// What the gateway was let do goes with the Resource, though nothing of it is in the namespace.
fn withdrawn(place: &Place) {
    let kinds = "clusterroles,clusterrolebindings";
    let selector = "--selector=portcullis.dev/resource-namespace=cluster-story";
    let granted = || place.cluster.kubectl(&["get", kinds, selector, "--output=name"]).unwrap();
    assert_eq!(granted().lines().count(), 2, "{}", granted());
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:cluster-gateway");
    let may = |what: &str| place.cluster.kubectl(&["auth", "can-i", "impersonate", what, &account]).is_ok();
    assert!(may("users/agent:system:serviceaccount:cluster-story:agent"));
    for other in ["users", "users/admin", "groups", "groups/system:masters"] {
        assert!(!may(other), "the gateway may impersonate {other}");
    }
    place.kubectl(&["delete", RESOURCE, "--timeout=60s"]).unwrap();
    assert_eq!(granted(), "");
    assert!(!may("users/agent:system:serviceaccount:cluster-story:agent"));
}
