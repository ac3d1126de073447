//! A real Kubernetes for tests, built from Go modules: an API server alone, or a whole node.
//!
//! Neither needs a container engine. Both end with the value that started them, or with the process that did.

mod api_server;
mod component;
mod control_plane;
mod credentials;
mod directory;
mod entrance;
mod given;
mod kubectl;
mod node;
mod place;
pub mod programs;
mod skip;

pub use api_server::ApiServer;
pub use credentials::{ADMIN, USERS};
pub use entrance::Entrance;
pub use kubectl::Kubectl;

use crate::image::Image;
use crate::process::wait_until;
use crate::tools;
use anyhow::{Context as _, Result, anyhow, bail};
use given::Given;
use node::Node;
use programs::{DNS, HELM, KUBERNETES};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// A cluster that runs pods: a node of our own, or the cluster that `PORTCULLIS_E2E_KUBECONFIG` names.
///
/// The node is one machine's worth of namespaces: etcd, the API server, the controller manager, the scheduler, the
/// kubelet, kube-proxy and containerd, with a network from which no route leads out. Images are loaded, never pulled.
/// Its network does not enforce a `NetworkPolicy`.
#[derive(Debug)]
pub struct Cluster {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Own(Box<Node>),
    Given(Given),
}

impl Cluster {
    /// Builds what a node takes, which the first time is a matter of minutes; else [`Cluster::start`] does it.
    ///
    /// # Errors
    /// Go is not installed, or the build fails, with what it printed.
    pub fn build() -> Result<()> {
        KUBERNETES.build()?;
        DNS.build().map(drop)
    }

    /// Starts a node and waits until pods can run; or takes the cluster that `PORTCULLIS_E2E_KUBECONFIG` names.
    ///
    /// # Errors
    /// Something is missing, the build fails, or it does not get ready; with the log of what failed.
    pub fn start() -> Result<Self> {
        let kind = match std::env::var_os(GIVEN) {
            Some(kubeconfig) => Kind::Given(Given::new(Path::new(&kubeconfig))?),
            None => Kind::Own(Box::new(Node::start()?)),
        };
        Ok(Self { kind })
    }

    /// The cluster that all tests of this process share, started by the first that wants it. It ends with the process;
    /// its logs stay in the temporary directory until another is started.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// For tests: whether one can be had; if not, a skip is printed.
    ///
    /// # Panics
    /// With `CI=true`, where everything must be there.
    pub fn is_possible() -> bool {
        let built = KUBERNETES.is_built();
        if std::env::var_os(GIVEN).is_some() {
            return skip::is_possible(&["go"], built);
        }
        let programs: Vec<&str> = ["go"].into_iter().chain(node::NEEDED).collect();
        skip::is_possible(&programs, built && DNS.is_built()) && skip::is_root("a node of its own")
    }

    /// For tests: [`Cluster::shared`], but `None` if it is not possible.
    ///
    /// # Panics
    /// As [`Cluster::is_possible`], and if it does not start.
    pub fn or_skip() -> Option<&'static Self> {
        Self::is_possible().then(|| skip::started("a cluster", Self::shared()))
    }

    /// For tests of what only a node of our own can do, such as an API server that goes away: [`Cluster::or_skip`], but
    /// `None` after printing a skip if `PORTCULLIS_E2E_KUBECONFIG` names another cluster.
    ///
    /// # Panics
    /// As [`Cluster::or_skip`].
    pub fn own_or_skip() -> Option<&'static Self> {
        skip::is_unset(GIVEN).then(Self::or_skip).flatten()
    }

    /// kubectl, to run it in ways that are not here.
    pub fn client(&self) -> &Kubectl {
        match &self.kind {
            Kind::Own(node) => node.plane().kubectl(),
            Kind::Given(given) => given.kubectl(),
        }
    }

    /// Runs kubectl as the administrator and gives what it printed.
    ///
    /// # Errors
    /// It fails, with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.client().run(arguments)
    }

    /// Runs kubectl as one of [`USERS`].
    ///
    /// # Errors
    /// It fails, with what it said.
    pub fn kubectl_as(&self, user: &str, arguments: &[&str]) -> Result<String> {
        self.client().run_as(user, arguments)
    }

    /// Applies manifests as the administrator.
    ///
    /// # Errors
    /// It fails, with what it said.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        self.client().apply(manifests)
    }

    /// A kubeconfig with a context for each of [`USERS`], for use on this machine; the administrator's is the current.
    pub fn kubeconfig(&self) -> &Path {
        self.client().kubeconfig()
    }

    /// Writes an image where pods find it.
    ///
    /// # Errors
    /// A file of it cannot be read, or the cluster does not take it.
    pub fn load(&self, image: &Image) -> Result<()> {
        match &self.kind {
            Kind::Own(node) => node.load(image),
            Kind::Given(given) => given.load(image),
        }
    }

    /// Writes the images of an archive where pods find them.
    ///
    /// # Errors
    /// The cluster does not take it.
    pub fn load_archive(&self, archive: &Path) -> Result<()> {
        match &self.kind {
            Kind::Own(node) => node.entrance().load_archive(archive),
            Kind::Given(given) => given.load_archive(archive),
        }
    }

    /// A command of a program that runs in the node's network, where addresses of Services and pods lead somewhere.
    ///
    /// # Errors
    /// The program is not installed, or the cluster is not one that this process started.
    pub fn command(&self, program: &str) -> Result<Command> {
        Ok(self.own("run a program in its network")?.entrance().command(&tools::need(program)?))
    }

    /// Runs a program in the node's network and gives what it printed.
    ///
    /// # Errors
    /// As [`Cluster::command`], and if it fails, with what it said.
    pub fn exec(&self, program: &str, arguments: &[impl AsRef<OsStr>]) -> Result<String> {
        component::output(self.command(program)?.args(arguments), "")
    }

    /// Runs helm as the administrator and gives what it printed. It is built when it is first wanted.
    ///
    /// # Errors
    /// It cannot be built, or fails, with what it said.
    pub fn helm(&self, arguments: &[impl AsRef<OsStr>]) -> Result<String> {
        component::output(self.helm_command()?.args(arguments), "")
    }

    /// The helm command itself. What it caches and configures is the cluster's, not the user's.
    ///
    /// # Errors
    /// It cannot be built.
    pub fn helm_command(&self) -> Result<Command> {
        let mut helm = Command::new(HELM.build()?.join("helm"));
        helm.env("KUBECONFIG", self.kubeconfig());
        for (variable, directory) in [
            ("HELM_CACHE_HOME", "helm-cache"),
            ("HELM_CONFIG_HOME", "helm-config"),
            ("HELM_DATA_HOME", "helm-data"),
        ] {
            helm.env(variable, self.kubeconfig().with_file_name(directory));
        }
        Ok(helm)
    }

    /// Makes a port of this machine's loopback reachable for pods; gives the address that they use.
    ///
    /// # Errors
    /// The cluster is not one that this process started.
    pub fn expose(&self, port: u16) -> Result<SocketAddr> {
        self.own("expose a port")?.expose(port)
    }

    /// Makes an address of a Service or a pod reachable on this machine's loopback; gives the port.
    ///
    /// # Errors
    /// The cluster is not one that this process started.
    pub fn forward(&self, address: SocketAddr) -> Result<u16> {
        self.own("forward a port")?.forward(address)
    }

    /// Kills what runs in a pod, as a crash would; the kubelet starts it again. Returns when the kubelet has noticed:
    /// until then the pod counts as ready, and the Service still leads to it.
    ///
    /// # Errors
    /// There is no such pod, nothing runs in it, the kubelet does not notice, or the cluster is not one that this
    /// process started.
    pub fn kill_containers(&self, namespace: &str, pod: &str) -> Result<()> {
        let entrance = self.own("kill a container")?.entrance();
        let killed = self.running(namespace, pod)?;
        anyhow::ensure!(!killed.is_empty(), "nothing runs in {namespace}/{pod}");
        for id in &killed {
            entrance.kill(id.strip_prefix("containerd://").context("containerd does not run it")?)?;
        }
        // a pod that is gone runs nothing either
        let noticed = || {
            let running = self.running(namespace, pod).unwrap_or_default();
            running.iter().all(|id| !killed.contains(id)).then_some(())
        };
        wait_until("the kubelet notices that containers were killed", noticed)
    }

    /// The containers of a pod that run, as its status has them.
    fn running(&self, namespace: &str, pod: &str) -> Result<Vec<String>> {
        let pod = self.client().get(&["pod", pod, "--namespace", namespace])?;
        let statuses = pod.pointer("/status/containerStatuses").and_then(serde_json::Value::as_array);
        let running =
            statuses.into_iter().flatten().filter(|status| status.pointer("/state/running").is_some());
        let ids = running.filter_map(|status| status.get("containerID")?.as_str());
        Ok(ids.map(str::to_owned).collect())
    }

    /// Ends the API server as a crash would; pods run on.
    ///
    /// # Errors
    /// The cluster is not one that this process started.
    pub fn stop_api_server(&self) -> Result<()> {
        self.own("stop its API server")?.plane().stop_server();
        Ok(())
    }

    /// Starts the API server again and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready, with its log; or the cluster is not one that this process started.
    pub fn start_api_server(&self) -> Result<()> {
        self.own("start its API server")?.plane().start_server()
    }

    /// [`Cluster::stop_api_server`] and [`Cluster::start_api_server`].
    ///
    /// # Errors
    /// As those.
    pub fn restart_api_server(&self) -> Result<()> {
        self.stop_api_server()?;
        self.start_api_server()
    }

    /// Every write that the API server was asked for so far, whatever came of it, as audit events without bodies.
    ///
    /// # Errors
    /// The cluster is not one that this process started.
    pub fn audit(&self) -> Result<Vec<serde_json::Value>> {
        self.own("read its audit log")?.plane().audit()
    }

    /// Where another process finds the node.
    ///
    /// # Errors
    /// The cluster is not one that this process started.
    pub fn entrance(&self) -> Result<&Entrance> {
        Ok(self.own("say where its node is")?.entrance())
    }

    fn own(&self, what: &str) -> Result<&Node> {
        match &self.kind {
            Kind::Own(node) => Ok(node),
            Kind::Given(_) => bail!("cannot {what}: {GIVEN} names a cluster that is not the tests' own"),
        }
    }
}

/// Names the kubeconfig of a cluster to use.
const GIVEN: &str = "PORTCULLIS_E2E_KUBECONFIG";
