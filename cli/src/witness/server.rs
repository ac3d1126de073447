//! The witness's HTTP side.

use crate::output::Output;
use anyhow::Context as _;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use proxy_audit::witness::{Answer, MAX_REQUEST_BYTES, SIZE_TYPE, Witness};
use serde::Deserialize;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Listens until it is told to stop. Prints its key and a ready line once it can be asked.
pub(super) async fn run(witness: Witness, listen: SocketAddr, output: &mut Output) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
    let address = listener.local_addr().context("read the listening address")?;
    writeln!(anstream::stderr(), "public key of this witness: {}", witness.key())?;
    output.line(&format!("ready: {} http://{address}", witness.key()))?;
    axum::serve(listener, router(witness)).with_graceful_shutdown(told_to_stop()).await.context("serve")
}

/// The calls.
pub(super) fn router(witness: Witness) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/add-log", post(add_log))
        .route("/logs", get(logs))
        .route("/key", get(key))
        .route("/healthz", get(async || "ok\n"))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(Arc::new(witness))
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: String) -> Response {
    on_disk(move || witness.add_checkpoint(&body, now())).await
}

async fn add_log(State(witness): State<Arc<Witness>>, body: String) -> Response {
    on_disk(move || witness.add_log(&body)).await
}

/// Query of `GET logs`.
#[derive(Deserialize)]
struct Asked {
    /// What has to be in the answer.
    #[serde(default)]
    nonce: String,
}

async fn logs(State(witness): State<Arc<Witness>>, Query(asked): Query<Asked>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], witness.statement(&asked.nonce, now())).into_response()
}

async fn key(State(witness): State<Arc<Witness>>) -> String {
    format!("{}\n", witness.key())
}

/// The witness syncs what it keeps before it answers.
async fn on_disk(work: impl FnOnce() -> Answer + Send + 'static) -> Response {
    tokio::task::spawn_blocking(work).await.map_or(StatusCode::INTERNAL_SERVER_ERROR.into_response(), respond)
}

fn respond(answer: Answer) -> Response {
    let refuse = |status: StatusCode, why: &str| (status, format!("{why}\n")).into_response();
    match answer {
        Answer::Done(lines) => lines.into_response(),
        Answer::Malformed => refuse(StatusCode::BAD_REQUEST, "not a request of c2sp.org/tlog-witness"),
        Answer::Untrusted => refuse(StatusCode::FORBIDDEN, "not signed by a key that is trusted for this"),
        Answer::UnknownLog => refuse(StatusCode::NOT_FOUND, "this log is not known"),
        Answer::Conflict(size) => {
            let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(SIZE_TYPE))];
            (StatusCode::CONFLICT, kind, format!("{size}\n")).into_response()
        }
        Answer::OtherKey => refuse(StatusCode::CONFLICT, "this log is known by another key"),
        Answer::BadProof => {
            refuse(StatusCode::UNPROCESSABLE_ENTITY, "the proof does not prove that the log only grew")
        }
        Answer::NotKept => refuse(StatusCode::INTERNAL_SERVER_ERROR, "it could not be kept"),
    }
}

fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

/// Ends with an interrupt or a termination signal.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
