//! What a story leaves behind, searched for what must be nowhere: the record, copies of it, requests for approvals and
//! whatever else the gateway keeps, its log, its metrics, objects of a cluster.

use crate::collector::Backend;
use crate::gateway::Gateway;
use crate::tools;
use anyhow::{Context as _, Result, bail};
use proxy_audit::{Spool, SpoolOptions};
use std::path::{Path, PathBuf};
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
    let saved = Saved::new()?;
    let mut files = vec![gateway.state().to_owned(), saved.text("log", &gateway.log())?];
    files.extend_from_slice(also);
    // One that was stopped has no metrics any more.
    if let Ok(metrics) = gateway.admin("metrics") {
        files.push(saved.text("metrics", &metrics)?);
    }
    saved.scan(secrets, ("--spool", gateway.state()), &files)
}

/// Searches all that a Collector has sent on, its records and the requests that brought them.
///
/// # Errors
/// As [`search`].
pub fn search_collected(backend: &Backend, secrets: &[String]) -> Result<()> {
    let saved = Saved::new()?;
    let file = saved.0.path().join("collected.json");
    backend.write_to(&file)?;
    saved.scan(secrets, ("--from", &file), std::slice::from_ref(&file))
}

/// Searches the state directory of a gateway that is another's child, and these files.
///
/// # Errors
/// As [`search`].
pub fn search_state(state: &Path, also: &[PathBuf], secrets: &[String]) -> Result<()> {
    if secrets.is_empty() || proxy_audit::read::logs(state)?.is_empty() {
        return Ok(());
    }
    let files = [&[state.to_owned()], also].concat();
    Saved::new()?.scan(secrets, ("--spool", state), &files)
}

/// Searches texts, each with a name: objects of a cluster, logs of its pods.
///
/// # Errors
/// As [`search`].
pub fn search_texts(texts: &[(&str, String)], secrets: &[String]) -> Result<()> {
    let saved = Saved::new()?;
    let files: Vec<PathBuf> =
        texts.iter().map(|(name, text)| saved.text(name, text)).collect::<Result<_>>()?;
    // a search is of a log, be there nothing in it
    let log = saved.0.path().join("audit");
    drop(Spool::open(&SpoolOptions::new(log.join("log"), "nothing/at/all/0"))?);
    saved.scan(secrets, ("--spool", &log), &files)
}

/// What is saved for a search.
struct Saved(tempfile::TempDir);

impl Saved {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::Builder::new().prefix("portcullis-leaks-").tempdir()?))
    }

    fn text(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.path().join(name.replace('/', "-"));
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    fn scan(&self, secrets: &[String], (kind, records): (&str, &Path), files: &[PathBuf]) -> Result<()> {
        let values = self.text("secrets", &(secrets.join("\n") + "\n"))?;
        let mut scan = Command::new(tools::own("portcullis")?);
        scan.args(["scan", "--detector", "none", "--values"]).arg(values).arg(kind).arg(records);
        for file in files {
            scan.arg("--file").arg(file);
        }
        let done = scan.stdin(Stdio::null()).output().context("run portcullis scan")?;
        // Results that are encrypted for auditors are for stories that have a key; the files that hold them are searched.
        let incomplete = String::from_utf8_lossy(&done.stdout).contains("RESULT     INCOMPLETE   0 findings");
        if !done.status.success() && !incomplete {
            let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            bail!("something that must be nowhere was left behind:\n{out}{err}");
        }
        Ok(())
    }
}
