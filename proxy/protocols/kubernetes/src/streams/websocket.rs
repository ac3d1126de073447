//! WebSocket (RFC 6455) between both sides: channels of a program or of ports, events of a watch, or bytes.

use super::channels::{CLOSE, Channels};
use super::output::{self, Output, QUIET};
use super::tape::Tape;
use super::{Context, PARTING, Quiet, Role, StreamError, stills};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt as _, StreamExt as _};
use proxy_audit::stream::{Channel, StreamEvent};
use proxy_core::gate::Chain;
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::task::{self, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role as Side, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

/// The client's side, after the 101.
pub(super) async fn accepted<T: AsyncRead + AsyncWrite + Unpin>(io: T, limit: usize) -> WebSocketStream<T> {
    WebSocketStream::from_raw_socket(io, Side::Server, Some(config(limit))).await
}

/// The API server's side, after the 101.
pub(super) async fn connected<T: AsyncRead + AsyncWrite + Unpin>(io: T, limit: usize) -> WebSocketStream<T> {
    WebSocketStream::from_raw_socket(io, Side::Client, Some(config(limit))).await
}

fn config(limit: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit))
        .write_buffer_size(0)
        .max_write_buffer_size(limit.saturating_mul(2))
}

/// Relays channels until the API server closes.
///
/// # Errors
/// It broke off.
pub(super) async fn relay<C, S>(
    client: C,
    server: S,
    channels: Channels,
    context: &Context,
    tape: &mut Tape,
) -> Result<(), StreamError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut to_client, from_client) = accepted(client, context.message_bytes).await.split();
    let (to_server, from_server) = connected(server, context.message_bytes).await.split();
    let (tape, quiet) = (Mutex::new(tape), Quiet::default());
    let mut down = Down { channels, tape: &tape, outputs: BTreeMap::new() };
    let ended = {
        let up = upwards(from_client, to_server, channels, (&tape, &quiet));
        let down = downwards(from_server, &mut to_client, &mut down, (context.is_interactive, &quiet));
        tokio::pin!(up, down);
        tokio::select! {
            ended = &mut down => ended,
            sent = &mut up => match sent {
                // the client has closed: the API server ends the program, and says so or not
                Ok(()) => tokio::time::timeout(PARTING, down).await.unwrap_or(Ok(())),
                Err(error) => Err(error),
            },
            unrecorded = stills(&tape) => Err(unrecorded),
            () = context.running.over().cancelled() => Err(StreamError::Ended),
        }
    };
    let is_cut = matches!(ended, Err(StreamError::Ended)) && channels == Channels::Program;
    let parted = context.last(async {
        down.finish(&mut to_client).await?;
        if is_cut {
            let status = context.reason().status().to_string();
            to_client.send(framed(super::channels::OUTCOME, status.as_bytes())).await?;
        }
        part(&mut to_client).await;
        Ok(())
    });
    let parted = parted.await;
    ended.and(parted)
}

/// Closes as the API server does: kubectl takes a close without a code for an error. The peer may be gone already.
pub(super) async fn part<W: Sink<Message, Error = Error> + Unpin>(to: &mut W) {
    to.send(Message::Close(Some(goodbye()))).await.unwrap_or_default();
}

fn goodbye() -> CloseFrame {
    CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() }
}

/// Relays until the client closes.
async fn upwards<C, S>(
    mut from: SplitStream<WebSocketStream<C>>,
    mut to: SplitSink<WebSocketStream<S>, Message>,
    channels: Channels,
    (tape, quiet): (&Mutex<&mut Tape>, &Quiet),
) -> Result<(), StreamError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    match send_on(&mut from, &mut to, channels, (tape, quiet)).await {
        Err(StreamError::Unheard(error)) => {
            tracing::debug!(error = %Chain(&error), "the client speaks on after the API server has gone");
            while !matches!(from.next().await, None | Some(Ok(Message::Close(_)) | Err(_))) {}
        }
        ended => ended?,
    }
    part(&mut to).await;
    Ok(())
}

async fn send_on<C, S>(
    from: &mut SplitStream<WebSocketStream<C>>,
    to: &mut SplitSink<WebSocketStream<S>, Message>,
    channels: Channels,
    (tape, quiet): (&Mutex<&mut Tape>, &Quiet),
) -> Result<(), StreamError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = from.next().await {
        let message = match message {
            Ok(message) => message,
            Err(Error::ConnectionClosed | Error::Protocol(_)) => break,
            Err(error) => return Err(error.into()),
        };
        let data: &[u8] = match &message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.as_bytes(),
            Message::Close(_) => break,
            // kubectl keeps idle streams alive so, and the way to the API server may be cut as well
            Message::Ping(_) if !quiet.is_long() => continue,
            Message::Ping(_) => {
                to.send(Message::Ping(Bytes::new())).await.map_err(StreamError::unheard)?;
                continue;
            }
            Message::Pong(_) | Message::Frame(_) => continue,
        };
        let Some((channel, payload)) = data.split_first() else { continue };
        let mut tape = tape.lock().await;
        match channels.of_client(*channel) {
            Some(Role::Input) => tape.copy(0, Channel::STDIN, payload).await?,
            Some(Role::Tunnel(own)) => tape.copy(u32::from(*channel), own, payload).await?,
            Some(Role::Resize) => {
                if let Some(size) = output::size(payload) {
                    tape.event(&size).await?;
                }
            }
            None if *channel == CLOSE => {
                tape.copied(0, Channel::STDIN).await?;
                let closed = payload.first().copied().unwrap_or_default();
                tape.event(&StreamEvent::End(Channel(u32::from(closed)))).await?;
            }
            Some(Role::Output(_) | Role::Error) | None => {
                return Err(StreamError::Protocol("a channel that is not the client's"));
            }
        }
        drop(tape);
        to.send(message).await.map_err(StreamError::unheard)?;
    }
    Ok(())
}

/// The way to the client.
struct Down<'a, 't> {
    channels: Channels,
    tape: &'a Mutex<&'t mut Tape>,
    outputs: BTreeMap<u8, Output>,
}

async fn downwards<C, S>(
    mut from: SplitStream<WebSocketStream<S>>,
    to: &mut SplitSink<WebSocketStream<C>, Message>,
    down: &mut Down<'_, '_>,
    (is_interactive, quiet): (bool, &Quiet),
) -> Result<(), StreamError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        quiet.begins();
        let message = if is_interactive && down.outputs.values().any(Output::holds) {
            match tokio::time::timeout(QUIET, from.next()).await {
                Ok(message) => message,
                Err(_quiet) => {
                    down.quiet(to).await?;
                    from.next().await
                }
            }
        } else {
            from.next().await
        };
        quiet.ends();
        match message {
            None | Some(Ok(Message::Close(_)) | Err(Error::ConnectionClosed)) => return Ok(()),
            Some(Ok(Message::Binary(bytes))) => down.take(&bytes, to).await?,
            Some(Ok(Message::Text(text))) => down.take(text.as_bytes(), to).await?,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

impl Down<'_, '_> {
    async fn take<W>(&mut self, data: &[u8], to: &mut W) -> Result<(), StreamError>
    where
        W: Sink<Message, Error = Error> + Unpin,
    {
        let Some((channel, payload)) = data.split_first() else { return Ok(()) };
        let released: Bytes = match self.channels.of_server(*channel) {
            Some(Role::Output(own)) => {
                let released = self.output(*channel, own, payload).await?;
                if released.is_empty() && !payload.is_empty() {
                    return Ok(());
                }
                released.into()
            }
            Some(Role::Error) => {
                self.finish(to).await?;
                let mut tape = self.tape.lock().await;
                output::outcome(payload, &mut tape).await?.into()
            }
            Some(Role::Tunnel(own)) => {
                let mut tape = self.tape.lock().await;
                tape.copy(u32::from(*channel), own, payload).await?;
                Bytes::copy_from_slice(payload)
            }
            // "closed", of v5: what it is about is whole
            None if *channel == CLOSE => {
                let closed = payload.first().copied();
                let of = |output: &u8| Some(*output) == closed;
                self.release(to, of).await?;
                Bytes::copy_from_slice(payload)
            }
            Some(Role::Input | Role::Resize) | None => {
                return Err(StreamError::Protocol("a channel that is not the API server's"));
            }
        };
        to.send(framed(*channel, &released)).await?;
        Ok(())
    }

    /// What may be sent of an output. A port's channel of failures begins with the number of the port, which is none.
    async fn output(&mut self, channel: u8, own: Channel, payload: &[u8]) -> Result<Vec<u8>, StreamError> {
        let mut tape = self.tape.lock().await;
        let is_greeting =
            own.failed().is_some() && payload.len() == PORT && !self.outputs.contains_key(&channel);
        let masker = tape.masker().clone();
        let output = self.outputs.entry(channel).or_insert_with(|| Output::new(own, masker));
        if is_greeting {
            tape.data(Channel::STDERR, payload).await?;
            return Ok(payload.to_vec());
        }
        Ok(output.push(payload, &mut tape).await?)
    }

    async fn quiet<W>(&mut self, to: &mut W) -> Result<(), StreamError>
    where
        W: Sink<Message, Error = Error> + Unpin,
    {
        for (channel, output) in &mut self.outputs {
            let released = output.quiet(*self.tape.lock().await).await?;
            if !released.is_empty() {
                to.send(framed(*channel, &released)).await?;
            }
        }
        Ok(())
    }

    /// Gives out what is held back of these channels. The tape is free while a slow client is waited for.
    async fn release<W>(&mut self, to: &mut W, of: impl Fn(&u8) -> bool) -> Result<(), StreamError>
    where
        W: Sink<Message, Error = Error> + Unpin,
    {
        for (channel, output) in self.outputs.iter_mut().filter(|(channel, _)| of(channel)) {
            let released = output.finish(*self.tape.lock().await).await?;
            if !released.is_empty() {
                to.send(framed(*channel, &released)).await?;
            }
        }
        Ok(())
    }

    /// Gives out what is held back of every channel.
    async fn finish<W>(&mut self, to: &mut W) -> Result<(), StreamError>
    where
        W: Sink<Message, Error = Error> + Unpin,
    {
        self.release(to, |_| true).await
    }
}

/// Bytes of a port's number.
const PORT: usize = 2;

fn framed(channel: u8, payload: &[u8]) -> Message {
    let mut message = BytesMut::with_capacity(payload.len().saturating_add(1));
    message.put_u8(channel);
    message.put_slice(payload);
    Message::Binary(message.freeze())
}

/// A WebSocket as bytes in each direction, for what is tunnelled in it.
pub(super) fn bytes<T>(socket: WebSocketStream<T>) -> (impl AsyncRead + Unpin, impl AsyncWrite + Unpin)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (sink, stream) = socket.split();
    let reader = stream
        .take_while(|message| {
            let over = matches!(message, Ok(Message::Close(_)) | Err(Error::ConnectionClosed));
            std::future::ready(!over)
        })
        .filter_map(|message| {
            std::future::ready(match message {
                Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
                Ok(Message::Text(_)) => Some(Err(io::Error::from(io::ErrorKind::InvalidData))),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => None,
                Err(error) => Some(Err(io::Error::other(error))),
            })
        });
    let writer = Parting { sink, is_said: false }
        .sink_map_err(io::Error::other)
        .with(|bytes: Bytes| std::future::ready(Ok::<_, io::Error>(Message::Binary(bytes))));
    (StreamReader::new(reader), SinkWriter::new(CopyToBytes::new(writer)))
}

/// A sink whose close says goodbye.
struct Parting<S> {
    sink: S,
    is_said: bool,
}

impl<S: Sink<Message, Error = Error> + Unpin> Sink<Message> for Parting<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Result<(), Error>> {
        self.sink.poll_ready_unpin(context)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.sink.start_send_unpin(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Result<(), Error>> {
        self.sink.poll_flush_unpin(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Result<(), Error>> {
        if !self.is_said {
            ready!(self.sink.poll_ready_unpin(context))?;
            self.sink.start_send_unpin(Message::Close(Some(goodbye())))?;
            self.is_said = true;
        }
        self.sink.poll_flush_unpin(context)
    }
}
