//! The way to the API server: HTTP/1.1 over TLS, one connection per request under way, kept for the next.
//!
//! Not HTTP/2: a watch lasts, and the streams of one connection are limited; and only HTTP/1.1 can be upgraded.
//!
//! Each event loop has connections of its own. A connection is driven by the loop that opened it, so that a session on
//! another thread that took it over would wake that thread for its request and be woken by it for the answer.

use crate::options::{Credential, Options};
use crate::relay::{Attempt, Look};
use crate::status::Failure;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use proxy_core::gate::{Chain, Permit, Unasked};
use proxy_core::secret::Secret;
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime;

type Connections = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The API server of one resource. Shared by all its sessions.
#[derive(Debug)]
pub(crate) struct Upstream {
    connector: HttpsConnector<HttpConnector>,
    /// By the event loop that uses it.
    clients: Mutex<HashMap<runtime::Id, Connections>>,
    server: Uri,
    prefix: String,
    credential: Credential,
    /// The last token read from a file, and when.
    token: Mutex<Option<(Instant, Secret<HeaderValue>)>>,
}

/// One request for upstream, without what identifies the agent.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// Canonical path and query.
    pub(crate) target: String,
    /// Cleaned headers.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Upstream {
    pub(crate) fn new(options: &Options) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(options.limits.connect));
        http.set_keepalive(Some(KEEPALIVE));
        let mut builder = HttpsConnectorBuilder::new()
            .with_tls_config(rustls::ClientConfig::clone(&options.tls))
            .https_only();
        // a name that is none is refused by the handshake: the host's own stays
        let name = options.server_name.clone().and_then(|name| ServerName::try_from(name).ok());
        if let Some(name) = name {
            builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        let connector = builder.enable_http1().wrap_connector(http);
        Self {
            connector,
            clients: Mutex::default(),
            prefix: options.server.path().trim_end_matches('/').to_owned(),
            server: options.server.clone(),
            credential: options.credential.clone(),
            token: Mutex::new(None),
        }
    }

    /// Sends a command that was cleared. The permit is what proves that.
    ///
    /// Cancel safe, but whether the API server did it is then not known.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(crate) async fn send(
        &self,
        _cleared: &Permit,
        outgoing: Outgoing,
    ) -> Result<Response<Incoming>, Failure> {
        self.ask(outgoing).await
    }

    /// Sends what changes nothing for a command that is held, so that approvers can see what it would do.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(crate) async fn attempt(
        &self,
        _held: &Unasked,
        attempt: Attempt,
    ) -> Result<Response<Incoming>, Failure> {
        self.ask(attempt.into_outgoing()).await
    }

    /// Looks at an object, for a request of which nothing is decided yet.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(crate) async fn look(&self, look: Look) -> Result<Response<Incoming>, Failure> {
        self.ask(look.into_outgoing()).await
    }

    /// Asks what the gateway's own account may do, in nobody's name and for no command.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(crate) async fn review(&self, question: Outgoing) -> Result<Response<Incoming>, Failure> {
        self.ask(question).await
    }

    async fn ask(&self, outgoing: Outgoing) -> Result<Response<Incoming>, Failure> {
        let request = self.request(outgoing).await?;
        self.connections().request(request).await.map_err(|error| {
            tracing::warn!(error = %Chain(&error), "reach the API server");
            unreachable()
        })
    }

    /// The connections of the event loop at hand.
    fn connections(&self) -> Connections {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let own = clients.entry(runtime::Handle::current().id()).or_insert_with(|| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .build(self.connector.clone())
        });
        own.clone()
    }

    async fn request(&self, outgoing: Outgoing) -> Result<Request<Full<Bytes>>, Failure> {
        let mut parts = self.server.clone().into_parts();
        let target = PathAndQuery::try_from(format!("{}{}", self.prefix, outgoing.target));
        parts.path_and_query = Some(target.map_err(|_error| malformed())?);
        let mut request = Request::new(Full::new(outgoing.body));
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_error| malformed())?;
        *request.method_mut() = outgoing.method;
        *request.headers_mut() = outgoing.headers;
        match &self.credential {
            Credential::Certificate => {}
            Credential::Token(token) => {
                request.headers_mut().insert(header::AUTHORIZATION, bearer(token.expose())?);
            }
            Credential::TokenFile(file) => {
                request.headers_mut().insert(header::AUTHORIZATION, self.token(file).await?);
            }
        }
        Ok(request)
    }

    async fn token(&self, file: &Path) -> Result<HeaderValue, Failure> {
        let known = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read, value)) = &known
            && read.elapsed() < TOKEN_AGE
        {
            return Ok(value.expose().clone());
        }
        match tokio::fs::read_to_string(file).await {
            Ok(text) => {
                let value = bearer(text.trim())?;
                let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
                *token = Some((Instant::now(), Secret::new(value.clone())));
                Ok(value)
            }
            Err(error) => {
                tracing::warn!(%error, file = %file.display(), "read the gateway's own token");
                known.map(|(_, value)| value.expose().clone()).ok_or_else(unreachable)
            }
        }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_not_a_header| unreachable())?;
    value.set_sensitive(true);
    Ok(value)
}

fn malformed() -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "BadRequest", "the request target cannot be sent on")
}

fn unreachable() -> Failure {
    let message = "the API server cannot be reached; try again later, and tell whoever runs the gateway";
    Failure::new(StatusCode::BAD_GATEWAY, "InternalError", message)
}

/// How long an idle connection is kept: shorter than the API server keeps it.
const IDLE: Duration = Duration::from_mins(1);
/// Most idle connections that an event loop keeps.
const IDLE_CONNECTIONS: usize = 64;
/// A watch of which nothing is heard is looked after by TCP.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How old a token from a file may be. The kubelet renews one long before it expires.
const TOKEN_AGE: Duration = Duration::from_mins(1);
