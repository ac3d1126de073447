//! Azure Blob Storage as Microsoft's own emulator has it: Azurite, from npm.

use crate::process::Process;
use crate::tools;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const ACCOUNT: &str = "portcullis";

/// A server with one account. Ends with its value.
#[derive(Debug)]
pub struct Azure {
    _folder: TempDir,
    _process: Process,
    port: u16,
    key: String,
}

impl Azure {
    /// For tests: whether one can be had; if not, a skip is printed.
    ///
    /// # Panics
    /// With `CI=true`, where Node.js must be there.
    pub fn is_possible() -> bool {
        tools::or_skip("node").is_some() && tools::or_skip("npm").is_some()
    }

    /// Starts one on a free loopback port, with a key for its account. The first time it is fetched.
    ///
    /// # Errors
    /// It cannot be fetched or does not start; with what was printed.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = tools::free_port()?;
        let key = STANDARD.encode("hunter2-of-the-blobs-of-azure-nn");
        let mut node = Command::new(tools::need("node")?);
        node.arg(packages()?.join("node_modules/azurite/dist/src/blob/main.js"))
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--location"])
            .arg(folder.path())
            .args(["--disableTelemetry", "--silent"])
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{key}"));
        let mut process = Process::start("azurite", &mut node)?;
        process
            .wait_for_line("that it listens", |line| line.contains("successfully listens").then_some(()))?;
        Ok(Self { _folder: folder, _process: process, port, key })
    }

    /// Makes a container.
    ///
    /// # Errors
    /// The server refuses; with what it says.
    pub fn create(&self, container: &str) -> Result<()> {
        let mut node = Command::new(tools::need("node")?);
        node.arg(packages()?.join("create.js")).args([&self.url(), ACCOUNT, container]);
        node.env("AZURE_STORAGE_ACCOUNT_KEY", &self.key).stdin(Stdio::null());
        let done = node.output().context("run node")?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// What a client needs in its environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY", self.key.clone()),
            ("AZURE_STORAGE_ENDPOINT", format!("{}/{ACCOUNT}", self.url())),
            ("AZURE_ALLOW_HTTP", "true".to_owned()),
        ]
    }

    /// The account's key: to be found nowhere.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn packages() -> Result<PathBuf> {
    tools::built("azure", "clients/azure", "")
}
