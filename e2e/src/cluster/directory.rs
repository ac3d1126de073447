//! The throwaway directory of a cluster.

use crate::tools;
use anyhow::{Context as _, Result};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A temporary directory that goes with its value, or with this process: another one waits for that.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    janitor: Child,
}

impl Directory {
    pub(super) fn new(prefix: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix(prefix).tempdir()?;
        fs::create_dir(directory.path().join("log")).context("create the directory of logs")?;
        let mut janitor = Command::new("sh");
        janitor.arg(tools::repository().join("e2e/cluster/janitor.sh")).arg(directory.path());
        janitor.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // What ends this process, such as Ctrl-C, must not end that one.
        let janitor = janitor.process_group(0).spawn().context("start the janitor")?;
        Ok(Self { path: directory.keep(), janitor })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        // It fails only if the janitor has ended, and was waited for, already.
        self.janitor.wait().ok();
    }
}
