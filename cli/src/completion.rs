//! `portcullis completion`: what a shell needs to complete command lines.

use crate::output::{Output, Usage};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use std::process::ExitCode;

/// Print the script that makes a shell complete subcommands and options.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  source <(portcullis completion bash)
  portcullis completion bash > /etc/bash_completion.d/portcullis
  portcullis completion zsh > \"${fpath[1]}/_portcullis\"
  portcullis completion fish > ~/.config/fish/completions/portcullis.fish")]
pub(crate) struct Arguments {
    /// The shell; omitted: that of `$SHELL`.
    #[arg(value_enum)]
    shell: Option<Shell>,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let Some(shell) = arguments.shell.or_else(Shell::from_env) else {
        return Err(Usage::error("$SHELL is no shell that is known here: say which, as `completion bash`"));
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::Cli::command(), "portcullis", &mut script);
    output.bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}
