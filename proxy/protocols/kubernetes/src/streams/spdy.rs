//! SPDY/3.1 between both sides, frame by frame.
//!
//! Control frames pass as they came once they are understood; the client opens every stream, and its headers say what
//! it is for. Data is taken apart and framed anew, since masking changes its length. There is no flow control: the
//! implementation that Kubernetes uses (`moby/spdystream`) has none either, and TCP's is enough for two peers.
//!
//! <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/#TOC-2.2-Framing>

mod down;
mod frame;
mod up;

use super::tape::Tape;
use super::{Context, Role, StreamError};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};

/// Relays until either side closes.
///
/// # Errors
/// It broke off.
pub(super) async fn relay<CR, CW, SR, SW>(
    (from_client, to_client): (CR, CW),
    (from_server, to_server): (SR, SW),
    context: &Context,
    tape: &mut Tape,
) -> Result<(), StreamError>
where
    CR: AsyncRead + Unpin,
    CW: AsyncWrite + Unpin,
    SR: AsyncRead + Unpin,
    SW: AsyncWrite + Unpin,
{
    let streams = Streams::default();
    let tape = tokio::sync::Mutex::new(tape);
    let mut down = down::Down::new(to_client, &streams, &tape, context.is_interactive);
    let ended = {
        let up = up::Up::new(to_server, &streams, &tape).run(BufReader::new(from_client));
        let down = down.run(BufReader::new(from_server));
        tokio::pin!(up, down);
        tokio::select! {
            ended = &mut down => ended,
            // what the API server still says, nobody hears
            ended = &mut up => ended,
            () = context.ended.cancelled() => Err(StreamError::Ended),
        }
    };
    let parted = down.part().await;
    ended.and(parted)
}

/// What the streams of a connection are for.
#[derive(Debug, Default)]
struct Streams(Mutex<HashMap<u32, Role>>);

impl Streams {
    fn get(&self, id: u32) -> Option<Role> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }

    /// # Errors
    /// There are too many.
    fn open(&self, id: u32, role: Role) -> Result<(), StreamError> {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.len() >= MOST || streams.insert(id, role).is_some() {
            return Err(StreamError::Protocol("too many streams, or one twice"));
        }
        Ok(())
    }

    fn close(&self, id: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// Most streams at once: two for each connection through a forwarded port.
const MOST: usize = 4096;
