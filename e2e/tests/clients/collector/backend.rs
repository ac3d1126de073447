//! What is behind the Collector: takes OTLP in JSON and keeps the records.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;
use proxy_audit::record::Record;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A log store.
pub(super) struct Backend {
    port: u16,
    kept: Arc<Mutex<Kept>>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Kept {
    /// Leaf hashes of the copies by `portcullis.seq`.
    records: BTreeMap<u64, Vec<Vec<u8>>>,
    /// Requests or records that could not be read.
    strangers: Vec<String>,
}

impl Backend {
    pub(super) fn start() -> Result<Self> {
        let kept = Arc::<Mutex<Kept>>::default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)))?;
        let port = listener.local_addr()?.port();
        let service = axum::Router::new()
            .route("/v1/logs", post(take))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&kept));
        runtime.spawn(async move { axum::serve(listener, service).await });
        Ok(Self { port, kept, _runtime: runtime })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Leaf hashes of the copies by `portcullis.seq`.
    pub(super) fn received(&self) -> BTreeMap<u64, Vec<Vec<u8>>> {
        locked(&self.kept).records.clone()
    }

    /// How many things came that are no record.
    pub(super) fn strangers(&self) -> usize {
        locked(&self.kept).strangers.len()
    }

    /// What came, for an error message.
    pub(super) fn summary(&self) -> String {
        let kept = locked(&self.kept);
        let copies: Vec<_> = kept.records.iter().map(|(sequence, copies)| (sequence, copies.len())).collect();
        format!("records and copies {copies:?}, strangers {:?}", kept.strangers)
    }
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take(State(kept): State<Arc<Mutex<Kept>>>, body: String) -> Json<Value> {
    let mut kept = locked(&kept);
    match serde_json::from_str::<ExportLogsServiceRequest>(&body) {
        Err(error) => kept.strangers.push(format!("{error}: {body}")),
        Ok(request) => {
            let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
            for log_record in scopes.flat_map(|scope| scope.log_records) {
                // The hash that the chain has, of the bytes as this backend has them.
                match Record::decode(&log_record.encode_to_vec()) {
                    Ok(record) => {
                        kept.records.entry(record.sequence()).or_default().push(record.leaf_hash().to_vec());
                    }
                    Err(error) => kept.strangers.push(format!("{error}: {log_record:?}")),
                }
            }
        }
    }
    Json(json!({}))
}
