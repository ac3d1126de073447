//! A script on a shell's input, where there is no terminal: its commands as they are, byte for byte.
//!
//! Nothing is edited and nothing is shown. A command ends with the line that makes it whole, as it does for the shell.

use super::COMMAND_MAX;
use bytes::BytesMut;
use proxy_shell::{Growing, Growth};
use std::borrow::Cow;

/// Cuts a script into its commands.
#[derive(Debug, Default)]
pub struct Script {
    /// So many bytes were looked at, and hold no whole command.
    looked: usize,
    growing: Growing,
}

/// What comes next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// A whole command, without the newline at its end.
    Command(Vec<u8>),
    /// More bytes are needed.
    More,
    /// There is none any more.
    End,
    /// A command that is longer than any may be, or has too many lines.
    TooLong,
    /// The script ends in the middle of a command.
    Unfinished,
}

impl Script {
    /// Takes the next command from the front of `waiting`. `ended`: nothing follows that.
    pub fn next(&mut self, waiting: &mut BytesMut, ended: bool) -> Next {
        loop {
            let rest = waiting.get(self.looked..).unwrap_or_default();
            let newline = rest.iter().position(|byte| *byte == b'\n').map(|at| self.looked + at);
            let end = match newline {
                Some(end) => end,
                None if waiting.len() > COMMAND_MAX => return Next::TooLong,
                None if !ended => return Next::More,
                None if waiting.iter().all(u8::is_ascii_whitespace) => return Next::End,
                None => waiting.len(),
            };
            if end > COMMAND_MAX {
                return Next::TooLong;
            }
            let command = waiting.get(..end).unwrap_or_default();
            // bytes that are no text are no syntax either; what they become is as long in both
            let text = latin(command);
            let growth = self.growing.add(&text, self.looked);
            if growth == Growth::TooMuch {
                return Next::TooLong;
            }
            if growth == Growth::Whole {
                let mut taken = waiting.split_to(newline.map_or(end, |end| end + 1));
                taken.truncate(end);
                *self = Self::default();
                return Next::Command(taken.to_vec());
            }
            if newline.is_none() {
                return Next::Unfinished;
            }
            self.looked = end + 1;
        }
    }
}

/// The bytes as text, of the same length: what is not UTF-8 is a letter of no meaning to a shell.
fn latin(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { 'x' }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(script: &[u8], step: usize) -> (Vec<String>, Next) {
        let (mut waiting, mut cutter, mut found) = (BytesMut::new(), Script::default(), Vec::new());
        let mut pieces = script.chunks(step);
        loop {
            let ended = pieces.len() == 0;
            match cutter.next(&mut waiting, ended) {
                Next::Command(command) => found.push(String::from_utf8_lossy(&command).into_owned()),
                Next::More => waiting.extend_from_slice(pieces.next().unwrap()),
                over @ (Next::End | Next::TooLong | Next::Unfinished) => return (found, over),
            }
        }
    }

    #[test]
    fn commands_are_cut_where_they_are_whole_and_are_otherwise_as_they_came() {
        let script =
            b"cat <<-E\n\ta\tb\x01\x15\n\tE\n\necho 'x\n\x03y' \\\n z\nif true\nthen echo \xff\nfi\nlast";
        let expected = [
            "cat <<-E\n\ta\tb\x01\x15\n\tE",
            "",
            "echo 'x\n\x03y' \\\n z",
            "if true\nthen echo \u{fffd}\nfi",
            "last",
        ];
        for step in [1, 7, 1 << 16] {
            let (found, over) = commands(script, step);
            assert_eq!(
                (found.iter().map(String::as_str).collect::<Vec<_>>(), over),
                (expected.to_vec(), Next::End)
            );
        }
    }

    #[test]
    fn a_here_document_of_many_lines_is_not_parsed_for_each() {
        let script = format!("cat <<E\n{}E\nlast\n", "a line\n".repeat(8_000));
        let (mut waiting, mut cutter) = (BytesMut::from(script.as_bytes()), Script::default());
        let mut parses = 0;
        let found = std::iter::from_fn(|| {
            parses = parses.max(cutter.growing.parses());
            match cutter.next(&mut waiting, true) {
                Next::Command(command) => Some(command.len()),
                Next::More | Next::End | Next::TooLong | Next::Unfinished => None,
            }
        });
        assert_eq!(found.collect::<Vec<_>>(), [script.len() - 6, 4]);
        assert!(parses <= 2, "{parses}");
        let loops = format!("if true\nthen\n{}fi\n", "ls\n".repeat(20_000));
        assert_eq!(commands(loops.as_bytes(), 1 << 16), (Vec::new(), Next::TooLong));
    }

    #[test]
    fn a_long_line_is_whole_or_is_none() {
        let line = format!("echo {}", "x".repeat(COMMAND_MAX - 5));
        assert_eq!(commands(format!("{line}\n").as_bytes(), 4_096), (vec![line.clone()], Next::End));
        for longer in [format!("{line}x\nls\n"), format!("{line}x")] {
            assert_eq!(commands(longer.as_bytes(), 4_096), (Vec::new(), Next::TooLong));
        }
        assert_eq!(commands(b"ls\ncat <<E\nabc\n", 3), (vec!["ls".to_owned()], Next::Unfinished));
        assert_eq!(commands(b"ls\necho 'a", 3), (vec!["ls".to_owned()], Next::Unfinished));
    }
}
