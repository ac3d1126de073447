//! The server's side: TLS, and HTTP by ALPN.
//!
//! Clients that want to upgrade (exec, attach, port-forward) offer only `http/1.1`; everybody else gets HTTP/2 if they
//! ask for it, as from the API server itself. Without TLS there is nothing: a bearer token is never read off a clear
//! connection.

use crate::connection::Connection;
use crate::options::Options;
use crate::relay::Waited;
use crate::rights::{self, Lack, RightsError};
use crate::session::Peer;
use crate::status::{Body, Failure};
use crate::upstream::Upstream;
use arc_swap::ArcSwap;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use proxy_core::authn::{Authenticator, BearerToken, Verified};
use proxy_core::metrics::ReasonLabels;
use proxy_core::refusal::Refusal;
use proxy_core::session::ResourceContext;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

/// Verifies tokens. `proxy_core::authn::Authenticator` is the one; tests have another.
#[async_trait::async_trait]
pub trait Authenticate: Send + Sync + fmt::Debug {
    /// Who presents this token.
    ///
    /// # Errors
    /// The token is not good, or cannot be checked now; in words for the client.
    async fn verify(&self, token: &BearerToken) -> Result<Verified, Refusal>;
}

#[async_trait::async_trait]
impl Authenticate for Authenticator {
    async fn verify(&self, token: &BearerToken) -> Result<Verified, Refusal> {
        Self::verify(self, token).await.map_err(|error| error.refusal())
    }
}

/// One Kubernetes resource: everything that its connections share.
#[derive(Debug)]
pub struct Kubernetes {
    shared: Arc<Shared>,
    tls: Arc<ArcSwap<rustls::ServerConfig>>,
}

/// What connections share, while the settings are the same.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) resource: Arc<ResourceContext>,
    pub(crate) authenticator: Arc<dyn Authenticate>,
    pub(crate) upstream: Upstream,
    pub(crate) waited: Waited,
}

/// Why a connection did not become a session, or broke off. The client was told what it may know; this is for the log.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The handshake, or the first token, took too long.
    #[error("the client did not present a token in time")]
    Handshake,
    /// TLS failed.
    #[error("TLS with the client")]
    Tls(#[source] std::io::Error),
    /// HTTP failed.
    #[error("HTTP with the client")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Kubernetes {
    /// A resource that is reached by `options`. `tls` may be swapped; new connections use the newest. It should offer
    /// `h2` and `http/1.1` by ALPN.
    pub fn new(
        options: Options,
        resource: Arc<ResourceContext>,
        authenticator: Arc<dyn Authenticate>,
        tls: Arc<ArcSwap<rustls::ServerConfig>>,
    ) -> Self {
        let upstream = Upstream::new(&options);
        Self {
            shared: Arc::new(Shared {
                options,
                resource,
                authenticator,
                upstream,
                waited: Waited::default(),
            }),
            tls,
        }
    }

    /// What the gateway's own account lacks to act as agents here.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The API server did not say.
    pub async fn rights(&self) -> Result<Lack, RightsError> {
        rights::ask(&self.shared.upstream, &self.shared.options.naming).await
    }

    /// Serves one connection to its end. `unauthenticated` is dropped as soon as the client has proved who it is.
    ///
    /// Not cancel safe: dropping the future ends sessions without their end on record.
    ///
    /// # Errors
    /// It did not become a session, or HTTP failed.
    pub async fn serve(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        unauthenticated: impl Send + 'static,
    ) -> Result<(), ConnectionError> {
        let result = self.serve_connection(socket, peer, Box::new(unauthenticated)).await;
        if let Err(error) = &result {
            let reason = match error {
                ConnectionError::Handshake => "timeout",
                ConnectionError::Tls(_) | ConnectionError::Http(_) => "startup",
            };
            let labels = ReasonLabels { protocol: self.shared.resource.protocol, reason };
            self.shared.resource.metrics.refused_connections.get_or_create(&labels).inc();
        }
        result
    }

    /// Tells a client that there is no place for its connection.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The client went away, or never asked for anything.
    pub async fn turn_away(&self, socket: TcpStream) -> Result<(), ConnectionError> {
        let limit = self.shared.options.limits.handshake;
        let stream = self.accept(socket).await?;
        let message =
            "the gateway has as many connections to this resource as it may; try again later, or close some";
        let failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
            .after(Duration::from_secs(10));
        let service = service_fn(|_request: Request<Incoming>| {
            let response: Response<Body> = failure.response();
            async { Ok::<_, Infallible>(response) }
        });
        let builder = self.builder(&stream, TaskTracker::new());
        let serving = builder.serve_connection(TokioIo::new(stream), service);
        match tokio::time::timeout(limit, serving).await {
            Ok(served) => served.map_err(ConnectionError::Http),
            Err(_elapsed) => Ok(()),
        }
    }

    async fn accept(&self, socket: TcpStream) -> Result<TlsStream<TcpStream>, ConnectionError> {
        socket.set_nodelay(true).map_err(ConnectionError::Tls)?;
        let accepting = TlsAcceptor::from(self.tls.load_full()).accept(socket);
        let limit = self.shared.options.limits.handshake;
        let accepted = tokio::time::timeout(limit, accepting).await.or(Err(ConnectionError::Handshake))?;
        accepted.map_err(ConnectionError::Tls)
    }

    fn builder(&self, stream: &TlsStream<TcpStream>, tasks: TaskTracker) -> Builder<Tracked> {
        let limits = &self.shared.options.limits;
        let mut builder = Builder::new(Tracked(tasks));
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(HEADER_BYTES)
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(HEADER_LIST_BYTES)
            .keep_alive_interval(KEEPALIVE);
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => builder.http2_only(),
            Some(_) | None => builder.http1_only(),
        }
    }

    async fn serve_connection(
        &self,
        socket: TcpStream,
        address: SocketAddr,
        unauthenticated: Box<dyn Send>,
    ) -> Result<(), ConnectionError> {
        let stream = self.accept(socket).await?;
        let peer = Peer { address, transport: transport(&stream) };
        let connection = Arc::new(Connection::new(Arc::clone(&self.shared), peer, unauthenticated));
        let builder = self.builder(&stream, connection.streams.clone());
        let service = {
            let connection = Arc::clone(&connection);
            service_fn(move |request| Arc::clone(&connection).handle(request))
        };
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let authenticated = connection.authenticated.clone();
        let served = drive(Box::pin(serving), &self.shared.options, authenticated.cancelled()).await;
        let reason = match &served {
            Ok(reason) => reason,
            Err(_) => "the connection broke off",
        };
        connection.close(reason).await;
        match served {
            Err(error) if !authenticated.is_cancelled() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Runs the requests of HTTP/2 where they can be waited for.
#[derive(Clone, Debug)]
struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

/// Drives a connection until it is over, and gives why.
async fn drive<S>(
    mut serving: std::pin::Pin<Box<S>>,
    options: &Options,
    authenticated: impl Future<Output = ()>,
) -> Result<&'static str, ConnectionError>
where
    S: Graceful,
{
    let deadline = tokio::time::sleep(options.limits.handshake);
    tokio::pin!(authenticated, deadline);
    let (mut has_session, mut drained) = (false, false);
    loop {
        tokio::select! {
            done = &mut serving => {
                let reason = if drained { "the gateway drains" } else { "the client closed the connection" };
                return done.map(|()| reason).map_err(ConnectionError::Http);
            }
            () = &mut authenticated, if !has_session => has_session = true,
            () = &mut deadline, if !has_session => return Err(ConnectionError::Handshake),
            () = options.drain.cancelled(), if !drained => {
                serving.as_mut().shut_down();
                drained = true;
            }
            () = options.stop.cancelled() => return Ok("the gateway stops"),
        }
    }
}

/// A connection that can be told to end once nothing is under way.
trait Graceful: Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> {
    fn shut_down(self: std::pin::Pin<&mut Self>);
}

impl<I, S, E> Graceful for hyper_util::server::conn::auto::UpgradeableConnection<'_, I, S, E>
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: 'static,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    E: hyper_util::server::conn::auto::HttpServerConnExec<S::Future, Body>,
{
    fn shut_down(self: std::pin::Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

fn transport(stream: &TlsStream<TcpStream>) -> String {
    let (_, tls) = stream.get_ref();
    let version = tls.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
    match tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()) {
        Some(suite) => format!("{version} {suite}"),
        None => version.to_owned(),
    }
}

/// How long a client may say nothing between two requests.
const IDLE: Duration = Duration::from_mins(3);
/// Pings of HTTP/2, so that a client that vanished is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Most bytes of a request's line and headers: a token of 16 KiB, and a target of 64 KiB in which an argv may travel.
const HEADER_BYTES: usize = 128 * 1024;
/// The same for HTTP/2.
const HEADER_LIST_BYTES: u32 = 128 * 1024;
