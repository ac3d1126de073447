//! etcd and the API server, wherever they run.

use super::component::Component;
use super::credentials::Credentials;
use super::kubectl::Kubectl;
use super::place::Place;
use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a control plane is started with.
#[derive(Debug)]
pub(super) struct Setup {
    /// Where its programs run.
    pub place: Place,
    /// The program that is all of Kubernetes.
    pub node: PathBuf,
    /// Where files are that both sides see: credentials, logs, the audit log.
    pub directory: PathBuf,
    /// Where etcd keeps its data and its sockets.
    pub etcd: PathBuf,
    /// Port of the API server.
    pub port: u16,
    /// Further arguments of the API server.
    pub arguments: Vec<String>,
}

/// A running etcd and API server.
#[derive(Debug)]
pub(super) struct ControlPlane {
    setup: Setup,
    credentials: Credentials,
    kubectl: Kubectl,
    /// `None` while it is away.
    server: Mutex<Option<Component>>,
    _etcd: Component,
}

impl ControlPlane {
    /// Starts both and waits until the API server is ready.
    pub(super) fn start(setup: Setup, names: &[&str], program: PathBuf) -> Result<Self> {
        let credentials = Credentials::write(&setup.directory.join("pki"), names)?;
        let kubeconfig = setup.directory.join("kubeconfig");
        fs::write(&kubeconfig, credentials.kubeconfig(setup.port)).context("write the kubeconfig")?;
        fs::write(setup.directory.join(AUDIT_POLICY), audit_policy().to_string())
            .context("write the audit policy")?;
        let etcd = start_etcd(&setup)?;
        let kubectl = Kubectl { program, kubeconfig };
        let plane = Self { setup, credentials, kubectl, server: Mutex::new(None), _etcd: etcd };
        plane.start_server()?;
        Ok(plane)
    }

    /// Starts the API server, if it does not run, and waits until it is ready.
    pub(super) fn start_server(&self) -> Result<()> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if server.is_some() {
            return Ok(());
        }
        let setup = &self.setup;
        let mut command = setup.place.command(&setup.node);
        command.args(["tied", "kube-apiserver"]).args(self.credentials.arguments());
        command.args([
            format!("--etcd-servers=unix://{}", setup.etcd.join(CLIENTS).display()),
            format!("--secure-port={}", setup.port),
            format!("--audit-policy-file={}", setup.directory.join(AUDIT_POLICY).display()),
            format!("--audit-log-path={}", self.audit_log().display()),
        ]);
        command.args([
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
        ]);
        command.args(["--allow-privileged=true", "--profiling=false"]).args(&setup.arguments);
        let mut started = Component::start("kube-apiserver", &mut command, &self.logs())?;
        started.wait_until("the API server is ready", || {
            // A connection costs less than kubectl does.
            std::net::TcpStream::connect(("127.0.0.1", setup.port)).ok()?;
            self.kubectl.run(&["get", "--raw", "/readyz"]).ok()
        })?;
        *server = Some(started);
        Ok(())
    }

    /// Ends the API server as a crash would.
    pub(super) fn stop_server(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(server);
    }

    /// Starts another program of Kubernetes, which is the administrator.
    pub(super) fn program(&self, name: &str, arguments: &[String]) -> Result<Component> {
        let mut command = self.setup.place.command(&self.setup.node);
        command.args(["tied", name]).args(arguments);
        command.arg(format!("--kubeconfig={}", self.kubectl.kubeconfig.display()));
        Component::start(name, &mut command, &self.logs())
    }

    /// Starts the controller manager.
    pub(super) fn controllers(&self, arguments: &[&str]) -> Result<Component> {
        let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        all.extend([
            "--leader-elect=false".to_owned(),
            "--use-service-account-credentials".to_owned(),
            format!("--service-account-private-key-file={}", self.credentials.accounts().display()),
            format!("--root-ca-file={}", self.credentials.authority().display()),
        ]);
        self.program("kube-controller-manager", &all)
    }

    pub(super) fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.setup.directory.join("log")
    }

    /// Every write that the API server was asked for, as audit events.
    pub(super) fn audit(&self) -> Result<Vec<Value>> {
        read_events(&self.audit_log())
    }

    fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }
}

fn start_etcd(setup: &Setup) -> Result<Component> {
    let socket = |name: &str| format!("unix://{}", setup.etcd.join(name).display());
    let mut command = setup.place.command(&setup.node);
    // What a crash of the machine would lose is of no worth to anybody.
    command.args(["tied", "etcd", "--unsafe-no-fsync"]).arg("--data-dir").arg(setup.etcd.join("data"));
    command.args(["--listen-client-urls", &socket(CLIENTS), "--listen-peer-urls", &socket(PEERS)]);
    // It insists on a host and a port to advertise, though nobody follows them.
    command.args(["--advertise-client-urls", "http://127.0.0.1:2379"]);
    let mut etcd = Component::start("etcd", &mut command, &setup.directory.join("log"))?;
    etcd.wait_for_line("etcd serves", |line| line.contains("ready to serve client requests").then_some(()))?;
    Ok(etcd)
}

fn read_events(log: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(log).with_context(|| format!("read {}", log.display()))?;
    // The last line may be half written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).map_err(|error| anyhow!("{error}: {line}"))).collect()
}

fn audit_policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
            {"level": "None"},
        ],
    })
}

const AUDIT_POLICY: &str = "audit-policy.yaml";
const CLIENTS: &str = "clients.sock";
const PEERS: &str = "peers.sock";
