//! A server that answers each message as PostgreSQL would, without doing anything.

use crate::frames::{cut, frame, text};

/// What a server remembers of one session.
#[derive(Debug, Default)]
pub struct Server {
    input: Vec<u8>,
    /// All frames that arrived: tags and bodies.
    pub arrived: Vec<(u8, Vec<u8>)>,
    /// Commands that fail: every so many, 0 is none.
    pub fails: u8,
    commands: u8,
    skipping: bool,
    /// It waits for data: of a simple query, or of a portal.
    copying: Option<Copying>,
    in_transaction: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Copying {
    Simple,
    Extended,
}

impl Server {
    /// What it says to what arrives.
    pub fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.input.extend(bytes);
        let (frames, rest) = cut(&self.input);
        let frames: Vec<(u8, Vec<u8>)> = frames.into_iter().map(|(tag, body)| (tag, body.to_vec())).collect();
        self.input = rest.to_vec();
        let mut out = Vec::new();
        for (tag, body) in frames {
            self.message(tag, &body, &mut out);
            self.arrived.push((tag, body));
        }
        out
    }

    fn message(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) {
        if let Some(copying) = self.copying {
            // Everything but data's end is data, or ignored.
            if matches!(tag, b'c' | b'f') {
                self.copying = None;
                if tag == b'c' {
                    out.extend(text(b'C', "COPY 1"));
                } else {
                    self.fail(copying == Copying::Extended, out);
                }
                if copying == Copying::Simple {
                    self.ready(out);
                }
            }
            return;
        }
        if self.skipping && !matches!(tag, b'S' | b'X') {
            return;
        }
        match tag {
            b'Q' => {
                self.command(&String::from_utf8_lossy(body), Copying::Simple, out);
                if self.copying.is_none() {
                    self.ready(out);
                }
            }
            b'P' => out.extend(frame(b'1', b"")),
            b'B' => out.extend(frame(b'2', b"")),
            b'C' => out.extend(frame(b'3', b"")),
            b'D' => {
                if body.first() == Some(&b'S') {
                    out.extend(frame(b't', b"\0\0"));
                }
                out.extend(frame(b'n', b""));
            }
            b'E' => self.command("", Copying::Extended, out),
            b'S' => {
                self.skipping = false;
                self.ready(out);
            }
            _ => {}
        }
    }

    fn command(&mut self, sql: &str, how: Copying, out: &mut Vec<u8>) {
        self.commands = self.commands.wrapping_add(1);
        if self.fails > 0 && self.commands.is_multiple_of(self.fails) {
            return self.fail(how == Copying::Extended, out);
        }
        let lower = sql.to_ascii_lowercase();
        let word = lower.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty());
        match word {
            Some("copy") if lower.contains("stdin") => {
                self.copying = Some(how);
                out.extend(frame(b'G', b"\0\0\0"));
            }
            Some("copy") => {
                out.extend(frame(b'H', b"\0\0\0"));
                out.extend(frame(b'd', b"1\t2\n"));
                out.extend(frame(b'c', b""));
                out.extend(text(b'C', "COPY 1"));
            }
            Some("select") => {
                out.extend(frame(b'T', b"\0\x01c\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"));
                out.extend(frame(b'D', b"\0\x01\0\0\0\x01v"));
                out.extend(text(b'C', "SELECT 1"));
            }
            Some("begin" | "start") => {
                self.in_transaction = true;
                out.extend(text(b'C', "BEGIN"));
            }
            Some("commit" | "end" | "rollback" | "abort") => {
                self.in_transaction = false;
                out.extend(text(b'C', "COMMIT"));
            }
            Some(_) | None => out.extend(text(b'C', "DO")),
        }
    }

    fn fail(&mut self, extended: bool, out: &mut Vec<u8>) {
        self.skipping |= extended;
        out.extend(frame(b'E', b"SERROR\0VERROR\0C22012\0Mdivision by zero\0\0"));
    }

    fn ready(&self, out: &mut Vec<u8>) {
        out.extend(frame(b'Z', if self.in_transaction { b"T" } else { b"I" }));
    }
}
