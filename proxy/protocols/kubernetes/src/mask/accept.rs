//! Which representations the API server is asked for.
//!
//! What is masked must be read, and only JSON, YAML and text are: protobuf and CBOR are taken out of `Accept`, and the
//! API server answers with what is left, as for any client that does not speak them. Clients ask for protobuf with
//! JSON behind it (`client-go` always does); one that asks for nothing else is told so.

use super::Masks;
use super::rules::Rules;
use crate::request::{Refused, RequestInfo};

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
    let ranges: Vec<_> = accept
        .split(',')
        .map(str::trim)
        .filter(|range| is_readable(range, info.is_watch()) && !(hides_columns && is_table(range)))
        .collect();
    match (ranges.is_empty(), hides_columns && accept.split(',').any(is_table)) {
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

/// The media type of a range or of a `Content-Type`, in lower case, without parameters.
pub(super) fn essence(range: &str) -> String {
    range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether what is asked for is a Table.
fn is_table(range: &str) -> bool {
    range.split(';').skip(1).any(|parameter| parameter.trim().eq_ignore_ascii_case("as=table"))
}

/// Whether answers of that range can be masked. A wildcard is answered with JSON.
fn is_readable(range: &str, is_watch: bool) -> bool {
    match essence(range).as_str() {
        "application/json" | "*/*" | "application/*" | "text/plain" | "text/*" => true,
        // no stream of events is written in it
        "application/yaml" => !is_watch,
        _ => false,
    }
}
