//! Delivery of a Resource's audit logs to an object store: of the log that is being written, and of what was left of the
//! logs of earlier starts.

use super::copies::beside;
use crate::config::ResourceKey;
use crate::metrics::{ProcessMetrics, ResourceLabels};
use proxy_audit::Spool;
use proxy_audit::archive::{ArchiveError, ArchiveOptions, ArchiveStatus, Archiver};
use proxy_core::gate::Chain;
use std::time::Duration;
use tokio::sync::watch;

/// The deliveries of one Resource. Dropping it stops them; they go on from where they were at the next start.
#[derive(Debug, Default)]
pub(super) struct Archives {
    own: Option<Archiver>,
    earlier: Vec<Archiver>,
}

impl Archives {
    /// Starts to deliver a log, and the logs beside it.
    ///
    /// # Errors
    /// The archive cannot be used, in words for the operator.
    pub(super) fn start(
        options: &ArchiveOptions,
        key: &ResourceKey,
        spool: &Spool,
        metrics: &ProcessMetrics,
    ) -> Result<Self, String> {
        let words = |error: ArchiveError| format!("archive audit log: {}", Chain(&error));
        let own = Archiver::start(spool, options.clone()).map_err(words)?;
        tokio::spawn(report(own.watch(), key.to_string(), metrics.clone()));
        let mut earlier = Vec::new();
        for log in beside(spool.directory()).map_err(|error| format!("list earlier audit logs: {error}"))? {
            earlier.push(Archiver::finish(&log, options.clone()).map_err(words)?);
        }
        Ok(Self { own: Some(own), earlier })
    }

    /// Waits until all is there, but not longer than `limit`. The spool must be closed.
    pub(super) async fn finish(self, limit: Duration) {
        if let Some(own) = self.own {
            own.drain(limit).await;
        }
        drop(self.earlier);
    }
}

/// Keeps the metrics of a delivery up to date until it ends.
async fn report(mut status: watch::Receiver<ArchiveStatus>, resource: String, metrics: ProcessMetrics) {
    let labels = ResourceLabels { resource };
    loop {
        let now = status.borrow_and_update().clone();
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        metrics.archive_lag.get_or_create(&labels).set(gauge(now.lag));
        metrics.archived.get_or_create(&labels).set(gauge(now.next));
        metrics.archived_bytes.get_or_create(&labels).set(gauge(now.bytes));
        metrics.archive_failures.get_or_create(&labels).set(gauge(now.failures));
        if status.changed().await.is_err() {
            return;
        }
    }
}
