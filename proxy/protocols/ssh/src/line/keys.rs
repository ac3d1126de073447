//! From the bytes of a terminal to keys.
//!
//! Source: ECMA-48 for sequences, xterm's control sequences for keys and bracketed paste.

/// Longest escape sequence, in bytes.
const SEQUENCE_MAX: usize = 32;

/// A key, as far as the line knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Key {
    /// A character to insert; a newline only out of a paste.
    Letter(char),
    Enter,
    Interrupt,
    /// Ctrl-D: the end of the input, or the character under the cursor.
    End,
    EraseBack,
    EraseUnder,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    Last,
    KillLine,
    KillRest,
    KillWord,
    KillWordRight,
    Yank,
    Transpose,
    Upper,
    Lower,
    Capital,
    Older,
    Newer,
    LastArgument,
    Redraw,
    /// None of these.
    Refused,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Plain,
    /// Behind an escape.
    Escape,
    /// In a sequence that began with `ESC [` or `ESC O`.
    Sequence(Vec<u8>),
    /// In a sequence longer than any.
    Overlong,
}

/// Decodes one terminal's keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    state: State,
    /// The beginning of a character.
    character: Vec<u8>,
    pasting: bool,
    /// The last byte was a carriage return: a newline behind it is the same key.
    returned: bool,
}

impl Keys {
    /// The key that ends with this byte, if one does.
    pub(super) fn next(&mut self, byte: u8) -> Option<Key> {
        let returned = std::mem::replace(&mut self.returned, false);
        match &mut self.state {
            State::Escape => self.escaped(byte),
            State::Sequence(sequence) => {
                sequence.push(byte);
                let sequence = sequence.clone();
                self.sequence(&sequence)
            }
            State::Overlong => {
                if matches!(byte, 0x40..=0x7e) {
                    self.state = State::Plain;
                }
                None
            }
            State::Plain if !self.character.is_empty() || byte >= 0x80 => self.part(byte),
            State::Plain if byte == b'\n' && returned => None,
            State::Plain => self.plain(byte),
        }
    }

    fn plain(&mut self, byte: u8) -> Option<Key> {
        self.returned = byte == b'\r';
        Some(match byte {
            0x1b => {
                self.state = State::Escape;
                return None;
            }
            b'\r' | b'\n' if self.pasting => Key::Letter('\n'),
            0x20..=0x7e => Key::Letter(char::from(byte)),
            // what is pasted is text, not keys
            _ if self.pasting => Key::Refused,
            b'\r' | b'\n' => Key::Enter,
            0x01 => Key::Home,
            0x02 => Key::Left,
            0x03 => Key::Interrupt,
            0x04 => Key::End,
            0x05 => Key::Last,
            0x06 => Key::Right,
            0x08 | 0x7f => Key::EraseBack,
            0x0b => Key::KillRest,
            0x0c => Key::Redraw,
            0x0e => Key::Newer,
            0x10 => Key::Older,
            0x14 => Key::Transpose,
            0x15 => Key::KillLine,
            0x17 => Key::KillWord,
            0x19 => Key::Yank,
            _ => Key::Refused,
        })
    }

    /// A byte of a character of several.
    fn part(&mut self, byte: u8) -> Option<Key> {
        if byte < 0x80 {
            // the character does not go on
            self.character.clear();
            return self
                .plain(byte)
                .map(|key| if matches!(key, Key::Letter(_)) { key } else { Key::Refused });
        }
        self.character.push(byte);
        match std::str::from_utf8(&self.character) {
            Ok(text) => {
                let letter = text.chars().next();
                self.character.clear();
                // control characters above ASCII, and marks that change in which order text is shown
                Some(match letter {
                    Some(c)
                        if !c.is_control()
                            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}') =>
                    {
                        Key::Letter(c)
                    }
                    _ => Key::Refused,
                })
            }
            Err(error) if error.error_len().is_none() => None,
            Err(_) => {
                self.character.clear();
                Some(Key::Refused)
            }
        }
    }

    fn escaped(&mut self, byte: u8) -> Option<Key> {
        self.state = State::Plain;
        Some(match byte {
            b'[' | b'O' => {
                self.state = State::Sequence(vec![byte]);
                return None;
            }
            0x1b => {
                self.state = State::Escape;
                return None;
            }
            _ if self.pasting => Key::Refused,
            b'b' => Key::WordLeft,
            b'f' => Key::WordRight,
            b'd' => Key::KillWordRight,
            b'u' => Key::Upper,
            b'l' => Key::Lower,
            b'c' => Key::Capital,
            b'.' | b'_' => Key::LastArgument,
            0x08 | 0x7f => Key::KillWord,
            _ => Key::Refused,
        })
    }

    fn sequence(&mut self, sequence: &[u8]) -> Option<Key> {
        let ends = sequence.len() > 1 && sequence.last().is_some_and(|byte| matches!(byte, 0x40..=0x7e));
        if !ends {
            // a control byte ends it as well, and is not obeyed
            if sequence.last().is_some_and(|byte| *byte < 0x20) {
                self.state = State::Plain;
                return Some(Key::Refused);
            }
            if sequence.len() > SEQUENCE_MAX {
                self.state = State::Overlong;
            }
            return None;
        }
        self.state = State::Plain;
        match sequence {
            b"[200~" => {
                self.pasting = true;
                return None;
            }
            b"[201~" => {
                self.pasting = false;
                return None;
            }
            _ => {}
        }
        if self.pasting {
            return Some(Key::Refused);
        }
        Some(match sequence {
            b"[A" | b"OA" => Key::Older,
            b"[B" | b"OB" => Key::Newer,
            b"[C" | b"OC" => Key::Right,
            b"[D" | b"OD" => Key::Left,
            b"[H" | b"OH" | b"[1~" | b"[7~" => Key::Home,
            b"[F" | b"OF" | b"[4~" | b"[8~" => Key::Last,
            b"[3~" => Key::EraseUnder,
            b"[1;5C" | b"[1;3C" => Key::WordRight,
            b"[1;5D" | b"[1;3D" => Key::WordLeft,
            _ => Key::Refused,
        })
    }
}
