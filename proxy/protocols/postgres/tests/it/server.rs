//! A throwaway PostgreSQL: real, with TLS and SCRAM, in a temporary directory; shared by the tests that run at once.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A certificate authority, and what it signed for `localhost`.
pub(crate) struct Certificates {
    pub(crate) authority: CertificateDer<'static>,
    pub(crate) certificate: CertificateDer<'static>,
    key: KeyPair,
    authority_pem: String,
    certificate_pem: String,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Another name than the leaf's: OpenSSL takes a certificate that names itself as issuer for self-signed.
        params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        Self {
            authority: issuer.der().clone(),
            certificate: certificate.der().clone(),
            key,
            authority_pem: issuer.pem(),
            certificate_pem: certificate.pem(),
        }
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// Trusts the authority.
    pub(crate) fn client(&self) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.clone()).unwrap();
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// Serves the certificate.
    pub(crate) fn server(&self) -> rustls::ServerConfig {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![self.certificate.clone()], self.key())
        .unwrap();
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        config
    }

    /// Writes the authority where libpq finds it.
    pub(crate) fn write_authority(&self, directory: &Path) -> PathBuf {
        let file = directory.join("ca.crt");
        std::fs::write(&file, &self.authority_pem).unwrap();
        file
    }
}

/// A running server.
pub(crate) struct Server {
    process: Child,
    directory: TempDir,
    pub(crate) certificates: Certificates,
    pub(crate) port: u16,
    databases: AtomicU32,
}

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// Password of every role but `postgres`, which only the Unix socket lets in.
pub(crate) const PASSWORD: &str = "upstream-secret";

impl Server {
    /// A server of one's own: for what may crash it. `None` as of [`Server::shared`].
    pub(crate) fn alone() -> Option<Arc<Self>> {
        let Some(binaries) = binaries() else {
            assert!(std::env::var_os("CI").is_none(), "PostgreSQL is missing, and CI must have it");
            println!("SKIPPED: PostgreSQL is not installed");
            return None;
        };
        Some(Arc::new(Self::start(&binaries)))
    }

    /// The server, started if it does not run. `None` after a printed skip: PostgreSQL is not installed.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Self::alone()?;
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    fn start(binaries: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("portcullis-wire-").tempdir().unwrap();
        let certificates = Certificates::new();
        let (certificate, key) = (directory.path().join("server.crt"), directory.path().join("server.key"));
        std::fs::write(&certificate, &certificates.certificate_pem).unwrap();
        std::fs::write(&key, certificates.key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let data = directory.path().join("data");
        if is_root() {
            run(Command::new("chown").args(["-R", "postgres"]).arg(directory.path()));
        }
        run(unprivileged(&binaries.join("initdb")).arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-N",
        ]));
        std::fs::write(
            data.join("pg_hba.conf"),
            "local all postgres trust\nhostssl all md5role 127.0.0.1/32 md5\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
        )
        .unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let process = unprivileged(&binaries.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-k"])
            .arg(directory.path())
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "ssl=on",
                "-c",
                "fsync=off",
                "-c",
                "log_statement=all",
            ])
            .args(["-c", &format!("ssl_cert_file={}", certificate.display())])
            .args(["-c", &format!("ssl_key_file={}", key.display())])
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { process, directory, certificates, port, databases: AtomicU32::new(0) };
        let deadline = Instant::now() + Duration::from_mins(1);
        while server.try_sql("postgres", "select 1").is_err() {
            assert!(Instant::now() < deadline, "PostgreSQL did not start: {}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        server.sql("postgres", &format!("create role app login password '{PASSWORD}'"));
        server
    }

    /// Makes a database that `app` owns, with what these statements put there.
    pub(crate) fn database(&self, sql: &str) -> String {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("create database {name} owner app"));
        self.sql(&name, &format!("grant all on schema public to app; set role app; {sql}"));
        name
    }

    /// Runs SQL as the superuser.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).unwrap()
    }

    /// Waits until it serves: it may have crashed, and starts again by itself.
    pub(crate) fn wait(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        while let Err(error) = self.try_sql("postgres", "select 1") {
            assert!(Instant::now() < end, "{error}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut command = Command::new(binaries().unwrap().join("psql"));
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
        command.arg(self.directory.path()).args(["-p", &self.port.to_string(), "-c", sql]);
        let done = command.output().map_err(|error| error.to_string())?;
        if done.status.success() {
            Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned())
        } else {
            Err(format!("{sql}: {}", String::from_utf8_lossy(&done.stderr)))
        }
    }

    /// What the server logged: every statement that reached it.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _done = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _done = self.process.wait();
    }
}

/// Where PostgreSQL's programs are.
pub(crate) fn binaries() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
    found.sort();
    found.into_iter().rev().find(|directory| directory.join("postgres").exists())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}

/// PostgreSQL refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/");
    command
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
