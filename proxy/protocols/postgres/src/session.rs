//! One connection, from its socket to its end.

use crate::analyze::{Analyzer, SessionState};
use crate::cancel::{Cancelled, Registry};
use crate::frame;
use crate::frontend::{self, refusal};
use crate::mask::{self, Texts, Withhold};
use crate::options::{Credentials, Options};
use crate::relay::{Meaning, Parts, Relay};
use crate::snapshot::Snapshots;
use crate::startup::{self, Arrival, Authenticate, Opening, StartupError, authenticate, refuse};
use crate::upstream::{self, Login, Upstream, UpstreamError};
use arc_swap::ArcSwap;
use bytes::BytesMut;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::TransactionStatus;
use pgwire::messages::startup::{Authentication, BackendKeyData, SecretKey};
use proxy_core::authn::Verified;
use proxy_core::gate::{Chain, Gate};
use proxy_core::mask::MaskCounts;
use proxy_core::metrics::ReasonLabels;
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_core::session::{ResourceContext, Session};
use proxy_policy::{Access, Command, Detail, Effects, Reading, Touch};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;

/// One PostgreSQL resource: everything that its connections share.
#[derive(Debug)]
pub struct Postgres {
    options: Arc<Options>,
    resource: Arc<ResourceContext>,
    authenticator: Arc<dyn Authenticate>,
    tls: Arc<ArcSwap<rustls::ServerConfig>>,
    analyzer: Arc<Analyzer>,
    snapshots: Snapshots,
    cancels: Registry,
}

/// Why a connection did not become a session. The client was told what it may know; this is for the log.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The handshake took too long.
    #[error("the client did not finish its handshake in time")]
    Handshake,
    /// The opening failed, or was refused.
    #[error("connection did not open")]
    Startup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server cannot be used.
    #[error("server not available")]
    Upstream(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StartupError> for SessionError {
    fn from(error: StartupError) -> Self {
        Self::Startup(Box::new(error))
    }
}

impl Postgres {
    /// A resource that is reached by `options`. `tls` may be swapped; new connections use the newest.
    pub fn new(
        options: Options,
        resource: Arc<ResourceContext>,
        authenticator: Arc<dyn Authenticate>,
        tls: Arc<ArcSwap<rustls::ServerConfig>>,
    ) -> Self {
        Self {
            options: Arc::new(options),
            resource,
            authenticator,
            tls,
            analyzer: Arc::new(Analyzer::new(ANALYSES)),
            snapshots: Snapshots::default(),
            cancels: Registry::default(),
        }
    }

    /// The same resource with other settings, for new connections. Sessions keep theirs; cancel requests for them
    /// arrive here all the same, and what is known of the server's catalogues stays where the server does.
    #[must_use]
    pub fn replaced(
        &self,
        options: Options,
        resource: Arc<ResourceContext>,
        authenticator: Arc<dyn Authenticate>,
        tls: Arc<ArcSwap<rustls::ServerConfig>>,
    ) -> Self {
        let same_server = options.host == self.options.host && options.port == self.options.port;
        Self {
            snapshots: if same_server { self.snapshots.clone() } else { Snapshots::default() },
            analyzer: Arc::clone(&self.analyzer),
            cancels: self.cancels.clone(),
            ..Self::new(options, resource, authenticator, tls)
        }
    }

    /// Serves one connection to its end. `unauthenticated` is dropped as soon as the client has proved who it is.
    ///
    /// Not cancel safe: dropping the future ends the session without its end on record.
    ///
    /// # Errors
    /// It did not become a session.
    pub async fn serve(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        unauthenticated: impl Send,
    ) -> Result<(), SessionError> {
        let result = Box::pin(self.serve_connection(socket, peer, unauthenticated)).await;
        if let Err(error) = &result {
            let reason = match error {
                SessionError::Handshake => "timeout",
                SessionError::Startup(_) => "startup",
                SessionError::Upstream(_) => "upstream",
            };
            let labels = ReasonLabels { protocol: self.resource.protocol, reason };
            self.resource.metrics.refused_connections.get_or_create(&labels).inc();
        }
        result
    }

    /// Tells a client that there is no place for its session. Cancel requests are served: they need none.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The client went away, or never asked for a session.
    pub async fn turn_away(&self, socket: TcpStream) -> Result<(), SessionError> {
        let opening = startup::open(socket, self.tls.load_full());
        let opened = tokio::time::timeout(self.options.limits.handshake, opening).await;
        match opened.or(Err(SessionError::Handshake))?? {
            Opening::Session(mut arrival) => {
                let message = "the gateway has as many sessions of this resource as it may";
                let hint = "try again later, or close sessions that are idle";
                refuse(&mut arrival.wire, refusal(RefusalKind::Full, message, hint)).await;
            }
            Opening::Cancel { process, key } => self.cancel(process, &key).await,
            Opening::Nothing => {}
        }
        Ok(())
    }

    async fn serve_connection(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        unauthenticated: impl Send,
    ) -> Result<(), SessionError> {
        socket.set_nodelay(true).map_err(StartupError::Io)?;
        let handshake = async {
            let mut arrival = match startup::open(socket, self.tls.load_full()).await? {
                Opening::Session(arrival) => arrival,
                Opening::Cancel { process, key } => {
                    self.cancel(process, &key).await;
                    return Ok(None);
                }
                Opening::Nothing => return Ok(None),
            };
            let verified = authenticate(&mut arrival, &*self.authenticator).await?;
            Ok::<_, StartupError>(verified.map(|verified| (arrival, verified)))
        };
        let opened = tokio::time::timeout(self.options.limits.handshake, handshake).await;
        let Some((arrival, verified)) = opened.or(Err(SessionError::Handshake))?? else { return Ok(()) };
        drop(unauthenticated);
        let Some(relay) = self.begin(*arrival, verified, peer).await? else { return Ok(()) };
        relay.run().await;
        Ok(())
    }

    async fn cancel(&self, process: i32, key: &[u8]) {
        match self.cancels.cancel(process, key) {
            Cancelled::Nobody => tracing::debug!("cancel request for no session"),
            Cancelled::Held => {}
            Cancelled::Running(key) => {
                if let Err(error) = upstream::cancel(&self.options, key).await {
                    tracing::warn!(error = %Chain(&error), "cancel at the server");
                }
            }
        }
    }

    /// Opens the gate, then the upstream, and greets the client. `None`: it was refused and told.
    async fn begin(
        &self,
        mut arrival: Arrival,
        verified: Verified,
        peer: SocketAddr,
    ) -> Result<Option<Relay>, SessionError> {
        let Some(credentials) = self.options.roles.get(&arrival.parameters.user).cloned() else {
            // The name is the client's text, which may be anything.
            let refusal =
                refusal(RefusalKind::Authentication, "that role is not offered", "ask for an offered role");
            refuse(&mut arrival.wire, refusal).await;
            return Ok(None);
        };
        let connect = connect_command(&arrival.parameters.user, &arrival.parameters.database);
        let session = session(&arrival, verified, peer);
        let gate = match Gate::open(session, Arc::clone(&self.resource), connect).await {
            Ok(gate) => gate,
            Err(refusal) => {
                refuse(&mut arrival.wire, refusal).await;
                return Ok(None);
            }
        };
        match self.reach(&arrival, &credentials).await {
            Ok((upstream, path)) => {
                let relay = self.greet(arrival, gate, upstream, (credentials, path));
                Ok(Some(relay))
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "reach the server");
                refuse(&mut arrival.wire, unreachable(&error)).await;
                gate.close("server not available").await;
                Err(SessionError::Upstream(Box::new(error)))
            }
        }
    }

    async fn reach(
        &self,
        arrival: &Arrival,
        credentials: &Credentials,
    ) -> Result<(Upstream, Vec<String>), UpstreamError> {
        let mut settings = arrival.parameters.settings.clone();
        settings.push(("application_name".to_owned(), arrival.parameters.application_name.clone()));
        let login = Login { credentials, database: &arrival.parameters.database, settings: &settings };
        let mut upstream = upstream::connect(&self.options, login).await?;
        let path = upstream.ask("show search_path").await?;
        Ok((upstream, path.first().map(|path| split_path(path)).unwrap_or_default()))
    }

    fn greet(
        &self,
        mut arrival: Arrival,
        gate: Gate,
        upstream: Upstream,
        (credentials, path): (Credentials, Vec<String>),
    ) -> Relay {
        let key_bytes = if arrival.long_keys { LONG_KEY_BYTES } else { SHORT_KEY_BYTES };
        let cancel = self.cancels.register(key_bytes, upstream.key);
        let out = &mut arrival.wire.output;
        frontend::put(PgWireBackendMessage::Authentication(Authentication::Ok), out);
        put_parameters(&upstream.parameters, &gate, out);
        let key = SecretKey::Bytes(cancel.key.clone().into());
        frontend::put(PgWireBackendMessage::BackendKeyData(BackendKeyData::new(cancel.process, key)), out);
        frontend::put_ready(TransactionStatus::Idle, out);
        let database = &arrival.parameters.database;
        let mut state = SessionState::new(&credentials.username, database);
        state.search_path = path;
        let meaning = Meaning {
            analyzer: Arc::clone(&self.analyzer),
            options: Arc::clone(&self.options),
            slot: self.snapshots.slot(database, &credentials.username),
            credentials,
            role: arrival.parameters.user.as_str().into(),
            state,
            catalogue: None,
            recent: crate::analyze::Recent::default(),
            sense: None,
            stale: None,
            transaction: crate::relay::Transaction::default(),
            uncertain: false,
            unseen: false,
            idle: true,
        };
        Relay::new(Parts {
            options: Arc::clone(&self.options),
            gate,
            client: arrival.wire,
            upstream: upstream.wire,
            cancel,
            meaning,
        })
    }
}

#[cfg(fuzzing)]
impl Postgres {
    /// As [`Postgres::begin`], with a server that is reached already and what it would answer about its catalogue.
    pub(crate) async fn begin_at(
        &self,
        arrival: Arrival,
        verified: Verified,
        (upstream, catalogue): (Upstream, Arc<crate::catalogue::Catalogue>),
    ) -> Option<Relay> {
        let credentials = self.options.roles.get(&arrival.parameters.user)?.clone();
        let database = &arrival.parameters.database;
        self.snapshots.slot(database, &credentials.username).keep(catalogue, std::time::Instant::now(), true);
        let connect = connect_command(&arrival.parameters.user, database);
        let session = session(&arrival, verified, SocketAddr::from(([127, 0, 0, 1], 1)));
        let gate = Gate::open(session, Arc::clone(&self.resource), connect).await.ok()?;
        Some(self.greet(arrival, gate, upstream, (credentials, vec!["public".to_owned()])))
    }
}

/// Appends what the server told of its settings; a client's own name is among them, and may be anything.
fn put_parameters(mut parameters: &[u8], gate: &Gate, out: &mut BytesMut) {
    while let Ok(Some(header)) = frame::header(parameters, usize::MAX)
        && let Some((parameter, rest)) = parameters.split_at_checked(header.length)
    {
        let texts =
            Texts { masker: gate.masker(), counts: &mut MaskCounts::default(), withhold: Withhold::Findings };
        let start = out.len();
        if mask::parameter_status(parameter, texts, out).is_err() {
            out.truncate(start);
        }
        parameters = rest;
    }
}

fn session(arrival: &Arrival, verified: Verified, peer: SocketAddr) -> Session {
    Session {
        id: uuid::Uuid::now_v7().to_string(),
        identity: verified,
        role: arrival.parameters.user.clone(),
        namespace: arrival.parameters.database.clone(),
        client: peer,
        client_name: arrival.parameters.application_name.chars().take(64).collect(),
        transport: arrival.transport.clone(),
    }
}

/// Opening a session, as policies see it.
fn connect_command(role: &str, database: &str) -> Arc<Command> {
    let touch = Touch {
        effect: "Connect",
        object: "database",
        name: database.to_owned(),
        access: Access::Read,
        unbounded: false,
        detail: Detail::None,
    };
    Arc::new(Command {
        text: "".into(),
        canonical: format!("connect {database}"),
        role: role.into(),
        namespace: database.into(),
        binding: Vec::new(),
        reading: Reading::new("CONNECT", "", Effects::Known(vec![touch])).into(),
    })
}

fn unreachable(error: &UpstreamError) -> Refusal {
    let (message, hint) = match error {
        // Words of the server's own could quote what it was sent; the code says enough.
        UpstreamError::Refused(code) => (
            format!("the server refused the session (SQLSTATE {code})"),
            "check the database's name, or ask whoever runs the gateway about the role's credentials",
        ),
        UpstreamError::Deadline(_)
        | UpstreamError::Io { .. }
        | UpstreamError::NoTls
        | UpstreamError::Method(_)
        | UpstreamError::Malformed(_) => {
            ("the server cannot be reached".to_owned(), "try again later, and tell whoever runs the gateway")
        }
    };
    refusal(RefusalKind::Unavailable, message, hint)
}

/// The entries of a `search_path` setting.
fn split_path(setting: &str) -> Vec<String> {
    let mut entries = Vec::new();
    let (mut entry, mut quoted, mut was_quoted) = (String::new(), false, false);
    let mut characters = setting.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                entry.push('"');
            }
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            ',' if !quoted => {
                if was_quoted || !entry.is_empty() {
                    entries.push(std::mem::take(&mut entry));
                }
                was_quoted = false;
            }
            _ if !quoted && character.is_whitespace() => {}
            _ => entry.push(character),
        }
    }
    if was_quoted || !entry.is_empty() {
        entries.push(entry);
    }
    entries
}

/// Analyses that a resource remembers.
const ANALYSES: usize = 4096;
/// Bytes of a cancel key in protocol 3.0.
const SHORT_KEY_BYTES: usize = 4;
/// Bytes of a cancel key in protocol 3.2.
const LONG_KEY_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::split_path;

    #[test]
    fn a_search_path_is_split_as_postgresql_writes_it() {
        assert_eq!(split_path(r#""$user", public"#), ["$user", "public"]);
        assert_eq!(split_path(r#""a,""b", c"#), ["a,\"b", "c"]);
        assert_eq!(split_path(""), Vec::<String>::new());
    }
}
