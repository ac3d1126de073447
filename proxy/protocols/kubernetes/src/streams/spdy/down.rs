//! From the API server: what a program writes, how it ended, or a port's bytes.

use super::frame::{self, FIN, Head, Writer};
use super::{From, Quiet, Role, StreamError, Streams};
use crate::streams::headers::Inflater;
use crate::streams::output::{self, Output, QUIET};
use crate::streams::tape::Tape;
use proxy_audit::stream::StreamEvent;
use proxy_core::mask::MaskCounts;
use std::borrow::Cow;
use std::collections::HashMap;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::sync::Mutex;

pub(super) struct Down<'a, 't, W> {
    to: Writer<W>,
    streams: &'a Streams,
    tape: &'a Mutex<&'t mut Tape>,
    outputs: HashMap<u32, Output>,
    inflater: Inflater,
    /// What came on the error stream so far.
    outcome: Vec<u8>,
    is_interactive: bool,
}

impl<'a, 't, W: AsyncWrite + Unpin> Down<'a, 't, W> {
    pub(super) fn new(
        to: W,
        streams: &'a Streams,
        tape: &'a Mutex<&'t mut Tape>,
        is_interactive: bool,
    ) -> Self {
        Self {
            to: Writer::new(to),
            streams,
            tape,
            outputs: HashMap::new(),
            inflater: Inflater::new(),
            outcome: Vec::new(),
            is_interactive,
        }
    }

    pub(super) async fn run<R: AsyncRead + Unpin>(
        &mut self,
        mut from: BufReader<R>,
        quiet: &Quiet,
    ) -> Result<(), StreamError> {
        loop {
            quiet.begins();
            if self.is_interactive && self.outputs.values().any(Output::holds) {
                match tokio::time::timeout(QUIET, frame::comes(&mut from)).await {
                    Ok(comes) => drop(comes?),
                    Err(_quiet) => self.quiet().await?,
                }
            }
            if !frame::comes(&mut from).await? {
                return Ok(());
            }
            quiet.ends();
            match frame::head(&mut from).await? {
                Head::Control { kind, length, raw } => {
                    let payload = frame::payload(&mut from, length).await?;
                    self.control(kind, &payload).await?;
                    self.to.pass(raw, &payload).await?;
                }
                Head::Data { stream, flags, length } => self.data(stream, flags, length, &mut from).await?,
            }
        }
    }

    async fn control(&mut self, kind: u16, payload: &[u8]) -> Result<(), StreamError> {
        frame::check(kind, payload.len())?;
        match kind {
            frame::SYN_REPLY => {
                self.headers(payload).await?;
                self.forget().await
            }
            frame::HEADERS => self.headers(payload).await,
            // the client opens streams
            frame::SYN_STREAM => Err(StreamError::Protocol("a SPDY stream that the API server opens")),
            frame::RST_STREAM => {
                let stream = frame::stream(payload)?;
                self.end(stream, 0).await?;
                super::reset(self.streams, *self.tape.lock().await, stream).await
            }
            // settings, pings; and after a GOAWAY, the streams that are open go on
            _ => Ok(()),
        }
    }

    /// Headers pass as they came: Kubernetes says nothing in them, and no secret may.
    async fn headers(&mut self, payload: &[u8]) -> Result<(), StreamError> {
        let block = payload.get(4..).unwrap_or_default();
        let headers = self.inflater.read(block);
        let headers = headers.map_err(|_error| StreamError::Protocol("the headers of a SPDY frame"))?;
        let tape = self.tape.lock().await;
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            if let Cow::Owned(_) = tape.masker().text(text.as_bytes(), &mut MaskCounts::default()) {
                return Err(StreamError::Protocol("a secret in the headers of a SPDY frame"));
            }
        }
        Ok(())
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
            self.take(stream, &piece).await?;
            if left == 0 {
                break;
            }
        }
        if flags & FIN != 0 { self.end(stream, FIN).await } else { Ok(()) }
    }

    async fn take(&mut self, stream: u32, piece: &[u8]) -> Result<(), StreamError> {
        if piece.is_empty() {
            return Ok(());
        }
        let mut tape = self.tape.lock().await;
        match self.streams.get(stream)? {
            Some(Role::Output(channel)) => {
                let masker = tape.masker().clone();
                let output = self.outputs.entry(stream).or_insert_with(|| Output::new(channel, masker));
                let released = output.push(piece, &mut tape).await?;
                drop(tape);
                if released.is_empty() { Ok(()) } else { self.to.data(stream, 0, &released).await }
            }
            Some(Role::Tunnel(channel)) => {
                tape.copy(stream, channel.answering(), piece).await?;
                drop(tape);
                self.to.data(stream, 0, piece).await
            }
            Some(Role::Error) if self.outcome.len().saturating_add(piece.len()) <= OUTCOME => {
                self.outcome.extend_from_slice(piece);
                Ok(())
            }
            Some(Role::Error) => Err(StreamError::Protocol("an outcome that is too long")),
            Some(Role::Input | Role::Resize) => {
                Err(StreamError::Protocol("data on a stream that is not the API server's"))
            }
            // the client wants nothing more of it
            None => Ok(()),
        }
    }

    /// The API server says nothing more on a stream: what is held of it goes out.
    async fn end(&mut self, stream: u32, flags: u8) -> Result<(), StreamError> {
        let role = self.streams.get(stream)?;
        self.streams.half_close(stream, From::Server);
        let rest = match role {
            Some(Role::Error) => self.outcome().await?,
            Some(Role::Output(channel)) => match self.outputs.remove(&stream) {
                Some(mut output) => {
                    let mut tape = self.tape.lock().await;
                    let rest = output.finish(&mut tape).await?;
                    if channel.failed().is_some() {
                        tape.event(&StreamEvent::End(channel)).await?;
                    }
                    rest
                }
                None => Vec::new(),
            },
            Some(Role::Tunnel(channel)) => {
                let mut tape = self.tape.lock().await;
                tape.copied(stream, channel.answering()).await?;
                tape.event(&StreamEvent::End(channel.answering())).await?;
                Vec::new()
            }
            Some(Role::Input | Role::Resize) | None => Vec::new(),
        };
        if flags == 0 && rest.is_empty() { Ok(()) } else { self.to.data(stream, flags, &rest).await }
    }

    /// How the program ended; everything it wrote comes before.
    async fn outcome(&mut self) -> Result<Vec<u8>, StreamError> {
        self.finish().await?;
        let said = std::mem::take(&mut self.outcome);
        if said.is_empty() { Ok(said) } else { Ok(output::outcome(&said, *self.tape.lock().await).await?) }
    }

    async fn quiet(&mut self) -> Result<(), StreamError> {
        for (stream, output) in &mut self.outputs {
            let released = output.quiet(*self.tape.lock().await).await?;
            if !released.is_empty() {
                self.to.data(*stream, 0, &released).await?;
            }
        }
        Ok(())
    }

    /// What the client does not want any more is not kept.
    async fn forget(&mut self) -> Result<(), StreamError> {
        let streams = self.streams;
        let is_gone = |id: &u32| !matches!(streams.get(*id), Ok(Some(_)));
        self.outputs.retain(|id, _| !is_gone(id));
        Ok(self.tape.lock().await.forget(|id| is_gone(&id)).await?)
    }

    /// Gives out what is held back, says how it ended where the API server did not, and closes.
    pub(super) async fn part(&mut self, status: Option<String>) -> Result<(), StreamError> {
        self.finish().await?;
        if let (Some(status), Some(stream)) = (status, self.streams.outcome()) {
            self.to.data(stream, FIN, status.as_bytes()).await?;
        }
        self.to.close().await;
        Ok(())
    }

    /// Gives out what is held back of every stream. The tape is free while a slow client is waited for.
    async fn finish(&mut self) -> Result<(), StreamError> {
        for (stream, output) in &mut self.outputs {
            let released = output.finish(*self.tape.lock().await).await?;
            if !released.is_empty() {
                self.to.data(*stream, 0, &released).await?;
            }
        }
        Ok(())
    }
}

/// Most bytes of an outcome.
const OUTCOME: usize = 64 * 1024;
