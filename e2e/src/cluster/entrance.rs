//! The way into a running node, for whoever knows its process id.

use super::component::output;
use super::place::{Place, enter};
use crate::tools;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a running node is found, also by another process than the one that started it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Entrance {
    /// The process that made its namespaces.
    pub(super) id: u32,
    /// Its directory.
    pub(super) directory: PathBuf,
}

impl Entrance {
    /// A command that runs in the node's network, with `KUBECONFIG` set.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = enter(self.id, &["net"], program);
        command.env("KUBECONFIG", self.directory.join("kubeconfig"));
        command
    }

    /// Writes the images of an archive into the node's store.
    ///
    /// # Errors
    /// containerd does not take it, with what it said.
    pub fn load_archive(&self, archive: &Path) -> Result<()> {
        let archive = archive.canonicalize().with_context(|| format!("find {}", archive.display()))?;
        let mut ctr = self.place().command(&tools::need("ctr")?);
        ctr.arg("--address")
            .arg(self.containerd())
            .args(["--namespace=k8s.io", "images", "import"])
            .arg(archive);
        output(&mut ctr, "").map(drop)
    }

    /// Kills what runs in a container.
    ///
    /// # Errors
    /// Nothing runs in it, with what containerd said.
    pub(super) fn kill(&self, container: &str) -> Result<()> {
        let mut ctr = self.place().command(&tools::need("ctr")?);
        ctr.arg("--address").arg(self.containerd());
        ctr.args(["--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", container]);
        output(&mut ctr, "").map(drop)
    }

    /// The node's directory: its kubeconfig, and its logs in `log`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn place(&self) -> Place {
        Place::Node(self.id)
    }

    /// The node's network, for who enters it.
    pub(super) fn network(&self) -> String {
        format!("/proc/{}/ns/net", self.id)
    }

    /// A directory that is the node's alone: outside of its mount namespace it is empty.
    pub(super) fn state(&self) -> PathBuf {
        self.directory.join(STATE)
    }

    /// containerd's socket, in the node's mount namespace.
    pub(super) fn containerd(&self) -> PathBuf {
        self.state().join("containerd.sock")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.directory.join("log")
    }
}

const STATE: &str = "state";
