//! How a Loki server is named on a command line.

use crate::source::loki::LokiAccess;
use jiff::SignedDuration;
use reqwest::Url;
use std::fmt;

const FORM: &str =
    "expected loki://HOST[:3100][/PREFIX][?secure=true][&service=NAME][&days=400][&limit=1000]";

/// A Loki server's records.
#[derive(Clone)]
pub struct LokiSource {
    /// Of the API, with `/` at its end; without credentials.
    pub(super) url: Url,
    /// `service.name` of the gateways' telemetry.
    pub(super) service: String,
    /// How far back is looked where nothing says since when.
    pub(super) back: SignedDuration,
    /// Entries of one request.
    pub(super) limit: usize,
    pub(super) access: LokiAccess,
}

impl fmt::Debug for LokiSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LokiSource").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl LokiSource {
    /// The server of `loki://HOST[:3100][/PREFIX][?secure=true]`. Further parameters: `service`, the `service.name` that
    /// gateways export (`portcullis`); `days`, how far back is looked where nothing says since when (400); `limit`, the
    /// entries of one request (1,000; a server takes 5,000 unless it is told otherwise).
    ///
    /// # Errors
    /// What is wrong with the URL. One with a password in it is refused: a command line is seen by others.
    pub fn new(url: &str, access: LokiAccess) -> Result<Self, String> {
        let parsed: Url = url.parse().or(Err(FORM.to_owned()))?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err("give user and password as LOKI_USERNAME and LOKI_PASSWORD".to_owned());
        }
        let host = parsed.host_str().filter(|_| parsed.scheme() == "loki").ok_or(FORM)?;
        let (mut scheme, mut port) = ("http", 3100);
        let (mut service, mut days, mut limit) = ("portcullis".to_owned(), 400, 1_000);
        for (name, value) in parsed.query_pairs() {
            match name.as_ref() {
                "secure" if value == "true" => (scheme, port) = ("https", 443),
                "service" => service = value.into_owned(),
                "days" => days = number(&value, 100_000)?,
                "limit" => limit = number(&value, 1_000_000)?,
                _ => return Err(FORM.to_owned()),
            }
        }
        let prefix = parsed.path().trim_end_matches('/');
        let port = parsed.port().unwrap_or(port);
        let url = format!("{scheme}://{host}:{port}{prefix}/loki/api/v1/");
        Ok(Self {
            url: url.parse().or(Err(FORM.to_owned()))?,
            service,
            back: SignedDuration::from_hours(24 * i64::try_from(days).unwrap_or(i64::MAX / 24)),
            limit,
            access,
        })
    }
}

/// From 1 to `most`.
fn number(text: &str, most: usize) -> Result<usize, String> {
    text.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(|| FORM.to_owned())
}
