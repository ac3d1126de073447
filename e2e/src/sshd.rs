//! A real `sshd` with keys of its own, on a free loopback port.

use crate::process::{Process, wait_until};
use crate::tools;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A running server. It lets in the user who runs the test, by a key of its own.
#[derive(Debug)]
pub struct Sshd {
    process: Process,
    port: u16,
    directory: TempDir,
}

impl Sshd {
    /// Starts one, with more lines of `sshd_config`.
    ///
    /// # Errors
    /// OpenSSH's server is not installed, or does not start.
    pub fn start(config: &[&str]) -> Result<Self> {
        let sshd = tools::need("sshd")?;
        let directory = tempfile::Builder::new().prefix("portcullis-sshd-").tempdir()?;
        for name in ["host", "user"] {
            keygen(&directory.path().join(name))?;
        }
        std::fs::copy(directory.path().join("user.pub"), directory.path().join("authorized_keys"))?;
        // A superuser's sshd locks itself into this directory.
        if user()? == "root" {
            std::fs::create_dir_all("/run/sshd")?;
        }
        let port = tools::free_port()?;
        let file = directory.path().join("sshd_config");
        std::fs::write(&file, settings(directory.path(), port, config))?;
        let mut command = Command::new(sshd);
        command.args(["-D", "-e", "-f"]).arg(&file);
        let process = Process::start("sshd", &mut command)?;
        let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        drop(wait_until("sshd listens", listens).with_context(|| process.log())?);
        Ok(Self { process, port, directory })
    }

    /// Its TCP port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The private key that it lets in.
    pub fn user_key(&self) -> PathBuf {
        self.directory.path().join("user")
    }

    /// Its public host key, without the comment.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn host_key(&self) -> Result<String> {
        let line = std::fs::read_to_string(self.directory.path().join("host.pub"))?;
        let words: Vec<_> = line.split_whitespace().take(2).collect();
        Ok(words.join(" "))
    }

    /// What it logged: every login and every command's session.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// A program of OpenSSH's client that reaches it directly, without a gateway.
    ///
    /// # Errors
    /// It is not installed.
    pub fn client(&self, program: &str) -> Result<Command> {
        let known = self.directory.path().join("known_hosts");
        std::fs::write(&known, format!("[127.0.0.1]:{} {}\n", self.port, self.host_key()?))?;
        let mut command = Command::new(tools::need(program)?);
        command.args(["-F", "/dev/null", "-oStrictHostKeyChecking=yes", "-oIdentitiesOnly=yes"]);
        command.arg(format!("-oUserKnownHostsFile={}", known.display()));
        command.arg(format!("-oIdentityFile={}", self.user_key().display()));
        command.arg(format!("-oPort={}", self.port)).arg(format!("-oUser={}", user()?));
        Ok(command)
    }
}

fn settings(directory: &Path, port: u16, more: &[&str]) -> String {
    // The first value of a keyword counts: what a caller wants comes first. With that level a shell does not read what
    // the user's own shells begin with, for each command line anew.
    format!(
        "{more}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 1000\nMaxSessions 100\n\
         PrintMotd no\nLogLevel VERBOSE\nSetEnv SHLVL=2\nSubsystem sftp internal-sftp\n",
        directory.display(),
        more = more.join("\n"),
    )
}

/// Makes a key without a passphrase.
///
/// # Errors
/// `ssh-keygen` is not installed, or the file cannot be written.
pub fn keygen(file: &Path) -> Result<()> {
    let mut command = Command::new(tools::need("ssh-keygen")?);
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(file);
    ensure!(command.status()?.success(), "make a key");
    Ok(())
}

/// Name of the user who runs this: a `sshd` that is not the system's lets nobody else in.
///
/// # Errors
/// `id` is not there.
pub fn user() -> Result<String> {
    let done = Command::new("id").arg("-un").output()?;
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}
