//! Where something ends that the shell reads as a whole.

use super::{Reader, Why};

/// So deep may quotes and parentheses stand in each other within one word.
const DEPTH_MAX: usize = 64;

impl Reader {
    /// Past the `end` of `${…}`, `$[…]` or the inner parenthesis of `$((…))`.
    pub(super) fn skip_to(&mut self, end: char) -> Result<(), Why> {
        self.nested(end, 0)
    }

    /// Past the `)` of `$(…)`.
    ///
    /// Comments, `case` and here-documents hold parentheses that end nothing; nobody needs them there.
    pub(super) fn skip_command(&mut self) -> Result<(), Why> {
        let from = self.at;
        self.nested(')', 0)?;
        let mut start = true;
        let mut reader = Self::new(&self.between(from, self.at - 1));
        while let Some(c) = reader.next() {
            let at_start = std::mem::replace(&mut start, c.is_whitespace() || ";|&(".contains(c));
            match c {
                '\\' => reader.at += 1,
                '\'' => drop(reader.single()?),
                '"' => reader.nested('"', 0)?,
                '#' if at_start => return Err(Why::new("a comment inside of `$(…)`")),
                '<' if reader.peek() == Some('<') && reader.peek_at(1) != Some('<') => {
                    return Err(Why::new("a here-document inside of `$(…)`"));
                }
                '<' if reader.peek() == Some('<') => reader.at += 2,
                'c' if at_start && reader.between(reader.at, reader.at + 3) == "ase" => {
                    return Err(Why::new("`case` inside of `$(…)`"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn nested(&mut self, end: char, depth: usize) -> Result<(), Why> {
        if depth > DEPTH_MAX {
            return Err(Why::new("it is nested too deeply"));
        }
        let in_quotes = end == '"';
        while let Some(c) = self.next() {
            match c {
                c if c == end => return Ok(()),
                '\\' => self.at += 1,
                '\'' if !in_quotes => drop(self.single()?),
                '"' => self.nested('"', depth + 1)?,
                '`' => drop(self.backquoted(in_quotes)?),
                '$' => match self.peek() {
                    Some('\'') if !in_quotes => {
                        self.at += 1;
                        self.ansi()?;
                    }
                    Some('(') => {
                        self.at += 1;
                        self.nested(')', depth + 1)?;
                    }
                    Some('{') => {
                        self.at += 1;
                        self.nested('}', depth + 1)?;
                    }
                    _ => {}
                },
                '(' if end == ')' => self.nested(')', depth + 1)?,
                '[' if end == ']' => self.nested(']', depth + 1)?,
                _ => {}
            }
        }
        Err(Why::new("a quote or parenthesis without end"))
    }
}
