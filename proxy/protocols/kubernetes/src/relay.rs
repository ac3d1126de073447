//! The life of a request: read, analysed, cleared, sent on as the agent, answered with masks.
//!
//! ```text
//! client ─► request: canonical          what cannot be read in one way is refused
//!           known                       what it means may depend on what there is: the API server is asked
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
mod known;
mod review;
mod source;
mod trial;
mod twice;

pub(crate) use answer::Plan;
pub(crate) use body::Budget;
pub(crate) use clear::settle;
pub(crate) use headers::{answered, outgoing};
pub(crate) use trial::{Attempt, Look};
pub(crate) use twice::Waited;

use crate::analyze::{self, Body, Forward};
use crate::connection::Connection;
use crate::mask::{self, Masks};
use crate::request::RequestInfo;
use crate::session::Session;
use crate::status::{self, Failure};
use crate::streams;
use crate::upstream::Outgoing;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use proxy_audit::event::{Event, EventName, Severity};
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
    let asked = match understand(connection, &session, &mut request).await {
        Ok(asked) => asked,
        Err(failure) => return Err(note(&session, &request, failure).await),
    };
    let Asked { info, masks, command, question, upgrade, mut outgoing, share } = asked;
    let trial = trial::Trial::of(&info, &masks, &outgoing);
    let which = twice::Try::of(upgrade.as_ref());
    let occasion = clear::Occasion { trial, burst: clear::burst(&info, request.headers()), which };
    let running = session.begin(Arc::clone(&command), masks.clone());
    let permit = clear::clear(connection, &session, command, occasion).await?;
    session.agent().sign(permit.number(), &mut outgoing.headers);
    if let Some(upgrade) = upgrade {
        let exchange = streams::Exchange { connection, session, running, info, masks };
        return streams::open(exchange, upgrade, permit, request, outgoing).await;
    }
    let response = match connection.shared.upstream.send(&permit, outgoing).await {
        Ok(response) => response,
        Err(failure) => return Err(abandon(&session, permit, failure).await),
    };
    drop(share);
    let plan = Plan { info, masks, running, question };
    answer::relay(connection, session, permit, plan, response).await
}

/// A request that was understood, and nothing decided yet.
struct Asked {
    info: RequestInfo,
    masks: Masks,
    command: Arc<Command>,
    question: Option<review::Question>,
    upgrade: Option<streams::Upgrade>,
    outgoing: Outgoing,
    /// Room for its body, until it is sent on.
    share: body::Share,
}

/// Reads a request.
///
/// # Errors
/// It could be read in two ways, or not at all; no policy is asked.
async fn understand(
    connection: &Connection,
    session: &Session,
    request: &mut Request<Incoming>,
) -> Result<Asked, Failure> {
    let info = read(request)?;
    let limits = &connection.shared.options.limits;
    let body::Whole { bytes: content, share } = body::read(request, limits, &connection.budget).await?;
    let content_type = text(request, header::CONTENT_TYPE);
    let masks = session.masks().await;
    let body = Body { content_type: content_type.as_deref(), bytes: &content };
    let known = known::learn(&connection.shared.upstream, session, &info, body).await;
    let analysis = analyze::analyze_knowing(&info, body, &masks, &known)?;
    let question = review::question(&info, analysis.forward.in_place_of(body).bytes);
    let upgrade = streams::asked(request, &info)?;
    // the API server refuses to connect to a pod for somebody who accepts JSON alone
    let accept = if info.is_connect() {
        "*/*".to_owned()
    } else if question.is_some() {
        // the policies' word is put into the answer
        JSON.to_owned()
    } else {
        mask::negotiate(&info, text(request, header::ACCEPT).as_deref(), &masks)?
    };
    let (bytes, replaced) = match analysis.forward {
        Forward::AsSent => (content, None),
        Forward::Replaced { content_type, bytes } => (Bytes::from(bytes), Some(content_type)),
    };
    let mut headers = outgoing(request.headers(), &info);
    headers.insert(header::ACCEPT, HeaderValue::from_str(&accept).map_err(|_error| unsendable())?);
    if let Some(content_type) = replaced {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let outgoing =
        Outgoing { method: request.method().clone(), target: info.canonical(), headers, body: bytes };
    let command = Arc::new(Command { role: session.agent().user().into(), ..analysis.command });
    Ok(Asked { info, masks, command, question, upgrade, outgoing, share })
}

/// Records a request that was refused before it was a command.
///
/// Of the request its method and path are told, and the path only where it can be searched for secrets as it stands.
pub(crate) async fn note(session: &Session, request: &Request<Incoming>, failure: Failure) -> Failure {
    let path = request.uri().path();
    let path = if path.contains('%') || path.len() > NOTED_PATH { "…" } else { path };
    let asked = format!("{} {}", request.method(), session.masks().await.text(path));
    let event =
        Event::new(EventName::Error, Severity::Error, format!("refused before it was decided: {asked}"))
            .with("portcullis.reason", failure.message().to_owned());
    match session.gate().lock().await.note(event).await {
        Ok(()) => failure,
        Err(refusal) => refusal.into(),
    }
}

/// Longest path in the note of a request that was refused, in bytes.
const NOTED_PATH: usize = 512;

/// Relays an answer to what should have been an upgrade.
///
/// # Errors
/// As [`serve`].
pub(crate) async fn plain(
    connection: &Connection,
    session: Arc<Session>,
    permit: Permit,
    plan: Plan,
    response: Response<Incoming>,
) -> Result<Response<status::Body>, Failure> {
    answer::relay(connection, session, permit, plan, response).await
}

/// What reviews are answered as.
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
