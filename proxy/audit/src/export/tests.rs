mod hostile;

use super::*;
use crate::event::{Event, EventName, SessionStamp, Severity, key};
use crate::note::{LogKey, SignedCheckpoint};
use crate::record::Record;
use crate::retention::Retention;
use crate::segment::Segment;
use crate::verify::{Outcome, verify};
use crate::{Spool, SpoolOptions};
use axum::http::StatusCode;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message as _;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{Code, Request, Response, Status};

const DEADLINE: Duration = Duration::from_secs(20);

/// A receiver that does what its script says, one entry per request, and accepts when the script is over.
#[derive(Clone, Default)]
struct Collector {
    script: Arc<Mutex<Vec<Act>>>,
    /// How often each sequence was accepted.
    accepted: Arc<Mutex<BTreeMap<i64, u32>>>,
    requests: Arc<Mutex<Vec<usize>>>,
    checkpoints: Arc<Mutex<Vec<String>>>,
}

/// Dies with its connections when it is dropped, as a killed process does.
struct Server(Option<tokio::runtime::Runtime>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

#[derive(Clone)]
enum Act {
    Fail(Code),
    Exhausted(Duration),
    Partial(i64),
    Hang,
}

impl Collector {
    fn scripted(acts: impl IntoIterator<Item = Act>) -> Self {
        let mut acts: Vec<Act> = acts.into_iter().collect();
        acts.reverse();
        Self { script: Arc::new(Mutex::new(acts)), ..Self::default() }
    }

    /// What to do with this request. Scripts are about records: checkpoints are accepted and kept.
    fn next_act(&self, request: &ExportLogsServiceRequest) -> Option<Act> {
        let record = &request.resource_logs[0].scope_logs[0].log_records[0];
        if record.event_name != EventName::Checkpoint.as_str() {
            return self.script.lock().unwrap().pop();
        }
        let note = record.attributes.iter().find(|attribute| attribute.key == key::CHECKPOINT_NOTE).unwrap();
        let Some(Any::StringValue(note)) = note.value.clone().unwrap().value else { panic!("{note:?}") };
        self.checkpoints.lock().unwrap().push(note);
        None
    }

    fn accept(&self, request: &ExportLogsServiceRequest) {
        let records =
            request.resource_logs.iter().flat_map(|logs| &logs.scope_logs).flat_map(|logs| &logs.log_records);
        let mut accepted = self.accepted.lock().unwrap();
        let mut count = 0;
        for record in records.filter(|record| record.event_name != EventName::Checkpoint.as_str()) {
            let record = Record::decode(&record.encode_to_vec()).expect("what arrives is what was recorded");
            *accepted.entry(record.int(key::SEQUENCE).unwrap()).or_default() += 1;
            count += 1;
        }
        if count > 0 {
            self.requests.lock().unwrap().push(count);
        }
    }

    fn sequences(&self) -> Vec<i64> {
        self.accepted.lock().unwrap().keys().copied().collect()
    }

    /// Serves gRPC until the returned server is dropped.
    fn serve(&self, address: Option<SocketAddr>) -> (SocketAddr, Server) {
        let listener = std::net::TcpListener::bind(address.unwrap_or(([127, 0, 0, 1], 0).into())).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service = LogsServiceServer::new(self.clone());
        runtime.spawn(async move {
            let incoming =
                tonic::transport::server::TcpIncoming::from(TcpListener::from_std(listener).unwrap());
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        (address, Server(Some(runtime)))
    }

    async fn serve_http(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let collector = self.clone();
        let logs =
            axum::routing::post(move |headers: axum::http::HeaderMap, body: axum::body::Bytes| async move {
                assert_eq!(headers["content-type"], "application/x-protobuf");
                assert_eq!(headers["x-tenant"], "t1");
                let request = ExportLogsServiceRequest::decode(body).unwrap();
                match collector.next_act(&request) {
                    Some(Act::Fail(Code::Unavailable)) => {
                        return (StatusCode::SERVICE_UNAVAILABLE, Vec::new());
                    }
                    Some(Act::Fail(_)) => return (StatusCode::BAD_REQUEST, Vec::new()),
                    Some(Act::Partial(rejected)) => {
                        return (StatusCode::OK, partial(rejected).encode_to_vec());
                    }
                    Some(Act::Exhausted(_) | Act::Hang) | None => {}
                }
                collector.accept(&request);
                (StatusCode::OK, ExportLogsServiceResponse::default().encode_to_vec())
            });
        let app =
            axum::Router::new().route("/v1/logs", logs).layer(axum::extract::DefaultBodyLimit::max(8 << 20));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        address
    }
}

fn partial(rejected_log_records: i64) -> ExportLogsServiceResponse {
    let partial = ExportLogsPartialSuccess { rejected_log_records, error_message: "too old".to_owned() };
    ExportLogsServiceResponse { partial_success: Some(partial) }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        match self.next_act(request.get_ref()) {
            Some(Act::Fail(code)) => return Err(Status::new(code, "scripted")),
            Some(Act::Exhausted(delay)) => {
                let details = grpc::retry_info(delay).into();
                return Err(Status::with_details(Code::ResourceExhausted, "slow down", details));
            }
            Some(Act::Partial(rejected)) => return Ok(Response::new(partial(rejected))),
            Some(Act::Hang) => std::future::pending().await,
            None => {}
        }
        self.accept(request.get_ref());
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

fn grpc_options(address: SocketAddr) -> ExportOptions {
    ExportOptions {
        initial_backoff: Duration::from_millis(5),
        max_backoff: Duration::from_millis(50),
        timeout: Duration::from_millis(500),
        headers: vec![("X-Tenant".to_owned(), "t1".to_owned())],
        ..ExportOptions::new(format!("http://{address}"), Protocol::Grpc)
    }
}

fn spool(directory: &TempDir) -> Spool {
    let options = SpoolOptions {
        segment_bytes: 40_000,
        ..SpoolOptions::new(directory.path().join("log"), "dev/default/orders/0")
    };
    Spool::open(&options).unwrap().0
}

async fn write(spool: &Spool, count: u64) {
    let session = SessionStamp::new(vec![(key::SESSION_ID.into(), "s1".into())]);
    for number in 0..count {
        let event = Event::new(EventName::Statement, Severity::Info, format!("statement {number}"));
        spool.append(&session, event).unwrap();
    }
    let end = spool.append(&session, Event::new(EventName::SessionEnd, Severity::Info, "end")).unwrap();
    spool.synced(end).await.unwrap();
}

async fn reached(exporter: &Exporter, next: u64) -> ExportStatus {
    let mut status = exporter.watch();
    let reached = tokio::time::timeout(DEADLINE, status.wait_for(|status| status.next >= next)).await;
    assert!(reached.is_ok(), "not exported in time: {:?}", exporter.status());
    exporter.status()
}

#[tokio::test]
async fn every_record_arrives_once_and_as_it_was_recorded() {
    let directory = TempDir::new().unwrap();
    let spool = spool(&directory);
    let collector = Collector::default();
    let (address, _server) = collector.serve(None);
    let exporter = Exporter::start(&spool, grpc_options(address)).unwrap();
    write(&spool, 1_500).await;
    let status = reached(&exporter, 1_502).await;
    assert_eq!((status.exported, status.rejected, status.last_error), (1_502, 0, None));
    assert_eq!(collector.sequences(), (0..1_502).collect::<Vec<_>>());
    assert!(collector.accepted.lock().unwrap().values().all(|count| *count == 1));
    assert!(collector.requests.lock().unwrap().iter().all(|count| *count <= 512));
    spool.close().await.unwrap();
    assert_eq!(exporter.drain(DEADLINE).await.lag, 0);
}

#[tokio::test]
async fn what_can_be_retried_is_retried_until_it_is_accepted() {
    let directory = TempDir::new().unwrap();
    let spool = spool(&directory);
    let codes = [
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::Aborted,
        Code::OutOfRange,
        Code::DataLoss,
        Code::Cancelled,
    ];
    let acts = codes.into_iter().map(Act::Fail).chain([Act::Hang, Act::Exhausted(Duration::from_millis(20))]);
    let collector = Collector::scripted(acts);
    let (address, _server) = collector.serve(None);
    write(&spool, 10).await;
    let exporter = Exporter::start(&spool, grpc_options(address)).unwrap();
    let status = reached(&exporter, 12).await;
    assert_eq!((status.exported, status.rejected, status.retries), (12, 0, 8));
    assert!(undelivered(spool.directory()).unwrap().is_empty());
}

#[tokio::test]
async fn what_is_refused_is_counted_and_listed_and_not_sent_again() {
    let directory = TempDir::new().unwrap();
    let spool = spool(&directory);
    let collector = Collector::scripted([
        Act::Partial(3),
        Act::Fail(Code::ResourceExhausted),
        Act::Fail(Code::InvalidArgument),
    ]);
    let (address, _server) = collector.serve(None);
    write(&spool, 1_600).await;
    let exporter = Exporter::start(&spool, grpc_options(address)).unwrap();
    let status = reached(&exporter, 1_602).await;
    assert_eq!((status.exported, status.rejected), (509 + 66, 3 + 1_024));
    let ranges: Vec<_> = undelivered(spool.directory())
        .unwrap()
        .into_iter()
        .map(|range| (range.first, range.last, range.rejected))
        .collect();
    assert_eq!(ranges, [(0, 511, 3), (512, 1_023, 512), (1_024, 1_535, 512)]);
    let span = Some(UndeliveredSpan { ranges: 3, first: 0, last: 1_535 });
    assert_eq!(status.undelivered, span);
    drop(exporter);
    let again = Exporter::start(&spool, grpc_options(address)).unwrap();
    assert_eq!(again.status().undelivered, span, "an earlier start's too");
    assert_eq!(collector.sequences(), (1_536..1_602).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_receiver_that_dies_and_comes_back_gets_everything() {
    let directory = TempDir::new().unwrap();
    let spool = spool(&directory);
    let collector = Collector::default();
    let (address, server) = collector.serve(None);
    let exporter = Exporter::start(&spool, grpc_options(address)).unwrap();
    write(&spool, 100).await;
    reached(&exporter, 102).await;
    drop(server);
    write(&spool, 100).await;
    let mut status = exporter.watch();
    tokio::time::timeout(DEADLINE, status.wait_for(|status| status.retries > 2)).await.unwrap().unwrap();
    assert!(exporter.status().last_error.is_some());
    let (_, _server) = collector.serve(Some(address));
    reached(&exporter, 203).await;
    assert_eq!(collector.sequences(), (0..203).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_cursor_survives_a_restart_and_a_closed_log_is_finished() {
    let directory = TempDir::new().unwrap();
    let collector = Collector::default();
    let (address, _server) = collector.serve(None);
    let log = {
        let spool = spool(&directory);
        let exporter = Exporter::start(&spool, grpc_options(address)).unwrap();
        write(&spool, 300).await;
        reached(&exporter, 302).await;
        drop(exporter);
        write(&spool, 600).await;
        spool.close().await.unwrap();
        spool.directory().to_owned()
    };
    let exporter = Exporter::finish(&log, grpc_options(address)).unwrap();
    assert_eq!(exporter.status().next, 302);
    let status = exporter.drain(DEADLINE).await;
    assert_eq!((status.next, status.lag), (903, 0));
    assert_eq!(collector.sequences(), (0..903).collect::<Vec<_>>());
    assert!(collector.accepted.lock().unwrap().values().all(|count| *count == 1));
}

#[tokio::test]
async fn over_http_the_same_rules_hold() {
    let directory = TempDir::new().unwrap();
    let spool = spool(&directory);
    let script = [Act::Fail(Code::Unavailable), Act::Partial(2), Act::Fail(Code::InvalidArgument)];
    let collector = Collector::scripted(script);
    let address = collector.serve_http().await;
    let options = ExportOptions { protocol: Protocol::HttpProtobuf, ..grpc_options(address) };
    write(&spool, 1_100).await;
    let exporter = Exporter::start(&spool, options).unwrap();
    let status = reached(&exporter, 1_102).await;
    assert_eq!((status.exported, status.rejected, status.retries), (510 + 78, 2 + 512, 1));
    assert_eq!(collector.sequences(), (1_024..1_102).collect::<Vec<_>>());
}

#[tokio::test]
async fn exported_segments_are_removed_only_when_configured_and_accepted() {
    let directory = TempDir::new().unwrap();
    let spool = spool(&directory);
    let collector = Collector::default();
    let (address, _server) = collector.serve(None);
    let retention = Retention { older_than: Duration::ZERO, exported: true, archive: None };
    write(&spool, 600).await;
    let before = Segment::list(spool.directory()).unwrap().len();
    assert_eq!(retention.apply(&spool).await.unwrap(), 0, "nothing is accepted yet");
    let exporter = Exporter::start(&spool, grpc_options(address)).unwrap();
    reached(&exporter, 602).await;
    assert!(retention.apply(&spool).await.unwrap() > 0);
    // And the one that says what was removed.
    reached(&exporter, 603).await;
    spool.close().await.unwrap();
    let left = Segment::list(spool.directory()).unwrap();
    assert!(before > 3 && left.len() == 1, "{before} segments, then {left:?}");
    let report = verify(spool.directory(), None).unwrap();
    assert_eq!((report.outcome, report.removed_below), (Outcome::Ok, Some(report.first)), "{report:?}");
    drop((exporter, spool));
    let options = SpoolOptions::new(directory.path().join("log"), "dev/default/orders/0");
    let (_, recovery) = Spool::open(&options).expect("a log without its beginning is opened");
    assert_eq!((recovery.records, recovery.torn_bytes), (603, 0));
}

#[test]
fn unusable_settings_are_refused_and_secrets_not_printed() {
    let options = |endpoint: &str| ExportOptions {
        headers: vec![("authorization".to_owned(), "Bearer s3cret".to_owned())],
        ..ExportOptions::new(endpoint, Protocol::HttpProtobuf)
    };
    assert!(http::Sender::new(&options("not a url")).is_err());
    let bad =
        ExportOptions { headers: vec![("a b".to_owned(), "c".to_owned())], ..options("http://localhost:1") };
    assert!(http::Sender::new(&bad).is_err());
    assert!(!format!("{:?}", options("http://localhost:1")).contains("s3cret"));
}

#[tokio::test]
async fn the_checkpoint_over_all_records_arrives_after_them() {
    let directory = TempDir::new().unwrap();
    let collector = Collector::default();
    let (address, _server) = collector.serve(None);
    let spool = spool(&directory);
    let exporter = Exporter::start(&spool, grpc_options(address)).unwrap();
    write(&spool, 30).await;
    spool.close().await.unwrap();
    let end = exporter.drain(DEADLINE).await;
    assert_eq!((end.lag, end.unsigned), (0, 0));
    let key =
        LogKey::parse(&std::fs::read_to_string(directory.path().join("log/log.vkey")).unwrap()).unwrap();
    let notes = collector.checkpoints.lock().unwrap().clone();
    let last = SignedCheckpoint::parse(notes.last().unwrap()).unwrap();
    assert_eq!(last.verify(&key).unwrap().size, end.next, "{notes:?}");
}
