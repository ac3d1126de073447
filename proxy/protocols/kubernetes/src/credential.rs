//! The token of a request: in a header, or hidden among WebSocket subprotocols as browsers must.

use crate::status::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use proxy_core::authn::BearerToken;
use proxy_core::secret::Secret;

/// A subprotocol that begins so carries a token, in unpadded base64url. `k8s.io/apiserver`'s
/// `pkg/authentication/request/websocket`.
const BEARER_SUBPROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// Takes the token out of the headers: nothing of it goes upstream or on record. The caller has made sure that there
/// is at most one ([`crate::request::refuse_headers`]).
///
/// # Errors
/// There is none, or not in a form that is understood.
pub(crate) fn take(headers: &mut HeaderMap) -> Result<BearerToken, Failure> {
    let by_protocol = take_subprotocol(headers)?;
    let by_header = headers.remove(header::AUTHORIZATION);
    if let Some(token) = by_protocol {
        return Ok(token);
    }
    let Some(value) = by_header else {
        return Err(unauthorized("no token was presented; set it as the user's token in the kubeconfig"));
    };
    let (scheme, token) = value.to_str().unwrap_or_default().split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(unauthorized("only bearer tokens are accepted; set the user's token in the kubeconfig"));
    }
    Ok(Secret::new(token.trim().to_owned()))
}

fn take_subprotocol(headers: &mut HeaderMap) -> Result<Option<BearerToken>, Failure> {
    let name = header::SEC_WEBSOCKET_PROTOCOL;
    let mut token = None;
    let mut others = Vec::new();
    for value in headers.get_all(&name) {
        for protocol in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            match protocol.strip_prefix(BEARER_SUBPROTOCOL) {
                Some(encoded) => token = Some(encoded.to_owned()),
                None => others.push(protocol.to_owned()),
            }
        }
    }
    let Some(encoded) = token else { return Ok(None) };
    headers.remove(&name);
    if let Ok(value) = HeaderValue::from_str(&others.join(", "))
        && !others.is_empty()
    {
        headers.insert(name, value);
    }
    let malformed = || unauthorized("the token among the WebSocket subprotocols is not base64url");
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_error| malformed())?;
    String::from_utf8(bytes).map(|token| Some(Secret::new(token))).map_err(|_error| malformed())
}

fn unauthorized(message: &str) -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_a_header_is_taken_out() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("bearer abc.def"));
        assert_eq!(take(&mut headers).unwrap().expose(), "abc.def");
        assert!(headers.is_empty());
    }

    #[test]
    fn a_token_among_subprotocols_is_taken_out_and_the_others_stay() {
        let mut headers = HeaderMap::new();
        let value = format!("{BEARER_SUBPROTOCOL}{}, v4.channel.k8s.io", URL_SAFE_NO_PAD.encode("abc"));
        headers.insert("sec-websocket-protocol", HeaderValue::from_str(&value).unwrap());
        assert_eq!(take(&mut headers).unwrap().expose(), "abc");
        assert_eq!(headers["sec-websocket-protocol"], "v4.channel.k8s.io");
    }

    #[test]
    fn anything_else_is_no_token() {
        for value in ["", "Basic YTpi", "Bearer", "Bearer "] {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", HeaderValue::from_static(value));
            assert!(take(&mut headers).is_err(), "{value}");
        }
        assert!(take(&mut HeaderMap::new()).is_err());
    }
}
