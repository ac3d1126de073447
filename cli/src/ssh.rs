//! `portcullis ssh` and `portcullis ssh-config`: what OpenSSH's own programs need to come through a gateway.

mod config;
mod login;

pub(crate) use config::{Arguments as ConfigArguments, run as config};

use crate::output::Output;
use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Trade a token for a certificate of minutes, so that plain ssh, scp, git and Ansible work.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis ssh-config web --role deploy >>~/.ssh/config
  PORTCULLIS_TOKEN=\"$(get-token)\" portcullis ssh login web && ssh web uptime")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Login(login::Arguments),
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Login(arguments) => login::run(arguments, output),
    }
}

/// Where an agent's keys for Resources lie.
#[derive(Args, Debug)]
struct Directory {
    /// Directory of the keys and certificates. Omitted: `~/.ssh/portcullis`.
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

impl Directory {
    /// File of the key for a Resource.
    fn key(&self, resource: &str) -> anyhow::Result<PathBuf> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        ensure!(
            !resource.is_empty() && !resource.starts_with(['-', '.']) && resource.chars().all(plain),
            "{resource:?} is no name of a Resource"
        );
        let directory = match &self.directory {
            Some(directory) => std::path::absolute(directory)?,
            None => Path::new(&std::env::var_os("HOME").context("HOME is not set: give --directory")?)
                .join(".ssh/portcullis"),
        };
        Ok(directory.join(resource))
    }
}

/// The certificate beside a key, where OpenSSH looks for it.
fn certificate(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push("-cert.pub");
    PathBuf::from(name)
}
