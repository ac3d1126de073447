//! `portcullis ssh login`: a token → a certificate of minutes, over the gateway's own SSH port.

use super::{Directory, certificate};
use crate::output::{Output, printable};
use crate::token::TokenArguments;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Trade a token for a certificate that ssh presents instead; a key is made for it the first time.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  PORTCULLIS_TOKEN=\"$(get-token)\" portcullis ssh login web
  portcullis ssh login web --token-file /var/run/secrets/token --agent")]
pub(crate) struct Arguments {
    /// Name of the Resource, as the stanza of `ssh-config` has it.
    resource: String,
    #[command(flatten)]
    token: TokenArguments,
    /// Hand key and certificate to the running ssh-agent as well, which forgets them when the certificate expires.
    #[arg(long)]
    agent: bool,
    /// Configuration file of ssh with the stanza. Omitted: ssh's own.
    #[arg(long, value_name = "FILE")]
    ssh_config: Option<PathBuf>,
    #[command(flatten)]
    directory: Directory,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let key = arguments.directory.key(&arguments.resource)?;
    let public = prepared(&key)?;
    let scratch = tempfile::tempdir()?;
    let token = arguments.token.read()?;
    let answer = ask(arguments, &public, scratch.path(), &token)?;
    let certificate = certificate(&key);
    write(&certificate, 0o644, answer.as_bytes())?;
    if arguments.agent {
        // ssh-add takes the certificate that lies beside a key, and forgets it with the lifetime given here
        let life = LIFE_SECONDS.to_string();
        let added =
            Command::new("ssh-add").args(["-q", "-t", &life]).arg(&key).status().context("run ssh-add")?;
        ensure!(added.success(), "ssh-add did not take the key: is an agent running?");
    }
    output.line(&format!("certificate for {}: {}", arguments.resource, certificate.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The public key, made with its private one where there is none yet.
fn prepared(key: &Path) -> anyhow::Result<String> {
    let directory = key.parent().context("no directory")?;
    std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
    if !key.exists() {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "portcullis", "-f"])
            .arg(key)
            .status()
            .context("run ssh-keygen")?;
        ensure!(made.success(), "ssh-keygen made no key");
    }
    let public = PathBuf::from(format!("{}.pub", key.display()));
    let line = std::fs::read_to_string(&public).with_context(|| format!("read {}", public.display()))?;
    Ok(line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

/// Asks the gateway with ssh itself, so that whatever leads there for ssh (a stanza, a jump host) leads there now.
fn ask(arguments: &Arguments, public: &str, scratch: &Path, token: &str) -> anyhow::Result<String> {
    write(&scratch.join("token"), 0o600, token.as_bytes())?;
    write(&scratch.join("askpass"), 0o700, ASKPASS.as_bytes())?;
    let mut ssh = Command::new("ssh");
    if let Some(file) = &arguments.ssh_config {
        ssh.arg("-F").arg(file);
    }
    ssh.env("SSH_ASKPASS", scratch.join("askpass")).env("SSH_ASKPASS_REQUIRE", "force");
    ssh.env("PORTCULLIS_TOKEN_FILE", scratch.join("token")).env_remove("PORTCULLIS_TOKEN");
    ssh.args(["-T", "-oPreferredAuthentications=keyboard-interactive", "-oNumberOfPasswordPrompts=1"]);
    ssh.args(["-oControlPath=none", "-oClearAllForwardings=yes", "-l", "portcullis-login", "--"]);
    ssh.arg(&arguments.resource).arg(format!("certificate {public}"));
    let done = ssh.stdin(Stdio::null()).output().context("run ssh")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "the gateway gave no certificate: {}", printable(said.trim()));
    let answer = String::from_utf8(done.stdout).context("the gateway's answer is no text")?;
    if !answer.contains("-cert-v01@openssh.com ") || answer.lines().count() != 1 {
        bail!("the gateway's answer is no certificate");
    }
    Ok(answer)
}

fn write(file: &Path, mode: u32, bytes: &[u8]) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut opened = options.write(true).create(true).truncate(true).mode(mode).open(file);
    let opened = opened.as_mut().map_err(|error| anyhow::anyhow!("write {}: {error}", file.display()))?;
    opened.write_all(bytes).with_context(|| format!("write {}", file.display()))
}

/// `OpenSSH` takes at most 1,023 bytes of an answer; the gateway asks on.
const ASKPASS: &str = "#!/bin/sh
from=$(printf '%s' \"$1\" | sed -n 's/.*from byte \\([0-9]*\\).*/\\1/p')
tail -c \"+$((${from:-0} + 1))\" \"$PORTCULLIS_TOKEN_FILE\" | head -c 1000
";
/// No certificate of a gateway lives longer.
const LIFE_SECONDS: u32 = 900;
