//! Matches what is done over SSH.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::program::ProgramPattern;

/// Matches acts over SSH; every field that is set must match. `*` stands for any characters in every pattern.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshMatch {
    /// Kinds of act. Omitted or empty: every kind, but an `Allow` or `Hold` must name `Unknown` to be about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub effects: Vec<SshEffect>,
    /// Programs and their arguments; any of them. With it, only `Execute` is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub commands: Vec<ProgramPattern>,
    /// Files: `/srv/*`. With it, only acts on files are meant, by SFTP, scp, or a program whose files are known. A
    /// relative path is as the client wrote it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub paths: Vec<String>,
    /// Subsystems: `sftp`. With it, only `Subsystem` is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub subsystems: Vec<String>,
    /// Names of environment variables. With it, only `Environment` is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub variables: Vec<String>,
    /// Where a forwarding leads, or listens: `db.internal:5432`. With it, only forwardings are meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub destinations: Vec<String>,
    /// How interactive shells are watched. With it, only `Shell` is meant. An `Allow` of `Shell` without it allows
    /// `LineDisciplined` shells alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub shells: Vec<ShellMode>,
    /// Hosts of the Resource, by name. Omitted: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub hosts: Vec<String>,
    /// `true`: only what is done to a whole tree or device, as by `rm -r`. `false`: only what is not. Omitted: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unbounded: Option<bool>,
}

/// What is done over SSH.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum SshEffect {
    /// Owner, mode or times of a file are changed.
    Attributes,
    /// The opening of a session.
    Connect,
    /// An environment variable is set.
    Environment,
    /// A program is run: one for each simple command of a command line.
    Execute,
    /// The client's agent is lent to the host.
    ForwardAgent,
    /// A connection from the client through the host (`-L`, `-D`, `-W`, `-J`).
    ForwardLocal,
    /// A port of the host that leads to the client (`-R`).
    ForwardRemote,
    /// A UNIX socket, in either direction.
    ForwardSocket,
    /// The client's X11 display is lent to the host.
    ForwardX11,
    /// A directory is listed, or a file's attributes are read.
    List,
    /// A file is read.
    Read,
    /// A file or directory is removed.
    Remove,
    /// A file or directory is renamed or linked.
    Rename,
    /// An interactive shell is opened.
    Shell,
    /// A subsystem is opened.
    Subsystem,
    /// A terminal is allocated for a program that is not a shell.
    Terminal,
    /// What cannot be told: a command word that is not literal, code handed to an interpreter, a script.
    Unknown,
    /// A file is written, or a directory made.
    Write,
}

/// How an interactive shell is watched.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ShellMode {
    /// The gateway owns the editing of each line, and decides the line before the host sees it. Programs that want a
    /// raw terminal do not work.
    LineDisciplined,
    /// Everything passes and is recorded; **nothing is decided** after the shell was opened. Advisory.
    RecordOnly,
}
