//! The body of a request: whole, or refused.
//!
//! What is written is judged by what it says, so it is read before it is decided upon, and kept until it is sent on. The
//! API server's own limits keep that bounded, one request by one, and a budget all of a connection.

use crate::options::Limits;
use crate::status::Failure;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of bodies that the requests of one connection may have under way.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    bytes: Arc<Semaphore>,
    whole: usize,
}

/// A body, and its share of the budget.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    pub(super) share: Share,
}

/// Part of a [`Budget`], given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Share(
    #[expect(dead_code, reason = "what counts is when it is dropped")] Option<OwnedSemaphorePermit>,
);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes: Arc::new(Semaphore::new(bytes)), whole: bytes }
    }

    /// Room for a body of this length. Nobody waits for it: what is not read keeps the others of the connection from
    /// being read.
    fn take(&self, length: usize) -> Result<Share, Failure> {
        let length = u32::try_from(length.min(self.whole)).unwrap_or(u32::MAX);
        match Arc::clone(&self.bytes).try_acquire_many_owned(length) {
            Ok(permit) => Ok(Share(Some(permit))),
            Err(_none_left) => {
                let message =
                    "this connection has too many bytes of requests under way: wait for some of them";
                Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
                    .after(RETRY_AFTER))
            }
        }
    }
}

/// When a client may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Reads the body of a request.
///
/// Cancel safe.
///
/// # Errors
/// It is too long, does not come in time, or breaks off; or there is no room for it.
pub(super) async fn read(
    request: &mut Request<Incoming>,
    limits: &Limits,
    budget: &Budget,
) -> Result<Whole, Failure> {
    if request.body().is_end_stream() {
        return Ok(Whole::default());
    }
    let limit = limits.request_bytes;
    // a body that does not say how long it is may be as long as any
    let told = request.body().size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let share = budget.take(told.unwrap_or(limit).min(limit))?;
    let collecting = Limited::new(request.body_mut(), limit).collect();
    match tokio::time::timeout(limits.request_body, collecting).await {
        Ok(Ok(collected)) => Ok(Whole { bytes: collected.to_bytes(), share }),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body is longer than {limit} bytes, the API server's own limit");
            Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message))
        }
        Ok(Err(_broken)) => {
            Err(Failure::new(StatusCode::BAD_REQUEST, "BadRequest", "the body of the request broke off"))
        }
        Err(_elapsed) => {
            let message = format!("the body did not come within {} s", limits.request_body.as_secs());
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message))
        }
    }
}
