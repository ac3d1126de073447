//! One side of a session: a stream with a buffer for each direction, driven by polls so that one task serves both
//! sides at once and neither waits for the other.

use bytes::BytesMut;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

/// A stream, protected or not.
#[derive(Debug)]
pub(crate) enum Transport {
    /// As the operator wishes, to an upstream only.
    Plain(TcpStream),
    /// Towards an upstream.
    Upstream(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// Towards a client.
    Client(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Upstream(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Client(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Upstream(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Client(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Upstream(stream) => Pin::new(stream).poll_flush(cx),
            Self::Client(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Upstream(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Client(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A stream and its buffers.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    /// Read and not consumed yet.
    pub(crate) input: BytesMut,
    /// To be written.
    pub(crate) output: BytesMut,
    /// Bytes to make room for at the next read: small while little comes.
    read_ahead: usize,
    flushed: bool,
}

/// What reading gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Read {
    /// Some bytes.
    Bytes,
    /// The peer sends no more.
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            read_ahead: IDLE_BYTES,
            flushed: true,
        }
    }

    /// Writes as much of the output as the peer takes. Ready once all of it is out.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.flushed = false;
            bytes::Buf::advance(&mut self.output, written);
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.flushed = true;
        }
        if self.output.capacity() > IDLE_BYTES {
            self.output = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what there is into the input.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        if self.input.is_empty() && self.input.capacity() > self.read_ahead {
            self.input = BytesMut::new();
        }
        self.input.reserve(self.read_ahead);
        match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input) {
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(Read::End)),
            Poll::Ready(Ok(count)) => {
                let wanted = if count >= self.read_ahead { self.read_ahead.saturating_mul(4) } else { count };
                self.read_ahead = wanted.next_power_of_two().clamp(IDLE_BYTES, BUSY_BYTES);
                Poll::Ready(Ok(Read::Bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if self.input.is_empty() && self.read_ahead > IDLE_BYTES {
                    // Nothing comes: give the buffer back until something does.
                    self.read_ahead = IDLE_BYTES;
                    self.input = BytesMut::new();
                }
                Poll::Pending
            }
        }
    }

    /// Writes all of the output.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_drain(cx)).await
    }

    /// Reads once.
    pub(crate) async fn fill(&mut self) -> io::Result<Read> {
        std::future::poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Says goodbye; a peer that is gone already does not hear it.
    pub(crate) async fn close(&mut self) {
        if let Err(error) = std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await {
            tracing::debug!(%error, "close connection");
        }
    }

    pub(crate) const fn stream(&self) -> &S {
        &self.stream
    }
}

/// What an idle session reads into, in bytes.
const IDLE_BYTES: usize = 4 * 1024;
/// What a busy session reads into, in bytes.
const BUSY_BYTES: usize = 128 * 1024;
