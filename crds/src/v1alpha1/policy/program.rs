//! Patterns over a program and its arguments, for whatever runs programs: SSH, and exec in a pod.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Matches a program that is run and its arguments. Either `argv`, or `name` with or without `args`.
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.argv) != has(self.name)").message("set either name or argv"))]
#[x_kube(validation = Rule::new("!has(self.argv) || !has(self.args)").message("args goes with name; argv is whole"))]
pub struct ProgramPattern {
    /// The program, without its directory unless the pattern has a `/`; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name: Option<String>,
    /// Each of these must match some argument, in any order; `*` stands for any characters. Letters of short options
    /// may stand together or apart: `-rf` is met by `-fr` and by `-r -f`. Omitted: whatever the arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub args: Vec<String>,
    /// The whole command line, word by word: the strong form for lists of what is allowed. `*` stands for any
    /// characters of one word, a last `**` for any further words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub argv: Vec<String>,
}
