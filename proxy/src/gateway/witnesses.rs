//! Witnesses of a Resource's audit logs: of the log that is being written, and of what was left of the logs of earlier
//! starts. No command waits for a witness: one that is away leaves records unwitnessed, not unrecorded.

use super::copies::beside;
use crate::config::ResourceKey;
use crate::metrics::{ProcessMetrics, WitnessLabels};
use proxy_audit::Spool;
use proxy_audit::inventory::certificate;
use proxy_audit::witness::{WitnessError, WitnessOptions, WitnessStatus, Witnessing};
use proxy_core::gate::Chain;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;

/// The witnessing of one Resource's logs. Dropping it stops it; it goes on from where it was at the next start.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    own: Option<Witnessing>,
    earlier: Vec<Witnessing>,
}

impl Witnesses {
    /// Starts to have a log witnessed, and the logs beside it.
    ///
    /// # Errors
    /// A witness or what is kept of it cannot be used, in words for the operator.
    pub(super) fn start(
        options: &WitnessOptions,
        key: &ResourceKey,
        spool: &Spool,
        metrics: &ProcessMetrics,
    ) -> Result<Self, String> {
        let words = |error: WitnessError| format!("have audit log witnessed: {}", Chain(&error));
        let own =
            Witnessing::start(spool, certified(spool.directory())?.as_deref(), options).map_err(words)?;
        for status in own.watch() {
            tokio::spawn(report(status, key.to_string(), metrics.clone()));
        }
        let mut earlier = Vec::new();
        for log in beside(spool.directory()).map_err(|error| format!("list earlier audit logs: {error}"))? {
            let started = certified(&log).and_then(|certificate| {
                Witnessing::finish(&log, certificate.as_deref(), options).map_err(words)
            });
            match started {
                Ok(witnessing) => earlier.push(witnessing),
                // It stays as it is; the log of this start must not wait for it.
                Err(error) => {
                    tracing::error!(resource = %key, log = %log.display(), error, "witness earlier audit log");
                }
            }
        }
        Ok(Self { own: Some(own), earlier })
    }

    /// Waits until all is witnessed, but not longer than `limit`. The spool must be closed.
    pub(super) async fn finish(self, limit: Duration) {
        if let Some(own) = self.own {
            own.drain(limit).await;
        }
        drop(self.earlier);
    }
}

fn certified(log: &Path) -> Result<Option<String>, String> {
    certificate(log).map_err(|error| format!("read certificate of {}: {error}", log.display()))
}

/// Keeps the metrics of one witness up to date until it ends.
async fn report(mut status: watch::Receiver<WitnessStatus>, resource: String, metrics: ProcessMetrics) {
    let labels = WitnessLabels { resource, witness: status.borrow().witness.clone() };
    loop {
        let now = status.borrow_and_update().clone();
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        metrics.witnessed.get_or_create(&labels).set(gauge(now.size));
        metrics.witness_failures.get_or_create(&labels).set(gauge(now.failures));
        if status.changed().await.is_err() {
            return;
        }
    }
}
