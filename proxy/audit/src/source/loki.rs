//! Records in Grafana Loki, where the OpenTelemetry Collector's `otlphttp` exporter brought them by `/otlp/v1/logs`,
//! asked by `/loki/api/v1/query_range`, and by `/loki/api/v1/index/volume` for when there are any.
//!
//! Loki answers in the order of time, some entries a request, and knows no sequence. What it answers is written to a
//! temporary file in the form of [`OtlpSource`], which puts it in order and drops repetitions: memory is bounded, and
//! there is one way to do that. A backend keeps values, not bytes: what is found there proves nothing.

mod address;
mod answer;
mod logql;

use crate::causes::chain;
use crate::event::key;
use crate::record::Record;
use crate::source::{OtlpSource, Part, RecordStream, Source, SourceError, Wanted};
use answer::Entry;
use jiff::{SignedDuration, Timestamp};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use reqwest::{Certificate, Client, RequestBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Builder;

pub use address::LokiSource;

/// Time that one request asks about: Loki's `max_query_length` is 30 days and an hour.
const SPAN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// By how much clocks may differ.
const CLOCKS_APART: SignedDuration = SignedDuration::from_hours(1);

/// Most bytes of an answer: a thousand of the largest records, in text.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// How long the server may take between two parts of an answer.
const PATIENCE: Duration = Duration::from_mins(2);

/// Most entries that are named as damaged.
const MAX_DAMAGED: usize = 1_000;

/// Sessions of one request for the beginnings of sessions.
const SESSIONS: usize = 50;

/// What a Loki server, or the proxy before it, asks of its clients.
#[derive(Clone, Default)]
pub struct LokiAccess {
    /// User and password of HTTP basic authentication.
    pub login: Option<(String, String)>,
    /// Bearer token; with it, the login is not used.
    pub bearer: Option<String>,
    /// The tenant: header `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// Certificates in PEM to trust beside those of the system.
    pub ca_pem: Option<Vec<u8>>,
}

impl fmt::Debug for LokiAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LokiAccess").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl LokiAccess {
    fn client(&self) -> Result<Client, String> {
        // A redirect could take the credentials elsewhere.
        let mut client = Client::builder().read_timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = &self.ca_pem {
            let certificates = Certificate::from_pem_bundle(pem).map_err(|error| chain(&error))?;
            client = client.tls_certs_merge(certificates);
        }
        client.build().map_err(|error| chain(&error))
    }

    fn apply(&self, mut request: RequestBuilder) -> RequestBuilder {
        if let Some(tenant) = &self.tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        match (&self.bearer, &self.login) {
            (Some(token), _) => request.bearer_auth(token),
            (None, Some((user, password))) => request.basic_auth(user, Some(password)),
            (None, None) => request,
        }
    }
}

impl Source for LokiSource {
    fn name(&self) -> String {
        format!("Loki at {}", self.url.host_str().unwrap_or_default())
    }

    fn records(&self, wanted: &Wanted) -> Result<RecordStream<'_>, SourceError> {
        let temporary =
            tempfile::tempdir().map_err(|source| SourceError::Io { path: std::env::temp_dir(), source })?;
        let path = temporary.path().join("records.json");
        let asked = self.fetch(wanted, &path);
        let damaged = asked.map_err(|why| SourceError::Backend { name: self.name(), why })?;
        let damaged = damaged.into_iter().map(|what| SourceError::Damaged { name: self.name(), what });
        let records = OtlpSource::new(vec![Part::whole(path)]).into_records()?;
        let records = damaged.map(Err).collect::<Vec<_>>().into_iter().chain(records);
        Ok(Box::new(Fetched { records, _temporary: temporary }))
    }
}

/// Records in a temporary file, which goes with them.
struct Fetched<I> {
    records: I,
    _temporary: TempDir,
}

impl<I: Iterator> Iterator for Fetched<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.records.next()
    }
}

impl LokiSource {
    /// Writes what is wanted to this file. Gives what of it is no record.
    fn fetch(&self, wanted: &Wanted, path: &std::path::Path) -> Result<BTreeSet<String>, String> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let file = File::create(path).map_err(|error| error.to_string())?;
        let mut fetch = Fetch {
            source: self,
            client: self.access.client()?,
            file: BufWriter::new(file),
            sessions: BTreeMap::new(),
            damaged: BTreeSet::new(),
        };
        runtime.block_on(fetch.all(wanted))?;
        fetch.file.flush().map_err(|error| error.to_string())?;
        Ok(fetch.damaged)
    }

    /// The earliest time at which a record of this can be.
    fn begin(&self, session: Option<&str>, now: Timestamp) -> Timestamp {
        let horizon = now.checked_sub(self.back).unwrap_or(Timestamp::MIN);
        let Some((begun, digits)) = session.and_then(begun) else { return horizon };
        let begun = begun.checked_sub(CLOCKS_APART).unwrap_or(Timestamp::MIN);
        // A few digits may mean any time.
        if digits < SURE_DIGITS { horizon.max(begun) } else { begun }
    }
}

/// Digits of a session's identifier that say when it began, to a minute or so.
const SURE_DIGITS: usize = 8;

/// When a session whose identifier (a `UUIDv7`) begins so began at the earliest, and how many digits say that.
fn begun(prefix: &str) -> Option<(Timestamp, usize)> {
    let digits: String = prefix.chars().filter(|c| *c != '-').take(12).collect();
    let time = i64::from_str_radix(&format!("{digits:0<12}"), 16).ok()?;
    Some((Timestamp::from_millisecond(time).ok()?, digits.len()))
}

/// One answer to a question of many requests.
struct Fetch<'a> {
    source: &'a LokiSource,
    client: Client,
    file: BufWriter<File>,
    /// The lowest number of a record of each session that came.
    sessions: BTreeMap<String, u64>,
    /// What is no record, once, however often it came: at most [`MAX_DAMAGED`].
    damaged: BTreeSet<String>,
}

impl Fetch<'_> {
    async fn all(&mut self, wanted: &Wanted) -> Result<(), String> {
        let now = Timestamp::now();
        let end = now.checked_add(CLOCKS_APART).unwrap_or(Timestamp::MAX);
        let begin = self.source.begin(wanted.session.as_deref(), now);
        let query = logql::records(&self.source.service, wanted);
        let since = match wanted.since {
            // Who says since when means it, however long ago that is.
            Some(since) if wanted.session.is_none() => since,
            Some(since) => since.max(begin),
            None => begin,
        };
        self.range(&query, since, end).await?;
        self.beginnings(since, now).await
    }

    /// The records before this time of the sessions that came without their beginnings.
    async fn beginnings(&mut self, until: Timestamp, now: Timestamp) -> Result<(), String> {
        let sessions = std::mem::take(&mut self.sessions);
        let cut: Vec<String> =
            sessions.into_iter().filter(|(_, lowest)| *lowest > 0).map(|(id, _)| id).collect();
        for some in cut.chunks(SESSIONS) {
            let begin = some.iter().map(|id| self.source.begin(Some(id), now)).min().unwrap_or(until);
            self.range(&logql::of_sessions(&self.source.service, some), begin, until).await?;
        }
        Ok(())
    }

    async fn range(&mut self, query: &str, begin: Timestamp, end: Timestamp) -> Result<(), String> {
        let mut begin = begin;
        while begin < end {
            let stop = begin.checked_add(SPAN).map_or(end, |stop| stop.min(end));
            let (from, to) = (begin.as_nanosecond(), stop.as_nanosecond());
            // What is new is in memory only.
            if stop == end || self.may_have(from, to).await {
                self.span(query, from, to).await?;
            }
            begin = stop;
        }
        Ok(())
    }

    /// Whether there is anything of this time, by Loki's index: records are looked for hour by hour, which takes seconds
    /// for a month without any. A server that does not tell (`volume_enabled`) may have something.
    async fn may_have(&self, begin: i128, end: i128) -> bool {
        let selector = logql::selector(&self.source.service);
        let asked = self.ask("index/volume", &selector, [begin, end], &[]).await;
        asked.map_or(true, |answer| answer::has_volume(&answer))
    }

    /// All entries from `begin` on and before `end`, page after page. The last nanosecond of a full page may have more:
    /// it is asked again, and what comes twice is dropped later.
    async fn span(&mut self, query: &str, mut begin: i128, end: i128) -> Result<(), String> {
        let limit = self.source.limit;
        loop {
            let answer = self.page(query, begin, end).await?;
            let entries = answer::entries(&answer)?;
            let (count, newest) =
                (entries.len(), entries.iter().map(|entry| i128::from(entry.nanoseconds)).max());
            for entry in entries {
                self.keep(entry)?;
            }
            let Some(newest) = newest.filter(|_| count >= limit) else { return Ok(()) };
            if newest <= begin {
                return Err(format!(
                    "{limit} records or more of one moment: raise limits_config.max_entries_limit_per_query, and \
                     give the address limit=N"
                ));
            }
            begin = newest;
        }
    }

    async fn page(&self, query: &str, begin: i128, end: i128) -> Result<Vec<u8>, String> {
        let limit = self.source.limit.to_string();
        self.ask("query_range", query, [begin, end], &[("limit", &limit), ("direction", "forward")]).await
    }

    async fn ask(
        &self,
        what: &str,
        query: &str,
        [begin, end]: [i128; 2],
        more: &[(&str, &str)],
    ) -> Result<Vec<u8>, String> {
        let mut url = self.source.url.join(what).map_err(|error| error.to_string())?;
        url.query_pairs_mut()
            .append_pair("query", query)
            .append_pair("start", &begin.to_string())
            .append_pair("end", &end.to_string())
            .extend_pairs(more);
        let request = self.source.access.apply(self.client.get(url));
        let mut response = request.send().await.map_err(|error| chain(&error.without_url()))?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| chain(&error.without_url()))? {
            answer.extend_from_slice(&part);
            if answer.len() > MAX_ANSWER_BYTES {
                return Err(format!("an answer is longer than {MAX_ANSWER_BYTES} bytes: give limit=N"));
            }
        }
        if status.is_success() { Ok(answer) } else { Err(format!("{status}: {}", answer::said(&answer))) }
    }

    fn keep(&mut self, entry: Entry) -> Result<(), String> {
        let nanoseconds = entry.nanoseconds;
        let log_record = entry.into_log_record()?;
        let record = match Record::from_log_record(&log_record) {
            Ok(record) => record,
            Err(error) => {
                if self.damaged.len() < MAX_DAMAGED {
                    let what = format!("an entry at {nanoseconds} ns lost something: {}", chain(&error));
                    self.damaged.insert(what);
                }
                return Ok(());
            }
        };
        if let Some(session) = record.text(key::SESSION_ID) {
            let number = record.session_sequence();
            let lowest = self.sessions.entry(session.to_owned()).or_insert(number);
            *lowest = number.min(*lowest);
        }
        let scope_logs = vec![ScopeLogs { log_records: vec![log_record], ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        let request = ExportLogsServiceRequest { resource_logs };
        serde_json::to_writer(&mut self.file, &request).map_err(|error| error.to_string())?;
        self.file.write_all(b"\n").map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
