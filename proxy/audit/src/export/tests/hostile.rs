//! A receiver that does everything that receivers do to one's records: refuses every seventh, is away, is killed, and
//! acknowledges what it then loses. Nothing is lost without being named.
//!
//! `PORTCULLIS_LONG=1` sends 100,000 records instead of some thousands.

use super::*;
use crate::source::{OtlpSource, Part};
use crate::verify::verify_otlp;
use std::collections::BTreeSet;

fn count() -> u64 {
    if std::env::var_os("PORTCULLIS_LONG").is_some() { 100_000 } else { 4_000 }
}

#[derive(Default)]
struct Kept {
    requests: u64,
    accepted: BTreeMap<u64, u32>,
    refused: BTreeSet<u64>,
    lost: BTreeSet<u64>,
    /// Requests of an outage that are still to fail.
    away: u64,
    /// What is left in the end, in JSON.
    lines: String,
}

#[derive(Clone, Default)]
struct Hostile {
    kept: Arc<Mutex<Kept>>,
    /// Records of these requests are acknowledged and thrown away.
    loses_every: Option<u64>,
    refuses_every: Option<u64>,
}

impl Hostile {
    async fn serve(&self, address: Option<SocketAddr>) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind(address.unwrap_or(([127, 0, 0, 1], 0).into())).await.unwrap();
        let address = listener.local_addr().unwrap();
        let hostile = self.clone();
        let logs = axum::routing::post(move |body: axum::body::Bytes| async move { hostile.take(&body) });
        let app =
            axum::Router::new().route("/v1/logs", logs).layer(axum::extract::DefaultBodyLimit::disable());
        (address, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
    }

    fn take(&self, body: &[u8]) -> (StatusCode, Vec<u8>) {
        let mut kept = self.kept.lock().unwrap();
        if kept.away > 0 {
            kept.away -= 1;
            return (StatusCode::SERVICE_UNAVAILABLE, Vec::new());
        }
        kept.requests += 1;
        let mut request = ExportLogsServiceRequest::decode(body).unwrap();
        let records = &mut request.resource_logs[0].scope_logs[0].log_records;
        let mut refused = 0;
        let loses = self.loses_every.is_some_and(|every| kept.requests.is_multiple_of(every));
        records.retain(|record| {
            let Ok(record) = Record::from_log_record(record) else { return true };
            let sequence = record.sequence();
            if self.refuses_every.is_some_and(|every| sequence % every == every - 1) {
                kept.refused.insert(sequence);
                refused += 1;
                return false;
            }
            if loses {
                kept.lost.insert(sequence);
                return false;
            }
            *kept.accepted.entry(sequence).or_default() += 1;
            true
        });
        kept.lines += &(serde_json::to_string(&request).unwrap() + "\n");
        let reply = if refused > 0 { partial(refused) } else { ExportLogsServiceResponse::default() };
        (StatusCode::OK, reply.encode_to_vec())
    }
}

/// Back-off that makes half an hour of a receiver's absence a matter of seconds.
fn options(address: SocketAddr) -> ExportOptions {
    let mut options = ExportOptions::new(format!("http://{address}"), Protocol::HttpProtobuf);
    options.initial_backoff = Duration::from_millis(1);
    options.max_backoff = Duration::from_millis(5);
    options
}

/// One session of so many statements.
async fn fill(spool: &Spool, count: u64) {
    let session = SessionStamp::new(vec![(key::SESSION_ID.into(), uuid::Uuid::now_v7().to_string().into())]);
    for number in 0..count {
        let event = Event::new(EventName::Statement, Severity::Info, "statement").with(key::COMMAND, number);
        spool.append(&session, event).unwrap();
        if number.is_multiple_of(512) {
            tokio::task::yield_now().await;
        }
    }
}

/// What verification says of what the receiver has left, and the ranges that it misses.
fn missing(kept: &Kept, directory: &TempDir) -> BTreeSet<u64> {
    let file = directory.path().join("copies.json");
    std::fs::write(&file, &kept.lines).unwrap();
    let key =
        LogKey::parse(&std::fs::read_to_string(directory.path().join("log/log.vkey")).unwrap()).unwrap();
    let reports = verify_otlp(&OtlpSource::new(vec![Part::whole(file)]), &[key]).unwrap();
    assert!(reports.iter().all(|report| report.outcome != Outcome::Tampered), "{reports:?}");
    reports
        .iter()
        .flat_map(|report| &report.problems)
        .filter(|problem| {
            problem.what.contains("did not arrive") || problem.what.contains("not among the copies")
        })
        .flat_map(|problem| problem.first.unwrap()..=problem.last.unwrap())
        .collect()
}

async fn drained(exporter: Exporter) -> ExportStatus {
    let status = exporter.drain(Duration::from_mins(2)).await;
    assert_eq!((status.lag, status.unsigned), (0, 0), "{status:?}");
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_seventh_record_refused_is_listed_and_the_rest_is_there() {
    let directory = TempDir::new().unwrap();
    let hostile = Hostile { refuses_every: Some(7), ..Hostile::default() };
    let (address, _server) = hostile.serve(None).await;
    let spool = spool(&directory);
    let exporter = Exporter::start(&spool, options(address)).unwrap();
    fill(&spool, count()).await;
    spool.close().await.unwrap();
    let status = drained(exporter).await;
    let kept = hostile.kept.lock().unwrap();
    let listed = undelivered(&directory.path().join("log")).unwrap();
    assert_eq!(listed.iter().map(|range| range.rejected).sum::<u64>(), kept.refused.len() as u64);
    assert_eq!(status.rejected, kept.refused.len() as u64);
    let within = |sequence: &u64| listed.iter().any(|range| (range.first..=range.last).contains(sequence));
    assert!(kept.refused.iter().all(within), "a refused record is in no listed range");
    assert_eq!(kept.accepted.len() as u64 + kept.refused.len() as u64, status.next);
    assert_eq!(missing(&kept, &directory), kept.refused);
    println!("{} records, {} refused and listed", status.next, kept.refused.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_away_for_half_an_hour_and_killed_twice_gets_everything() {
    let directory = TempDir::new().unwrap();
    let hostile = Hostile::default();
    let (address, server) = hostile.serve(None).await;
    let spool = spool(&directory);
    let exporter = Exporter::start(&spool, options(address)).unwrap();
    fill(&spool, count() / 2).await;
    // 30 minutes at the default's longest pause are 60 attempts; here are more.
    hostile.kept.lock().unwrap().away = 200;
    fill(&spool, count() / 4).await;
    server.abort();
    drop(server.await);
    let (_, server) = hostile.serve(Some(address)).await;
    fill(&spool, count() / 4).await;
    server.abort();
    drop(server.await);
    let (_, _server) = hostile.serve(Some(address)).await;
    spool.close().await.unwrap();
    let status = drained(exporter).await;
    let kept = hostile.kept.lock().unwrap();
    assert_eq!(kept.accepted.keys().copied().collect::<Vec<_>>(), (0..status.next).collect::<Vec<_>>());
    assert_eq!(missing(&kept, &directory), BTreeSet::new());
    let twice = kept.accepted.values().filter(|times| **times > 1).count();
    println!("{} records, {twice} of them more than once, {} retries", status.next, status.retries);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_and_lost_is_named_by_verification() {
    let directory = TempDir::new().unwrap();
    let hostile = Hostile { loses_every: Some(3), ..Hostile::default() };
    let (address, _server) = hostile.serve(None).await;
    let spool = spool(&directory);
    let exporter = Exporter::start(&spool, options(address)).unwrap();
    fill(&spool, count()).await;
    spool.close().await.unwrap();
    let status = drained(exporter).await;
    let kept = hostile.kept.lock().unwrap();
    assert!(!kept.lost.is_empty(), "it lost something");
    assert_eq!(missing(&kept, &directory), kept.lost);
    println!("{} records, {} acknowledged and lost, all named", status.next, kept.lost.len());
}
