//! Where a program runs: on this machine as any other, or in a node's namespaces.

use std::path::Path;
use std::process::Command;

/// Where a program runs.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// As any other program.
    Here,
    /// In the namespaces that the process with this id made.
    Node(u32),
}

impl Place {
    /// A command that runs a program there, with all that it starts.
    pub(super) fn command(&self, program: &Path) -> Command {
        match self {
            Self::Here => Command::new(program),
            Self::Node(id) => enter(*id, &["net", "mnt", "pid_for_children"], program),
        }
    }
}

/// A command in some of the namespaces that a process made.
pub(super) fn enter(id: u32, namespaces: &[&str], program: &Path) -> Command {
    let mut command = Command::new("nsenter");
    for namespace in namespaces {
        let flag = match *namespace {
            "mnt" => "mount",
            "pid_for_children" => "pid",
            other => other,
        };
        command.arg(format!("--{flag}=/proc/{id}/ns/{namespace}"));
    }
    command.arg("--").arg(program);
    command
}
