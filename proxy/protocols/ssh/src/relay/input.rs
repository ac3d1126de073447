//! From the client to the host.
//!
//! Each channel takes a bounded number of bytes ahead of its host. When that is reached its client is let send no more
//! (`flow`), and what it may still send is laid aside, so that the connection's other channels go on. A channel whose
//! host takes nothing is ended only when it stops others all the same: when it has more aside than it may, or another
//! channel has used up what it may send meanwhile, for longer than `Limits::stalled`.

use super::files::Files;
use super::recorder::Recorder;
use super::{Ahead, Size, signal_name};
use crate::flow::Full;
use crate::refusals::refusal;
use crate::session::Session;
use bytes::Bytes;
use proxy_audit::stream::{Channel, StreamEvent};
use proxy_core::mask::StreamMasker;
use proxy_core::refusal::{Refusal, RefusalKind};
use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig, client};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Something for the host.
#[derive(Debug)]
pub(super) enum Item {
    Data(Bytes),
    Ended,
    Resized(Size),
    Signalled(Sig),
}

impl Item {
    /// What it takes to keep it, in bytes: a signal is not let in through any window.
    fn bytes(&self) -> usize {
        match self {
            Self::Data(data) => ITEM_BYTES.saturating_add(data.len()),
            Self::Signalled(Sig::Custom(name)) => ITEM_BYTES.saturating_add(name.len()),
            Self::Resized(_) | Self::Signalled(_) => ITEM_BYTES,
            // there is one, and it may have to be said to one who takes nothing
            Self::Ended => 0,
        }
    }

    /// The room that it takes.
    fn room(&self) -> u32 {
        u32::try_from(self.bytes()).unwrap_or(u32::MAX).min(INPUT_BYTES)
    }
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

/// Takes what the client sends, at most [`INPUT_BYTES`] ahead of the host, and [`ASIDE_BYTES`] beside.
pub(super) struct Reader {
    pub(super) session: Arc<Session>,
    pub(super) read: ChannelReadHalf,
    pub(super) signals: Signals,
    pub(super) items: mpsc::UnboundedSender<Item>,
    pub(super) room: Arc<Semaphore>,
    pub(super) aside: Aside,
    /// The number of the channel.
    pub(super) number: u32,
}

/// What came while there was no room.
#[derive(Debug, Default)]
pub(super) struct Aside {
    items: VecDeque<Item>,
    bytes: usize,
    full: Option<Full>,
}

impl Aside {
    /// Adds to the end; small pieces become larger ones, and of sizes only the last counts.
    fn push(&mut self, item: Item) {
        match (self.items.back_mut(), &item) {
            (Some(Item::Data(last)), Item::Data(data))
                if last.len().saturating_add(data.len()) <= PIECE_BYTES =>
            {
                self.bytes = self.bytes.saturating_add(data.len());
                *last = [&last[..], &data[..]].concat().into();
            }
            (Some(Item::Resized(last)), Item::Resized(size)) => *last = *size,
            _ => {
                self.bytes = self.bytes.saturating_add(item.bytes());
                self.items.push_back(item);
            }
        }
    }

    /// The room that the first one needs.
    fn needs(&self) -> Option<u32> {
        self.items.front().map(Item::room)
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front();
        self.bytes = self.bytes.saturating_sub(item.as_ref().map_or(0, Item::bytes));
        if self.items.is_empty() {
            self.full = None;
        }
        item
    }
}

impl Reader {
    /// Runs until the channel is over.
    pub(super) async fn run(mut self, ahead: Ahead) {
        let Ahead { data, ended, signals, full, bytes: _ } = ahead;
        drop(full);
        for data in data {
            self.aside.push(Item::Data(data));
        }
        for signal in signals {
            self.aside.push(Item::Signalled(signal));
        }
        if ended {
            self.aside.push(Item::Ended);
        }
        let mut moved = Instant::now();
        let limit = self.session.options.limits.stalled;
        let room = Arc::clone(&self.room);
        loop {
            if self.put_on() {
                moved = Instant::now();
            }
            let needs = self.aside.needs();
            tokio::select! {
                () = self.signals.over.cancelled() => return,
                there = room.acquire_many(needs.unwrap_or(0)), if needs.is_some() => drop(there),
                message = self.read.wait(), if self.aside.bytes < ASIDE_BYTES => match message {
                    Some(ChannelMsg::Close) | None => return self.signals.gone.cancel(),
                    Some(message) => self.took(message),
                },
                () = tokio::time::sleep_until(moved + limit), if self.aside.full.is_some() => {
                    if self.is_in_the_way(moved) {
                        return self.signals.fail(refusal(
                            RefusalKind::TooLarge,
                            "the program takes no input, and what was sent to it stops this connection's other channels",
                            "send it less, or run it on a connection of its own",
                        ));
                    }
                    moved = Instant::now();
                }
            }
        }
    }

    /// Gives on what there is room for. `true`: something, or there was nothing.
    fn put_on(&mut self) -> bool {
        let mut moved = self.aside.items.is_empty();
        while let Some(needs) = self.aside.needs() {
            let Ok(room) = self.room.try_acquire_many(needs) else {
                if self.aside.full.is_none() {
                    self.aside.full = Some(self.session.flow.full(self.number));
                }
                return moved;
            };
            room.forget();
            moved = true;
            // The receiver lives as long as the channel.
            if self.aside.pop().is_some_and(|item| self.items.send(item).is_err()) {
                self.signals.over.cancel();
            }
        }
        moved
    }

    /// Whether this channel, which has given nothing on since then, stops others.
    fn is_in_the_way(&self, since: Instant) -> bool {
        let blocks = self.aside.bytes >= ASIDE_BYTES && self.session.tasks.len() > 1;
        blocks || self.session.flow.starved_since(since)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's list of messages grows")]
    fn took(&mut self, message: ChannelMsg) {
        let item = match message {
            ChannelMsg::Data { data } => Item::Data(data),
            ChannelMsg::Eof => Item::Ended,
            ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height } => {
                Item::Resized(Size {
                    columns: col_width,
                    rows: row_height,
                    width: pix_width,
                    height: pix_height,
                })
            }
            ChannelMsg::Signal { signal } => Item::Signalled(signal),
            _ => return,
        };
        self.aside.push(item);
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
            self.room.add_permits(item.room() as usize);
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

/// Bytes that a channel lays aside beyond that before nothing more is read of its connection: what a client may still
/// send when it is let send no more, and for hours what comes through the least of windows.
const ASIDE_BYTES: usize = 8 << 20;

/// What each takes beside its data.
const ITEM_BYTES: usize = 64;

/// Pieces that are laid aside are joined up to so many bytes.
const PIECE_BYTES: usize = 4 << 10;

/// The client's half, as the rest of this room names it.
pub(super) type ClientWrite = ChannelWriteHalf<Msg>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_laid_aside_counts_and_of_sizes_the_last() {
        let size = |columns| Item::Resized(Size { columns, rows: 24, width: 0, height: 0 });
        let mut aside = Aside::default();
        for columns in 0..10_000 {
            aside.push(size(columns));
        }
        assert_eq!((aside.items.len(), aside.bytes), (1, ITEM_BYTES));
        for _ in 0..1_000 {
            aside.push(Item::Signalled(Sig::INT));
            aside.push(Item::Data(Bytes::new()));
        }
        aside.push(Item::Data(Bytes::from_static(b"abc")));
        aside.push(Item::Signalled(Sig::Custom("x".repeat(100))));
        assert_eq!(aside.bytes, ITEM_BYTES * 2_002 + 103);
        assert!(aside.needs().is_some_and(|room| room as usize == ITEM_BYTES));
        let Some(Item::Resized(last)) = aside.pop() else { panic!("sizes come first") };
        assert_eq!(last.columns, 9_999);
        while aside.pop().is_some() {}
        assert_eq!(aside.bytes, 0);
    }
}
