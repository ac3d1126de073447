//! Leaving HTTP: which upgrades are spoken, the 101s of both sides, and the task that relays what follows.

use super::channels::Channels;
use super::tape::{Tape, Typed};
use super::{Context, PARTING, archive, events, spdy, websocket};
use crate::connection::Connection;
use crate::mask::Masks;
use crate::relay;
use crate::request::RequestInfo;
use crate::running::Running;
use crate::session::Session;
use crate::status::{self, Failure};
use crate::upstream::Outgoing;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use proxy_core::gate::Permit;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A program's channels over WebSocket, best first.
const PROGRAM: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// A forwarded port's over WebSocket: tunnelled SPDY, or a channel for each port.
const PORTS: [&str; 2] = ["SPDY/3.1+portforward.k8s.io", "v4.channel.k8s.io"];
/// SPDY's own names for them.
const SPDY_PROGRAM: [&str; 1] = ["v4.channel.k8s.io"];
const SPDY_PORTS: [&str; 1] = ["portforward.k8s.io"];
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// An upgrade that a client asks for and that is spoken here.
#[derive(Debug)]
pub(crate) enum Upgrade {
    /// A WebSocket (RFC 6455) into a pod, with the subprotocols that both sides know.
    WebSocket { key: HeaderValue, offered: Vec<&'static str> },
    /// One for the events of a watch, with whatever subprotocol the client offers.
    Events { key: HeaderValue, protocol: Option<HeaderValue> },
    /// SPDY/3.1.
    Spdy { offered: Vec<&'static str> },
}

/// Whose stream it is.
pub(crate) struct Exchange<'a> {
    pub(crate) connection: &'a Arc<Connection>,
    pub(crate) session: Arc<Session>,
    pub(crate) running: Arc<Running>,
    pub(crate) info: RequestInfo,
    pub(crate) masks: Masks,
}

/// The upgrade that a request asks for, where one is meant.
///
/// # Errors
/// The request makes no sense without one that is spoken here.
pub(crate) fn asked(request: &Request<Incoming>, info: &RequestInfo) -> Result<Option<Upgrade>, Failure> {
    let headers = request.headers();
    let word = |name: HeaderName| tokens(headers, &name);
    let wants = word(header::CONNECTION).iter().any(|token| token.eq_ignore_ascii_case("upgrade"));
    let to = word(header::UPGRADE);
    let is = |name: &str| wants && to.iter().any(|token| token.eq_ignore_ascii_case(name));
    if request.version() >= Version::HTTP_2 || !(is("websocket") || is("SPDY/3.1")) {
        return if info.is_connect() {
            Err(refused("this request needs an upgrade to WebSocket or SPDY/3.1, over HTTP/1.1"))
        } else {
            Ok(None)
        };
    }
    let is_port = info.subresource == "portforward";
    if is("SPDY/3.1") {
        let known: &[&'static str] = if is_port { &SPDY_PORTS } else { &SPDY_PROGRAM };
        if !info.is_connect() {
            return Err(refused("SPDY/3.1 is spoken for exec, attach and port-forward only"));
        }
        return Ok(Some(Upgrade::Spdy { offered: common(known, &tokens(headers, &STREAM_PROTOCOL))? }));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).cloned();
    let versions = tokens(headers, &header::SEC_WEBSOCKET_VERSION);
    let (Some(key), true) = (key, versions.contains(&"13") && request.method() == Method::GET) else {
        return Err(refused("this is no WebSocket handshake of version 13"));
    };
    if info.is_connect() {
        let known: &[&'static str] = if is_port { &PORTS } else { &PROGRAM };
        let offered = common(known, &tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL))?;
        return Ok(Some(Upgrade::WebSocket { key, offered }));
    }
    if info.is_watch() {
        let protocol = of_events(&tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL))?;
        Ok(Some(Upgrade::Events { key, protocol }))
    } else {
        Err(refused("WebSockets are spoken for watches, exec, attach and port-forward only"))
    }
}

/// Sends the cleared request upstream, answers both upgrades, and leaves the relaying to a task.
///
/// # Errors
/// The API server cannot be reached, or answers nonsense. Its refusal is an answer.
pub(crate) async fn open(
    exchange: Exchange<'_>,
    upgrade: Upgrade,
    permit: Permit,
    mut request: Request<Incoming>,
    mut outgoing: Outgoing,
) -> Result<Response<status::Body>, Failure> {
    let Exchange { connection, session, running, info, masks } = exchange;
    let key = offer(&upgrade, &mut outgoing.headers);
    outgoing.body = Bytes::new();
    let mut response = match connection.shared.upstream.send(&permit, outgoing).await {
        Ok(response) => response,
        Err(failure) => return Err(relay::abandon(&session, permit, failure).await),
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let plan = relay::Plan { info, masks, running, question: None };
        return relay::plain(connection, session, permit, plan, response).await;
    }
    let (answer, protocol) = match accept(&upgrade, key.as_deref(), response.headers()) {
        Ok(accepted) => accepted,
        Err(failure) => return Err(relay::abandon(&session, permit, failure).await),
    };
    let kind = Kind::of(&upgrade, protocol, &info);
    let context = Context {
        running,
        drain: connection.shared.options.drain.clone(),
        session: Arc::clone(&session),
        is_interactive: info.flag("stdin") || info.flag("tty") || info.subresource == "attach",
        message_bytes: connection.shared.options.limits.message_bytes,
    };
    let (client, server) = (hyper::upgrade::on(&mut request), hyper::upgrade::on(&mut response));
    let tasks = connection.streams.clone();
    let is_program = info.subresource == "exec";
    connection.streams.spawn(async move {
        let typed = if info.flag("tty") { Typed::AtTerminal } else { Typed::Elsewhere };
        let mut tape = Tape::new(session, permit, typed);
        let command: Vec<&str> = info.parameters("command").collect();
        if let Some(channel) = archive::copied_on(&command).filter(|_| is_program) {
            tape.copies_on(channel);
        }
        let mut both = both(client, server).await;
        let whole = match &mut both {
            Some((client, server)) => {
                Box::pin(run(kind, client, server, (&context, &info, &masks), &mut tape)).await
            }
            None => false,
        };
        // a program that never said how it ended was left by its client; one that did may be left in any way
        let whole = if is_program { tape.is_told() } else { whole };
        if let Err(failure) = tape.finish(whole, &tasks).await {
            tracing::warn!(message = failure.message(), "the end of a stream is not on record");
        }
        if let Some((client, server)) = both {
            drop(server);
            leave(client, &context).await;
        }
    });
    Ok(answer)
}

/// What is spoken after the upgrade.
enum Kind {
    Channels(Channels),
    Spdy,
    TunnelledSpdy,
    Events,
}

impl Kind {
    fn of(upgrade: &Upgrade, protocol: Option<&'static str>, info: &RequestInfo) -> Self {
        match (upgrade, protocol) {
            (Upgrade::Spdy { .. }, _) => Self::Spdy,
            (Upgrade::Events { .. }, _) => Self::Events,
            (Upgrade::WebSocket { .. }, Some(tunnel)) if PORTS.first() == Some(&tunnel) => {
                Self::TunnelledSpdy
            }
            (Upgrade::WebSocket { .. }, _) if info.subresource == "portforward" => {
                let ports = info.parameters("ports").flat_map(|ports| ports.split(',')).count();
                Self::Channels(Channels::Ports(u8::try_from(ports).unwrap_or(u8::MAX)))
            }
            (Upgrade::WebSocket { .. }, _) => Self::Channels(Channels::Program),
        }
    }
}

/// Relays until the stream is over; whether it came to its own end.
async fn run(
    kind: Kind,
    client: &mut Socket,
    server: &mut Socket,
    (context, info, masks): (&Context, &RequestInfo, &Masks),
    tape: &mut Tape,
) -> bool {
    let relayed = match kind {
        Kind::Channels(channels) => websocket::relay(client, server, channels, context, tape).await,
        Kind::Events => events::relay(client, server, (info, masks), context, tape).await,
        Kind::Spdy => {
            let (client, server) = (tokio::io::split(client), tokio::io::split(server));
            spdy::relay(client, server, context, tape).await
        }
        Kind::TunnelledSpdy => {
            let client = websocket::bytes(websocket::accepted(client, context.message_bytes).await);
            let server = websocket::bytes(websocket::connected(server, context.message_bytes).await);
            spdy::relay(client, server, context, tape).await
        }
    };
    match relayed {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "a stream broke off");
            false
        }
    }
}

/// Closes, and hears the client out until it closes too: a close with something unread, as a ping may be, resets the
/// connection, and what a slow client has not read yet is lost with it.
async fn leave(mut client: Socket, context: &Context) {
    let leaving = async {
        // it may be gone already
        client.shutdown().await.unwrap_or_default();
        tokio::io::copy(&mut client, &mut tokio::io::sink()).await.unwrap_or_default();
    };
    let over = async {
        tokio::select! {
            () = context.running.over().cancelled() => tokio::time::sleep(PARTING).await,
            () = context.drain.cancelled() => tokio::time::sleep(PARTING).await,
            () = tokio::time::sleep(LINGER) => {}
        }
    };
    tokio::select! {
        () = leaving => {}
        () = over => {}
    }
}

/// How long a client may take to read the end of what it asked for.
const LINGER: Duration = Duration::from_mins(1);

/// An upgraded connection.
type Socket = TokioIo<Upgraded>;

async fn both(client: OnUpgrade, server: OnUpgrade) -> Option<(Socket, Socket)> {
    match tokio::try_join!(client, server) {
        Ok((client, server)) => Some((TokioIo::new(client), TokioIo::new(server))),
        Err(error) => {
            tracing::debug!(%error, "upgrade");
            None
        }
    }
}

/// Adds the upgrade to what goes upstream; the key of a WebSocket handshake is the gateway's own.
fn offer(upgrade: &Upgrade, headers: &mut HeaderMap) -> Option<String> {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    match upgrade {
        Upgrade::WebSocket { offered, .. } => {
            if let Ok(value) = HeaderValue::from_str(&offered.join(", ")) {
                headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
            }
            Some(shake(headers))
        }
        Upgrade::Events { protocol, .. } => {
            // the API server gives events to nobody who does not say from where, and takes any answer
            headers.insert(header::ORIGIN, HeaderValue::from_static("https://localhost"));
            if let Some(protocol) = protocol {
                headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
            }
            Some(shake(headers))
        }
        Upgrade::Spdy { offered } => {
            headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
            for protocol in offered {
                // one line each: some servers read only the first word of a line
                headers.append(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
            }
            None
        }
    }
}

/// Begins a WebSocket handshake; gives its key.
fn shake(headers: &mut HeaderMap) -> String {
    let key = generate_key();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    if let Ok(value) = HeaderValue::from_str(&key) {
        headers.insert(header::SEC_WEBSOCKET_KEY, value);
    }
    key
}

/// The client's 101, and the protocol that the API server chose.
fn accept(
    upgrade: &Upgrade,
    own_key: Option<&str>,
    answered: &HeaderMap,
) -> Result<(Response<status::Body>, Option<&'static str>), Failure> {
    let mut answer = Response::new(status::full(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    let (to, name) = match upgrade {
        Upgrade::WebSocket { key, .. } | Upgrade::Events { key, .. } => {
            let expected = own_key.map(|key| derive_accept_key(key.as_bytes())).unwrap_or_default();
            if answered.get(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|accept| accept != expected.as_str()) {
                return Err(nonsense());
            }
            let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.map_err(|_error| nonsense())?);
            ("websocket", header::SEC_WEBSOCKET_PROTOCOL)
        }
        Upgrade::Spdy { .. } => ("SPDY/3.1", STREAM_PROTOCOL),
    };
    headers.insert(header::UPGRADE, HeaderValue::from_static(to));
    let chosen = answered.get(&name);
    let protocol = match upgrade {
        Upgrade::WebSocket { offered, .. } | Upgrade::Spdy { offered } => {
            let found = offered.iter().find(|offered| chosen.is_some_and(|chosen| chosen == **offered));
            Some(*found.ok_or_else(nonsense)?)
        }
        // it may choose none
        Upgrade::Events { protocol, .. } if chosen.is_none() || chosen == protocol.as_ref() => None,
        Upgrade::Events { .. } => return Err(nonsense()),
    };
    if let Some(chosen) = chosen {
        headers.insert(name, chosen.clone());
    }
    Ok((answer, protocol))
}

/// The subprotocol of a watch. The API server says yes to any one, which says nothing to it, and no to several; browsers
/// that carry their token among them have to offer another, and hang up if they do not hear of it.
fn of_events(offered: &[&str]) -> Result<Option<HeaderValue>, Failure> {
    match offered {
        [] => Ok(None),
        [one] => match HeaderValue::from_str(one) {
            Ok(one) => Ok(Some(one)),
            Err(_error) => Err(refused("this is no name of a subprotocol")),
        },
        [..] => Err(refused("a watch has one subprotocol at most: offer one beside the token")),
    }
}

/// The protocols that both know, in our order.
fn common(known: &[&'static str], offered: &[&str]) -> Result<Vec<&'static str>, Failure> {
    let common: Vec<_> = known.iter().copied().filter(|known| offered.contains(known)).collect();
    if common.is_empty() {
        Err(refused(&format!("none of the protocols offered is spoken here; offer {}", known.join(" or "))))
    } else {
        Ok(common)
    }
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty()).collect()
}

fn refused(message: &str) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "BadRequest", message)
}

fn nonsense() -> Failure {
    let message = "the API server's answer to the upgrade is not understood";
    Failure::new(StatusCode::BAD_GATEWAY, "InternalError", message)
}
