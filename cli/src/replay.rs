//! `portcullis replay`: a session again, as psql would have shown it.

mod cell;
mod postgres;
mod table;

use crate::logs::LogArguments;
use crate::output::{Format, Output, judged, local, printable};
use clap::Args;
use jiff::Timestamp;
use owo_colors::OwoColorize as _;
use postgres::Transcript;
use proxy_audit::query::{self, SessionSummary};
use proxy_audit::replay::{Step, StepKind, steps};
use std::process::ExitCode;
use std::time::Duration;

/// Replay a recorded session as psql would have shown it.
///
/// Values that were masked for the client are masked here too: the record never held them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis replay 0199e2
  portcullis replay 0199e2 --timing
  portcullis replay 0199e2 --speed 10
  portcullis replay 0199e2 -o json")]
pub(crate) struct Arguments {
    /// Identifier of the session, or how it begins.
    session: String,
    #[command(flatten)]
    logs: LogArguments,
    /// Take as long as the session took.
    #[arg(long)]
    timing: bool,
    /// As --timing, so many times faster.
    #[arg(long, value_name = "FACTOR", value_parser = speed)]
    speed: Option<f64>,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let logs = arguments.logs.directories()?;
    let steps: Vec<Step> = steps(&logs, &arguments.session)?.collect();
    if output.format() == Format::Json {
        output.json(&steps)?;
        return Ok(ExitCode::SUCCESS);
    }
    let session = query::session(&logs, &arguments.session)?;
    let database = session.opening.get("db.namespace").map_or("", String::as_str);
    let mut screen = Screen {
        output,
        prompt: format!(
            "{}=> ",
            printable(if database.is_empty() { &session.summary.role } else { database })
        ),
        transcript: Transcript::default(),
        verdict: String::new(),
        answered: false,
    };
    screen.head(&session.summary)?;
    let mut clock = Clock { speed: arguments.speed.or(arguments.timing.then_some(1.0)), last: None };
    for step in &steps {
        clock.wait_for(step.time);
        screen.show(step)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits between steps as long as they were apart.
struct Clock {
    speed: Option<f64>,
    last: Option<Timestamp>,
}

impl Clock {
    fn wait_for(&mut self, time: Timestamp) {
        let last = self.last.replace(time);
        let (Some(speed), Some(last)) = (self.speed, last) else { return };
        let pause = Duration::try_from(time.duration_since(last)).unwrap_or_default();
        std::thread::sleep(pause.div_f64(speed));
    }
}

/// What has been shown so far.
struct Screen<'a> {
    output: &'a mut Output,
    prompt: String,
    transcript: Transcript,
    verdict: String,
    /// The command at hand has shown something of its answer.
    answered: bool,
}

impl Screen<'_> {
    fn head(&mut self, session: &SessionSummary) -> anyhow::Result<()> {
        let user = printable(if session.user_name.is_empty() { &session.user } else { &session.user_name });
        self.remark(&format!("session {} of {user}", session.id))?;
        self.remark(&format!(
            "{}/{} as {}, {}",
            session.namespace,
            session.resource,
            printable(&session.role),
            local(session.start)
        ))
    }

    fn show(&mut self, step: &Step) -> anyhow::Result<()> {
        match &step.kind {
            StepKind::Start { .. } => Ok(()),
            // A session is opened by a command that nobody typed.
            StepKind::Command { operation, verdict, text, .. } if operation == "CONNECT" => {
                self.verdict.clone_from(verdict);
                self.answered = true;
                if verdict == "allow" {
                    Ok(())
                } else {
                    self.remark(&format!("{}: {}", judged(verdict), printable(text)))
                }
            }
            StepKind::Command { text, verdict, rule, .. } => self.command(text, verdict, rule),
            StepKind::Approval { text, approvers, .. } => {
                let by = if approvers.is_empty() {
                    String::new()
                } else {
                    format!(" by {}", approvers.join(", "))
                };
                self.remark(&format!("{}{}", printable(text), printable(&by)))
            }
            StepKind::Output { frames } => {
                let shown = self.transcript.feed(frames);
                self.answered |= !shown.is_empty();
                self.print(&shown)
            }
            StepKind::Result { outcome, status_code, truncated, .. } => {
                self.result(outcome, status_code.as_deref(), *truncated)
            }
            StepKind::Error { text } => self.remark(&format!("error: {}", printable(text))),
            StepKind::End { reason } => self.remark(&format!("session ended: {}", printable(reason))),
        }
    }

    fn command(&mut self, text: &str, verdict: &str, rule: &str) -> anyhow::Result<()> {
        self.transcript = Transcript::default();
        verdict.clone_into(&mut self.verdict);
        self.answered = false;
        let text = printable(text.trim_end());
        let end = if text.ends_with(';') { "" } else { ";" };
        let prompt = self.prompt.clone();
        self.output.line(&format!("{}{text}{end}", prompt.bold()))?;
        match verdict {
            "allow" => Ok(()),
            _ => self.remark(&format!("{} by {}", judged(verdict), printable(rule))),
        }
    }

    fn result(&mut self, outcome: &str, status_code: Option<&str>, truncated: bool) -> anyhow::Result<()> {
        let rest = self.transcript.finish();
        self.answered |= !rest.is_empty();
        self.print(&rest)?;
        if truncated {
            self.remark("the rest of the result was not recorded")?;
        }
        if self.answered && outcome != "aborted" {
            return Ok(());
        }
        let code = status_code.map(|code| format!(" {code}")).unwrap_or_default();
        self.remark(&format!("{}{}", judged(outcome), printable(&code)))
    }

    fn print(&mut self, text: &str) -> anyhow::Result<()> {
        for line in text.lines() {
            self.output.line(line)?;
        }
        Ok(())
    }

    /// What psql would not have shown.
    fn remark(&mut self, text: &str) -> anyhow::Result<()> {
        self.output.line(&format!("{}", format!("-- {text}").dimmed()))
    }
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if speed.is_finite() && speed >= 0.01 { Ok(speed) } else { Err("a factor of at least 0.01".to_owned()) }
}
