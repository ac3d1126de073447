//! What happens to requests that nobody waits for.

use super::Shared;
use crate::control::requests::{end, is_open};
use jiff::Timestamp;
use std::io;
use std::sync::Weak;
use std::time::Duration;

/// How often the directory is swept.
const EVERY: Duration = Duration::from_mins(1);

/// Sweeps at once, then every minute, until the store is gone.
pub(super) async fn regularly(shared: Weak<Shared>) {
    loop {
        let Some(alive) = shared.upgrade() else { return };
        let swept = tokio::task::spawn_blocking(move || alive.sweep(Timestamp::now())).await;
        match swept {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot sweep the approval requests"),
            Err(error) => tracing::error!(%error, "sweep of the approval requests ended"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

impl Shared {
    /// Lets abandoned requests expire and removes those that ended longer ago than the retention.
    pub(super) fn sweep(&self, now: Timestamp) -> io::Result<()> {
        self.directory.tidy()?;
        for name in self.directory.names()? {
            if let Err(error) = self.sweep_one(&name, now) {
                // A file that people are editing, or that is none of ours: left alone.
                tracing::debug!(request = name, %error, "cannot sweep an approval request");
            }
        }
        Ok(())
    }

    fn sweep_one(&self, name: &str, now: Timestamp) -> io::Result<()> {
        let request = self.directory.read_cached(name)?;
        let uid = request.metadata.uid.as_deref().unwrap_or_default();
        match end(&request) {
            None if !is_open(&request, now) || self.directory.is_consumed(uid)? => self.catch_up(name, now),
            None => Ok(()),
            Some(condition) => {
                let age = Duration::try_from(now.duration_since(condition.last_transition_time.0));
                if age.is_ok_and(|age| age > self.limits.retention) {
                    let lock = self.directory.lock()?;
                    self.directory.remove(&lock, name, uid)?;
                }
                Ok(())
            }
        }
    }
}
