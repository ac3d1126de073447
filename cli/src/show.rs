//! `portcullis show`: what one session did.

use crate::logs::SourceArguments;
use crate::output::{Document, Output, inline, judged, printable, utc};
use crate::salvage::Salvaged;
use clap::Args;
use proxy_audit::query::{self, Command, SessionDetail};
use std::process::ExitCode;

/// Show the commands of a session, the verdicts and what came of them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis show 0199e2
  portcullis show 0199e2 -o json | jq '.commands[] | select(.verdict == \"deny\")'")]
pub(crate) struct Arguments {
    /// Identifier of the session, or how it begins.
    session: String,
    #[command(flatten)]
    source: SourceArguments,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let source = Salvaged::new(arguments.source.open()?);
    let detail = query::session(&source, &arguments.session)?;
    match output.format() {
        Document::Json => output.json(&detail)?,
        Document::Table => {
            for line in head(&detail) {
                output.line(&line)?;
            }
            for command in &detail.commands {
                output.line("")?;
                for line in lines(command) {
                    output.line(&line)?;
                }
            }
            for error in &detail.errors {
                output.line(&format!("\n{} {}", judged("error"), inline(error)))?;
            }
        }
    }
    Ok(source.conclude())
}

fn head(detail: &SessionDetail) -> Vec<String> {
    let session = &detail.summary;
    let mut lines = vec![
        format!("session   {}", inline(&session.id)),
        format!("user      {} ({})", inline(&session.user_name), inline(&session.user)),
        format!("groups    {}", inline(&session.groups.join(", "))),
    ];
    for (name, value) in &session.claims {
        lines.push(format!("claim     {} = {}", inline(name), inline(value)));
    }
    lines.push(format!(
        "resource  {}/{} as {}",
        inline(&session.namespace),
        inline(&session.resource),
        inline(&session.role)
    ));
    for (name, value) in &detail.opening {
        lines.push(format!("          {name} = {}", inline(value)));
    }
    lines.push(format!("start     {}", utc(session.start)));
    lines.push(match (session.end, &session.reason) {
        (Some(end), reason) => {
            format!("end       {} ({})", utc(end), inline(reason.as_deref().unwrap_or("no reason")))
        }
        (None, _) => "end       open".to_owned(),
    });
    lines
}

fn lines(command: &Command) -> Vec<String> {
    let mut lines = vec![format!(
        "#{} {}  {} by {}  (seq {})",
        command.number,
        utc(command.time),
        judged(&inline(&command.verdict)),
        inline(&command.rule),
        command.sequence
    )];
    lines.extend(printable(&command.text).lines().map(|line| format!("    {line}")));
    lines.extend(command.effects.iter().map(|effect| format!("  effect    {}", inline(effect))));
    lines.extend(command.observed.iter().map(|verdict| format!("  observed  {}", inline(verdict))));
    for approval in &command.approvals {
        let by = if approval.approvers.is_empty() {
            String::new()
        } else {
            format!(" by {}", approval.approvers.join(", "))
        };
        let (name, by) = (inline(&approval.name), inline(&by));
        lines.push(format!(
            "  approval  {} {name}{by}  {}",
            judged(&inline(&approval.verdict)),
            utc(approval.time)
        ));
    }
    lines.extend(command.outcome.as_ref().map(|outcome| format!("  result    {}", result(command, outcome))));
    lines.extend(command.masked.iter().map(|masked| format!("  masked    {}", inline(masked))));
    lines
}

fn result(command: &Command, outcome: &str) -> String {
    let mut line = judged(&inline(outcome));
    if let Some(code) = &command.status_code {
        line.extend([" ", &inline(code)]);
    }
    for (measure, unit) in [(command.rows, "rows"), (command.bytes, "bytes"), (command.duration_us, "µs")] {
        line.extend(measure.map(|measure| format!(", {measure} {unit}")));
    }
    if command.truncated {
        line.push_str(", recorded in part");
    }
    line
}
