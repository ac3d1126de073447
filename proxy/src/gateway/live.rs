//! One Resource while it is listened for: what its sessions share, and how they are counted and ended.

use super::followers::Followers;
use super::{LAST_WORDS, Shared};
use crate::config::ResourceKey;
use crate::protocols::Service;
use arc_swap::{ArcSwap, ArcSwapOption};
use proxy_audit::chunks::Recipients;
use proxy_audit::retention::Policy;
use proxy_audit::spool::retire;
use proxy_audit::{Spool, SpoolError};
use proxy_policy::PolicySet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What new sessions use.
#[derive(Clone, Debug)]
pub struct Current {
    /// The protocol with its settings.
    pub service: Arc<Service>,
    /// Most sessions at once.
    pub max_sessions: usize,
    /// How long sessions may go on after the gateway was told to stop.
    pub drain: Duration,
    /// How long records are kept, if not for good.
    pub retention: Option<Policy>,
    /// Whom results are encrypted for, if for anybody.
    pub auditors: Option<Recipients>,
}

/// One Resource while it is listened for.
#[derive(Debug)]
pub struct Live {
    key: ResourceKey,
    current: ArcSwapOption<Current>,
    policies: Arc<ArcSwap<PolicySet>>,
    changes: watch::Sender<u64>,
    spool: Spool,
    retention: watch::Sender<Option<Policy>>,
    followers: Mutex<Followers>,
    sessions: TaskTracker,
    open: AtomicUsize,
    draining: CancellationToken,
    ending: CancellationToken,
}

impl Live {
    /// A Resource without sessions.
    pub(super) fn new(key: ResourceKey, spool: Spool, policies: Arc<PolicySet>) -> Self {
        Self {
            key,
            current: ArcSwapOption::empty(),
            policies: Arc::new(ArcSwap::new(policies)),
            changes: watch::Sender::new(0),
            spool,
            // Nothing is removed before the configuration that says so is in force.
            retention: watch::Sender::new(None),
            followers: Mutex::default(),
            sessions: TaskTracker::new(),
            open: AtomicUsize::new(0),
            draining: CancellationToken::new(),
            ending: CancellationToken::new(),
        }
    }

    /// Starts what follows its log.
    ///
    /// # Errors
    /// Part of it cannot be used, in words for the operator.
    pub(super) fn follow(&self, shared: &Shared) -> Result<(), String> {
        let started = Followers::start(shared, &self.key, &self.spool, self.retention.subscribe())?;
        *self.followers.lock().unwrap_or_else(PoisonError::into_inner) = started;
        Ok(())
    }

    /// Its namespace and name.
    pub const fn key(&self) -> &ResourceKey {
        &self.key
    }

    /// Takes settings over: policies for all sessions, the rest for new ones.
    pub fn update(&self, current: Current, policies: Arc<PolicySet>) {
        self.spool.encrypt_results(current.auditors.clone());
        let retention = current.retention;
        self.retention.send_if_modified(|kept| std::mem::replace(kept, retention) != retention);
        self.current.store(Some(Arc::new(current)));
        self.update_policies(policies);
    }

    /// Takes policies over, for all sessions.
    pub(super) fn update_policies(&self, policies: Arc<PolicySet>) {
        self.policies.store(policies);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What new sessions use; `None` before the first [`Live::update`].
    pub fn current(&self) -> Option<Arc<Current>> {
        self.current.load_full()
    }

    /// The protocol as it is configured now.
    pub fn service(&self) -> Option<Arc<Service>> {
        self.current().map(|current| Arc::clone(&current.service))
    }

    /// Name of its protocol.
    pub fn protocol(&self) -> &'static str {
        self.service().map_or("", |service| service.name())
    }

    /// Policies in force.
    pub fn policies(&self) -> Arc<PolicySet> {
        self.policies.load_full()
    }

    pub(super) fn shared_policies(&self) -> Arc<ArcSwap<PolicySet>> {
        Arc::clone(&self.policies)
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) const fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Directory of its log.
    pub fn log(&self) -> &Path {
        self.spool.directory()
    }

    /// Asks sessions to end when nothing of theirs is under way, and says how long they may take.
    pub(super) fn drain(&self) -> Duration {
        self.draining.cancel();
        self.current().map_or(Duration::ZERO, |current| current.drain)
    }

    /// Takes a place for one more connection; `None` when there is none. The place is free when it is dropped.
    pub fn place(self: &Arc<Self>) -> Option<Place> {
        let limit = self.current()?.max_sessions;
        let taken = self.open.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (taken < limit).then_some(place)
    }

    /// Runs a session on this thread until it is over, or is told to end.
    pub fn spawn<F>(&self, on: &Handle, session: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.sessions.spawn_on(session, on);
    }

    /// Fires when sessions should end as soon as nothing of theirs is under way.
    pub(super) fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Fires when sessions have to end.
    pub(super) fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }

    /// Waits until no session is left. New ones must not come any more.
    ///
    /// Cancel safe.
    pub(super) async fn over(&self) {
        self.sessions.close();
        self.sessions.wait().await;
    }

    /// Ends all sessions and closes the log for good.
    ///
    /// Not cancel safe: the log may be left without its last checkpoint, or with its key. The next start sees to it.
    pub(super) async fn end(&self) {
        self.ending.cancel();
        if tokio::time::timeout(LAST_WORDS, self.over()).await.is_err() {
            tracing::warn!(resource = %self.key, sessions = self.sessions.len(), "sessions did not end in time");
        }
        self.close().await;
        let log = self.spool.directory().to_owned();
        let retired = tokio::task::spawn_blocking(move || retire(&log)).await;
        if let Err(error) = retired.unwrap_or_else(|error| Err(SpoolError::Io(error.into()))) {
            tracing::error!(resource = %self.key, error = %proxy_core::gate::Chain(&error), "remove the key of the audit log");
        }
    }

    /// Closes the log, and gives what follows it a moment for its end.
    pub(super) async fn close(&self) {
        if let Err(error) = self.spool.close().await {
            tracing::error!(resource = %self.key, error = %proxy_core::gate::Chain(&error), "close audit log");
        }
        let followers = std::mem::take(&mut *self.followers.lock().unwrap_or_else(PoisonError::into_inner));
        followers.finish().await;
    }
}

/// A place of one connection under the Resource's limit.
#[derive(Debug)]
pub struct Place(Arc<Live>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
