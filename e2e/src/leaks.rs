//! What a story leaves behind, searched for what must be nowhere: the record, requests for approvals and whatever else
//! the gateway keeps, its log, its metrics.

use crate::gateway::Gateway;
use crate::tools;
use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Searches all that a gateway leaves, and these files and directories, for these secrets in every form that
/// `portcullis scan` knows. A gateway that records nothing yet has nothing to search.
///
/// # Errors
/// A secret is somewhere: the message says in which form and where, and not which. Or the search is not possible.
pub fn search(gateway: &Gateway, secrets: &[String], also: &[PathBuf]) -> Result<()> {
    if secrets.is_empty() || proxy_audit::read::logs(gateway.state())?.is_empty() {
        return Ok(());
    }
    let saved = tempfile::Builder::new().prefix("portcullis-leaks-").tempdir()?;
    let save = |name: &str, text: &str| -> Result<PathBuf> {
        let path = saved.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    };
    let values = save("secrets", &(secrets.join("\n") + "\n"))?;
    let mut files = vec![gateway.state().to_owned(), save("log", &gateway.log())?];
    files.extend_from_slice(also);
    // One that was stopped has no metrics any more.
    if let Ok(metrics) = gateway.admin("metrics") {
        files.push(save("metrics", &metrics)?);
    }
    let mut scan = Command::new(tools::own("portcullis")?);
    scan.args(["scan", "--detector", "none", "--values"]).arg(values).arg("--spool").arg(gateway.state());
    for file in &files {
        scan.arg("--file").arg(file);
    }
    let done = scan.stdin(Stdio::null()).output().context("run portcullis scan")?;
    if !done.status.success() {
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        bail!("something that must be nowhere was left behind:\n{out}{err}");
    }
    Ok(())
}
