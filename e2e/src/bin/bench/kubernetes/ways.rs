//! Four ways to one API server: directly, through `kubectl proxy`, and through the gateway with detectors and without.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use e2e::cluster::Kubectl;
use e2e::gateway::{Gateway, Setup, secret};
use e2e::issuer::Issuer;
use e2e::process::Process;
use e2e::tools;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Objects of the long list.
pub(super) const OBJECTS: usize = 5_000;

/// One way.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    server: String,
    token: Option<String>,
    authority: Option<PathBuf>,
}

/// Everything that runs.
pub(super) struct Ways {
    pub(super) direct: Way,
    pub(super) proxy: Way,
    /// No detectors.
    pub(super) plain: Way,
    /// Every detector.
    pub(super) guarded: Way,
    kubectl: Kubectl,
    directory: TempDir,
    _proxy: Process,
    _gateway: Gateway,
    _issuer: Issuer,
}

impl Ways {
    /// Starts a gateway and `kubectl proxy` before an API server.
    pub(super) fn start(kubectl: &Kubectl) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
        let rights =
            std::fs::read_to_string(tools::repository().join("examples/kubernetes-api/rights.yaml"))?;
        kubectl.apply(&rights)?;
        kubectl.apply(RIGHTS)?;
        let token = |account: &str| -> Result<String> {
            let made = ["create", "token", account, "--namespace=kube-system", "--duration=2h"];
            Ok(kubectl.run(&made)?.trim().to_owned())
        };
        let view = kubectl.run(&["config", "view", "--raw", "--minify", "--flatten", "--output=json"])?;
        let view: Value = serde_json::from_str(&view)?;
        let cluster = view.pointer("/clusters/0/cluster").context("an unexpected kubeconfig")?;
        let text = |name: &str| cluster.get(name).and_then(Value::as_str).context("an unexpected kubeconfig");
        let authority = directory.path().join("authority.pem");
        let pem = base64::engine::general_purpose::STANDARD.decode(text("certificate-authority-data")?)?;
        std::fs::write(&authority, pem)?;
        let direct = Way {
            name: "direct",
            server: text("server")?.to_owned(),
            token: Some(token("bench")?),
            authority: Some(authority),
        };
        let (proxy, process) = proxy(&direct, kubectl, &directory)?;
        let issuer = Issuer::start(directory.path())?;
        let gateway = gateway(&issuer, cluster, &token("portcullis-gateway")?)?;
        let agent = |name: &'static str, groups: &[&str]| -> Result<Way> {
            let asked = json!({"sub": "bench", "groups": groups, "aud": "bench", "ttlSeconds": 14_400});
            Ok(Way {
                name,
                server: format!("https://localhost:{}", gateway.port("bench")?),
                token: Some(issuer.mint(&asked)?),
                authority: Some(gateway.ca()),
            })
        };
        Ok(Self {
            plain: agent("gateway", &["agents"])?,
            guarded: agent("guarded", &["agents", "guarded"])?,
            direct,
            proxy,
            kubectl: kubectl.clone(),
            directory,
            _proxy: process,
            _gateway: gateway,
            _issuer: issuer,
        })
    }

    /// Makes the objects of the long list, in a namespace of their own, and a small one beside it.
    pub(super) fn fill(&self) -> Result<()> {
        self.kubectl.run(&["create", "namespace", "many"])?;
        self.kubectl.run(&["create", "configmap", "small", "--from-literal=key=value"])?;
        let objects: Vec<Value> = (0..OBJECTS).map(object).collect();
        let file = self.directory.path().join("objects.json");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        std::fs::write(&file, list.to_string())?;
        let file = file.to_str().context("a directory whose name is text")?;
        self.kubectl.run(&["create", "--validate=false", "--output=name", "-f", file]).map(drop)
    }

    /// kubectl on a way.
    pub(super) fn kubectl(&self, way: &Way) -> Result<Command> {
        let file = way.kubeconfig(&self.directory)?;
        let mut command = self.kubectl.command();
        command.env("KUBECONFIG", file).env("KUBECACHEDIR", self.directory.path().join(way.name));
        Ok(command)
    }
}

impl Way {
    /// A client with connections of its own.
    pub(super) fn client(&self) -> Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder().pool_max_idle_per_host(1);
        if let Some(file) = &self.authority {
            builder = builder.tls_certs_only([reqwest::Certificate::from_pem(&std::fs::read(file)?)?]);
        }
        Ok(builder.build()?)
    }

    /// A request of a client; `path` begins with `/`.
    pub(super) fn get(&self, client: &reqwest::Client, path: &str) -> reqwest::RequestBuilder {
        self.with_token(client.get(format!("{}{path}", self.server)))
    }

    /// A merge patch of an object.
    pub(super) fn patch(
        &self,
        client: &reqwest::Client,
        path: &str,
        change: &Value,
    ) -> reqwest::RequestBuilder {
        let request = client.patch(format!("{}{path}", self.server)).body(change.to_string());
        self.with_token(request.header("content-type", "application/merge-patch+json"))
    }

    fn with_token(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let request = request.header("accept", "application/json");
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn kubeconfig(&self, directory: &TempDir) -> Result<PathBuf> {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "way",
            "clusters": [{"name": "way", "cluster": {
                "server": self.server, "certificate-authority": self.authority,
            }}],
            "users": [{"name": "way", "user": {"token": self.token}}],
            "contexts": [{"name": "way", "context": {"cluster": "way", "user": "way"}}],
        });
        let file = directory.path().join(format!("{}.kubeconfig", self.name));
        std::fs::write(&file, config.to_string())?;
        Ok(file)
    }
}

/// `kubectl proxy` as the same account that goes directly.
fn proxy(direct: &Way, kubectl: &Kubectl, directory: &TempDir) -> Result<(Way, Process)> {
    let mut command = kubectl.command();
    command.env("KUBECONFIG", direct.kubeconfig(directory)?).args(["proxy", "--port=0", "--disable-filter"]);
    let mut process = Process::start("kubectl proxy", &mut command)?;
    let address = process.wait_for_line("its address", |line| {
        line.split_once("serve on ").map(|(_, address)| address.trim().to_owned())
    })?;
    Ok((
        Way { name: "kubectl proxy", server: format!("http://{address}"), token: None, authority: None },
        process,
    ))
}

fn gateway(issuer: &Issuer, cluster: &Value, token: &str) -> Result<Gateway> {
    let setup = Setup::new()?;
    let resource = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Resource", "metadata": {"name": "bench"},
        "spec": {
            "kubernetes": {"kubeconfigRef": {"name": "own"}},
            "authentication": {"issuers": [{"issuer": issuer.url(), "audiences": ["bench"]}]},
            "gateway": {"service": {"port": 0}, "tls": {"secretRef": {"name": "gateway-tls"}}, "maxSessions": 4000},
        },
    });
    setup.write("resource.yaml", &resource.to_string())?;
    setup.write("policy.yaml", POLICY)?;
    let own = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "own",
        "clusters": [{"name": "own", "cluster": cluster}],
        "users": [{"name": "own", "user": {"token": token}}],
        "contexts": [{"name": "own", "context": {"cluster": "own", "user": "own"}}],
    });
    setup.write("own.yaml", &secret("own", &[("kubeconfig", &own.to_string())]))?;
    setup.start()
}

/// An object of ordinary size and content: about 1.3 KiB as the API server gives it.
fn object(number: usize) -> Value {
    let line =
        "level=info msg=\"nothing of interest\" retries=3 timeout=30s endpoint=backend.shop.svc:8080\n";
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("settings-{number:05}"), "namespace": "many", "labels": {"app": "bench"}},
        "data": {"number": number.to_string(), "settings.conf": line.repeat(8)},
    })
}

const RIGHTS: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: bench, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bench}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects:
- {kind: ServiceAccount, name: bench, namespace: kube-system}
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: agents}
";

const POLICY: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: bench}
spec:
  targetRefs: [{name: bench}]
  rules:
  - {name: no-nodes, action: Deny, kubernetes: {verbs: [delete], resources: [nodes]}}
  - {name: work, action: Allow, kubernetes: {}}
---
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: detectors}
spec:
  targetRefs: [{name: bench}]
  subjects: [{group: guarded}]
  masking:
  - {detectors: [Secrets, PersonalData]}
";
