//! What every story starts with: an API server that all share, a gateway of its own before it, and kubectl.

use anyhow::Result;
use e2e::cluster::{ApiServer, Kubectl};
use e2e::gateway::{Gateway, Setup, secret};
use e2e::issuer::Issuer;
use e2e::tools;
use serde_json::{Value, json};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use tempfile::TempDir;

/// Name of the Resource.
pub(crate) const RESOURCE: &str = "cluster";
/// Audience of tokens.
pub(crate) const AUDIENCE: &str = "cluster.test";
/// Group of agents.
pub(crate) const GROUP: &str = "agents";

/// A gateway before a cluster.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) issuer: Issuer,
    pub(crate) direct: Kubectl,
    _keys: TempDir,
    home: TempDir,
}

/// The API server of all stories that need no pods.
pub(crate) fn server() -> Option<&'static ApiServer> {
    static SERVER: OnceLock<Option<ApiServer>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let server = ApiServer::is_possible().then(|| ApiServer::start_with_controllers().unwrap())?;
        prepare(server.client()).unwrap();
        Some(server)
    });
    server.as_ref()
}

/// The account of the gateway, and what agents may do by the cluster's own rules: everything.
pub(crate) fn prepare(kubectl: &Kubectl) -> Result<()> {
    let rights = std::fs::read_to_string(tools::repository().join("examples/kubernetes-api/rights.yaml"))?;
    kubectl.apply(&rights)?;
    kubectl.apply(AGENTS).map(drop)
}

impl Scene {
    /// A gateway with these rules before an API server that runs no pods. `None`: skipped.
    pub(crate) fn start(rules: &str) -> Option<Self> {
        Some(Self::before(server()?.client().clone(), rules))
    }

    /// A gateway with these rules (YAML of a Policy's spec, without targets and subjects) before a cluster.
    pub(crate) fn before(direct: Kubectl, rules: &str) -> Self {
        Self::holding(direct, rules, &json!({}))
    }

    /// A gateway whose Resource says this of the cluster as well.
    pub(crate) fn holding(direct: Kubectl, rules: &str, target: &Value) -> Self {
        // one at a time: all write the same cache of kubectl
        static STARTING: Mutex<()> = Mutex::new(());
        let _starting = STARTING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let keys = tempfile::tempdir().unwrap();
        let issuer = Issuer::start(keys.path()).unwrap();
        let setup = Setup::new().unwrap();
        let mut resource = resource(&issuer);
        let members = target.as_object().unwrap().clone();
        resource["spec"]["kubernetes"].as_object_mut().unwrap().extend(members);
        setup.write("resource.yaml", &resource.to_string()).unwrap();
        setup.write("policy.yaml", &policy(rules)).unwrap();
        let kubeconfig = own_kubeconfig(&direct).unwrap();
        setup
            .write("kubeconfig.yaml", &secret("cluster-kubeconfig", &[("kubeconfig", &kubeconfig)]))
            .unwrap();
        let home = tempfile::tempdir().unwrap();
        Self { gateway: setup.start().unwrap(), issuer, direct, _keys: keys, home }
    }

    /// A token of an agent.
    pub(crate) fn token(&self, subject: &str) -> String {
        self.issuer.token(subject, &[GROUP], AUDIENCE).unwrap()
    }

    /// kubectl through the gateway with this token.
    pub(crate) fn kubectl(&self, token: &str) -> Command {
        let port = self.gateway.port(RESOURCE).unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "gateway",
            "clusters": [{"name": "gateway", "cluster": {
                "server": format!("https://localhost:{port}"), "certificate-authority": self.gateway.ca(),
            }}],
            "users": [{"name": "agent", "user": {"token": token}}],
            "contexts": [{"name": "gateway", "context": {"cluster": "gateway", "user": "agent"}}],
        });
        let file = self.home.path().join(format!("{}.kubeconfig", digest(token)));
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = self.direct.command();
        command
            .env("KUBECONFIG", file)
            .env("KUBECACHEDIR", self.home.path().join("cache"))
            .stdin(Stdio::null());
        command
    }

    /// Runs kubectl through the gateway as `bot`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        Answer::new(&self.kubectl(&self.token("bot")).args(arguments).output().unwrap())
    }

    /// A fresh namespace, made directly.
    pub(crate) fn namespace(&self, name: &str) -> String {
        let name = format!("{name}-{}", std::process::id());
        self.direct.run(&["create", "namespace", &name]).unwrap();
        name
    }

    /// `portcullis` for this gateway's state; it must exit with `code`.
    pub(crate) fn portcullis(&self, arguments: &[&str], code: i32) -> Answer {
        let mut command = Command::new(tools::own("portcullis").unwrap());
        command.env("PORTCULLIS_STATE", self.gateway.state()).env("PORTCULLIS_SPOOL", self.gateway.state());
        let done = command.args(arguments).stdin(Stdio::null()).output().unwrap();
        let answer = Answer::new(&done);
        assert_eq!(done.status.code(), Some(code), "portcullis {arguments:?}: {answer:?}");
        answer
    }

    /// The replay of every session so far.
    pub(crate) fn replayed(&self) -> String {
        let listed = self.portcullis(&["sessions", "-o", "json"], 0).out;
        let sessions: Value = serde_json::from_str(&listed).unwrap();
        let ids = sessions.as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap());
        ids.map(|id| self.portcullis(&["replay", id], 0).out).collect()
    }

    /// Fails if the text stands in anything that the gateway keeps, logs or counts, in any form that a scan knows.
    pub(crate) fn assert_nowhere(&self, text: &str) {
        e2e::leaks::search(&self.gateway, &[text.to_owned()], &[]).unwrap();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of the gateway ---\n{}", self.gateway.log());
        } else if let Err(leak) = e2e::leaks::search(&self.gateway, &self.issuer.signatures(), &[]) {
            panic!("{leak:#}");
        }
    }
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    pub(crate) fn new(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn ok(&self) -> bool {
        self.code == Some(0)
    }
}

/// Runs a command with this standard input.
pub(crate) fn feed(mut command: Command, input: impl AsRef<[u8]>) -> Output {
    use std::io::Write as _;
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // it may not read to the end
    child.stdin.take().unwrap().write_all(input.as_ref()).unwrap_or_default();
    child.wait_with_output().unwrap()
}

/// The Resource, with tokens of this issuer.
pub(crate) fn resource(issuer: &Issuer) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Resource", "metadata": {"name": RESOURCE},
        "spec": {
            "kubernetes": {"kubeconfigRef": {"name": "cluster-kubeconfig"}},
            "authentication": {"issuers": [{"issuer": issuer.url(), "audiences": [AUDIENCE]}]},
            "gateway": {"service": {"port": 0}, "tls": {"secretRef": {"name": "gateway-tls"}}},
        },
    })
}

fn policy(rules: &str) -> String {
    let head = format!(
        "apiVersion: portcullis.dev/v1alpha1\nkind: Policy\nmetadata: {{name: agents}}\nspec:\n  targetRefs:\n  - \
         {{name: {RESOURCE}}}\n  subjects:\n  - {{group: {GROUP}}}\n"
    );
    let rules: String = rules.trim_matches('\n').lines().map(|line| ["  ", line, "\n"].concat()).collect();
    head + &rules
}

/// A kubeconfig for the gateway's own account.
pub(crate) fn own_kubeconfig(direct: &Kubectl) -> Result<String> {
    let token =
        direct.run(&["create", "token", "portcullis-gateway", "--namespace=kube-system", "--duration=1h"])?;
    let view = direct.run(&["config", "view", "--raw", "--minify", "--flatten", "--output=json"])?;
    let view: Value = serde_json::from_str(&view)?;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "own",
        "clusters": [{"name": "own", "cluster": view["clusters"][0]["cluster"]}],
        "users": [{"name": "own", "user": {"token": token.trim()}}],
        "contexts": [{"name": "own", "context": {"cluster": "own", "user": "own"}}],
    });
    Ok(config.to_string())
}

fn digest(text: &str) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Agents may do everything, so that only the gateway says no.
const AGENTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: agents-of-tests}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: agents}]
";
