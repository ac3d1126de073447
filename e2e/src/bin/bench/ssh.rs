//! SSH: the gateway beside OpenSSH directly and OpenSSH's own way through another host, `ProxyJump`.

use super::measure::{Row, median, output};
use super::scene::Scene;
use anyhow::{Context as _, Result, ensure};
use e2e::hosts::Hosts;
use e2e::sshd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// Everything is allowed; what differs is the detectors.
const POLICY: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: web-agents, namespace: shop}
spec:
  targetRefs: [{name: web}]
  subjects: [{group: agents}]
  rules:
  - {name: anything, action: Allow, ssh: {effects: [Execute, Read, Write, List, Unknown]}}
";
const DETECTORS: &str = "  masking:\n  - {detectors: [Secrets, CreditCard, UsSsn], with: {type: Redact}}\n";

/// Connections of one kind, one after the other.
const CONNECTIONS: usize = 15;
/// Command lines over one connection.
const COMMANDS: u32 = 100;
/// Bytes of a bulk transfer, in MiB.
const BULK_MIB: u32 = 256;
/// Sessions that are open and do nothing.
const IDLE: u32 = 100;

/// A host behind a gateway, and `ssh_config` with every way to it.
struct Ways {
    hosts: Hosts,
    directory: TempDir,
}

impl Ways {
    fn start(policy: &str) -> Result<Self> {
        let hosts = Hosts::start(Some(policy))?;
        let directory = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
        let ways = Self { hosts, directory };
        ways.certify()?;
        Ok(ways)
    }

    /// Trades a token for a certificate: from then on every way presents a key.
    fn certify(&self) -> Result<()> {
        let agent = self.hosts.agent(&self.hosts.token("bench")?)?;
        let key = self.directory.path().join("key");
        sshd::keygen(&key)?;
        let public = std::fs::read_to_string(key.with_extension("pub"))?;
        let mut ssh = agent.program("ssh")?;
        ssh.args(["-l", "portcullis-login", "web"]).arg(format!("certificate {}", public.trim()));
        std::fs::write(self.directory.path().join("key-cert.pub"), output(ssh.stdin(Stdio::null()))?)?;
        let (user, port) = (sshd::user()?, self.hosts.sshd.port());
        let known = self.directory.path().join("known_hosts");
        let lines = format!(
            "[127.0.0.1]:{port} {}\n[127.0.0.1]:{} {}\n",
            self.hosts.sshd.host_key()?,
            agent.port,
            self.hosts.host_key
        );
        std::fs::write(&known, lines)?;
        let common = format!(
            "  HostName 127.0.0.1\n  UserKnownHostsFile {}\n  StrictHostKeyChecking yes\n  IdentitiesOnly yes\n  \
             Ciphers aes256-gcm@openssh.com\n  LogLevel ERROR\n",
            known.display()
        );
        let own = format!(
            "  Port {port}\n  User {user}\n  IdentityFile {}\n",
            self.hosts.sshd.user_key().display()
        );
        let config = format!(
            "Host direct\n{common}{own}Host jump\n{common}{own}Host jumped\n{common}{own}  ProxyJump jump\n\
             Host gateway\n{common}  Port {}\n  User deploy\n  IdentityFile {}\n",
            agent.port,
            key.display()
        );
        std::fs::write(self.config(), config)?;
        Ok(())
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("config")
    }

    fn ssh(&self, way: &str, arguments: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.config()).args(arguments).arg(way).env_remove("SSH_AUTH_SOCK");
        ssh.stdin(Stdio::null());
        ssh
    }

    /// Seconds of a connection and one command.
    fn set_up(&self, way: &str) -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..CONNECTIONS {
            let began = Instant::now();
            output(self.ssh(way, &[]).arg("true"))?;
            times.push(began.elapsed().as_secs_f64());
        }
        Ok(median(times))
    }

    /// Command lines a second over one connection, one after the other.
    fn commands(&self, way: &str) -> Result<f64> {
        let control = format!("-oControlPath={}/{way}", self.directory.path().display());
        let master = Background(self.ssh(way, &["-N", "-oControlMaster=yes", &control]).spawn()?);
        e2e::process::wait_until("the connection", || {
            self.directory.path().join(way).exists().then_some(())
        })?;
        let began = Instant::now();
        for _ in 0..COMMANDS {
            output(self.ssh(way, &[&control]).arg("true"))?;
        }
        drop(master);
        Ok(f64::from(COMMANDS) / began.elapsed().as_secs_f64())
    }

    /// MiB a second of a log from the host.
    fn bulk(&self, way: &str) -> Result<f64> {
        self.output(
            way,
            &format!("yes 'an ordinary line of a log, level=info msg=done' | head -c {BULK_MIB}M"),
        )
    }

    /// MiB a second of random bytes from the host.
    fn random(&self, way: &str) -> Result<f64> {
        let file = self.directory.path().join("random");
        output(Command::new("sh").arg("-c").arg(format!("head -c 32M /dev/urandom >{}", file.display())))?;
        self.output(way, &format!("for i in $(seq {}); do cat {}; done", BULK_MIB / 32, file.display()))
    }

    /// MiB a second of what a command line says.
    fn output(&self, way: &str, line: &str) -> Result<f64> {
        let mut best = 0.0_f64;
        for _ in 0..3 {
            let began = Instant::now();
            let done = self.ssh(way, &[]).arg(line).stdout(Stdio::null()).status()?;
            ensure!(done.success(), "{way}: {done}");
            best = best.max(f64::from(BULK_MIB) / began.elapsed().as_secs_f64());
        }
        Ok(best)
    }

    /// KiB of the gateway's memory for each session that is open and idle.
    fn idle(&self) -> Result<f64> {
        let before = self.resident()?;
        let sessions: Vec<_> = (0..IDLE)
            .map(|_| Ok(Background(self.ssh("gateway", &["-N"]).spawn()?)))
            .collect::<Result<_>>()?;
        e2e::process::wait_until("the sessions", || {
            let metrics = self.hosts.gateway.admin("metrics").ok()?;
            metrics.contains(&format!("portcullis_sessions_active {IDLE}")).then_some(())
        })?;
        let after = self.resident()?;
        drop(sessions);
        Ok((after - before) / f64::from(IDLE))
    }

    fn resident(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.hosts.gateway.process().id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("no figure")?.parse()?)
    }
}

/// A process that ends with the value.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Set-up, command lines, bulk with and without detectors, and memory.
pub(crate) fn measure(_: &Scene, _: u32) -> Result<Vec<Row>> {
    let ways = Ways::start(POLICY)?;
    let mut rows = Vec::new();
    let set_up = |way: &str| ways.set_up(way).map(|seconds| 1.0 / seconds);
    let (direct, jumped, gateway) = (set_up("direct")?, set_up("jumped")?, set_up("gateway")?);
    rows.push(Row::new("ssh: connections and one command", "1/s", gateway, ("ProxyJump", jumped)));
    rows.push(Row::new("ssh: connections and one command", "1/s", gateway, ("direct", direct)));
    let (direct, jumped, gateway) =
        (ways.commands("direct")?, ways.commands("jumped")?, ways.commands("gateway")?);
    rows.push(Row::new("ssh: commands over one connection", "1/s", gateway, ("ProxyJump", jumped)));
    rows.push(Row::new("ssh: commands over one connection", "1/s", gateway, ("direct", direct)));
    let (direct, jumped, gateway) = (ways.bulk("direct")?, ways.bulk("jumped")?, ways.bulk("gateway")?);
    rows.push(Row::new("ssh: bulk, no detectors", "MiB/s", gateway, ("ProxyJump", jumped)));
    rows.push(Row::new("ssh: bulk, no detectors", "MiB/s", gateway, ("direct", direct)));
    let masked = Ways::start(&format!("{POLICY}{DETECTORS}"))?;
    rows.push(Row::new("ssh: bulk, detectors", "MiB/s", masked.bulk("gateway")?, ("ProxyJump", jumped)));
    let (jumped, random) = (masked.random("jumped")?, masked.random("gateway")?);
    rows.push(Row::new("ssh: bulk of random bytes, detectors", "MiB/s", random, ("ProxyJump", jumped)));
    drop(masked);
    // of a gateway that has done nothing yet: one that has keeps memory, which sessions then do not need to ask for
    let idle = Ways::start(POLICY)?.idle()?;
    rows.push(Row::new("ssh: memory of an idle session", "KiB", idle, ("goal", 256.0)));
    Ok(rows)
}
