//! A namespace with a database behind a gateway, on a cluster where the chart is installed.

use anyhow::{Context as _, Result, ensure};
use e2e::cluster::Cluster;
use e2e::image::Image;
use e2e::postgres::Postgres;
use e2e::process::wait_until;
use e2e::tools;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tempfile::NamedTempFile;

/// A value of a masked column: it must be seen nowhere but in the server.
pub(crate) const CANARY: &str = "078-05-1120";

/// Where the chart is installed.
pub(crate) const SYSTEM: &str = "portcullis-system";

/// What the chart is told here: the images of this build, and for whom gateways may act. Every upgrade says so again.
pub(crate) const SETTINGS: [&str; 4] = [
    "--set=image.repository=localhost/portcullis-operator,image.tag=e2e",
    "--set=proxy.image.repository=localhost/portcullis-proxy,proxy.image.tag=e2e",
    "--set=impersonation.enabled=true,impersonation.namespaces={cluster-story}",
    "--set=impersonation.users={agent:system:serviceaccount:cluster-story:agent}",
];

/// One story's namespace.
pub(crate) struct Scene {
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: String,
    pub(crate) server: Postgres,
    authority: NamedTempFile,
    address: String,
    /// Of the tokens that were given out.
    signatures: Mutex<Vec<String>>,
    _undisturbed: Undisturbed,
}

/// Stories that need the API server all the time hold the lock for reading; the one that stops it, for writing.
static API_SERVER: RwLock<()> = RwLock::new(());

/// Keeps the API server and the operator as they are, as long as the value lives.
pub(crate) fn undisturbed() -> RwLockReadGuard<'static, ()> {
    API_SERVER.read().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the installed release as it is, as long as the value lives: helm refuses an upgrade while another one runs,
/// and an upgrade by the guide forgets what another story has set.
pub(crate) fn release_alone() -> MutexGuard<'static, ()> {
    static RELEASE: Mutex<()> = Mutex::new(());
    RELEASE.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Undisturbed {
    Shared(#[expect(dead_code, reason = "held")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>),
}

/// The cluster with the chart installed; `None` where there can be none.
pub(crate) fn installed() -> Option<&'static Cluster> {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let cluster = Cluster::or_skip()?;
    INSTALLED.get_or_init(|| install(cluster).unwrap());
    Some(cluster)
}

fn install(cluster: &Cluster) -> Result<()> {
    for binary in ["portcullis-operator", "portcullis-proxy"] {
        cluster.load(&Image::own(binary)?)?;
    }
    let chart = chart();
    let install = ["install", "portcullis", &chart, "--namespace", SYSTEM, "--create-namespace"];
    cluster.helm(&[&install[..], &SETTINGS, &["--wait", "--timeout=120s"]].concat())?;
    Ok(())
}

impl Scene {
    /// A namespace of its own, with a database, a Resource and a Policy, whose gateways answer.
    pub(crate) fn set(namespace: &str) -> Option<Self> {
        Self::set_with(namespace, GATEWAY, "")
    }

    /// As [`Scene::set`], with another `spec.gateway` and further manifests.
    pub(crate) fn set_with(namespace: &str, gateway: &str, more: &str) -> Option<Self> {
        let cluster = installed()?;
        let shared = Undisturbed::Shared(undisturbed());
        Some(Self::try_set(cluster, namespace, &[gateway, more], shared).unwrap())
    }

    /// As [`Scene::set`], with the cluster for itself: nobody else minds what becomes of the API server, or the operator.
    pub(crate) fn set_alone(namespace: &str) -> Option<Self> {
        Self::set_alone_with(namespace, GATEWAY, "")
    }

    /// As [`Scene::set_alone`], with another `spec.gateway` and further manifests.
    pub(crate) fn set_alone_with(namespace: &str, gateway: &str, more: &str) -> Option<Self> {
        let cluster = installed()?;
        let alone = Undisturbed::Alone(API_SERVER.write().unwrap_or_else(PoisonError::into_inner));
        Some(Self::try_set(cluster, namespace, &[gateway, more], alone).unwrap())
    }

    fn try_set(
        cluster: &'static Cluster,
        namespace: &str,
        [gateway, more]: &[&str; 2],
        undisturbed: Undisturbed,
    ) -> Result<Self> {
        let server = Postgres::start(&["log_statement=all"])?;
        server.sql("postgres", "create database shop")?;
        server.sql("shop", TABLES)?;
        let upstream = cluster.expose(server.port())?;
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        cluster.apply(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
                .to_string(),
        )?;
        wait_until("the cluster's authority is in the namespace", || {
            cluster.kubectl(&["get", "configmap/kube-root-ca.crt", "--namespace", namespace]).ok()
        })?;
        let authority = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "orders-ca"},
            "data": {"ca.crt": server.authority().pem()},
        });
        let manifests = MANIFESTS
            .replace("UPSTREAM_HOST", &upstream.ip().to_string())
            .replace("UPSTREAM_PORT", &upstream.port().to_string())
            .replace("GATEWAY", gateway)
            .replace("NAMESPACE", namespace);
        let mut command = cluster.client().command();
        command.args(["apply", "--server-side", "--namespace", namespace, "-f", "-"]);
        feed(&mut command, &format!("{authority}\n---\n{more}\n---\n{manifests}---\n{APPROVERS}"))?;
        cluster.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "resource.portcullis.dev/orders",
            "policy.portcullis.dev/agents",
            "--namespace",
            namespace,
            "--timeout=60s",
        ])?;
        let service = cluster.client().get(&["service/orders-gateway", "--namespace", namespace])?;
        let address = service["spec"]["clusterIP"].as_str().context("a Service without address")?.to_owned();
        let published = cluster.client().get(&["configmap/orders-gateway-ca", "--namespace", namespace])?;
        let authority = NamedTempFile::new()?;
        std::fs::write(authority.path(), published["data"]["ca.crt"].as_str().context("no ca.crt")?)?;
        let namespace = namespace.to_owned();
        let signatures = Mutex::default();
        let scene =
            Self { cluster, namespace, server, authority, address, signatures, _undisturbed: undisturbed };
        // Nodes route to a Service a moment after its pods are ready.
        wait_until("the Service answers", || {
            let output = scene.psql("readonly", "default", "select 1").output().ok()?;
            (!printed(&output).contains("Connection refused")).then_some(())
        })?;
        Ok(scene)
    }

    /// A token of a service account for the Resource, as the kubelet would project it.
    pub(crate) fn token(&self, account: &str) -> String {
        let audience = format!("--audience=orders.{}", self.namespace);
        let token = self.kubectl(&["create", "token", account, &audience]).trim().to_owned();
        let signature = token.rsplit('.').next().unwrap_or_default().to_owned();
        self.signatures.lock().unwrap_or_else(PoisonError::into_inner).push(signature);
        token
    }

    /// psql in the cluster's network, through the gateway.
    pub(crate) fn psql(&self, role: &str, account: &str, sql: &str) -> Command {
        self.psql_at(&self.address, role, account, sql)
    }

    /// As [`Scene::psql`], at another address than the Service's.
    pub(crate) fn psql_at(&self, address: &str, role: &str, account: &str, sql: &str) -> Command {
        let mut command = self.cluster.command("psql").unwrap();
        let host = format!("orders-gateway.{}.svc", self.namespace);
        let connection = format!(
            "host={host} hostaddr={address} port=5432 dbname=shop user={role} sslmode=verify-full sslrootcert={}",
            self.authority.path().display()
        );
        command.env("PGPASSWORD", self.token(account)).args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &connection,
        ]);
        if !sql.is_empty() {
            command.args(["-c", sql]);
        }
        command
    }

    /// kubectl in the namespace, as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl("admin", arguments).unwrap()
    }

    /// kubectl in the namespace.
    pub(crate) fn try_kubectl(&self, user: &str, arguments: &[&str]) -> Result<String> {
        let namespace = format!("--namespace={}", self.namespace);
        self.cluster.kubectl_as(user, &[arguments, &[&namespace]].concat())
    }

    /// Names of the gateway's pods that are not on their way out.
    pub(crate) fn gateways(&self) -> Vec<String> {
        let pods = self.get("pods");
        let pods = pods["items"].as_array().unwrap().iter().filter(|pod| {
            pod["metadata"]["labels"]["portcullis.dev/resource"] == "orders"
                && pod["metadata"]["deletionTimestamp"].is_null()
        });
        pods.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until as many gateways as there should be are ready, and none is left of those before.
    pub(crate) fn all_ready(&self) {
        self.kubectl(&["rollout", "status", "deployment/orders-gateway", "--timeout=120s"]);
        wait_until("all gateways are ready", || {
            let pods = self.get("pods");
            let pods = pods["items"].as_array()?.iter();
            let pods: Vec<&Value> =
                pods.filter(|pod| pod["metadata"]["labels"]["portcullis.dev/resource"] == "orders").collect();
            let is_ready = |pod: &&Value| {
                let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
                pod["metadata"]["deletionTimestamp"].is_null()
                    && conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
            };
            (pods.len() == 2 && pods.iter().all(is_ready)).then_some(())
        })
        .unwrap();
        // and the node routes to them
        wait_until("the Service answers", || {
            (0..4).all(|_| self.run("readonly", "ci", "select count(*) from orders").0).then_some(())
        })
        .unwrap();
    }

    /// An object or a list of the namespace.
    pub(crate) fn get(&self, what: &str) -> Value {
        self.cluster.client().get(&[what, "--namespace", &self.namespace]).unwrap()
    }

    /// Runs a statement in a session of its own: whether it went well, and what was printed.
    pub(crate) fn run(&self, role: &str, account: &str, sql: &str) -> (bool, String) {
        let output = self.psql(role, account, sql).output().unwrap();
        (output.status.success(), printed(&output))
    }

    /// Starts a command that is to be held, and waits for its request.
    pub(crate) fn hold(&self, role: &str, account: &str, sql: &str) -> (Child, String) {
        let mut command = self.psql(role, account, sql);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let request = wait_until("the command is held", || {
            if child.try_wait().unwrap().is_some() {
                return Some(None);
            }
            let list = self.get("approvalrequests");
            let items = list["items"].as_array()?;
            let open = items
                .iter()
                .find(|item| item["status"]["conditions"].as_array().is_none_or(Vec::is_empty))?;
            Some(Some(open["metadata"]["name"].as_str()?.to_owned()))
        });
        match request.unwrap() {
            Some(request) => (child, request),
            None => panic!("not held: {}", printed(&child.wait_with_output().unwrap())),
        }
    }
}

impl Scene {
    /// Searches Events, requests for approvals and whatever else the cluster shows of this namespace, and what the
    /// gateways and the operator log, for what must be in none of it.
    fn search(&self) -> Result<()> {
        let mut secrets = self.signatures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        secrets.extend([CANARY, "upstream-credential-that-no-client-sees"].map(str::to_owned));
        let mut texts = Vec::new();
        for kind in ["events", "approvalrequests", "resources.portcullis.dev", "configmaps", "pods"] {
            texts.push((kind, self.try_kubectl("admin", &["get", kind, "--output=yaml"])?));
        }
        let logs = |selector: &str, namespace: &str| {
            let selector = format!("--selector={selector}");
            self.cluster.kubectl(&["logs", &selector, "--tail=-1", "--namespace", namespace])
        };
        // pods that are starting or gone have none
        texts.extend(
            logs("portcullis.dev/resource=orders", &self.namespace).ok().map(|log| ("gateways", log)),
        );
        texts.extend(
            logs("app.kubernetes.io/name=portcullis-operator", SYSTEM).ok().map(|log| ("operator", log)),
        );
        e2e::leaks::search_texts(&texts, &secrets)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking()
            && let Err(leak) = self.search()
        {
            panic!("{leak:#}");
        }
        // what nobody looks at any more need not run beside the other stories
        self.try_kubectl("admin", &["delete", "resources.portcullis.dev", "--all", "--wait=false"]).ok();
    }
}

/// Path of the chart.
pub(crate) fn chart() -> String {
    tools::repository().join("charts/portcullis").to_string_lossy().into_owned()
}

/// An image with psql and a shell, as `postgres:17-alpine` has them.
pub(crate) const PSQL: &str = "localhost/psql:e2e";

/// Writes the image [`PSQL`] where pods find it.
pub(crate) fn load_psql(cluster: &Cluster) -> Result<()> {
    let image = Image::new(PSQL).client()?.program(&tools::need("psql")?, "/bin/psql")?;
    let image = image.program(Path::new("/bin/sh"), "/bin/sh")?;
    cluster.load(&image.program(Path::new("/bin/cat"), "/bin/cat")?)
}

/// Runs a command with an input, and wants it to succeed.
pub(crate) fn feed(command: &mut Command, input: &str) -> Result<()> {
    use std::io::Write as _;
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let done = child.wait_with_output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// What a command printed, both streams.
pub(crate) fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The usual `spec.gateway`.
const GATEWAY: &str = "{drainSeconds: 20}";

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: orders-readonly}
stringData: {username: readonly, password: upstream-credential-that-no-client-sees}
---
apiVersion: v1
kind: Secret
metadata: {name: orders-app}
stringData: {username: app, password: upstream-credential-that-no-client-sees}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: agent}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: ci}
---
apiVersion: portcullis.dev/v1alpha1
kind: Resource
metadata: {name: orders}
spec:
  postgresql:
    host: UPSTREAM_HOST
    port: UPSTREAM_PORT
    tls: {mode: VerifyCa, caRef: {name: orders-ca, key: ca.crt}}
    roles:
    - {name: readonly, credentialsRef: {name: orders-readonly}}
    - {name: app, credentialsRef: {name: orders-app}}
  authentication:
    issuers:
    - issuer: https://kubernetes.default.svc
      audiences: [orders.NAMESPACE]
      caRef: {name: kube-root-ca.crt, key: ca.crt}
  gateway: GATEWAY
---
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: agents}
spec:
  targetRefs: [{name: orders}]
  subjects: [{user: "system:serviceaccount:NAMESPACE:agent"}]
  rules:
  - {name: sessions, action: Allow, postgresql: {effects: [Connect, Transaction, Set]}}
  - {name: reads, action: Allow, postgresql: {effects: [Select], relations: ["public.*", "pg_catalog.*"]}}
  - {name: bounded-writes, action: Allow, postgresql: {effects: [Insert, Update, Delete], unbounded: false}, roles: [app]}
  - name: unbounded-writes
    action: Hold
    postgresql: {effects: [Update, Delete], unbounded: true}
    roles: [app]
    approval: {timeoutSeconds: 300, reviewers: [{group: dba, count: 1}], onDisconnect: Claimable}
  - {name: no-drops, action: Deny, postgresql: {effects: [Drop, Truncate]}, message: "Ask #dba."}
  masking:
  - {columns: ["public.users.ssn"], with: {type: Redact}}
---
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: ci}
spec:
  targetRefs: [{name: orders}]
  subjects: [{user: "system:serviceaccount:NAMESPACE:ci"}]
  rules:
  - {name: sessions, action: Allow, postgresql: {effects: [Connect]}}
  - {name: orders-only, action: Allow, postgresql: {effects: [Select], relations: ["public.orders"]}}
"#;

/// The group `dba` may decide on what the Policy `agents` holds.
pub(crate) const APPROVERS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: approvers}
rules:
- {apiGroups: [portcullis.dev], resources: [policies], resourceNames: [agents], verbs: [approve]}
- {apiGroups: [portcullis.dev], resources: [approvalrequests], verbs: [get, list, watch, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: approvers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: approvers}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: dba}]
";

const TABLES: &str = "
create role readonly login password 'upstream-credential-that-no-client-sees';
create role app login password 'upstream-credential-that-no-client-sees';
create table users (id int primary key, name text, ssn text);
insert into users values (1, 'Ada', '078-05-1120');
create table orders (id int primary key, note text);
insert into orders select i, 'order ' || i from generate_series(1, 10) i;
grant select on all tables in schema public to readonly;
grant select, insert, update, delete, truncate on all tables in schema public to app;
";
