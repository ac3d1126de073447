//! The chart, by the real Helm on a real API server.

use e2e::cluster::ApiServer;
use e2e::cluster::programs::HELM;
use e2e::operator::Operator;
use e2e::process::wait_until;
use e2e::tools::repository;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Sets whatever can be set.
const EVERYTHING: &str = r#"
imagePullSecrets: [{name: registry}]
replicas: 3
watchNamespaces: [shop]
otlp: {endpoint: "http://otel:4318", protocol: http/protobuf, headers: "authorization=Bearer x,tenant=a"}
issuerDiscovery: {enabled: true}
witnesses: ["witness.local+a0810e5c+BAJOgBZc+OPqOPzdG5aQltAYZzlrhndqSoNlPHsUfghD http://witness.security:7380"]
witness: {enabled: true, certifiers: ["witness.local+a0810e5c+BAJOgBZc+OPqOPzdG5aQltAYZzlrhndqSoNlPHsUfghD"], persistence: {size: 2Gi, storageClassName: fast}}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: a, operator: Exists}]
affinity: {nodeAffinity: {}}
topologySpreadConstraints: [{topologyKey: kubernetes.io/hostname, maxSkew: 1, whenUnsatisfiable: DoNotSchedule}]
podAnnotations: {a: b}
podLabels: {a: b}
serviceAccount: {annotations: {a: b}}
impersonation: {enabled: true, namespaces: [shop], users: ["*"], groups: [agents]}
networkPolicy: {metricsFrom: [{namespaceSelector: {matchLabels: {name: monitoring}}}]}
tests: {image: "postgres:17-alpine", resource: orders, namespace: shop, audience: orders.shop}
"#;

/// Without a container: what is looked at is the objects.
const RESOURCE: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: orders-readonly, namespace: shop}
stringData: {username: reader, password: hunter2-of-the-database}
---
apiVersion: portcullis.dev/v1alpha1
kind: Resource
metadata: {name: orders, namespace: shop}
spec:
  postgresql:
    host: orders-primary.shop.svc
    roles: [{name: readonly, credentialsRef: {name: orders-readonly}}]
  authentication:
    issuers: [{issuer: "https://idp.example.com", audiences: [orders.shop]}]
  gateway: {replicas: 0}
---
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: agents, namespace: shop}
spec:
  targetRefs: [{name: orders}]
  rules: [{name: reads, action: Allow, postgresql: {effects: [Select]}}]
"#;

#[test]
fn the_chart_passes_the_strict_lint_and_refuses_typos() {
    let Some(helm) = Helm::or_skip() else { return };
    let everything = helm.file("everything.yaml", EVERYTHING);
    helm.run(&["lint", "--strict", &chart()]).unwrap();
    helm.run(&["lint", "--strict", &chart(), "--values", &everything]).unwrap();
    for (set, why) in [
        ("replica=2", "additional properties 'replica' not allowed"),
        ("image.repo=a", "additional properties 'repo' not allowed"),
        ("otlp.endpont=http://a", "additional properties 'endpont' not allowed"),
        ("tests.images=a", "additional properties 'images' not allowed"),
        ("impersonation.user={a}", "additional properties 'user' not allowed"),
        ("impersonation.namespaces={shop}", "/impersonation/namespaces"),
        ("witnesses={http://witness:7380}", "/witnesses/0"),
        ("witness.enabled=true", "it knows no log"),
        ("log.format=xml", "value must be one of 'text', 'json'"),
        ("otlp.endpoint=otel:4317", "does not match pattern"),
        ("tests.image=postgres:17", "/tests/resource"),
        ("otlp.headers=a=b", "set otlp.endpoint as well"),
        ("leaderElection=false", "set replicas to 1 or leaderElection to true"),
        ("serviceAccount.create=false", "serviceAccount.name: name the service account"),
    ] {
        let refused = helm.run(&["template", "portcullis", &chart(), "--set", set]).unwrap_err();
        assert!(refused.contains(why), "{set}: {refused}");
    }
}

#[test]
fn an_upgrade_brings_new_fields_and_neither_it_nor_removal_loses_objects() {
    let Some(helm) = Helm::or_skip() else { return };
    let Some(server) = ApiServer::or_skip() else { return };
    let helm = helm.of(&server);
    server.kubectl(&["create", "namespace", "shop"]).unwrap();
    helm.run(&[
        "install",
        "portcullis",
        &older_chart(&helm),
        "--namespace=portcullis-system",
        "--create-namespace",
    ])
    .unwrap();
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]).unwrap();
    server.apply(RESOURCE).unwrap();
    let set = ["patch", "resource.portcullis.dev/orders", "--namespace=shop", "--type=merge", "--patch"];
    let set = [&set[..], &[r#"{"spec":{"gateway":{"maxSessions":7}}}"#]].concat();
    let sessions = || {
        server.kubectl(&set).unwrap();
        server.client().get(&["resource.portcullis.dev/orders", "--namespace=shop"]).unwrap()["spec"]["gateway"]
            ["maxSessions"]
            .clone()
    };
    assert_eq!(sessions(), Value::Null, "the older definition does not know the field");

    let everything = helm.file("everything.yaml", EVERYTHING);
    let notes = helm
        .run(&["upgrade", "portcullis", &chart(), "--namespace=portcullis-system", "--values", &everything])
        .unwrap();
    assert!(notes.contains("helm test portcullis"), "{notes}");
    wait_until("the new field is there", || (sessions() == 7).then_some(())).unwrap();

    helm.run(&["uninstall", "portcullis", "--namespace=portcullis-system"]).unwrap();
    server.kubectl(&["get", "resource.portcullis.dev/orders", "--namespace=shop"]).unwrap();
    server.kubectl(&["get", "deployment/portcullis-operator", "--namespace=portcullis-system"]).unwrap_err();
    // What was kept is taken over again.
    helm.run(&["install", "portcullis", &chart(), "--namespace=portcullis-system"]).unwrap();
}

#[test]
fn the_operator_works_with_the_rights_that_the_chart_gives() {
    let Some(helm) = Helm::or_skip() else { return };
    // A Resource goes when its Deployment has no pods any more, which the controllers say.
    let server = ApiServer::start_with_controllers().unwrap();
    let helm = helm.of(&server);
    server.kubectl(&["create", "namespace", "shop"]).unwrap();
    // A ClusterRole, then a Role in one namespace.
    for (set, arguments) in
        [("replicas=2", &[][..]), ("watchNamespaces={shop}", &["--watch-namespace=shop"][..])]
    {
        let namespace = ["--namespace=portcullis-system", "--create-namespace"];
        let install = ["upgrade", "--install", "portcullis", &chart(), "--set", set];
        helm.run(&[&install[..], &namespace].concat()).unwrap();
        server.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]).unwrap();
        server.apply(RESOURCE).unwrap();
        let operator = Operator::start(&helm.operators_kubeconfig(&server), arguments).unwrap();
        for (object, condition) in [
            ("resource.portcullis.dev/orders", "--for=condition=Ready"),
            ("resource.portcullis.dev/orders", "--for=condition=ApproverBinding"),
            ("policy.portcullis.dev/agents", "--for=condition=Ready"),
        ] {
            server.kubectl(&["wait", condition, object, "--namespace=shop", "--timeout=60s"]).unwrap();
        }
        let gone = ["delete", "resource.portcullis.dev/orders", "--namespace=shop", "--timeout=60s"];
        server.kubectl(&gone).unwrap();
        wait_until("what it owned is gone", || {
            server.kubectl(&["get", "deployment/orders-gateway", "--namespace=shop"]).err()
        })
        .unwrap();
        assert_eq!(operator.stop().unwrap(), Some(0), "it gives its lease back");
    }
}

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>
#[test]
fn pods_of_the_chart_and_the_examples_run_under_restricted_pod_security() {
    let Some(helm) = Helm::or_skip() else { return };
    let Some(server) = ApiServer::or_skip() else { return };
    server.kubectl(&["create", "namespace", "shop"]).unwrap();
    server.kubectl(&["label", "namespace", "shop", "pod-security.kubernetes.io/enforce=restricted"]).unwrap();
    server.kubectl(&["create", "serviceaccount", "default", "--namespace=shop"]).unwrap();
    let everything = helm.file("everything.yaml", EVERYTHING);
    let rendered = helm.run(&["template", "portcullis", &chart(), "--values", &everything]).unwrap();
    let agent = std::fs::read_to_string(repository().join("examples/kubernetes/agent.yaml")).unwrap();
    let mut pods = 0;
    for mut object in documents(&rendered).chain(documents(&agent)) {
        let mut pod = match object["kind"].as_str() {
            Some("Deployment") => object["spec"]["template"].take(),
            Some("Pod") => object,
            _ => continue,
        };
        pods += 1;
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!("tried");
        pod["metadata"]["namespace"] = json!("shop");
        pod["spec"]["serviceAccountName"] = json!("default");
        pod["spec"]["priorityClassName"] = Value::Null;
        let file = helm.file("pod.yaml", &pod.to_string());
        server.kubectl(&["create", "--dry-run=server", "--filename", &file]).unwrap();
    }
    assert_eq!(pods, 4, "the operator, the witness, the test and the agent");
}

#[test]
fn the_examples_are_what_the_api_server_takes() {
    let Some(server) = ApiServer::or_skip() else { return };
    e2e::operator::install(&server).unwrap();
    let examples = repository().join("examples/kubernetes");
    let examples = examples.to_str().unwrap();
    server.kubectl(&["apply", "--server-side", "--filename", &format!("{examples}/namespace.yaml")]).unwrap();
    server
        .kubectl(&[
            "apply",
            "--server-side",
            "--dry-run=server",
            "--filename",
            &format!("{examples}/resource.yaml"),
        ])
        .unwrap();
    // The agent's pod needs its service account, and that a secret: nothing of it is made, but all of it is checked.
    server.kubectl(&["create", "serviceaccount", "agent", "--namespace=shop"]).unwrap();
    let applied = server.kubectl(&[
        "apply",
        "--server-side",
        "--dry-run=server",
        "--force-conflicts",
        "--kustomize",
        examples,
    ]);
    let applied = applied.unwrap();
    assert_eq!(applied.lines().count(), 10, "{applied}");
}

/// Helm, with directories of its own.
pub(crate) struct Helm {
    program: PathBuf,
    directory: TempDir,
    kubeconfig: PathBuf,
}

impl Helm {
    pub(crate) fn or_skip() -> Option<Self> {
        if !ApiServer::is_possible() {
            return None;
        }
        let program = HELM.build().unwrap().join("helm");
        let directory = tempfile::tempdir().unwrap();
        let kubeconfig = directory.path().join("none");
        Some(Self { program, directory, kubeconfig })
    }

    /// For releases in this cluster.
    pub(crate) fn of(self, server: &ApiServer) -> Self {
        Self { kubeconfig: server.kubeconfig().to_owned(), ..self }
    }

    /// What it printed, or what it complained of.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let home = |name: &str| self.directory.path().join(name);
        let output = Command::new(&self.program)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_CACHE_HOME", home("cache"))
            .env("HELM_CONFIG_HOME", home("config"))
            .env("HELM_DATA_HOME", home("data"))
            .output()
            .unwrap();
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout).into(), String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(said) } else { Err(format!("{complained}{said}")) }
    }

    /// Path of a file with this text.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// With the token of the service account that the chart made.
    pub(crate) fn operators_kubeconfig(&self, server: &ApiServer) -> PathBuf {
        let token = server
            .kubectl(&[
                "create",
                "token",
                "portcullis-operator",
                "--namespace=portcullis-system",
                "--duration=1h",
            ])
            .unwrap();
        let text = std::fs::read_to_string(server.kubeconfig()).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["users"] = json!([{"name": "admin", "user": {"token": token.trim()}}]);
        self.file("operator.kubeconfig", &config.to_string()).into()
    }
}

/// The chart as it was before a field was added.
fn older_chart(helm: &Helm) -> String {
    let older = helm.directory.path().join("older");
    copy(Path::new(&chart()), &older);
    let path = older.join("files/crds/resources.portcullis.dev.yaml");
    let mut definition: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let gateway = definition
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/gateway")
        .unwrap();
    gateway["properties"].as_object_mut().unwrap().remove("maxSessions").unwrap();
    if let Some(default) = gateway["default"].as_object_mut() {
        default.remove("maxSessions");
    }
    let text = serde_yaml_ng::to_string(&definition).unwrap();
    std::fs::write(path, text).unwrap();
    older.to_str().unwrap().to_owned()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn documents(text: &str) -> impl Iterator<Item = Value> {
    let documents: Vec<Value> = text
        .split("\n---")
        .map(|document| serde_yaml_ng::from_str(document.trim_start_matches("---")).unwrap())
        .collect();
    documents.into_iter()
}

/// Path of the chart.
pub(crate) fn chart() -> String {
    repository().join("charts/portcullis").to_str().unwrap().to_owned()
}
