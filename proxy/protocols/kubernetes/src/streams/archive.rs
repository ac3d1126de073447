//! `kubectl cp`: the files in the archive that goes into a pod, or comes out of it.
//!
//! kubectl runs `tar` in the pod and speaks its format over standard input or output. This room only watches: names,
//! sizes and digests go on record with the command, and a stream that it does not understand is told no more of.
//!
//! Formats: ustar, with the long names of GNU and of pax
//! (<https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_06>).

use proxy_audit::stream::Channel;
use sha2::{Digest as _, Sha256};
use tar::{Header, PaxExtensions};

/// A file that went through, or as much of it as did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct File {
    /// As the archive names it.
    pub(super) path: String,
    /// So many bytes of it went through.
    pub(super) bytes: u64,
    /// SHA-256 of them.
    pub(super) digest: [u8; 32],
}

/// Where in the archive its stream is.
#[derive(Debug)]
enum State {
    /// In the head of an entry.
    Head,
    /// In a file.
    Data { path: String, left: u64, bytes: u64, hash: Sha256 },
    /// In what tells more of the next entry.
    More { is_pax: bool, left: u64 },
    /// In what is of no interest.
    Skip(u64),
    /// Behind the end, or lost.
    Over,
}

/// An archive on its way.
#[derive(Debug)]
pub(super) struct Archive {
    state: State,
    /// Part of a head, or of what tells more.
    held: Vec<u8>,
    /// Bytes that fill up the entry's last block.
    padding: u64,
    /// What was told of the next entry.
    path: Option<String>,
    size: Option<u64>,
}

/// On which channel of a program files go through, if its command line is one that kubectl uses to copy.
pub(super) fn copied_on<'a>(command: &[&'a str]) -> Option<Channel> {
    let words: Vec<&'a str> = match command {
        // with `--retries`; of a copy that goes on in the middle nothing can be told
        ["sh", "-c", line] => line.strip_suffix("| tail -c+0")?.split_whitespace().collect(),
        words => words.to_vec(),
    };
    let (program, rest) = words.split_first()?;
    let mut rest = rest.iter().skip_while(|word| word.starts_with("--"));
    let (letters, file) = (rest.next()?.trim_start_matches('-'), rest.next()?);
    if program.rsplit('/').next() != Some("tar") || !letters.ends_with('f') || *file != "-" {
        return None;
    }
    if letters.chars().any(|letter| !"cxmpovhf".contains(letter)) {
        return None;
    }
    match (letters.contains('x'), letters.contains('c')) {
        (true, false) => Some(Channel::STDIN),
        (false, true) => Some(Channel::STDOUT),
        (true, true) | (false, false) => None,
    }
}

impl Archive {
    pub(super) fn new() -> Self {
        Self { state: State::Head, held: Vec::new(), padding: 0, path: None, size: None }
    }

    /// Follows the next bytes; gives the files that are through.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Vec<File> {
        let mut files = Vec::new();
        while !bytes.is_empty() && !matches!(self.state, State::Over) {
            let taken = self.step(bytes, &mut files);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        files
    }

    /// The stream has ended: gives the file that is not through, if there is one.
    pub(super) fn finish(&mut self) -> Option<File> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Data { path, bytes, hash, .. } => {
                Some(File { path, bytes, digest: hash.finalize().into() })
            }
            State::Head | State::More { .. } | State::Skip(_) | State::Over => None,
        }
    }

    /// Takes some of these bytes; how many.
    fn step(&mut self, bytes: &[u8], files: &mut Vec<File>) -> usize {
        let most = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let taken = match &mut self.state {
            State::Head => most((BLOCK - self.held.len()) as u64),
            State::Data { left, .. } | State::More { left, .. } | State::Skip(left) => most(*left),
            State::Over => bytes.len(),
        };
        let now = bytes.get(..taken).unwrap_or_default();
        let is_through = match &mut self.state {
            State::Head => {
                self.held.extend_from_slice(now);
                self.held.len() == BLOCK
            }
            State::Data { left, bytes, hash, .. } => {
                hash.update(now);
                *bytes += now.len() as u64;
                *left -= now.len() as u64;
                *left == 0
            }
            State::More { left, .. } => {
                self.held.extend_from_slice(now);
                *left -= now.len() as u64;
                *left == 0
            }
            State::Skip(left) => {
                *left -= now.len() as u64;
                *left == 0
            }
            State::Over => false,
        };
        if is_through {
            self.next(files);
        }
        taken
    }

    /// What comes after something that is through. Entries of no bytes are through at once.
    fn next(&mut self, files: &mut Vec<File>) {
        let after = match std::mem::replace(&mut self.state, State::Head) {
            State::Head => self.head(),
            State::Data { path, bytes, hash, .. } => {
                files.push(File { path, bytes, digest: hash.finalize().into() });
                self.fill()
            }
            State::More { is_pax, .. } => {
                self.told(is_pax);
                self.fill()
            }
            State::Skip(_) => State::Head,
            State::Over => State::Over,
        };
        self.state = after;
        if matches!(self.state, State::Data { left: 0, .. } | State::More { left: 0, .. } | State::Skip(0)) {
            self.next(files);
        }
    }

    fn fill(&mut self) -> State {
        State::Skip(std::mem::take(&mut self.padding))
    }

    fn head(&mut self) -> State {
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&self.held);
        self.held.clear();
        // the sum counts its own field as spaces
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let all = header.as_bytes();
        let own = all.get(148..156).map(sum).unwrap_or_default();
        let expected = sum(all).saturating_sub(own).saturating_add(8 * u32::from(b' '));
        // an empty block ends an archive
        let (Ok(length), true) = (header.entry_size(), header.cksum().is_ok_and(|sum| sum == expected))
        else {
            return State::Over;
        };
        let kind = header.entry_type().as_byte();
        let is_file = matches!(kind, b'0' | 0 | b'7');
        let left = self.size.take().filter(|_| is_file).unwrap_or(length);
        self.padding = left.next_multiple_of(BLOCK as u64).saturating_sub(left);
        match kind {
            _ if is_file => {
                let path = self.path.take();
                let path = path.unwrap_or_else(|| String::from_utf8_lossy(&header.path_bytes()).into_owned());
                State::Data { path, left, bytes: 0, hash: Sha256::new() }
            }
            LONG_NAME | PAX if left <= MORE => State::More { is_pax: kind == PAX, left },
            LONG_NAME | PAX | SPARSE => State::Over,
            // links, devices and pipes: nothing follows their heads, whatever these say of a size
            b'1'..=b'4' | b'6' => {
                self.path = None;
                State::Skip(0)
            }
            // what is told of links or of all entries; directories, which have a size of 0; and what is not known
            _ => {
                if !matches!(kind, LONG_LINK | PAX_GLOBAL) {
                    self.path = None;
                }
                State::Skip(left.saturating_add(std::mem::take(&mut self.padding)))
            }
        }
    }

    fn told(&mut self, is_pax: bool) {
        let held = std::mem::take(&mut self.held);
        if !is_pax {
            let name = held.split(|byte| *byte == 0).next().unwrap_or_default();
            self.path = Some(String::from_utf8_lossy(name).into_owned());
            return;
        }
        for extension in PaxExtensions::new(&held).flatten() {
            match extension.key_bytes() {
                b"path" => self.path = Some(String::from_utf8_lossy(extension.value_bytes()).into_owned()),
                b"size" => self.size = extension.value().ok().and_then(|size| size.parse().ok()),
                _ => {}
            }
        }
    }
}

/// Kinds of entries that are not files.
const LONG_NAME: u8 = b'L';
const LONG_LINK: u8 = b'K';
const PAX: u8 = b'x';
const PAX_GLOBAL: u8 = b'g';
const SPARSE: u8 = b'S';
/// Archives are made of blocks.
const BLOCK: usize = 512;
/// Most bytes that tell more of an entry.
const MORE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn files_are_told_however_the_stream_is_cut() {
        let long = format!("{}/f", "directory/".repeat(30).trim_end_matches('/'));
        let content = vec![7; 1500];
        let files: [(&str, &[u8]); 4] =
            [("empty", b""), ("tmp/there.bin", &content), (&long, b"x"), ("even", &[1; 512])];
        let bytes = archive(&files);
        for step in [1, 7, 511, 512, 513, bytes.len()] {
            let mut archive = Archive::new();
            let told: Vec<File> = bytes.chunks(step).flat_map(|piece| archive.push(piece)).collect();
            let expected: Vec<File> = files
                .iter()
                .map(|(path, bytes)| File {
                    path: (*path).to_owned(),
                    bytes: bytes.len() as u64,
                    digest: Sha256::digest(bytes).into(),
                })
                .collect();
            assert_eq!(told, expected, "in pieces of {step}");
            assert_eq!(archive.finish(), None);
        }
    }

    #[test]
    fn pax_names_and_sizes_count_for_the_next_file_only() {
        let name = "a name longer than the hundred bytes of a head ".repeat(4);
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("path", name.as_bytes()), ("size", b"3".as_slice())]).unwrap();
        for content in ["abc", "de"] {
            let mut header = Header::new_ustar();
            header.set_path("short").unwrap();
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        let told = Archive::new().push(&builder.into_inner().unwrap());
        let told: Vec<_> = told.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
        assert_eq!(told, [(name.as_str(), 3), ("short", 2)]);
    }

    #[test]
    fn what_ends_early_is_told_by_what_went_through_and_what_is_no_archive_not_at_all() {
        let bytes = archive(&[("f", &[7; 1000])]);
        let mut cut = Archive::new();
        assert_eq!(cut.push(&bytes[..BLOCK + 10]), []);
        let file = File { path: "f".to_owned(), bytes: 10, digest: Sha256::digest([7; 10]).into() };
        assert_eq!(cut.finish(), Some(file));
        let mut none = Archive::new();
        assert_eq!(none.push(&[b'x'; 5000]), []);
        assert_eq!(none.finish(), None);
    }

    #[test]
    fn the_command_lines_of_kubectl_are_known() {
        let cases: [(&[&str], Option<Channel>); 8] = [
            (&["tar", "-xmf", "-", "-C", "/tmp"], Some(Channel::STDIN)),
            (&["tar", "--no-same-permissions", "--no-same-owner", "-xmf", "-"], Some(Channel::STDIN)),
            (&["tar", "cf", "-", "/tmp/f"], Some(Channel::STDOUT)),
            (&["sh", "-c", "tar cf - /tmp/f | tail -c+0"], Some(Channel::STDOUT)),
            (&["sh", "-c", "tar cf - /tmp/f | tail -c+4096"], None),
            (&["tar", "czf", "-", "/tmp/f"], None),
            (&["tar", "cf", "/tmp/f.tar", "/tmp"], None),
            (&["cat"], None),
        ];
        for (command, expected) in cases {
            assert_eq!(copied_on(command), expected, "{command:?}");
        }
    }
}
