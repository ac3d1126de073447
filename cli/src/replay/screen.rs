//! Prints a session, step by step.

use crate::output::{Output, inline, judged, utc};
use crate::replay::Clock;
use crate::replay::plain::Plain;
use crate::replay::renderer::{Part, Renderer, Renderers};
use crate::replay::{masks, sealed};
use jiff::Timestamp;
use owo_colors::OwoColorize as _;
use proxy_audit::query::SessionSummary;
use proxy_audit::replay::{Refusal, Step, StepKind};
use proxy_audit::stream::{Channel, StreamEvent, StreamFrame};
use std::collections::HashMap;
use std::time::Duration;

/// What has been shown so far.
pub(super) struct Screen<'a> {
    output: &'a mut Output,
    renderers: &'a Renderers,
    clock: Clock,
    raw: bool,
    /// Commands without a result: of several channels, several run at once.
    running: HashMap<Option<i64>, Running>,
}

/// A command without a result.
struct Running {
    renderer: Box<dyn Renderer>,
    plain: Plain,
    began: Timestamp,
    /// It has shown something of its answer.
    answered: bool,
}

impl<'a> Screen<'a> {
    pub(super) fn new(output: &'a mut Output, renderers: &'a Renderers, clock: Clock, raw: bool) -> Self {
        Self { output, renderers, clock, raw, running: HashMap::new() }
    }

    /// Takes a command up. One whose begin was not shown begins here.
    fn take(&mut self, step: &Step) -> Running {
        self.running.remove(&step.command).unwrap_or_else(|| Running {
            renderer: self.renderers.renderer(),
            plain: Plain::default(),
            began: step.time,
            answered: false,
        })
    }

    pub(super) fn head(&mut self, session: &SessionSummary) -> anyhow::Result<()> {
        let user = crate::sessions::user(session);
        self.remark(&format!("session {} of {user}", inline(&session.id)))?;
        self.remark(&format!(
            "{} as {}, {}",
            inline(&format!("{}/{}", session.namespace, session.resource)),
            inline(&session.role),
            utc(session.start)
        ))
    }

    pub(super) fn show(&mut self, step: &Step) -> anyhow::Result<()> {
        // What a terminal showed has times of its own, from before the record was written.
        if !matches!(step.kind, StepKind::Output { .. }) {
            self.clock.wait_for(step.time);
        }
        match &step.kind {
            StepKind::Start { .. } => Ok(()),
            // A session is opened by a command that nobody typed.
            StepKind::Command { operation, verdict, text, .. }
                if operation.eq_ignore_ascii_case("connect") =>
            {
                let running = self.take(step);
                self.running.insert(step.command, Running { answered: true, ..running });
                if verdict == "allow" {
                    Ok(())
                } else {
                    self.remark(&format!("{}: {}", judged(&inline(verdict)), inline(text)))
                }
            }
            StepKind::Command { text, verdict, rule, refusal, .. } => {
                self.command(step, text, verdict, rule)?;
                self.refused(step, refusal.as_ref())
            }
            StepKind::Approval { text, approvers, refusal, .. } => {
                let by = if approvers.is_empty() {
                    String::new()
                } else {
                    format!(" by {}", approvers.join(", "))
                };
                self.remark(&format!("{}{}", inline(text), inline(&by)))?;
                self.refused(step, refusal.as_ref())
            }
            StepKind::Output { frames } => {
                let mut running = self.take(step);
                let parts = running.renderer.feed(frames);
                self.parts(&mut running, &parts, step.time)?;
                self.running.insert(step.command, running);
                Ok(())
            }
            StepKind::Result { outcome, status_code, truncated, masked, refusal, .. } => {
                self.refused(step, refusal.as_ref())?;
                let mut running = self.take(step);
                let rest = running.renderer.finish();
                self.parts(&mut running, &rest, step.time)?;
                self.result(running, outcome, status_code.as_deref(), *truncated)?;
                masks(masked).map_or(Ok(()), |masks| self.remark(&inline(&masks)))
            }
            StepKind::Sealed { bytes, erased } => self.remark(&sealed(*bytes, *erased)),
            StepKind::Error { text } => self.remark(&format!("error: {}", inline(text))),
            StepKind::End { reason } => self.remark(&format!("session ended: {}", inline(reason))),
        }
    }

    fn command(&mut self, step: &Step, text: &str, verdict: &str, rule: &str) -> anyhow::Result<()> {
        self.running.remove(&step.command);
        let mut running = self.take(step);
        let (prompt, text) = running.renderer.begin(text);
        self.running.insert(step.command, running);
        self.output.line(&format!("{}{text}", prompt.bold()))?;
        match verdict {
            "allow" => Ok(()),
            _ => self.remark(&format!("{} by {}", judged(&inline(verdict)), inline(rule))),
        }
    }

    /// What the client saw of a refusal.
    fn refused(&mut self, step: &Step, refusal: Option<&Refusal>) -> anyhow::Result<()> {
        let Some(refusal) = refusal else { return Ok(()) };
        let mut running = self.take(step);
        running.answered = true;
        self.print(&running.renderer.refused(refusal))?;
        self.running.insert(step.command, running);
        Ok(())
    }

    fn result(
        &mut self,
        mut running: Running,
        outcome: &str,
        status_code: Option<&str>,
        truncated: bool,
    ) -> anyhow::Result<()> {
        let line = running.plain.rest();
        self.print(&line)?;
        if truncated {
            self.remark("the rest of the result was not recorded")?;
        }
        if (running.answered || !line.is_empty()) && outcome != "aborted" {
            return Ok(());
        }
        let code = status_code.map(|code| format!(" {code}")).unwrap_or_default();
        self.remark(&format!("{}{}", judged(&inline(outcome)), inline(&code)))
    }

    fn parts(&mut self, running: &mut Running, parts: &[Part], time: Timestamp) -> anyhow::Result<()> {
        for part in parts {
            match part {
                Part::Text(_) | Part::Table(_) => {
                    self.clock.wait_for(time);
                    let text = part.text();
                    running.answered |= !text.is_empty();
                    self.print(&text)?;
                }
                Part::Stream(frame) => self.frame(running, frame)?,
            }
        }
        Ok(())
    }

    fn frame(&mut self, running: &mut Running, frame: &StreamFrame) -> anyhow::Result<()> {
        self.clock.wait_for(running.began + Duration::from_micros(frame.micros.min(MAX_MICROS)));
        running.answered = true;
        match &frame.event {
            StreamEvent::Data { channel: Channel::STDIN, .. }
            | StreamEvent::End(_)
            | StreamEvent::Resize { .. }
            | StreamEvent::Exit(0) => Ok(()),
            StreamEvent::Data { bytes, .. } if self.raw => self.output.bytes(bytes),
            StreamEvent::Data { bytes, .. } => {
                let text = running.plain.feed(bytes);
                self.print(&text)
            }
            StreamEvent::Exit(code) => self.remark(&format!("exit code {code}")),
            StreamEvent::ExitSignal(name) => self.remark(&format!("ended by signal {}", inline(name))),
            StreamEvent::Signal(name) => self.remark(&format!("the client sent signal {}", inline(name))),
            StreamEvent::Omitted { bytes, .. } => {
                self.remark(&format!("{bytes} bytes are on record by their digest only"))
            }
            StreamEvent::File { bytes, digest, path, .. } => {
                let digest = const_hex::encode(digest);
                self.remark(&format!("file {}: {bytes} bytes, SHA-256 {digest}", inline(path)))
            }
            StreamEvent::Part { offset, path, .. } => {
                self.remark(&format!("file {}, from byte {offset}", inline(path)))
            }
        }
    }

    fn print(&mut self, text: &str) -> anyhow::Result<()> {
        for line in text.lines() {
            self.output.line(line)?;
        }
        Ok(())
    }

    /// What the client's tool would not have shown.
    fn remark(&mut self, text: &str) -> anyhow::Result<()> {
        self.output.line(&format!("{}", format!("-- {text}").dimmed()))
    }
}

/// A year: a time beyond it is no time.
pub(super) const MAX_MICROS: u64 = 366 * 86_400 * 1_000_000;
