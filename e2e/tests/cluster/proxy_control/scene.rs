//! A shop whose manifests are in an API server, and gateways of it as processes with plain directories for mounts.
//!
//! The gateways act as the service account that the operator gives them, with its rights and under the shipped
//! admission policy. But for [`Scene::start_with_operator`] the operator does not run: the administrator writes what it
//! would.

use e2e::certificates::Authority;
use e2e::cluster::ApiServer;
use e2e::gateway::Login;
use e2e::operator::{self, Operator};
use e2e::process::{Process, wait_until};
use e2e::shop::{DATABASE, Prepared, RESOURCE};
use e2e::tools;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// The shop, without a gateway.
pub(super) struct Scene {
    pub(super) server: ApiServer,
    pub(super) shop: Prepared,
    authority: Authority,
    directory: TempDir,
}

/// A gateway of the shop. Ends with its value.
pub(super) struct Gateway {
    pub(super) process: Process,
    /// Where its log is kept when it has ended.
    log: PathBuf,
    admin: String,
    ca: PathBuf,
}

/// What psql said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) out: String,
    pub(super) err: String,
}

impl Scene {
    /// `None` where PostgreSQL or an API server cannot be had, after printing that.
    pub(super) fn start() -> Option<Self> {
        tools::or_skip("postgres")?;
        let server = ApiServer::or_skip()?;
        let shop = Prepared::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path()).unwrap();
        let scene = Self { server, shop, authority, directory };
        scene.fill();
        Some(scene)
    }

    /// As [`Scene::start`], with an operator, which gives approvals their status. The Resource's port is one that no
    /// Service can have, so that gateways beside each other find one that is free: to the operator it is invalid, and
    /// it leaves the gateways' objects alone. The pods of these names are objects that nothing runs: what gateways report
    /// in their names is not an orphan's.
    pub(super) fn start_with_operator(arguments: &[&str], pods: &[&str]) -> Option<(Self, Operator)> {
        let scene = Self::start()?;
        for pod in pods {
            scene.server.apply(&self::pod(pod).to_string()).unwrap();
        }
        let operator = Operator::start(scene.server.kubeconfig(), arguments).unwrap();
        wait_until("decisions are bound", || {
            let status = scene.status();
            let conditions = status["conditions"].as_array()?;
            let bound = |one: &&Value| one["type"] == "ApproverBinding" && one["status"] == "True";
            conditions.iter().find(bound).map(drop)
        })
        .unwrap();
        Some((scene, operator))
    }

    fn fill(&self) {
        operator::install(&self.server).unwrap();
        self.server.kubectl(&["create", "namespace", "shop"]).unwrap();
        self.server.apply(RIGHTS).unwrap();
        for file in ["resource.yaml", "policy.yaml"] {
            self.server.apply(&self.manifest(file)).unwrap();
        }
        let certificate = self.authority.certify().unwrap();
        self.mount("Secret/orders-gateway-tls/tls.crt", &certificate.certificate);
        self.mount("Secret/orders-gateway-tls/tls.key", &certificate.key);
        for file in ["readonly.yaml", "app.yaml", "ca.yaml"] {
            let object: Value = serde_json::from_str(&self.manifest(file)).unwrap();
            let data = object.get("stringData").unwrap_or(&object["data"]).as_object().unwrap();
            for (key, value) in data {
                let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
                let path = format!("{}/{}/{key}", kind.as_str().unwrap(), name.as_str().unwrap());
                self.mount(&path, value.as_str().unwrap());
            }
        }
        std::fs::write(self.directory.path().join("tenant.key"), [7; 32]).unwrap();
        std::fs::write(self.directory.path().join("kubeconfig"), self.kubeconfig().to_string()).unwrap();
    }

    /// A manifest of the example, pointed at this shop.
    pub(super) fn manifest(&self, file: &str) -> String {
        std::fs::read_to_string(self.shop.setup.config().join(file)).unwrap()
    }

    /// What the kubelet would mount.
    pub(super) fn mount(&self, path: &str, value: &str) {
        let path = self.directory.path().join("mounts").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value).unwrap();
    }

    /// The administrator's, as the gateway's service account.
    fn kubeconfig(&self) -> Value {
        let token =
            self.server.kubectl(&["create", "token", "orders-gateway", "-n", "shop", "--duration=12h"]);
        let token = token.unwrap();
        let text = self.server.kubectl(&["config", "view", "--raw", "--minify", "--output", "json"]).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["users"][0]["user"] = json!({"token": token.trim()});
        config
    }

    /// Starts a gateway as a pod of this name, and waits until it is ready.
    pub(super) fn gateway(&self, pod: &str) -> Gateway {
        let gateway = self.launch(pod, &[]);
        gateway.wait_until_ready();
        gateway
    }

    /// Starts a gateway and waits for nothing.
    pub(super) fn launch(&self, pod: &str, arguments: &[&str]) -> Gateway {
        let mut command = Command::new(tools::own("portcullis-proxy").unwrap());
        command.args(["--resource", "shop/orders", "--admin-listen", "127.0.0.1:0"]).args(arguments);
        for (argument, file) in [("--mounts", "mounts"), ("--tenant-key", "tenant.key"), ("--state", pod)] {
            command.arg(argument).arg(self.directory.path().join(file));
        }
        command.env("KUBECONFIG", self.directory.path().join("kubeconfig")).env("POD_NAME", pod);
        let mut process = Process::start(pod, &mut command).unwrap();
        let admin = process.wait_for_line("its admin address", |line| {
            let rest = line.contains("admin").then(|| line.split_once("127.0.0.1:"))??.1;
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some(format!("127.0.0.1:{port}"))
        });
        let log = self.state(pod).with_extension("log");
        Gateway { process, log, admin: admin.unwrap(), ca: self.authority.file().to_owned() }
    }

    pub(super) fn token(&self, subject: &str) -> String {
        self.shop.issuer.token(subject, &["agents"], "orders.shop").unwrap()
    }

    /// The status of the Resource.
    pub(super) fn status(&self) -> Value {
        self.server.client().get(&["resource.portcullis.dev", RESOURCE, "-n", "shop"]).unwrap()["status"]
            .clone()
    }

    /// What a gateway reports.
    pub(super) fn report(&self, pod: &str) -> Value {
        let status = self.status();
        let gateways = status["gateways"].as_array().into_iter().flatten();
        gateways.into_iter().find(|report| report["pod"] == pod).cloned().unwrap_or_default()
    }

    /// Changes the Policy.
    pub(super) fn change_policy(&self, from: &str, to: &str) {
        let text = self.manifest("policy.yaml");
        assert!(text.contains(from), "{from}");
        self.server.apply(&text.replace(from, to)).unwrap();
    }

    /// All requests.
    pub(super) fn requests(&self) -> Vec<Value> {
        let list = self.server.client().get(&["approvalrequests", "-n", "shop"]).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// The one open request, as soon as there is one.
    pub(super) fn open_request(&self) -> Value {
        wait_until("a request is open", || self.requests().into_iter().find(|one| one["status"].is_null()))
            .unwrap()
    }

    /// Appends alice's decision, and writes what the operator makes of it.
    pub(super) fn approve(&self, name: &str) {
        self.decide(name);
        self.operator_approves(name, "True");
    }

    /// Appends alice's decision.
    pub(super) fn decide(&self, name: &str) {
        let patch = r#"{"spec":{"decisions":[{"approver":"alice","group":"dba","verdict":"Approved"}]}}"#;
        let arguments = ["patch", "approvalrequest", name, "-n", "shop", "--type=merge", "-p", patch];
        self.server.kubectl_as("alice", &arguments).unwrap();
    }

    /// Writes what the operator would, `ApproverBinding` with this status.
    pub(super) fn operator_approves(&self, name: &str, binding: &str) {
        let patch = approved(binding);
        let arguments =
            ["patch", "approvalrequest", name, "-n", "shop", "--subresource=status", "--type=merge", "-p"];
        self.server.kubectl(&[&arguments[..], &[&patch]].concat()).unwrap();
    }

    pub(super) fn request(&self, name: &str) -> Value {
        self.server.client().get(&["approvalrequest", name, "-n", "shop"]).unwrap()
    }

    /// Types of the conditions of a request that are True.
    pub(super) fn conditions(&self, name: &str) -> Vec<String> {
        let request = self.request(name);
        let conditions = request["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let mut types: Vec<String> = conditions
            .iter()
            .filter(|condition| condition["status"] == "True")
            .map(|condition| condition["type"].as_str().unwrap().to_owned())
            .collect();
        types.sort();
        types
    }

    /// A kubeconfig of the gateway that leads elsewhere.
    pub(super) fn lead_through(&self, port: u16) {
        let mut config = self.kubeconfig();
        config["clusters"][0]["cluster"]["server"] = json!(format!("https://127.0.0.1:{port}"));
        std::fs::write(self.directory.path().join("kubeconfig"), config.to_string()).unwrap();
    }

    /// The API server's address.
    pub(super) fn address(&self) -> String {
        let url = self.kubeconfig()["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned();
        url.trim_start_matches("https://").to_owned()
    }

    /// Where a gateway keeps its logs.
    pub(super) fn state(&self, pod: &str) -> PathBuf {
        self.directory.path().join(pod)
    }

    /// A query past the gateway.
    pub(super) fn upstream(&self, sql: &str) -> String {
        self.shop.server.sql(DATABASE, sql).unwrap()
    }
}

impl Gateway {
    pub(super) fn wait_until_ready(&self) {
        wait_until("the gateway is ready", || self.admin("readyz").ok().filter(|text| text == "ready\n"))
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.process.log()));
    }

    /// Answer of the admin endpoint, an error with its text too.
    pub(super) fn admin(&self, path: &str) -> Result<String, String> {
        let url = format!("http://{}/{path}", self.admin);
        let done = Command::new("curl").args(["-sS", "--fail-with-body", &url]).output().unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        if done.status.success() { Ok(text) } else { Err(text) }
    }

    /// A value of a metric without labels.
    pub(super) fn metric(&self, name: &str) -> f64 {
        let text = self.admin("metrics").unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        value.parse().unwrap()
    }

    pub(super) fn port(&self) -> u16 {
        let resources: Value = serde_json::from_str(&self.admin("resources").unwrap()).unwrap();
        resources[0]["address"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
    }

    pub(super) fn psql(&self, login: &Login<'_>) -> Command {
        psql(self.port(), &self.ca, login)
    }

    /// Authority of its certificate.
    pub(super) fn ca(&self) -> &Path {
        &self.ca
    }

    /// Runs one command line as a role and gives what came of it.
    pub(super) fn run(&self, role: &str, token: &str, sql: &str) -> Answer {
        Answer::new(&self.psql(&login(role, token)).args(["-c", sql]).output().unwrap())
    }

    /// Begins one command line and does not wait for it.
    pub(super) fn begin(&self, role: &str, token: &str, sql: &str) -> Child {
        let mut command = self.psql(&login(role, token));
        command.args(["-c", sql]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let log = self.process.log();
        if std::thread::panicking() {
            println!("--- log of a gateway ---\n{log}");
        }
        let before = std::fs::read_to_string(&self.log).unwrap_or_default();
        std::fs::write(&self.log, before + &log).ok();
    }
}

impl Scene {
    /// Searches what gateways left, their logs, and the objects of the shop, for what must be in none of it.
    fn search(&self) -> anyhow::Result<()> {
        let secrets = self.shop.secrets();
        let files = std::fs::read_dir(self.directory.path())?.filter_map(Result::ok).map(|file| file.path());
        let (states, logs): (Vec<_>, Vec<_>) = files
            .filter(|path| path.join("audit").is_dir() || path.extension().is_some_and(|end| end == "log"))
            .partition(|path| path.is_dir());
        for state in &states {
            e2e::leaks::search_state(state, &logs, &secrets)?;
        }
        let kinds = "events,configmaps,approvalrequests,resources.portcullis.dev,policies.portcullis.dev";
        // whoever tested what happens without one has none
        let objects = self.server.kubectl(&["get", kinds, "-n", "shop", "-o", "yaml"]).unwrap_or_default();
        e2e::leaks::search_texts(&[("objects", objects)], &secrets)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking()
            && let Err(leak) = self.search()
        {
            panic!("{leak:#}");
        }
    }
}

impl Answer {
    pub(super) fn new(output: &Output) -> Self {
        Self {
            out: String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
            err: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
        }
    }

    /// Waits for its end.
    pub(super) fn of(mut child: Child) -> Self {
        let ended = wait_until("psql ends", || child.try_wait().unwrap());
        if ended.is_err() {
            child.kill().unwrap();
        }
        let answer = Self::new(&child.wait_with_output().unwrap());
        assert!(ended.is_ok(), "it did not end: {answer:?}");
        answer
    }
}

/// psql through the gateway at a port.
pub(super) fn psql(port: u16, ca: &Path, login: &Login<'_>) -> Command {
    let mut command = Command::new(tools::need("psql").unwrap());
    command.env_clear().env("PGPASSWORD", login.token).env("PGSSLROOTCERT", ca);
    command.env("PGSSLMODE", "verify-full").env("PGHOST", "localhost").env("PGHOSTADDR", "127.0.0.1");
    command.env("PGPORT", port.to_string()).env("PGUSER", login.role);
    command.env("PGDATABASE", login.database).args(["-X", "-At", "-v", "VERBOSITY=verbose"]);
    command
}

pub(super) fn login<'a>(role: &'a str, token: &'a str) -> Login<'a> {
    Login { role, database: DATABASE, token }
}

/// What the operator writes of an approval.
pub(super) fn approved(binding: &str) -> String {
    let condition = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": "Test", "message": "alice (dba)",
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let conditions = [condition("Approved", "True"), condition("ApproverBinding", binding)];
    json!({"status": {"conditions": conditions}}).to_string()
}

/// The object of a gateway's pod, which no node takes.
fn pod(name: &str) -> Value {
    let labels = json!({"portcullis.dev/resource": RESOURCE});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {
            "serviceAccountName": "orders-gateway", "automountServiceAccountToken": false,
            "containers": [{"name": "proxy", "image": "portcullis-proxy:e2e"}],
        },
    })
}

/// The gateway's service account with its rights, as the operator makes them; and what an approver needs.
const RIGHTS: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: {name: orders-gateway, namespace: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: orders-gateway, namespace: shop}
rules:
- {apiGroups: [portcullis.dev], resources: [resources], resourceNames: [orders], verbs: [get, list, watch]}
- {apiGroups: [portcullis.dev], resources: [resources/status], resourceNames: [orders], verbs: [get, patch]}
- {apiGroups: [portcullis.dev], resources: [policies], verbs: [get, list, watch]}
- {apiGroups: [portcullis.dev], resources: [approvalrequests], verbs: [create, get, list, watch]}
- {apiGroups: [portcullis.dev], resources: [approvalrequests/status], verbs: [get, patch, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: orders-gateway, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: orders-gateway}
subjects: [{kind: ServiceAccount, name: orders-gateway, namespace: shop}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: approvers, namespace: shop}
rules:
- {apiGroups: [portcullis.dev], resources: [approvalrequests], verbs: [get, list, patch]}
- {apiGroups: [portcullis.dev], resources: [policies], resourceNames: [agents], verbs: [approve]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: approvers, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: approvers}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: dba}]
";
