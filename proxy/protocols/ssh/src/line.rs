//! A shell whose lines are edited here and decided whole.
//!
//! A terminal's bytes are not the command: keys move, kill, recall and complete, and only the shell's own editor knows
//! what becomes of them. So in this mode the shell has no editor. The gateway owns the line: it echoes, edits, and hands
//! over what was submitted, which is what the shell runs and what policies judge. A command that needs more lines
//! (quotes, here-documents, `if` … `fi`, a backslash at the end) is submitted when it is whole.
//!
//! Keys that the gateway does not know are refused with a bell and never reach the line: completion, search, quoted
//! insertion, macros. So are control bytes and bytes that are not UTF-8. History is that of this session.
//!
//! A line that lacks what did not fit is never handed over. Without a terminal nobody edits: see [`Script`].

mod edit;
mod keys;
mod script;

use crate::refusals::notice;
use edit::Editor;
use keys::{Key, Keys};
use proxy_shell::{Growing, Growth};

pub use script::{Next, Script};

/// Longest command, in bytes; as much as is analysed.
pub const COMMAND_MAX: usize = 64 * 1024;

/// Longest line, in bytes; as long as a terminal's own may be.
pub const LINE_MAX: usize = 4_096;

/// So many commands are remembered.
const HISTORY_MAX: usize = 200;

/// Said for a key that is refused.
const BELL: u8 = 7;

/// Asks for the rest of a command.
const CONTINUATION: &str = "> ";

/// What came of the keys, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// Show these bytes to the client.
    Echo(Vec<u8>),
    /// A whole command, lines separated by `\n`, without a newline at its end.
    Submit(String),
    /// Ctrl-C: the line is given up; a running command gets the signal.
    Interrupt,
    /// Ctrl-D on an empty line.
    End,
}

/// The state of one terminal's line.
#[derive(Debug)]
pub struct LineDiscipline {
    prompt: String,
    keys: Keys,
    editor: Editor,
    /// Lines of the command that is not whole yet, each with its newline.
    before: String,
    growing: Growing,
    /// Letters of this command did not fit.
    cut: bool,
    /// A command was refused for its length, and what comes with it is not looked at; so many lines of that came.
    discarding: Option<usize>,
    history: Vec<String>,
    /// The entry that is shown, counted from the newest.
    recalled: usize,
}

impl LineDiscipline {
    /// A line behind `prompt`, which [`LineDiscipline::prompt`] shows.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompt: prompt.into(),
            keys: Keys::default(),
            editor: Editor::default(),
            before: String::new(),
            growing: Growing::default(),
            cut: false,
            discarding: None,
            history: Vec::new(),
            recalled: 0,
        }
    }

    /// What is shown before a line is asked for: at the start and after each command. Keys that came before are
    /// shown with it.
    pub fn prompt(&self) -> Vec<u8> {
        let prompt = if self.before.is_empty() { &self.prompt } else { CONTINUATION };
        let mut shown = prompt.as_bytes().to_vec();
        self.editor.show(&mut shown);
        shown
    }

    /// The prompt alone, for keys that came before and are shown behind it as they were typed.
    pub fn bare_prompt(&self) -> Vec<u8> {
        self.prompt.as_bytes().to_vec()
    }

    /// Takes what the client typed.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for byte in bytes {
            if let Some(key) = self.keys.next(*byte) {
                match &mut self.discarding {
                    Some(lines) if key != Key::Interrupt => *lines += usize::from(key == Key::Enter),
                    Some(_) | None => self.key(key, &mut events),
                }
            }
        }
        events
    }

    /// What comes is the rest of something that was refused: [`LineDiscipline::settled`] says when that has ended.
    pub fn is_discarding(&self) -> bool {
        self.discarding.is_some()
    }

    /// Nothing came for a while, so that what comes next is no part of what was refused. Gives what to show.
    pub fn settled(&mut self) -> Vec<u8> {
        let mut shown = Vec::new();
        if let Some(lines) = self.discarding.take() {
            if lines > 0 {
                shown.extend(
                    notice(&format!("{lines} more lines that came with it are not run either")).bytes(),
                );
            }
            shown.extend(self.prompt());
        }
        shown
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every other key edits the line")]
    fn key(&mut self, key: Key, events: &mut Vec<Event>) {
        match key {
            Key::Enter => self.enter(events),
            Key::Interrupt => {
                self.editor.clear();
                self.begin();
                self.recalled = 0;
                echo(events, b"^C\r\n");
                events.push(Event::Interrupt);
            }
            Key::End if self.editor.is_empty() && self.before.is_empty() => events.push(Event::End),
            Key::End if self.editor.is_empty() => echo(events, &[BELL]),
            Key::Older => self.recall(true, events),
            Key::Newer => self.recall(false, events),
            Key::Redraw => {
                let mut shown = b"\x1b[H\x1b[2J".to_vec();
                shown.extend(self.prompt());
                echo(events, &shown);
            }
            Key::LastArgument => {
                let word = self
                    .history
                    .last()
                    .and_then(|line| line.split_whitespace().next_back())
                    .map(str::to_owned);
                match word {
                    Some(word) => word.chars().for_each(|c| self.key(Key::Letter(c), events)),
                    None => echo(events, &[BELL]),
                }
            }
            Key::Letter(_) if self.editor.bytes() + 4 > LINE_MAX => {
                self.cut = true;
                echo(events, &[BELL]);
            }
            Key::Yank if 2 * self.editor.bytes() > LINE_MAX => echo(events, &[BELL]),
            Key::Refused => echo(events, &[BELL]),
            key => {
                let mut shown = Vec::new();
                if !self.editor.apply(key, &mut shown) {
                    shown.push(BELL);
                }
                // who has cleared the line begins anew
                self.cut &= !self.editor.is_empty();
                echo(events, &shown);
            }
        }
    }

    fn enter(&mut self, events: &mut Vec<Event>) {
        let line = self.editor.take();
        echo(events, b"\r\n");
        self.recalled = 0;
        let command = format!("{}{line}", self.before);
        let fits = !self.cut && command.len() <= COMMAND_MAX;
        let growth = if fits { self.growing.add(&command, self.before.len()) } else { Growth::TooMuch };
        match growth {
            Growth::TooMuch => return self.refuse(events),
            Growth::Part => {
                self.before = command + "\n";
                echo(events, CONTINUATION.as_bytes());
                return;
            }
            Growth::Whole => self.begin(),
        }
        if !command.trim().is_empty() && self.history.last() != Some(&command) {
            if self.history.len() >= HISTORY_MAX {
                self.history.remove(0);
            }
            self.history.push(command.clone());
        }
        events.push(Event::Submit(command));
    }

    /// A command begins.
    fn begin(&mut self) {
        self.before.clear();
        self.growing = Growing::default();
        (self.cut, self.discarding) = (false, None);
    }

    /// Who pasted it did not mean what follows as commands of their own.
    fn refuse(&mut self, events: &mut Vec<Event>) {
        self.begin();
        self.discarding = Some(0);
        let why = format!(
            "the line is longer than {LINE_MAX} bytes, or its command than {COMMAND_MAX} or has too many lines; it is not run, nor what comes with it"
        );
        echo(events, notice(&why).as_bytes());
        echo(events, notice("put what it does into a file, and run that").as_bytes());
    }

    fn recall(&mut self, older: bool, events: &mut Vec<Event>) {
        let wanted = if older { Some(self.recalled + 1) } else { self.recalled.checked_sub(1) };
        let Some(wanted) = wanted.filter(|wanted| *wanted <= self.history.len()) else {
            echo(events, &[BELL]);
            return;
        };
        (self.recalled, self.cut) = (wanted, false);
        let entry =
            self.history.len().checked_sub(wanted).and_then(|at| self.history.get(at)).filter(|_| wanted > 0);
        let mut shown = Vec::new();
        self.editor.replace(entry.map_or("", String::as_str), &mut shown);
        echo(events, &shown);
    }
}

/// Joins what is shown to what was shown just before.
fn echo(events: &mut Vec<Event>, bytes: &[u8]) {
    if let Some(Event::Echo(shown)) = events.last_mut() {
        shown.extend_from_slice(bytes);
    } else if !bytes.is_empty() {
        events.push(Event::Echo(bytes.to_vec()));
    }
}

#[cfg(test)]
mod tests;
