//! Prints a session, step by step.

use crate::output::{Output, judged, local, printable};
use crate::replay::Clock;
use crate::replay::plain::Plain;
use crate::replay::renderer::{self, Part, Renderer};
use jiff::Timestamp;
use owo_colors::OwoColorize as _;
use proxy_audit::query::{SessionDetail, SessionSummary};
use proxy_audit::replay::{Step, StepKind};
use proxy_audit::stream::{Channel, StreamEvent, StreamFrame};
use std::time::Duration;

/// What has been shown so far.
pub(super) struct Screen<'a> {
    output: &'a mut Output,
    renderer: Box<dyn Renderer>,
    clock: Clock,
    raw: bool,
    plain: Plain,
    /// When the command at hand began.
    began: Timestamp,
    /// The command at hand has shown something of its answer.
    answered: bool,
}

impl<'a> Screen<'a> {
    pub(super) fn new(output: &'a mut Output, session: &SessionDetail, clock: Clock, raw: bool) -> Self {
        let began = session.summary.start;
        let renderer = renderer::of(session);
        Self { output, renderer, clock, raw, plain: Plain::default(), began, answered: false }
    }

    pub(super) fn head(&mut self, session: &SessionSummary) -> anyhow::Result<()> {
        let user = crate::sessions::user(session);
        self.remark(&format!("session {} of {user}", printable(&session.id)))?;
        self.remark(&format!(
            "{} as {}, {}",
            printable(&format!("{}/{}", session.namespace, session.resource)),
            printable(&session.role),
            local(session.start)
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
            StepKind::Command { operation, verdict, text, .. } if operation == "CONNECT" => {
                self.answered = true;
                if verdict == "allow" {
                    Ok(())
                } else {
                    self.remark(&format!("{}: {}", judged(verdict), printable(text)))
                }
            }
            StepKind::Command { text, verdict, rule, .. } => {
                self.began = step.time;
                self.command(text, verdict, rule)
            }
            StepKind::Approval { text, approvers, .. } => {
                let by = if approvers.is_empty() {
                    String::new()
                } else {
                    format!(" by {}", approvers.join(", "))
                };
                self.remark(&format!("{}{}", printable(text), printable(&by)))
            }
            StepKind::Output { frames } => {
                let parts = self.renderer.feed(frames);
                self.parts(&parts, step.time)
            }
            StepKind::Result { outcome, status_code, truncated, .. } => {
                self.result(step.time, outcome, status_code.as_deref(), *truncated)
            }
            StepKind::Error { text } => self.remark(&format!("error: {}", printable(text))),
            StepKind::End { reason } => self.remark(&format!("session ended: {}", printable(reason))),
        }
    }

    fn command(&mut self, text: &str, verdict: &str, rule: &str) -> anyhow::Result<()> {
        self.answered = false;
        self.plain = Plain::default();
        let (prompt, text) = self.renderer.begin(text);
        self.output.line(&format!("{}{text}", prompt.bold()))?;
        match verdict {
            "allow" => Ok(()),
            _ => self.remark(&format!("{} by {}", judged(verdict), printable(rule))),
        }
    }

    fn result(
        &mut self,
        time: Timestamp,
        outcome: &str,
        status_code: Option<&str>,
        truncated: bool,
    ) -> anyhow::Result<()> {
        let rest = self.renderer.finish();
        self.parts(&rest, time)?;
        let line = self.plain.rest();
        self.print(&line)?;
        if truncated {
            self.remark("the rest of the result was not recorded")?;
        }
        if self.answered && outcome != "aborted" {
            return Ok(());
        }
        let code = status_code.map(|code| format!(" {code}")).unwrap_or_default();
        self.remark(&format!("{}{}", judged(outcome), printable(&code)))
    }

    fn parts(&mut self, parts: &[Part], time: Timestamp) -> anyhow::Result<()> {
        for part in parts {
            match part {
                Part::Text(_) | Part::Table(_) => {
                    self.clock.wait_for(time);
                    self.print(&part.text())?;
                }
                Part::Stream(frame) => self.frame(frame)?,
            }
        }
        Ok(())
    }

    fn frame(&mut self, frame: &StreamFrame) -> anyhow::Result<()> {
        self.clock.wait_for(self.began + Duration::from_micros(frame.micros.min(MAX_MICROS)));
        self.answered = true;
        match &frame.event {
            StreamEvent::Data { channel: Channel::STDIN, .. } | StreamEvent::End(_) => Ok(()),
            StreamEvent::Data { bytes, .. } if self.raw => self.output.bytes(bytes),
            StreamEvent::Data { bytes, .. } => {
                let text = self.plain.feed(bytes);
                self.print(&text)
            }
            StreamEvent::Resize { .. } => Ok(()),
            StreamEvent::Exit(0) => Ok(()),
            StreamEvent::Exit(code) => self.remark(&format!("exit code {code}")),
            StreamEvent::ExitSignal(name) => self.remark(&format!("ended by signal {}", printable(name))),
            StreamEvent::Signal(name) => self.remark(&format!("the client sent signal {}", printable(name))),
            StreamEvent::Omitted { bytes, .. } => {
                self.remark(&format!("{bytes} bytes are on record by their digest only"))
            }
        }
    }

    fn print(&mut self, text: &str) -> anyhow::Result<()> {
        self.answered |= !text.is_empty();
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
