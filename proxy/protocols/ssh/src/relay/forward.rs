//! Channels that lead elsewhere: forwardings in both directions, and the client's agent and display. Each connection through one
//! is a command of its own, and what it carries is recorded as a program's input and output are.

use super::pump::Pump;
use super::{Ahead, Relay, Running, Start};
use crate::acts;
use crate::display::{Greeting, Opening};
use crate::refusals::{refusal, sentence};
use crate::session::{Purpose, Session, Wishes};
use crate::upstream::{Connection, UpstreamError};
use proxy_core::gate::{Chain, End, EndKind, Permit};
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_policy::Command;
use russh::client;
use russh::server::{ChannelOpenHandle, Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelOpenFailure};
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
                connection.handle.channel_open_direct_tcpip(host, *port, &origin.0, origin.1).await?
            }
            Destination::Socket(path) => connection.handle.channel_open_direct_streamlocal(path).await?,
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
    match lend(&session, channel, reply, &lent).await {
        Ok((here, running)) => Pump::run(relay(&session, here), running).await,
        Err(refusal) => tracing::debug!(refusal = refusal.message, "lend to the host"),
    }
    session.fewer.notify_one();
}

async fn lend(
    session: &Session,
    channel: Channel<client::Msg>,
    reply: client::ChannelOpenHandle,
    lent: &Lent,
) -> Result<(Channel<Msg>, Running), Refusal> {
    let permit = match session.decide_now(lent.command(session)).await {
        Ok(permit) => permit,
        Err(refusal) => {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Err(refusal);
        }
    };
    if let Lent::Display(_) = lent {
        reply.accept().await;
        return greeted(session, permit, channel, lent).await;
    }
    match open_to(session, permit, lent).await {
        Ok((permit, here)) => {
            reply.accept().await;
            Ok((here, Running { permit, connection: None, channel, start: Start::Forward }))
        }
        Err(refusal) => {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            Err(refusal)
        }
    }
}

/// Opens the client's channel.
async fn open_to(session: &Session, permit: Permit, lent: &Lent) -> Result<(Permit, Channel<Msg>), Refusal> {
    let client = session.client().ok_or_else(|| session.reason())?;
    match lent.open(client).await {
        Ok(channel) => Ok((permit, channel)),
        Err(error) => {
            tracing::debug!(%error, "open a channel towards the client");
            session.finish(permit, End { outcome: EndKind::Error, ..End::default() }).await?;
            Err(refusal(RefusalKind::Unavailable, "the client does not take it", ""))
        }
    }
}

/// Lets only who shows the client's cookie come as far as to the client.
async fn greeted(
    session: &Session,
    permit: Permit,
    mut channel: Channel<client::Msg>,
    lent: &Lent,
) -> Result<(Channel<Msg>, Running), Refusal> {
    let greeting = tokio::select! {
        greeting = greeting(&mut channel) => greeting.filter(|greeting| session.admits(greeting)),
        () = session.ended.cancelled() => None,
        () = tokio::time::sleep(session.options.limits.connect) => None,
    };
    let opened = if let Some(greeting) = greeting {
        open_to(session, permit, lent).await.map(|(permit, here)| (permit, here, Start::Display(greeting)))
    } else {
        let finished = session.finish(permit, End { outcome: EndKind::Error, ..End::default() }).await;
        let hint = "use the display and the cookie that the host's sshd gave to what it started";
        let message = "what came for the display does not show the client's cookie";
        finished.and(Err(refusal(RefusalKind::Denied, message, hint)))
    };
    match opened {
        Ok((permit, here, start)) => Ok((here, Running { permit, connection: None, channel, start })),
        Err(refusal) => {
            // A host that is gone hears it no more.
            channel.close().await.unwrap_or_default();
            Err(refusal)
        }
    }
}

/// How whoever comes greets the display.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's list of messages grows")]
async fn greeting(channel: &mut Channel<client::Msg>) -> Option<Greeting> {
    let mut opening = Opening::default();
    loop {
        match channel.wait().await? {
            ChannelMsg::Data { data } => {
                if let Some(greeting) = opening.take(&data).ok()? {
                    return Some(greeting);
                }
            }
            ChannelMsg::Eof | ChannelMsg::Close => return None,
            _ => {}
        }
    }
}

fn relay(session: &Arc<Session>, channel: Channel<Msg>) -> Relay {
    let (read, write) = channel.split();
    Relay {
        session: Arc::clone(session),
        read,
        write,
        terminal: None,
        wishes: Wishes::default(),
        ahead: Ahead::default(),
    }
}

/// `SSH_OPEN_ADMINISTRATIVELY_PROHIBITED` (RFC 4254 section 5.1).
const PROHIBITED: u32 = 1;
