//! Resources about the cluster itself: what their gateways may do there, with the rights that the chart gives the operator.

use crate::chart::{Helm, chart};
use e2e::cluster::ApiServer;
use e2e::operator::Operator;
use e2e::process::wait_until;
use serde_json::{Value, json};

const RESOURCE: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: Resource
metadata: {name: cluster}
spec:
  kubernetes: {usernamePrefix: 'idp:', groupsPrefix: 'idp:', groups: [agents]}
  authentication:
    issuers: [{issuer: 'https://idp.example.com', audiences: [cluster.shop]}]
  gateway: {replicas: 0}
";

fn policy(subjects: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1alpha1\nkind: Policy\nmetadata: {{name: agents}}\nspec:\n  \
         targetRefs: [{{name: cluster}}]\n  subjects: {subjects}\n  \
         rules: [{{name: reads, action: Allow, kubernetes: {{verbs: [get]}}}}]\n"
    )
}

/// An API server with the chart's operator, which may grant `idp:ann` and the group `idp:agents` in `shop`.
struct Granting {
    server: ApiServer,
    _operator: Operator,
    _helm: Helm,
}

impl Granting {
    fn set() -> Option<Self> {
        let helm = Helm::or_skip()?;
        let server = ApiServer::start_with_controllers().unwrap();
        let helm = helm.of(&server);
        for namespace in ["shop", "other"] {
            server.kubectl(&["create", "namespace", namespace]).unwrap();
        }
        helm.run(&[
            "install",
            "portcullis",
            &chart(),
            "--namespace=portcullis-system",
            "--create-namespace",
            "--set=impersonation.enabled=true,impersonation.namespaces={shop}",
            "--set=impersonation.users={idp:ann},impersonation.groups={idp:agents}",
        ])
        .unwrap();
        server.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]).unwrap();
        let arguments = ["--grant-impersonation", "--impersonation-namespace=shop"];
        let operator = Operator::start(&helm.operators_kubeconfig(&server), &arguments).unwrap();
        Some(Self { server, _operator: operator, _helm: helm })
    }

    fn apply(&self, namespace: &str, manifest: &str) {
        let namespace = format!("namespace: {namespace}");
        self.server
            .apply(&manifest.replace("metadata: {name", &format!("metadata: {{{namespace}, name")))
            .unwrap();
    }

    /// Waits for a condition of the Resource; gives its message.
    fn wait(&self, namespace: &str, kind: &str, expected: &str) -> String {
        let mut last = Value::Null;
        let waited = wait_until(&format!("{kind} is {expected}"), || {
            let object = ["resource.portcullis.dev/cluster", "--namespace", namespace];
            last = self.server.client().get(&object).ok()?["status"]["conditions"].take();
            let found = last.as_array()?.iter().find(|condition| condition["type"] == kind)?;
            let said = format!("{} {}", found["status"].as_str()?, found["reason"].as_str()?);
            (said == expected).then(|| found["message"].as_str().unwrap_or_default().to_owned())
        });
        waited.unwrap_or_else(|error| panic!("{error:#}: {last:#}"))
    }

    /// Lets the gateway of the namespace `other` impersonate, as its administrator would.
    fn grant(&self, name: &str, rule: &Value) {
        let (api, name) = ("rbac.authorization.k8s.io", format!("by-hand-{name}"));
        let mut rule = rule.clone();
        rule["verbs"] = json!(["impersonate"]);
        let granted = json!({
            "apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule],
        });
        let account = json!({"kind": "ServiceAccount", "name": "cluster-gateway", "namespace": "other"});
        let binding = json!({
            "apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": name}, "subjects": [account],
        });
        self.server.apply(&format!("{granted}\n---\n{binding}")).unwrap();
    }

    /// Rules of the `ClusterRole`, if it is there.
    fn rules(&self) -> Option<Value> {
        let role = self.server.client().get(&["clusterrole/portcullis:shop:cluster-gateway"]).ok()?;
        Some(role["rules"].clone())
    }

    fn is_bound(&self) -> bool {
        self.server.client().get(&["clusterrolebinding/portcullis:shop:cluster-gateway"]).is_ok()
    }
}

#[test]
fn the_clusters_own_rights_are_granted_no_further_than_the_operator_holds_them() {
    let Some(granting) = Granting::set() else { return };
    granting.apply("shop", RESOURCE);
    granting.wait("shop", "Impersonation", "False NobodyMayCome");
    assert_eq!(granting.rules(), None);

    granting.apply("shop", &policy("[{user: ann}]"));
    let message = granting.wait("shop", "Impersonation", "True Granted");
    assert!(message.contains("users: idp:ann; groups: idp:agents"), "{message}");
    let uid = ["uids", "userextras/portcullis.dev/session", "userextras/portcullis.dev/command"];
    let expected = json!([
        {"apiGroups": [""], "resources": ["users"], "resourceNames": ["idp:ann"], "verbs": ["impersonate"]},
        {"apiGroups": [""], "resources": ["groups"], "resourceNames": ["idp:agents"], "verbs": ["impersonate"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": uid, "verbs": ["impersonate"]},
    ]);
    assert_eq!(granting.rules(), Some(expected.clone()));
    assert!(granting.is_bound());

    // Others than the operator may be: what is granted stays as it is, and the Resource says why.
    for subjects in ["[{user: ann}, {user: root}]", "[{group: agents}]"] {
        granting.apply("shop", &policy(subjects));
        let message = granting.wait("shop", "Programmed", "False ImpersonationNotAllowed");
        for part in ["spec.kubernetes", "impersonation.users", "spec.kubernetes.groups", "not currently held"]
        {
            assert!(message.contains(part), "{subjects}: {part} is not in {message}");
        }
        assert_eq!(granting.rules(), Some(expected.clone()), "{subjects}");
        granting.apply("shop", &policy("[{user: ann}]"));
        granting.wait("shop", "Impersonation", "True Granted");
    }

    drift_is_mended(&granting, &expected);
    elsewhere_others_may_grant_it(&granting);
    it_goes_when_it_is_not_needed(&granting);
}

/// A namespace that the chart does not name: the API server is asked what the gateway may do.
fn elsewhere_others_may_grant_it(granting: &Granting) {
    granting.apply("other", &RESOURCE.replace("replicas: 0", "replicas: 1"));
    granting.apply("other", &policy("[{user: ann}]"));
    let message = granting.wait("other", "Ready", "False NotGranted");
    let lacking = "uids, userextras/portcullis.dev/session, userextras/portcullis.dev/command, users/idp:ann, \
                   groups/idp:agents";
    for part in ["spec.kubernetes: ", lacking, "impersonation.namespaces", "ServiceAccount cluster-gateway"] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert_eq!(granting.wait("other", "Impersonation", "False NotGranted"), message);
    granting.wait("other", "Stalled", "True NotGranted");
    granting.server.client().get(&["clusterrole/portcullis:other:cluster-gateway"]).unwrap_err();

    // An administrator does it, but for the names.
    let resources = json!(["uids", "userextras/portcullis.dev/session", "userextras/portcullis.dev/command"]);
    granting.grant("always", &json!({"apiGroups": ["authentication.k8s.io"], "resources": resources}));
    let named = || {
        let message = granting.wait("other", "Impersonation", "False NotGranted");
        (!message.contains("uids")).then_some(message)
    };
    let message = wait_until("only the names are missing", named).unwrap();
    assert!(message.contains("impersonate users/idp:ann, groups/idp:agents; add"), "{message}");

    // With them, nothing but the pod is missing, which nobody starts here.
    for (kind, name) in [("users", "idp:ann"), ("groups", "idp:agents")] {
        granting.grant(kind, &json!({"apiGroups": [""], "resources": [kind], "resourceNames": [name]}));
    }
    granting.wait("other", "Impersonation", "True GrantedByOthers");
    granting.wait("other", "Ready", "False Pending");

    // Whoever is in a group may come: which users that are, nobody can tell.
    granting.apply("other", &policy("[{group: agents}]"));
    let message = granting.wait("other", "Impersonation", "Unknown Narrower");
    assert!(message.contains("some users at most"), "{message}");
    granting.wait("other", "Ready", "False Pending");
}

fn drift_is_mended(granting: &Granting, expected: &Value) {
    let role = "clusterrole/portcullis:shop:cluster-gateway";
    granting.server.kubectl(&["patch", role, "--type=merge", "--patch", r#"{"rules":[]}"#]).unwrap();
    wait_until("the rules are as they were", || (granting.rules().as_ref() == Some(expected)).then_some(()))
        .unwrap();
}

fn it_goes_when_it_is_not_needed(granting: &Granting) {
    let gone = || (granting.rules().is_none() && !granting.is_bound()).then_some(());
    // to another cluster
    let kubeconfig =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: there, namespace: shop}\nstringData: {kubeconfig: a}";
    granting.server.apply(kubeconfig).unwrap();
    granting
        .apply("shop", &RESOURCE.replace("{usernamePrefix", "{kubeconfigRef: {name: there}, usernamePrefix"));
    wait_until("what was granted is taken back", gone).unwrap();
    let deployment =
        granting.server.client().get(&["deployment/cluster-gateway", "--namespace=shop"]).unwrap();
    let volumes = deployment["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|volume| volume["secret"]["secretName"] == "there"), "{volumes:?}");
    // back again, and then away with the Resource
    granting.apply("shop", RESOURCE);
    granting.wait("shop", "Impersonation", "True Granted");
    let delete = ["delete", "resource.portcullis.dev/cluster", "--namespace=shop", "--timeout=60s"];
    granting.server.kubectl(&delete).unwrap();
    gone().expect("the Resource is gone only once what it was granted is");
}
