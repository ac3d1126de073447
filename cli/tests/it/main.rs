//! The command line as its user runs it.

#![cfg(test)]

mod approvals;
mod audit;
mod command_line;
mod damaged;
mod dev_issuer;
mod masks;
mod policy;
mod report;
mod sealed;

use std::path::Path;
use std::process::{Command, Output};

/// The binary under test, away from the caller's environment.
fn portcullis(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments).env_remove("PORTCULLIS_STATE").env_remove("PORTCULLIS_DEV_ISSUER");
    command.env("KUBECONFIG", "/nonexistent/kubeconfig").env_remove("KUBERNETES_SERVICE_HOST");
    command
}

/// Runs it and demands success; returns what it printed.
fn succeeds(command: &mut Command) -> String {
    let output = command.output().expect("the binary starts");
    assert!(output.status.success(), "{command:?}: {}", shown(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs it and demands a failure; returns what it complained.
fn fails(command: &mut Command) -> String {
    let output = command.output().expect("the binary starts");
    assert!(!output.status.success(), "{command:?}: {}", shown(&output));
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}
