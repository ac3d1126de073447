//! What a session must notice beside its two streams: the gateway stops, its policies change, its token expires.
//!
//! A task of its own waits for all of that and sets a flag. The session looks at the flag whenever it is polled, which
//! costs one atomic operation; to wait for four things itself, it would have to take their locks each time a byte moves,
//! and all sessions share those locks.

use futures_util::task::AtomicWaker;
use proxy_core::gate::Watch;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The flag of one session, and the task that sets it.
#[derive(Debug)]
pub(super) struct Alarm {
    flag: Arc<Flag>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Flag {
    set: AtomicBool,
    waker: AtomicWaker,
}

impl Alarm {
    /// Rings when the session has to be looked at, and once each when the gateway drains and stops.
    pub(super) fn set(watch: Watch, drain: CancellationToken, stop: CancellationToken) -> Self {
        let flag = Arc::<Flag>::default();
        let task = tokio::spawn(ring(Arc::clone(&flag), watch, drain, stop));
        Self { flag, _task: AbortOnDropHandle::new(task) }
    }

    /// Ready if it rang since the last time; else the task at hand is woken when it does.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        // Registered first, so that no ring falls between looking and waiting.
        self.flag.waker.register(cx.waker());
        if self.flag.set.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }
}

async fn ring(flag: Arc<Flag>, mut watch: Watch, drain: CancellationToken, stop: CancellationToken) {
    let (mut draining, mut stopping) = (false, false);
    loop {
        tokio::select! {
            () = drain.cancelled(), if !draining => draining = true,
            () = stop.cancelled(), if !stopping => stopping = true,
            () = watch.due() => {}
        }
        flag.set.store(true, Ordering::Release);
        flag.waker.wake();
    }
}
