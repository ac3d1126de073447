//! A session's steps as the items of a page: each command with what belongs to it.

use crate::replay::plain::Plain;
use crate::replay::renderer::{Part, Renderer, Renderers};
use crate::replay::sealed;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use proxy_audit::query::{Command, SessionDetail};
use proxy_audit::replay::{Refusal, Step, StepKind};
use proxy_audit::stream::{Channel, StreamEvent, StreamFrame};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Most bytes of recorded terminals in a page.
const MAX_TERMINAL_BYTES: usize = 16 << 20;

/// Most bytes of one command's text.
const MAX_TEXT_BYTES: usize = 256 << 10;

/// Something on the timeline.
pub(super) enum Item {
    /// A command.
    Command(Box<CommandItem>),
    /// Anything else, in one line.
    Note {
        /// When.
        time: Timestamp,
        /// A word for its colour: that of an outcome.
        tone: &'static str,
        /// The line.
        text: String,
    },
}

/// A command and what came of it.
pub(super) struct CommandItem {
    /// The command as the record has it.
    pub(super) command: Command,
    /// Prompt and text as the client's tool shows them.
    pub(super) typed: (String, String),
    /// What was said of its approval, and when.
    pub(super) approvals: Vec<(Timestamp, String, String)>,
    /// Its answer.
    pub(super) parts: Vec<Part>,
    /// Its terminal, when it had one or streams.
    pub(super) terminal: Option<Terminal>,
    /// Something was left out of the page; the record has it.
    pub(super) cut: bool,
    renderer: Box<dyn Renderer>,
}

/// A recorded terminal.
#[derive(Default)]
pub(super) struct Terminal {
    plain: Plain,
    /// What it showed, as lines.
    pub(super) lines: String,
    /// What plays it.
    frames: Vec<Value>,
    size: Option<(u16, u16)>,
    bytes: usize,
}

impl Terminal {
    /// What the page's player reads.
    pub(super) fn recording(&self) -> Value {
        let (columns, rows) = self.size.unwrap_or((80, 24));
        json!({"columns": columns, "rows": rows, "frames": self.frames})
    }

    fn add(&mut self, frame: &StreamFrame, left: &mut usize) -> bool {
        match &frame.event {
            StreamEvent::Data { channel: Channel::STDIN, .. } | StreamEvent::End(_) => {}
            StreamEvent::Data { bytes, .. } => {
                if bytes.len() > *left {
                    return false;
                }
                *left -= bytes.len();
                self.bytes += bytes.len();
                self.lines.push_str(&self.plain.feed(bytes));
                self.frames.push(json!([frame.micros, "o", BASE64.encode(bytes)]));
            }
            StreamEvent::Resize { columns, rows } => {
                self.size.get_or_insert((*columns, *rows));
                self.frames.push(json!([frame.micros, "r", [columns, rows]]));
            }
            StreamEvent::Exit(code) => self.remark(&format!("exit code {code}")),
            StreamEvent::ExitSignal(name) => self.remark(&format!("ended by signal {name}")),
            StreamEvent::Signal(name) => self.remark(&format!("the client sent signal {name}")),
            StreamEvent::Omitted { bytes, .. } => {
                self.remark(&format!("{bytes} bytes are on record by their digest only"));
            }
            StreamEvent::File { bytes, digest, path, .. } => {
                self.remark(&format!("file {path}: {bytes} bytes, SHA-256 {}", const_hex::encode(digest)));
            }
            StreamEvent::Part { offset, path, .. } => {
                self.remark(&format!("file {path}, from byte {offset}"));
            }
        }
        true
    }

    fn remark(&mut self, text: &str) {
        let rest = self.plain.rest();
        let end = if rest.is_empty() { "" } else { "\n" };
        self.lines.extend([&rest, end, "-- ", text, "\n"]);
    }
}

/// The items in the order of the record.
pub(super) fn items(session: &SessionDetail, steps: &[Step]) -> Vec<Item> {
    let renderers = Renderers::of(session);
    let mut items =
        Items { session, renderers, list: Vec::new(), open: HashMap::new(), left: MAX_TERMINAL_BYTES };
    for step in steps {
        items.step(step);
    }
    items.list
}

struct Items<'a> {
    session: &'a SessionDetail,
    renderers: Renderers,
    list: Vec<Item>,
    /// Where the item of a command is.
    open: HashMap<i64, usize>,
    left: usize,
}

impl Items<'_> {
    fn step(&mut self, step: &Step) {
        match &step.kind {
            StepKind::Start { text } => self.note(step, "", text.clone()),
            StepKind::End { reason } => self.note(step, "", format!("session ended: {reason}")),
            StepKind::Error { text } => self.note(step, "error", text.clone()),
            StepKind::Command { text, refusal, .. } => {
                self.command(step, text);
                self.refused(step, refusal.as_ref());
            }
            StepKind::Approval { verdict, text, approvers, refusal } => {
                let text = if approvers.is_empty() {
                    text.clone()
                } else {
                    format!("{text} — {}", approvers.join(", "))
                };
                match self.open(step) {
                    Some(item) => item.approvals.push((step.time, verdict.clone(), text)),
                    None => self.note(step, "hold", text),
                }
                self.refused(step, refusal.as_ref());
            }
            StepKind::Output { frames } => {
                let mut left = self.left;
                if let Some(item) = self.open(step) {
                    let parts = item.renderer.feed(frames);
                    item.add(parts, &mut left);
                }
                self.left = left;
            }
            StepKind::Sealed { bytes, erased } => {
                let mut left = self.left;
                if let Some(item) = self.open(step) {
                    item.add(vec![Part::Text(format!("-- {}\n", sealed(*bytes, *erased)))], &mut left);
                }
                self.left = left;
            }
            StepKind::Result { refusal, .. } => {
                self.refused(step, refusal.as_ref());
                let mut left = self.left;
                if let Some(item) = self.open(step) {
                    let parts = item.renderer.finish();
                    item.add(parts, &mut left);
                    if let Some(terminal) = &mut item.terminal {
                        let rest = terminal.plain.rest();
                        terminal.lines.push_str(&rest);
                    }
                }
                self.left = left;
            }
        }
    }

    fn command(&mut self, step: &Step, text: &str) {
        // The detail joins what the steps tell apart: effects, outcome, what was masked.
        let command = self.session.commands.iter().find(|command| command.sequence == step.sequence);
        let Some(command) = command.cloned() else { return };
        let mut renderer = self.renderers.renderer();
        let typed = renderer.begin(text);
        self.open.insert(command.number, self.list.len());
        self.list.push(Item::Command(Box::new(CommandItem {
            command,
            typed,
            approvals: Vec::new(),
            parts: Vec::new(),
            terminal: None,
            cut: false,
            renderer,
        })));
    }

    /// What the client saw of a refusal.
    fn refused(&mut self, step: &Step, refusal: Option<&Refusal>) {
        let mut left = self.left;
        if let (Some(item), Some(refusal)) = (self.open(step), refusal) {
            let said = item.renderer.refused(refusal);
            item.add(vec![Part::Text(said)], &mut left);
        }
        self.left = left;
    }

    fn open(&mut self, step: &Step) -> Option<&mut CommandItem> {
        match self.list.get_mut(*self.open.get(&step.command?)?)? {
            Item::Command(item) => Some(item),
            Item::Note { .. } => None,
        }
    }

    fn note(&mut self, step: &Step, tone: &'static str, text: String) {
        self.list.push(Item::Note { time: step.time, tone, text });
    }
}

impl CommandItem {
    fn add(&mut self, parts: Vec<Part>, left: &mut usize) {
        for part in parts {
            match part {
                Part::Stream(frame) => {
                    let kept = self.terminal.get_or_insert_default().add(&frame, left);
                    self.cut |= !kept;
                }
                Part::Text(text) => self.text(&text),
                Part::Table(table) => self.parts.push(Part::Table(table)),
            }
        }
    }

    /// Neighbouring texts are one.
    fn text(&mut self, text: &str) {
        if let Some(Part::Text(last)) = self.parts.last_mut() {
            if last.len() + text.len() > MAX_TEXT_BYTES {
                self.cut = true;
            } else {
                last.push_str(text);
            }
        } else {
            self.parts.push(Part::Text(text.to_owned()));
        }
    }
}
