//! From the client to the host.
//!
//! The library reads a client's connection only as fast as its slowest channel takes what comes, and a window, once
//! given, cannot be held back. So each channel takes a bounded number of bytes ahead of its host; one that is full stops
//! the connection's others. It may do that for as long as its host takes something, and for `Limits::stalled` when the
//! host takes nothing; then it is ended, unless it is alone.

use super::files::Files;
use super::recorder::Recorder;
use super::{Ahead, Size, signal_name};
use crate::refusals::refusal;
use crate::session::Session;
use bytes::Bytes;
use proxy_audit::stream::{Channel, StreamEvent};
use proxy_core::mask::StreamMasker;
use proxy_core::refusal::{Refusal, RefusalKind};
use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig, client};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Something for the host.
#[derive(Debug)]
pub(super) enum Item {
    Data(Bytes),
    Ended,
    Resized(Size),
    Signalled(Sig),
}

/// How the two directions of a channel tell each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    /// The client closed the channel, or left.
    pub(super) gone: CancellationToken,
    /// Nothing more comes from the host, or nothing more may.
    pub(super) over: CancellationToken,
    /// The channel has to end for this reason.
    pub(super) failed: Arc<std::sync::OnceLock<Refusal>>,
}

impl Signals {
    /// Ends the channel.
    pub(super) fn fail(&self, why: Refusal) {
        // The first reason is the one that is told.
        self.failed.set(why).unwrap_or_default();
        self.over.cancel();
    }
}

/// Takes what the client sends, at most [`INPUT_BYTES`] ahead of the host.
pub(super) struct Reader {
    pub(super) session: Arc<Session>,
    pub(super) read: ChannelReadHalf,
    pub(super) signals: Signals,
    pub(super) items: mpsc::UnboundedSender<Item>,
    pub(super) room: Arc<Semaphore>,
}

impl Reader {
    /// Runs until the channel is over.
    pub(super) async fn run(mut self, ahead: Ahead) {
        for data in ahead.data {
            if !self.take(data).await {
                return;
            }
        }
        if ahead.ended {
            self.put(Item::Ended);
        }
        loop {
            let message = tokio::select! {
                () = self.signals.over.cancelled() => return,
                message = self.read.wait() => message,
            };
            match message {
                Some(ChannelMsg::Data { data }) => {
                    if !self.take(data).await {
                        return;
                    }
                }
                Some(ChannelMsg::Eof) => self.put(Item::Ended),
                Some(ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height }) => {
                    let size =
                        Size { columns: col_width, rows: row_height, width: pix_width, height: pix_height };
                    self.put(Item::Resized(size));
                }
                Some(ChannelMsg::Signal { signal }) => self.put(Item::Signalled(signal)),
                Some(ChannelMsg::Close) | None => {
                    self.signals.gone.cancel();
                    return;
                }
                Some(_) => {}
            }
        }
    }

    /// Waits for room. `false`: the channel is over.
    async fn take(&self, data: Bytes) -> bool {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX).min(INPUT_BYTES);
        loop {
            let waited = tokio::select! {
                () = self.signals.over.cancelled() => return false,
                waited = tokio::time::timeout(self.session.options.limits.stalled, self.room.acquire_many(length)) => waited,
            };
            match waited {
                Ok(Ok(room)) => {
                    room.forget();
                    self.put(Item::Data(data));
                    return true;
                }
                Ok(Err(_)) => return false,
                Err(_) if self.session.tasks.len() > 1 => {
                    self.signals.fail(refusal(
                        RefusalKind::TooLarge,
                        "the program takes no input, and what was sent to it stops this connection's other channels",
                        "send it less, or run it on a connection of its own",
                    ));
                    return false;
                }
                Err(_) => {}
            }
        }
    }

    /// The receiver lives as long as the channel.
    fn put(&self, item: Item) {
        if self.items.send(item).is_err() {
            self.signals.over.cancel();
        }
    }
}

/// Gives it to the host.
pub(super) struct Writer<'a> {
    pub(super) recorder: &'a Recorder,
    pub(super) write: &'a ChannelWriteHalf<client::Msg>,
    pub(super) signals: Signals,
    pub(super) items: mpsc::UnboundedReceiver<Item>,
    pub(super) room: Arc<Semaphore>,
    /// Input is recorded; what is typed into a terminal is not: nobody echoes a password.
    pub(super) log: Option<StreamMasker>,
    /// The channel is the subsystem `sftp`.
    pub(super) files: Option<Arc<Files>>,
}

impl Writer<'_> {
    /// Runs until the channel is over.
    pub(super) async fn run(mut self) {
        loop {
            let item = tokio::select! {
                () = self.signals.over.cancelled() => return,
                item = self.items.recv() => item,
            };
            let Some(item) = item else { return };
            let given = if let (Some(files), Item::Data(data)) = (&self.files, &item) {
                // What is decided there must be seen through: it looks at the signals itself.
                Box::pin(files.client(data, self.write)).await
            } else {
                tokio::select! {
                    biased;
                    given = Box::pin(give(self.recorder, self.write, self.log.as_mut(), &item)) => given,
                    () = self.signals.over.cancelled() => return,
                }
            };
            if let Err(refusal) = given {
                self.signals.fail(refusal);
                return;
            }
            if let Item::Data(data) = item {
                self.room.add_permits(data.len().min(INPUT_BYTES as usize));
            }
        }
    }
}

async fn give(
    recorder: &Recorder,
    write: &ChannelWriteHalf<client::Msg>,
    log: Option<&mut StreamMasker>,
    item: &Item,
) -> Result<(), Refusal> {
    let sent = match item {
        Item::Data(data) => {
            if let Some(masked) = log {
                let mut out = Vec::with_capacity(data.len());
                masked.push(data, &mut out);
                recorder.input(&out).await?;
            }
            recorder.files(Channel::STDIN, data).await?;
            write.data_bytes(data.clone()).await
        }
        Item::Ended => {
            if let Some(masked) = log {
                let mut out = Vec::new();
                masked.finish(&mut out);
                recorder.input(&out).await?;
            }
            recorder.event(&StreamEvent::End(Channel::STDIN)).await?;
            write.eof().await
        }
        Item::Resized(size) => {
            recorder.event(&resize(*size)).await?;
            write.window_change(size.columns, size.rows, size.width, size.height).await
        }
        Item::Signalled(signal) => {
            recorder.event(&StreamEvent::Signal(signal_name(signal))).await?;
            write.signal(signal.clone()).await
        }
    };
    // A host that is gone shows itself on the other direction.
    sent.or_else(|error| {
        tracing::debug!(%error, "write to the host");
        Ok(())
    })
}

/// A terminal's size, for the record.
pub(super) fn resize(size: Size) -> StreamEvent {
    let short = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    StreamEvent::Resize { columns: short(size.columns), rows: short(size.rows) }
}

/// Bytes that a channel takes ahead of its host.
pub(super) const INPUT_BYTES: u32 = 2 << 20;

/// The client's half, as the rest of this room names it.
pub(super) type ClientWrite = ChannelWriteHalf<Msg>;
