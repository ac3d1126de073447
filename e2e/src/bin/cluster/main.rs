//! `make cluster-up`, `make cluster-down`, `make images`: the clusters of the tests, left running, and the images for them.

mod standing;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use e2e::cluster::programs::{DNS, HELM, KUBERNETES};
use e2e::image::Image;
use e2e::tools;
use standing::Kind;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// A real Kubernetes on this machine, without a container engine.
#[derive(Debug, Parser)]
#[command(name = "cluster")]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build the programs of a node, and Helm, unless that has been done; the first time takes minutes
    Build,
    /// Start a node that runs pods, leave it running, and say how to use it
    Up,
    /// Stop what `up` left running
    Down,
    /// Give the node the images of archives, which `make images` or `docker save` made
    Load {
        /// The archives
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Run a program in the node's network, where Services and pods are reached
    Exec {
        /// The program
        program: String,
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Write images of static programs as archives into target/images
    Images {
        /// Directory of the programs, which `make static` builds
        #[arg(long)]
        programs: PathBuf,
        /// What the images are named below; the chart's values name the same
        #[arg(long, default_value = "ghcr.io/portcullis-dev")]
        repository: String,
        /// Their tag
        #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
        tag: String,
    },
    /// An API server alone: objects, admission and authorisation, but no pods; needs no privileges
    ApiServer {
        #[command(subcommand)]
        action: Alone,
    },
    /// kubectl for what is up
    #[command(disable_help_flag = true)]
    Kubectl {
        /// Arguments of kubectl; `--context=alice` is another user
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// What `up` starts: owns a cluster until it is told to stop
    #[command(hide = true)]
    Serve {
        /// What to start
        kind: Kind,
    },
    /// Owns a node until it is killed; for the test that nothing is left then
    #[command(hide = true)]
    Own {
        /// Where to write how the node is found
        known: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Alone {
    /// Start it, leave it running, and say how to use it
    Up {
        /// With the controller manager: garbage collection, the end of namespaces, service accounts
        #[arg(long)]
        controllers: bool,
    },
    /// Stop what `up` left running
    Down,
}

fn main() -> ExitCode {
    match act(Cli::parse().action) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let written = writeln!(anstream::stderr().lock(), "error: {error:#}");
            // There is nowhere left to say that standard error is gone.
            drop(written);
            ExitCode::FAILURE
        }
    }
}

fn act(action: Action) -> Result<()> {
    match action {
        Action::Build => build(),
        Action::Up => standing::up(Kind::Node),
        Action::Down => standing::down(&[Kind::Node]),
        Action::Load { archives } => {
            let node = standing::node()?;
            archives.iter().try_for_each(|archive| node.load_archive(archive))
        }
        Action::Exec { program, arguments } => {
            let mut command = standing::node()?.command(&tools::need(&program)?);
            Err(command.args(arguments).exec()).context("run nsenter")
        }
        Action::Images { programs, repository, tag } => images(&programs, &repository, &tag),
        Action::ApiServer { action: Alone::Up { controllers } } => {
            standing::up(if controllers { Kind::ApiServerWithControllers } else { Kind::ApiServer })
        }
        Action::ApiServer { action: Alone::Down } => {
            standing::down(&[Kind::ApiServer, Kind::ApiServerWithControllers])
        }
        Action::Kubectl { arguments } => kubectl(&arguments),
        Action::Serve { kind } => standing::serve(kind),
        Action::Own { known } => standing::own(&known),
    }
}

fn build() -> Result<()> {
    let parts = [("Kubernetes", &KUBERNETES), ("CoreDNS", &DNS), ("Helm", &HELM)];
    for (name, module) in parts {
        if !module.is_built() {
            writeln!(
                anstream::stderr().lock(),
                "Building {name} of Go modules; the first time takes minutes …"
            )?;
        }
        module.build()?;
    }
    Ok(())
}

/// Writes the images of what runs in a cluster.
fn images(programs: &Path, repository: &str, tag: &str) -> Result<()> {
    let directory = tools::repository().canonicalize().context("find the repository")?.join("target/images");
    let mut out = anstream::stdout().lock();
    for program in ["portcullis-operator", "portcullis-proxy"] {
        let name = format!("{repository}/{program}:{tag}");
        let image = Image::of_binary(&name, &programs.join(program))?.authorities()?;
        let archive = directory.join(program).with_extension("tar");
        image.write(&archive)?;
        let size = std::fs::metadata(&archive)?.len() / 1_000_000;
        writeln!(out, "{} ({size} MB): {name}", archive.display())?;
    }
    Ok(())
}

/// Becomes kubectl.
fn kubectl(arguments: &[OsString]) -> Result<()> {
    let mut command = Command::new(KUBERNETES.build()?.join("kubectl"));
    command.args(arguments);
    // A kubeconfig that somebody chose is theirs to choose.
    if std::env::var_os("KUBECONFIG").is_none() {
        command.env("KUBECONFIG", standing::any()?.kubeconfig);
    }
    Err(command.exec()).context("run kubectl")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
