//! Which representations the API server is asked for.
//!
//! What is masked must be read, and only JSON, YAML and text are: protobuf and CBOR are taken out of `Accept`, and the
//! API server answers with what is left, as for any client that does not speak them. Clients ask for protobuf with
//! JSON behind it (`client-go` always does); one that asks for nothing else is told so.

use super::Masks;
use super::rules::Rules;
use crate::request::{Refused, RequestInfo};
use std::fmt;

/// Asked for where a client does not say what it wants.
const ANYTHING: &str = "application/json";

/// The `Accept` header to send upstream for a request with `accept`, all its lines joined by commas.
///
/// # Errors
/// [`Refused`] (406): every representation that the client takes is one that cannot be masked.
pub fn negotiate(info: &RequestInfo, accept: Option<&str>, masks: &Masks) -> Result<String, Refused> {
    let accept = accept.map(str::trim).filter(|accept| !accept.is_empty());
    if info.is_proxy() || !masks.rewrites(info) {
        return Ok(accept.unwrap_or("*/*").to_owned());
    }
    let Some(accept) = accept else { return Ok(ANYTHING.to_owned()) };
    let hides_columns = Rules::hides_columns(masks, info);
    let all: Vec<Range> = accept.split(',').filter_map(Range::read).collect();
    let asks_for_table = all.iter().any(Range::is_table);
    let ranges: Vec<String> = all
        .iter()
        .filter(|range| range.is_readable(info.is_watch()) && !(hides_columns && range.is_table()))
        .map(ToString::to_string)
        .collect();
    match (ranges.is_empty(), hides_columns && asks_for_table) {
        (false, _) => Ok(ranges.join(",")),
        // kubectl prints whatever object it gets
        (true, true) => Ok(ANYTHING.to_owned()),
        (true, false) => Err(Refused {
            code: 406,
            reason: "NotAcceptable",
            message: "this can be masked as JSON or YAML alone: add application/json to Accept".to_owned(),
        }),
    }
}

/// One range of an `Accept` header, read as the API server's own reader does (`munnerz/goautoneg`): it trims around
/// every name and value, takes the last of a parameter that is there twice, and skips what it does not understand. It
/// goes upstream as it was read.
struct Range {
    media_type: String,
    parameters: Vec<(String, String)>,
}

impl Range {
    /// `None`: the API server would skip it.
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let media_type = parts.next()?.trim().to_ascii_lowercase();
        let media_type = match media_type.split('/').map(str::trim).collect::<Vec<_>>()[..] {
            ["*"] => "*/*".to_owned(),
            [main, sub] if !sub.is_empty() => format!("{main}/{sub}"),
            _ => return None,
        };
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            if !value.is_empty() && !value.contains('=') {
                parameters.retain(|(earlier, _)| earlier != name.trim());
                parameters.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
        Some(Self { media_type, parameters })
    }

    /// Whether what is asked for is a Table.
    fn is_table(&self) -> bool {
        let is_as = |name: &str| name.eq_ignore_ascii_case("as");
        self.parameters.iter().any(|(name, value)| is_as(name) && value.eq_ignore_ascii_case("table"))
    }

    /// Whether answers of that range can be masked. A wildcard is answered with JSON.
    fn is_readable(&self, is_watch: bool) -> bool {
        match self.media_type.as_str() {
            "application/json" | "*/*" | "application/*" | "text/plain" | "text/*" => true,
            // no stream of events is written in it
            "application/yaml" => !is_watch,
            _ => false,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.media_type)?;
        for (name, value) in &self.parameters {
            write!(f, ";{name}={value}")?;
        }
        Ok(())
    }
}

/// The media type of a `Content-Type`, in lower case, without parameters.
pub(super) fn essence(range: &str) -> String {
    range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
