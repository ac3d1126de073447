//! An answer on its way to the client: masked, recorded, then released, and never collected.
//!
//! What is recorded is the answer as the client gets it: a status line, the content type, an empty line, the body.
//! A small answer is whole before anything of it is sent, so that its outcome is on record first. Of a long one every
//! piece is on record before it is sent, and the last piece waits for the outcome. Events of a watch and lines of a log
//! that is followed are sent as they come.

use super::review::Question;
use super::source::Source;
use super::{answered, settle};
use crate::connection::Connection;
use crate::mask::{Answer, BodyMasker, Masks, Unmaskable};
use crate::request::RequestInfo;
use crate::running::Running;
use crate::session::Session;
use crate::status::{self, BodyError, Failure};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header, response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use proxy_core::gate::{End, EndKind, Permit};
use proxy_core::mask::MaskCounts;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What is known of an answer before it comes.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) info: RequestInfo,
    pub(crate) masks: Masks,
    pub(crate) running: Arc<Running>,
    /// For reviews: what the policies have to say as well.
    pub(crate) question: Option<Question>,
}

/// Relays one answer.
///
/// # Errors
/// It may not be handed on; the command's outcome says so.
pub(super) async fn relay(
    connection: &Connection,
    session: Arc<Session>,
    permit: Permit,
    plan: Plan,
    response: Response<Incoming>,
) -> Result<Response<status::Body>, Failure> {
    let (parts, incoming) = response.into_parts();
    let masker = match masker(&plan, &parts) {
        Ok(masker) => masker,
        Err(failure) => return Err(super::abandon(&session, permit, failure).await),
    };
    let headers = answered(&parts.headers, &plan.info, &plan.masks, masker.is_transparent());
    let streams = plan.info.is_watch() || plan.info.is_proxy() || plan.info.flag("follow");
    // what comes to an end by itself comes with the masks that it began with
    let over = if streams { plan.running.over() } else { session.ended() }.clone();
    let mut flow = Flow {
        out: head(&parts),
        session,
        running: plan.running,
        ends: over,
        tasks: connection.streams.clone(),
        drain: connection.shared.options.drain.clone(),
        permit: Some(permit),
        masker,
        incoming: Source::new(incoming),
        status: parts.status,
        watch: plan.info.is_watch(),
        between: is_json(&parts),
        is_json: is_json(&parts),
        over: None,
    };
    flow.record_head().await?;
    let body = if streams { flow.into_body(None) } else { flow.begin(plan.question).await? };
    let mut answer = Response::new(body);
    *answer.status_mut() = parts.status;
    *answer.headers_mut() = headers;
    Ok(answer)
}

fn masker(plan: &Plan, parts: &response::Parts) -> Result<BodyMasker, Failure> {
    let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let answer = Answer {
        status: parts.status.as_u16(),
        content_type: text(header::CONTENT_TYPE),
        content_encoding: text(header::CONTENT_ENCODING),
    };
    Ok(plan.masks.response(&plan.info, answer)?)
}

fn is_json(parts: &response::Parts) -> bool {
    let value = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| {
        value.split(';').next().is_some_and(|essence| essence.trim() == "application/json")
    })
}

/// The first bytes of what is recorded.
fn head(parts: &response::Parts) -> Vec<u8> {
    let reason = parts.status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_str());
    if let Some(value) = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
        head.extend(["content-type: ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// An answer under way. Dropped before its end, its command is recorded as aborted.
struct Flow {
    session: Arc<Session>,
    running: Arc<Running>,
    /// Fires when it may not go on.
    ends: CancellationToken,
    tasks: TaskTracker,
    drain: CancellationToken,
    permit: Option<Permit>,
    masker: BodyMasker,
    incoming: Source,
    status: StatusCode,
    watch: bool,
    is_json: bool,
    /// Of a watch: what was given out so far is whole events in JSON, so that one of the gateway's own can follow.
    between: bool,
    /// What the masker gave out and nobody has taken.
    out: Vec<u8>,
    /// How it ended before its end: nothing more is taken from upstream.
    over: Option<EndKind>,
}

impl Flow {
    async fn record_head(&mut self) -> Result<(), Failure> {
        let head = std::mem::take(&mut self.out);
        self.record(&head).await.map_err(|error| {
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error.to_string())
        })
    }

    /// Takes the answer in until it is whole or long; gives its body.
    async fn begin(mut self, question: Option<Question>) -> Result<status::Body, Failure> {
        let mut whole: Vec<Bytes> = Vec::new();
        let mut length = 0_usize;
        let withheld = |error: BodyError| {
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error.to_string())
        };
        loop {
            match self.pull().await.map_err(withheld)? {
                Some(piece) => {
                    length = length.saturating_add(piece.len());
                    whole.push(piece);
                }
                None => break,
            }
            if length > WHOLE && question.is_none() {
                let first = Bytes::from(whole.concat());
                self.record(&first).await.map_err(withheld)?;
                self.release().await.map_err(withheld)?;
                return Ok(self.into_body(Some(first)));
            }
        }
        let body = whole.concat();
        let body = match question {
            Some(question) => question.answer(self.session.as_ref(), body),
            None => body,
        };
        self.record(&body).await.map_err(withheld)?;
        self.finish().await.map_err(withheld)?;
        Ok(status::full(body.into()))
    }

    fn into_body(self, first: Option<Bytes>) -> status::Body {
        let stream = stream::unfold((Some(self), first), |(flow, first)| async move {
            if let Some(first) = first {
                return Some((Ok(Frame::data(first)), (flow, None)));
            }
            let mut flow = flow?;
            match flow.next().await {
                Ok(Some(piece)) => Some((Ok(Frame::data(piece)), (Some(flow), None))),
                Ok(None) => None,
                Err(error) => Some((Err(error), (None, None))),
            }
        });
        StreamBody::new(stream).boxed_unsync()
    }

    /// The next piece that may be sent; `None` once the outcome is on record.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.permit.is_none() {
            return Ok(None);
        }
        let Some(piece) = self.pull().await? else {
            self.finish().await?;
            return Ok(None);
        };
        self.record(&piece).await?;
        self.release().await?;
        self.between = self.is_json && piece.ends_with(b"\n");
        Ok(Some(piece))
    }

    /// The next masked bytes, not on record yet. `None`: the answer is whole.
    async fn pull(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.over.is_some() {
            return Ok(None);
        }
        loop {
            let next = tokio::select! {
                next = self.incoming.next() => next,
                () = self.ends.cancelled() => return self.cut(),
                () = self.drain.cancelled(), if self.watch => {
                    // a watch may end at any moment: its client starts another
                    self.over = Some(EndKind::Ok);
                    return Ok(None);
                }
            };
            let Some(data) = next.map_err(BodyError::Upstream)? else { return self.rest() };
            if self.masker.is_transparent() {
                return Ok(Some(data));
            }
            self.masker.push(&data, &mut self.out).map_err(withheld)?;
            if !self.out.is_empty() {
                return Ok(Some(std::mem::take(&mut self.out).into()));
            }
        }
    }

    fn rest(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.over = Some(EndKind::Ok);
        if !self.masker.is_transparent() {
            self.masker.finish(&mut self.out).map_err(withheld)?;
        }
        Ok((!self.out.is_empty()).then(|| std::mem::take(&mut self.out).into()))
    }

    /// It may not go on: a watch says so in its own words, everything else breaks off. So does a watch in the middle
    /// of an event, or in another form than JSON.
    fn cut(&mut self) -> Result<Option<Bytes>, BodyError> {
        if !self.watch || !self.between {
            return Err(BodyError::Ended);
        }
        if self.running.may_begin_again() {
            // as at any moment
            self.over = Some(EndKind::Ok);
            return Ok(None);
        }
        self.over = Some(EndKind::Aborted);
        let mut event = self.running.reason(&self.session).event();
        event.push('\n');
        Ok(Some(event.into()))
    }

    async fn record(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        let Some(permit) = &mut self.permit else { return Ok(()) };
        let mut gate = self.session.gate().lock().await;
        gate.record(permit, bytes).map_err(|refusal| BodyError::Withheld(refusal.message))
    }

    async fn release(&mut self) -> Result<(), BodyError> {
        let Some(permit) = &mut self.permit else { return Ok(()) };
        let mut gate = self.session.gate().lock().await;
        gate.before_release(permit).map_err(|refusal| BodyError::Withheld(refusal.message))
    }

    async fn finish(&mut self) -> Result<(), BodyError> {
        let Some(permit) = self.permit.take() else { return Ok(()) };
        let outcome = match self.over {
            Some(EndKind::Aborted) => EndKind::Aborted,
            _ if self.status.is_client_error() || self.status.is_server_error() => EndKind::Error,
            Some(EndKind::Ok | EndKind::Error) | None => EndKind::Ok,
        };
        let masked = MaskCounts::clone(self.masker.counts());
        let end =
            End { outcome, rows: 0, status_code: Some(self.status.as_str().to_owned()), masked, cut: false };
        let session = Arc::clone(&self.session);
        let finishing =
            settle(&self.tasks, async move { session.gate().lock().await.finish(permit, end).await });
        let finished =
            finishing.await.map_err(|failure| BodyError::Withheld(failure.message().to_owned()))?;
        finished.map_err(|refusal| BodyError::Withheld(refusal.message))
    }
}

fn withheld(error: Unmaskable) -> BodyError {
    BodyError::Withheld(error.to_string())
}

/// Most bytes of an answer that is whole before it is sent.
const WHOLE: usize = 64 * 1024;
