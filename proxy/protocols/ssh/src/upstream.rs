//! The gateway's own connections to a host.
//!
//! Every channel of a client has a connection of its own to the host. The library stops reading a connection when one
//! of its channels is not read, so channels on one connection could stop each other; and the host's own limits of
//! sessions per connection are for people. A connection whose channel has ended is used for the next one.

mod turns;

pub(crate) use turns::Turns;

use crate::options::{Credentials, Host, Proof};
use crate::relay::forward::{self, Lent};
use crate::session::{On, Session};
use proxy_core::gate::Chain;
use russh::Channel;
use russh::client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// Why a host cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// It did not answer in time.
    #[error("the host did not {0} in time")]
    Deadline(&'static str),
    /// It cannot be reached.
    #[error("connect to the host")]
    Io(#[source] std::io::Error),
    /// It showed a key that is not its own.
    #[error("the host's key is none of those that its Resource names")]
    HostKey,
    /// It does not accept the credentials.
    #[error("the host does not accept the role's credentials")]
    Login,
    /// SSH failed.
    #[error("speak SSH with the host")]
    Ssh(#[from] russh::Error),
}

/// What connections to a host are made with.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) host: Host,
    pub(crate) credentials: Credentials,
    /// Time to reach the host and log in.
    pub(crate) limit: Duration,
    /// Silence after which the host is asked whether it is there.
    pub(crate) keepalive: Duration,
    /// Whose turn it is.
    pub(crate) turns: Arc<Turns>,
    /// The session, once there is one: what a host opens is for its client.
    pub(crate) session: Arc<OnceLock<Weak<Session>>>,
}

/// The connections of one session.
#[derive(Debug)]
pub(crate) struct Upstreams {
    way: Way,
    idle: Mutex<Vec<Connection>>,
    /// The first one, which is made while the client is still opening its first channel.
    first: Mutex<Option<AbortOnDropHandle<Result<Connection, UpstreamError>>>>,
}

/// A connection that carries one channel at a time, and what the host opens to the client.
pub(crate) struct Connection {
    pub(crate) handle: Handle<Watcher>,
    opened: TaskTracker,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("closed", &self.handle.is_closed()).finish_non_exhaustive()
    }
}

impl Connection {
    /// Has the host listen. Gives the port that it chose.
    ///
    /// # Errors
    /// It does not.
    pub(crate) async fn listen(&self, on: &On) -> Result<u32, UpstreamError> {
        let listening = match on {
            On::Port(address, port) => self.handle.tcpip_forward(address, *port).await,
            On::Socket(path) => self.handle.streamlocal_forward(path).await.map(|()| 0),
        };
        listening.map_err(UpstreamError::from)
    }

    /// Has the host listen no more.
    ///
    /// # Errors
    /// It does not say that it has stopped.
    pub(crate) async fn stop_listening(&self, on: &On) -> Result<(), UpstreamError> {
        let stopped = match on {
            On::Port(address, port) => self.handle.cancel_tcpip_forward(address, *port).await,
            On::Socket(path) => self.handle.cancel_streamlocal_forward(path).await,
        };
        stopped.map_err(UpstreamError::from)
    }

    /// Waits until all that the host has opened on it is closed.
    pub(crate) async fn carries_nothing(&self) {
        self.opened.close();
        self.opened.wait().await;
    }
}

impl Upstreams {
    /// Begins to connect at once.
    pub(crate) fn begin(way: Way) -> Self {
        let first = tokio::spawn({
            let way = way.clone();
            async move { connect(&way).await }
        });
        Self { way, idle: Mutex::default(), first: Mutex::new(Some(AbortOnDropHandle::new(first))) }
    }

    /// A connection for one channel.
    ///
    /// Cancel safe: a connection under way is lost, no more.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn take(&self) -> Result<Connection, UpstreamError> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(first) = first
            && let Ok(connected) = first.await
        {
            return connected;
        }
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(connection) if !connection.handle.is_closed() => return Ok(connection),
                Some(_) => {}
                None => return connect(&self.way).await,
            }
        }
    }

    /// Gives a connection back whose channel has ended.
    pub(crate) fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && !connection.handle.is_closed() {
            idle.push(connection);
        }
    }

    /// Hangs up.
    pub(crate) async fn close(&self) {
        drop(self.first.lock().unwrap_or_else(PoisonError::into_inner).take());
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            hang_up(&connection).await;
        }
    }
}

/// Tells the host that a connection is over.
pub(crate) async fn hang_up(connection: &Connection) {
    let reason = russh::Disconnect::ByApplication;
    if let Err(error) = connection.handle.disconnect(reason, "", "").await {
        tracing::debug!(error = %Chain(&error), "hang up");
    }
}

async fn connect(way: &Way) -> Result<Connection, UpstreamError> {
    let Some((_turn, until)) = way.turns.take(way.limit).await else {
        return Err(UpstreamError::Deadline("let in those before"));
    };
    let connecting = async {
        let target = (way.host.host.as_str(), way.host.port);
        let socket = TcpStream::connect(target).await.map_err(UpstreamError::Io)?;
        socket.set_nodelay(true).map_err(UpstreamError::Io)?;
        let opened = TaskTracker::new();
        let watcher = Watcher {
            keys: way.host.keys.clone(),
            session: Arc::clone(&way.session),
            opened: opened.clone(),
        };
        let mut handle = client::connect_stream(Arc::new(config(way)), socket, watcher).await?;
        log_in(&mut handle, &way.credentials).await?;
        way.turns.let_in();
        Ok(Connection { handle, opened })
    };
    timeout_at(until, connecting).await.or(Err(UpstreamError::Deadline("let the gateway in")))?
}

async fn log_in(handle: &mut Handle<Watcher>, credentials: &Credentials) -> Result<(), UpstreamError> {
    let user = credentials.username.clone();
    let result = match &credentials.proof {
        Proof::Key(key) => {
            let hash =
                if key.0.algorithm().is_rsa() { handle.best_supported_rsa_hash().await? } else { None };
            let key = PrivateKeyWithHashAlg::new(Arc::clone(&key.0), hash.flatten());
            handle.authenticate_publickey(user, key).await?
        }
        Proof::Certified(key, certificate) => {
            handle.authenticate_openssh_cert(user, Arc::clone(&key.0), certificate.0.clone()).await?
        }
        Proof::Password(password) => {
            let result = handle.authenticate_password(user.clone(), password.expose().clone()).await?;
            if result.success() { result } else { by_question(handle, user, password.expose()).await? }
        }
    };
    if result.success() { Ok(()) } else { Err(UpstreamError::Login) }
}

/// Hosts that ask for the password by keyboard-interactive alone (`PasswordAuthentication no`, PAM).
async fn by_question(
    handle: &mut Handle<Watcher>,
    user: String,
    password: &str,
) -> Result<AuthResult, UpstreamError> {
    let mut asked = handle.authenticate_keyboard_interactive_start(user, None).await?;
    for _ in 0..QUESTIONS {
        match asked {
            KeyboardInteractiveAuthResponse::Success => return Ok(AuthResult::Success),
            KeyboardInteractiveAuthResponse::Failure { .. } => break,
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                let answers = prompts.iter().map(|_| password.to_owned()).collect();
                asked = handle.authenticate_keyboard_interactive_respond(answers).await?;
            }
        }
    }
    Err(UpstreamError::Login)
}

fn config(way: &Way) -> client::Config {
    let mut preferred = preferred();
    preferred.key = Cow::Owned(way.host.keys.algorithms());
    client::Config {
        client_id: russh::SshId::Standard(Cow::Borrowed("SSH-2.0-portcullis")),
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        channel_buffer_size: CHANNEL_MESSAGES,
        preferred,
        inactivity_timeout: None,
        keepalive_interval: Some(way.keepalive),
        keepalive_max: KEEPALIVES,
        nodelay: true,
        ..client::Config::default()
    }
}

/// Algorithms, the fastest first where they are equally good: AES has instructions of its own.
pub(crate) fn preferred() -> russh::Preferred {
    use russh::cipher::{AES_128_CTR, AES_192_CTR, AES_256_CTR, AES_256_GCM, CHACHA20_POLY1305};
    let ciphers = vec![AES_256_GCM, CHACHA20_POLY1305, AES_256_CTR, AES_192_CTR, AES_128_CTR];
    russh::Preferred { cipher: Cow::Owned(ciphers), ..russh::Preferred::default() }
}

/// Checks the host's key, and lets the host open to the client what the client lent to it; nothing else.
#[derive(Debug)]
pub(crate) struct Watcher {
    keys: crate::keys::HostKeys,
    session: Arc<OnceLock<Weak<Session>>>,
    /// What the host has opened.
    opened: TaskTracker,
}

impl Watcher {
    fn lend(&self, channel: Channel<client::Msg>, reply: client::ChannelOpenHandle, lent: Lent) {
        // Dropping `reply` refuses.
        let Some(session) = self.session.get().and_then(Weak::upgrade) else { return };
        if session.lends(&lent) && session.tasks.len() < session.options.limits.channels {
            let tasks = session.tasks.clone();
            tasks.spawn(self.opened.track_future(forward::to_client(session, channel, reply, lent)));
        }
    }
}

impl client::Handler for Watcher {
    type Error = UpstreamError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } if self.keys.contain(key) => Ok(true),
            PublicKeyOrCertificate::PublicKey { .. } | PublicKeyOrCertificate::Certificate(_) => {
                Err(UpstreamError::HostKey)
            }
        }
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<client::Msg>,
        reply: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        self.lend(channel, reply, Lent::Agent);
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<client::Msg>,
        address: &str,
        port: u32,
        origin: &str,
        origin_port: u32,
        reply: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        let lent =
            Lent::Port { connected: (address.to_owned(), port), origin: (origin.to_owned(), origin_port) };
        self.lend(channel, reply, lent);
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        channel: Channel<client::Msg>,
        path: &str,
        reply: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        self.lend(channel, reply, Lent::Socket(path.to_owned()));
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        channel: Channel<client::Msg>,
        origin: &str,
        origin_port: u32,
        reply: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        self.lend(channel, reply, Lent::Display((origin.to_owned(), origin_port)));
        Ok(())
    }

    // What follows is refused, by dropping the reply: the library's own answer would be to accept.

    async fn server_channel_open_session(
        &mut self,
        _: Channel<client::Msg>,
        _: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: client::ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Bytes that a host may send ahead on a channel.
pub(crate) const WINDOW_BYTES: u32 = 2 << 20;
/// Largest packet (RFC 4253 section 6.1 obliges to 32,768).
pub(crate) const PACKET_BYTES: u32 = 32 << 10;
/// Messages of a channel that wait to be looked at: with full packets, 2 MiB.
pub(crate) const CHANNEL_MESSAGES: usize = 64;
/// Questions without an answer after which a side is gone.
pub(crate) const KEEPALIVES: usize = 3;
/// Connections without a channel that a session keeps.
const IDLE: usize = 16;
/// Rounds of a keyboard-interactive login.
const QUESTIONS: usize = 3;
