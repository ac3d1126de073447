//! Cancel requests: our own keys, so that a client never learns the server's, and so that a held command can be
//! cancelled as well (<https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>).
//!
//! A cancel request arrives on a connection of its own, without authentication: the key is the authentication. Keys
//! are random, 4 bytes for protocol 3.0 and 32 for 3.2, compared in constant time. They are known to this process
//! only: behind a load balancer, cancel requests must reach the replica that holds the session.

use rand::RngExt as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// All sessions that may be cancelled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry(Arc<Mutex<HashMap<i32, Entry>>>);

#[derive(Debug)]
struct Entry {
    key: Vec<u8>,
    target: Arc<Target>,
}

/// One session, as a cancel request sees it.
#[derive(Debug)]
pub(crate) struct Target {
    /// The session waits for an approval: the cancel is for the gateway. Each hold has a token of its own, so that what
    /// comes at its very end cancels no other.
    hold: Mutex<Option<CancellationToken>>,
    /// How to cancel at the server.
    pub(crate) upstream: UpstreamKey,
}

/// The server's own key for a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpstreamKey {
    /// Process identifier.
    pub(crate) process: i32,
    /// Secret key (protocol 3.0).
    pub(crate) secret: i32,
}

/// What a cancel request amounts to.
#[derive(Debug)]
pub(crate) enum Cancelled {
    /// Nothing: no session has that key.
    Nobody,
    /// The session has been told.
    Held,
    /// The server has to be told.
    Running(UpstreamKey),
}

/// A session's place in the registry; dropping it gives the key up.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Registry,
    /// The process identifier that the client is told.
    pub(crate) process: i32,
    /// The key that the client is told.
    pub(crate) key: Vec<u8>,
    target: Arc<Target>,
}

impl Registry {
    /// Gives a session a key of `key_bytes` random bytes.
    pub(crate) fn register(&self, key_bytes: usize, upstream: UpstreamKey) -> Registration {
        let mut random = rand::rng();
        let mut key = vec![0; key_bytes];
        random.fill(key.as_mut_slice());
        let target = Arc::new(Target { hold: Mutex::default(), upstream });
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let process = loop {
            let process = random.random_range(1..i32::MAX);
            if !entries.contains_key(&process) {
                break process;
            }
        };
        entries.insert(process, Entry { key: key.clone(), target: Arc::clone(&target) });
        Registration { registry: self.clone(), process, key, target }
    }

    /// What a cancel request with that key amounts to. A held session is told.
    pub(crate) fn cancel(&self, process: i32, key: &[u8]) -> Cancelled {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.get(&process) {
            Some(entry) if same(&entry.key, key) => {
                if let Some(hold) = &*entry.target.hold() {
                    hold.cancel();
                    Cancelled::Held
                } else {
                    Cancelled::Running(entry.target.upstream)
                }
            }
            Some(_) | None => Cancelled::Nobody,
        }
    }
}

impl Registration {
    /// From now on a cancel is for the gateway.
    pub(crate) fn hold(&self) {
        *self.target.hold() = Some(CancellationToken::new());
    }

    /// From now on a cancel is for the server. Whether one has come for what was held.
    pub(crate) fn release(&self) -> bool {
        self.target.hold().take().is_some_and(|hold| hold.is_cancelled())
    }

    /// Whether a cancel has come for what is held.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.target.hold().as_ref().is_some_and(CancellationToken::is_cancelled)
    }

    /// How to cancel at the server.
    pub(crate) fn upstream(&self) -> UpstreamKey {
        self.target.upstream
    }

    /// Waits until a held command is cancelled. Cancel safe.
    pub(crate) async fn withdrawn(&self) {
        let hold = self.target.hold().clone();
        match hold {
            Some(hold) => hold.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

impl Target {
    fn hold(&self) -> MutexGuard<'_, Option<CancellationToken>> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.process);
    }
}

/// Compares in a time that depends on the lengths only.
fn same(ours: &[u8], theirs: &[u8]) -> bool {
    let different = ours.iter().zip(theirs).fold(0, |different, (a, b)| different | (a ^ b));
    ours.len() == theirs.len() && different == 0
}

#[cfg(test)]
mod tests {
    use super::{Cancelled, Registry, UpstreamKey};
    use futures_util::FutureExt as _;

    #[test]
    fn only_the_exact_key_cancels_and_only_while_the_session_lives() {
        let registry = Registry::default();
        let session = registry.register(32, UpstreamKey { process: 7, secret: 8 });
        let (process, key) = (session.process, session.key.clone());
        assert!(matches!(registry.cancel(process, &key[..31]), Cancelled::Nobody));
        assert!(matches!(registry.cancel(process, &[0; 32]), Cancelled::Nobody));
        assert!(
            matches!(registry.cancel(process, &key), Cancelled::Running(upstream) if upstream.process == 7)
        );
        session.hold();
        assert!(matches!(registry.cancel(process, &key), Cancelled::Held));
        drop(session);
        assert!(matches!(registry.cancel(process, &key), Cancelled::Nobody));
    }

    #[test]
    fn a_cancel_at_the_end_of_a_hold_is_told_then_and_cancels_no_other() {
        let registry = Registry::default();
        let session = registry.register(32, UpstreamKey { process: 7, secret: 8 });
        session.hold();
        assert!(matches!(registry.cancel(session.process, &session.key), Cancelled::Held));
        // Nobody has waited for it since.
        assert!(session.is_withdrawn() && session.release() && !session.release());
        assert!(matches!(registry.cancel(session.process, &session.key), Cancelled::Running(_)));
        session.hold();
        assert!(!session.is_withdrawn());
        assert!(session.withdrawn().now_or_never().is_none(), "what came before it was held");
        assert!(matches!(registry.cancel(session.process, &session.key), Cancelled::Held));
        assert!(session.withdrawn().now_or_never().is_some());
    }
}
