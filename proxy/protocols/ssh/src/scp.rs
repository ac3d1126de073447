//! The protocol of legacy `scp`: names, sizes and digests of the files in a stream.
//!
//! `scp -t PATH` on the host reads from the client what `scp -f PATH` would write to it. Which files may be touched is
//! decided with the command line; this room tells what went through. It only watches: a stream that it does not
//! understand is not another one's, and is told as such.
//!
//! Source: the BSD `rcp` protocol as OpenSSH's `scp.c` speaks it with `-O`.

use proxy_audit::stream::Channel;
use sha2::{Digest as _, Sha256};

/// Where the files of a transfer come from, if `line` is one: `scp -t` takes them from its input, `scp -f` writes them
/// to its output. Options with values stand behind these two, if anywhere.
pub fn sender(line: &[u8]) -> Option<Channel> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    if words.next()?.rsplit('/').next()? != "scp" {
        return None;
    }
    words.take_while(|word| word.starts_with('-')).find_map(|word| match word {
        "-t" => Some(Channel::STDIN),
        "-f" => Some(Channel::STDOUT),
        _ => None,
    })
}

/// Longest line of the protocol, in bytes.
const LINE_MAX: usize = 8 * 1024;

/// So deep may directories be.
const DEPTH_MAX: usize = 256;

/// A file that went through.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// Its path below what the command line names.
    pub path: String,
    /// Where in the stream its data begin.
    pub start: u64,
    /// Its length in bytes, as it was announced.
    pub size: u64,
    /// SHA-256 of what went through of it; `None` for a file that did not go through whole.
    pub sha256: Option<[u8; 32]>,
}

/// Where in the protocol the stream is.
#[derive(Debug, Default)]
enum State {
    /// In a line.
    #[default]
    Line,
    /// In the data of a file.
    Data { left: u64, hash: Sha256 },
    /// Before the byte that says how reading the file went.
    Trailer,
    /// Something that is not the protocol.
    Lost,
}

/// Watches the sending side of one transfer.
#[derive(Debug, Default)]
pub struct Watch {
    state: State,
    line: Vec<u8>,
    dirs: Vec<String>,
    /// The file that the stream is in.
    file: Option<File>,
    /// Bytes so far.
    position: u64,
}

impl Watch {
    /// Of a transfer that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the stream was understood so far.
    pub const fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// Takes the next bytes of the sender and adds the files that are complete.
    pub fn push(&mut self, mut bytes: &[u8], files: &mut Vec<File>) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Lost => return,
                State::Line => {
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                        self.line.extend_from_slice(bytes);
                        self.position = self.position.saturating_add(count(bytes));
                        if self.line.len() > LINE_MAX {
                            self.state = State::Lost;
                        }
                        return;
                    };
                    let (line, rest) = bytes.split_at(end);
                    bytes = rest.get(1..).unwrap_or_default();
                    self.line.extend_from_slice(line);
                    self.position = self.position.saturating_add(count(line)).saturating_add(1);
                    let line = std::mem::take(&mut self.line);
                    if line.len() > LINE_MAX || self.begin(&line, files).is_none() {
                        self.state = State::Lost;
                    }
                }
                State::Data { left, hash } => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (data, rest) = bytes.split_at(length);
                    hash.update(data);
                    bytes = rest;
                    *left -= u64::try_from(length).unwrap_or(*left);
                    self.position = self.position.saturating_add(count(data));
                    if *left == 0 {
                        self.complete(files);
                    }
                }
                State::Trailer => {
                    bytes = bytes.get(1..).unwrap_or_default();
                    self.position = self.position.saturating_add(1);
                    self.state = State::Line;
                }
            }
        }
    }

    /// The stream has ended: the file that it ended in.
    pub fn finish(&mut self) -> Option<File> {
        self.state = State::Lost;
        self.file.take()
    }

    fn complete(&mut self, files: &mut Vec<File>) {
        let state = std::mem::replace(&mut self.state, State::Trailer);
        if let (State::Data { hash, .. }, Some(file)) = (state, self.file.take()) {
            files.push(File { sha256: Some(hash.finalize().into()), ..file });
        }
    }

    /// A line of the protocol.
    fn begin(&mut self, line: &[u8], files: &mut Vec<File>) -> Option<()> {
        match line.split_first()? {
            // times of what follows; warnings and errors
            (b'T' | 1 | 2, _) => {}
            (b'E', []) => drop(self.dirs.pop()),
            (b'C', rest) => {
                let (size, path) = self.entry(rest)?;
                self.file = Some(File { path, start: self.position, size, sha256: None });
                self.state = State::Data { left: size, hash: Sha256::new() };
                if size == 0 {
                    self.complete(files);
                }
            }
            (b'D', rest) => {
                let (_, path) = self.entry(rest)?;
                if self.dirs.len() >= DEPTH_MAX {
                    return None;
                }
                self.dirs.push(path);
            }
            _ => return None,
        }
        Some(())
    }

    /// `MODE SIZE NAME`, in the directory that the stream is in.
    fn entry(&self, rest: &[u8]) -> Option<(u64, String)> {
        let mut fields = rest.splitn(3, |byte| *byte == b' ');
        let mode = fields.next()?;
        let size = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let name = fields.next().filter(|name| !name.is_empty())?;
        let name =
            std::str::from_utf8(name).map_or_else(|_error| name.escape_ascii().to_string(), str::to_owned);
        let path = self.dirs.last().map_or_else(|| name.clone(), |dir| format!("{dir}/{name}"));
        (mode.len() == 4 && mode.iter().all(u8::is_ascii_digit)).then_some((size, path))
    }
}

fn count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(stream: &[u8], step: usize) -> (Vec<File>, bool, Option<File>) {
        let (mut watch, mut files) = (Watch::new(), Vec::new());
        stream.chunks(step).for_each(|piece| watch.push(piece, &mut files));
        (files, watch.is_lost(), watch.finish())
    }

    #[test]
    fn files_of_a_tree_are_told_however_the_stream_is_cut() {
        let stream = b"T1 0 1 0\nD0755 0 site\nC0644 5 a b\nhello\0D0700 0 css\nC0600 0 empty\n\0E\nE\nC0644 2 top\n\n\n\0";
        for step in [1, 3, 1000] {
            let (files, lost, rest) = watched(stream, step);
            let told: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.size)).collect();
            assert_eq!(told, [("site/a b", 5), ("site/css/empty", 0), ("top", 2)]);
            assert_eq!(files[0].sha256, Some(Sha256::digest(b"hello").into()));
            for (file, data) in files.iter().zip([&b"hello"[..], b"", b"\n\n"]) {
                assert!(stream[usize::try_from(file.start).unwrap()..].starts_with(data), "{file:?}");
            }
            assert!(!lost && rest.is_none());
        }
    }

    #[test]
    fn a_transfer_is_known_by_its_command_line() {
        assert_eq!(sender(b"scp -t /tmp/x"), Some(Channel::STDIN));
        assert_eq!(sender(b"/usr/bin/scp -r -p -f -- 'a b'"), Some(Channel::STDOUT));
        for line in ["scp a b", "cat -f x", "scp -r x -t", ""] {
            assert_eq!(sender(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn what_is_no_transfer_is_lost_and_what_ends_early_has_no_digest() {
        assert!(watched(b"SSH-2.0-x\n", 4).1);
        assert!(watched(&[b'C'; 10_000], 100).1);
        assert_eq!(
            watched(b"C0644 9 f\nabc", 2).2,
            Some(File { path: "f".to_owned(), start: 10, size: 9, sha256: None })
        );
    }
}
