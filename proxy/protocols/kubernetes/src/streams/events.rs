//! A watch over WebSocket: each event a message.

use super::tape::Tape;
use super::websocket::{accepted, connected, part};
use super::{Context, StreamError};
use crate::mask::{Answer, Masks};
use crate::request::RequestInfo;
use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use proxy_audit::stream::Channel;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// Relays the events of a watch, masked. When the session ends, the last event says so.
///
/// # Errors
/// It broke off.
pub(super) async fn relay<C, S>(
    client: C,
    server: S,
    (info, masks): (&RequestInfo, &Masks),
    context: &Context,
    tape: &mut Tape,
) -> Result<(), StreamError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut to_client, mut from_client) = accepted(client, context.message_bytes).await.split();
    let (mut to_server, mut from_server) = connected(server, context.message_bytes).await.split();
    let ended = tokio::select! {
        ended = forward(&mut from_server, &mut to_client, (info, masks), tape) => ended,
        () = listen(&mut from_client) => Ok(()),
        // its client starts another
        () = context.drain.cancelled() => Ok(()),
        () = context.running.over().cancelled() => {
            if context.running.may_begin_again() { Ok(()) } else { Err(StreamError::Ended) }
        }
    };
    let is_cut = matches!(ended, Err(StreamError::Ended));
    let parted = context.last(async {
        if is_cut {
            let event = context.reason().event();
            tape.data(Channel::STDOUT, event.as_bytes()).await?;
            to_client.send(Message::Text(event.into())).await?;
        }
        part(&mut to_server).await;
        part(&mut to_client).await;
        Ok(())
    });
    let parted = parted.await;
    ended.and(parted)
}

/// A client says nothing on a watch but that it is over.
async fn listen<R>(from: &mut R)
where
    R: Stream<Item = Result<Message, Error>> + Unpin,
{
    while let Some(Ok(Message::Ping(_) | Message::Pong(_))) = from.next().await {}
}

async fn forward<R, W>(
    from: &mut R,
    to: &mut W,
    (info, masks): (&RequestInfo, &Masks),
    tape: &mut Tape,
) -> Result<(), StreamError>
where
    R: Stream<Item = Result<Message, Error>> + Unpin,
    W: Sink<Message, Error = Error> + Unpin,
{
    loop {
        let message = match from.next().await {
            None | Some(Ok(Message::Close(_)) | Err(Error::ConnectionClosed)) => return Ok(()),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(event @ (Message::Binary(_) | Message::Text(_)))) => masked(event, (info, masks), tape)?,
            Some(Err(error)) => return Err(error.into()),
        };
        // shared, not copied
        tape.data(Channel::STDOUT, &message.clone().into_data()).await?;
        to.send(message).await?;
    }
}

/// An event as the client may have it; in the form in which it came where nothing is masked.
fn masked(
    event: Message,
    (info, masks): (&RequestInfo, &Masks),
    tape: &mut Tape,
) -> Result<Message, StreamError> {
    let answer = Answer { status: 200, content_type: Some("application/json"), content_encoding: None };
    let withheld = StreamError::Protocol("an event that cannot be masked");
    let Ok(mut masker) = masks.response(info, answer) else { return Err(withheld) };
    if masker.is_transparent() {
        return Ok(event);
    }
    let event = event.into_data();
    let mut out = Vec::with_capacity(event.len());
    if masker.push(&event, &mut out).is_err() || masker.finish(&mut out).is_err() {
        return Err(withheld);
    }
    tape.count(masker.counts());
    Utf8Bytes::try_from(Bytes::from(out)).map(Message::Text).or(Err(withheld))
}
