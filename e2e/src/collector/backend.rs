//! What is behind the Collector: takes OTLP by HTTP and keeps the records.

use anyhow::{Result, ensure};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use prost::Message as _;
use proxy_audit::event::{EventName, key};
use proxy_audit::record::Record;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Runtime;

/// A log store. Ends with its value.
#[derive(Debug)]
pub struct Backend {
    port: u16,
    kept: Arc<Mutex<Kept>>,
    _runtime: Runtime,
}

#[derive(Debug, Default)]
struct Kept {
    /// Every copy of a record, by `portcullis.record.id`.
    records: BTreeMap<String, Vec<Record>>,
    /// Requests or records that could not be read.
    strangers: Vec<String>,
    /// Every request, in OTLP's JSON form.
    requests: Vec<String>,
}

impl Backend {
    /// Starts it on a free loopback port.
    ///
    /// # Errors
    /// There is none.
    pub fn start() -> Result<Self> {
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

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Those of these records that did not come.
    pub fn missing(&self, records: &[Record]) -> Vec<String> {
        let kept = locked(&self.kept);
        records.iter().map(id).filter(|id| !kept.records.contains_key(*id)).map(str::to_owned).collect()
    }

    /// Whether every copy of each of these records is what it is in its log, byte for byte, and nothing came that is no
    /// record.
    ///
    /// # Errors
    /// It is not; with what came.
    pub fn has_exactly(&self, records: &[Record]) -> Result<()> {
        let kept = locked(&self.kept);
        for record in records {
            let copies = kept.records.get(id(record)).map_or(&[][..], Vec::as_slice);
            ensure!(!copies.is_empty(), "record {} did not come: {}", id(record), kept.summary());
            let is_other = |copy: &&Record| copy.leaf_hash() != record.leaf_hash();
            let changed = copies.iter().find(is_other);
            ensure!(changed.is_none(), "record {} came changed: {}", id(record), kept.summary());
        }
        ensure!(kept.strangers.is_empty(), "something came that is no record: {}", kept.summary());
        Ok(())
    }

    /// Everything that came, each record once.
    pub fn records(&self) -> Vec<Record> {
        locked(&self.kept).records.values().filter_map(|copies| copies.first()).cloned().collect()
    }

    /// Writes what came to a file in JSON, a request a line, as the Collector's file exporter does.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_to(&self, path: &Path) -> Result<()> {
        let lines: String =
            locked(&self.kept).requests.iter().flat_map(|request| [request.as_str(), "\n"]).collect();
        Ok(std::fs::write(path, lines)?)
    }

    /// What came, for an error message.
    pub fn summary(&self) -> String {
        locked(&self.kept).summary()
    }
}

impl Kept {
    fn summary(&self) -> String {
        let name =
            |copies: &Vec<Record>| copies.first().map(|copy| (copy.sequence(), copy.name().to_owned()));
        let copies: Vec<_> = self.records.values().map(|copies| (name(copies), copies.len())).collect();
        format!("records and copies {copies:?}, strangers {:?}", self.strangers)
    }
}

fn id(record: &Record) -> &str {
    record.text(key::RECORD_ID).unwrap_or_default()
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take(State(kept): State<Arc<Mutex<Kept>>>, body: Bytes) -> impl IntoResponse {
    let mut kept = locked(&kept);
    match ExportLogsServiceRequest::decode(body) {
        Err(error) => kept.strangers.push(error.to_string()),
        Ok(request) => {
            match serde_json::to_string(&request) {
                Ok(json) => kept.requests.push(json),
                Err(error) => kept.strangers.push(error.to_string()),
            }
            let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
            for log_record in scopes.flat_map(|scope| scope.log_records) {
                // Evidence about records, and none itself.
                if log_record.event_name == EventName::Checkpoint.as_str() {
                    continue;
                }
                // The hash that the chain has, of the bytes as this backend has them.
                match Record::from_log_record(&log_record) {
                    Ok(record) => kept.records.entry(id(&record).to_owned()).or_default().push(record),
                    Err(error) => kept.strangers.push(format!("{error}: {log_record:?}")),
                }
            }
        }
    }
    // all of it was taken: the empty response
    ([(CONTENT_TYPE, "application/x-protobuf")], ExportLogsServiceResponse::default().encode_to_vec())
}
