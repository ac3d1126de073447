//! `portcullis policy test`: expectations of policies, for people's continuous integration.

use super::catalogue::{self, Source};
use super::command::Commands;
use super::judge::{Asker, Judge, Judgement};
use super::setting::{GivenIdentity, Place, Setting, document};
use crate::output::{Document, Output, judged, printable};
use anyhow::{Context as _, ensure};
use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Run expectations of policies; exit code 1 when one is not met, 3 when that cannot be told
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis policy test examples/standalone/tests/agents.yaml

A file of expectations:
  config: ..                     # directory of manifests, from the file
  resource: orders
  catalogue: {public.users: [id, name, email]}
  identities:
    agent: {subject: ci-bot, groups: [agents]}
  cases:
  - name: drops are refused
    identity: agent
    command: DROP DATABASE orders
    expect: {verdict: Deny, rule: agents/no-drops}
  - name: addresses come masked
    identity: agent
    command: SELECT id, email FROM users
    expect: {verdict: Allow, masked: {2: Partial}}")]
pub(crate) struct Arguments {
    /// Files of expectations.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Suite {
    config: PathBuf,
    resource: String,
    catalogue: Option<Source>,
    identities: BTreeMap<String, GivenIdentity>,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    /// Omitted: the command.
    name: Option<String>,
    identity: String,
    /// Omitted: the Resource's first role.
    role: Option<String>,
    /// Omitted: `postgres`.
    database: Option<String>,
    /// For SSH. Omitted: the Resource's first host.
    host: Option<String>,
    /// Moment to judge at. Omitted: now.
    at: Option<Timestamp>,
    command: String,
    expect: Expectation,
}

/// What must be; what is omitted may be anything.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expectation {
    verdict: Option<Word>,
    /// `policy/rule`.
    rule: Option<String>,
    /// Every masked column of the first result, by number from 1, `*` for all, and its mask. Empty: none.
    masked: Option<BTreeMap<Column, String>>,
    /// Every effect, in order.
    effects: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Word {
    Allow,
    Deny,
    Hold,
}

#[derive(Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(untagged)]
enum Column {
    Number(u32),
    Name(String),
}

/// How a case went.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    file: String,
    case: String,
    passed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let mut done = Vec::new();
    for file in &arguments.files {
        done.extend(suite(file)?);
    }
    let failed = done.iter().filter(|done| !done.passed).count();
    match output.format() {
        Document::Json => output.json(&done)?,
        Document::Table => {
            for case in &done {
                let word = if case.passed { judged("ok") } else { judged("error") };
                output.line(&format!("{word:<5} {}", printable(&case.case)))?;
                for difference in &case.differences {
                    output.line(&format!("        {}", printable(difference)))?;
                }
            }
            output.line(&format!("{} passed, {failed} failed", done.len() - failed))?;
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn suite(file: &Path) -> anyhow::Result<Vec<Done>> {
    let suite: Suite = document(file)?;
    ensure!(!suite.cases.is_empty(), "{}: expected at least one case", file.display());
    let beside = file.parent().unwrap_or(Path::new("."));
    let setting = Setting::load(&beside.join(&suite.config), &suite.resource)?;
    let catalogue = catalogue::build(suite.catalogue.as_ref(), beside)?;
    let first_role = setting.first_role();
    let mut done = Vec::new();
    for case in &suite.cases {
        let name = case.name.clone().unwrap_or_else(|| case.command.clone());
        let given = suite.identities.get(&case.identity).with_context(|| {
            format!("{}: case {name}: there is no identity {}", file.display(), case.identity)
        })?;
        let judge = Judge {
            policies: &setting.policies,
            commands: Commands::new(setting.protocol(), &catalogue),
            now: case.at.unwrap_or_else(Timestamp::now),
        };
        let asker = Asker {
            identity: &setting.complete(given),
            role: case.role.as_deref().unwrap_or(&first_role),
            namespace: setting
                .namespace(Place { database: case.database.as_deref(), host: case.host.as_deref() }),
        };
        let differences = case.expect.differences(&judge.judge(asker, &case.command));
        let file = file.display().to_string();
        done.push(Done { file, case: name, passed: differences.is_empty(), differences });
    }
    Ok(done)
}

impl Expectation {
    fn differences(&self, found: &Judgement) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, expected: &str, found: &str| {
            if expected != found {
                differences.push(format!("{what}: expected {expected}, found {found}"));
            }
        };
        if let Some(verdict) = self.verdict {
            compare("verdict", &format!("{verdict:?}"), found.verdict);
        }
        if let Some(rule) = &self.rule {
            compare("rule", rule, &found.rule);
        }
        if let Some(effects) = &self.effects {
            compare("effects", &effects.join(", "), &found.effects.join(", "));
        }
        if let Some(masked) = &self.masked {
            let expected: BTreeMap<String, String> = masked
                .iter()
                .map(|(column, mask)| match column {
                    Column::Number(number) => (number.to_string(), mask.clone()),
                    Column::Name(name) => (name.clone(), mask.clone()),
                })
                .collect();
            let found = found.masked.first().cloned().unwrap_or_default();
            compare("masked", &format!("{expected:?}"), &format!("{found:?}"));
        }
        if !differences.is_empty() {
            differences.extend(found.unknown.iter().map(|why| format!("effects are not all known: {why}")));
        }
        differences
    }
}
