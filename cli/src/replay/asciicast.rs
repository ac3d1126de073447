//! asciicast v3: <https://docs.asciinema.org/manual/asciicast/v3/>. Recorded terminals as they were; results of other
//! protocols as their tools show them. Commands, verdicts, approvals and masks are markers, to jump to.

use crate::output::{Output, inline};
use crate::replay::renderer::{Part, Renderer, Renderers};
use crate::replay::screen::MAX_MICROS;
use crate::replay::{masks, sealed};
use jiff::Timestamp;
use proxy_audit::query::SessionDetail;
use proxy_audit::replay::{Refusal, Step, StepKind};
use proxy_audit::stream::{Channel, StreamEvent};
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

/// Width and height where none is on record.
const SIZE: (u16, u16) = (120, 36);

struct Cast<'a> {
    output: &'a mut Output,
    renderers: &'a Renderers,
    /// Time of the last event.
    last: Timestamp,
    /// Commands without a result: of one session, several may run at once.
    running: HashMap<Option<i64>, Running>,
}

/// A command without a result.
struct Running {
    renderer: Box<dyn Renderer>,
    began: Timestamp,
    /// First bytes of a character that is cut.
    cut: Vec<u8>,
}

pub(super) fn write(
    session: &SessionDetail,
    renderers: &Renderers,
    steps: &[Step],
    output: &mut Output,
) -> anyhow::Result<()> {
    let start = steps.first().map_or(session.summary.start, |step| step.time);
    let (columns, rows) = size(renderers, steps);
    output.json_line(&json!({
        "version": 3,
        "term": {"cols": columns, "rows": rows},
        "timestamp": start.as_second(),
        "title": inline(&format!(
            "{} on {}/{}", crate::sessions::user(&session.summary), session.summary.namespace, session.summary.resource
        )),
    }))?;
    let mut cast = Cast { output, renderers, last: start, running: HashMap::new() };
    steps.iter().try_for_each(|step| cast.step(step))
}

/// The size of the first terminal.
fn size(renderers: &Renderers, steps: &[Step]) -> (u16, u16) {
    let mut running: HashMap<Option<i64>, Box<dyn Renderer>> = HashMap::new();
    for step in steps {
        let own = || renderers.renderer();
        match &step.kind {
            StepKind::Command { text, .. } => {
                let mut renderer = own();
                renderer.begin(text);
                running.insert(step.command, renderer);
            }
            StepKind::Output { frames } => {
                for part in running.entry(step.command).or_insert_with(own).feed(frames) {
                    if let Part::Stream(frame) = part
                        && let StreamEvent::Resize { columns, rows } = frame.event
                    {
                        return (columns, rows);
                    }
                }
            }
            StepKind::Result { .. } => drop(running.remove(&step.command)),
            StepKind::Approval { .. }
            | StepKind::End { .. }
            | StepKind::Error { .. }
            | StepKind::Sealed { .. }
            | StepKind::Start { .. } => {}
        }
    }
    SIZE
}

impl Cast<'_> {
    /// Takes a command up. One whose begin was not shown begins here.
    fn take(&mut self, step: &Step) -> Running {
        self.running.remove(&step.command).unwrap_or_else(|| Running {
            renderer: self.renderers.renderer(),
            began: step.time,
            cut: Vec::new(),
        })
    }

    fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        match &step.kind {
            StepKind::Start { .. } => Ok(()),
            StepKind::Command { operation, .. } if operation.eq_ignore_ascii_case("connect") => Ok(()),
            StepKind::Command { text, verdict, rule, refusal, .. } => {
                self.running.remove(&step.command);
                let mut running = self.take(step);
                let (prompt, text) = running.renderer.begin(text);
                self.running.insert(step.command, running);
                self.event(step.time, "m", &inline(&format!("{verdict}: {text}")))?;
                self.text(step.time, &format!("{prompt}{text}\n"))?;
                if verdict == "allow" {
                    Ok(())
                } else {
                    self.remark(step.time, &format!("{verdict} by {rule}"))?;
                    self.refused(step, refusal.as_ref())
                }
            }
            StepKind::Approval { text, approvers, verdict, refusal } => {
                self.event(step.time, "m", &inline(&format!("approval: {verdict}")))?;
                self.remark(step.time, &format!("{text} {}", approvers.join(", ")))?;
                self.refused(step, refusal.as_ref())
            }
            StepKind::Output { frames } => {
                let mut running = self.take(step);
                let parts = running.renderer.feed(frames);
                self.parts(&mut running, step.time, &parts)?;
                self.running.insert(step.command, running);
                Ok(())
            }
            StepKind::Result { truncated, masked, refusal, .. } => {
                self.refused(step, refusal.as_ref())?;
                let mut running = self.take(step);
                let parts = running.renderer.finish();
                self.parts(&mut running, step.time, &parts)?;
                if *truncated {
                    self.remark(step.time, "the rest was not recorded")?;
                }
                let Some(masks) = masks(masked) else { return Ok(()) };
                self.event(step.time, "m", &inline(&masks))?;
                self.remark(step.time, &masks)
            }
            StepKind::Sealed { bytes, erased } => self.remark(step.time, &sealed(*bytes, *erased)),
            StepKind::Error { text } => self.remark(step.time, &format!("error: {text}")),
            StepKind::End { reason } => self.remark(step.time, &format!("session ended: {reason}")),
        }
    }

    fn refused(&mut self, step: &Step, refusal: Option<&Refusal>) -> anyhow::Result<()> {
        let Some(refusal) = refusal else { return Ok(()) };
        let running = self.take(step);
        let said = running.renderer.refused(refusal);
        self.running.insert(step.command, running);
        self.text(step.time, &said)
    }

    fn parts(&mut self, running: &mut Running, time: Timestamp, parts: &[Part]) -> anyhow::Result<()> {
        for part in parts {
            let Part::Stream(frame) = part else {
                self.text(time, &part.text())?;
                continue;
            };
            let at = running.began + Duration::from_micros(frame.micros.min(MAX_MICROS));
            match &frame.event {
                StreamEvent::Data { channel: Channel::STDIN, bytes } => {
                    self.event(at, "i", &String::from_utf8_lossy(bytes))?;
                }
                StreamEvent::Data { bytes, .. } => {
                    let text = running.characters(bytes);
                    self.event(at, "o", &text)?;
                }
                StreamEvent::Resize { columns, rows } => self.event(at, "r", &format!("{columns}x{rows}"))?,
                StreamEvent::Exit(_)
                | StreamEvent::ExitSignal(_)
                | StreamEvent::Signal(_)
                | StreamEvent::End(_)
                | StreamEvent::Omitted { .. }
                | StreamEvent::File { .. }
                | StreamEvent::Part { .. } => {}
            }
        }
        Ok(())
    }

    fn text(&mut self, time: Timestamp, text: &str) -> anyhow::Result<()> {
        if text.is_empty() { Ok(()) } else { self.event(time, "o", &text.replace('\n', "\r\n")) }
    }

    fn remark(&mut self, time: Timestamp, text: &str) -> anyhow::Result<()> {
        self.event(time, "o", &format!("\x1b[2m-- {}\x1b[0m\r\n", inline(text)))
    }

    fn event(&mut self, time: Timestamp, code: &str, data: &str) -> anyhow::Result<()> {
        // Times of a recording that lie before the last record's are a clock's doing.
        let time = time.max(self.last);
        let interval = time.duration_since(self.last).as_secs_f64();
        self.last = time;
        self.output.json_line(&json!([(interval * 1e6).round() / 1e6, code, data]))
    }
}

impl Running {
    /// Whole characters; a cut one waits for its rest. JSON has no bytes, so what is no UTF-8 is replaced.
    fn characters(&mut self, bytes: &[u8]) -> String {
        self.cut.extend_from_slice(bytes);
        let end = match std::str::from_utf8(&self.cut) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Ok(_) | Err(_) => self.cut.len(),
        };
        let rest = self.cut.split_off(end);
        let whole = std::mem::replace(&mut self.cut, rest);
        String::from_utf8_lossy(&whole).into_owned()
    }
}
