//! The body of a request: whole, or refused.
//!
//! What is written is judged by what it says, so it is read before it is decided upon. The API server's own limit
//! keeps that bounded.

use crate::status::Failure;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};

/// Reads the body of a request.
///
/// Cancel safe.
///
/// # Errors
/// It is longer than `limit`, or breaks off.
pub(super) async fn read(request: &mut Request<Incoming>, limit: usize) -> Result<Bytes, Failure> {
    if request.body().is_end_stream() {
        return Ok(Bytes::new());
    }
    match Limited::new(request.body_mut(), limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("the body is longer than {limit} bytes, the API server's own limit");
            Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message))
        }
        Err(_broken) => {
            Err(Failure::new(StatusCode::BAD_REQUEST, "BadRequest", "the body of the request broke off"))
        }
    }
}
