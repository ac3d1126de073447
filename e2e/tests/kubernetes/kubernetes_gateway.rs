//! The cluster behind a gateway that runs in it: an agent's kubectl, with a kubeconfig that the command line wrote.

use crate::claim::SPOOL;
use crate::place::{Place, is_below, refused, run};
use crate::scene::APPROVERS;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use e2e::process::wait_until;
use serde_json::{Value, json};
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
kind: ConfigMap
metadata: {name: old}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: needed}
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
  kubernetes: {usernamePrefix: "agent:", groups: [], holdSeconds: 12}
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
    kubernetes: {resources: [pods/exec], namespaces: [NAMESPACE], commands: [{name: cat}, {name: sh}, {name: echo}, {name: id}]}
  - name: no-nodes
    action: Deny
    kubernetes: {verbs: [delete, deletecollection], resources: [nodes]}
    message: "Ask #platform; nodes are drained by the pipeline."
  - name: deletions
    action: Hold
    kubernetes: {verbs: [delete], resources: [configmaps]}
    approval: {timeoutSeconds: 300, reviewers: [{group: dba, count: 1}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: agents}
rules:
- {apiGroups: [""], resources: [pods, secrets], verbs: [get, list]}
- {apiGroups: [""], resources: [pods/exec], verbs: [create, get]}
- {apiGroups: [""], resources: [configmaps], verbs: [get, list, watch, delete]}
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
    let manifests = format!("{}---\n{APPROVERS}", MANIFESTS.replace("SPOOL", SPOOL));
    let Some(place) = Place::set(NAMESPACE, &manifests) else { return };
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
    // nor as what a shell that is allowed is given to run
    for words in [&["sleep", "0"][..], &["sh", "-c", "id -u; sleep 0"]] {
        let (_, said) = refused(&mut kubectl(&[&["exec", "web", "--"], words].concat()));
        assert!(!said.contains("65532"), "{said}");
    }

    held(&agent);
    on_record(&agent.place);
    withdrawn(&agent.place);
}

/// The ApprovalRequest that nobody has decided yet.
fn undecided(place: &Place) -> String {
    wait_until("somebody is asked", || {
        let listed = place.kubectl(&["get", "approvalrequests", "--output=json"]).unwrap();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let is_open = |one: &&Value| one["status"]["conditions"].as_array().is_none_or(Vec::is_empty);
        let open = listed["items"].as_array().unwrap().iter().find(is_open)?;
        Some(open["metadata"]["name"].as_str().unwrap().to_owned())
    })
    .unwrap()
}

/// What a person says of it.
fn decide(place: &Place, user: &str, request: &str, verdict: &str) -> anyhow::Result<String> {
    let decision = json!({"approver": user, "group": "dba", "verdict": verdict, "reason": "CHG-7"});
    let patch = json!({"spec": {"decisions": [decision]}}).to_string();
    let object = format!("approvalrequest/{request}");
    let namespace = format!("--namespace={NAMESPACE}");
    place.cluster.kubectl_as(user, &["patch", &object, &namespace, "--type=merge", "--patch", &patch])
}

/// A deletion waits for a person, who says so with `kubectl patch`.
fn held(agent: &Agent) {
    let place = &agent.place;
    let is_there = |name: &str| place.kubectl(&["get", "configmap", name]).is_ok();

    // the agent is told not to wait any longer; once somebody has agreed it says it again
    let (_, said) = refused(&mut agent.kubectl(&["delete", "configmap", "old"]));
    assert!(is_there("old"), "{said}");
    let request = undecided(place);
    let decide_it = format!("decide with: kubectl portcullis approve {request} -n {NAMESPACE}");
    for part in
        [&format!("waiting for approval {request}"), &decide_it, "repeat the command once it is approved"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let shown = place.kubectl(&["get", "approvalrequest", &request, "--output=json"]).unwrap();
    for part in
        ["would delete it", "system:serviceaccount:cluster-story:agent", "\"protocol\": \"kubernetes\""]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let forged = decide(place, "bob", &request, "Approved").unwrap_err().to_string();
    assert!(forged.contains("Forbidden"), "{forged}");
    assert!(is_there("old"));
    decide(place, "alice", &request, "Approved").unwrap();
    place.wait("Approved", &[&format!("approvalrequest/{request}")]);
    assert!(is_there("old"), "it ran though nobody waited for it");
    let said = run(&mut agent.kubectl(&["delete", "configmap", "old"]));
    assert!(said.contains(r#"configmap "old" deleted"#) && !is_there("old"), "{said}");
    place.wait("Consumed", &[&format!("approvalrequest/{request}")]);

    // an agent that waits is told who said no, and may not by saying it again either
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| refused(&mut agent.kubectl(&["delete", "configmap", "needed"])));
        decide(place, "carol", &undecided(place), "Denied").unwrap();
        waiting.join().unwrap()
    });
    assert!(waiting.0 == Some(1) && waiting.1.contains("denied by carol"), "{waiting:?}");
    refused(&mut agent.kubectl(&["delete", "configmap", "needed", "--request-timeout=3s"]));
    assert!(is_there("needed"));
}

fn on_record(place: &Place) {
    wait_until("the record has all of it", || place.replayed().contains("kubectl exec web").then_some(()))
        .unwrap();
    let shown = place.replayed();
    for part in [
        "$ kubectl get pods --namespace=cluster-story",
        "1/1     Running   0",
        "-- deny by agents/no-nodes",
        "$ kubectl delete configmaps old --namespace=cluster-story",
        "denied by carol",
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

const ELSEWHERE: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: {name: gateway-there}
---
apiVersion: portcullis.dev/v1alpha1
kind: Resource
metadata: {name: cluster}
spec:
  kubernetes: {kubeconfigRef: {name: there}}
  authentication:
    issuers:
    - issuer: https://kubernetes.default.svc
      audiences: [cluster.NAMESPACE]
      caRef: {name: kube-root-ca.crt, key: ca.crt}
  gateway: {drainSeconds: 5}
";

const RIGHTS_THERE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: elsewhere-story}
rules:
- {apiGroups: [""], resources: [users, groups], verbs: [impersonate]}
- apiGroups: [authentication.k8s.io]
  resources: [uids, userextras/portcullis.dev/session, userextras/portcullis.dev/command]
  verbs: [impersonate]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: elsewhere-story}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: elsewhere-story}
subjects: [{kind: ServiceAccount, name: gateway-there, namespace: elsewhere-story}]
"#;

#[test]
fn kubernetes_a_gateway_says_what_its_account_lacks_in_the_cluster_of_a_kubeconfig() {
    let Some(place) = Place::set("elsewhere-story", ELSEWHERE) else { return };
    let token = place.kubectl(&["create", "token", "gateway-there"]).unwrap();
    let roots = place.cluster.client().get(&["configmap/kube-root-ca.crt", "--namespace=default"]).unwrap();
    let roots = BASE64.encode(roots["data"]["ca.crt"].as_str().unwrap());
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "there",
        "clusters": [{"name": "there", "cluster": {
            "server": "https://kubernetes.default.svc", "certificate-authority-data": roots,
        }}],
        "users": [{"name": "there", "user": {"token": token.trim()}}],
        "contexts": [{"name": "there", "context": {"cluster": "there", "user": "there"}}],
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "there", "namespace": "elsewhere-story"},
        "stringData": {"kubeconfig": kubeconfig.to_string()},
    });
    place.cluster.apply(&secret.to_string()).unwrap();

    place.wait("Impersonation=False", &[RESOURCE]);
    place.wait("Stalled", &[RESOURCE]);
    let said = place.kubectl(&["get", RESOURCE, "--output=json"]).unwrap();
    let lacking = "uids, userextras/portcullis.dev/session, userextras/portcullis.dev/command";
    let remedy = "examples/kubernetes-api/rights.yaml";
    for part in
        ["spec.kubernetes.kubeconfigRef", "Secret there", lacking, remedy, r#""reason": "NotGranted""#]
    {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    // nobody but the gateway has the credential, and it says nothing else of it
    assert!(!said.contains(token.trim()), "{said}");

    place.cluster.apply(RIGHTS_THERE).unwrap();
    let held = || {
        let shown = place.kubectl(&["get", RESOURCE, "--output=json"]).unwrap();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let found =
            shown["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == "Impersonation")?;
        (found["status"] == "True").then(|| found["reason"].clone())
    };
    let reason = wait_until("the account has its rights", held).unwrap_or_else(|error| {
        panic!("{error:#}: {}", place.kubectl(&["get", RESOURCE, "--output=yaml"]).unwrap())
    });
    assert_eq!(reason, "GrantedByOthers");
    place.wait("Ready", &[RESOURCE]);
}
