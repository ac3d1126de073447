//! What sessions count. Labels are bounded: no identity, no text, no object name is ever one.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Labels of a command count.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct CommandLabels {
    /// Protocol of the resource.
    pub protocol: &'static str,
    /// `allow`, `deny` or `hold`.
    pub verdict: &'static str,
}

/// Labels of what is counted per reason.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReasonLabels {
    /// Protocol of the resource.
    pub protocol: &'static str,
    /// One of a closed set of words.
    pub reason: &'static str,
}

/// Counters of all sessions of a gateway.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Sessions that are open.
    pub sessions_active: Gauge,
    /// Commands by verdict.
    pub commands: Family<CommandLabels, Counter>,
    /// Connections refused before a session began, by reason.
    pub refused_connections: Family<ReasonLabels, Counter>,
    /// Values masked, by column rules and detectors together.
    pub masked_values: Counter,
    /// Seconds from a command's arrival at the gate to its verdict, the record included.
    pub decision_seconds: Histogram,
    /// Seconds that held commands waited.
    pub approval_wait_seconds: Histogram,
    /// Commands refused because they could not be recorded.
    pub recorder_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            sessions_active: Gauge::default(),
            commands: Family::default(),
            refused_connections: Family::default(),
            masked_values: Counter::default(),
            // 10 µs to about 2.6 s
            decision_seconds: Histogram::new(exponential_buckets(0.000_01, 4.0, 10)),
            // 1 s to about 4.5 h
            approval_wait_seconds: Histogram::new(exponential_buckets(1.0, 4.0, 8)),
            recorder_failures: Counter::default(),
        }
    }
}

impl Metrics {
    /// Registers every metric under the prefix `portcullis`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("portcullis");
        registry.register("sessions_active", "Open sessions", self.sessions_active.clone());
        registry.register("commands", "Commands by verdict", self.commands.clone());
        registry.register(
            "refused_connections",
            "Connections refused before a session began",
            self.refused_connections.clone(),
        );
        registry.register("masked_values", "Values masked", self.masked_values.clone());
        registry.register_with_unit(
            "decision_duration",
            "Time from a command's arrival to its recorded verdict",
            Unit::Seconds,
            self.decision_seconds.clone(),
        );
        registry.register_with_unit(
            "approval_wait",
            "Time that held commands waited",
            Unit::Seconds,
            self.approval_wait_seconds.clone(),
        );
        registry.register(
            "recorder_failures",
            "Commands refused because they could not be recorded",
            self.recorder_failures.clone(),
        );
    }
}
