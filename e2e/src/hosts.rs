//! A host behind the gate, for stories and benchmarks: a real `sshd`, an issuer, and the gateway with the manifests of
//! `examples/ssh`.

use crate::gateway::{Gateway, Setup, secret};
use crate::issuer::Issuer;
use crate::sshd::{self, Sshd};
use crate::tools;
use anyhow::{Context as _, Result, ensure};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Name of the example's Resource.
pub const RESOURCE: &str = "web";
/// Audience of the tokens that it takes.
pub const AUDIENCE: &str = "web.shop";
/// Group that the example's Policy is about.
pub const GROUP: &str = "agents";

/// The running whole.
#[derive(Debug)]
pub struct Hosts {
    /// The gateway. First, so that it ends first.
    pub gateway: Gateway,
    /// Issuer of the agents' tokens.
    pub issuer: Issuer,
    /// The host behind the gateway.
    pub sshd: Sshd,
    /// The gateway's own host key, public.
    pub host_key: String,
    keys: TempDir,
}

impl Hosts {
    /// Starts everything, with another Policy where one is given.
    ///
    /// # Errors
    /// A program is not installed or not built, or does not start; with its log.
    pub fn start(policy: Option<&str>) -> Result<Self> {
        Self::start_with(policy, &[], &[])
    }

    /// The same with more lines of `sshd_config`, and more arguments of the gateway.
    ///
    /// # Errors
    /// As [`Hosts::start`].
    pub fn start_with(policy: Option<&str>, sshd: &[&str], arguments: &[&str]) -> Result<Self> {
        Self::recording(policy, sshd, arguments, "")
    }

    /// The same with more fields of the Resource's `recording`, as in a YAML mapping, each with a comma behind it.
    ///
    /// # Errors
    /// As [`Hosts::start`].
    pub fn recording(policy: Option<&str>, sshd: &[&str], arguments: &[&str], fields: &str) -> Result<Self> {
        let keys = tempfile::Builder::new().prefix("portcullis-issuer-").tempdir()?;
        let issuer = Issuer::start(keys.path())?;
        let setup = arguments.iter().fold(Setup::new()?, |setup, argument| setup.argument(*argument));
        let policy = policy.map_or_else(|| example("agents.yaml"), |text| Ok(text.to_owned()))?;
        setup.write("policy.yaml", &policy)?;
        let Host { sshd, host_key } = Host::behind(&setup, &issuer, sshd, fields)?;
        Ok(Self { gateway: setup.start()?, issuer, sshd, host_key, keys })
    }

    /// A token of an agent.
    ///
    /// # Errors
    /// The issuer is not there.
    pub fn token(&self, subject: &str) -> Result<String> {
        self.issuer.token(subject, &[GROUP], AUDIENCE)
    }

    /// An agent's machine with this token.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn agent(&self, token: &str) -> Result<Agent> {
        Agent::new(&self.gateway, &self.host_key, token)
    }

    /// `portcullis` for this gateway's state and this issuer's keys.
    ///
    /// # Errors
    /// It is not built.
    pub fn portcullis(&self) -> Result<Command> {
        let mut command = Command::new(tools::own("portcullis")?);
        command.env("PORTCULLIS_STATE", self.gateway.state()).env("PORTCULLIS_SPOOL", self.gateway.state());
        command.env("PORTCULLIS_DEV_ISSUER", self.keys.path());
        Ok(command)
    }
}

/// A host that a gateway is told of, beside whatever else it is told of.
#[derive(Debug)]
pub struct Host {
    /// The host.
    pub sshd: Sshd,
    /// The gateway's own host key, public.
    pub host_key: String,
}

impl Host {
    /// Starts one with more lines of `sshd_config`, and writes the example's Resource, with more fields of its
    /// `recording`, and the keys that it names.
    ///
    /// # Errors
    /// OpenSSH is not installed, `sshd` does not start, or a file cannot be written.
    pub fn behind(setup: &Setup, issuer: &Issuer, sshd: &[&str], fields: &str) -> Result<Self> {
        let sshd = Sshd::start(sshd)?;
        let keys = tempfile::Builder::new().prefix("portcullis-keys-").tempdir()?;
        let own = keys.path().join("gateway");
        let authority = keys.path().join("authority");
        sshd::keygen(&own)?;
        sshd::keygen(&authority)?;
        let recording = format!("recording: {{{fields}");
        setup.write("web.yaml", &resource(&sshd, issuer)?.replace("recording: {", &recording))?;
        let read = |file: &Path| std::fs::read_to_string(file).context("read a key");
        let user_key = read(&sshd.user_key())?;
        let login = [("username", sshd::user()?), ("ssh-privatekey", user_key)];
        setup.write("deploy.yaml", &in_shop("web-deploy", &login)?)?;
        let gateway_keys = [("ssh-hostkey", read(&own)?), ("ssh-ca", read(&authority)?)];
        setup.write("keys.yaml", &in_shop("web-gateway-ssh", &gateway_keys)?)?;
        let host_key = read(&own.with_extension("pub"))?.trim().to_owned();
        Ok(Self { sshd, host_key })
    }
}

/// An agent's machine: what OpenSSH's programs are configured with.
#[derive(Debug)]
pub struct Agent {
    directory: TempDir,
    /// The gateway's port.
    pub port: u16,
}

impl Agent {
    /// What a client of OpenSSH needs to come through a gateway with this host key: a configuration file for the host
    /// `web`, which pins that key, and the program that gives the token.
    ///
    /// # Errors
    /// The gateway does not serve the Resource, or the files cannot be written.
    pub fn new(gateway: &Gateway, host_key: &str, token: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("portcullis-agent-").tempdir()?;
        let port = gateway.port(RESOURCE)?;
        let file = |name: &str| directory.path().join(name);
        std::fs::write(file("known_hosts"), format!("[127.0.0.1]:{port} {host_key}\n"))?;
        std::fs::write(file("token"), token)?;
        let config = format!(
            "Host web\n  HostName 127.0.0.1\n  Port {port}\n  User deploy\n  UserKnownHostsFile {}\n  \
             StrictHostKeyChecking yes\n  IdentitiesOnly yes\n  IdentityFile none\n",
            file("known_hosts").display()
        );
        std::fs::write(file("config"), config)?;
        let script = std::fs::read_to_string(tools::repository().join("examples/ssh/askpass"))?;
        std::fs::write(file("askpass"), script)?;
        std::fs::set_permissions(file("askpass"), std::fs::Permissions::from_mode(0o700))?;
        Ok(Self { directory, port })
    }

    /// For scripts: `ssh` over one connection of this name, to whatever port the gateway has now.
    pub fn line(&self, name: &str) -> String {
        format!(
            "ssh -F {} -p {} -oLogLevel=ERROR -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null \
             -oConnectTimeout=5 -oControlMaster=auto -oControlPersist=60 -oControlPath={}",
            self.config().display(),
            self.port,
            self.path().join(name).display()
        )
    }

    /// A program of OpenSSH's client, which knows the host `web`.
    ///
    /// # Errors
    /// It is not installed.
    pub fn program(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(tools::need(program)?);
        self.introduce(&mut command);
        command.arg("-F").arg(self.config());
        Ok(command)
    }

    /// Lets a program that runs `ssh` find what it needs.
    pub fn introduce(&self, command: &mut Command) {
        command.env("SSH_ASKPASS", self.path().join("askpass")).env("SSH_ASKPASS_REQUIRE", "force");
        command.env("PORTCULLIS_TOKEN_FILE", self.path().join("token")).env_remove("SSH_AUTH_SOCK");
    }

    /// Its `ssh_config`.
    pub fn config(&self) -> PathBuf {
        self.path().join("config")
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// The example's Resource, pointed at this host and this issuer, on a free port.
fn resource(sshd: &Sshd, issuer: &Issuer) -> Result<String> {
    let mut resource = example("hosts.yaml")?;
    let (port, key) = (format!("port: {}\n", sshd.port()), sshd.host_key()?);
    for (written, here) in [
        ("port: 22\n", port.as_str()),
        ("port: 2222", "port: 0"),
        ("ssh-ed25519 AAAA-of-the-host", key.as_str()),
        ("http://127.0.0.1:8180", issuer.url()),
    ] {
        ensure!(resource.contains(written), "examples/ssh/hosts.yaml has no {written} any more");
        resource = resource.replace(written, here);
    }
    Ok(resource)
}

fn example(file: &str) -> Result<String> {
    let path = tools::repository().join("examples/ssh").join(file);
    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

fn in_shop(name: &str, entries: &[(&str, String)]) -> Result<String> {
    let entries: Vec<_> = entries.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let mut object: serde_json::Value = serde_json::from_str(&secret(name, &entries))?;
    let metadata =
        object.get_mut("metadata").and_then(serde_json::Value::as_object_mut).context("no metadata")?;
    metadata.insert("namespace".to_owned(), "shop".into());
    Ok(object.to_string())
}
