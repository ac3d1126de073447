//! Contents of files that go through the subsystem `sftp`, where the Resource has them recorded.
//!
//! They are recorded as a program's streams are: what is written on the channel of input, what is read on that of
//! output, each run of bytes behind the name of its file and its place in it. What is read the detectors have looked at
//! before; what is written is masked here, for the record alone.

use crate::mask::OutputMasker;
use crate::sftp::{Content, Transfer};
use proxy_audit::stream::{Channel, MAX_NAME_BYTES, StreamEncoder, StreamEvent};
use proxy_core::mask::{MaskCounts, Masker};
use std::time::Instant;

/// The recording of a file that is open.
pub(super) struct Contents {
    path: String,
    masker: Masker,
    tape: Tape,
    read: Side,
    written: Side,
}

/// What is left to record when the file is closed.
pub(super) struct Ending {
    pub(super) frames: Vec<u8>,
    /// What was masked in all of it.
    pub(super) masked: MaskCounts,
    /// Not all of it is recorded.
    pub(super) cut: bool,
}

impl Contents {
    /// Of a file that is opened at `path`, of which at most so many bytes are recorded.
    pub(super) fn new(path: &str, masker: &Masker, limit: u64) -> Self {
        let shown = masker.text(path.as_bytes(), &mut MaskCounts::default());
        let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(ENDS);
        Self {
            path: String::from_utf8_lossy(&shown).into_owned(),
            masker: masker.clone(),
            tape: Tape { encoder: StreamEncoder::default(), began: Instant::now(), room, cut: false },
            read: Side::of(Channel::STDOUT),
            written: Side::of(Channel::STDIN),
        }
    }

    /// Bytes go through: gives what is recorded of them now.
    pub(super) fn add(&mut self, content: &Content) -> Vec<u8> {
        let mut frames = Vec::with_capacity(content.data.len());
        let side = if content.written { &mut self.written } else { &mut self.read };
        if side.next != Some(content.offset) {
            side.leave(&mut self.tape, &mut frames);
            side.hidden = content.written.then(|| OutputMasker::new(self.masker.clone()));
            self.tape.begin(side.channel, content.offset, &self.path, &mut frames);
        }
        let length = u64::try_from(content.data.len()).unwrap_or(u64::MAX);
        side.next = Some(content.offset.saturating_add(length));
        match &mut side.hidden {
            Some(hidden) => {
                let mut shown = Vec::with_capacity(content.data.len());
                hidden.push(&content.data, &mut shown);
                self.tape.data(side.channel, &shown, &mut frames);
            }
            None => self.tape.data(side.channel, &content.data, &mut frames),
        }
        frames
    }

    /// The file is closed. Without a `transfer`: nobody knows what became of it.
    pub(super) fn end(mut self, transfer: Option<&Transfer>) -> Ending {
        let mut frames = Vec::new();
        self.written.end(&mut self.tape, &mut frames);
        let flows =
            transfer.map(|transfer| [(Channel::STDIN, &transfer.written), (Channel::STDOUT, &transfer.read)]);
        for (channel, flow) in flows.into_iter().flatten() {
            if let Some(digest) = flow.sha256() {
                let event = StreamEvent::File { channel, bytes: flow.bytes, digest, path: self.path.clone() };
                self.tape.encoder.encode(self.tape.began.elapsed(), &event, &mut frames);
            }
        }
        Ending { frames, masked: self.written.masked, cut: self.tape.cut }
    }
}

/// One direction.
struct Side {
    channel: Channel,
    /// Where the next byte stands, if it goes on.
    next: Option<u64>,
    /// What hides values in the record of it.
    hidden: Option<OutputMasker>,
    masked: MaskCounts,
}

impl Side {
    fn of(channel: Channel) -> Self {
        Self { channel, next: None, hidden: None, masked: MaskCounts::default() }
    }

    /// The client goes elsewhere in the file. A value may go on where it comes back to: what has begun of one is hidden.
    fn leave(&mut self, tape: &mut Tape, frames: &mut Vec<u8>) {
        if let Some(hidden) = &mut self.hidden {
            let mut shown = Vec::new();
            hidden.quiet(&mut shown);
            tape.data(self.channel, &shown, frames);
        }
        self.end(tape, frames);
    }

    /// Nothing more comes: records what was held back.
    fn end(&mut self, tape: &mut Tape, frames: &mut Vec<u8>) {
        let Some(mut hidden) = self.hidden.take() else { return };
        let mut shown = Vec::new();
        hidden.finish(&mut shown);
        tape.data(self.channel, &shown, frames);
        for (name, count) in &hidden.counts().0 {
            *self.masked.0.entry(name.clone()).or_default() += count;
        }
    }
}

/// Where frames go, as long as there is room.
struct Tape {
    encoder: StreamEncoder,
    began: Instant,
    room: usize,
    cut: bool,
}

impl Tape {
    fn begin(&mut self, channel: Channel, offset: u64, path: &str, frames: &mut Vec<u8>) {
        if self.room > 0 {
            let event = StreamEvent::Part { channel, offset, path: path.to_owned() };
            self.wrote(frames, |encoder, at, frames| encoder.encode(at, &event, frames));
        }
    }

    fn data(&mut self, channel: Channel, bytes: &[u8], frames: &mut Vec<u8>) {
        let (now, rest) = bytes.split_at(bytes.len().min(self.room));
        self.wrote(frames, |encoder, at, frames| encoder.data(at, channel, now, frames));
        if !rest.is_empty() {
            // what comes later has no place in a recording that lacks what was before
            (self.room, self.cut) = (0, true);
        }
    }

    fn wrote(
        &mut self,
        frames: &mut Vec<u8>,
        write: impl FnOnce(&mut StreamEncoder, std::time::Duration, &mut Vec<u8>),
    ) {
        let before = frames.len();
        write(&mut self.encoder, self.began.elapsed(), frames);
        self.room = self.room.saturating_sub(frames.len() - before);
    }
}

/// Room that is kept for the heads of the last frames and for the names, sizes and digests behind them, in bytes.
const ENDS: usize = 4 * (MAX_NAME_BYTES + 256);

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_audit::stream::StreamDecoder;
    use proxy_policy::{Detector, DetectorChoice, Mask, MaskType};

    /// Shaped like a key of AWS.
    const CANARY: &str = "AKIAQ3EGRJ5NLXVW7TZB";

    fn masker() -> Masker {
        let with = Mask { type_: MaskType::Redact, keep_last: None };
        let choice = DetectorChoice { detectors: vec![Detector::Secrets], patterns: Vec::new(), with };
        Masker::new(&[choice], &[7; 32])
    }

    fn write(contents: &mut Contents, offset: u64, data: &[u8]) -> Vec<u8> {
        contents.add(&Content { opening: 1, written: true, offset, data: data.to_vec() })
    }

    /// Every run: where it stands, and its bytes.
    fn runs(frames: &[u8]) -> Vec<(u64, String)> {
        let mut runs = Vec::new();
        for frame in StreamDecoder::default().feed(frames).unwrap() {
            if let StreamEvent::Part { offset, path, .. } = &frame.event {
                assert_eq!(path, "/a");
                runs.push((*offset, String::new()));
            } else if let StreamEvent::Data { bytes, .. } = &frame.event {
                runs.last_mut().unwrap().1.push_str(std::str::from_utf8(bytes).unwrap());
            }
        }
        runs
    }

    #[test]
    fn what_is_written_in_any_order_is_recorded_by_its_place() {
        let mut contents = Contents::new("/a", &masker(), 1 << 20);
        let mut frames = Vec::new();
        for (offset, data) in [(0, "one "), (4, "two "), (20, "far "), (8, "three ")] {
            frames.extend(write(&mut contents, offset, data.as_bytes()));
        }
        frames.extend(contents.end(None).frames);
        let expected = [(0, "one two "), (20, "far "), (8, "three ")];
        assert_eq!(runs(&frames), expected.map(|(offset, text)| (offset, text.to_owned())));
    }

    #[test]
    fn a_value_is_masked_and_one_that_comes_in_two_parts_does_not_come_together() {
        let mut contents = Contents::new("/a", &masker(), 1 << 20);
        let (head, tail) = CANARY.split_at(14);
        let mut frames = write(&mut contents, 0, format!("a {CANARY} b {head}").as_bytes());
        frames.extend(write(&mut contents, 500, b"elsewhere "));
        frames.extend(write(&mut contents, 39, tail.as_bytes()));
        let ending = contents.end(None);
        frames.extend(ending.frames);
        let runs = runs(&frames);
        assert!(runs[0].1.starts_with("a [MASKED:") && !runs[0].1.contains(head), "{runs:?}");
        assert!(ending.masked.0.values().sum::<u64>() >= 2, "{:?}", ending.masked);
    }

    #[test]
    fn beyond_the_limit_nothing_is_recorded_but_name_size_and_digest() {
        let limit = 100_000;
        let mut contents = Contents::new("/a", &Masker::new(&[], &[7; 32]), limit);
        let mut frames = Vec::new();
        for at in 0..20 {
            frames.extend(write(&mut contents, at * 10_000, &[b'x'; 10_000]));
        }
        frames.extend(write(&mut contents, 500, b"late"));
        let ending = contents.end(None);
        frames.extend(ending.frames);
        assert!(ending.cut && frames.len() <= usize::try_from(limit).unwrap() - ENDS / 2, "{}", frames.len());
        let runs = runs(&frames);
        assert!(runs.len() == 1 && runs[0].1.len() > 80_000, "{}", runs[0].1.len());
    }
}
