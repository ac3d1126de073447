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
/// The same without the gateway.
const PEERS: usize = 20;

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
        self.output(
            way,
            &format!("for i in $(seq {}); do cat {}; done", BULK_MIB / 32, self.noise()?.display()),
        )
    }

    /// A file of 32 MiB of random bytes.
    fn noise(&self) -> Result<PathBuf> {
        let file = self.directory.path().join("random");
        if !file.exists() {
            output(
                Command::new("sh").arg("-c").arg(format!("head -c 32M /dev/urandom >{}", file.display())),
            )?;
        }
        Ok(file)
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

    /// MiB a second of random bytes to the host, by `cat` over standard input.
    fn upload(&self, way: &str) -> Result<f64> {
        let mut best = 0.0_f64;
        for _ in 0..3 {
            let mut source = Command::new("sh")
                .args([
                    "-c",
                    &format!("for i in $(seq {}); do cat {}; done", BULK_MIB / 32, self.noise()?.display()),
                ])
                .stdout(Stdio::piped())
                .spawn()?;
            let began = Instant::now();
            let piped = source.stdout.take().context("no pipe")?;
            let done = self.ssh(way, &[]).arg("cat >/dev/null").stdin(piped).status()?;
            ensure!(done.success() && source.wait()?.success(), "{way}: {done}");
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

    /// KiB of a host's memory for each session that is open and idle, without a gateway: what a jump host spends on one.
    fn idle_servers(&self) -> Result<f64> {
        let accepted = || self.hosts.sshd.log().matches("Accepted ").count();
        let (before, earlier) = (servers()?, accepted());
        let mut sessions = Vec::new();
        for number in 1..=PEERS {
            sessions.push(Background(self.ssh("direct", &["-N"]).spawn()?));
            // One after the other, since sshd takes only ten that have no name yet.
            e2e::process::wait_until("the session", || (accepted() >= earlier + number).then_some(()))?;
        }
        let after = servers()?;
        drop(sessions);
        #[expect(clippy::cast_precision_loss, reason = "twenty")]
        Ok((after - before) / PEERS as f64)
    }

    fn resident(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.hosts.gateway.process().id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("no figure")?.parse()?)
    }
}

/// KiB of this machine's memory that all processes of `sshd` take.
fn servers() -> Result<f64> {
    let mut memory = 0.0;
    for pid in output(Command::new("pgrep").arg("sshd"))?.split_whitespace() {
        // One that has ended meanwhile takes none.
        let Ok(shares) = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        let line = shares.lines().find(|line| line.starts_with("Pss:")).context("no Pss")?;
        memory += line.split_whitespace().nth(1).context("no figure")?.parse::<f64>()?;
    }
    Ok(memory)
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
    rows.extend(bulk(ways)?);
    // of a gateway that has done nothing yet: one that has keeps memory, which sessions then do not need to ask for
    let idle = Ways::start(POLICY)?;
    let (servers, ours) = (idle.idle_servers()?, idle.idle()?);
    rows.push(Row::new("ssh: memory of an idle session", "KiB", ours, ("sshd", servers)));
    Ok(rows)
}

/// Bulk both ways, with detectors and without.
fn bulk(ways: Ways) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut pair = |name: &str, gateway: f64, jumped: f64, direct: f64| {
        rows.push(Row::new(name, "MiB/s", gateway, ("ProxyJump", jumped)));
        rows.push(Row::new(name, "MiB/s", gateway, ("direct", direct)));
    };
    let masked = Ways::start(&format!("{POLICY}{DETECTORS}"))?;
    let (direct, jumped) = (ways.bulk("direct")?, ways.bulk("jumped")?);
    pair("ssh: bulk, no detectors", ways.bulk("gateway")?, jumped, direct);
    pair("ssh: bulk, detectors", masked.bulk("gateway")?, jumped, direct);
    let (direct, jumped) = (ways.upload("direct")?, ways.upload("jumped")?);
    pair("ssh: bulk to the host, no detectors", ways.upload("gateway")?, jumped, direct);
    pair("ssh: bulk to the host, detectors", masked.upload("gateway")?, jumped, direct);
    let (direct, jumped) = (ways.random("direct")?, ways.random("jumped")?);
    pair("ssh: bulk of random bytes, detectors", masked.random("gateway")?, jumped, direct);
    masked.hosts.gateway.stop()?;
    ways.hosts.gateway.stop()?;
    Ok(rows)
}
