//! The body of an answer as the API server sends it. What is there already is taken at once: a long list comes in
//! pieces of a few kilobytes, and each piece that is handed on costs a record.

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};

/// A body under way.
#[derive(Debug)]
pub(super) struct Source {
    incoming: Incoming,
    /// Taken, and not given yet.
    ahead: BytesMut,
    is_over: bool,
    broken: Option<hyper::Error>,
}

impl Source {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self { incoming, ahead: BytesMut::new(), is_over: false, broken: None }
    }

    /// The next bytes, never empty; `None`: the body is whole. Waits for nothing but the first of them.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// The API server broke off; what came before that was given.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        while self.ahead.is_empty() && !self.is_over {
            let frame = self.incoming.frame().await;
            self.take(frame);
        }
        let mut has_waited = false;
        while self.ahead.len() < PIECE && !self.is_over {
            if let Some(frame) = self.incoming.frame().now_or_never() {
                has_waited = false;
                self.take(frame);
            } else if has_waited {
                break;
            } else {
                // the connection's own task has its turn: it may have read more
                has_waited = true;
                tokio::task::yield_now().await;
            }
        }
        if self.ahead.is_empty() {
            return self.broken.take().map_or(Ok(None), Err);
        }
        Ok(Some(self.ahead.split().freeze()))
    }

    fn take(&mut self, frame: Option<Result<Frame<Bytes>, hyper::Error>>) {
        match frame {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.ahead.extend_from_slice(&data);
                }
            }
            Some(Err(error)) => {
                self.broken = Some(error);
                self.is_over = true;
            }
            None => self.is_over = true,
        }
    }
}

/// Bytes that are enough for once: more than a record holds.
const PIECE: usize = 64 * 1024;
