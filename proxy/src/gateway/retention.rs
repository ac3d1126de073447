//! Removing from the disk what has to be kept there no longer: of the log that is written, and of logs of earlier
//! starts.

use super::Shared;
use super::copies::beside;
use crate::config::ResourceKey;
use proxy_audit::retention::{Policy, Retention};
use proxy_audit::{Spool, SpoolError};
use proxy_core::gate::Chain;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often it is looked.
const EVERY: Duration = Duration::from_hours(1);

/// How often a segment is closed though it is not full, so that a quiet log's records can leave by the day.
const SEAL_EVERY: Duration = Duration::from_hours(24);

/// The retention of one Resource's logs. Dropping it stops it.
#[derive(Debug, Default)]
pub(super) struct Retaining(Option<JoinHandle<()>>);

impl Retaining {
    /// Looks whenever the policy changes, and every hour. Without a policy nothing is removed.
    pub(super) fn start(
        shared: &Shared,
        key: &ResourceKey,
        spool: &Spool,
        policy: watch::Receiver<Option<Policy>>,
    ) -> Self {
        let sweeper = Sweeper {
            key: key.clone(),
            spool: spool.clone(),
            exported: shared.export.is_some(),
            archive: shared.archive.as_ref().map(|archive| archive.location.as_str().to_owned()),
        };
        Self(Some(tokio::spawn(sweeper.run(policy))))
    }
}

impl Drop for Retaining {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

struct Sweeper {
    key: ResourceKey,
    spool: Spool,
    exported: bool,
    archive: Option<String>,
}

impl Sweeper {
    async fn run(self, mut wanted: watch::Receiver<Option<Policy>>) {
        let mut sealed = Instant::now();
        loop {
            let policy = *wanted.borrow_and_update();
            if let Some(policy) = policy {
                if sealed.elapsed() >= SEAL_EVERY {
                    self.seal();
                    sealed = Instant::now();
                }
                self.sweep(policy).await;
            }
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(EVERY), if policy.is_some() => {}
            }
        }
    }

    fn seal(&self) {
        if let Err(error) = self.spool.seal() {
            tracing::warn!(resource = %self.key, error = %Chain(&error), "begin a segment of the audit log");
        }
    }

    /// What is delivered nowhere is kept for the whole time; what an archive has, while it should be at hand.
    async fn sweep(&self, policy: Policy) {
        let retention = Retention {
            older_than: policy.in_spool(self.archive.is_some()),
            exported: self.exported,
            archive: self.archive.clone(),
        };
        let own = self.spool.directory();
        let mut outcomes = vec![(own.to_owned(), retention.apply(&self.spool).await)];
        for log in beside(own).unwrap_or_default() {
            let (closed, retention) = (log.clone(), retention.clone());
            let outcome = tokio::task::spawn_blocking(move || retention.apply_closed(&closed)).await;
            outcomes.push((log, outcome.unwrap_or_else(|error| Err(SpoolError::Io(error.into())))));
        }
        for (log, outcome) in outcomes {
            let (resource, log) = (&self.key, log.display());
            match outcome {
                Ok(0) => {}
                Ok(bytes) => tracing::info!(%resource, %log, bytes, %policy, "retention removed records"),
                // They stay where they are; nothing is lost but room.
                Err(error) => {
                    tracing::warn!(%resource, %log, error = %Chain(&error), "apply retention to the audit log");
                }
            }
        }
    }
}
