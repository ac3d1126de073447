//! How much a client may send on the channels of its connection, where one of them does not keep up.
//!
//! The library opens a channel's window again when data comes, not when somebody has taken it, and reads nothing more of
//! the connection while a channel's queue is full. All that it asks is how far windows are opened, for every channel of
//! the connection, each time that it opens one. So while a channel is full, windows are opened by the least there is:
//! what the client may still send on that channel ends, it is taken to the side, and the connection is read on. Two
//! bytes at a time are still let in, because the library asks at no other moment; they are let in slowly.
//!
//! A channel that has used up its window meanwhile waits as well: `starved` tells the full one, which has to give way
//! when it goes on taking nothing.

use crate::upstream::WINDOW_BYTES;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The windows of one connection.
#[derive(Debug, Default)]
pub(crate) struct Flow(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    full: HashSet<u32>,
    /// When a channel that is not full last asked for more than it got.
    starved: Option<Instant>,
}

impl Flow {
    /// From now until the value is dropped the channel of this number has more than it can give on.
    pub(crate) fn full(self: &Arc<Self>, channel: u32) -> Full {
        self.open().full.insert(channel);
        Full { flow: Arc::clone(self), channel }
    }

    /// How far windows are opened, in bytes, when that of `channel` is opened.
    pub(crate) fn opened(&self, channel: u32) -> u32 {
        let mut open = self.open();
        if open.full.is_empty() {
            return WINDOW_BYTES;
        }
        if !open.full.contains(&channel) {
            open.starved = Some(Instant::now());
        }
        NARROW_BYTES
    }

    /// Lets in what comes through a window of [`NARROW_BYTES`], slowly: whoever sends it sends the next at once.
    pub(crate) async fn slow(&self, bytes: usize) {
        if bytes <= NARROW_BYTES as usize && !self.open().full.is_empty() {
            tokio::time::sleep(NARROW_EVERY).await;
        }
    }

    /// Whether another channel has had to wait since then because one is full.
    pub(crate) fn starved_since(&self, then: Instant) -> bool {
        self.open().starved.is_some_and(|at| at > then)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel that is full, for as long as this is.
#[derive(Debug)]
pub(crate) struct Full {
    flow: Arc<Flow>,
    channel: u32,
}

impl Drop for Full {
    fn drop(&mut self) {
        let mut open = self.flow.open();
        open.full.remove(&self.channel);
        if open.full.is_empty() {
            open.starved = None;
        }
    }
}

/// The least that the library opens a window by and still asks again: it does so below half of it, in whole bytes.
const NARROW_BYTES: u32 = 2;
/// Time that so little takes.
const NARROW_EVERY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_narrow_while_a_channel_is_full_and_say_who_else_waits() {
        let flow = Arc::new(Flow::default());
        let before = Instant::now();
        assert_eq!(flow.opened(1), WINDOW_BYTES);
        let full = flow.full(1);
        assert_eq!(flow.opened(1), NARROW_BYTES);
        assert!(!flow.starved_since(before), "it waits for itself");
        assert_eq!(flow.opened(2), NARROW_BYTES);
        assert!(flow.starved_since(before) && !flow.starved_since(Instant::now()));
        drop(full);
        assert!(!flow.starved_since(before));
        assert_eq!(flow.opened(2), WINDOW_BYTES);
    }
}
