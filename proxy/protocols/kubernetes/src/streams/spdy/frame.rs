//! The head of a frame, and where its payload ends.

use crate::streams::StreamError;
use bytes::BytesMut;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};

/// Set in the flags of a frame that is the last of its stream and direction.
pub(super) const FIN: u8 = 1;
/// Most bytes of a control frame.
const CONTROL: usize = 64 * 1024;
/// Bytes of a payload that are taken at once.
pub(super) const PIECE: usize = 32 * 1024;

pub(super) const SYN_STREAM: u16 = 1;
pub(super) const SYN_REPLY: u16 = 2;
pub(super) const RST_STREAM: u16 = 3;
pub(super) const SETTINGS: u16 = 4;
pub(super) const PING: u16 = 6;
pub(super) const GOAWAY: u16 = 7;
pub(super) const HEADERS: u16 = 8;
pub(super) const WINDOW_UPDATE: u16 = 9;

/// What a frame begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Head {
    /// A control frame of a type, and the length of its payload.
    Control { kind: u16, length: usize, raw: [u8; 8] },
    /// Data of a stream.
    Data { stream: u32, flags: u8, length: usize },
}

/// Whether anything comes before the end. Cancel safe.
pub(super) async fn comes<R: AsyncRead + Unpin>(from: &mut BufReader<R>) -> Result<bool, StreamError> {
    Ok(!from.fill_buf().await?.is_empty())
}

/// Reads a head.
///
/// # Errors
/// It is none of version 3, or too long.
pub(super) async fn head<R: AsyncRead + Unpin>(from: &mut BufReader<R>) -> Result<Head, StreamError> {
    let mut raw = [0_u8; 8];
    from.read_exact(&mut raw).await?;
    let [first, second, third, fourth, flags, high, middle, low] = raw;
    let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
    if first & 0x80 == 0 {
        let stream = u32::from_be_bytes([first, second, third, fourth]);
        return Ok(Head::Data { stream, flags, length });
    }
    if u16::from_be_bytes([first & 0x7f, second]) != 3 || length > CONTROL {
        return Err(StreamError::Protocol("a SPDY control frame"));
    }
    Ok(Head::Control { kind: u16::from_be_bytes([third, fourth]), length, raw })
}

/// Reads the whole payload of a control frame.
///
/// # Errors
/// It breaks off.
pub(super) async fn payload<R: AsyncRead + Unpin>(
    from: &mut BufReader<R>,
    length: usize,
) -> Result<Vec<u8>, StreamError> {
    let mut payload = vec![0; length];
    from.read_exact(&mut payload).await?;
    Ok(payload)
}

/// Reads the next piece of data of which `left` bytes are to come.
///
/// # Errors
/// It breaks off.
pub(super) async fn piece<R: AsyncRead + Unpin>(
    from: &mut BufReader<R>,
    left: usize,
) -> Result<Vec<u8>, StreamError> {
    payload(from, left.min(PIECE)).await
}

/// The stream that a control frame is about: its first four bytes.
pub(super) fn stream(payload: &[u8]) -> Result<u32, StreamError> {
    let bytes = payload.first_chunk::<4>().ok_or(StreamError::Protocol("a short SPDY frame"))?;
    Ok(u32::from_be_bytes(*bytes) & 0x7fff_ffff)
}

/// Whether a control frame is as long as its type says. What were longer would carry, unread, what nobody asked for.
///
/// # Errors
/// It is not, or its type is not known.
pub(super) fn check(kind: u16, length: usize) -> Result<(), StreamError> {
    let fits = match kind {
        // stream, associated stream, priority, slot; then headers, which are read
        SYN_STREAM => length >= 10,
        SYN_REPLY | HEADERS => length >= 4,
        RST_STREAM | GOAWAY | WINDOW_UPDATE => length == 8,
        PING => length == 4,
        // how many, and eight bytes for each
        SETTINGS => length % 8 == 4,
        _ => return Err(StreamError::Protocol("a SPDY control frame that is not known")),
    };
    if fits { Ok(()) } else { Err(StreamError::Protocol("a SPDY control frame of a wrong length")) }
}

/// Where frames are written. They stay whole: what a step that was dropped has not sent yet, the next one sends first.
#[derive(Debug)]
pub(super) struct Writer<W> {
    to: W,
    waiting: BytesMut,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, waiting: BytesMut::new() }
    }

    /// Sends a control frame as it came.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The peer is gone.
    pub(super) async fn pass(&mut self, raw: [u8; 8], payload: &[u8]) -> Result<(), StreamError> {
        self.waiting.extend_from_slice(&raw);
        self.waiting.extend_from_slice(payload);
        self.flush().await
    }

    /// Sends data, in frames of at most [`PIECE`] bytes; the last carries the flags.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The peer is gone.
    pub(super) async fn data(&mut self, stream: u32, flags: u8, bytes: &[u8]) -> Result<(), StreamError> {
        let mut rest = bytes;
        loop {
            let (now, later) = rest.split_at(rest.len().min(PIECE));
            let flags = if later.is_empty() { flags } else { 0 };
            let [_, length @ ..] = u32::try_from(now.len()).unwrap_or(u32::MAX).to_be_bytes();
            self.waiting.extend_from_slice(&stream.to_be_bytes());
            self.waiting.extend_from_slice(&[flags]);
            self.waiting.extend_from_slice(&length);
            self.waiting.extend_from_slice(now);
            if later.is_empty() {
                return self.flush().await;
            }
            rest = later;
        }
    }

    /// Sends what waits, and closes. The peer may be gone already.
    pub(super) async fn close(&mut self) {
        // either way nothing more can be said
        self.flush().await.unwrap_or_default();
        self.to.shutdown().await.unwrap_or_default();
    }

    async fn flush(&mut self) -> Result<(), StreamError> {
        while !self.waiting.is_empty() {
            if self.to.write_buf(&mut self.waiting).await? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
            }
        }
        Ok(self.to.flush().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Result<Head, StreamError> {
        head(&mut BufReader::new(bytes)).await
    }

    #[tokio::test]
    async fn a_head_says_what_it_is_of() {
        let control = read(&[0x80, 3, 0, 1, 0, 0, 0, 12]).await.unwrap();
        assert!(matches!(control, Head::Control { kind: SYN_STREAM, length: 12, .. }));
        let data = read(&[0, 0, 0, 5, 1, 0, 1, 0]).await.unwrap();
        assert_eq!(data, Head::Data { stream: 5, flags: FIN, length: 256 });
    }

    #[tokio::test]
    async fn another_version_and_an_endless_control_frame_are_refused() {
        assert!(read(&[0x80, 2, 0, 1, 0, 0, 0, 12]).await.is_err());
        assert!(read(&[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]).await.is_err());
        assert!(read(&[0x80, 3]).await.is_err());
    }

    #[test]
    fn control_frames_have_the_length_of_their_type() {
        for (kind, length) in [(SYN_STREAM, 10), (SYN_REPLY, 4), (RST_STREAM, 8), (PING, 4), (SETTINGS, 12)] {
            assert!(check(kind, length).is_ok(), "{kind}");
            assert!(check(kind, length - 1).is_err(), "{kind}");
        }
        for kind in [RST_STREAM, PING, GOAWAY, WINDOW_UPDATE, SETTINGS, 5, 10] {
            assert!(check(kind, 40).is_err(), "{kind}");
        }
    }

    #[tokio::test]
    async fn long_data_is_cut_and_only_the_last_frame_is_final() {
        let mut out = Writer::new(Vec::new());
        out.data(3, FIN, &vec![7; PIECE + 1]).await.unwrap();
        let mut from = BufReader::new(out.to.as_slice());
        let first = head(&mut from).await.unwrap();
        assert_eq!(first, Head::Data { stream: 3, flags: 0, length: PIECE });
        payload(&mut from, PIECE).await.unwrap();
        assert_eq!(head(&mut from).await.unwrap(), Head::Data { stream: 3, flags: FIN, length: 1 });
    }
    #[tokio::test]
    async fn a_frame_whose_sending_was_dropped_is_whole_in_the_end() {
        let (to, mut from) = tokio::io::duplex(64);
        let mut writer = Writer::new(to);
        {
            let mut sending = Box::pin(writer.data(1, 0, &[1; 100]));
            // the pipe is full: the first poll ends in the middle of the frame
            assert!(futures_util::poll!(&mut sending).is_pending());
        }
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            from.read_to_end(&mut all).await.unwrap();
            all
        });
        writer.data(3, FIN, b"rest").await.unwrap();
        writer.close().await;
        let all = reading.await.unwrap();
        let mut expected = Writer::new(Vec::new());
        expected.data(1, 0, &[1; 100]).await.unwrap();
        expected.data(3, FIN, b"rest").await.unwrap();
        assert_eq!(all, expected.to);
    }
}
