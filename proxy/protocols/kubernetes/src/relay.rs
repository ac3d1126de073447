//! The life of a request: read, analysed, cleared, sent on as the agent, answered with masks.
//!
//! ```text
//! client ─► request: canonical          what cannot be read in one way is refused
//!           analyze: Command            a body is read whole before anything is decided
//!           clear: Gate::decide         permit, hold or refusal
//!           headers, upstream ─────────► API server, as the agent
//!           answer: masked, recorded, released, piece by piece ◄──
//! ```
//!
//! Decisions that are written down where they are made: a hold waits a bounded time ([`clear`]); what is discovery or
//! asks about oneself needs no rule (`analyze`); `kubectl auth can-i` is answered for the policies as well
//! ([`review`]); watches and logs are never collected ([`answer`]).

mod answer;
mod body;
mod clear;
mod headers;
mod review;

pub(crate) use clear::settle;
pub(crate) use headers::{answered, outgoing};

use crate::analyze::{self, Body, Forward};
use crate::connection::Connection;
use crate::mask::{self, Masks};
use crate::protobuf;
use crate::request::RequestInfo;
use crate::session::Session;
use crate::status::{self, Failure};
use crate::streams;
use crate::upstream::Outgoing;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use proxy_core::gate::{End, EndKind, Permit};
use proxy_policy::Command;
use std::sync::Arc;

/// Serves one request of a session.
///
/// Cancel safe in what it promises: a client that goes away leaves a record of what became of its command.
///
/// # Errors
/// It was refused; in words for the client.
pub(crate) async fn serve(
    connection: &Arc<Connection>,
    session: Arc<Session>,
    mut request: Request<Incoming>,
) -> Result<Response<status::Body>, Failure> {
    let info = read(&request)?;
    let mut content = body::read(&mut request, connection.shared.options.limits.request_bytes).await?;
    let mut content_type = text(&request, header::CONTENT_TYPE);
    let mut replaced = None;
    let is_protobuf = content_type.as_deref().is_some_and(|value| value.starts_with(protobuf::CONTENT_TYPE));
    if let Some(read) = is_protobuf.then(|| protobuf::to_json(&content)).flatten() {
        content = read.to_string().into();
        content_type = Some(JSON.to_owned());
        replaced = Some(JSON);
    }
    let masks = session.masks().await;
    let body = Body { content_type: content_type.as_deref(), bytes: &content };
    let analysis = analyze::analyze(&info, body, &masks)?;
    let question = review::question(&info, &content);
    let upgrade = streams::asked(&request, &info)?;
    // the API server refuses to connect to a pod for somebody who accepts JSON alone
    let accept = if info.is_connect() {
        "*/*".to_owned()
    } else if question.is_some() {
        // the policies' word is put into the answer
        JSON.to_owned()
    } else {
        mask::negotiate(&info, text(&request, header::ACCEPT).as_deref(), &masks)?
    };

    let bytes = match analysis.forward {
        Forward::AsSent => content,
        Forward::Replaced { content_type, bytes } => {
            replaced = Some(content_type);
            Bytes::from(bytes)
        }
    };
    let mut headers = outgoing(request.headers(), &info);
    headers.insert(header::ACCEPT, HeaderValue::from_str(&accept).map_err(|_error| unsendable())?);
    if let Some(content_type) = replaced {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let target = info.canonical();
    let method = request.method().clone();

    let command = Arc::new(Command { role: session.agent().user().to_owned(), ..analysis.command });
    let permit = clear::clear(connection, &session, command).await?;
    session.agent().sign(permit.number(), &mut headers);
    let outgoing = Outgoing { method, target, headers, body: bytes };
    if let Some(upgrade) = upgrade {
        let exchange = streams::Exchange { connection, session, info, masks };
        return streams::open(exchange, upgrade, permit, request, outgoing).await;
    }
    let response = match connection.shared.upstream.send(&permit, outgoing).await {
        Ok(response) => response,
        Err(failure) => return Err(abandon(&session, permit, failure).await),
    };
    let plan = answer::Plan { info, masks, question };
    answer::relay(connection, session, permit, plan, response).await
}

/// Relays an answer to what should have been an upgrade.
///
/// # Errors
/// As [`serve`].
pub(crate) async fn plain(
    connection: &Connection,
    session: Arc<Session>,
    permit: Permit,
    (info, masks): (RequestInfo, Masks),
    response: Response<Incoming>,
) -> Result<Response<status::Body>, Failure> {
    let plan = answer::Plan { info, masks, question: None };
    answer::relay(connection, session, permit, plan, response).await
}

/// What a body is sent on as that was read.
const JSON: &str = "application/json";

/// The request line, as it stands. HTTP/2 has no line: there the authority is a field of its own.
fn read(request: &Request<Incoming>) -> Result<RequestInfo, Failure> {
    let uri = request.uri();
    let absolute = uri.scheme().is_some() || uri.authority().is_some();
    if absolute && request.version() < Version::HTTP_2 {
        let message = "the request target must be a path: the absolute form is not spoken here";
        return Err(Failure::new(StatusCode::BAD_REQUEST, "BadRequest", message));
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    Ok(RequestInfo::read(request.method().as_str(), target)?)
}

fn text(request: &Request<Incoming>, name: header::HeaderName) -> Option<String> {
    let values: Vec<_> =
        request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Records that a cleared command could not be sent.
pub(crate) async fn abandon(session: &Session, permit: Permit, failure: Failure) -> Failure {
    let end = End { outcome: EndKind::Error, status_code: Some("unreachable".to_owned()), ..End::default() };
    match session.gate().lock().await.finish(permit, end).await {
        Ok(()) => failure,
        Err(refusal) => refusal.into(),
    }
}

fn unsendable() -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "BadRequest", "a header of the request cannot be sent on")
}
