//! Connections into a pod, and whatever else is upgraded: `exec`, `attach`, `port-forward`, watches over WebSocket.
//!
//! ```text
//! client ── 101 ──► websocket | spdy: frames, taken apart       websocket | spdy ──► API server
//!                   channel ─► tape: masked, recorded, released
//! ```
//!
//! The client's transport is spoken upstream as well: WebSocket (`v5.channel.k8s.io`, `v4.channel.k8s.io`; KEP-4006),
//! SPDY/3.1 with the same protocols behind it, and SPDY/3.1 inside a WebSocket for `port-forward`. Frames are taken
//! apart and written anew; what is not understood ends the stream.
//!
//! * *Standard output and error* are masked by the detectors before they are recorded and released; so is the text of
//!   the error channel.
//! * *Standard input* is recorded as masked, and sent on as it came: it is the client's own.
//! * *A port that is forwarded* carries any protocol; masking would break it. It is recorded masked, sent on as it is,
//!   and needs a rule that allows `pods/portforward`.

mod archive;
mod channels;
mod events;
mod headers;
mod output;
mod spdy;
mod tape;
mod upgrade;
mod websocket;

pub(crate) use upgrade::{Exchange, Upgrade, asked, open};

use crate::running::Running;
use crate::session::Session;
use crate::status::Failure;
use proxy_core::refusal::Refusal;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What the relays of a stream are told.
#[derive(Debug)]
struct Context {
    session: Arc<Session>,
    /// Tells when it may not go on.
    running: Arc<Running>,
    /// Fires when the gateway drains.
    drain: CancellationToken,
    /// Somebody may wait at a prompt: lines without an end are shown after a moment.
    is_interactive: bool,
    message_bytes: usize,
}

/// Since when the way down has waited for the API server, with nothing of it to hand on.
///
/// Pings go up only when that is a while. An API server that has said everything may have gone, and a ping would have its
/// connection reset, with all that it said and a slow client has not taken yet.
#[derive(Debug, Default)]
struct Quiet(std::sync::Mutex<Option<Instant>>);

impl Quiet {
    fn begins(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn ends(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_long(&self) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() >= LONG)
    }
}

/// Longer than what was said last is on its way from a peer that waited for room.
const LONG: Duration = Duration::from_secs(1);

impl Context {
    /// Why the stream may not go on, for its client.
    fn reason(&self) -> Failure {
        self.running.reason(&self.session)
    }

    /// Takes a stream's last step, which may wait for a slow client: not much longer than the session lasts.
    async fn last(&self, step: impl Future<Output = Result<(), StreamError>>) -> Result<(), StreamError> {
        let over = async {
            self.running.over().cancelled().await;
            tokio::time::sleep(PARTING).await;
        };
        tokio::select! {
            done = step => done,
            () = over => Err(StreamError::Ended),
        }
    }
}

/// Puts input on record that waits for the end of its line, time and again. Ends only where it cannot be recorded.
async fn stills(tape: &tokio::sync::Mutex<&mut tape::Tape>) -> StreamError {
    loop {
        tokio::time::sleep(tape::STILL).await;
        if let Err(refusal) = tape.lock().await.still().await {
            return refusal.into();
        }
    }
}

/// How long the other side may take once one has gone.
const PARTING: Duration = Duration::from_secs(5);

/// Why a stream ended before its end.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    /// A side broke off.
    #[error("a side broke off")]
    Io(#[from] std::io::Error),
    /// A side broke off, or spoke no WebSocket.
    #[error("WebSocket")]
    WebSocket(#[from] tokio_tungstenite::tungstenite::Error),
    /// The API server takes nothing more. What it said before it closed is still to be handed on: clients send pings
    /// whether or not the program has ended.
    #[error("the API server takes nothing more")]
    Unheard(#[source] Box<StreamError>),
    /// A side sent what is not understood.
    #[error("not understood: {0}")]
    Protocol(&'static str),
    /// The recorder is gone.
    #[error("not recorded: {0}")]
    Unrecorded(String),
    /// The session may not go on.
    #[error("the session ended")]
    Ended,
}

impl StreamError {
    /// Of what was sent to the API server.
    fn unheard(error: impl Into<Self>) -> Self {
        Self::Unheard(Box::new(error.into()))
    }
}

impl From<Refusal> for StreamError {
    fn from(refusal: Refusal) -> Self {
        Self::Unrecorded(refusal.message)
    }
}

/// What a stream's bytes are, and so what becomes of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    /// From the client: recorded masked, sent on as it is.
    Input,
    /// To the client: masked, recorded, sent on.
    Output(proxy_audit::stream::Channel),
    /// To the client: a `Status` that says how it ended.
    Error,
    /// From the client: the terminal's size.
    Resize,
    /// Either way: a forwarded port. Recorded masked, sent on as it is.
    Tunnel(proxy_audit::stream::Channel),
}

/// How a stream's channels are carried.
#[cfg(fuzzing)]
#[derive(Clone, Copy, Debug)]
pub enum Wire {
    /// Kubernetes' channels in a WebSocket.
    WebSocket,
    /// SPDY/3.1.
    Spdy,
    /// SPDY/3.1 in a WebSocket.
    Tunnelled,
}

#[cfg(fuzzing)]
pub(crate) async fn relay_for_fuzzing<C, S>(
    (client, server): (C, S),
    wire: Wire,
    session: Arc<Session>,
    permit: proxy_core::gate::Permit,
) -> bool
where
    C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let command = Arc::new(proxy_policy::Command::clone(permit.command()));
    let (running, drain) = (session.begin(command, session.masks().await), CancellationToken::new());
    let context = Context {
        session: Arc::clone(&session),
        running,
        drain,
        is_interactive: false,
        message_bytes: 1 << 20,
    };
    let mut tape = tape::Tape::new(session, permit, tape::Typed::Elsewhere);
    tape.copies_on(proxy_audit::stream::Channel::STDIN);
    let relayed = match wire {
        Wire::WebSocket => {
            websocket::relay(client, server, channels::Channels::Program, &context, &mut tape).await
        }
        Wire::Spdy => {
            spdy::relay(tokio::io::split(client), tokio::io::split(server), &context, &mut tape).await
        }
        Wire::Tunnelled => {
            let client = websocket::bytes(websocket::accepted(client, context.message_bytes).await);
            let server = websocket::bytes(websocket::connected(server, context.message_bytes).await);
            spdy::relay(client, server, &context, &mut tape).await
        }
    };
    let finished = tape.finish(relayed.is_ok(), &tokio_util::task::TaskTracker::new()).await;
    relayed.is_ok() && finished.is_ok()
}
