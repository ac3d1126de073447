//! The client's side of a connection: proves who it is, then opens channels, each of which gets a task of its own.

use crate::acts;
use crate::authentication::{Answered, Answers, not_offered, place};
use crate::certificate::Authority;
use crate::display::Display;
use crate::place::Place;
use crate::refusals::{refusal, sentence};
use crate::relay;
use crate::relay::forward::{self, Destination};
use crate::server::Ssh;
use crate::session::{On, Purpose, Session, Trade};
use crate::upstream::{Upstreams, Way};
use proxy_core::authn::{BearerToken, Verified};
use proxy_core::gate::Gate;
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_core::secret::Secret;
use proxy_policy::destination;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Response, Session as Wire};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

/// `SSH_OPEN_ADMINISTRATIVELY_PROHIBITED` (RFC 4254 section 5.1).
const PROHIBITED: u32 = 1;

/// User name of whoever comes for a certificate alone.
const LOGIN: &str = "portcullis-login";

/// What became of a client.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// It has a session.
    Session(Arc<Session>),
    /// It is refused.
    Refused(Refusal),
}

/// One client.
pub(crate) struct Door {
    ssh: Arc<Ssh>,
    peer: SocketAddr,
    arrivals: mpsc::Sender<Arrived>,
    answers: Answers,
    session: Option<Arc<Session>>,
    /// There is no place for a session: whoever comes is told so.
    closed: bool,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Door {
    pub(crate) fn new(ssh: Arc<Ssh>, peer: SocketAddr, arrivals: mpsc::Sender<Arrived>) -> Self {
        Self { ssh, peer, arrivals, answers: Answers::default(), session: None, closed: false }
    }

    /// A door that nobody comes through.
    pub(crate) fn closed(ssh: Arc<Ssh>, peer: SocketAddr, arrivals: mpsc::Sender<Arrived>) -> Self {
        Self { closed: true, ..Self::new(ssh, peer, arrivals) }
    }

    async fn present(&mut self, user: &str, token: &BearerToken) -> Auth {
        match self.verify(token).await {
            Ok(verified) => self.come_in(user, verified, token).await,
            Err(refusal) => self.refuse(refusal).await,
        }
    }

    async fn verify(&self, token: &BearerToken) -> Result<Verified, Refusal> {
        if self.closed {
            return Err(refusal(RefusalKind::Full, "the gateway is full", "try again later"));
        }
        self.ssh.authenticator.verify(token).await
    }

    /// Opens the gate for whoever has proved who it is.
    async fn come_in(&mut self, user: &str, verified: Verified, token: &BearerToken) -> Auth {
        match self.begin(user, verified, token).await {
            Ok(session) => {
                self.session = Some(Arc::clone(&session));
                // The other end waits for exactly this, or has given up.
                self.arrivals
                    .send(Arrived::Session(session))
                    .await
                    .map_or_else(|_| Auth::reject(), |()| Auth::Accept)
            }
            Err(refusal) => self.refuse(refusal).await,
        }
    }

    async fn refuse(&self, refusal: Refusal) -> Auth {
        self.arrivals.send(Arrived::Refused(refusal)).await.unwrap_or_default();
        Auth::reject()
    }

    async fn begin(
        &self,
        user: &str,
        verified: Verified,
        token: &BearerToken,
    ) -> Result<Arc<Session>, Refusal> {
        let options = &self.ssh.options;
        let first = options.hosts.first().map_or("", |host| host.name.as_str());
        let place = place(user, first);
        let host = options.hosts.iter().find(|host| host.name == place.host).ok_or_else(not_offered)?;
        let lent = Arc::new(OnceLock::new());
        let purpose: Box<dyn FnOnce() -> Purpose + Send> =
            match (&self.ssh.authority, options.roles.get(&place.role)) {
                (Some(authority), _) if user == LOGIN => {
                    let trade = self.trade(authority, &verified, token);
                    Box::new(move || Purpose::Trade(trade))
                }
                (_, Some(credentials)) => {
                    let way = Way {
                        host: host.clone(),
                        credentials: credentials.clone(),
                        limit: options.limits.connect,
                        keepalive: options.limits.keepalive,
                        turns: self.ssh.turns(host),
                        session: Arc::clone(&lent),
                    };
                    Box::new(move || Purpose::Work(Box::new(Upstreams::begin(way))))
                }
                (_, None) => return Err(not_offered()),
            };
        let gate = self.open(&place, verified).await?;
        let session = Arc::new(Session::new(Arc::clone(options), gate, place, purpose()));
        lent.set(Arc::downgrade(&session)).unwrap_or_default();
        Ok(session)
    }

    fn trade(&self, authority: &Arc<Authority>, verified: &Verified, token: &BearerToken) -> Trade {
        let life = jiff::SignedDuration::try_from(self.ssh.options.limits.certificate);
        let longest = life.ok().and_then(|life| jiff::Timestamp::now().checked_add(life).ok());
        let until = longest.map_or(verified.expires_at(), |longest| longest.min(verified.expires_at()));
        Trade { authority: Arc::clone(authority), token: token.clone(), until }
    }

    async fn open(&self, place: &Place, verified: Verified) -> Result<Gate, Refusal> {
        let session = proxy_core::session::Session {
            id: uuid::Uuid::now_v7().to_string(),
            identity: verified,
            role: place.role.clone(),
            namespace: place.host.clone(),
            client: self.peer,
            client_name: "ssh".to_owned(),
            transport: "SSH-2.0".to_owned(),
        };
        Gate::open(session, Arc::clone(&self.ssh.resource), Arc::new(acts::connect(place))).await
    }

    fn question(&self) -> Auth {
        Auth::Partial {
            // OpenSSH shows a name, in front of every command's output.
            name: Cow::Borrowed(""),
            instructions: Cow::Borrowed(""),
            prompts: Cow::Owned(vec![(Cow::Owned(self.answers.prompt()), false)]),
        }
    }
}

impl Handler for Door {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        Ok(self.present(user, &Secret::new(password.to_owned())).await)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(mut response) = response else {
            self.answers = Answers::default();
            return Ok(self.question());
        };
        let answer = response.next().unwrap_or_default();
        let Ok(answer) = std::str::from_utf8(&answer) else { return Ok(Auth::reject()) };
        match self.answers.take(answer) {
            Answered::Token { token, more } => match self.verify(&token).await {
                Ok(verified) => Ok(self.come_in(user, verified, &token).await),
                Err(_) if more => Ok(self.question()),
                Err(refusal) => Ok(self.refuse(refusal).await),
            },
            Answered::TooLong => Ok(self
                .refuse(refusal(
                    RefusalKind::TooLarge,
                    "the token is too long",
                    "give each part of it once, when it is asked for",
                ))
                .await),
        }
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &russh::keys::Certificate,
    ) -> Result<Auth, Self::Error> {
        let Some(authority) = &self.ssh.authority else { return Ok(Auth::reject()) };
        // Only a token is traded for a certificate: one that got another would be good for longer than its minutes, and
        // for another key.
        if user == LOGIN {
            return Ok(Auth::reject());
        }
        // Another authority's certificate is no reason to hang up: the client may have a token as well.
        match authority.token(certificate) {
            Ok(token) => Ok(self.present(user, &token).await),
            Err(_) => Ok(Auth::reject()),
        }
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _wire: &mut Wire,
    ) -> Result<(), Self::Error> {
        let Some(session) = self.session.clone() else { return Ok(()) };
        if session.options.drain.is_cancelled() {
            let reason = "portcullis: the gateway is stopping; connect again".to_owned();
            reply.reject(ChannelOpenFailure::Other { code: PROHIBITED, reason }).await;
            return Ok(());
        }
        if session.ended.is_cancelled() || session.tasks.len() >= session.options.limits.channels {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        reply.accept().await;
        let tasks = session.tasks.clone();
        tasks.spawn(relay::serve(session, channel));
        Ok(())
    }

    fn adjust_window(&mut self, channel: ChannelId, current: u32) -> u32 {
        self.session.as_ref().map_or(current, |session| session.flow.opened(channel.number()))
    }

    async fn data(&mut self, _: ChannelId, data: &[u8], _: &mut Wire) -> Result<(), Self::Error> {
        // The channel's task has it already.
        if let Some(session) = &self.session {
            session.flow.slow(data.len()).await;
        }
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        wire: &mut Wire,
    ) -> Result<(), Self::Error> {
        // Whether there will be a terminal is decided with what runs in it; until then nothing is sent upstream.
        if self.has_begun(channel) { wire.channel_failure(channel) } else { wire.channel_success(channel) }
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        wire: &mut Wire,
    ) -> Result<(), Self::Error> {
        let allowed = match &self.session {
            Some(session) => session.environment(channel, (name, value)).await,
            None => false,
        };
        if allowed { wire.channel_success(channel) } else { wire.channel_failure(channel) }
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        wire: &mut Wire,
    ) -> Result<(), Self::Error> {
        // A refusal is told on standard error, with an exit status: for that the request has to be accepted.
        self.asks(channel, wire)
    }

    async fn shell_request(&mut self, channel: ChannelId, wire: &mut Wire) -> Result<(), Self::Error> {
        self.asks(channel, wire)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        wire: &mut Wire,
    ) -> Result<(), Self::Error> {
        self.asks(channel, wire)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        single: bool,
        protocol: &str,
        cookie: &str,
        screen: u32,
        wire: &mut Wire,
    ) -> Result<(), Self::Error> {
        let display = Display::asked(single, (protocol, cookie), screen);
        let lent = match (&self.session, display) {
            (Some(session), Some(display)) if !session.has_begun(channel) => {
                allows(session, acts::forward_x11, wire).await? && session.lend_display(channel, display)
            }
            _ => false,
        };
        if lent { wire.channel_success(channel) } else { wire.channel_failure(channel) }
    }

    async fn agent_request(&mut self, channel: ChannelId, wire: &mut Wire) -> Result<bool, Self::Error> {
        let Some(session) = self.session.clone() else { return Ok(false) };
        let lent = !session.has_begun(channel)
            && allows(&session, acts::forward_agent, wire).await?
            && session.wish(channel, |wishes| wishes.agent = true).is_some();
        if lent {
            session.agent.store(true, Ordering::Relaxed);
            wire.channel_success(channel)?;
        } else {
            wire.channel_failure(channel)?;
        }
        Ok(lent)
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        origin: &str,
        origin_port: u32,
        reply: ChannelOpenHandle,
        _wire: &mut Wire,
    ) -> Result<(), Self::Error> {
        let origin = (origin.to_owned(), origin_port);
        // the host connects to the address that is decided on, and reads a name itself
        let address = destination::address(host).filter(|_| !host.contains('%'));
        let host = address.map_or_else(|| host.to_owned(), |address| address.to_string());
        self.forward(channel, reply, Destination::Tcp { host, port, origin });
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _wire: &mut Wire,
    ) -> Result<(), Self::Error> {
        self.forward(channel, reply, Destination::Socket(path.to_owned()));
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        wire: &mut Wire,
    ) -> Result<bool, Self::Error> {
        match self.listen(On::Port(address.to_owned(), *port), wire).await? {
            Some(chosen) => {
                if *port == 0 {
                    *port = chosen;
                }
                Ok(true)
            }
            None => Ok(false),
        }
    }

    async fn cancel_tcpip_forward(
        &mut self,
        address: &str,
        port: u32,
        _wire: &mut Wire,
    ) -> Result<bool, Self::Error> {
        let Some(session) = &self.session else { return Ok(false) };
        Ok(session.cancel_listen(&On::Port(address.to_owned(), port)).await)
    }

    async fn streamlocal_forward(&mut self, path: &str, wire: &mut Wire) -> Result<bool, Self::Error> {
        Ok(self.listen(On::Socket(path.to_owned()), wire).await?.is_some())
    }

    async fn cancel_streamlocal_forward(
        &mut self,
        path: &str,
        _wire: &mut Wire,
    ) -> Result<bool, Self::Error> {
        let Some(session) = &self.session else { return Ok(false) };
        Ok(session.cancel_listen(&On::Socket(path.to_owned())).await)
    }
}

impl Door {
    fn has_begun(&self, channel: ChannelId) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_begun(channel))
    }

    /// What a channel is for is asked, which is asked once: people may be asked about it next, and what they see is what
    /// runs.
    fn asks(&self, channel: ChannelId, wire: &mut Wire) -> Result<(), russh::Error> {
        let first = self.session.as_ref().is_none_or(|session| session.begin(channel));
        if first { wire.channel_success(channel) } else { wire.channel_failure(channel) }
    }

    fn forward(&self, channel: Channel<Msg>, reply: ChannelOpenHandle, destination: Destination) {
        // Dropping `reply` refuses.
        let Some(session) = self.session.clone() else { return };
        if !session.ended.is_cancelled() && session.tasks.len() < session.options.limits.channels {
            session.tasks.clone().spawn(forward::to_host(session, channel, reply, destination));
        }
    }

    async fn listen(&self, on: On, wire: &mut Wire) -> Result<Option<u32>, russh::Error> {
        let Some(session) = &self.session else { return Ok(None) };
        match session.listen(on).await {
            Ok(port) => Ok(Some(port)),
            Err(refusal) => {
                wire.debug(true, &sentence(&refusal), "")?;
                Ok(None)
            }
        }
    }
}

/// Whether the client may lend something; it is told why not.
async fn allows(
    session: &Session,
    lending: fn(&Place) -> proxy_policy::Command,
    wire: &mut Wire,
) -> Result<bool, russh::Error> {
    match session.run_now(lending(&session.place)).await {
        Ok(()) => Ok(true),
        Err(refusal) => wire.debug(true, &sentence(&refusal), "").map(|()| false),
    }
}
