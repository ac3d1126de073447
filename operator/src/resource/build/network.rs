//! Who may talk to a gateway, and whom it may talk to. Names of other hosts are not something a NetworkPolicy knows;
//! ports are.

use super::object;
use crate::args::Settings;
use crate::names;
use crate::resource::validate::{ValidatedResource, port_of};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The API server behind its Service, and where it usually listens itself.
const API_SERVER: [u16; 2] = [443, 6443];

pub(super) fn build(resource: &ValidatedResource, settings: &Settings) -> Value {
    let mut egress: BTreeSet<u16> = resource.egress.iter().copied().chain(API_SERVER).collect();
    egress.extend(settings.otlp.iter().map(|otlp| port_of(&otlp.endpoint)));
    egress.extend(settings.archive.iter().map(|archive| archive.port));
    let urls = settings.witnesses.iter().filter_map(|witness| witness.split_whitespace().nth(1));
    egress.extend(urls.map(port_of));
    let dns = ["UDP", "TCP"].map(|protocol| json!({"protocol": protocol, "port": 53}));
    let tcp: Vec<Value> = egress.into_iter().map(|port| json!({"protocol": "TCP", "port": port})).collect();
    let spec = json!({
        "podSelector": {"matchLabels": names::selector(&resource.name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [
            {"protocol": "TCP", "port": "gateway"},
            {"protocol": "TCP", "port": "admin"},
        ]}],
        "egress": [{"ports": dns}, {"ports": tcp}],
    });
    object(resource, ("networking.k8s.io/v1", "NetworkPolicy"), &resource.gateway(), json!({"spec": spec}))
}
