//! What is behind the Collector: takes OTLP by HTTP and keeps the records, unless it is told otherwise.

use anyhow::{Result, ensure};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
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
    /// What was taken of every request, in OTLP's JSON form.
    requests: Vec<String>,
    /// Takes nothing for now.
    away: bool,
    /// Refuses records whose sequence is a multiple of this.
    refuses_every: Option<u64>,
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

    /// Takes nothing from now on, as one that is overloaded.
    pub fn go_away(&self) {
        locked(&self.kept).away = true;
    }

    /// Takes what comes again.
    pub fn come_back(&self) {
        locked(&self.kept).away = false;
    }

    /// Refuses, within requests that it takes, every record whose sequence is a multiple of this.
    pub fn refuse_every(&self, nth: u64) {
        locked(&self.kept).refuses_every = Some(nth);
    }

    /// How many records came more than once.
    pub fn repeated(&self) -> usize {
        locked(&self.kept).records.values().filter(|copies| copies.len() > 1).count()
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
            ensure!(!copies.is_empty(), "record {} did not come: {}", record.sequence(), kept.summary());
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
    /// Keeps what it does not refuse; gives how many it does.
    fn keep(&mut self, mut request: ExportLogsServiceRequest) -> i64 {
        let mut refused = 0;
        for scope in request.resource_logs.iter_mut().flat_map(|resource| &mut resource.scope_logs) {
            scope.log_records.retain(|log_record| {
                let taken = self.take(log_record);
                refused += i64::from(!taken);
                taken
            });
        }
        match serde_json::to_string(&request) {
            Ok(json) => self.requests.push(json),
            Err(error) => self.strangers.push(error.to_string()),
        }
        refused
    }

    fn take(&mut self, log_record: &LogRecord) -> bool {
        // Evidence about records, and none itself.
        if log_record.event_name == EventName::Checkpoint.as_str() {
            return true;
        }
        // The hash that the chain has, of the bytes as this backend has them.
        match Record::from_log_record(log_record) {
            Ok(record) if self.refuses_every.is_some_and(|nth| record.sequence().is_multiple_of(nth)) => {
                return false;
            }
            Ok(record) => self.records.entry(id(&record).to_owned()).or_default().push(record),
            Err(error) => self.strangers.push(format!("{error}: {log_record:?}")),
        }
        true
    }

    fn summary(&self) -> String {
        let name =
            |copies: &Vec<Record>| copies.first().map(|copy| (copy.sequence(), copy.name().to_owned()));
        let repeated: Vec<_> = self
            .records
            .values()
            .filter(|copies| copies.len() > 1)
            .map(|copies| (name(copies), copies.len()))
            .collect();
        format!("{} records, more than once {repeated:?}, strangers {:?}", self.records.len(), self.strangers)
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
    let (status, refused) = match ExportLogsServiceRequest::decode(body) {
        _ if kept.away => (StatusCode::SERVICE_UNAVAILABLE, 0),
        Ok(request) => (StatusCode::OK, kept.keep(request)),
        Err(error) => {
            kept.strangers.push(error.to_string());
            (StatusCode::OK, 0)
        }
    };
    // all of it was taken: the empty response
    let partial = (refused > 0).then(|| ExportLogsPartialSuccess {
        rejected_log_records: refused,
        error_message: "a multiple".to_owned(),
    });
    let response = ExportLogsServiceResponse { partial_success: partial };
    (status, [(CONTENT_TYPE, "application/x-protobuf")], response.encode_to_vec())
}
