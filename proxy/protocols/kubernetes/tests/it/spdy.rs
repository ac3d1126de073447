//! SPDY/3.1 as the clients of Kubernetes and its servers speak it, by hand.

use flate2::{Compress, Compression, FlushCompress};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN_STREAM: u16 = 1;
pub(crate) const SYN_REPLY: u16 = 2;
pub(crate) const RST_STREAM: u16 = 3;
pub(crate) const PING: u16 = 6;
pub(crate) const GOAWAY: u16 = 7;

/// One side of a connection.
pub(crate) struct Side<T> {
    io: T,
    zlib: Compress,
}

/// A frame that was heard.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    Control(u16, u8, Vec<u8>),
    Data(u32, u8, Vec<u8>),
}

impl<T: AsyncRead + AsyncWrite + Unpin> Side<T> {
    pub(crate) fn new(io: T) -> Self {
        let mut zlib = Compress::new(Compression::default(), true);
        zlib.set_dictionary(include_bytes!("../../src/streams/spdy3.dictionary")).unwrap();
        Self { io, zlib }
    }

    /// Opens a stream, or agrees to one.
    pub(crate) async fn open(&mut self, kind: u16, stream: u32, headers: &[(&str, &str)]) {
        let mut block = u32::try_from(headers.len()).unwrap().to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            block.extend(text.as_bytes());
        }
        let mut deflated = Vec::with_capacity(4096);
        self.zlib.compress_vec(&block, &mut deflated, FlushCompress::Sync).unwrap();
        let mut payload = stream.to_be_bytes().to_vec();
        if kind == SYN_STREAM {
            payload.extend([0; 6]);
        }
        payload.extend(deflated);
        self.control(kind, 0, &payload).await;
    }

    pub(crate) async fn control(&mut self, kind: u16, flags: u8, payload: &[u8]) {
        let mut frame = vec![0x80, 3];
        frame.extend(kind.to_be_bytes());
        frame.push(flags);
        frame.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
        frame.extend(payload);
        self.io.write_all(&frame).await.unwrap();
        self.io.flush().await.unwrap();
    }

    pub(crate) async fn data(&mut self, stream: u32, flags: u8, bytes: &[u8]) {
        let mut frame = stream.to_be_bytes().to_vec();
        frame.push(flags);
        frame.extend(&u32::try_from(bytes.len()).unwrap().to_be_bytes()[1..]);
        frame.extend(bytes);
        self.io.write_all(&frame).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// Says goodbye, and reads nothing any more.
    pub(crate) async fn leave(mut self) {
        self.io.shutdown().await.unwrap();
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn hear(&mut self) -> Option<Heard> {
        let mut head = [0; 8];
        self.io.read_exact(&mut head).await.ok()?;
        let [first, second, third, fourth, flags, length @ ..] = head;
        let [high, middle, low] = length;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap()];
        self.io.read_exact(&mut payload).await.ok()?;
        Some(if first & 0x80 == 0 {
            Heard::Data(u32::from_be_bytes([first, second, third, fourth]), flags, payload)
        } else {
            Heard::Control(u16::from_be_bytes([third, fourth]), flags, payload)
        })
    }

    /// Bytes of a stream until it is final, or there are so many.
    pub(crate) async fn read(&mut self, stream: u32, most: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < most {
            match self.hear().await {
                Some(Heard::Data(on, flags, bytes)) if on == stream => {
                    all.extend(bytes);
                    if flags & FIN != 0 {
                        break;
                    }
                }
                Some(_) => {}
                None => break,
            }
        }
        all
    }
}
