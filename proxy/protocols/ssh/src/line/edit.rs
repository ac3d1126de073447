//! The line: its characters, the cursor, what was killed, and how a terminal is made to show it.

use super::keys::Key;
use unicode_width::UnicodeWidthChar as _;

/// A line that is edited.
#[derive(Debug, Default)]
pub(super) struct Editor {
    line: Vec<char>,
    cursor: usize,
    killed: Vec<char>,
}

impl Editor {
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Length of the line, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.line.iter().map(|c| c.len_utf8()).sum()
    }

    /// Gives the line away.
    pub(super) fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.line).into_iter().collect()
    }

    pub(super) fn clear(&mut self) {
        self.line.clear();
        self.cursor = 0;
    }

    /// Shows the whole line where the cursor of the terminal is.
    pub(super) fn show(&self, shown: &mut Vec<u8>) {
        write(&self.line, shown);
        back(self.line.get(self.cursor..).unwrap_or_default(), shown);
    }

    /// Puts another line in place of this one.
    pub(super) fn replace(&mut self, line: &str, shown: &mut Vec<u8>) {
        let before = self.cursor;
        self.redraw(before, line.chars().collect(), usize::MAX, shown);
    }

    /// Does what a key says; `false` if there is nothing to do.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a key that has nothing to act on does nothing, whichever it is"
    )]
    pub(super) fn apply(&mut self, key: Key, shown: &mut Vec<u8>) -> bool {
        let (cursor, length) = (self.cursor, self.line.len());
        let (left, right) = (self.word_left(), self.word_right());
        match key {
            Key::Letter(c) if cursor == length => {
                self.line.push(c);
                self.cursor += 1;
                write(&[c], shown);
            }
            Key::Letter(c) => {
                let mut line = self.line.clone();
                line.insert(cursor, c);
                self.redraw(cursor, line, cursor + 1, shown);
            }
            Key::EraseBack if cursor > 0 => self.cut(cursor - 1, cursor, shown),
            Key::EraseUnder | Key::End if cursor < length => self.cut(cursor, cursor + 1, shown),
            Key::Left if cursor > 0 => self.go(cursor - 1, shown),
            Key::Right if cursor < length => self.go(cursor + 1, shown),
            Key::WordLeft if left < cursor => self.go(left, shown),
            Key::WordRight if right > cursor => self.go(right, shown),
            Key::Home => self.go(0, shown),
            Key::Last => self.go(length, shown),
            Key::KillLine if cursor > 0 => self.kill(0, cursor, shown),
            Key::KillRest if cursor < length => self.kill(cursor, length, shown),
            Key::KillWord if cursor > 0 => self.kill(self.blank_left(), cursor, shown),
            Key::KillWordRight if right > cursor => self.kill(cursor, right, shown),
            Key::Yank if !self.killed.is_empty() => {
                let mut line = self.line.clone();
                line.splice(cursor..cursor, self.killed.iter().copied());
                self.redraw(cursor, line, cursor + self.killed.len(), shown);
            }
            Key::Transpose if cursor > 0 && length > 1 => {
                let at = cursor.min(length - 1);
                let mut line = self.line.clone();
                line.swap(at - 1, at);
                self.redraw(cursor, line, at + 1, shown);
            }
            Key::Upper | Key::Lower | Key::Capital if right > cursor => self.recase(key, right, shown),
            _ => return false,
        }
        true
    }

    fn recase(&mut self, key: Key, until: usize, shown: &mut Vec<u8>) {
        let mut line = self.line.clone();
        let mut first = true;
        for c in line.iter_mut().take(until).skip(self.cursor) {
            let upper = key == Key::Upper || key == Key::Capital && first && c.is_alphanumeric();
            first &= !c.is_alphanumeric();
            // of letters whose other case is several, only the first is kept
            *c = if upper { c.to_uppercase().next() } else { c.to_lowercase().next() }.unwrap_or(*c);
        }
        self.redraw(self.cursor, line, until, shown);
    }

    fn word_left(&self) -> usize {
        let before = self.line.get(..self.cursor).unwrap_or_default();
        let end = before.iter().rposition(|c| c.is_alphanumeric()).map_or(0, |at| at + 1);
        before
            .get(..end)
            .unwrap_or_default()
            .iter()
            .rposition(|c| !c.is_alphanumeric())
            .map_or(0, |at| at + 1)
    }

    fn word_right(&self) -> usize {
        let behind = self.line.get(self.cursor..).unwrap_or_default();
        let start = behind.iter().position(|c| c.is_alphanumeric()).unwrap_or(behind.len());
        let rest = behind.get(start..).unwrap_or_default();
        self.cursor + start + rest.iter().position(|c| !c.is_alphanumeric()).unwrap_or(rest.len())
    }

    /// Where the word before the cursor begins that blanks set apart.
    fn blank_left(&self) -> usize {
        let before = self.line.get(..self.cursor).unwrap_or_default();
        let end = before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |at| at + 1);
        before.get(..end).unwrap_or_default().iter().rposition(|c| c.is_whitespace()).map_or(0, |at| at + 1)
    }

    fn kill(&mut self, from: usize, to: usize, shown: &mut Vec<u8>) {
        self.killed = self.line.get(from..to).unwrap_or_default().to_vec();
        self.cut(from, to, shown);
    }

    fn cut(&mut self, from: usize, to: usize, shown: &mut Vec<u8>) {
        let mut line = self.line.clone();
        line.drain(from..to.min(line.len()));
        self.redraw(self.cursor, line, from, shown);
    }

    fn go(&mut self, to: usize, shown: &mut Vec<u8>) {
        if to < self.cursor {
            back(self.line.get(to..self.cursor).unwrap_or_default(), shown);
        } else {
            write(self.line.get(self.cursor..to).unwrap_or_default(), shown);
        }
        self.cursor = to;
    }

    /// Shows `line` in place of what is shown, the cursor at `cursor`.
    fn redraw(&mut self, before: usize, line: Vec<char>, cursor: usize, shown: &mut Vec<u8>) {
        back(self.line.get(..before).unwrap_or_default(), shown);
        write(&line, shown);
        shown.extend(b"\x1b[K");
        self.line = line;
        self.cursor = cursor.min(self.line.len());
        back(self.line.get(self.cursor..).unwrap_or_default(), shown);
    }
}

fn write(chars: &[char], shown: &mut Vec<u8>) {
    for c in chars {
        match c {
            '\n' => shown.extend(b"\r\n"),
            c => shown.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Moves the cursor of the terminal back over what it shows.
fn back(chars: &[char], shown: &mut Vec<u8>) {
    let columns: usize = chars.iter().map(|c| c.width().unwrap_or(0)).sum();
    if columns > 0 {
        shown.extend(format!("\x1b[{columns}D").as_bytes());
    }
}
