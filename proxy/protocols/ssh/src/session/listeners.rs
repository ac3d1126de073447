//! Ports and sockets that a host listens on for a client (`ssh -R`), each over a connection of its own.

use super::{Purpose, Session};
use crate::acts;
use crate::refusals::refusal;
use crate::relay::forward::Lent;
use crate::upstream::{self, Connection};
use proxy_core::gate::Chain;
use proxy_core::refusal::{Refusal, RefusalKind};
use std::sync::PoisonError;
use tokio::time::timeout;

/// Something that the host listens on, and the connection over which it does.
#[derive(Debug)]
pub(super) struct Listener {
    on: On,
    connection: Connection,
}

/// Where a host listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum On {
    /// A port.
    Port(String, u32),
    /// A socket.
    Socket(String),
}

impl On {
    /// Whether something that the host opens came through this.
    fn leads_to(&self, lent: &Lent) -> bool {
        match (self, lent) {
            (Self::Port(_, port), Lent::Port { connected, .. }) => *port == connected.1,
            (Self::Socket(path), Lent::Socket(connected)) => path == connected,
            (
                Self::Port(..) | Self::Socket(_),
                Lent::Agent | Lent::Display(_) | Lent::Port { .. } | Lent::Socket(_),
            ) => false,
        }
    }
}

impl Session {
    /// Has the host listen for the client. Gives the port that it chose.
    ///
    /// Nothing else on the client's connection is seen before whoever asks is answered: the host has as long as for a
    /// login. Not cancel safe.
    ///
    /// # Errors
    /// It is not allowed, or the host does not.
    pub(crate) async fn listen(&self, on: On) -> Result<u32, Refusal> {
        let Purpose::Work(upstreams) = &self.purpose else { return Err(self.reason()) };
        if self.listeners().len() >= LISTENERS {
            return Err(refusal(RefusalKind::TooLarge, "too many forwardings", "cancel one first"));
        }
        self.run_now(match &on {
            On::Port(address, port) => acts::forward_remote(&self.place, address, *port),
            On::Socket(path) => acts::forward_socket(&self.place, path),
        })
        .await?;
        let listening = async {
            let connection = upstreams.take().await?;
            let port = connection.listen(&on).await?;
            Ok::<_, upstream::UpstreamError>((connection, port))
        };
        // A connection that is given up is hung up by that.
        let Ok(answer) = timeout(self.options.limits.connect, listening).await else {
            let hint = "try again later, and tell whoever runs the gateway";
            return Err(refusal(RefusalKind::Unavailable, "the host did not answer in time", hint));
        };
        let (connection, chosen) = answer.map_err(|error| {
            tracing::debug!(error = %Chain(&error), "have the host listen");
            let hint = "another port may be free there";
            refusal(RefusalKind::Unavailable, "the host does not listen there", hint)
        })?;
        let on = match on {
            On::Port(address, 0) => On::Port(address, chosen),
            On::Port(..) | On::Socket(_) => on,
        };
        self.listeners().push(Listener { on, connection });
        Ok(chosen)
    }

    /// Ends what [`Session::listen`] began. What came through already goes on to its own end.
    pub(crate) async fn cancel_listen(&self, on: &On) -> bool {
        let listener = {
            let mut listeners = self.listeners();
            let at = listeners.iter().position(|listener| listener.on == *on);
            at.map(|at| listeners.swap_remove(at))
        };
        let Some(Listener { connection, .. }) = listener else { return false };
        let stopping = timeout(self.options.limits.connect, connection.stop_listening(on)).await;
        let stopped = matches!(stopping, Ok(Ok(())));
        let ended = self.ended.clone();
        self.tasks.spawn(async move {
            // A host that does not say that it has stopped is left, whatever that cuts.
            if stopped {
                tokio::select! {
                    () = connection.carries_nothing() => {}
                    () = ended.cancelled() => {}
                }
            }
            upstream::hang_up(&connection).await;
        });
        true
    }

    /// Whether the host listens for the client where this came through.
    pub(super) fn listens(&self, lent: &Lent) -> bool {
        self.listeners().iter().any(|listener| listener.on.leads_to(lent))
    }

    /// Hangs up all that is left.
    pub(super) async fn close_listeners(&self) {
        let listeners = std::mem::take(&mut *self.listeners());
        for listener in listeners {
            upstream::hang_up(&listener.connection).await;
        }
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Vec<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most ports and sockets that a host listens on for a session.
const LISTENERS: usize = 16;
