//! The issuer's HTTP side.

use super::mint::{TokenRequest, mint};
use super::store::Store;
use crate::output::Output;
use anyhow::Context as _;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

/// What every handler shares.
#[derive(Clone)]
struct Issuer {
    url: String,
    store: Arc<Mutex<Store>>,
}

/// Listens until it is interrupted. Prints a ready line with the issuer's name once it can be asked.
pub(super) async fn run(mut store: Store, listen: SocketAddr, output: &mut Output) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
    let url = format!("http://{}", listener.local_addr().context("read the listening address")?);
    store.set_issuer(url.clone())?;
    writeln!(
        anstream::stderr(),
        "FOR DEVELOPMENT ONLY: this issuer gives anybody a token for any name. Never trust it in production."
    )?;
    output.line(&format!("ready: {url}"))?;
    let router = router(Issuer { url, store: Arc::new(Mutex::new(store)) });
    axum::serve(listener, router).with_graceful_shutdown(interrupted()).await.context("serve")
}

fn router(issuer: Issuer) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(jwks))
        .route("/token", post(token))
        .route("/rotate", post(rotate))
        .layer(axum::middleware::from_fn(local_only))
        .with_state(issuer)
}

/// Refuses requests that name another host: a web page whose name was made to resolve to loopback.
async fn local_only(headers: HeaderMap, request: axum::extract::Request, next: Next) -> Response {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(|host| host.parse::<Uri>().ok());
    let local = host.as_ref().and_then(Uri::host).is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    });
    if local { next.run(request).await } else { StatusCode::MISDIRECTED_REQUEST.into_response() }
}

async fn discovery(State(issuer): State<Issuer>) -> Response {
    let url = &issuer.url;
    Json(json!({
        "issuer": url,
        "jwks_uri": format!("{url}/jwks"),
        "token_endpoint": format!("{url}/token"),
        "authorization_endpoint": format!("{url}/authorize"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
    .into_response()
}

async fn jwks(State(issuer): State<Issuer>) -> Result<Response, Failure> {
    Ok(Json(issuer.with_store(|store| store.published())?).into_response())
}

async fn token(State(issuer): State<Issuer>, Json(request): Json<TokenRequest>) -> Result<Response, Failure> {
    let lifetime = request.ttl_seconds;
    let now = jiff::Timestamp::now();
    let token = issuer.with_store(|store| mint(&issuer.url, store.signing_key()?, request, now))?;
    let body = json!({
        "access_token": token, "id_token": token, "token_type": "Bearer", "expires_in": lifetime,
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// Query of `POST /rotate`.
#[derive(Deserialize)]
struct Rotation {
    /// Unpublish the older keys at once.
    #[serde(default)]
    retire: bool,
}

async fn rotate(State(issuer): State<Issuer>, Query(rotation): Query<Rotation>) -> Result<Response, Failure> {
    let id = issuer.with_store(|store| store.rotate(rotation.retire))?;
    Ok(Json(json!({ "kid": id })).into_response())
}

impl Issuer {
    fn with_store<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        // A panic in between leaves at worst an unpublished key: the next caller may go on.
        work(&mut self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An error for whoever develops: all of it.
struct Failure(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({ "error": format!("{:#}", self.0) }))).into_response()
    }
}

/// Ends with an interrupt or a termination signal.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
