//! Channels that lead elsewhere: forwardings in both directions, and the client's agent and display. Each connection through one
//! is a command of its own, and what it carries is recorded as a program's input and output are.

use super::pump::Pump;
use super::{Ahead, Relay, Running, Start};
use crate::acts;
use crate::refusals::{refusal, sentence};
use crate::session::{Purpose, Session};
use crate::upstream::{Connection, UpstreamError};
use proxy_core::gate::{Chain, End, EndKind, Permit};
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_policy::Command;
use russh::client;
use russh::server::{ChannelOpenHandle, Handle, Msg};
use russh::{Channel, ChannelOpenFailure};
use std::sync::Arc;

/// Where the client wants to get from the host.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    /// A TCP port, and who is said to come.
    Tcp {
        /// Host as the client names it, resolved by the protected host.
        host: String,
        /// Port.
        port: u32,
        /// Address and port that the client names as the origin.
        origin: (String, u32),
    },
    /// A socket in the host's file system.
    Socket(String),
}

impl Destination {
    fn command(&self, session: &Session) -> Command {
        match self {
            Self::Tcp { host, port, .. } => acts::forward_local(&session.place, host, *port),
            Self::Socket(path) => acts::forward_socket(&session.place, path),
        }
    }
}

/// Serves a channel that the client opens through the host.
pub(crate) async fn to_host(
    session: Arc<Session>,
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    destination: Destination,
) {
    match open(&session, &destination).await {
        Ok((permit, connection, there)) => {
            reply.accept().await;
            let running =
                Running { permit, connection: Some(connection), channel: there, start: Start::Forward };
            Pump::run(relay(&session, channel), running).await;
        }
        Err(refusal) => {
            reply.reject(ChannelOpenFailure::Other { code: PROHIBITED, reason: sentence(&refusal) }).await;
        }
    }
    session.fewer.notify_one();
}

async fn open(
    session: &Arc<Session>,
    destination: &Destination,
) -> Result<(Permit, Connection, Channel<client::Msg>), Refusal> {
    let Purpose::Work(upstreams) = &session.purpose else { return Err(session.reason()) };
    let permit = session.decide_now(destination.command(session)).await?;
    let opening = async {
        let connection = upstreams.take().await?;
        let channel = match destination {
            Destination::Tcp { host, port, origin } => {
                connection.0.channel_open_direct_tcpip(host, *port, &origin.0, origin.1).await?
            }
            Destination::Socket(path) => connection.0.channel_open_direct_streamlocal(path).await?,
        };
        Ok::<_, UpstreamError>((connection, channel))
    };
    match opening.await {
        Ok((connection, channel)) => Ok((permit, connection, channel)),
        Err(error) => {
            tracing::debug!(error = %Chain(&error), "forward through the host");
            session.finish(permit, End { outcome: EndKind::Error, ..End::default() }).await?;
            let hint = "check the destination; the host connects to it, not the gateway";
            Err(refusal(RefusalKind::Unavailable, "the host cannot connect to that", hint))
        }
    }
}

/// What the host opens towards the client.
#[derive(Clone, Debug)]
pub(crate) enum Lent {
    /// Its agent.
    Agent,
    /// Its display, and who comes.
    Display((String, u32)),
    /// A port that the host listens on for it: what the host calls it, and who comes.
    Port {
        /// Address and port that were connected to.
        connected: (String, u32),
        /// Who connected.
        origin: (String, u32),
    },
    /// A socket that the host listens on for it.
    Socket(String),
}

impl Lent {
    fn command(&self, session: &Session) -> Command {
        match self {
            Self::Agent => acts::forward_agent(&session.place),
            Self::Display(_) => acts::forward_x11(&session.place),
            Self::Port { connected, .. } => acts::forward_remote(&session.place, &connected.0, connected.1),
            Self::Socket(path) => acts::forward_socket(&session.place, path),
        }
    }

    async fn open(&self, client: &Handle) -> Result<Channel<Msg>, russh::Error> {
        match self {
            Self::Agent => client.channel_open_agent().await,
            Self::Display((origin, port)) => client.channel_open_x11(origin, *port).await,
            Self::Port { connected, origin } => {
                client.channel_open_forwarded_tcpip(&connected.0, connected.1, &origin.0, origin.1).await
            }
            Self::Socket(path) => client.channel_open_forwarded_streamlocal(path).await,
        }
    }
}

/// Serves a channel that the host opens towards the client.
pub(crate) async fn to_client(
    session: Arc<Session>,
    channel: Channel<client::Msg>,
    reply: client::ChannelOpenHandle,
    lent: Lent,
) {
    match lend(&session, &lent).await {
        Ok((permit, here)) => {
            reply.accept().await;
            let start = if matches!(lent, Lent::Display(_)) { Start::Display } else { Start::Forward };
            let running = Running { permit, connection: None, channel, start };
            Pump::run(relay(&session, here), running).await;
        }
        Err(refusal) => {
            tracing::debug!(refusal = refusal.message, "lend to the host");
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        }
    }
    session.fewer.notify_one();
}

async fn lend(session: &Session, lent: &Lent) -> Result<(Permit, Channel<Msg>), Refusal> {
    let client = session.client().ok_or_else(|| session.reason())?;
    let permit = session.decide_now(lent.command(session)).await?;
    match lent.open(client).await {
        Ok(channel) => Ok((permit, channel)),
        Err(error) => {
            tracing::debug!(%error, "open a channel towards the client");
            session.finish(permit, End { outcome: EndKind::Error, ..End::default() }).await?;
            Err(refusal(RefusalKind::Unavailable, "the client does not take it", ""))
        }
    }
}

fn relay(session: &Arc<Session>, channel: Channel<Msg>) -> Relay {
    let (read, write) = channel.split();
    Relay { session: Arc::clone(session), read, write, terminal: None, ahead: Ahead::default() }
}

/// `SSH_OPEN_ADMINISTRATIVELY_PROHIBITED` (RFC 4254 section 5.1).
const PROHIBITED: u32 = 1;
