//! A real `sshd` with keys of its own, on a free port, and the client programs.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where the programs of OpenSSH's server are.
const SBIN: &str = "/usr/sbin/sshd";

/// A server that lets the test's own user in.
pub(crate) struct Sshd {
    pub(crate) port: u16,
    pub(crate) directory: TempDir,
    /// The key that it lets in, in OpenSSH's format.
    pub(crate) user_key: String,
    /// The line of its host key.
    pub(crate) host_key: String,
    process: Child,
}

impl Sshd {
    /// Starts one. `None`: there is no OpenSSH here, so the test is skipped.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// As [`Sshd::start`], with more lines of `sshd_config`.
    pub(crate) fn start_with(config: &str) -> Option<Self> {
        Self::start_as(config, |_| Command::new(SBIN))
    }

    /// As [`Sshd::start_with`], with PAM and this password. `None` as well where the test may not mount: the directory of
    /// PAM's settings is another one for this server alone.
    pub(crate) fn start_with_password(config: &str, password: &str) -> Option<Self> {
        let may_mount = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
        if !may_mount.is_ok_and(|status| status.success()) {
            println!(
                "skipped: PAM's settings cannot be others for one server alone without the right to mount"
            );
            return None;
        }
        Self::start_as(&format!("UsePAM yes\n{config}"), |directory| {
            let (settings, check) = (directory.join("pam.d"), directory.join("check"));
            std::fs::create_dir(&settings).unwrap();
            let text = format!(
                "auth required pam_exec.so quiet expose_authtok {}\nauth required pam_permit.so\n\
                 account required pam_permit.so\nsession required pam_permit.so\n",
                check.display()
            );
            std::fs::write(settings.join("sshd"), text).unwrap();
            let script = format!("#!/bin/sh\n[ \"$(tr -d '\\000')\" = '{password}' ]\n");
            std::fs::write(&check, script).unwrap();
            std::fs::set_permissions(&check, std::fs::Permissions::from_mode(0o755)).unwrap();
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/pam.d && exec \"$@\""]);
            command.arg(settings).arg(SBIN);
            command
        })
    }

    fn start_as(config: &str, program: impl FnOnce(&Path) -> Command) -> Option<Self> {
        if !Path::new(SBIN).exists() || find("ssh").is_none() {
            assert!(std::env::var_os("CI").is_none(), "OpenSSH is missing: run .ci/packages");
            println!("skipped: OpenSSH's server and client are not here");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for name in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
                .arg(path.join(name))
                .status();
            assert!(made.unwrap().success());
        }
        std::fs::copy(path.join("user.pub"), path.join("authorized_keys")).unwrap();
        let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap();
        let (user_key, host_key) = (read("user"), read("host.pub"));
        // A superuser's sshd wants a directory of its own to lock itself into.
        if is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let (port, process) = launch(path, config, program(path));
        Some(Self { port, directory, user_key, host_key, process })
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn launch(path: &Path, more: &str, mut program: Command) -> (u16, Child) {
    program.args(["-D", "-E"]).arg(path.join("log")).arg("-f").arg(path.join("sshd_config"));
    program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The port is free when it is chosen; somebody may take it before sshd does.
    for _ in 0..5 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "{more}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\n\
             PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nAcceptEnv *\n\
             MaxStartups 1000\nLogLevel VERBOSE\nSetEnv SHLVL=2\nPrintMotd no\nSubsystem sftp internal-sftp\nPermitTunnel no\n",
            path.display()
        );
        std::fs::write(path.join("sshd_config"), config).unwrap();
        let mut process = program.spawn().unwrap();
        let give_up = Instant::now() + Duration::from_secs(20);
        while Instant::now() < give_up {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return (port, process);
            }
            if process.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        process.kill().ok();
        process.wait().ok();
    }
    panic!("sshd does not start");
}

/// Who the test runs as: sshd lets nobody else in.
pub(crate) fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn is_root() -> bool {
    user() == "root"
}

/// A program of the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}
