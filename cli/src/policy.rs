//! `portcullis policy`: try policies without a gateway, with the compiler and the analyser that the gateway runs.

mod catalogue;
mod command;
mod expect;
mod explain;
mod judge;
mod setting;

use crate::output::Output;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Try policies: explain what they say of a command, or test them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis policy explain -f config/ --resource orders --identity agent.yaml --command 'DROP DATABASE orders'
  portcullis policy test config/tests/agents.yaml")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Explain(Box<explain::Arguments>),
    Test(expect::Arguments),
}

/// Exit codes: 0, 1 when an expectation is not met, 3 when the input has problems.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Explain(arguments) => explain::run(arguments, output),
        Command::Test(arguments) => expect::run(arguments, output),
    }
}
