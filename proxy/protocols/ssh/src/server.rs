//! One SSH resource, and the life of a connection to it.

use crate::authentication::Authenticate;
use crate::certificate::Authority;
use crate::door::{Arrived, Door};
use crate::options::{Host, Options};
use crate::refusals::{refusal, sentence};
use crate::socket::Socket;
use crate::upstream::{CHANNEL_MESSAGES, KEEPALIVES, PACKET_BYTES, Turns, WINDOW_BYTES, preferred};
use proxy_core::gate::Chain;
use proxy_core::metrics::ReasonLabels;
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_core::session::ResourceContext;
use russh::MethodSet;
use russh::server::{self, Handle};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// One SSH resource: everything that its connections share.
#[derive(Debug)]
pub struct Ssh {
    pub(crate) options: Arc<Options>,
    pub(crate) resource: Arc<ResourceContext>,
    pub(crate) authenticator: Arc<dyn Authenticate>,
    pub(crate) authority: Option<Arc<Authority>>,
    config: Arc<server::Config>,
    /// Logins under way, by host and port.
    turns: ByHost,
}

/// Logins under way, by host and port.
type ByHost = Arc<Mutex<HashMap<(String, u16), Arc<Turns>>>>;

/// Why a connection did not become a session. The client was told what it may know; this is for the log.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The handshake took too long.
    #[error("the client did not finish its handshake in time")]
    Handshake,
    /// SSH failed, or the client left.
    #[error("connection did not open")]
    Ssh(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The client was refused.
    #[error("the client was refused: {0}")]
    Refused(&'static str),
}

/// The settings cannot be used.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected an authority's key that can be derived from")]
pub struct SetupError;

impl Ssh {
    /// A resource that is reached by `options`.
    ///
    /// # Errors
    /// The authority's key cannot be used.
    pub fn new(
        options: Options,
        resource: Arc<ResourceContext>,
        authenticator: Arc<dyn Authenticate>,
    ) -> Result<Self, SetupError> {
        let authority = options.authority.as_ref().map(Authority::new).transpose().or(Err(SetupError))?;
        Ok(Self {
            config: Arc::new(config(&options)),
            authority: authority.map(Arc::new),
            options: Arc::new(options),
            resource,
            authenticator,
            turns: Arc::default(),
        })
    }

    /// The same resource with other settings, for new connections. Sessions keep theirs.
    ///
    /// # Errors
    /// The authority's key cannot be used.
    pub fn replaced(
        &self,
        options: Options,
        resource: Arc<ResourceContext>,
        authenticator: Arc<dyn Authenticate>,
    ) -> Result<Self, SetupError> {
        Ok(Self { turns: Arc::clone(&self.turns), ..Self::new(options, resource, authenticator)? })
    }

    /// Serves one connection to its end. `unauthenticated` is dropped as soon as the client has proved who it is.
    ///
    /// Not cancel safe: dropping the future ends the session without its end on record.
    ///
    /// # Errors
    /// It did not become a session.
    pub async fn serve(
        self: &Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        unauthenticated: impl Send,
    ) -> Result<(), SessionError> {
        let result = Box::pin(self.serve_connection(socket, peer, unauthenticated)).await;
        if let Err(error) = &result {
            let reason = match error {
                SessionError::Handshake => "timeout",
                SessionError::Ssh(_) | SessionError::Refused(_) => "startup",
            };
            let labels = ReasonLabels { protocol: self.resource.protocol, reason };
            self.resource.metrics.refused_connections.get_or_create(&labels).inc();
        }
        result
    }

    /// Tells a client that there is no place for its session.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The client went away.
    pub async fn turn_away(
        self: &Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
    ) -> Result<(), SessionError> {
        let cut = CancellationToken::new();
        let _cut = cut.clone().drop_guard();
        let (arrivals, mut arrived) = mpsc::channel(1);
        let door = Door::closed(Arc::clone(self), peer, arrivals);
        let running = server::run_stream(Arc::clone(&self.config), Socket::new(socket, cut.clone()), door);
        let turning = async {
            let running = running.await.map_err(ssh)?;
            let handle = running.handle();
            tokio::select! {
                ended = running => ended.map_err(ssh),
                _ = arrived.recv() => {
                    let full = refusal(
                        RefusalKind::Full,
                        "the gateway has as many sessions of this resource as it may",
                        "try again later, or close sessions that are idle",
                    );
                    dismiss(&handle, &full).await;
                    Ok(())
                }
            }
        };
        tokio::time::timeout(self.options.limits.handshake, turning).await.or(Err(SessionError::Handshake))?
    }

    async fn serve_connection(
        self: &Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        unauthenticated: impl Send,
    ) -> Result<(), SessionError> {
        let cut = CancellationToken::new();
        let _cut = cut.clone().drop_guard();
        socket.set_nodelay(true).map_err(|error| SessionError::Ssh(Box::new(error)))?;
        let (arrivals, mut arrived) = mpsc::channel(1);
        let door = Door::new(Arc::clone(self), peer, arrivals);
        let socket = Socket::new(socket, cut.clone());
        let deadline = tokio::time::Instant::now() + self.options.limits.handshake;
        let starting = server::run_stream(Arc::clone(&self.config), socket, door);
        let started = tokio::time::timeout_at(deadline, starting).await;
        let mut running = started.or(Err(SessionError::Handshake))?.map_err(ssh)?;
        let handle = running.handle();
        let arrival = tokio::select! {
            ended = &mut running => return ended.map_err(ssh),
            () = tokio::time::sleep_until(deadline) => return Err(SessionError::Handshake),
            arrival = arrived.recv() => arrival,
        };
        drop(unauthenticated);
        match arrival {
            None => Ok(()),
            Some(Arrived::Session(session)) => {
                session.attend(running, handle, &cut).await;
                Ok(())
            }
            Some(Arrived::Refused(refusal)) => {
                dismiss(&handle, &refusal).await;
                tokio::time::timeout(FAREWELL, running).await.map(drop).unwrap_or_default();
                Err(SessionError::Refused(kind(&refusal)))
            }
        }
    }

    /// Logins under way at a host, all sessions together.
    pub(crate) fn turns(&self, host: &Host) -> Arc<Turns> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry((host.host.clone(), host.port)).or_default())
    }
}

fn ssh(error: russh::Error) -> SessionError {
    SessionError::Ssh(Box::new(error))
}

const fn kind(refusal: &Refusal) -> &'static str {
    match refusal.kind {
        RefusalKind::Authentication => "authentication",
        RefusalKind::Denied => "policy",
        RefusalKind::Unavailable => "unavailable",
        RefusalKind::ApprovalDenied
        | RefusalKind::ApprovalExpired
        | RefusalKind::Withdrawn
        | RefusalKind::SessionEnded
        | RefusalKind::Protocol
        | RefusalKind::TooLarge
        | RefusalKind::Full => "other",
    }
}

async fn dismiss(handle: &Handle, refusal: &Refusal) {
    let reason = russh::Disconnect::NoMoreAuthMethodsAvailable;
    if let Err(error) = handle.disconnect(reason, sentence(refusal), String::new()).await {
        tracing::debug!(error = %Chain(&error), "tell the client why");
    }
}

fn config(options: &Options) -> server::Config {
    let mut methods = MethodSet::empty();
    methods.push(russh::MethodKind::PublicKey);
    methods.push(russh::MethodKind::KeyboardInteractive);
    methods.push(russh::MethodKind::Password);
    server::Config {
        server_id: russh::SshId::Standard(Cow::Borrowed("SSH-2.0-portcullis")),
        methods,
        auth_rejection_time: REJECTION,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![russh::keys::PrivateKey::clone(&options.host_key.0)],
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        channel_buffer_size: CHANNEL_MESSAGES,
        preferred: preferred(),
        max_auth_attempts: ATTEMPTS,
        inactivity_timeout: None,
        keepalive_interval: Some(options.limits.keepalive),
        keepalive_max: KEEPALIVES,
        nodelay: true,
        ..server::Config::default()
    }
}

/// Time after which a wrong credential is refused, whatever was wrong with it.
const REJECTION: Duration = Duration::from_millis(200);
/// Most credentials that a client may try: an agent offers every key it has.
const ATTEMPTS: usize = 20;
/// Time that a client has for hanging up when it is told to.
const FAREWELL: Duration = Duration::from_secs(2);
