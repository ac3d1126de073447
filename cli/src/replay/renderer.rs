//! What a protocol must know to be replayed and reported: how the client's own tool would have shown it.

use crate::replay::kubernetes;
use crate::replay::postgres::{Descriptions, Transcript};
use crate::replay::stream::Stream;
use crate::replay::table::Table;
use proxy_audit::query::SessionDetail;
use proxy_audit::replay::{Refusal, Step, StepKind};
use proxy_audit::stream::{MAGIC, StreamFrame};
use std::collections::HashMap;

/// Shows the commands of one session, one after another.
///
/// Frames come from a record: an implementation reads them as carefully as if an enemy had written them, and holds no
/// more than what it needs to show. All texts that it gives are printable (`output::printable`).
pub(crate) trait Renderer {
    /// A command begins: forgets the one before. Gives the prompt, and the command as it was typed there.
    fn begin(&mut self, text: &str) -> (String, String);

    /// Takes bytes of `portcullis.result.frames`, cut anywhere; gives what they show.
    fn feed(&mut self, frames: &[u8]) -> Vec<Part>;

    /// The command was refused: gives what its client saw of that.
    fn refused(&self, refusal: &Refusal) -> String;

    /// The command is over: gives what is left.
    fn finish(&mut self) -> Vec<Part>;
}

/// Something that is shown.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Lines of text, with their ends.
    Text(String),
    /// Rows.
    Table(Table),
    /// A terminal or another stream, exactly.
    Stream(StreamFrame),
}

impl Part {
    /// As text, without a terminal: what a stream shows needs `replay::plain`.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Table(table) => table.aligned(),
            Self::Stream(_) => String::new(),
        }
    }
}

/// Makes the renderers of a session: several commands may run at once, and what one was told another may need.
pub(crate) struct Renderers {
    protocol: String,
    place: String,
    descriptions: Descriptions,
}

impl Renderers {
    /// Those of this session's protocol.
    pub(crate) fn of(session: &SessionDetail) -> Self {
        let named = |key: &str| session.opening.get(key).map(String::as_str).filter(|name| !name.is_empty());
        Self {
            // gateways write the word of the Resource's spec
            protocol: session.summary.protocol.to_lowercase(),
            place: named("db.namespace").unwrap_or(&session.summary.role).to_owned(),
            descriptions: Descriptions::default(),
        }
    }

    /// Another one. Whatever the protocol, results that are recorded streams are shown as these.
    pub(crate) fn renderer(&self) -> Box<dyn Renderer> {
        let own: Box<dyn Renderer> = match self.protocol.as_str() {
            "ssh" => Box::new(Stream::default()),
            "kubernetes" => Box::new(kubernetes::Transcript::default()),
            _ => Box::new(Transcript::new(&self.place, self.descriptions.clone())),
        };
        Box::new(Sniffing { own, stream: None, begun: false })
    }

    /// Takes in steps that are not shown.
    pub(crate) fn pass_over(&self, steps: &[Step]) {
        let mut running: HashMap<Option<i64>, Box<dyn Renderer>> = HashMap::new();
        for step in steps {
            match &step.kind {
                StepKind::Command { text, .. } => {
                    let mut renderer = self.renderer();
                    renderer.begin(text);
                    running.insert(step.command, renderer);
                }
                StepKind::Output { frames } => {
                    if let Some(renderer) = running.get_mut(&step.command) {
                        renderer.feed(frames);
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
    }
}

/// Looks at the first bytes of each command's frames.
struct Sniffing {
    own: Box<dyn Renderer>,
    stream: Option<Stream>,
    begun: bool,
}

impl Renderer for Sniffing {
    fn begin(&mut self, text: &str) -> (String, String) {
        (self.stream, self.begun) = (None, false);
        let (prompt, text) = self.own.begin(text);
        // A line of a command must not look like one that a replay adds: they have a prompt too, as psql's and shells'.
        let next = prompt.strip_suffix("=> ").map_or_else(|| "> ".to_owned(), |place| format!("{place}-> "));
        (prompt, text.replace('\n', &format!("\n{next}")))
    }

    fn refused(&self, refusal: &Refusal) -> String {
        self.own.refused(refusal)
    }

    fn feed(&mut self, frames: &[u8]) -> Vec<Part> {
        // The first record of a result holds far more than the magic, unless it holds next to nothing.
        if !self.begun && !frames.is_empty() {
            self.begun = true;
            self.stream = frames.starts_with(&MAGIC).then(Stream::default);
        }
        match &mut self.stream {
            Some(stream) => stream.feed(frames),
            None => self.own.feed(frames),
        }
    }

    fn finish(&mut self) -> Vec<Part> {
        match &mut self.stream {
            Some(stream) => stream.finish(),
            None => self.own.finish(),
        }
    }
}
