//! Which headers pass, in both directions. What is not known here does not pass, but through a proxy subresource,
//! behind which is any HTTP server at all.

use crate::mask::Masks;
use crate::request::RequestInfo;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers of a request that the API server may be told.
const ASKED: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::USER_AGENT,
    HeaderName::from_static("kubectl-command"),
];

/// Headers of an answer that the client may be told, whatever the body.
const ANSWERED: [HeaderName; 12] = [
    header::ALLOW,
    header::CACHE_CONTROL,
    header::CONTENT_TYPE,
    header::DATE,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    header::X_CONTENT_TYPE_OPTIONS,
    HeaderName::from_static("audit-id"),
    HeaderName::from_static("deprecation"),
    HeaderName::from_static("x-kubernetes-pf-flowschema-uid"),
    HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid"),
];

/// What describes the body's own bytes, and is wrong once they are masked.
const OF_THE_BYTES: [HeaderName; 4] =
    [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::ETAG, header::LAST_MODIFIED];

/// About one connection only (RFC 9110 section 7.6.1), or about who is between.
const HOP: [HeaderName; 13] = [
    header::CONNECTION,
    header::EXPECT,
    header::FORWARDED,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("x-forwarded-for"),
];

/// The headers that go upstream, without those that the gateway sets itself: `Accept`, the credential, the agent.
///
/// Never `Accept-Encoding`: what comes back is looked into.
pub(crate) fn outgoing(headers: &HeaderMap, info: &RequestInfo) -> HeaderMap {
    let mut out = HeaderMap::new();
    let named = connection_names(headers);
    for (name, value) in headers {
        let passes = if info.is_proxy() {
            let own =
                [header::AUTHORIZATION, header::ACCEPT_ENCODING, header::CONTENT_LENGTH, header::ACCEPT];
            !HOP.contains(name)
                && !own.contains(name)
                && !named.iter().any(|named| name.as_str().eq_ignore_ascii_case(named))
                && !name.as_str().starts_with("sec-websocket-")
                && !name.as_str().starts_with("x-forwarded-")
        } else {
            ASKED.contains(name)
        };
        if passes {
            out.append(name.clone(), value.clone());
        }
    }
    out
}

/// The headers that the client gets. Texts among them are masked.
pub(crate) fn answered(
    headers: &HeaderMap,
    info: &RequestInfo,
    masks: &Masks,
    is_transparent: bool,
) -> HeaderMap {
    let mut out = HeaderMap::new();
    let named = connection_names(headers);
    for (name, value) in headers {
        let hop = HOP.contains(name) || named.iter().any(|named| name.as_str().eq_ignore_ascii_case(named));
        let of_the_bytes = OF_THE_BYTES.contains(name);
        let passes = !hop
            && (ANSWERED.contains(name)
                || (of_the_bytes && is_transparent && name != header::CONTENT_LENGTH)
                || name == header::WARNING
                || (info.is_proxy() && !of_the_bytes));
        if !passes {
            continue;
        }
        if name == header::WARNING || (info.is_proxy() && name != header::CONTENT_TYPE) {
            let masked = value.to_str().ok().map(|text| masks.text(text));
            if let Some(value) = masked.and_then(|text| HeaderValue::from_str(&text).ok()) {
                out.append(name.clone(), value);
            }
        } else {
            out.append(name.clone(), value.clone());
        }
    }
    out
}

fn connection_names(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_api_server_is_told_only_what_is_known() {
        let info = RequestInfo::read("GET", "/api/v1/pods").unwrap();
        let headers = map(&[
            ("user-agent", "kubectl"),
            ("accept-encoding", "gzip"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "10.0.0.1"),
            ("authorization", "Bearer secret"),
            ("content-type", "application/json"),
        ]);
        let out = outgoing(&headers, &info);
        let names: Vec<_> = out.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["user-agent", "content-type"]);
    }

    #[test]
    fn a_proxied_server_is_told_everything_but_what_concerns_the_connection_and_the_credential() {
        let info = RequestInfo::read("GET", "/api/v1/namespaces/a/services/b/proxy/x").unwrap();
        let headers = map(&[
            ("cookie", "a=b"),
            ("connection", "X-Own, close"),
            ("x-own", "1"),
            ("authorization", "Bearer secret"),
            ("upgrade", "websocket"),
            ("x-forwarded-proto", "http"),
        ]);
        let out = outgoing(&headers, &info);
        let names: Vec<_> = out.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["cookie"]);
    }
}
