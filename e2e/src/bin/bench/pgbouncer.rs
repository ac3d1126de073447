//! PgBouncer in session mode, TLS on both sides: the peer that people know.

use super::measure::Path;
use anyhow::{Context as _, Result};
use e2e::certificates::Authority;
use e2e::postgres::Postgres;
use e2e::process::{Process, wait_until};
use e2e::tools;
use std::process::Command;
use tempfile::TempDir;

/// A running PgBouncer.
#[derive(Debug)]
pub(crate) struct PgBouncer {
    process: Process,
    authority: Authority,
    port: u16,
    _directory: TempDir,
}

impl PgBouncer {
    /// Starts it in front of a server, for one user.
    pub(crate) fn start(server: &Postgres, user: &str, password: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("portcullis-pgbouncer-").tempdir()?;
        let authority = Authority::new(directory.path())?;
        let certificate = authority.certify()?;
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("server.crt"), certificate.certificate)?;
        std::fs::write(path("server.key"), certificate.key)?;
        std::fs::write(path("upstream.crt"), server.authority().pem())?;
        std::fs::write(path("users"), format!("\"{user}\" \"{password}\"\n"))?;
        let port = tools::free_port()?;
        let configuration = format!(
            "[databases]\nbench = host=localhost port={upstream} dbname=bench\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\n\
             pool_mode = session\nmax_client_conn = 4000\ndefault_pool_size = 3000\nclient_tls_sslmode = require\n\
             client_tls_cert_file = {crt}\nclient_tls_key_file = {key}\nserver_tls_sslmode = verify-full\n\
             server_tls_ca_file = {ca}\nignore_startup_parameters = extra_float_digits\n",
            upstream = server.port(),
            users = path("users"),
            crt = path("server.crt"),
            key = path("server.key"),
            ca = path("upstream.crt"),
        );
        std::fs::write(path("pgbouncer.ini"), configuration)?;
        tools::give_away(directory.path())?;
        let mut command = tools::unprivileged(&tools::need("pgbouncer")?);
        let process = Process::start("pgbouncer", command.arg(path("pgbouncer.ini")))?;
        let bouncer = Self { process, authority, port, _directory: directory };
        let way = bouncer.path(user, password);
        let psql = tools::need("psql")?;
        wait_until("PgBouncer answers", || {
            let done = way.command(&psql).args(["-Xc", "select 1"]).output().ok()?;
            done.status.success().then_some(())
        })
        .with_context(|| bouncer.process.log())?;
        Ok(bouncer)
    }

    /// The way through it.
    pub(crate) fn path(&self, user: &str, password: &str) -> Path {
        Path {
            name: "pgbouncer",
            port: self.port,
            user: user.to_owned(),
            password: password.to_owned(),
            ca: self.authority.file().to_owned(),
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        resident(self.id())
    }
}

/// Resident memory of a process and its children in bytes.
pub(crate) fn resident(id: u32) -> Result<u64> {
    let done = Command::new("ps").args(["-o", "rss=", "-p", &id.to_string()]).output().context("run ps")?;
    let text = String::from_utf8_lossy(&done.stdout);
    let kibibytes: u64 = text.trim().parse().with_context(|| format!("read {text:?}"))?;
    Ok(kibibytes * 1024)
}
