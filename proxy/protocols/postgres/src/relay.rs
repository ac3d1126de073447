//! The life of one session after its start: one task that reads and writes both sides at once.
//!
//! Each message from the client becomes an entry in a queue of expected answers ([`expect`]); answers take entries off
//! its front. So permits and results meet in order, however much a client pipelines, and what this gateway answers
//! itself takes its turn among them.

mod alarm;
mod calls;
mod clear;
mod client;
mod ending;
mod expect;
mod meaning;
mod names;
mod results;
mod server;

pub(crate) use meaning::{Meaning, Transaction};

use crate::cancel::Registration;
use crate::frontend;
use crate::options::Options;
use crate::wire::{Read, Transport, Wire};
use alarm::Alarm;
use bytes::BytesMut;
use clear::Waiting;
use ending::Ending;
use expect::Expect;
use names::Names;
use pgwire::messages::response::TransactionStatus;
use proxy_core::approval::{ApprovalError, Outcome};
use proxy_core::gate::Gate;
use proxy_core::refusal::Refusal;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

/// One session.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing of the two connections, in any combination"
)]
pub(crate) struct Relay {
    options: Arc<Options>,
    gate: Gate,
    client: Wire<Transport>,
    upstream: Wire<Transport>,
    cancel: Registration,
    alarm: Alarm,
    meaning: Meaning,
    names: Names,
    queue: VecDeque<Expect>,
    /// Entries of the queue that change what later texts mean.
    changing: usize,
    waiting: Option<Box<Waiting>>,
    /// As of the last `ReadyForQuery`.
    status: TransactionStatus,
    /// After an error or a refusal, until the client's `Sync`.
    discarding: bool,
    batch: Batch,
    /// Bytes of the server's current frame that still pass as they are.
    passing: usize,
    /// How many times the client has ended copying in.
    copies: u64,
    /// A `Flush` was sent so that whatever the client's next message waits for comes.
    flushed: bool,
    draining: bool,
    /// It told the client itself why the session ends.
    server_said_why: bool,
    /// Name of a portal that does not exist, to provoke an error.
    nowhere: String,
}

/// What was sent upstream since the last `Sync`.
#[derive(Clone, Copy, Debug, Default)]
struct Batch {
    /// Anything.
    sent: bool,
    /// Something that may have had an effect.
    commands: bool,
    /// It began or ended a transaction on the way.
    control: bool,
}

/// What a session begins with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) options: Arc<Options>,
    pub(crate) gate: Gate,
    pub(crate) client: Wire<Transport>,
    pub(crate) upstream: Wire<Transport>,
    pub(crate) cancel: Registration,
    pub(crate) meaning: Meaning,
}

/// What a session waits for.
enum Event {
    /// Bytes moved.
    Moved,
    /// The client sends no more.
    ClientEnd,
    /// The server sends no more.
    ServerEnd,
    /// The held command was decided.
    Decided(Result<Outcome, ApprovalError>),
    /// The client should be told again that it waits.
    Remind,
    /// The held command was cancelled.
    Cancelled,
    /// The session has to be looked at.
    Alarm,
}

impl Relay {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { options, gate, client, upstream, cancel, meaning } = parts;
        let alarm = Alarm::set(gate.watch(), options.drain.clone(), options.stop.clone());
        Self {
            options,
            gate,
            client,
            upstream,
            cancel,
            alarm,
            meaning,
            names: Names::default(),
            queue: VecDeque::new(),
            changing: 0,
            waiting: None,
            status: TransactionStatus::Idle,
            discarding: false,
            batch: Batch::default(),
            passing: 0,
            copies: 0,
            flushed: false,
            draining: false,
            server_said_why: false,
            nowhere: format!("portcullis refusal {:016x}", rand::random::<u64>()),
        }
    }

    /// Serves the session to its end, which is on record when this returns.
    pub(crate) async fn run(mut self) {
        match self.serve().await {
            Err(ending) => self.end(ending).await,
        }
    }

    async fn serve(&mut self) -> Result<Infallible, Ending> {
        loop {
            self.take_server().await?;
            self.take_client().await?;
            self.record_released()?;
            if self.draining && self.is_idle() {
                return Err(Ending::Refused(Refusal::ended("the gateway is stopping")));
            }
            match self.wait().await? {
                Event::Moved => {}
                Event::ClientEnd => return Err(Ending::ClientGone),
                Event::ServerEnd => return Err(Ending::ServerGone),
                Event::Decided(outcome) => self.decided(outcome).await?,
                Event::Remind => self.remind(),
                Event::Cancelled => self.withdraw_cancelled().await?,
                Event::Alarm => self.look()?,
            }
        }
    }

    /// Nothing is owed to anybody, and no transaction is open.
    fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.waiting.is_none()
            && !self.batch.sent
            && self.client.input.is_empty()
            && matches!(self.status, TransactionStatus::Idle)
    }

    async fn wait(&mut self) -> Result<Event, Ending> {
        let keeps_up = self.upstream.output.len() < HIGH_WATER && self.client.output.len() < HIGH_WATER;
        let stalled =
            self.waiting.is_some() || self.flushed || self.changing > 0 || self.queue.len() >= QUEUE_MAX;
        let read_client =
            (self.waiting.is_some() || keeps_up) && (!stalled || self.client.input.len() < HELD_BYTES);
        let alarm = &self.alarm;
        let sides = Sides { client: &mut self.client, upstream: &mut self.upstream, read_client };
        let Some(Waiting { held, remind_at, .. }) = self.waiting.as_deref_mut() else {
            return sides.moved(alarm).await;
        };
        let remind_at = *remind_at;
        tokio::select! {
            biased;
            () = self.cancel.withdrawn() => Ok(Event::Cancelled),
            moved = sides.moved(alarm) => moved,
            decided = held.outcome() => Ok(Event::Decided(decided)),
            () = tokio::time::sleep_until(remind_at) => Ok(Event::Remind),
        }
    }

    /// Whether the session may go on.
    fn look(&mut self) -> Result<(), Ending> {
        if let Some(refusal) = self.gate.look() {
            return Err(refusal.into());
        }
        if self.options.stop.is_cancelled() {
            return Err(Ending::Refused(Refusal::ended("the gateway is stopping")));
        }
        self.draining = self.options.drain.is_cancelled();
        Ok(())
    }

    /// Writes to the log whatever of the current result is about to be handed to the client.
    fn record_released(&mut self) -> Result<(), Ending> {
        match self.queue.front_mut() {
            Some(Expect::Execute(running) | Expect::Query(running)) => {
                Ok(self.gate.before_release(&mut running.permit)?)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Appends to what the client gets.
    fn say(&mut self, put: impl FnOnce(&mut BytesMut)) {
        put(&mut self.client.output);
    }

    fn say_ready(&mut self) {
        let status = self.status;
        self.say(|out| frontend::put_ready(status, out));
    }
}

/// Both streams, while nothing else is looked at.
struct Sides<'a> {
    client: &'a mut Wire<Transport>,
    upstream: &'a mut Wire<Transport>,
    read_client: bool,
}

impl Sides<'_> {
    /// Writes and reads on both sides until something came, went out, or ended, or the alarm rings. Cancel safe.
    async fn moved(self, alarm: &Alarm) -> Result<Event, Ending> {
        let Self { client, upstream, read_client } = self;
        std::future::poll_fn(|cx| match alarm.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(Event::Alarm)),
            Poll::Pending => poll_sides(client, upstream, read_client, cx),
        })
        .await
    }
}

fn poll_sides(
    client: &mut Wire<Transport>,
    upstream: &mut Wire<Transport>,
    read_client: bool,
    cx: &mut Context<'_>,
) -> Poll<Result<Event, Ending>> {
    let full = client.output.len() >= HIGH_WATER || upstream.output.len() >= HIGH_WATER;
    if !drained(client.poll_drain(cx), "write to the client") {
        return Poll::Ready(Ok(Event::ClientEnd));
    }
    if !drained(upstream.poll_drain(cx), "write to the server") {
        return Poll::Ready(Ok(Event::ServerEnd));
    }
    let mut moved = full && client.output.len() < HIGH_WATER && upstream.output.len() < HIGH_WATER;
    if client.output.len() < HIGH_WATER {
        match filled(upstream.poll_fill(cx), "read from the server") {
            Poll::Ready(Read::Bytes) => moved = true,
            Poll::Ready(Read::End) => return Poll::Ready(Ok(Event::ServerEnd)),
            Poll::Pending => {}
        }
    }
    if read_client {
        match filled(client.poll_fill(cx), "read from the client") {
            Poll::Ready(Read::Bytes) => moved = true,
            Poll::Ready(Read::End) => return Poll::Ready(Ok(Event::ClientEnd)),
            Poll::Pending => {}
        }
    }
    if moved { Poll::Ready(Ok(Event::Moved)) } else { Poll::Pending }
}

/// Whether a side still takes what is written to it.
fn drained(written: Poll<io::Result<()>>, what: &'static str) -> bool {
    match written {
        Poll::Ready(Err(error)) => {
            tracing::debug!(%error, what);
            false
        }
        Poll::Ready(Ok(())) | Poll::Pending => true,
    }
}

/// A side that fails has come to its end.
fn filled(read: Poll<io::Result<Read>>, what: &'static str) -> Poll<Read> {
    read.map(|read| {
        read.unwrap_or_else(|error| {
            tracing::debug!(%error, what);
            Read::End
        })
    })
}

/// Bytes for one side above which the other is not read.
const HIGH_WATER: usize = 256 * 1024;
/// Answers that may be owed at once: a client that asks and never listens must not make the list of them grow.
const QUEUE_MAX: usize = 4096;
/// Bytes that a client may send ahead while its command waits.
const HELD_BYTES: usize = 64 * 1024;
