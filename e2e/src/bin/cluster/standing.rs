//! Clusters that stay: one process owns each; what is known of it is beside the programs in `target/e2e/cluster`.

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use e2e::cluster::{ADMIN, ApiServer, Cluster, Entrance, USERS, programs};
use e2e::process::wait_until;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What can be left running.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// A node that runs pods.
    Node,
    /// An API server.
    ApiServer,
    /// And the controller manager.
    ApiServerWithControllers,
}

/// What a cluster that is ready says of itself.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Ready {
    /// Its kubeconfig.
    pub kubeconfig: PathBuf,
    /// Its owner's process id.
    owner: u32,
    /// The way into the node, if there is one.
    pub node: Option<Entrance>,
}

/// Starts a cluster, or finds it running, and says how to use it.
pub(crate) fn up(kind: Kind) -> Result<()> {
    let bin = programs::KUBERNETES.build()?;
    if matches!(kind, Kind::Node) {
        // Its owner is waited for no longer than it takes to start.
        Cluster::build()?;
    }
    let ready = if let Some(ready) = running(kind)? { ready } else { start(kind)? };
    let users: Vec<String> = USERS.iter().map(|(user, group)| format!("{user} ({group})")).collect();
    let mut out = anstream::stdout().lock();
    writeln!(out, "It is up. kubectl for it, as {ADMIN}:")?;
    writeln!(out, "  export KUBECONFIG={} PATH={}:$PATH", ready.kubeconfig.display(), bin.display())?;
    writeln!(out, "  kubectl get namespaces")?;
    writeln!(out, "With --context=NAME you are one of {}.", users.join(", "))?;
    Ok(())
}

/// Stops whichever of them run.
pub(crate) fn down(kinds: &[Kind]) -> Result<()> {
    let mut stopped = false;
    for kind in kinds.iter().copied() {
        let Some(ready) = running(kind)? else { continue };
        let done = Command::new("kill").arg(ready.owner.to_string()).status().context("run kill")?;
        if !done.success() {
            bail!("stop process {}", ready.owner);
        }
        wait_until("its owner ends", || running(kind).is_ok_and(|ready| ready.is_none()).then_some(()))?;
        let directory = ready.kubeconfig.parent().unwrap_or(&ready.kubeconfig);
        wait_until("its directory is removed", || (!directory.exists()).then_some(()))?;
        stopped = true;
    }
    let said = if stopped { "Stopped; nothing is left running." } else { "Nothing is up." };
    writeln!(anstream::stdout().lock(), "{said}")?;
    Ok(())
}

/// Whichever runs.
pub(crate) fn any() -> Result<Ready> {
    for kind in Kind::value_variants() {
        if let Some(ready) = running(*kind)? {
            return Ok(ready);
        }
    }
    bail!("nothing is up, and KUBECONFIG is not set; `make cluster-up` starts a cluster")
}

/// The way into the node that runs.
pub(crate) fn node() -> Result<Entrance> {
    running(Kind::Node)?.and_then(|ready| ready.node).context("no node is up; `make cluster-up` starts one")
}

/// Owns a cluster. Its end is the end of this process, however that comes about.
pub(crate) fn serve(kind: Kind) -> Result<()> {
    let owner = File::create(file(kind, "lock")?).context("create a lock")?;
    owner.try_lock().context("it is being started already")?;
    match kind {
        Kind::Node => {
            let cluster = Cluster::start()?;
            stay(kind, cluster.kubeconfig(), Some(cluster.entrance()?))
        }
        Kind::ApiServer => stay(kind, ApiServer::start()?.kubeconfig(), None),
        Kind::ApiServerWithControllers => stay(kind, ApiServer::start_with_controllers()?.kubeconfig(), None),
    }
}

/// Owns a node of which only a file tells.
pub(crate) fn own(known: &Path) -> Result<()> {
    let cluster = Cluster::start()?;
    fs::write(known, serde_json::to_string(cluster.entrance()?)?).context("write how the node is found")?;
    loop {
        std::thread::park();
    }
}

/// Says that it is ready, and never returns.
fn stay(kind: Kind, kubeconfig: &Path, node: Option<&Entrance>) -> Result<()> {
    let ready = Ready { kubeconfig: kubeconfig.to_owned(), owner: std::process::id(), node: node.cloned() };
    let new = file(kind, "new")?;
    fs::write(&new, serde_json::to_string(&ready)?).context("write what is up")?;
    fs::rename(new, file(kind, "json")?).context("write what is up")?;
    loop {
        std::thread::park();
    }
}

fn start(kind: Kind) -> Result<Ready> {
    let log = file(kind, "log")?;
    let output = File::create(&log).context("create a log")?;
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg("serve").arg(name(kind)).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    // No Ctrl-C reaches it.
    let mut owner = command.process_group(0).spawn().context("start its owner")?;
    let found = wait_until("it is ready", || match owner.try_wait() {
        Ok(None) => running(kind).transpose(),
        Ok(Some(_)) => {
            Some(Err(anyhow::anyhow!(fs::read_to_string(&log).unwrap_or_default().trim().to_owned())))
        }
        Err(error) => Some(Err(error.into())),
    });
    found.flatten().inspect_err(|_| drop(owner.kill())).context("it did not start")
}

/// What is known of one that runs.
fn running(kind: Kind) -> Result<Option<Ready>> {
    let (lock, known) = (file(kind, "lock")?, file(kind, "json")?);
    let unowned = File::open(&lock).is_ok_and(|owner| owner.try_lock().is_ok());
    if unowned || !lock.exists() || !known.exists() {
        if unowned {
            // Left by one that was killed.
            fs::remove_file(&known).ok();
        }
        return Ok(None);
    }
    read(&known).map(Some)
}

fn read(known: &Path) -> Result<Ready> {
    let text = fs::read_to_string(known).with_context(|| format!("read {}", known.display()))?;
    serde_json::from_str(&text).with_context(|| format!("read {}", known.display()))
}

fn file(kind: Kind, extension: &str) -> Result<PathBuf> {
    Ok(programs::directory()?.join(name(kind)).with_extension(extension))
}

fn name(kind: Kind) -> String {
    kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
