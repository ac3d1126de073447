//! `portcullis policy explain`: what the policies say of a command, and why.

use super::catalogue;
use super::command::Commands;
use super::judge::{Asker, Judge, Judgement};
use super::setting::{GivenIdentity, Place, Setting, document};
use crate::output::{Document, Output, judged, printable};
use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;
use proxy_policy::Identity;
use proxy_postgres::catalogue::Catalogue;
use serde::{Deserialize, Serialize};
use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show verdict, rule, effects and mask plan of a command
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis policy explain -f config/ --resource orders --identity agent.yaml --command 'DROP DATABASE orders'
  portcullis policy explain -f config/ --resource orders --identity agent.yaml --catalogue tables.yaml \\
      --command 'SELECT * FROM users' -o json
  portcullis policy explain -f config/ --resource web --identity agent.yaml --command 'rm -rf /srv/cache'
  portcullis policy explain -f config/ --resource cluster --identity agent.yaml \\
      --command 'DELETE /api/v1/nodes/node-1'
  printf '%s\\n' '{\"id\":1,\"command\":\"SELECT 1\"}' | \\
      portcullis policy explain -f config/ --resource orders --identity agent.yaml --commands -

An identity is YAML or JSON: {subject: ci-bot, groups: [agents], claims: {repository: acme/billing}}.
A catalogue is a mapping of relations to columns: `public.users: [id, name, email]`. Without one, every relation of
the database is unknown, and whatever reads one is masked whole or refused.")]
pub(crate) struct Arguments {
    /// Directory of manifests, as for the gateway; Secrets need not be there.
    #[arg(short = 'f', long = "config", value_name = "DIR")]
    config: PathBuf,
    /// The Resource: NAME, or NAMESPACE/NAME.
    #[arg(long)]
    resource: String,
    /// File with the identity.
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// Role of the session. Omitted: the Resource's first.
    #[arg(long)]
    role: Option<String>,
    /// Database of the session. Omitted: `postgres`.
    #[arg(long, default_value = "postgres")]
    database: String,
    /// Host of the session, for SSH. Omitted: the Resource's first.
    #[arg(long)]
    host: Option<String>,
    /// File with the relations of the database.
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// Moment to judge at, for rules with times. Omitted: now.
    #[arg(long, value_name = "RFC3339")]
    at: Option<Timestamp>,
    /// The command: a statement, a command line, or `METHOD PATH [BODY]` of the Kubernetes API.
    #[arg(long, value_name = "COMMAND", required_unless_present = "commands")]
    command: Option<String>,
    /// Commands as JSON, one object a line: {"id", "command"}; `-` is standard input. Answers with one object a line.
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    commands: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let setting = Setting::load(&arguments.config, &arguments.resource)?;
    let catalogue = match &arguments.catalogue {
        Some(file) => catalogue::read(file)?,
        None => Catalogue::builtin(),
    };
    let identity: Identity = setting.complete(&document::<GivenIdentity>(&arguments.identity)?);
    let role = arguments.role.clone().unwrap_or_else(|| setting.first_role());
    let place = Place { database: Some(&arguments.database), host: arguments.host.as_deref() };
    let asker = Asker { identity: &identity, role: &role, namespace: setting.namespace(place) };
    let judge = Judge {
        policies: &setting.policies,
        commands: Commands::new(setting.protocol(), &catalogue),
        now: arguments.at.unwrap_or_else(Timestamp::now),
    };
    match (&arguments.command, &arguments.commands) {
        (Some(sql), _) => {
            let judgement = judge.judge(asker, sql);
            match output.format() {
                Document::Json => output.json(&judgement)?,
                Document::Table => print(&judgement, output)?,
            }
        }
        (None, Some(file)) if file.as_os_str() == "-" => {
            batch(&judge, asker, std::io::stdin().lock(), output)?;
        }
        (None, Some(file)) => {
            let lines = std::fs::File::open(file).with_context(|| format!("open {}", file.display()))?;
            batch(&judge, asker, std::io::BufReader::new(lines), output)?;
        }
        (None, None) => bail!("give --command or --commands"),
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    id: serde_json::Value,
    #[serde(alias = "sql")]
    command: String,
}

#[derive(Serialize)]
struct Answer {
    id: serde_json::Value,
    #[serde(flatten)]
    judgement: Judgement,
}

fn batch(
    judge: &Judge<'_>,
    asker: Asker<'_>,
    lines: impl BufRead,
    output: &mut Output,
) -> anyhow::Result<()> {
    for (index, line) in lines.lines().enumerate() {
        let line = line.context("read commands")?;
        if line.trim().is_empty() {
            continue;
        }
        let Question { id, command } = serde_json::from_str(&line)
            .with_context(|| format!("line {}: expected {{\"id\", \"command\"}}", index + 1))?;
        let answer = Answer { id, judgement: judge.judge(asker, &command) };
        output.line(&serde_json::to_string(&answer)?)?;
    }
    Ok(())
}

fn print(judgement: &Judgement, output: &mut Output) -> anyhow::Result<()> {
    let line = |name: &str, text: &str| format!("{name:<10} {}", printable(text));
    output.line(&format!("{:<10} {}", "verdict", judged(&judgement.verdict.to_lowercase())))?;
    output.line(&line("rule", &judgement.rule))?;
    if !judgement.message.is_empty() {
        output.line(&line("message", &judgement.message))?;
    }
    for effect in &judgement.effects {
        output.line(&line("effect", effect))?;
    }
    if let Some(why) = &judgement.unknown {
        output.line(&line("unknown", why))?;
    }
    for name in &judgement.unresolved {
        output.line(&line("not found", name))?;
    }
    for (index, columns) in judgement.masked.iter().enumerate() {
        for (column, mask) in columns {
            output.line(&line("mask", &format!("result {}, column {column}: {mask}", index + 1)))?;
        }
    }
    if !judgement.detectors.is_empty() {
        output.line(&line("detectors", &judgement.detectors.join(", ")))?;
    }
    if judgement.tainted {
        output.line(&line("withheld", "texts of errors and notices, which may quote masked values"))?;
    }
    for observed in &judgement.observed {
        output.line(&line("observed", observed))?;
    }
    Ok(())
}
