//! kubectl, as any user of a cluster.

use super::component::output;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// kubectl and the kubeconfig that it uses.
#[derive(Clone, Debug)]
pub struct Kubectl {
    pub(super) program: PathBuf,
    pub(super) kubeconfig: PathBuf,
}

impl Kubectl {
    /// The command itself, as the administrator; `--context=alice` makes it another user's.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let caches = self.kubeconfig.with_file_name("kubectl-cache");
        command.env("KUBECONFIG", &self.kubeconfig).env("KUBECACHEDIR", caches).env("KUBERC", "off");
        command
    }

    /// The same with another kubectl.
    #[must_use]
    pub fn of(self, program: PathBuf) -> Self {
        Self { program, ..self }
    }

    /// Runs it as the administrator and gives what it printed.
    ///
    /// # Errors
    /// It fails, with what it said.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        output(self.command().args(arguments), "")
    }

    /// Runs it as one of [`super::USERS`].
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn run_as(&self, user: &str, arguments: &[&str]) -> Result<String> {
        output(self.command().arg(format!("--context={user}")).args(arguments), "")
    }

    /// Applies manifests, several of them parted by `---`, as the administrator.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn apply(&self, manifests: &str) -> Result<String> {
        output(self.command().args(["apply", "--server-side", "-f", "-"]), manifests)
    }

    /// An object, or a list of them, as JSON: `get(&["pods", "--all-namespaces"])`.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn get(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let text = output(self.command().arg("get").args(arguments).args(["--output", "json"]), "")?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}
