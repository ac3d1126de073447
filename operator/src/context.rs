//! What every reconcile may use.

use crate::args::Settings;
use crate::authority::Authority;
use crate::binding::Binding;
use crate::conditions;
use crate::metrics::Metrics;
use crate::names::MANAGER;
use crate::resource::rights::Answers;
use crate::stores::{Chain, Due, Stores};
use crds::v1alpha1::conditions as kinds;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use std::sync::Arc;
use tokio::sync::watch;

/// What every reconcile of a scope may use.
#[derive(Clone)]
pub struct Context {
    /// To read, where a cache will not do, and to write.
    pub client: Client,
    /// The caches.
    pub stores: Stores,
    /// To have other objects looked at.
    pub due: Due,
    /// What gateways are made of.
    pub settings: Arc<Settings>,
    /// Signs gateways' certificates.
    pub authority: Arc<Authority>,
    /// Whether the admission policy was seen at work.
    pub binding: watch::Receiver<Binding>,
    /// What is counted.
    pub metrics: Metrics,
    /// What was said of gateways' rights.
    pub answers: Arc<Answers>,
    events: Recorder,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What all scopes share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// What gateways are made of.
    pub settings: Arc<Settings>,
    /// Signs gateways' certificates.
    pub authority: Arc<Authority>,
    /// Whether the admission policy was seen at work.
    pub binding: watch::Receiver<Binding>,
    /// What is counted.
    pub metrics: Metrics,
}

impl Context {
    /// The context of one scope.
    pub fn new(client: Client, stores: Stores, due: Due, shared: Shared) -> Self {
        let instance = std::env::var("HOSTNAME").ok();
        let reporter = Reporter { controller: MANAGER.to_owned(), instance };
        let events = Recorder::new(client.clone(), reporter);
        let Shared { settings, authority, binding, metrics } = shared;
        Self { client, stores, due, settings, authority, binding, metrics, answers: Arc::default(), events }
    }

    /// An Event for each condition that changed. One that cannot be written is only logged: status says the same.
    pub async fn announce(&self, about: &ObjectReference, before: &[Condition], after: &[Condition]) {
        for condition in conditions::transitions(before, after) {
            if condition.status == "Unknown"
                || QUIET.contains(&&*condition.type_)
                || PASSING.contains(&&*condition.reason)
            {
                continue;
            }
            let bad = condition.status == "False" || condition.type_ == kinds::DENIED;
            let event = Event {
                type_: if bad { EventType::Warning } else { EventType::Normal },
                reason: condition.reason.clone(),
                note: Some(condition.message.chars().take(MAX_NOTE).collect()),
                action: condition.type_.clone(),
                secondary: None,
            };
            if let Err(error) = self.events.publish(&event, about).await {
                tracing::warn!(error = %Chain(&error), "write an Event");
            }
        }
    }
}

/// Conditions that repeat what others say.
const QUIET: [&str; 2] = [kinds::STALLED, kinds::RECONCILING];
/// Reasons of conditions that come right by themselves.
const PASSING: [&str; 3] = ["Pending", "PartiallyProgrammed", "Unavailable"];
/// Longest note of an Event; the API allows 1 kB.
const MAX_NOTE: usize = 250;
