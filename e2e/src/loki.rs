//! Loki's query API over HTTP, by its documentation, and [Loki itself](Itself), which takes minutes to build.
//!
//! Of the first:
//! Entries are as its ingestion of OTLP keeps them, and it has the limits that a Loki has: the length of a query, the
//! entries of an answer, a tenant. Of `LogQL` it understands a stream selector and label filters.
//! <https://grafana.com/docs/loki/latest/reference/loki-http-api/>,
//! <https://grafana.com/docs/loki/latest/send-data/otel/>.

mod itself;
mod logql;

pub use itself::Itself;

use anyhow::Result;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use proxy_audit::record::Record;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// The tenant that the entries are of.
pub const TENANT: &str = "forensics";

/// `max_query_length`: 30 days and an hour.
const MAX_QUERY_NANOSECONDS: i128 = 721 * 3_600 * 1_000_000_000;

/// A server. Ends with its value.
#[derive(Debug)]
pub struct Loki {
    port: u16,
    _runtime: Runtime,
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// The line.
    pub line: String,
    /// Labels and structured metadata.
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Kept {
    entries: Vec<Entry>,
    max_entries: usize,
}

impl Entry {
    /// What Loki makes of a record's copy.
    pub fn of(record: &Record) -> Self {
        let log_record = record.as_log_record();
        let mut labels = BTreeMap::from([
            ("service_name".to_owned(), "portcullis".to_owned()),
            ("detected_level".to_owned(), record.severity().to_lowercase()),
            ("event_name".to_owned(), record.name().to_owned()),
            ("severity_text".to_owned(), record.severity().to_owned()),
            ("severity_number".to_owned(), log_record.severity_number.to_string()),
            ("observed_timestamp".to_owned(), log_record.observed_time_unix_nano.to_string()),
        ]);
        for attribute in record.attributes() {
            let name = attribute.key.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let value =
                serde_json::to_value(&attribute.value).map(|value| in_words(&value)).unwrap_or_default();
            // A label without a value is none.
            if !value.is_empty() {
                labels.insert(name, value);
            }
        }
        Self { time: log_record.time_unix_nano, line: record.body().to_owned(), labels }
    }
}

/// A value of OTLP's JSON as a Collector's `AsString` gives it.
pub fn in_words(value: &Value) -> String {
    let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else {
        return String::new();
    };
    if kind == "arrayValue" {
        let values = value.get("values").and_then(Value::as_array).into_iter().flatten();
        let texts: Vec<&Value> = values.filter_map(|value| value.get("stringValue")).collect();
        return json!(texts).to_string();
    }
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Loki {
    /// Starts one on a free loopback port that has these entries, and gives at most so many at once.
    ///
    /// # Errors
    /// There is none.
    pub fn start(mut entries: Vec<Entry>, max_entries: usize) -> Result<Self> {
        entries.sort_by_key(|entry| entry.time);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)))?;
        let port = listener.local_addr()?.port();
        let service = axum::Router::new()
            .route("/logs/loki/api/v1/query_range", get(query_range))
            .route("/logs/loki/api/v1/index/volume", get(volume))
            .with_state(Arc::new(Kept { entries, max_entries }));
        runtime.spawn(async move { axum::serve(listener, service).await });
        Ok(Self { port, _runtime: runtime })
    }

    /// Its address for `--from`, with these parameters.
    pub fn url(&self, parameters: &str) -> String {
        format!("loki://127.0.0.1:{}/logs{parameters}", self.port)
    }
}

type Answer = Result<Json<Value>, (StatusCode, String)>;

fn refused(why: String) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, why)
}

/// What a request asks, within the limits.
struct Question<'a> {
    asked: &'a HashMap<String, String>,
    time: Range<i128>,
    query: logql::Query,
}

impl<'a> Question<'a> {
    fn new(headers: &HeaderMap, asked: &'a HashMap<String, String>) -> Result<Self, (StatusCode, String)> {
        if headers.get("x-scope-orgid").is_none_or(|tenant| tenant != TENANT) {
            return Err((StatusCode::UNAUTHORIZED, "no org id".to_owned()));
        }
        let query = asked.get("query").map(String::as_str).unwrap_or_default();
        let query = logql::Query::parse(query)
            .ok_or_else(|| refused(format!("parse error: syntax error in {query}")))?;
        let mut question = Self { asked, time: 0..0, query };
        question.time = question.number("start")?..question.number("end")?;
        if question.time.end - question.time.start > MAX_QUERY_NANOSECONDS {
            return Err(refused("the query time range exceeds the limit (limit: 30d1h)".to_owned()));
        }
        Ok(question)
    }

    fn text(&self, name: &str) -> &str {
        self.asked.get(name).map(String::as_str).unwrap_or_default()
    }

    fn number(&self, name: &str) -> Result<i128, (StatusCode, String)> {
        self.text(name).parse().map_err(|error| refused(format!("{name}: {error}")))
    }

    fn fits(&self, entry: &Entry) -> bool {
        self.time.contains(&i128::from(entry.time)) && self.query.fits(&entry.labels)
    }
}

/// Bytes of the streams that are selected, by the index.
async fn volume(
    State(kept): State<Arc<Kept>>,
    headers: HeaderMap,
    Query(asked): Query<HashMap<String, String>>,
) -> Answer {
    let question = Question::new(&headers, &asked)?;
    let bytes: usize =
        kept.entries.iter().filter(|entry| question.fits(entry)).map(|entry| entry.line.len()).sum();
    let of_all = json!({"metric": {}, "value": [0, bytes.to_string()]});
    let result: Vec<Value> = (bytes > 0).then_some(of_all).into_iter().collect();
    Ok(Json(json!({"status": "success", "data": {"resultType": "vector", "result": result, "stats": {}}})))
}

async fn query_range(
    State(kept): State<Arc<Kept>>,
    headers: HeaderMap,
    Query(asked): Query<HashMap<String, String>>,
) -> Answer {
    let question = Question::new(&headers, &asked)?;
    let limit = question.number("limit")?;
    if limit > kept.max_entries as i128 {
        return Err(refused(format!(
            "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {})",
            kept.max_entries
        )));
    }
    let mut found: Vec<&Entry> = kept.entries.iter().filter(|entry| question.fits(entry)).collect();
    if question.text("direction") != "forward" {
        found.reverse();
    }
    found.truncate(usize::try_from(limit).unwrap_or_default());
    // Entries of one stream are together, and streams are in no order.
    let streams = found
        .iter()
        .rev()
        .map(|entry| json!({"stream": entry.labels, "values": [[entry.time.to_string(), entry.line]]}));
    let result: Vec<Value> = streams.collect();
    Ok(Json(json!({"status": "success", "data": {"resultType": "streams", "result": result, "stats": {}}})))
}
