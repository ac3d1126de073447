//! The command line: approve, query, replay, verify, explain and test policies.
//!
//! One module per subcommand; each has its arguments and a `run` that returns the exit code. `output` knows how to
//! print, `logs` where logs lie. A command line that makes no sense ends with 64, which is no command's answer.

mod approvals;
mod archive;
mod backend;
mod cluster;
mod commands;
mod completion;
mod decide;
mod decisions;
mod describe;
mod dev_issuer;
mod evidence;
mod export;
mod identities;
mod index;
mod kubeconfig;
mod logs;
mod output;
mod plugin;
mod policy;
mod replay;
mod report;
mod requests;
mod rows;
mod salvage;
mod scan;
mod sessions;
mod show;
mod ssh;
mod token;
mod verify;
mod whereabouts;
mod witness;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use output::{Format, Output, Usage};
use std::process::ExitCode;

/// Sees and decides what agents do behind a Portcullis gateway.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, propagate_version = true, infer_subcommands = true)]
#[command(
    after_help = "As a plugin of kubectl, `kubectl portcullis requests`: put the program on the PATH under that name too:
  ln -s \"$(command -v portcullis)\" /usr/local/bin/kubectl-portcullis"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How to print: a table to read, or JSON to process; lists of the record also as csv or ndjson.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    Approvals(decisions::Arguments),
    Approve(decide::ApproveArguments),
    Commands(commands::Arguments),
    Completion(completion::Arguments),
    Deny(decide::DenyArguments),
    Describe(describe::Arguments),
    DevIssuer(dev_issuer::Arguments),
    #[command(subcommand)]
    Evidence(evidence::Command),
    ExecCredential(kubeconfig::CredentialArguments),
    #[command(subcommand)]
    Export(export::Command),
    Kubeconfig(kubeconfig::Arguments),
    Replay(replay::Arguments),
    Report(report::Arguments),
    Requests(requests::Arguments),
    Policy(policy::Arguments),
    Scan(scan::Arguments),
    Sessions(sessions::Arguments),
    Show(show::Arguments),
    Ssh(ssh::Arguments),
    SshConfig(ssh::ConfigArguments),
    Verify(verify::Arguments),
    #[command(subcommand)]
    Witness(witness::Command),
}

impl Command {
    /// Exit code where it could not do its work: 1 says something else where the exit code is the answer.
    const fn failure(&self) -> u8 {
        let answers = matches!(self, Self::Export(_) | Self::Policy(_) | Self::Scan(_) | Self::Verify(_));
        if answers { output::NO_ANSWER } else { output::FAILURE }
    }

    /// Whether it prints a list of what is on record.
    const fn is_list(&self) -> bool {
        matches!(self, Self::Approvals(_) | Self::Commands(_) | Self::Sessions(_))
    }
}

fn main() -> ExitCode {
    let called = std::env::args_os().next();
    let parsed = plugin::named(Cli::command(), called.as_deref()).try_get_matches();
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. There is nowhere to say that they could not be printed.
            error.print().ok();
            return if error.use_stderr() { ExitCode::from(output::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match run(&cli) {
        Ok(code) => code,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(if error.is::<Usage>() { output::USAGE } else { cli.command.failure() })
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let mut output = Output::new(cli.output);
    if !cli.command.is_list() && matches!(cli.output, Format::Csv | Format::Ndjson) {
        return Err(Usage::error("-o csv and -o ndjson are for sessions, commands and approvals"));
    }
    match &cli.command {
        Command::Approvals(arguments) => decisions::run(arguments, &mut output),
        Command::Approve(arguments) => decide::approve(arguments, &mut output),
        Command::Commands(arguments) => commands::run(arguments, &mut output),
        Command::Completion(arguments) => completion::run(arguments, &mut output),
        Command::Deny(arguments) => decide::deny(arguments, &mut output),
        Command::Describe(arguments) => describe::run(arguments, &mut output),
        Command::DevIssuer(arguments) => dev_issuer::run(arguments, &mut output),
        Command::Evidence(command) => evidence::run(command, &mut output),
        Command::ExecCredential(arguments) => kubeconfig::credential(arguments, &mut output),
        Command::Export(command) => export::run(command, &mut output),
        Command::Kubeconfig(arguments) => kubeconfig::run(arguments, &mut output),
        Command::Replay(arguments) => replay::run(arguments, &mut output),
        Command::Report(arguments) => report::run(arguments, &mut output),
        Command::Requests(arguments) => requests::run(arguments, &mut output),
        Command::Policy(arguments) => policy::run(arguments, &mut output),
        Command::Scan(arguments) => scan::run(arguments, &mut output),
        Command::Sessions(arguments) => sessions::run(arguments, &mut output),
        Command::Show(arguments) => show::run(arguments, &mut output),
        Command::Ssh(arguments) => ssh::run(arguments, &mut output),
        Command::SshConfig(arguments) => ssh::config(arguments, &mut output),
        Command::Verify(arguments) => verify::run(arguments, &mut output),
        Command::Witness(command) => witness::run(command, &mut output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_has_a_summary_and_an_example() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{} has no summary", command.get_name());
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Examples:"), "{} has no example", command.get_name());
        }
    }
}
