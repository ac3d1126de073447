//! What the operator counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Labels of a reconcile.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReconcileLabels {
    /// `Resource`, `Policy` or `ApprovalRequest`.
    pub kind: &'static str,
    /// `ok`, or the category of the error.
    pub result: &'static str,
}

/// Labels of a write.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct WriteLabels {
    /// Kind of the object that was written.
    pub kind: String,
    /// `apply`, `status`, `delete`.
    pub operation: &'static str,
}

/// The operator's counters. Cheap to clone; clones share their values.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Reconciles.
    pub reconciles: Family<ReconcileLabels, Counter>,
    /// Writes to the API server. None while nothing changes.
    pub writes: Family<WriteLabels, Counter>,
    /// 1 while this replica works.
    pub leading: Gauge,
    /// 1 while the admission policy was seen at work.
    pub approver_binding: Gauge,
}

impl Metrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("portcullis_operator");
        registry.register("reconcile", "Reconciles", self.reconciles.clone());
        registry.register("writes", "Writes to the API server", self.writes.clone());
        registry.register("leading", "1 while this replica works", self.leading.clone());
        registry.register(
            "approver_binding",
            "1 while the admission policy was seen at work",
            self.approver_binding.clone(),
        );
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, kind: &'static str, result: &'static str) {
        self.reconciles.get_or_create(&ReconcileLabels { kind, result }).inc();
    }

    /// Counts a write.
    pub fn wrote(&self, kind: &str, operation: &'static str) {
        self.writes.get_or_create(&WriteLabels { kind: kind.to_owned(), operation }).inc();
    }
}
