//! A throwaway PostgreSQL: real, with TLS, SCRAM and roles, in a temporary directory.

use crate::certificates::Authority;
use crate::process::{Process, wait_until};
use crate::tools;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A running server. The superuser is `postgres`, reachable without a password through the Unix socket only.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    directory: TempDir,
    authority: Authority,
    port: u16,
}

impl Postgres {
    /// Starts a server with further settings, each `name=value`.
    ///
    /// # Errors
    /// PostgreSQL is not installed or does not start; with its log.
    pub fn start(settings: &[&str]) -> Result<Self> {
        // Asked first: without the package there is no user to give the directory to either.
        let program = tools::need("postgres")?;
        let directory = tempfile::Builder::new().prefix("portcullis-postgres-").tempdir()?;
        let authority = Authority::new(directory.path())?;
        let data = directory.path().join("data");
        write_certificate(&authority, directory.path())?;
        tools::give_away(directory.path())?;
        initialise(&data)?;
        std::fs::write(data.join("pg_hba.conf"), HOST_BASED_AUTHENTICATION)?;
        let port = tools::free_port()?;
        let mut command = tools::unprivileged(&program);
        command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-k"]).arg(directory.path());
        let certificate = format!("ssl_cert_file={}", directory.path().join("server.crt").display());
        let key = format!("ssl_key_file={}", directory.path().join("server.key").display());
        let fixed = ["listen_addresses=127.0.0.1", "ssl=on", &certificate, &key, "max_connections=300"];
        for setting in fixed.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        let process = Process::start("postgres", &mut command)?;
        let server = Self { process, directory, authority, port };
        wait_until("PostgreSQL accepts connections", || server.sql("postgres", "select 1").ok())
            .with_context(|| server.process.log())?;
        Ok(server)
    }

    /// Runs SQL as the superuser and gives what `psql -At` prints.
    ///
    /// # Errors
    /// A statement failed; with what the server said.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let mut command = Command::new(tools::need("psql")?);
        command.env_clear().args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
        command.arg(self.directory.path()).args(["-p", &self.port.to_string(), "-c", sql]);
        let done = command.output().context("run psql")?;
        if !done.status.success() {
            bail!("{sql}: {}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned())
    }

    /// TCP port on 127.0.0.1; TLS and SCRAM only. The certificate is for `localhost`.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The authority of its certificate.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The server's own directory, which also holds its Unix socket.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process that all others of the server are children of.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Immediate shutdown; the kill that follows would leave its children to find out by themselves.
        self.process.signal("QUIT").ok();
        self.process.wait().ok();
    }
}

fn initialise(data: &Path) -> Result<()> {
    let mut command = tools::unprivileged(&tools::need("initdb")?);
    command.arg("-D").arg(data).args([
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
        "-N",
    ]);
    let done = command.output().context("run initdb")?;
    if !done.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

fn write_certificate(authority: &Authority, directory: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let certificate = authority.certify()?;
    std::fs::write(directory.join("server.crt"), certificate.certificate)?;
    let key = directory.join("server.key");
    std::fs::write(&key, certificate.key)?;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    Ok(key)
}

const HOST_BASED_AUTHENTICATION: &str =
    "local all postgres trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
