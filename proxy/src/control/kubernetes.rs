//! The control plane of a cluster: one Resource, the Policies of its namespace, its approval requests.
//!
//! * `mirror`: objects of the API server, watched; broken watches begin anew
//! * `described`: one object as far as it can be read; one that cannot stops no other
//! * `mounts`: Secrets and ConfigMaps, which are mounted and never read through the API
//! * `assembly`: all of it → a configuration; what cannot be used stays as it was last good
//! * `report`: what this gateway runs, in the Resource's status
//! * `heartbeat`: contact with the API server, and what is said when it is lost
//! * `account`: the pod's own service account, shown to the cluster as an issuer
//! * `approvals`: held commands as ApprovalRequests
//!
//! Nothing that is sent to the API server is waited for before a change is enforced. While the API server is away the
//! gateway goes on with what it has, within the staleness limit; a command that needs an approval is refused.

mod account;
mod approvals;
mod assembly;
mod described;
mod heartbeat;
mod mirror;
mod mounts;
mod report;

use super::Offer;
use crate::args::SourceArgs;
use crate::config::{Problems, ResourceKey};
use crate::gateway::Accounts;
use crate::metrics::ProcessMetrics;
use crate::reload::Watcher;
use crate::run::RunError;
use approvals::KubernetesApprovals;
use assembly::{Assembly, Running, Seen};
use crds::v1alpha1::{ApprovalRequest, Policy, ProtectedResource, UpstreamAccount};
use described::Described;
use heartbeat::{Heartbeat, Standing};
use kube::api::DynamicObject;
use kube::core::ApiResource;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use mirror::Mirror;
use mounts::Mounted;
use proxy_core::approval::Approvals;
use proxy_core::contact::Contact;
use report::Reporter;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longest wait for an answer of the API server.
const PATIENCE: Duration = Duration::from_secs(5);

/// One Resource of a cluster.
pub struct Cluster {
    key: ResourceKey,
    pod: String,
    objects: Objects,
    mounts: Watcher<Mounted>,
    assembly: Assembly,
    contact: Contact,
    standing: Arc<Standing>,
    metrics: ProcessMetrics,
    approvals: Option<Arc<KubernetesApprovals>>,
    reporter: Option<Reporter>,
    running: Running,
    account: Option<UpstreamAccount>,
    /// Ends with this value.
    tasks: JoinSet<()>,
}

/// What is watched.
struct Objects {
    client: Client,
    changes: watch::Receiver<u64>,
    resource: Mirror<Described<ProtectedResource>>,
    policies: Mirror<Described<Policy>>,
    requests: Mirror<ApprovalRequest>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("resource", &self.key).field("pod", &self.pod).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Finds the cluster and looks at the mounts. Nothing is asked of the API server yet: it may be away.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// Nothing says how to reach the cluster, or not in a way that can be used.
    pub(super) async fn open(
        key: &ResourceKey,
        args: &SourceArgs,
        metrics: &ProcessMetrics,
    ) -> Result<Self, RunError> {
        let config = kube::Config::infer().await.map_err(|error| RunError::Cluster(error.into()))?;
        let client = Client::try_from(config).map_err(|error| RunError::Cluster(error.into()))?;
        let mounts = args.mounts.clone().unwrap_or_else(|| PathBuf::from("/"));
        let contact = Contact::with_limit(Duration::from_secs(args.policy_staleness_limit));
        Ok(Self {
            key: key.clone(),
            pod: args.pod.clone().unwrap_or_else(crate::state::host),
            objects: Objects::new(client),
            mounts: Watcher::new(move || Mounted::read(&mounts)).await,
            assembly: Assembly::new(key),
            contact,
            standing: Arc::default(),
            metrics: metrics.clone(),
            approvals: None,
            reporter: None,
            running: Running::default(),
            account: None,
            tasks: JoinSet::new(),
        })
    }

    /// Begins to watch and to report, and says where held commands are asked about.
    pub(super) fn start(&mut self, instance: &str) -> Arc<dyn Approvals> {
        let limit = self.contact.limit().unwrap_or(PATIENCE);
        self.objects.watch(&self.key, limit, &mut self.tasks);
        let heartbeat = Heartbeat {
            contact: self.contact.clone(),
            standing: Arc::clone(&self.standing),
            age: self.metrics.policy_age_seconds.clone(),
            limit,
        };
        let resources = self.objects.api::<ProtectedResource>(&self.key.namespace);
        let live = [self.objects.resource.live(), self.objects.policies.live()];
        self.tasks.spawn(heartbeat.clone().tell());
        self.tasks.spawn(heartbeat.ask(resources.clone(), self.key.name.clone(), live));
        let (reporter, reporting) =
            Reporter::new(resources, &self.key.name, &self.pod, instance, Arc::clone(&self.standing));
        self.tasks.spawn(reporting);
        self.reporter = Some(reporter);
        let (requests, standing) = (self.objects.requests.clone(), Arc::clone(&self.standing));
        self.tasks.spawn(async move {
            requests.known().await;
            standing.set_asking();
        });
        let approvals = Arc::new(KubernetesApprovals::new(
            Api::namespaced(self.objects.client.clone(), &self.key.namespace),
            self.key.clone(),
            self.objects.resource.clone(),
            self.objects.requests.clone(),
            approvals::Claimant { instance: instance.to_owned(), pod: self.pod.clone() },
        ));
        self.approvals = Some(Arc::clone(&approvals));
        approvals
    }

    /// Waits for the next configuration. Cancel safe.
    pub(super) async fn next(&mut self) -> Offer {
        loop {
            if self.objects.resource.is_known() && self.objects.policies.is_known() {
                let seen = Seen {
                    resource: self.objects.resource.get(&self.key.name),
                    policies: self.objects.policies.all(),
                    mounted: self.mounts.known(),
                };
                if let Some(offer) = self.assembly.offer(&seen) {
                    return offer;
                }
            }
            tokio::select! {
                changed = self.objects.changes.changed() => {
                    if changed.is_err() {
                        // Cannot be: the mirrors hold the other end.
                        std::future::pending::<()>().await;
                    }
                }
                () = self.mounts.change() => {}
            }
        }
    }

    /// What became of the last offer, which is what is reported.
    pub(super) fn settled(&mut self, outcome: Result<(), &Problems>) {
        self.running = self.assembly.settled(outcome);
        self.report();
    }

    /// What upstream says of the gateway's own account there, which is reported too.
    pub(super) fn accounts(&mut self, known: &Accounts) {
        self.account = known.get(&self.key).cloned();
        self.report();
    }

    fn report(&self) {
        if let Some(reporter) = &self.reporter {
            reporter.report(self.running.clone(), self.account.clone());
        }
    }

    pub(super) fn obstacle(&self) -> watch::Receiver<Option<String>> {
        self.standing.obstacle()
    }

    pub(super) fn contact(&self) -> Contact {
        self.contact.clone()
    }

    /// Waits for withdrawals that are under way.
    pub(super) async fn finish(self) {
        if let Some(approvals) = &self.approvals {
            approvals.finish(LAST_WORDS).await;
        }
    }
}

impl Objects {
    fn new(client: Client) -> Self {
        let (change, changes) = watch::channel(0);
        Self {
            client,
            changes,
            resource: Mirror::new(change.clone()),
            policies: Mirror::new(change),
            requests: Mirror::new(watch::Sender::new(0)),
        }
    }

    fn watch(&self, key: &ResourceKey, limit: Duration, tasks: &mut JoinSet<()>) {
        // A connection that is dead but open is noticed when its watch should have ended.
        let seconds = (limit / 3).as_secs().clamp(5, LONGEST_WATCH);
        let config = watcher::Config::default().timeout(u32::try_from(seconds).unwrap_or(u32::MAX));
        let named = config.clone().fields(&format!("metadata.name={}", key.name));
        let of_resource = config.clone().fields(&format!("spec.resourceRef.name={}", key.name));
        let namespace = &key.namespace;
        tasks.spawn(self.resource.clone().follow(
            self.api::<ProtectedResource>(namespace),
            named,
            described::describe,
        ));
        tasks.spawn(self.policies.clone().follow(self.api::<Policy>(namespace), config, described::describe));
        tasks.spawn(self.requests.clone().follow(
            self.api::<ApprovalRequest>(namespace),
            of_resource,
            approvals::read,
        ));
    }

    /// Objects are read one by one: one that this version cannot read must not spoil the others.
    fn api<K: Resource<DynamicType = ()>>(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &ApiResource::erase::<K>(&()))
    }
}

/// Longest watch, in seconds: what the client gives one that says nothing.
const LONGEST_WATCH: u64 = 290;
/// Longest wait for what is under way at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);
