//! SPDY/3.1 between both sides, frame by frame.
//!
//! Control frames pass as they came once they are understood; the client opens every stream, and its headers say what
//! it is for. Data is taken apart and framed anew, since masking changes its length. There is no flow control: the
//! implementation that Kubernetes uses (`moby/spdystream`) has none either, and TCP's is enough for two peers.
//!
//! <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/#TOC-2.2-Framing>

mod down;
mod frame;
mod pairs;
mod up;

use super::tape::Tape;
use super::{Context, Quiet, Role, StreamError, stills};
use proxy_audit::stream::StreamEvent;
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
    let (tape, quiet) = (tokio::sync::Mutex::new(tape), Quiet::default());
    let mut down = down::Down::new(to_client, &streams, &tape, context.is_interactive);
    let ended = {
        let up = up::Up::new(to_server, &streams, &tape, &quiet).run(BufReader::new(from_client));
        let down = down.run(BufReader::new(from_server), &quiet);
        tokio::pin!(up, down);
        tokio::select! {
            ended = &mut down => ended,
            // what the API server still says, nobody hears
            ended = &mut up => ended,
            unrecorded = stills(&tape) => Err(unrecorded),
            () = context.running.over().cancelled() => Err(StreamError::Ended),
        }
    };
    let status = matches!(ended, Err(StreamError::Ended)).then(|| context.reason().status().to_string());
    let parted = context.last(down.part(status)).await;
    ended.and(parted)
}

/// What the streams of a connection are for. The client opens them, with ever higher numbers.
#[derive(Debug, Default)]
struct Streams(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    streams: HashMap<u32, Stream>,
    highest: u32,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    role: Role,
    /// Whether the client, and the API server, may still send.
    halves: [bool; 2],
}

/// Who sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum From {
    Client,
    Server,
}

impl Streams {
    /// What a stream is for. `None`: it was closed by both, or by one of them for both, and what is still under way on
    /// it means nothing.
    ///
    /// # Errors
    /// Nobody opened it.
    fn get(&self, id: u32) -> Result<Option<Role>, StreamError> {
        let open = self.lock();
        match open.streams.get(&id) {
            Some(stream) => Ok(Some(stream.role)),
            None if id <= open.highest => Ok(None),
            None => Err(StreamError::Protocol("a SPDY stream that nobody opened")),
        }
    }

    /// # Errors
    /// There are too many, or it is none of a client.
    fn open(&self, id: u32, role: Role) -> Result<(), StreamError> {
        let mut open = self.lock();
        if open.streams.len() >= MOST || id <= open.highest {
            return Err(StreamError::Protocol("too many streams, or one twice"));
        }
        open.highest = id;
        open.streams.insert(id, Stream { role, halves: [true; 2] });
        drop(open);
        Ok(())
    }

    /// One side says nothing more on it.
    fn half_close(&self, id: u32, from: From) {
        let mut open = self.lock();
        if let Some(stream) = open.streams.get_mut(&id) {
            let [client, server] = &mut stream.halves;
            *(if from == From::Client { client } else { server }) = false;
            if stream.halves == [false; 2] {
                open.streams.remove(&id);
            }
        }
    }

    /// One side wants nothing more of it. What it was, if it was still open.
    fn reset(&self, id: u32) -> Option<Stream> {
        self.lock().streams.remove(&id)
    }

    /// The stream on which the outcome is told.
    fn outcome(&self) -> Option<u32> {
        let open = self.lock();
        open.streams.iter().find(|(_, stream)| stream.role == Role::Error).map(|(id, _)| *id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One side wants nothing more of a stream: what is held of it is recorded, and that this is all.
async fn reset(streams: &Streams, tape: &mut Tape, id: u32) -> Result<(), StreamError> {
    let stream = streams.reset(id);
    tape.forget(|one| one == id).await?;
    if let Some(Stream { role: Role::Tunnel(channel), halves }) = stream {
        for (channel, is_open) in [channel, channel.answering()].into_iter().zip(halves) {
            if is_open {
                tape.event(&StreamEvent::End(channel)).await?;
            }
        }
    }
    Ok(())
}

/// Most streams at once: two for each connection through a forwarded port.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_audit::stream::Channel;

    #[test]
    fn a_stream_lasts_until_both_have_closed_it_and_is_not_opened_again() {
        let streams = Streams::default();
        let role = Role::Tunnel(Channel(4));
        streams.open(1, role).unwrap();
        streams.half_close(1, From::Server);
        assert_eq!(streams.get(1).unwrap(), Some(role));
        streams.half_close(1, From::Client);
        assert_eq!(streams.get(1).unwrap(), None);
        assert!(streams.open(1, role).is_err());
        assert!(streams.get(3).is_err());
    }

    #[test]
    fn closed_streams_make_room() {
        let streams = Streams::default();
        for id in 0..10_000 {
            streams.open(id * 2 + 1, Role::Error).unwrap();
            streams.half_close(id * 2 + 1, From::Client);
            streams.half_close(id * 2 + 1, From::Server);
        }
        for id in 10_000..10_000 + u32::try_from(MOST).unwrap() {
            streams.open(id * 2 + 1, Role::Error).unwrap();
        }
        assert!(streams.open(1_000_001, Role::Error).is_err());
    }
}
