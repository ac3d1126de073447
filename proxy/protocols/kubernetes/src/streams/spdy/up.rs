//! From the client: it opens streams, and sends input, sizes, or a port's bytes.

use super::frame::{self, FIN, Head, Writer};
use super::pairs::{Half, Pairs};
use super::{From, Quiet, Role, StreamError, Streams};
use crate::streams::headers::Inflater;
use crate::streams::output;
use crate::streams::tape::Tape;
use proxy_audit::stream::{Channel, StreamEvent};
use proxy_core::gate::Chain;
use std::collections::VecDeque;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::sync::Mutex;

pub(super) struct Up<'a, 't, W> {
    to: Writer<W>,
    streams: &'a Streams,
    tape: &'a Mutex<&'t mut Tape>,
    inflater: Inflater,
    pairs: Pairs,
    quiet: &'a Quiet,
    /// Pings that wait until it is quiet, the oldest first.
    pings: VecDeque<([u8; 8], Vec<u8>)>,
}

impl<'a, 't, W: AsyncWrite + Unpin> Up<'a, 't, W> {
    pub(super) fn new(to: W, streams: &'a Streams, tape: &'a Mutex<&'t mut Tape>, quiet: &'a Quiet) -> Self {
        Self {
            to: Writer::new(to),
            streams,
            tape,
            inflater: Inflater::new(),
            pairs: Pairs::default(),
            quiet,
            pings: VecDeque::new(),
        }
    }

    /// Relays until the client closes.
    pub(super) async fn run<R: AsyncRead + Unpin>(
        mut self,
        mut from: BufReader<R>,
    ) -> Result<(), StreamError> {
        match self.relay(&mut from).await {
            Err(StreamError::Unheard(error)) => {
                tracing::debug!(error = %Chain(&error), "the client speaks on after the API server has gone");
                tokio::io::copy_buf(&mut from, &mut tokio::io::sink()).await?;
            }
            ended => ended?,
        }
        self.to.close().await;
        Ok(())
    }

    async fn relay<R: AsyncRead + Unpin>(&mut self, from: &mut BufReader<R>) -> Result<(), StreamError> {
        while frame::comes(from).await? {
            match frame::head(from).await? {
                Head::Control { kind, length, raw } => {
                    let payload = frame::payload(from, length).await?;
                    self.control(kind, raw, &payload).await?;
                    if kind == frame::PING {
                        self.ping(raw, payload).await?;
                        continue;
                    }
                    self.to.pass(raw, &payload).await.map_err(StreamError::unheard)?;
                }
                Head::Data { stream, flags, length } => self.data(stream, flags, length, from).await?,
            }
        }
        Ok(())
    }

    /// Sends the pings that wait, and this one, or keeps it.
    async fn ping(&mut self, raw: [u8; 8], payload: Vec<u8>) -> Result<(), StreamError> {
        self.pings.push_back((raw, payload));
        if self.pings.len() > PINGS {
            self.pings.pop_front();
        }
        while self.quiet.is_long()
            && let Some((raw, payload)) = self.pings.pop_front()
        {
            self.to.pass(raw, &payload).await.map_err(StreamError::unheard)?;
        }
        Ok(())
    }

    async fn control(&mut self, kind: u16, raw: [u8; 8], payload: &[u8]) -> Result<(), StreamError> {
        frame::check(kind, payload.len())?;
        let short = StreamError::Protocol("a short SPDY frame");
        let malformed = |_error| StreamError::Protocol("the headers of a SPDY frame");
        match kind {
            frame::SYN_STREAM => {
                let stream = frame::stream(payload)?;
                // stream, associated stream, priority, slot
                let headers = self.inflater.read(payload.get(10..).ok_or(short)?).map_err(malformed)?;
                let role = self.role(&headers)?;
                self.streams.open(stream, role)?;
                let [.., flags, _, _, _] = raw;
                if flags & FIN != 0 {
                    self.streams.half_close(stream, From::Client);
                }
                Ok(())
            }
            frame::SYN_REPLY | frame::HEADERS => {
                self.inflater.read(payload.get(4..).ok_or(short)?).map_err(malformed)?;
                Ok(())
            }
            frame::RST_STREAM => {
                let stream = frame::stream(payload)?;
                super::reset(self.streams, *self.tape.lock().await, stream).await
            }
            // settings, pings, goodbyes
            _ => Ok(()),
        }
    }

    async fn data<R: AsyncRead + Unpin>(
        &mut self,
        stream: u32,
        flags: u8,
        length: usize,
        from: &mut BufReader<R>,
    ) -> Result<(), StreamError> {
        let mut left = length;
        loop {
            let piece = frame::piece(from, left).await?;
            left = left.saturating_sub(piece.len());
            let flags = if left == 0 { flags } else { 0 };
            let is_last = flags & FIN != 0;
            if self.record(stream, &piece, is_last).await? {
                self.to.data(stream, flags, &piece).await.map_err(StreamError::unheard)?;
            }
            if left == 0 {
                if is_last {
                    self.streams.half_close(stream, From::Client);
                }
                return Ok(());
            }
        }
    }

    /// Puts a piece on record; whether it goes on.
    async fn record(&mut self, stream: u32, piece: &[u8], is_last: bool) -> Result<bool, StreamError> {
        let mut tape = self.tape.lock().await;
        let channel = match self.streams.get(stream)? {
            Some(Role::Input) => Channel::STDIN,
            Some(Role::Tunnel(channel)) => channel,
            Some(Role::Resize) => {
                if let Some(size) = output::size(piece) {
                    tape.event(&size).await?;
                }
                return Ok(true);
            }
            // the client closes its half of what it only reads
            Some(Role::Output(_) | Role::Error) if piece.is_empty() => return Ok(true),
            Some(Role::Output(_) | Role::Error) => {
                return Err(StreamError::Protocol("data on a stream that is not the client's"));
            }
            // the API server wants nothing more of it
            None => return Ok(false),
        };
        tape.copy(stream, channel, piece).await?;
        if is_last {
            tape.copied(stream, channel).await?;
            tape.event(&StreamEvent::End(channel)).await?;
        }
        Ok(true)
    }

    /// What a stream is for, by its header `streamtype`.
    fn role(&mut self, headers: &[(String, String)]) -> Result<Role, StreamError> {
        let value = |wanted: &str| {
            headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.as_str())
        };
        let name = value("requestid").unwrap_or_default();
        match value("streamtype") {
            Some("stdin") => Ok(Role::Input),
            Some("stdout") => Ok(Role::Output(Channel::STDOUT)),
            Some("stderr") => Ok(Role::Output(Channel::STDERR)),
            Some("resize") => Ok(Role::Resize),
            Some("error") if value("port").is_some() => {
                Ok(Role::Output(Channel::failure(self.pairs.connection(name, Half::Error))))
            }
            Some("error") => Ok(Role::Error),
            Some("data") if value("port").is_some() => {
                Ok(Role::Tunnel(Channel::tunnel(self.pairs.connection(name, Half::Data))))
            }
            Some(_) | None => Err(StreamError::Protocol("a SPDY stream that is for nothing known")),
        }
    }
}

/// Most pings that wait.
const PINGS: usize = 64;
