//! What the client sends to a shell whose lines are decided, until a line is made of it.
//!
//! A command takes its time, and the client may send on meanwhile: when there is a lot, it is let send no more (`flow`),
//! and a shell that so stops the connection's other channels gives way.

use super::Finish;
use crate::flow::Full;
use crate::refusals::refusal;
use crate::session::Session;
use bytes::BytesMut;
use proxy_core::refusal::{Refusal, RefusalKind};
use russh::{ChannelMsg, Sig};
use std::collections::VecDeque;
use tokio::time::Instant;

/// Bytes that wait for a line to be made of them.
#[derive(Debug, Default)]
pub(super) struct Typed {
    pub(super) bytes: BytesMut,
    /// No more comes.
    pub(super) ended: bool,
    /// When the last of it came.
    pub(super) last: Option<Instant>,
    full: Option<(Full, Instant)>,
}

impl Typed {
    /// Takes a message of the client; what it signals, if it does. Where keys are no input, Ctrl-C signals, and what was
    /// typed before it is given up; a script may hold any byte.
    pub(super) fn take(
        &mut self,
        message: Option<ChannelMsg>,
        (to, keys): ((&Session, u32), bool),
    ) -> Result<Option<Sig>, Finish> {
        match message {
            Some(ChannelMsg::Data { data }) if keys && data.contains(&INTERRUPT) => {
                self.bytes.clear();
                self.taken();
                return Ok(Some(Sig::INT));
            }
            Some(ChannelMsg::Data { data }) => self.add(&data, to)?,
            Some(ChannelMsg::Eof) => self.ended = true,
            Some(ChannelMsg::Close) | None => return Err(Finish::Gone),
            Some(ChannelMsg::Signal { signal }) => return Ok(Some(signal)),
            Some(_) => {}
        }
        Ok(None)
    }

    /// Adds what came on the channel of this number.
    ///
    /// # Errors
    /// It is more than is kept.
    pub(super) fn add(&mut self, data: &[u8], (session, number): (&Session, u32)) -> Result<(), Refusal> {
        if self.bytes.len().saturating_add(data.len()) > TYPED_BYTES {
            let message = "too much was sent ahead of a command that has not ended; it is not run";
            return Err(refusal(RefusalKind::TooLarge, message, "put the script into a file, and run that"));
        }
        self.bytes.extend_from_slice(data);
        self.last = Some(Instant::now());
        if self.bytes.len() > ENOUGH && self.full.is_none() {
            self.full = Some((session.flow.full(number), Instant::now()));
        }
        Ok(())
    }

    /// Adds what came while a command was held.
    ///
    /// # Errors
    /// It is more than is kept.
    pub(super) fn add_all(
        &mut self,
        (data, ended): (VecDeque<bytes::Bytes>, bool),
        to: (&Session, u32),
    ) -> Result<(), Refusal> {
        self.ended |= ended;
        data.iter().try_for_each(|data| self.add(data, to))
    }

    /// Something was taken: the client may send again once little is left.
    pub(super) fn taken(&mut self) {
        if self.bytes.len() <= ENOUGH / 2 {
            self.full = None;
        }
    }

    /// Comes back when this has stopped other channels of the connection for longer than it may.
    pub(super) async fn blocks(&mut self, session: &Session) -> Refusal {
        loop {
            let Some((_, since)) = &mut self.full else { return std::future::pending().await };
            tokio::time::sleep_until(*since + session.options.limits.stalled).await;
            if session.flow.starved_since(*since) {
                return refusal(
                    RefusalKind::TooLarge,
                    "a command has not ended, and what was sent behind it stops this connection's other channels",
                    "send it less, or run it on a connection of its own",
                );
            }
            *since = Instant::now();
        }
    }
}

/// What Ctrl-C sends.
const INTERRUPT: u8 = 3;

/// Once so much waits, the client's window is not opened again.
const ENOUGH: usize = 512 << 10;

/// So much waits at most: what a client may still send then, and for hours what comes through the least of windows.
const TYPED_BYTES: usize = 8 << 20;
