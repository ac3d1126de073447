//! What a touch is beyond its kind and name, for protocols whose rules ask for more.

use serde::Serialize;
use std::sync::Arc;

use super::Touch;

/// The particulars of a touch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Detail {
    /// None: kind and name say all.
    #[default]
    None,
    /// A program that is run.
    Program(Arc<Program>),
    /// A program, and what is not certain of its arguments.
    Given(Arc<Program>, Arc<Arguments>),
    /// A request to a Kubernetes API server.
    Request(Arc<ApiRequest>),
}

impl Detail {
    /// The request, if it is one.
    pub fn request(&self) -> Option<&ApiRequest> {
        match self {
            Self::Request(request) => Some(request),
            Self::None | Self::Program(_) | Self::Given(..) => None,
        }
    }

    /// The program, if it is one; that of an exec request is in its `command`.
    pub fn program(&self) -> Option<&Program> {
        match self {
            Self::Program(program) | Self::Given(program, _) => Some(program),
            Self::None | Self::Request(_) => None,
        }
    }

    /// What is not certain of the program's arguments.
    pub(crate) fn arguments(&self) -> Option<&Arguments> {
        match self {
            Self::Given(_, arguments) => Some(arguments),
            Self::None | Self::Program(_) | Self::Request(_) => None,
        }
    }
}

/// What is not certain of a program's arguments.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Arguments {
    /// Places, counted from 0, of those that are no values: each stands for whatever it becomes as a word of a shell.
    pub patterns: Vec<usize>,
    /// Files and trees that the arguments may name, of a program of which nobody knows what it does with them.
    pub files: Vec<String>,
}

/// A program and its arguments.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// The command word as it is written, directory included.
    pub word: String,
    /// What follows.
    pub args: Vec<String>,
}

impl Program {
    /// The program without its directory.
    pub fn name(&self) -> &str {
        self.word.rsplit('/').next().unwrap_or(&self.word)
    }
}

/// What a command line does.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Runs {
    /// Programs that it runs, the first word's and those that shells and others are given to run, and what is done to
    /// files.
    pub touches: Vec<Touch>,
    /// It may do more: a shell that reads what to do from its input, a word that is computed.
    pub unknown: bool,
}

/// One request to a Kubernetes API server, in canonical form: what the server would make of it, not what was sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "flags of the API, each with a name that rules know")]
pub struct ApiRequest {
    /// The verb as RBAC knows it; for paths that are no resource the HTTP method in lower case.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Resource in the plural; empty for paths that are no resource.
    pub resource: String,
    /// Subresource; empty where there is none.
    pub subresource: String,
    /// Namespace; empty where there is none.
    pub namespace: String,
    /// It names no namespace and is about what stands in namespaces, or may: about every one of them.
    pub every_namespace: bool,
    /// Name of the object; empty where there is none.
    pub name: String,
    /// The path, where it is no resource; empty else.
    pub path: String,
    /// The server is asked not to keep the change.
    pub dry_run: bool,
    /// The command line of an `exec`.
    pub command: Vec<String>,
    /// What this command line does.
    pub runs: Runs,
    /// Container of an `exec`, `attach` or `log`; empty where none is named.
    pub container: String,
    /// Standard input is passed.
    pub stdin: bool,
    /// A terminal is asked for.
    pub tty: bool,
    /// Images that the written object names.
    pub images: Vec<String>,
    /// Fields that an update or patch touches, as dotted paths. `None`: not known.
    pub fields: Option<Vec<String>>,
    /// The written object, its secrets masked.
    pub object: Option<Arc<serde_json::Value>>,
}

impl ApiRequest {
    /// Whether fields are touched that [`Self::fields`] does not tell.
    pub(crate) fn may_touch_any_field(&self) -> bool {
        self.fields.is_none() && matches!(self.verb.as_str(), "update" | "patch")
    }
}
