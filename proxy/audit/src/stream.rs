//! The neutral form of a recorded terminal or exec stream: what `portcullis.result.frames` holds for SSH and for
//! `exec`, `attach` and `port-forward` of Kubernetes.
//!
//! One recording per command. It begins with [`MAGIC`], then frame after frame; a frame may be split over records at
//! any byte, so the bytes of a command's `portcullis.result.chunk` records and of its `portcullis.result` are one
//! stream. Numbers are unsigned LEB128 (7 bits a byte, the lowest first), at most 10 bytes:
//!
//! ```text
//! magic  "PCS" 0x01
//! frame  kind u8 | microseconds since the command began, LEB128 | length LEB128 | payload of that length
//! ```
//!
//! | kind | event | payload |
//! | --- | --- | --- |
//! | 1 | [`StreamEvent::Data`] | channel u8, then the bytes as the client got them (or, channel 0, sent them), after masking |
//! | 2 | [`StreamEvent::Resize`] | columns u16, rows u16, big endian; a recording of a terminal has one at time 0 |
//! | 3 | [`StreamEvent::Exit`] | exit code i32, big endian |
//! | 4 | [`StreamEvent::ExitSignal`] | name of the signal that ended the program, without `SIG`, UTF-8 |
//! | 5 | [`StreamEvent::Signal`] | name of a signal that the client sent, UTF-8 |
//! | 6 | [`StreamEvent::End`] | channel u8: nothing more comes on it |
//! | 7 | [`StreamEvent::Omitted`] | channel u8, bytes u64 big endian, SHA-256 of them: recorded by size and digest only |
//! | 8 | [`StreamEvent::File`] | channel u8, bytes u64 big endian, SHA-256 of them, then the file's name, UTF-8 |
//! | 9 | [`StreamEvent::Part`] | channel u8, offset u64 big endian, then the file's name, UTF-8 |
//! | 10 | one of the above, of a channel above 255 | channel u32 big endian, its kind u8, then its payload without the channel |
//!
//! Readers skip kinds that they do not know. Times never decrease. A payload is at most [`MAX_PAYLOAD_BYTES`]; the
//! encoder splits longer data, so a reader never holds more than one frame.

use crate::merkle::Hash;
use bytes::Bytes;
use std::time::Duration;

/// First bytes of a recording; the last of them is the version.
pub const MAGIC: [u8; 4] = *b"PCS\x01";

/// Most bytes of one frame's payload.
pub const MAX_PAYLOAD_BYTES: usize = 32 * 1_024;

/// Most bytes of a LEB128 number of 64 bits.
const MAX_NUMBER_BYTES: usize = 10;

/// Which of a program's streams. Numbered as file descriptors are. Connections through a forwarded port have two each,
/// from 4 on: an even one to the pod, and the next one from it. What is said of their failures has one for each
/// connection, from 2³¹ on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Channel(pub u32);

impl Channel {
    /// What the client sent.
    pub const STDIN: Self = Self(0);
    /// What the program wrote; of a terminal, all that it wrote.
    pub const STDOUT: Self = Self(1);
    /// What the program wrote to its standard error, when it has no terminal.
    pub const STDERR: Self = Self(2);

    /// To the pod, through a forwarded connection: the how many-th, from 0 on.
    pub const fn tunnel(connection: u32) -> Self {
        let connection = if connection < CONNECTIONS { connection } else { CONNECTIONS - 1 };
        Self(TUNNELS + connection * 2)
    }

    /// What a pod answers to a [`tunnel`](Self::tunnel).
    #[must_use]
    pub const fn answering(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Why a forwarded connection failed.
    pub const fn failure(connection: u32) -> Self {
        Self(FAILURES | connection)
    }

    /// Which forwarded connection's failure is told on this channel, from 0 on.
    pub const fn failed(self) -> Option<u32> {
        if self.0 & FAILURES == 0 { None } else { Some(self.0 & !FAILURES) }
    }
}

/// First channel of a forwarded connection.
const TUNNELS: u32 = 4;
/// First channel of a forwarded connection's failure.
const FAILURES: u32 = 1 << 31;
/// So many forwarded connections have channels of their own.
const CONNECTIONS: u32 = (FAILURES - TUNNELS) / 2;

/// One thing that happened on a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StreamEvent {
    /// Bytes on a channel.
    Data {
        /// Which.
        channel: Channel,
        /// The bytes.
        bytes: Bytes,
    },
    /// The terminal's size, at the start and whenever it changes.
    Resize {
        /// Width.
        columns: u16,
        /// Height.
        rows: u16,
    },
    /// The program ended with this code.
    Exit(i32),
    /// The program was ended by this signal: `KILL`.
    ExitSignal(String),
    /// The client sent this signal: `INT`.
    Signal(String),
    /// Nothing more comes on this channel.
    End(Channel),
    /// Bytes that are not in the recording.
    Omitted {
        /// On which channel.
        channel: Channel,
        /// How many.
        bytes: u64,
        /// SHA-256 of them, after masking.
        digest: Hash,
    },
    /// A file that went through a channel, as part of an archive.
    File {
        /// On which channel.
        channel: Channel,
        /// How many bytes of it went through.
        bytes: u64,
        /// SHA-256 of them, as their receiver got them.
        digest: Hash,
        /// As the archive names it, after masking; the first [`MAX_NAME_BYTES`] of a longer one.
        path: String,
    },
    /// What comes next on a channel is a part of a file.
    Part {
        /// On which channel.
        channel: Channel,
        /// Where in the file it stands.
        offset: u64,
        /// Path of the file, after masking; the first [`MAX_NAME_BYTES`] of a longer one.
        path: String,
    },
}

/// Most bytes of a file's name.
pub const MAX_NAME_BYTES: usize = 4 * 1024;

/// An event and its time since the command began.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StreamFrame {
    /// Microseconds since the command began.
    pub micros: u64,
    /// What happened.
    pub event: StreamEvent,
}

/// Writes one recording.
#[derive(Clone, Debug, Default)]
pub struct StreamEncoder {
    begun: bool,
    micros: u64,
}

impl StreamEncoder {
    /// Appends one event. A time before that of the last event counts as that time.
    pub fn encode(&mut self, at: Duration, event: &StreamEvent, out: &mut Vec<u8>) {
        match event {
            StreamEvent::Data { channel, bytes } => self.data(at, *channel, bytes, out),
            StreamEvent::Resize { columns, rows } => {
                let [a, b] = columns.to_be_bytes();
                let [c, d] = rows.to_be_bytes();
                self.frame(at, RESIZE, &[&[a, b, c, d]], out);
            }
            StreamEvent::Exit(code) => self.frame(at, EXIT, &[&code.to_be_bytes()], out),
            StreamEvent::ExitSignal(name) => self.frame(at, EXIT_SIGNAL, &[short(name)], out),
            StreamEvent::Signal(name) => self.frame(at, SIGNAL, &[short(name)], out),
            StreamEvent::End(channel) => self.on(at, (*channel, END), &[], out),
            StreamEvent::Omitted { channel, bytes, digest } => {
                self.on(at, (*channel, OMITTED), &[&bytes.to_be_bytes(), digest], out);
            }
            StreamEvent::File { channel, bytes, digest, path } => {
                self.on(at, (*channel, FILE), &[&bytes.to_be_bytes(), digest, named(path)], out);
            }
            StreamEvent::Part { channel, offset, path } => {
                self.on(at, (*channel, PART), &[&offset.to_be_bytes(), named(path)], out);
            }
        }
    }

    /// Appends bytes of a channel, in as many frames as they need.
    pub fn data(&mut self, at: Duration, channel: Channel, bytes: &[u8], out: &mut Vec<u8>) {
        let head = if u8::try_from(channel.0).is_ok() { 1 } else { WIDE_HEAD };
        for part in bytes.chunks(MAX_PAYLOAD_BYTES - head) {
            self.on(at, (channel, DATA), &[part], out);
        }
    }

    /// Appends a frame of this kind about a channel.
    fn on(&mut self, at: Duration, (channel, kind): (Channel, u8), rest: &[&[u8]], out: &mut Vec<u8>) {
        let narrow = u8::try_from(channel.0).map(|narrow| [narrow]);
        let [a, b, c, d] = channel.0.to_be_bytes();
        let wide = [a, b, c, d, kind];
        let (kind, head) = match &narrow {
            Ok(narrow) => (kind, narrow.as_slice()),
            Err(_) => (WIDE, wide.as_slice()),
        };
        self.frame(at, kind, &[&[head], rest].concat(), out);
    }

    fn frame(&mut self, at: Duration, kind: u8, payload: &[&[u8]], out: &mut Vec<u8>) {
        if !self.begun {
            out.extend_from_slice(&MAGIC);
            self.begun = true;
        }
        self.micros = self.micros.max(u64::try_from(at.as_micros()).unwrap_or(u64::MAX));
        out.push(kind);
        number(self.micros, out);
        number(payload.iter().map(|part| part.len() as u64).sum(), out);
        for part in payload {
            out.extend_from_slice(part);
        }
    }
}

const DATA: u8 = 1;
const RESIZE: u8 = 2;
const EXIT: u8 = 3;
const EXIT_SIGNAL: u8 = 4;
const SIGNAL: u8 = 5;
const END: u8 = 6;
const OMITTED: u8 = 7;
const FILE: u8 = 8;
const PART: u8 = 9;
/// Of a channel that a byte does not hold.
const WIDE: u8 = 10;
/// Bytes of such a frame's payload before that of its kind.
const WIDE_HEAD: usize = 5;

/// Longest name of a signal that is kept, in bytes.
const MAX_SIGNAL_BYTES: usize = 64;

fn named(path: &str) -> &[u8] {
    path.as_bytes().get(..MAX_NAME_BYTES).unwrap_or(path.as_bytes())
}

fn short(name: &str) -> &[u8] {
    name.as_bytes().get(..MAX_SIGNAL_BYTES).unwrap_or(name.as_bytes())
}

fn number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        let [low, ..] = number.to_le_bytes();
        out.push(low | 0x80);
        number >>= 7;
    }
    let [low, ..] = number.to_le_bytes();
    out.push(low);
}

/// Why bytes are not a recording.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StreamError {
    /// The bytes do not begin as a recording of this version does.
    #[error("not a recorded stream of this version")]
    NotAStream,
    /// A frame's head or payload is not what its kind has.
    #[error("malformed frame in a recorded stream")]
    Malformed,
}

/// Reads one recording, however its bytes are cut.
#[derive(Clone, Debug, Default)]
pub struct StreamDecoder {
    /// Bytes of a frame that is not whole yet: fewer than a frame has at most.
    pending: Vec<u8>,
    begun: bool,
}

impl StreamDecoder {
    /// Takes more bytes; gives the frames that are whole now.
    ///
    /// # Errors
    /// See [`StreamError`]. After one, nothing of the recording can be read on.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<StreamFrame>, StreamError> {
        self.pending.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        if !self.begun {
            match rest.split_first_chunk::<4>() {
                Some((&MAGIC, after)) => rest = after,
                None if MAGIC.starts_with(rest) => {
                    self.pending = rest.to_vec();
                    return Ok(Vec::new());
                }
                Some(_) | None => return Err(StreamError::NotAStream),
            }
            self.begun = true;
        }
        let mut frames = Vec::new();
        while let Some((kind, micros, payload, after)) = split(rest)? {
            if let Some(event) = event(kind, payload)? {
                frames.push(StreamFrame { micros, event });
            }
            rest = after;
        }
        self.pending = rest.to_vec();
        Ok(frames)
    }

    /// Bytes of a frame whose rest has not come: not zero at the end means that the recording was cut.
    pub fn unfinished(&self) -> usize {
        self.pending.len()
    }
}

type Parts<'a> = (u8, u64, &'a [u8], &'a [u8]);

/// The first frame of these bytes: kind, time, payload, and what follows. `None` when it is not whole.
fn split(bytes: &[u8]) -> Result<Option<Parts<'_>>, StreamError> {
    let Some((&kind, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((micros, rest)) = read_number(rest)? else { return Ok(None) };
    let Some((length, rest)) = read_number(rest)? else { return Ok(None) };
    let length = usize::try_from(length).ok().filter(|length| *length <= MAX_PAYLOAD_BYTES);
    let length = length.ok_or(StreamError::Malformed)?;
    Ok(rest.split_at_checked(length).map(|(payload, after)| (kind, micros, payload, after)))
}

fn read_number(bytes: &[u8]) -> Result<Option<(u64, &[u8])>, StreamError> {
    let mut number = 0_u64;
    for (position, byte) in bytes.iter().take(MAX_NUMBER_BYTES).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * position);
        if shifted >> (7 * position) != bits {
            return Err(StreamError::Malformed);
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return Ok(bytes.get(position + 1..).map(|rest| (number, rest)));
        }
    }
    if bytes.len() >= MAX_NUMBER_BYTES { Err(StreamError::Malformed) } else { Ok(None) }
}

/// `None` for a kind of a later version.
fn event(kind: u8, payload: &[u8]) -> Result<Option<StreamEvent>, StreamError> {
    let malformed = StreamError::Malformed;
    Ok(Some(match kind {
        RESIZE => {
            let [a, b, c, d] = <[u8; 4]>::try_from(payload).or(Err(malformed))?;
            StreamEvent::Resize { columns: u16::from_be_bytes([a, b]), rows: u16::from_be_bytes([c, d]) }
        }
        EXIT => StreamEvent::Exit(i32::from_be_bytes(payload.try_into().or(Err(malformed))?)),
        EXIT_SIGNAL => StreamEvent::ExitSignal(String::from_utf8_lossy(payload).into_owned()),
        SIGNAL => StreamEvent::Signal(String::from_utf8_lossy(payload).into_owned()),
        DATA | END | OMITTED | FILE | PART => {
            let (channel, rest) = payload.split_first().ok_or(malformed)?;
            return on_channel(kind, Channel(u32::from(*channel)), rest);
        }
        WIDE => {
            let (channel, rest) = payload.split_first_chunk::<4>().ok_or(malformed)?;
            let (kind, rest) = rest.split_first().ok_or(malformed)?;
            return on_channel(*kind, Channel(u32::from_be_bytes(*channel)), rest);
        }
        _ => return Ok(None),
    }))
}

/// As [`event`], of what happens on a channel; `rest` is the payload behind its number.
fn on_channel(kind: u8, channel: Channel, rest: &[u8]) -> Result<Option<StreamEvent>, StreamError> {
    let malformed = StreamError::Malformed;
    Ok(Some(match kind {
        DATA => StreamEvent::Data { channel, bytes: Bytes::copy_from_slice(rest) },
        END if rest.is_empty() => StreamEvent::End(channel),
        END => return Err(malformed),
        OMITTED => {
            let (bytes, digest) = rest.split_first_chunk::<8>().ok_or(malformed)?;
            StreamEvent::Omitted {
                channel,
                bytes: u64::from_be_bytes(*bytes),
                digest: digest.try_into().or(Err(malformed))?,
            }
        }
        FILE => {
            let (bytes, rest) = rest.split_first_chunk::<8>().ok_or(malformed)?;
            let (digest, path) = rest.split_first_chunk::<32>().ok_or(malformed)?;
            StreamEvent::File {
                channel,
                bytes: u64::from_be_bytes(*bytes),
                digest: *digest,
                path: String::from_utf8_lossy(path).into_owned(),
            }
        }
        PART => {
            let (offset, path) = rest.split_first_chunk::<8>().ok_or(malformed)?;
            StreamEvent::Part {
                channel,
                offset: u64::from_be_bytes(*offset),
                path: String::from_utf8_lossy(path).into_owned(),
            }
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests;
