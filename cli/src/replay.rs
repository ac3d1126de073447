//! `portcullis replay`: a session again, as its client's own tool would have shown it.
//!
//! `renderer` is what a protocol must know; `screen` prints, `asciicast` exports.

mod asciicast;
mod cell;
mod contents;
mod kubernetes;
pub(crate) mod plain;
mod postgres;
pub(crate) mod renderer;
mod screen;
mod stream;
pub(crate) mod table;

use crate::identities::{IdentityArguments, Opened};
use crate::logs::SourceArguments;
use crate::output::{Document, Output};
use anyhow::bail;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use proxy_audit::chunks::Checker;
use proxy_audit::query;
use proxy_audit::replay::{self, Step, StepKind};
use renderer::Renderers;
use screen::Screen;
use std::process::ExitCode;
use std::time::Duration;

/// Replay a recorded session as its client's own tool would have shown it.
///
/// Values that were masked for the client are masked here too: the record never held them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis replay 0199e2
  portcullis replay 0199e2 --timing --idle 2
  portcullis replay 0199e2 --speed 10 --search 'drop table'
  portcullis replay 0199e2 --command 12
  portcullis replay 0199e2 --export asciicast > session.cast && asciinema play session.cast
  portcullis replay 0199e2 --file /srv/app/config.yaml > config.yaml
  portcullis replay 0199e2 -o json")]
pub(crate) struct Arguments {
    /// Identifier of the session, or how it begins.
    session: String,
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    identities: IdentityArguments,
    /// Take as long as the session took.
    #[arg(long)]
    timing: bool,
    /// As --timing, so many times faster.
    #[arg(long, value_name = "FACTOR", value_parser = speed)]
    speed: Option<f64>,
    /// With --timing or --speed: wait no longer than this many seconds at once.
    #[arg(long, value_name = "SECONDS", value_parser = speed)]
    idle: Option<f64>,
    /// Begin at this command.
    #[arg(long, value_name = "NUMBER")]
    command: Option<i64>,
    /// Begin at the first command whose text holds this; upper and lower case are the same.
    #[arg(long, value_name = "TEXT", conflicts_with = "command")]
    search: Option<String>,
    /// Write recorded terminals byte by byte, as their clients got them. What a session printed can do to your
    /// terminal what it could do to its client's; without this, it comes as plain lines.
    #[arg(long)]
    raw: bool,
    /// Write the session in another form.
    #[arg(long, value_enum, value_name = "FORM", conflicts_with_all = ["timing", "speed", "raw"])]
    export: Option<Export>,
    /// Write this file as it went through the session, with masked values masked: by `sftp` where the Resource has
    /// `recording.transfers: Contents`, or by legacy `scp`. Of several the first, from where --command says.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["timing", "speed", "raw", "export"])]
    file: Option<String>,
}

/// Forms of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Export {
    /// asciicast v3, for asciinema and its players.
    Asciicast,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let opened = arguments.identities.open_with_chunks(&arguments.source)?;
    let steps = steps(&opened, &arguments.session)?;
    let source = opened.source;
    let (before, steps) = steps.split_at_checked(begin(arguments, &steps)?).unwrap_or_default();
    if let Some(file) = &arguments.file {
        contents::write(steps, file, output)?;
        return Ok(source.conclude());
    }
    if output.format() == Document::Json {
        output.json(&steps)?;
        return Ok(source.conclude());
    }
    let session = query::session(&source, &arguments.session)?;
    let renderers = Renderers::of(&session);
    renderers.pass_over(before);
    if arguments.export == Some(Export::Asciicast) {
        asciicast::write(&session, &renderers, steps, output)?;
        return Ok(source.conclude());
    }
    let clock = Clock {
        speed: arguments.speed.or(arguments.timing.then_some(1.0)),
        idle: arguments.idle.map_or(Duration::MAX, Duration::from_secs_f64),
        last: None,
    };
    let mut screen = Screen::new(output, &renderers, clock, arguments.raw);
    screen.head(&session.summary)?;
    for step in steps {
        screen.show(step)?;
    }
    Ok(source.conclude())
}

/// The steps of the session that begins so, with what is known of results that nobody opened.
pub(crate) fn steps(opened: &Opened, prefix: &str) -> anyhow::Result<Vec<Step>> {
    let mut steps: Vec<Step> = replay::steps(&opened.source, prefix)?.collect();
    if steps.iter().any(|step| matches!(step.kind, StepKind::Sealed { .. })) {
        let session = query::session(&opened.source, prefix)?.summary;
        let checker = opened.chunks.get(&session.log).map(|directory| Checker::new(directory));
        if checker.is_some_and(|checker| checker.is_erased(&session.id).unwrap_or(false)) {
            replay::erased(&mut steps);
        }
    }
    Ok(steps)
}

/// What is said in place of a result that nobody can see here.
pub(crate) fn sealed(bytes: u64, erased: bool) -> String {
    if erased {
        return format!("{bytes} bytes of the result were erased: the session's key is gone");
    }
    format!(
        "{bytes} bytes of the result are encrypted for the auditors: --identity FILE shows them, unless they were erased"
    )
}

/// What is said of what was masked in a result.
fn masks(masked: &[String]) -> Option<String> {
    (!masked.is_empty()).then(|| format!("masked: {}", masked.join(", ")))
}

/// Where to begin.
fn begin(arguments: &Arguments, steps: &[Step]) -> anyhow::Result<usize> {
    let found = match (&arguments.command, &arguments.search) {
        (Some(number), _) => steps.iter().position(|step| step.command == Some(*number)),
        (None, Some(wanted)) => {
            let wanted = wanted.to_lowercase();
            steps.iter().position(
                |step| matches!(&step.kind, StepKind::Command { text, .. } if text.to_lowercase().contains(&wanted)),
            )
        }
        (None, None) => Some(0),
    };
    match found {
        Some(found) => Ok(found),
        None => bail!("the session has no such command"),
    }
}

/// Waits between steps as long as they were apart.
#[derive(Debug)]
struct Clock {
    speed: Option<f64>,
    idle: Duration,
    last: Option<Timestamp>,
}

impl Clock {
    fn wait_for(&mut self, time: Timestamp) {
        if self.last.is_some_and(|last| last > time) {
            return;
        }
        let last = self.last.replace(time);
        let (Some(speed), Some(last)) = (self.speed, last) else { return };
        let pause = Duration::try_from(time.duration_since(last)).unwrap_or_default();
        std::thread::sleep(pause.div_f64(speed).min(self.idle));
    }
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if speed.is_finite() && (0.01..=1e6).contains(&speed) {
        Ok(speed)
    } else {
        Err("a number from 0.01 to 1000000".to_owned())
    }
}
