//! One connection: TLS, HTTP/1.1 or HTTP/2, and a session for each token that it presents.

use crate::credential;
use crate::relay;
use crate::request::{refuse_credentials, refuse_headers};
use crate::server::Shared;
use crate::session::{Peer, Session};
use crate::status::{Body, Failure};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use proxy_core::authn::BearerToken;
use sha2::{Digest as _, Sha256};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the requests of one connection share.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    peer: Peer,
    /// By a digest of the token; opened one after the other.
    sessions: tokio::sync::Mutex<Vec<([u8; 32], Arc<Session>)>>,
    /// Dropped when the first session begins.
    unauthenticated: Mutex<Option<Box<dyn Send>>>,
    /// Fires when there is a session.
    pub(crate) authenticated: CancellationToken,
    /// Fires when the connection is over.
    closed: CancellationToken,
    /// Requests, and streams that outlive theirs.
    pub(crate) streams: TaskTracker,
    /// Room for the bodies of its requests.
    pub(crate) budget: relay::Budget,
    /// Those who look after sessions.
    watchers: TaskTracker,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, peer: Peer, unauthenticated: Box<dyn Send>) -> Self {
        Self {
            budget: relay::Budget::new(shared.options.limits.connection_bytes),
            shared,
            peer,
            sessions: tokio::sync::Mutex::default(),
            unauthenticated: Mutex::new(Some(unauthenticated)),
            authenticated: CancellationToken::new(),
            closed: CancellationToken::new(),
            streams: TaskTracker::new(),
            watchers: TaskTracker::new(),
        }
    }

    /// Answers one request; a refusal is an answer.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        Ok(self.answer(request).await.unwrap_or_else(|failure| failure.response()))
    }

    async fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Body>, Failure> {
        refuse_credentials(request.headers())?;
        // whoever tries to be somebody else does so on record
        let refused = refuse_headers(request.headers());
        let token = credential::take(request.headers_mut())?;
        let session = self.session(&token, request.headers()).await?;
        if session.ended().is_cancelled() {
            return Err(session.reason());
        }
        if let Err(refused) = refused {
            return Err(relay::note(&session, &request, refused.into()).await);
        }
        Box::pin(relay::serve(&self, session, request)).await
    }

    /// The session of a token, opened if it is new on this connection.
    async fn session(&self, token: &BearerToken, headers: &HeaderMap) -> Result<Arc<Session>, Failure> {
        let digest: [u8; 32] = Sha256::digest(token.expose().as_bytes()).into();
        let mut sessions = self.sessions.lock().await;
        if let Some((_, session)) = sessions.iter().find(|(known, _)| *known == digest) {
            return Ok(Arc::clone(session));
        }
        // A client keeps its connection when its token is renewed. What has ended stays known, so that its token is
        // refused for the reason it ended for.
        let live = sessions.iter().filter(|(_, session)| !session.ended().is_cancelled()).count();
        if live >= self.shared.options.limits.sessions {
            return Err(Failure::new(
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequests",
                "one connection presents too many tokens; open another",
            ));
        }
        let verified = self.shared.authenticator.verify(token).await.map_err(Failure::from)?;
        let resource = Arc::clone(&self.shared.resource);
        let session = Session::open(verified, resource, &self.shared.options, &self.peer, headers).await?;
        let session = Arc::new(session);
        let (watched, closed) = (Arc::clone(&session), self.closed.clone());
        self.watchers.spawn(async move { watched.look_after(&closed).await });
        sessions.push((digest, Arc::clone(&session)));
        drop(sessions);
        self.unauthenticated.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.authenticated.cancel();
        Ok(session)
    }

    /// Ends every session once its streams are over. Called when nothing more is read from the connection.
    pub(crate) async fn close(self: Arc<Self>, reason: &'static str) {
        self.streams.close();
        self.streams.wait().await;
        self.closed.cancel();
        self.watchers.close();
        self.watchers.wait().await;
        let sessions = std::mem::take(&mut *self.sessions.lock().await);
        for (_, session) in sessions {
            if let Some(session) = Arc::into_inner(session) {
                session.close(reason).await;
            } else {
                tracing::error!("a session is still in use after its connection's end");
            }
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}
