//! Copies of a Resource's audit logs to an OpenTelemetry Collector: of the log that is being written, and of what was
//! left of the logs of earlier starts. Nothing waits for a copy; the logs on disk stay the truth.

use crate::config::ResourceKey;
use crate::metrics::{ProcessMetrics, ResourceLabels};
use proxy_audit::Spool;
use proxy_audit::export::{ExportError, ExportOptions, ExportStatus, Exporter};
use proxy_core::gate::Chain;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;

/// The exports of one Resource. Dropping it stops them; they go on from where they were at the next start.
#[derive(Debug, Default)]
pub(super) struct Copies {
    own: Option<Exporter>,
    earlier: Vec<Exporter>,
}

impl Copies {
    /// Starts to export a log, and the logs beside it.
    ///
    /// # Errors
    /// The destination or the log's cursor cannot be used, in words for the operator.
    pub(super) fn start(
        options: &ExportOptions,
        key: &ResourceKey,
        spool: &Spool,
        metrics: &ProcessMetrics,
    ) -> Result<Self, String> {
        let words = |error: ExportError| format!("export audit log: {}", Chain(&error));
        let own = Exporter::start(spool, options.clone()).map_err(words)?;
        tokio::spawn(report(own.watch(), key.to_string(), metrics.clone()));
        let mut earlier = Vec::new();
        for log in beside(spool.directory()).map_err(|error| format!("list earlier audit logs: {error}"))? {
            match Exporter::finish(&log, options.clone()) {
                Ok(exporter) => earlier.push(exporter),
                // Its records are where they were; the log of this start must not wait for it.
                Err(error) => {
                    tracing::error!(resource = %key, log = %log.display(), error = %Chain(&error), "export earlier audit log");
                }
            }
        }
        Ok(Self { own: Some(own), earlier })
    }

    /// Waits until everything is answered for, but not longer than `limit`. The spool must be closed.
    pub(super) async fn finish(self, limit: Duration) {
        if let Some(own) = self.own {
            own.drain(limit).await;
        }
        drop(self.earlier);
    }
}

/// Logs of earlier starts.
pub(super) fn beside(log: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let Some(parent) = log.parent() else { return Ok(Vec::new()) };
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.path() != log {
            logs.push(entry.path());
        }
    }
    logs.sort();
    Ok(logs)
}

/// Keeps the metrics of an export up to date until it ends.
async fn report(mut status: watch::Receiver<ExportStatus>, resource: String, metrics: ProcessMetrics) {
    let labels = ResourceLabels { resource };
    loop {
        let now = status.borrow_and_update().clone();
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        metrics.export_lag.get_or_create(&labels).set(gauge(now.lag));
        metrics.export_rejected.get_or_create(&labels).set(gauge(now.rejected));
        metrics.export_retries.get_or_create(&labels).set(gauge(now.retries));
        metrics.exported.get_or_create(&labels).set(gauge(now.exported));
        let ranges = now.undelivered.map_or(0, |span| span.ranges);
        metrics.undelivered_ranges.get_or_create(&labels).set(gauge(ranges));
        if let Some(span) = now.undelivered {
            metrics.undelivered_first.get_or_create(&labels).set(gauge(span.first));
            metrics.undelivered_last.get_or_create(&labels).set(gauge(span.last));
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}
