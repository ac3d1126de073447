//! `make demo`, `make up`, `make down`: the real psql, a real PostgreSQL, and the gateway with the example manifests.

mod command;
mod day;
mod known;
mod screen;
mod signals;
mod standing;

use anyhow::Result;
use clap::{Parser, Subcommand};
use e2e::process;
use screen::Screen;
use std::process::ExitCode;

/// An agent's day behind Portcullis, with the real psql and a real PostgreSQL.
///
/// Needs the Debian packages that `.ci/packages demo` installs, and the binaries of this workspace beside it:
/// `cargo build -p proxy -p portcullis -p e2e --bins`.
#[derive(Debug, Parser)]
#[command(name = "demo", after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Walk through the day, check every step, and leave nothing running
    ///
    /// A query comes back masked, a DROP DATABASE is refused, a DELETE without WHERE waits for an approval; then the
    /// sessions are listed, replayed and verified, and a changed copy of the record is caught.
    Run,
    /// Start the same shop, leave it running, and print a psql line to paste
    ///
    /// What it needs to remember is in .demo/ of the repository. If it runs already, the lines are printed again.
    Up,
    /// Stop what `up` left running
    Down,
    /// What `up` starts: owns the shop until it is told to stop
    #[command(hide = true)]
    Serve,
}

fn main() -> ExitCode {
    match act(&Cli::parse().command) {
        Ok(code) => code,
        Err(error) if screen::is_closed_pipe(&error) => ExitCode::from(DIFFERS),
        // Whatever failed then failed because of it.
        Err(_) if process::interrupted() => {
            screen::complain("interrupted; nothing is left running");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            screen::complain(&format!("{error:#}"));
            ExitCode::from(DIFFERS)
        }
    }
}

fn act(action: &Action) -> Result<ExitCode> {
    signals::listen()?;
    let mut screen = Screen::new();
    match action {
        Action::Run => {
            day::walk(&mut screen)?;
            return Ok(if screen.summary()? { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) });
        }
        Action::Up => standing::up(&mut screen)?,
        Action::Down => standing::down(&mut screen)?,
        Action::Serve => standing::serve::serve()?,
    }
    Ok(ExitCode::SUCCESS)
}

const DIFFERS: u8 = 1;
/// What a shell gives for SIGINT.
const INTERRUPTED: u8 = 130;

const EXIT_CODES: &str =
    "Exit codes: 0 all as expected, 1 a check differs or something failed, 130 interrupted.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
