//! Recorded requests to a Kubernetes API server, shown as kubectl shows them.
//!
//! `request` turns what was asked into a command line, `answer` what came back into what kubectl prints. What kubectl has
//! no word for is shown as it was sent. Exec and attach are recorded streams: `stream` shows them.
//!
//! The bytes come from a record: they are read as carefully as if an enemy had written them.

mod answer;
mod request;

use crate::output::{inline, printable};
use crate::replay::renderer::{Part, Renderer};
use answer::Answer;
use proxy_audit::replay::Refusal;
use proxy_core::refusal::RefusalKind;
use request::Request;

/// Most bytes of an answer that are held to be shown; what is beyond is on record only.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Most bytes of the lines before a body.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// What one request's answer has said so far.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    request: Request,
    /// Bytes of the head, and then of the body that are not shown yet.
    pending: Vec<u8>,
    answer: Option<Answer>,
    /// More came than is held.
    cut: bool,
}

impl Renderer for Transcript {
    fn begin(&mut self, text: &str) -> (String, String) {
        *self = Self { request: Request::read(text), ..Self::default() };
        ("$ ".to_owned(), self.request.line().unwrap_or_else(|| printable(text)))
    }

    fn feed(&mut self, frames: &[u8]) -> Vec<Part> {
        self.cut |= self.pending.len().saturating_add(frames.len()) > MAX_ANSWER_BYTES;
        if self.cut {
            return Vec::new();
        }
        self.pending.extend_from_slice(frames);
        if self.answer.is_none() {
            let Some(end) = end_of_head(&self.pending) else { return Vec::new() };
            let body = self.pending.split_off(end);
            let head = std::mem::replace(&mut self.pending, body);
            self.answer = Some(Answer::of(&String::from_utf8_lossy(&head), &self.request));
        }
        let Some(answer) = self.answer.as_mut().filter(|answer| answer.comes_in_lines()) else {
            return Vec::new();
        };
        let end = self.pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let rest = self.pending.split_off(end);
        let lines = std::mem::replace(&mut self.pending, rest);
        shown(answer.lines(&String::from_utf8_lossy(&lines)))
    }

    /// As the gateway answered it. Records of older gateways do not say what kind of refusal it was.
    fn refused(&self, refusal: &Refusal) -> String {
        let hint = if refusal.hint.is_empty() { String::new() } else { format!("; {}", refusal.hint) };
        let kind = refusal.kind.as_deref().and_then(RefusalKind::of_word);
        let reason = kind.map_or("", |kind| proxy_kubernetes::answer_of(kind).1);
        answer::error_line(reason, &inline(&(refusal.message.clone() + &hint)))
    }

    /// What is an answer only as a whole; and what was recorded of one that has no end.
    fn finish(&mut self) -> Vec<Part> {
        let rest = std::mem::take(&mut self.pending);
        let text = String::from_utf8_lossy(&rest);
        let mut out = match &mut self.answer {
            Some(answer) if answer.comes_in_lines() => answer.lines(&text),
            Some(answer) => answer.whole(&rest, &self.request),
            None if text.is_empty() => String::new(),
            None => answer::lines_of(&text),
        };
        if self.cut {
            out.push_str("(the rest of the answer is too long to be shown)\n");
        }
        shown(out)
    }
}

fn shown(text: String) -> Vec<Part> {
    if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] }
}

/// Where the body begins. A head without end is none: then all of it is the body.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let begins = bytes.len() < HEAD.len() || bytes.starts_with(HEAD);
    let end = bytes.windows(4).take(MAX_HEAD_BYTES).position(|four| four == b"\r\n\r\n");
    match end {
        Some(at) if begins => Some(at + 4),
        None if begins && bytes.len() < MAX_HEAD_BYTES => None,
        Some(_) | None => Some(0),
    }
}

const HEAD: &[u8] = b"HTTP/1.1 ";

#[cfg(test)]
mod tests;
