//! The endpoint for whoever runs the gateway: health, readiness, metrics, and what is in force.
//!
//! Plain HTTP without authentication, so it listens on loopback unless told otherwise. Nothing it shows is secret:
//! no credential, no identity, no command.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What is in force.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// New sessions should come here.
    pub ready: bool,
    /// Why they should not, though there may be a configuration in force. Absent when they should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// The gateway was told to stop.
    pub draining: bool,
    /// When the configuration in force was taken over, RFC 3339.
    pub loaded_at: Option<String>,
    /// SHA-256 of the configuration in force, in hex.
    pub digest: String,
    /// Why the newest configuration is not in force; empty when it is.
    pub problems: Vec<String>,
    /// What is suspicious in the configuration in force.
    pub warnings: Vec<String>,
    /// What is listened for.
    pub resources: Vec<Listening>,
}

/// A Resource that is listened for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listening {
    /// Namespace of the Resource.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its protocol.
    pub protocol: &'static str,
    /// The address that clients connect to, with the actual port.
    pub address: String,
    /// SHA-256 of the policies in force, in hex, as on every record.
    pub policies: String,
    /// Directory of its audit log.
    pub log: String,
}

#[derive(Clone, Debug)]
struct Shared {
    registry: Arc<Registry>,
    status: watch::Receiver<Status>,
}

/// Answers until `stop`. In-flight answers are finished.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    registry: Arc<Registry>,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/configz", get(configz))
        .route("/resources", get(resources))
        .with_state(Shared { registry, status });
    let (room, answering) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    loop {
        // Whoever connects and says nothing must keep neither the kubelet nor a scraper out for long.
        let next = async { (room.clone().acquire_owned().await, listener.accept().await) };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        let (stream, _) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept on the admin endpoint");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(routes.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let stop = stop.clone();
        answering.spawn(async move {
            tokio::pin!(connection);
            let answered = tokio::select! {
                answered = connection.as_mut() => answered,
                // who asks and does not listen has no place for ever; a scraper connects again
                () = tokio::time::sleep(10 * PATIENCE) => Ok(()),
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "a connection to the admin endpoint broke off");
            }
            drop(permit);
        });
    }
    answering.close();
    answering.wait().await;
    Ok(())
}

/// Connections at once: the kubelet, scrapers, and people who look.
const CONNECTIONS: usize = 64;
/// How long the head of a request may be on its way, and a connection idle between two.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before another try where there is no descriptor left for a connection.
const PAUSE: Duration = Duration::from_millis(100);

async fn readyz(State(shared): State<Shared>) -> Response {
    let status = shared.status.borrow();
    match (status.ready, status.draining) {
        (_, true) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response(),
        (true, false) => "ready\n".into_response(),
        (false, false) => {
            let reason = status.waiting_for.as_deref().unwrap_or("starting");
            (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response()
        }
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shared.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "encode metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn configz(State(shared): State<Shared>) -> Json<Status> {
    Json(shared.status.borrow().clone())
}

async fn resources(State(shared): State<Shared>) -> Json<Vec<Listening>> {
    Json(shared.status.borrow().resources.clone())
}

/// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    #[tokio::test(start_paused = true)]
    async fn whoever_connects_and_says_nothing_keeps_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_status, status) = watch::channel(Status::default());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, Arc::default(), status, stop.clone()));
        let mut silent = Vec::new();
        for number in 0..CONNECTIONS {
            let mut one = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                one.write_all(b"GET /healthz HT").await.unwrap();
            }
            silent.push(one);
        }
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}
