//! A node of our own: a network, a PID and a mount namespace in which a whole Kubernetes runs.

mod dns;
mod settings;

use super::component::Component;
use super::control_plane::{ControlPlane, Setup};
use super::directory::Directory;
use super::entrance::Entrance;
use super::programs::KUBERNETES;
use crate::image::Image;
use crate::process::wait_until;
use crate::tools;
use anyhow::{Context as _, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A running node. All of it ends with the value, or with this process: then the input of its first process ends, and
/// with that every process, mount and address of its namespaces.
#[derive(Debug)]
pub(super) struct Node {
    // Dropped in this order: with the first process everything else has ended already.
    _init: Component,
    plane: ControlPlane,
    _programs: Vec<Component>,
    relays: Mutex<Vec<Component>>,
    _directory: Directory,
    entrance: Entrance,
    bin: PathBuf,
}

/// Programs of Debian packages that it takes, beside Go; see `.ci/packages`.
pub(super) const NEEDED: [&str; 9] =
    ["unshare", "nsenter", "mount", "ip", "nft", "containerd", "containerd-shim-runc-v2", "ctr", "runc"];

impl Node {
    /// Starts one and waits until pods can run.
    pub(super) fn start() -> Result<Self> {
        let bin = KUBERNETES.build()?;
        let directory = Directory::new("portcullis-node-")?;
        let (init, entrance) = namespaces(directory.path(), &bin)?;
        let (relay, port) = way_in(&entrance, &bin)?;
        let mut containerd = containerd(&entrance)?;
        let plane = plane(&entrance, &bin, port)?;
        containerd
            .wait_for_line("containerd serves", |line| line.contains("successfully booted").then_some(()))?;
        load(&entrance, &pause(&bin)?)?;
        let mut programs = programs(&entrance, &plane)?;
        programs.push(containerd);
        programs.push(dns::start(&entrance, &plane)?);
        wait_until_ready(&plane)?;
        let relays = Mutex::new(vec![relay]);
        Ok(Self { _init: init, plane, _programs: programs, relays, _directory: directory, entrance, bin })
    }

    pub(super) fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    pub(super) fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    /// Writes an image into the node's store.
    pub(super) fn load(&self, image: &Image) -> Result<()> {
        load(&self.entrance, image)
    }

    /// An address in the node's network behind which a port of this machine's loopback is.
    pub(super) fn expose(&self, port: u16) -> Result<SocketAddr> {
        self.relay([
            (&self.entrance.network(), (ADDRESS, 0).into()),
            (OWN_NETWORK, (Ipv4Addr::LOCALHOST, port).into()),
        ])
    }

    /// A port of this machine's loopback behind which an address in the node's network is.
    pub(super) fn forward(&self, address: SocketAddr) -> Result<u16> {
        let listen = (OWN_NETWORK, (Ipv4Addr::LOCALHOST, 0).into());
        self.relay([listen, (&self.entrance.network(), address)]).map(|address| address.port())
    }

    fn relay(&self, ways: [(&str, SocketAddr); 2]) -> Result<SocketAddr> {
        let mut relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("relay-{}", relays.len());
        let (relay, address) = relay(&self.bin, &self.entrance.logs(), &name, ways)?;
        relays.push(relay);
        Ok(address)
    }
}

/// The namespaces, with a network and nothing running in them.
fn namespaces(directory: &Path, bin: &Path) -> Result<(Component, Entrance)> {
    let mut unshare = Command::new(tools::need("unshare")?);
    unshare.args(["--net", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child", "--", "sh"]);
    unshare.arg(tools::repository().join("e2e/cluster/init.sh")).arg(bin.join("node"));
    let state = Entrance { id: 0, directory: directory.to_owned() }.state();
    std::fs::create_dir(&state).context("create the node's directory")?;
    unshare.arg(&state).arg(ADDRESS.to_string());
    let mut init = Component::start("init", &mut unshare, &directory.join("log"))?;
    init.wait_for_line("the namespaces are there", |line| (line == "ready").then_some(()))?;
    let entrance = Entrance { id: init.id(), directory: directory.to_owned() };
    Ok((init, entrance))
}

/// The way from this machine's loopback to the API server. Its port is the same on both sides: so one kubeconfig is
/// right on both.
fn way_in(entrance: &Entrance, bin: &Path) -> Result<(Component, u16)> {
    let loopback: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let ways = [(OWN_NETWORK, loopback), (&entrance.network(), loopback)];
    let (relay, address) = relay(bin, &entrance.logs(), "relay-0", ways)?;
    Ok((relay, address.port()))
}

/// Passes connections on from one network to another; gives where it listens.
fn relay(
    bin: &Path,
    logs: &Path,
    name: &str,
    ways: [(&str, SocketAddr); 2],
) -> Result<(Component, SocketAddr)> {
    let mut command = Command::new(bin.join("node"));
    command.args(["tied", "relay"]);
    for (network, address) in ways {
        command.arg(network).arg(address.to_string());
    }
    let mut relay = Component::start(name, &mut command, logs)?;
    let address =
        relay.wait_for_line("it listens", |line| line.strip_prefix("listening on ")?.parse().ok())?;
    Ok((relay, address))
}

fn containerd(entrance: &Entrance) -> Result<Component> {
    let (config, network) = (entrance.directory.join("containerd.toml"), entrance.directory.join("cni"));
    std::fs::create_dir(&network).context("create the directory of the pods' network")?;
    let pods = settings::network(PODS, &entrance.state().join("cni"));
    std::fs::write(network.join("10-pods.conflist"), pods).context("write the pods' network")?;
    let text = settings::containerd(&entrance.state().join("containerd"), &entrance.containerd(), &network);
    std::fs::write(&config, text).context("write containerd's configuration")?;
    let mut command = entrance.place().command(&tools::need("containerd")?);
    command.arg("--config").arg(config);
    Component::start("containerd", &mut command, &entrance.logs())
}

fn plane(entrance: &Entrance, bin: &Path, port: u16) -> Result<ControlPlane> {
    let setup = Setup {
        place: entrance.place(),
        node: bin.join("node"),
        directory: entrance.directory.clone(),
        etcd: entrance.state().join("etcd"),
        port,
        arguments: vec![
            format!("--advertise-address={ADDRESS}"),
            format!("--service-cluster-ip-range={SERVICES}"),
            // The node's name is known to nobody.
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
        ],
    };
    ControlPlane::start(setup, &[&ADDRESS.to_string(), KUBERNETES_SERVICE], bin.join("kubectl"))
}

/// What runs beside the API server.
fn programs(entrance: &Entrance, plane: &ControlPlane) -> Result<Vec<Component>> {
    let pods = format!("--cluster-cidr={PODS}");
    let name = format!("--hostname-override={NAME}");
    let config = entrance.directory.join("kubelet.yaml");
    let group = entrance.directory.file_name().unwrap_or_default().to_string_lossy();
    std::fs::write(&config, settings::kubelet(&entrance.containerd(), &entrance.logs(), &group))
        .context("write the kubelet's configuration")?;
    let kubelet = [
        name.clone(),
        format!("--node-ip={ADDRESS}"),
        format!("--config={}", config.display()),
        format!("--root-dir={}", entrance.state().join("kubelet").display()),
        format!("--cert-dir={}", entrance.state().join("kubelet/pki").display()),
    ];
    // The table of connections is sized for the whole machine: it stays as it is.
    let proxy =
        [name, pods.clone(), "--proxy-mode=nftables".to_owned(), "--conntrack-max-per-core=0".to_owned()];
    Ok(vec![
        plane.controllers(&[&pods])?,
        plane.program("kube-scheduler", &["--leader-elect=false".to_owned()])?,
        plane.program("kubelet", &kubelet)?,
        plane.program("kube-proxy", &proxy)?,
    ])
}

fn wait_until_ready(plane: &ControlPlane) -> Result<()> {
    let node = format!("node/{NAME}");
    let wait = |what: &str, arguments: &[&str]| {
        wait_until(what, || plane.kubectl().run(arguments).ok())
            .map(drop)
            .with_context(|| format!("the logs are in {}", plane.logs().display()))
    };
    wait("the node is there", &["get", &node])?;
    wait("the node is ready", &["wait", "--for=condition=Ready", &node, "--timeout=5s"])?;
    let objects = ["get", "--namespace=default", "serviceaccount/default", "configmap/kube-root-ca.crt"];
    wait("pods have a service account", &objects)
}

fn load(entrance: &Entrance, image: &Image) -> Result<()> {
    // Several tests may be at it.
    let archive = tempfile::Builder::new().suffix(".tar").tempfile_in(&entrance.directory)?;
    image.write(archive.path())?;
    entrance.load_archive(archive.path())
}

/// What a pod's namespaces are held open by.
fn pause(bin: &Path) -> Result<Image> {
    Ok(Image::new(PAUSE).file(&bin.join("pause"), "/pause")?.entrypoint(&["/pause"]))
}

const NAME: &str = "node-0";
const PAUSE: &str = "localhost/pause:e2e";
/// The network that this process is in.
const OWN_NETWORK: &str = "/proc/self/ns/net";
/// The node's own address. Nothing of these networks is seen outside its namespace.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 1);
const PODS: &str = "10.81.0.0/16";
const SERVICES: &str = "10.82.0.0/16";
/// The first address of [`SERVICES`] is the API server's.
const KUBERNETES_SERVICE: &str = "10.82.0.1";
/// The address of the cluster's DNS.
const DNS: &str = "10.82.0.10";
