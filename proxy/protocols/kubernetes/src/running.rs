//! Commands that go on for as long as they like: watches, logs that are followed, streams into a pod. When policies
//! change against one of them it ends.

use crate::mask::Masks;
use crate::session::Session;
use crate::status::Failure;
use proxy_core::gate::Gate;
use proxy_core::refusal::Refusal;
use proxy_policy::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use tokio_util::sync::CancellationToken;

/// One of them. Whoever runs it holds it to its end.
#[derive(Debug)]
pub(crate) struct Running {
    command: Arc<Command>,
    masks: Masks,
    over: CancellationToken,
    why: OnceLock<Over>,
}

/// What the policies of now have against it.
#[derive(Debug)]
enum Over {
    /// They deny it.
    Denied(Refusal),
    /// They mask something else: begun again, it has the new masks.
    OtherMasks,
}

impl Running {
    /// Fires when it may not go on, or its session may not, or the gateway stops.
    pub(crate) const fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// It may begin again at once.
    pub(crate) fn may_begin_again(&self) -> bool {
        matches!(self.why.get(), Some(Over::OtherMasks))
    }

    /// Why it ended, in words for its client.
    pub(crate) fn reason(&self, session: &Session) -> Failure {
        match self.why.get() {
            Some(Over::Denied(refusal)) => Failure::from(refusal.clone()),
            Some(Over::OtherMasks) => Failure::from(Refusal::ended(
                "what is masked for this identity has changed while it ran; run it again",
            )),
            None => session.reason(),
        }
    }

    /// What has come between, if anything has.
    fn judged(&self, gate: &mut Gate, now: &Masks) -> Option<Over> {
        match gate.denial(&self.command) {
            Some(refusal) => Some(Over::Denied(refusal)),
            None => (!self.masks.are(now)).then_some(Over::OtherMasks),
        }
    }
}

/// All of them that a session runs.
#[derive(Debug, Default)]
pub(crate) struct Commands(Mutex<Vec<Weak<Running>>>);

impl Commands {
    /// One begins, in a session that lasts until `ended`.
    pub(crate) fn begin(
        &self,
        command: Arc<Command>,
        masks: Masks,
        ended: &CancellationToken,
    ) -> Arc<Running> {
        let running = Running { command, masks, over: ended.child_token(), why: OnceLock::new() };
        let running = Arc::new(running);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&running));
        running
    }

    /// The policies may have changed: ends those that may not go on as they are.
    pub(crate) fn judge(&self, gate: &mut Gate, now: &Masks) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for running in all.iter().filter_map(Weak::upgrade) {
            if let Some(over) = running.judged(gate, now) {
                running.why.get_or_init(|| over);
                running.over.cancel();
            }
        }
    }
}
