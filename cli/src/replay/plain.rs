//! What a terminal showed, as lines of text: without a screen, and without the power to do anything to the reader's.
//!
//! Of control characters, line ends, tabs, backspace and carriage return act; of escape sequences, erasing to the end
//! of the line does; all others are dropped. Programs that paint a whole screen come out jumbled: for these there is
//! the player of a report, and `--export asciicast`.

use crate::output::printable;

/// Most characters of a line; what is beyond is dropped.
const MAX_LINE_CHARS: usize = 16 * 1_024;

/// Most bytes of an escape sequence.
const MAX_SEQUENCE_BYTES: usize = 4 * 1_024;

/// Makes lines of a terminal's bytes.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    line: Vec<char>,
    column: usize,
    state: State,
    sequence: Vec<u8>,
    /// First bytes of a character.
    character: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// `ESC [`, ends with a letter.
    Control,
    /// `ESC ]` and its like: ends with BEL or `ESC \`.
    Text,
    /// The escape that may end a text.
    TextEscape,
    /// `ESC (` and its like: one more byte.
    One,
}

impl Plain {
    /// Takes bytes; gives the lines that ended.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> String {
        let mut out = String::new();
        for byte in bytes {
            match self.state {
                State::Ground => self.ground(*byte, &mut out),
                State::Escape => self.escape(*byte),
                State::Control => self.control(*byte),
                State::Text if *byte == 0x07 => self.state = State::Ground,
                State::Text if *byte == 0x1b => self.state = State::TextEscape,
                State::Text => self.skip(),
                State::TextEscape => {
                    self.state = if *byte == b'\\' { State::Ground } else { State::Text };
                }
                State::One => self.state = State::Ground,
            }
        }
        out
    }

    /// The line that has no end yet.
    pub(crate) fn rest(&mut self) -> String {
        self.column = 0;
        let line: String = std::mem::take(&mut self.line).into_iter().collect();
        printable(line.trim_end())
    }

    fn ground(&mut self, byte: u8, out: &mut String) {
        if !self.character.is_empty() || byte >= 0x80 {
            return self.wide(byte);
        }
        match byte {
            b'\n' => {
                out.push_str(&self.rest());
                out.push('\n');
            }
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            b'\t' => (0..8 - self.column % 8).for_each(|_| self.put(' ')),
            0x1b => {
                self.sequence.clear();
                self.state = State::Escape;
            }
            0x20..=0x7e => self.put(char::from(byte)),
            _ => {}
        }
    }

    /// A byte of a character that is no ASCII.
    fn wide(&mut self, byte: u8) {
        self.character.push(byte);
        match std::str::from_utf8(&self.character) {
            Ok(text) => {
                let character = text.chars().next();
                self.character.clear();
                if let Some(character) = character.filter(|character| !character.is_control()) {
                    self.put(character);
                }
            }
            Err(error) if error.error_len().is_none() && self.character.len() < 4 => {}
            Err(_) => {
                self.character.clear();
                self.put('\u{fffd}');
            }
        }
    }

    fn put(&mut self, character: char) {
        if self.column >= MAX_LINE_CHARS {
            return;
        }
        if let Some(place) = self.line.get_mut(self.column) {
            *place = character;
        } else {
            self.line.resize(self.column, ' ');
            self.line.push(character);
        }
        self.column += 1;
    }

    fn escape(&mut self, byte: u8) {
        self.state = match byte {
            b'[' => State::Control,
            b']' | b'P' | b'X' | b'^' | b'_' => State::Text,
            b'(' | b')' | b'*' | b'+' | b'#' | b'%' | b' ' => State::One,
            _ => State::Ground,
        };
    }

    fn control(&mut self, byte: u8) {
        if !(0x40..=0x7e).contains(&byte) {
            self.sequence.push(byte);
            return self.skip();
        }
        self.state = State::Ground;
        let first = self.sequence.split(|byte| *byte == b';').next().unwrap_or_default();
        let number = std::str::from_utf8(first).ok().and_then(|text| text.parse::<usize>().ok());
        match byte {
            b'K' if number.unwrap_or(0) == 0 => self.line.truncate(self.column),
            b'K' if number == Some(2) => self.line.clear(),
            b'C' => self.column = (self.column + number.unwrap_or(1).max(1)).min(MAX_LINE_CHARS),
            b'D' => self.column = self.column.saturating_sub(number.unwrap_or(1).max(1)),
            b'G' => self.column = number.unwrap_or(1).saturating_sub(1).min(MAX_LINE_CHARS),
            b'P' => {
                let end = (self.column + number.unwrap_or(1).max(1)).min(self.line.len());
                self.line.drain(self.column.min(end)..end);
            }
            _ => {}
        }
    }

    /// A sequence that does not end is given up.
    fn skip(&mut self) {
        if self.state == State::Control && self.sequence.len() > MAX_SEQUENCE_BYTES {
            self.state = State::Ground;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        let mut whole = Plain::default();
        let text = whole.feed(bytes) + &whole.rest();
        let mut split = Plain::default();
        let cut: String = bytes.iter().map(|byte| split.feed(&[*byte])).collect();
        assert_eq!(cut + &split.rest(), text, "cut anywhere, it shows the same");
        text
    }

    #[test]
    fn a_line_is_as_the_terminal_showed_it() {
        assert_eq!(shown(b"one\r\ntwo\r\n"), "one\ntwo\n");
        assert_eq!(shown(b"10%\r20%\r\n"), "20%\n");
        assert_eq!(shown(b"lx\x08s -l\x1b[K\r\n"), "ls -l\n");
        assert_eq!(shown("Zürich \u{1f980}\r\n".as_bytes()), "Zürich \u{1f980}\n");
        assert_eq!(shown(b"\x1b[1;31mred\x1b[0m plain\r\n"), "red plain\n");
        assert_eq!(shown(b"a\tb\r\n"), "a       b\n");
    }

    #[test]
    fn sequences_that_act_on_a_terminal_do_not_get_through() {
        for bytes in [
            &b"\x1b]0;title\x07x"[..],
            b"\x1b]52;c;aGVsbG8=\x1b\\x",
            b"\x1bP1$r0m\x1b\\x",
            b"\x1b[2J\x1b[Hx",
            b"\x1b(0x\x1b(B",
        ] {
            let text = shown(bytes);
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        }
        assert_eq!(shown(b"\x1b]0;title\x07x"), "x");
        assert_eq!(shown(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut plain = Plain::default();
        plain.feed(&vec![b'x'; 100_000]);
        plain.feed(b"\x1b[999999999C.");
        assert!(plain.rest().len() <= MAX_LINE_CHARS);
    }
}
