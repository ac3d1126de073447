//! From the API server: what a program writes, how it ended, or a port's bytes.

use super::frame::{self, FIN, Head};
use super::{Role, StreamError, Streams};
use crate::streams::output::{self, Output, QUIET};
use crate::streams::tape::{Copy, Tape};
use proxy_audit::stream::Channel;
use std::collections::HashMap;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::Mutex;

pub(super) struct Down<'a, 't, W> {
    to: W,
    streams: &'a Streams,
    tape: &'a Mutex<&'t mut Tape>,
    outputs: HashMap<u32, Output>,
    copies: HashMap<u32, Copy>,
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
        let (outputs, copies, outcome) = (HashMap::new(), HashMap::new(), Vec::new());
        Self { to, streams, tape, outputs, copies, outcome, is_interactive }
    }

    pub(super) async fn run<R: AsyncRead + Unpin>(
        &mut self,
        mut from: BufReader<R>,
    ) -> Result<(), StreamError> {
        loop {
            if self.is_interactive && self.outputs.values().any(Output::holds) {
                match tokio::time::timeout(QUIET, frame::comes(&mut from)).await {
                    Ok(comes) => drop(comes?),
                    Err(_quiet) => self.quiet().await?,
                }
            }
            if !frame::comes(&mut from).await? {
                return Ok(());
            }
            match frame::head(&mut from).await? {
                Head::Control { kind, length, raw } => {
                    let payload = frame::payload(&mut from, length).await?;
                    match kind {
                        frame::SYN_REPLY
                        | frame::HEADERS
                        | frame::SETTINGS
                        | frame::PING
                        | frame::WINDOW_UPDATE => {}
                        frame::RST_STREAM => self.end(frame::stream(&payload)?, 0).await?,
                        frame::GOAWAY => self.finish().await?,
                        _ => return Err(StreamError::Protocol("a SPDY control frame that is not known")),
                    }
                    frame::pass(&mut self.to, raw, &payload).await?;
                }
                Head::Data { stream, flags, length } => self.data(stream, flags, length, &mut from).await?,
            }
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
        match self.streams.get(stream) {
            Some(Role::Output(channel)) => {
                let masker = tape.masker().clone();
                let output = self.outputs.entry(stream).or_insert_with(|| Output::new(channel, masker));
                let released = output.push(piece, &mut tape).await?;
                drop(tape);
                if released.is_empty() {
                    Ok(())
                } else {
                    frame::data(&mut self.to, stream, 0, &released).await
                }
            }
            Some(Role::Tunnel(Channel(channel))) => {
                let own = Channel(channel.saturating_add(1));
                let masker = tape.masker().clone();
                let copy = self.copies.entry(stream).or_insert_with(|| Copy::new(own, masker));
                copy.push(piece, &mut tape).await?;
                frame::data(&mut self.to, stream, 0, piece).await
            }
            Some(Role::Error) if self.outcome.len().saturating_add(piece.len()) <= OUTCOME => {
                self.outcome.extend_from_slice(piece);
                Ok(())
            }
            Some(Role::Error) => Err(StreamError::Protocol("an outcome that is too long")),
            Some(Role::Input | Role::Resize) | None => {
                Err(StreamError::Protocol("data on a stream that is not the API server's"))
            }
        }
    }

    /// A stream is over: what is held of it goes out.
    async fn end(&mut self, stream: u32, flags: u8) -> Result<(), StreamError> {
        let mut tape = self.tape.lock().await;
        let rest = match self.streams.get(stream) {
            Some(Role::Error) => {
                drop(tape);
                return self.outcome(stream, flags).await;
            }
            Some(Role::Output(_)) => match self.outputs.get_mut(&stream) {
                Some(output) => output.finish(&mut tape).await?,
                None => Vec::new(),
            },
            Some(Role::Tunnel(_)) => {
                if let Some(mut copy) = self.copies.remove(&stream) {
                    copy.finish(&mut tape).await?;
                }
                self.streams.close(stream);
                Vec::new()
            }
            Some(Role::Input | Role::Resize) | None => Vec::new(),
        };
        drop(tape);
        if flags == 0 && rest.is_empty() {
            Ok(())
        } else {
            frame::data(&mut self.to, stream, flags, &rest).await
        }
    }

    /// How the program ended; everything it wrote comes before.
    async fn outcome(&mut self, stream: u32, flags: u8) -> Result<(), StreamError> {
        self.finish().await?;
        let said = std::mem::take(&mut self.outcome);
        let masked =
            if said.is_empty() { said } else { output::outcome(&said, *self.tape.lock().await).await? };
        frame::data(&mut self.to, stream, flags, &masked).await
    }

    async fn quiet(&mut self) -> Result<(), StreamError> {
        let mut tape = self.tape.lock().await;
        for (stream, output) in &mut self.outputs {
            let released = output.quiet(&mut tape).await?;
            if !released.is_empty() {
                frame::data(&mut self.to, *stream, 0, &released).await?;
            }
        }
        Ok(())
    }

    /// Gives out what is held back, and closes.
    pub(super) async fn part(&mut self) -> Result<(), StreamError> {
        self.finish().await?;
        // it may be gone already
        self.to.shutdown().await.unwrap_or_default();
        Ok(())
    }

    /// Gives out what is held back of every stream.
    pub(super) async fn finish(&mut self) -> Result<(), StreamError> {
        let mut tape = self.tape.lock().await;
        for (stream, output) in &mut self.outputs {
            let released = output.finish(&mut tape).await?;
            if !released.is_empty() {
                frame::data(&mut self.to, *stream, 0, &released).await?;
            }
        }
        for copy in self.copies.values_mut() {
            copy.finish(&mut tape).await?;
        }
        drop(tape);
        Ok(self.to.flush().await?)
    }
}

/// Most bytes of an outcome.
const OUTCOME: usize = 64 * 1024;
