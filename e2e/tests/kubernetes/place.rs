//! A namespace whose gateways lead to something other than a database, and an agent outside of it.

use crate::claim::Claim;
use crate::scene::{installed, printed, undisturbed};
use anyhow::Result;
use e2e::cluster::Cluster;
use e2e::image::Image;
use e2e::process::wait_until;
use e2e::tools;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::RwLockReadGuard;
use tempfile::TempDir;

/// An image with a shell, a few programs and an SSH server.
pub(crate) const HOST: &str = "localhost/host:e2e";

/// The namespace, and what the agent has on its machine.
pub(crate) struct Place {
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: &'static str,
    /// Where its gateways keep their logs.
    pub(crate) claim: Claim,
    /// The agent's files.
    pub(crate) home: TempDir,
    _undisturbed: RwLockReadGuard<'static, ()>,
}

impl Place {
    /// The namespace with these manifests, in which `NAMESPACE` stands for it. `None`: skipped.
    pub(crate) fn set(namespace: &'static str, manifests: &str) -> Option<Self> {
        let cluster = installed()?;
        let (claim, home) = (Claim::new(), tempfile::tempdir().unwrap());
        let place = Self { cluster, namespace, claim, home, _undisturbed: undisturbed() };
        place.fill(manifests).unwrap();
        Some(place)
    }

    fn fill(&self, manifests: &str) -> Result<()> {
        let mut image = Image::new(HOST)
            .client()?
            .text("/etc/passwd", "root:x:0:0::/:/bin/sh\nnonroot:x:65532:65532::/tmp:/bin/sh\n");
        for program in ["sh", "cat", "sleep", "id", "sshd"] {
            let place =
                if program == "sshd" { "/usr/sbin/sshd".to_owned() } else { format!("/bin/{program}") };
            image = image.program(&tools::need(program)?, &place)?;
        }
        self.cluster.load(&image)?;
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels},
        });
        self.cluster.apply(&namespace.to_string())?;
        for object in ["configmap/kube-root-ca.crt", "serviceaccount/default"] {
            wait_until("the namespace has what pods need", || self.kubectl(&["get", object]).ok())?;
        }
        let manifests = manifests.replace("NAMESPACE", self.namespace);
        let claim = self.claim.manifests(self.namespace);
        let mut command = self.cluster.client().command();
        command.args(["apply", "--server-side", "--namespace", self.namespace, "--filename", "-"]);
        crate::scene::feed(&mut command, &format!("{claim}---\n{manifests}"))
    }

    /// kubectl in the namespace, as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let namespace = format!("--namespace={}", self.namespace);
        self.cluster.kubectl(&[arguments, &[&namespace]].concat())
    }

    /// Waits until a Resource, a Policy or a pod is ready, or something else of it is true.
    pub(crate) fn wait(&self, condition: &str, objects: &[&str]) {
        let condition = format!("--for=condition={condition}");
        self.kubectl(&[&["wait", &condition, "--timeout=60s"][..], objects].concat()).unwrap();
    }

    /// Makes a Resource's gateway reachable on this machine; gives its address.
    pub(crate) fn reach(&self, resource: &str, port: u16) -> String {
        let service = format!("service/{resource}-gateway");
        let service = self.cluster.client().get(&[&service, "--namespace", self.namespace]).unwrap();
        let address = service["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
        let forwarded = self.cluster.forward(SocketAddr::new(address, port)).unwrap();
        format!("127.0.0.1:{forwarded}")
    }

    /// A file with a token of the service account `agent` for an audience, as the kubelet would project it.
    pub(crate) fn token(&self, audience: &str) -> std::path::PathBuf {
        let token = self.kubectl(&["create", "token", "agent", "--audience", audience]).unwrap();
        let file = self.home.path().join("token");
        std::fs::write(&file, token.trim()).unwrap();
        file
    }

    /// `portcullis` for this cluster.
    pub(crate) fn portcullis(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(tools::own("portcullis").unwrap());
        command.env_remove("PORTCULLIS_STATE").env("KUBECONFIG", self.cluster.kubeconfig());
        command.args(arguments);
        command
    }

    /// Every session replayed: what the investigator sees.
    pub(crate) fn replayed(&self) -> String {
        let spool = self.claim.path().to_str().unwrap();
        let sessions = run(&mut self.portcullis(&["sessions", "-o", "json", "--spool", spool]));
        let sessions: serde_json::Value = serde_json::from_str(&sessions).unwrap();
        let replay = |session: &serde_json::Value| {
            let id = session["id"].as_str().unwrap();
            run(&mut self.portcullis(&["replay", id, "--spool", spool]))
        };
        sessions.as_array().unwrap().iter().map(replay).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // what nobody looks at any more need not run beside the other stories
        self.kubectl(&["delete", "resources.portcullis.dev", "--all", "--wait=false"]).ok();
    }
}

/// Runs a command that must succeed; gives what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", printed(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must be refused; gives what it said.
pub(crate) fn refused(command: &mut Command) -> (Option<i32>, String) {
    let output: Output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?}: {}", printed(&output));
    (output.status.code(), printed(&output))
}

/// Whether a text is in any file below a directory.
pub(crate) fn is_below(directory: &Path, text: &str) -> bool {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        if path.is_dir() {
            return is_below(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}
