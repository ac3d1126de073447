//! The same program as a plugin of kubectl: `kubectl portcullis …` runs whatever is called `kubectl-portcullis` on the
//! `PATH`.

use clap::Command;
use std::ffi::OsStr;
use std::path::Path;

/// How kubectl's plugin is called.
const PLUGIN: &str = "kubectl-portcullis";

/// The command line with usage and examples as whoever called it would type them.
pub(crate) fn named(command: Command, program: Option<&OsStr>) -> Command {
    let called = program.and_then(|program| Path::new(program).file_stem());
    if called.is_some_and(|called| called == PLUGIN) {
        as_plugin(command.bin_name("kubectl portcullis"))
    } else {
        command
    }
}

fn as_plugin(command: Command) -> Command {
    let help = command
        .get_after_help()
        .map(|help| help.to_string().replace("\n  portcullis ", "\n  kubectl portcullis "));
    let command = match help {
        Some(help) => command.after_help(help),
        None => command,
    };
    command.mut_subcommands(as_plugin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn help(program: &str, subcommand: &str) -> String {
        let mut command = named(crate::Cli::command(), Some(OsStr::new(program)));
        let error = command.try_get_matches_from_mut([program, subcommand, "--help"]).unwrap_err();
        error.to_string()
    }

    #[test]
    fn usage_and_examples_are_what_was_typed() {
        let plugin = help("/usr/local/bin/kubectl-portcullis", "approve");
        assert!(plugin.contains("Usage: kubectl portcullis approve"), "{plugin}");
        assert!(plugin.contains("\n  kubectl portcullis approve orders"), "{plugin}");
        assert!(!plugin.contains("\n  portcullis "), "{plugin}");
        let program = help("target/debug/portcullis", "approve");
        assert!(program.contains("Usage: portcullis approve"), "{program}");
        assert!(!program.contains("kubectl portcullis"), "{program}");
    }
}
