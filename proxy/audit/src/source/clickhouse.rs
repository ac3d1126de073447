//! Records in ClickHouse, in the table that the OpenTelemetry Collector's `clickhouse` exporter makes and fills
//! (`otel_logs`, with its column `EventName`), asked over HTTP.
//!
//! A backend keeps values, not bytes: what is found there is for searching and replaying. It proves nothing.

use crate::causes::chain;
use crate::event::key;
use crate::record::Record;
use crate::source::{RecordStream, Source, SourceError, Wanted, typed};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Most bytes of one row: a record is at most 64 KiB, and text takes more than bytes.
const MAX_ROW_BYTES: usize = 1 << 20;

/// How long the server may take between two answers.
const PATIENCE: Duration = Duration::from_mins(2);

const OF_IDENTITY: &str = "({identity:String} IN (LogAttributes['user.id'], LogAttributes['user.name']) \
     OR endsWith(LogAttributes['user.id'], {subject:String}))";

const OF_RESOURCE: &str = "{resource:String} IN (LogAttributes['portcullis.resource.name'], \
     concat(LogAttributes['portcullis.resource.namespace'], '/', LogAttributes['portcullis.resource.name']))";

const ALIVE_SINCE: &str = "LogAttributes['session.id'] IN (SELECT LogAttributes['session.id'] \
     FROM {database:Identifier}.{table:Identifier} \
     WHERE Timestamp >= fromUnixTimestamp64Nano({since:Int64}) AND LogAttributes['portcullis.seq'] != '')";

/// A ClickHouse server's table.
#[derive(Clone)]
pub struct ClickHouseSource {
    /// Without credentials.
    url: Url,
    database: String,
    table: String,
    login: Option<(String, String)>,
}

impl fmt::Debug for ClickHouseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseSource").field("name", &self.name()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Row {
    time: String,
    #[serde(rename = "SeverityText")]
    severity: String,
    #[serde(rename = "SeverityNumber")]
    severity_number: i32,
    #[serde(rename = "Body")]
    body: String,
    #[serde(rename = "EventName")]
    event_name: String,
    #[serde(rename = "LogAttributes")]
    attributes: BTreeMap<String, String>,
}

impl ClickHouseSource {
    /// The table of `clickhouse://HOST[:8123]/DATABASE[/TABLE][?secure=true]`; the table is `otel_logs` when it is not
    /// named. The login is a user and a password.
    ///
    /// # Errors
    /// What is wrong with the URL. One with a password in it is refused: a command line is seen by others.
    pub fn new(url: &str, login: Option<(String, String)>) -> Result<Self, String> {
        let form = "expected clickhouse://HOST[:8123]/DATABASE[/TABLE][?secure=true]";
        let parsed: Url = url.parse().or(Err(form.to_owned()))?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err("give user and password as CLICKHOUSE_USER and CLICKHOUSE_PASSWORD".to_owned());
        }
        let host = parsed.host_str().filter(|_| parsed.scheme() == "clickhouse").ok_or(form)?;
        let (scheme, port) = match parsed.query() {
            None => ("http", 8123),
            Some("secure=true") => ("https", 8443),
            Some(_) => return Err(form.to_owned()),
        };
        let mut path = parsed.path().trim_start_matches('/').splitn(2, '/').map(str::to_owned);
        let database = path.next().filter(|name| !name.is_empty()).ok_or(form)?;
        let table = path.next().filter(|name| !name.is_empty()).unwrap_or_else(|| "otel_logs".to_owned());
        let url = format!("{scheme}://{host}:{}/", parsed.port().unwrap_or(port));
        Ok(Self { url: url.parse().or(Err(form.to_owned()))?, database, table, login })
    }

    async fn ask(&self, wanted: &Wanted) -> Result<Response, String> {
        let client = Client::builder().read_timeout(PATIENCE).build().map_err(|error| chain(&error))?;
        let mut url = self.url.clone();
        let mut query = url.query_pairs_mut();
        query.append_pair("param_database", &self.database).append_pair("param_table", &self.table);
        let mut conditions = String::new();
        let subject = wanted.identity.as_ref().map(|identity| format!("#{identity}"));
        let since = wanted.since.map(|since| since.as_nanosecond().to_string());
        for (name, value, condition) in [
            ("session", &wanted.session, "startsWith(LogAttributes['session.id'], {session:String})"),
            ("subject", &subject, "true"),
            ("identity", &wanted.identity, OF_IDENTITY),
            ("resource", &wanted.resource, OF_RESOURCE),
            ("since", &since, ALIVE_SINCE),
        ] {
            if let Some(value) = value {
                query.append_pair(&format!("param_{name}"), value);
                conditions.extend(["AND ", condition, " "]);
            }
        }
        drop(query);
        let mut request = client.post(url).body(sql(&conditions));
        if let Some((user, password)) = &self.login {
            request = request.header("X-ClickHouse-User", user).header("X-ClickHouse-Key", password);
        }
        let response = request.send().await.map_err(|error| chain(&error.without_url()))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let said = response.text().await.unwrap_or_default();
        let said: String = said.chars().filter(|c| !c.is_control()).take(500).collect();
        Err(format!("{status}: {said}"))
    }
}

/// Log after log, each in its order, a record that was delivered twice once.
fn sql(conditions: &str) -> String {
    let (schema, origin, sequence) = (key::SCHEMA, key::LOG_ORIGIN, key::SEQUENCE);
    format!(
        "SELECT toString(toUnixTimestamp64Nano(Timestamp)) AS time, SeverityText, SeverityNumber, Body, EventName, \
         LogAttributes FROM {{database:Identifier}}.{{table:Identifier}} \
         WHERE LogAttributes['{schema}'] != '' AND LogAttributes['{sequence}'] != '' {conditions}\
         ORDER BY LogAttributes['{origin}'], toUInt64OrZero(LogAttributes['{sequence}']) \
         LIMIT 1 BY LogAttributes['{origin}'], LogAttributes['{sequence}'] \
         FORMAT JSONEachRow"
    )
}

impl Source for ClickHouseSource {
    fn name(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        format!("table {}.{} of ClickHouse at {host}", self.database, self.table)
    }

    fn records(&self, wanted: &Wanted) -> Result<RecordStream<'_>, SourceError> {
        let error = |why| SourceError::Backend { name: self.name(), why };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|io| error(io.to_string()))?;
        let response = runtime.block_on(self.ask(wanted)).map_err(error)?;
        let rows = Rows { name: self.name(), runtime, response, buffer: VecDeque::new(), ended: false };
        Ok(Box::new(rows))
    }
}

/// The rows of an answer, as they come.
struct Rows {
    name: String,
    runtime: Runtime,
    response: Response,
    buffer: VecDeque<u8>,
    ended: bool,
}

impl Rows {
    fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.buffer.drain(..=end).collect()));
            }
            if self.buffer.len() > MAX_ROW_BYTES {
                return Err("a row is longer than any record".to_owned());
            }
            let part = self.runtime.block_on(self.response.chunk());
            match part.map_err(|error| chain(&error.without_url()))? {
                Some(part) => self.buffer.extend(part),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Ok(Some(self.buffer.drain(..).collect())),
            }
        }
    }

    /// The next row. What it is not: the server's own trouble ends the answer, a row that lost something does not.
    fn record(&mut self) -> Result<Option<Result<Record, SourceError>>, String> {
        let Some(line) = self.line()? else { return Ok(None) };
        // An error after the first row comes as text among the rows.
        let row: Row = serde_json::from_slice(&line).map_err(|error| {
            let said = String::from_utf8_lossy(&line)
                .chars()
                .filter(|c| !c.is_control())
                .take(300)
                .collect::<String>();
            format!("not a row of the exporter's table ({error}): {said}")
        })?;
        let time = row.time.parse().map_err(|error| format!("time of a row: {error}"))?;
        let log_record = LogRecord {
            time_unix_nano: time,
            observed_time_unix_nano: time,
            severity_number: row.severity_number,
            severity_text: row.severity,
            body: Some(AnyValue { value: Some(Any::StringValue(row.body)) }),
            attributes: row.attributes.into_iter().map(|(key, text)| typed::attribute(&key, text)).collect(),
            event_name: row.event_name,
            ..LogRecord::default()
        };
        Ok(Some(Record::from_log_record(&log_record).map_err(|error| SourceError::Damaged {
            name: self.name.clone(),
            what: format!("a row at {time} ns lost something: {}", chain(&error)),
        })))
    }
}

impl Iterator for Rows {
    type Item = Result<Record, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.record();
        self.ended = !matches!(row, Ok(Some(_)));
        row.unwrap_or_else(|why| Some(Err(SourceError::Backend { name: self.name.clone(), why })))
    }
}
