//! Headers that would change who asks or what is asked.

use super::Refused;
use http::HeaderMap;

/// The prefix of the WebSocket subprotocol that carries a bearer token.
const BEARER_SUBPROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// Refuses impersonation, the headers of front proxies, method override, a second credential, and bodies that are
/// encoded in a way that nobody here reads.
///
/// # Errors
/// [`Refused`], naming the header.
pub fn refuse_headers(headers: &HeaderMap) -> Result<(), Refused> {
    for name in headers.keys() {
        let name = name.as_str();
        if name.starts_with("impersonate-") {
            return Err(Refused::forbidden(
                "impersonation is not allowed through the gateway: it sends your own identity",
            ));
        }
        if name.starts_with("x-remote-") {
            return Err(Refused::forbidden(format!("the header {name} is for front proxies; leave it out")));
        }
        if matches!(name, "x-http-method-override" | "x-http-method" | "x-method-override") {
            return Err(Refused::bad(format!("the header {name} is not understood: use the method itself")));
        }
    }
    refuse_credentials(headers)?;
    for name in [http::header::CONTENT_TYPE, http::header::CONTENT_LENGTH, http::header::HOST] {
        if headers.get_all(&name).iter().count() > 1 {
            return Err(Refused::bad(format!("the header {name} is given twice")));
        }
    }
    let encoded = headers.get_all(http::header::CONTENT_ENCODING).iter().any(|value| value != "identity");
    if encoded {
        return Err(Refused::media_type(
            "encoded request bodies are not read: send it without Content-Encoding",
        ));
    }
    Ok(())
}

/// Refuses more than one credential: they could be of different people.
///
/// # Errors
/// [`Refused`].
pub(crate) fn refuse_credentials(headers: &HeaderMap) -> Result<(), Refused> {
    if bearer_count(headers) > 1 {
        return Err(Refused::bad("the request carries more than one credential"));
    }
    Ok(())
}

/// Credentials of every form that the API server takes.
fn bearer_count(headers: &HeaderMap) -> usize {
    let authorization = headers.get_all(http::header::AUTHORIZATION).iter().count();
    let protocols = headers
        .get_all(http::header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|protocol| protocol.trim().starts_with(BEARER_SUBPROTOCOL))
        .count();
    authorization + protocols
}
