//! What the process counts beside what sessions count ([`proxy_core::metrics`]).

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Labels of what is counted per outcome.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct OutcomeLabels {
    /// `ok` or `failed`.
    pub outcome: &'static str,
}

/// Labels of what is measured per Resource.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ResourceLabels {
    /// `namespace/name`.
    pub resource: String,
}

/// Labels of what is measured per Resource and witness.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct WitnessLabels {
    /// `namespace/name`.
    pub resource: String,
    /// Name of the witness.
    pub witness: String,
}

/// Counters of the process. Cheap to clone; clones share their values.
#[derive(Clone, Debug, Default)]
pub struct ProcessMetrics {
    /// 1 when the newest configuration is in force, 0 when an older one is.
    pub last_reload_successful: Gauge,
    /// Unix time of the configuration in force.
    pub last_reload_success_seconds: Gauge,
    /// Reloads.
    pub reloads: Family<OutcomeLabels, Counter>,
    /// Resources that are listened for.
    pub resources: Gauge,
    /// Seconds since the policies in force were last known to be the newest.
    pub policy_age_seconds: Gauge,
    /// 1 where another record has room, 0 where it has none and every command is refused.
    pub audit_room: Family<ResourceLabels, Gauge>,
    /// Accepted sockets that are open, sessions included.
    pub connections_active: Gauge,
    /// Accepted sockets.
    pub connections: Counter,
    /// Records of the audit log that the Collector has not answered for.
    pub export_lag: Family<ResourceLabels, Gauge>,
    /// Records that the Collector accepted since the start.
    pub exported: Family<ResourceLabels, Gauge>,
    /// Records that the Collector refused since the start.
    pub export_rejected: Family<ResourceLabels, Gauge>,
    /// Ranges of records that were not delivered to the Collector.
    pub undelivered_ranges: Family<ResourceLabels, Gauge>,
    /// The first of these records.
    pub undelivered_first: Family<ResourceLabels, Gauge>,
    /// The last of these records.
    pub undelivered_last: Family<ResourceLabels, Gauge>,
    /// Attempts to export that failed since the start.
    pub export_retries: Family<ResourceLabels, Gauge>,
    /// Records of the audit log that are not in the archive.
    pub archive_lag: Family<ResourceLabels, Gauge>,
    /// Records of the audit log that are in the archive.
    pub archived: Family<ResourceLabels, Gauge>,
    /// Bytes delivered to the archive since the start.
    pub archived_bytes: Family<ResourceLabels, Gauge>,
    /// Attempts to archive that failed since the start.
    pub archive_failures: Family<ResourceLabels, Gauge>,
    /// Records of the audit log under the last cosignature of a witness.
    pub witnessed: Family<WitnessLabels, Gauge>,
    /// Attempts to have the audit log witnessed that failed since the start.
    pub witness_failures: Family<WitnessLabels, Gauge>,
}

impl ProcessMetrics {
    /// Registers every metric under the prefix `portcullis`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("portcullis");
        registry.register(
            "config_last_reload_successful",
            "Whether the newest configuration is in force",
            self.last_reload_successful.clone(),
        );
        registry.register(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration in force was taken over",
            self.last_reload_success_seconds.clone(),
        );
        registry.register("config_reloads", "Reloads by outcome", self.reloads.clone());
        registry.register("resources", "Resources that are listened for", self.resources.clone());
        let age = "Time since the policies in force were last known to be the newest";
        registry.register("policy_age_seconds", age, self.policy_age_seconds.clone());
        registry.register("connections_active", "Open client connections", self.connections_active.clone());
        registry.register("connections", "Accepted client connections", self.connections.clone());
        let room = "Whether another audit record has room; if not, every command is refused";
        registry.register("audit_room", room, self.audit_room.clone());
        self.register_export(registry);
        self.register_archive(registry);
        let witnessed = "Audit records under the last cosignature of a witness";
        registry.register("audit_witnessed_records", witnessed, self.witnessed.clone());
        let failures = "Failed attempts to have the audit log witnessed since the start";
        registry.register("audit_witness_failures", failures, self.witness_failures.clone());
    }

    fn register_export(&self, registry: &mut Registry) {
        let lag = "Audit records that the Collector has not answered for";
        registry.register("audit_export_lag_records", lag, self.export_lag.clone());
        let exported = "Audit records that the Collector accepted since the start";
        registry.register("audit_exported_records", exported, self.exported.clone());
        let rejected = "Audit records that the Collector refused since the start";
        registry.register("audit_export_rejected_records", rejected, self.export_rejected.clone());
        let ranges = "Ranges of audit records of this start's log that were not delivered to the Collector";
        registry.register("audit_export_undelivered_ranges", ranges, self.undelivered_ranges.clone());
        let first = "Sequence of the first audit record that was not delivered to the Collector";
        registry.register("audit_export_undelivered_first", first, self.undelivered_first.clone());
        let last = "Sequence of the last audit record that was not delivered to the Collector";
        registry.register("audit_export_undelivered_last", last, self.undelivered_last.clone());
        let retries = "Failed attempts to export audit records since the start";
        registry.register("audit_export_retries", retries, self.export_retries.clone());
    }

    fn register_archive(&self, registry: &mut Registry) {
        let lag = "Audit records on disk that are not in the archive";
        registry.register("audit_archive_lag_records", lag, self.archive_lag.clone());
        let archived = "Audit records of this start's log that are in the archive";
        registry.register("audit_archived_records", archived, self.archived.clone());
        let bytes = "Bytes delivered to the archive since the start";
        registry.register("audit_archived_bytes", bytes, self.archived_bytes.clone());
        let failures = "Failed attempts to archive audit records since the start";
        registry.register("audit_archive_failures", failures, self.archive_failures.clone());
    }
}
