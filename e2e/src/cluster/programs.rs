//! The programs of the cluster, built from the Go modules in `e2e/cluster`.

use crate::tools;
use anyhow::{Context as _, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// A Go module below `e2e/cluster`, and what is built of it.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// Its directory, below `e2e/cluster`.
    directory: &'static str,
    /// What is built.
    packages: &'static str,
    /// The programs that come of it.
    programs: &'static [&'static str],
    /// Flags for the linker.
    link: &'static str,
}

/// Kubernetes itself, kubectl, and the process that holds a pod's namespaces.
pub const KUBERNETES: Module = Module {
    directory: "",
    packages: "./...",
    programs: &["node", "kubectl", "pause"],
    link: "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4 \
           -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34",
};

/// The cluster's DNS server.
pub const DNS: Module = Module {
    directory: "dns",
    packages: "github.com/coredns/coredns",
    programs: &["coredns"],
    link: "-s -w",
};

/// What answers `kubectl top`: an API server of its own, behind the cluster's.
pub const METRICS: Module = Module {
    directory: "",
    packages: "sigs.k8s.io/metrics-server/cmd/metrics-server",
    programs: &["metrics-server"],
    link: "-s -w",
};

/// Helm.
pub const HELM: Module =
    Module { directory: "helm", packages: "helm.sh/helm/v4/cmd/helm", programs: &["helm"], link: "-s -w" };

/// The last kubectl that reaches into pods over SPDY alone.
pub const KUBECTL_1_28: Module = Module {
    directory: "kubectl-1.28",
    packages: ".",
    programs: &["kubectl-1.28"],
    link: "-s -w -X k8s.io/component-base/version.gitVersion=v1.28.15",
};

/// The first whose forwarded ports go over WebSocket by themselves.
pub const KUBECTL_1_31: Module = Module {
    directory: "kubectl-1.31",
    packages: ".",
    programs: &["kubectl-1.31"],
    link: "-s -w -X k8s.io/component-base/version.gitVersion=v1.31.14",
};

impl Module {
    /// Builds it unless that has been done since its sources changed, and gives the directory of its programs.
    ///
    /// The first build of a module takes minutes; it downloads what Go does not have yet. Others that want the same
    /// at the same time wait.
    ///
    /// # Errors
    /// Go is not installed, or the build fails, with what it printed.
    pub fn build(&self) -> Result<PathBuf> {
        let directory = directory()?;
        let bin = directory.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
        let lock = File::create(directory.join("build.lock")).context("create the lock of the build")?;
        lock.lock().context("wait for another build")?;
        let sources = tools::repository().join("e2e/cluster").join(self.directory);
        if !self.is_fresh(&bin, newest(&sources)?) {
            self.run(&sources, &bin)?;
        }
        Ok(bin)
    }

    /// Whether its programs are there already, so that building is quick.
    pub fn is_built(&self) -> bool {
        directory().is_ok_and(|directory| {
            self.programs.iter().all(|program| directory.join("bin").join(program).exists())
        })
    }

    fn is_fresh(&self, bin: &Path, changed: SystemTime) -> bool {
        let built = fs::metadata(self.stamp(bin)).and_then(|stamp| stamp.modified());
        built.is_ok_and(|built| built > changed)
            && self.programs.iter().all(|program| bin.join(program).exists())
    }

    /// Says when it was last built: go leaves a program that has not changed as it is, with its time.
    fn stamp(&self, bin: &Path) -> PathBuf {
        bin.with_file_name(format!("built-{}", self.programs.join("-")))
    }

    fn run(&self, sources: &Path, bin: &Path) -> Result<()> {
        let mut go =
            Command::new(tools::need("go").context("the cluster is built with Go, https://go.dev/dl")?);
        go.current_dir(sources).env("CGO_ENABLED", "0").env("GOFLAGS", "");
        go.args(["build", "-trimpath", "-buildvcs=false", "-ldflags", self.link, "-o"]);
        // A directory, which go knows by the slash.
        go.arg(format!("{}/", bin.display())).arg(self.packages);
        let done = go.output().context("run go")?;
        if !done.status.success() {
            bail!("go build in {}:\n{}", sources.display(), String::from_utf8_lossy(&done.stderr));
        }
        fs::write(self.stamp(bin), "").context("say when it was built")?;
        Ok(())
    }
}

/// Where everything of the cluster is built: `target/e2e/cluster`.
///
/// # Errors
/// The repository is not where it was when this was compiled.
pub fn directory() -> Result<PathBuf> {
    let repository = tools::repository().canonicalize().context("find the repository")?;
    Ok(repository.join("target/e2e/cluster"))
}

/// When a module's sources last changed. Modules below it are others.
fn newest(directory: &Path) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))? {
        let entry = entry?;
        let path = entry.path();
        let time = if !path.is_dir() {
            entry.metadata()?.modified()?
        } else if path.join("go.mod").exists() {
            continue;
        } else {
            self::newest(&path)?
        };
        newest = newest.max(time);
    }
    Ok(newest)
}
