//! What the API server is asked before a request is judged, as the agent: what the request means depends on it.
//!
//! Nothing of the answer is for the client, and where there is none the request is judged as the worst that it may be.

use super::trial::Look;
use crate::analyze::{self, Body, Known};
use crate::mask::OBJECT_LIMIT;
use crate::request::RequestInfo;
use crate::session::Session;
use crate::upstream::Upstream;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use std::time::Duration;

/// Finds out what a request does not say.
///
/// Cancel safe.
pub(super) async fn learn(
    upstream: &Upstream,
    session: &Session,
    info: &RequestInfo,
    body: Body<'_>,
) -> Known {
    let Some(unknown) = analyze::unknown(info, body) else { return Known::default() };
    let mut own = HeaderMap::new();
    own.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    session.agent().sign_look(&mut own);
    let Some(look) = Look::at(&unknown.path(info), own) else { return Known::default() };
    let looked = async {
        let response = upstream.look(look).await.ok()?;
        let (status, object) = object(response).await.ok()?;
        status.is_success().then(|| unknown.told_by(&object))
    };
    tokio::time::timeout(PATIENCE, looked).await.ok().flatten().unwrap_or_default()
}

/// The object of an answer; none where it says that something failed, in whatever form.
///
/// # Errors
/// It cannot be read; half a sentence.
pub(super) async fn object(response: Response<Incoming>) -> Result<(StatusCode, Value), String> {
    let status = response.status();
    let body = Limited::new(response.into_body(), OBJECT_LIMIT).collect().await;
    let body = body.map_err(|_error| "the API server's answer broke off or is too long")?.to_bytes();
    match serde_json::from_slice(&body) {
        Ok(value) => Ok((status, value)),
        Err(_not_json) if !status.is_success() => Ok((status, Value::Null)),
        Err(_not_json) => Err("the API server's answer is no JSON".to_owned()),
    }
}

/// How long a request waits for it.
const PATIENCE: Duration = Duration::from_secs(5);
