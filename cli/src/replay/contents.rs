//! `portcullis replay SESSION --file NAME`: a file again, as it went through the session.
//!
//! What went through `sftp` is recorded by its place in its file, where the Resource has contents recorded; what went
//! through legacy `scp` stands in that program's stream.

use crate::output::{self, Output, printable};
use crate::replay::sealed;
use anyhow::bail;
use proxy_audit::replay::{Step, StepKind};
use proxy_audit::stream::{Channel, StreamDecoder, StreamEvent};
use proxy_ssh::scp;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeSet, HashMap};

/// Writes the first file of this name.
pub(super) fn write(steps: &[Step], wanted: &str, output: &mut Output) -> anyhow::Result<()> {
    let mut running: HashMap<Option<i64>, Reading> = HashMap::new();
    let (mut names, mut hidden) = (BTreeSet::new(), 0_u64);
    for step in steps {
        match &step.kind {
            StepKind::Command { text, .. } => drop(running.insert(step.command, Reading::of(text))),
            StepKind::Output { frames } => running.entry(step.command).or_default().feed(frames),
            StepKind::Sealed { bytes, .. } => hidden = hidden.saturating_add(*bytes),
            StepKind::Result { .. } => {
                let files = running.remove(&step.command).unwrap_or_default().files();
                if let Some(file) = named(wanted, files, &mut names) {
                    return file.write(output);
                }
            }
            StepKind::Approval { .. }
            | StepKind::End { .. }
            | StepKind::Error { .. }
            | StepKind::Start { .. } => {}
        }
    }
    // commands whose end is not on record
    for reading in running.into_values() {
        if let Some(file) = named(wanted, reading.files(), &mut names) {
            return file.write(output);
        }
    }
    if hidden > 0 {
        bail!("no file of that name in what can be read here; {}", sealed(hidden, false));
    }
    if names.is_empty() {
        bail!(
            "no contents of files are recorded of this session; `recording.transfers: Contents` has them recorded"
        );
    }
    let names: Vec<_> = names.iter().map(|name| printable(name)).collect();
    bail!("no contents of that file are recorded; there are those of {}", names.join(", "))
}

/// The one of this name, or else all names.
fn named(wanted: &str, files: Vec<File>, names: &mut BTreeSet<String>) -> Option<File> {
    let mut wanted = files.into_iter().filter_map(|file| {
        let found = file.name == wanted;
        names.insert(file.name.clone());
        found.then_some(file)
    });
    wanted.next()
}

/// A file, as far as it is recorded.
struct File {
    name: String,
    bytes: Vec<u8>,
    /// Digests of what went through under this name.
    digests: Vec<[u8; 32]>,
}

impl File {
    fn write(&self, output: &mut Output) -> anyhow::Result<()> {
        let digest: [u8; 32] = Sha256::digest(&self.bytes).into();
        if !self.digests.contains(&digest) {
            output::warn(
                "nothing says that this is byte for byte what went through: values in it are masked, or it went in parts, \
                 or was recorded in part",
            );
        }
        output.bytes(&self.bytes)
    }
}

/// What is known of one command.
#[derive(Default)]
struct Reading {
    decoder: StreamDecoder,
    /// In the order of the record.
    runs: Vec<Run>,
    /// Where the files of legacy `scp` come from, and all that came from there.
    scp: Option<(Channel, Vec<u8>)>,
    digests: Vec<(String, [u8; 32])>,
}

/// Bytes that stand together in a file.
struct Run {
    channel: Channel,
    name: String,
    offset: u64,
    bytes: Vec<u8>,
}

impl Reading {
    fn of(command: &str) -> Self {
        let scp = scp::sender(command.as_bytes()).map(|channel| (channel, Vec::new()));
        Self { scp, ..Self::default() }
    }

    fn feed(&mut self, frames: &[u8]) {
        // What is no recorded stream holds no file.
        for frame in self.decoder.feed(frames).unwrap_or_default() {
            match frame.event {
                StreamEvent::Part { channel, offset, path } => {
                    self.runs.push(Run { channel, name: path, offset, bytes: Vec::new() });
                }
                StreamEvent::Data { channel, bytes } => self.data(channel, &bytes),
                StreamEvent::File { digest, path, .. } => self.digests.push((path, digest)),
                StreamEvent::Resize { .. }
                | StreamEvent::Exit(_)
                | StreamEvent::ExitSignal(_)
                | StreamEvent::Signal(_)
                | StreamEvent::End(_)
                | StreamEvent::Omitted { .. } => {}
            }
        }
    }

    fn data(&mut self, channel: Channel, bytes: &[u8]) {
        match &mut self.scp {
            Some((from, stream)) if *from == channel => stream.extend_from_slice(bytes),
            Some(_) => {}
            None => {
                if let Some(run) = self.runs.iter_mut().rev().find(|run| run.channel == channel) {
                    run.bytes.extend_from_slice(bytes);
                }
            }
        }
    }

    /// The files that went through, each once; of one that was read and written what was written.
    fn files(mut self) -> Vec<File> {
        let mut files = match self.scp.take() {
            Some((_, stream)) => sent(&stream),
            None => self.joined(),
        };
        for file in &mut files {
            let of = self.digests.iter().filter(|(name, _)| *name == file.name);
            file.digests = of.map(|(_, digest)| *digest).collect();
        }
        files
    }

    fn joined(&mut self) -> Vec<File> {
        let mut runs = std::mem::take(&mut self.runs);
        runs.sort_by_key(|run| (run.channel, run.offset));
        let mut files: Vec<(Channel, File)> = Vec::new();
        for run in runs {
            match files.iter_mut().find(|(_, file)| file.name == run.name) {
                Some((channel, file)) if *channel == run.channel => {
                    put(&mut file.bytes, run.offset, &run.bytes);
                }
                Some(_) => {}
                None => {
                    let file = File { name: run.name, bytes: run.bytes, digests: Vec::new() };
                    files.push((run.channel, file));
                }
            }
        }
        files.into_iter().map(|(_, file)| file).collect()
    }
}

/// Puts bytes to their place; what is missing before them is not filled.
fn put(bytes: &mut Vec<u8>, offset: u64, run: &[u8]) {
    let at = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let end = at.saturating_add(run.len()).min(bytes.len());
    bytes.splice(at..end, run.iter().copied());
}

/// The files in a stream of legacy `scp`.
fn sent(stream: &[u8]) -> Vec<File> {
    let (mut watch, mut files) = (scp::Watch::new(), Vec::new());
    watch.push(stream, &mut files);
    files.extend(watch.finish());
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let data = |file: &scp::File| {
        let from = whole(file.start).min(stream.len());
        let to = from.saturating_add(whole(file.size)).min(stream.len());
        stream.get(from..to).unwrap_or_default().to_vec()
    };
    files
        .iter()
        .map(|file| File { name: file.path.clone(), bytes: data(file), digests: Vec::new() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_audit::stream::StreamEncoder;
    use std::time::Duration;

    fn part(offset: u64, bytes: &[u8], frames: &mut Vec<u8>, encoder: &mut StreamEncoder) {
        let event = StreamEvent::Part { channel: Channel::STDIN, offset, path: "/srv/a".to_owned() };
        encoder.encode(Duration::ZERO, &event, frames);
        encoder.data(Duration::ZERO, Channel::STDIN, bytes, frames);
    }

    #[test]
    fn parts_come_together_in_the_order_of_their_file() {
        let (mut frames, mut encoder) = (Vec::new(), StreamEncoder::default());
        for (offset, bytes) in [(0, &b"abc"[..]), (6, b"ghi"), (3, b"def"), (8, b"I, and more")] {
            part(offset, bytes, &mut frames, &mut encoder);
        }
        let mut reading = Reading::of("sftp open /srv/a");
        frames.chunks(5).for_each(|piece| reading.feed(piece));
        let files = reading.files();
        assert_eq!((files.len(), files[0].bytes.as_slice()), (1, &b"abcdefghI, and more"[..]));
    }

    #[test]
    fn files_of_legacy_scp_are_cut_out_of_its_stream() {
        let (mut frames, mut encoder) = (Vec::new(), StreamEncoder::default());
        let stream = b"D0755 0 site\nC0644 5 a\nhello\0C0600 2 b\nhi\0E\n";
        encoder.data(Duration::ZERO, Channel::STDOUT, stream, &mut frames);
        encoder.data(Duration::ZERO, Channel::STDIN, b"\0\0\0", &mut frames);
        let digest = Sha256::digest(b"hi").into();
        let event =
            StreamEvent::File { channel: Channel::STDOUT, bytes: 2, digest, path: "site/b".to_owned() };
        encoder.encode(Duration::ZERO, &event, &mut frames);
        let mut reading = Reading::of("scp -r -f /srv/site");
        reading.feed(&frames);
        let files = reading.files();
        let told: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.bytes.as_slice())).collect();
        assert_eq!(told, [("site/a", &b"hello"[..]), ("site/b", b"hi")]);
        assert_eq!(files[1].digests, [digest]);
    }
}
