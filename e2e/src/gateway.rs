//! The gateway, as a process of its own, with manifests in a directory.

use crate::certificates::Authority;
use crate::process::{Process, wait_until};
use crate::tools;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A running `portcullis-proxy` and its directories.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    config: TempDir,
    state: TempDir,
    admin: String,
    authority: Authority,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// What a gateway is started with.
#[derive(Debug)]
pub struct Setup {
    config: TempDir,
    state: TempDir,
    authority: Authority,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// Empty directories, and an authority whose certificate for `localhost` is the Secret `gateway-tls`.
    ///
    /// # Errors
    /// The directories cannot be written.
    pub fn new() -> Result<Self> {
        let config = tempfile::Builder::new().prefix("portcullis-config-").tempdir()?;
        let state = tempfile::Builder::new().prefix("portcullis-state-").tempdir()?;
        let authority = Authority::new(state.path())?;
        let certificate = authority.certify()?;
        let setup = Self { config, state, authority, arguments: Vec::new(), environment: Vec::new() };
        setup.write(
            "gateway-tls.yaml",
            &secret("gateway-tls", &[("tls.crt", &certificate.certificate), ("tls.key", &certificate.key)]),
        )?;
        Ok(setup)
    }

    /// Writes a manifest into the configuration directory.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, file: &str, manifest: &str) -> Result<()> {
        std::fs::write(self.config.path().join(file), manifest).with_context(|| format!("write {file}"))
    }

    /// Adds an argument for the gateway.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds a variable to the gateway's environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// The configuration directory.
    pub fn config(&self) -> &Path {
        self.config.path()
    }

    /// The state directory.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The command that starts the gateway.
    ///
    /// # Errors
    /// The gateway is not built.
    pub fn command(&self) -> Result<Command> {
        let mut command = command(self.config.path(), self.state.path(), &self.arguments)?;
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Starts the gateway and waits until it is ready.
    ///
    /// # Errors
    /// It does not start or does not get ready; with its log.
    pub fn start(self) -> Result<Gateway> {
        let (process, admin) = launch(&mut self.command()?)?;
        let Self { config, state, authority, arguments, environment } = self;
        let gateway = Gateway { process, config, state, admin, authority, arguments, environment };
        gateway.wait_until_ready()?;
        Ok(gateway)
    }
}

/// The gateway that was built beside this program, or the one that `PORTCULLIS_PROXY` names: one that takes a profile of
/// itself at work.
fn command(config: &Path, state: &Path, arguments: &[String]) -> Result<Command> {
    let program = std::env::var_os("PORTCULLIS_PROXY")
        .map_or_else(|| tools::own("portcullis-proxy"), |p| Ok(p.into()))?;
    let mut command = Command::new(program);
    command.arg("--config").arg(config).arg("--state").arg(state);
    command.args(["--admin-listen", "127.0.0.1:0"]).args(arguments);
    Ok(command)
}

/// Starts the process and reads its admin address off its log.
fn launch(command: &mut Command) -> Result<(Process, String)> {
    let mut process = Process::start("portcullis-proxy", command)?;
    let admin = process.wait_for_line("its admin address", |line| {
        let line = strip_colours(line);
        line.contains("admin").then_some(())?;
        let start = line.find("127.0.0.1:")?;
        let address: String =
            line.get(start..)?.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
        Some(address)
    })?;
    Ok((process, admin))
}

impl Gateway {
    /// Kills the gateway as a crash would, and starts it again on the same directories.
    ///
    /// # Errors
    /// It does not start again.
    pub fn crash_and_restart(&mut self) -> Result<()> {
        self.crash()?;
        (self.process, self.admin) = launch(&mut self.command()?)?;
        self.wait_until_ready()
    }

    /// The same, but the next one is killed as well, so long after its start, be it ready by then or not; another serves.
    ///
    /// # Errors
    /// It does not start again.
    pub fn crash_and_restart_twice(&mut self, between: Duration) -> Result<()> {
        self.crash()?;
        self.process = Process::start("portcullis-proxy", &mut self.command()?)?;
        std::thread::sleep(between);
        self.crash_and_restart()
    }

    /// Ends the gateway as its supervisor would, by SIGTERM, and waits for it.
    ///
    /// # Errors
    /// It does not end in time, or says that something went wrong.
    pub fn stop(mut self) -> Result<()> {
        self.process.signal("TERM")?;
        match self.process.wait()? {
            Some(0) => Ok(()),
            status => bail!("the gateway ended with {status:?}:\n{}", self.log()),
        }
    }

    fn crash(&mut self) -> Result<()> {
        self.process.signal("KILL")?;
        self.process.wait().map(drop)
    }

    fn command(&self) -> Result<Command> {
        let mut command = command(self.config.path(), self.state.path(), &self.arguments)?;
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Has the results of the Resource in this file encrypted for this recipient of age, by a restart after a crash.
    ///
    /// # Errors
    /// The manifest cannot be changed, or the gateway does not start again.
    pub fn encrypt_results(&mut self, file: &str, recipient: &str) -> Result<()> {
        let file = self.config.path().join(file);
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let mut resource: serde_json::Value = serde_yaml_ng::from_str(&text)?;
        let spec = resource.get_mut("spec").and_then(serde_json::Value::as_object_mut);
        let recording = spec.context("no spec")?.entry("recording").or_insert_with(|| serde_json::json!({}));
        let recording = recording.as_object_mut().context("no recording")?;
        recording.insert("encryption".to_owned(), serde_json::json!({"recipients": [recipient]}));
        std::fs::write(&file, manifest(&resource)).with_context(|| format!("write {}", file.display()))?;
        self.crash_and_restart()
    }

    fn wait_until_ready(&self) -> Result<()> {
        wait_until("the gateway is ready", || self.admin("readyz").ok()).map(drop).with_context(|| self.log())
    }

    /// Port that listens for a Resource.
    ///
    /// # Errors
    /// The Resource is not served.
    pub fn port(&self, resource: &str) -> Result<u16> {
        let text = self.admin("resources")?;
        let listed: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("read {text}"))?;
        let found = listed.as_array().into_iter().flatten().find(|entry| entry["name"] == resource);
        let address =
            found.and_then(|entry| entry["address"].as_str()).with_context(|| format!("no {resource}"))?;
        address.rsplit(':').next().unwrap_or_default().parse().with_context(|| format!("read {address}"))
    }

    /// Answer of an admin path, for example `metrics`.
    ///
    /// # Errors
    /// It does not answer with success.
    pub fn admin(&self, path: &str) -> Result<String> {
        let done = Command::new("curl")
            .args(["-sS", "--fail"])
            .arg(format!("http://{}/{path}", self.admin))
            .output()?;
        anyhow::ensure!(done.status.success(), "{path}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// Address of the admin endpoint.
    pub fn admin_address(&self) -> &str {
        &self.admin
    }

    /// The configuration directory.
    pub fn config(&self) -> &Path {
        self.config.path()
    }

    /// The state directory: tenant key, audit logs, approvals.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// Certificate authority of the gateway's certificate.
    pub fn ca(&self) -> PathBuf {
        self.authority.file().to_owned()
    }

    /// The process.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// The process, to wait for its end.
    pub const fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it logged.
    pub fn log(&self) -> String {
        strip_colours(&self.process.log())
    }

    /// `psql` through the gateway: verified TLS, the token as password, no start-up file.
    ///
    /// # Errors
    /// psql is not installed, or the Resource is not served.
    pub fn psql(&self, resource: &str, login: &Login<'_>) -> Result<Command> {
        let mut command = Command::new(tools::need("psql")?);
        let port = self.port(resource)?.to_string();
        command.env_clear().env("PGPASSWORD", login.token).env("PGSSLROOTCERT", self.authority.file());
        command.env("PGSSLMODE", "verify-full").env("PGHOST", "localhost").env("PGHOSTADDR", "127.0.0.1");
        command.env("PGPORT", port).env("PGUSER", login.role).env("PGDATABASE", login.database).arg("-X");
        Ok(command)
    }
}

/// How an agent logs in.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// Role it asks for.
    pub role: &'a str,
    /// Database it asks for.
    pub database: &'a str,
    /// Its token.
    pub token: &'a str,
}

impl std::fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("role", &self.role)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// A Secret manifest.
pub fn secret(name: &str, entries: &[(&str, &str)]) -> String {
    let data: serde_json::Map<_, _> =
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    manifest(&serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data,
    }))
}

/// A ConfigMap manifest.
pub fn config_map(name: &str, entries: &[(&str, &str)]) -> String {
    let data: serde_json::Map<_, _> =
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    manifest(&serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data,
    }))
}

/// JSON is YAML.
fn manifest(value: &serde_json::Value) -> String {
    value.to_string()
}

fn strip_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}
