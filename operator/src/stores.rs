//! What the API server holds, as far as the controllers need it: one cache per kind, filled by one watch each.
//!
//! Every event says which objects are to be reconciled: those whose outcome depends on what changed, by what it was
//! and by what it is. After a watch had to list again, everything is: what was deleted meanwhile gave no event.

mod attachments;

use self::attachments::Attachments;
use crate::names::{MANAGED_BY, RESOURCE_LABEL, RESOURCE_NAMESPACE_LABEL};
use crate::resource::dereference::mentions;
use crate::triggers::Triggers;
use crds::v1alpha1::{ApprovalRequest, KeyKind, Policy, ProtectedResource};
use futures_util::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use proxy_policy::{ResourceFacts, selects};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use tokio::task::JoinSet;

/// A kind of ours: an object that does not parse is still there, so that its status can say so and the others go on.
pub type Guarded<K> = DeserializeGuard<K>;

/// The caches of one scope: a namespace, or the cluster.
#[derive(Clone)]
pub struct Stores {
    /// Resources.
    pub resources: Store<Guarded<ProtectedResource>>,
    /// Policies.
    pub policies: Store<Guarded<Policy>>,
    /// ApprovalRequests.
    pub requests: Store<Guarded<ApprovalRequest>>,
    /// Pods of gateways.
    pub pods: Store<Pod>,
    /// Which Secrets there are. What is in them is never read.
    pub secrets: Store<PartialObjectMeta<Secret>>,
    /// Which ConfigMaps there are.
    pub config_maps: Store<PartialObjectMeta<ConfigMap>>,
    /// Which claims there are.
    pub claims: Store<PartialObjectMeta<PersistentVolumeClaim>>,
    /// What the operator made, by kind.
    pub owned: BTreeMap<String, Store<DynamicObject>>,
    attachments: Attachments,
}

impl Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").field("resources", &self.resources.len()).finish_non_exhaustive()
    }
}

/// What is to be reconciled.
#[derive(Clone, Debug, Default)]
pub struct Due {
    /// Resources.
    pub resources: Triggers<Guarded<ProtectedResource>>,
    /// Policies.
    pub policies: Triggers<Guarded<Policy>>,
    /// ApprovalRequests.
    pub requests: Triggers<Guarded<ApprovalRequest>>,
}

impl Due {
    /// Everything there is.
    pub fn all(&self, stores: &Stores) {
        all(&stores.resources, &self.resources);
        all(&stores.policies, &self.policies);
        all(&stores.requests, &self.requests);
    }
}

fn all<K>(store: &Store<K>, due: &Triggers<K>)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    for object in store.state() {
        due.push(ObjectRef::from_obj(&*object));
    }
}

/// Kinds of the objects that make a gateway, in the order in which they are applied.
pub fn owned_kinds() -> [ApiResource; 9] {
    [
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<Role>(&()),
        ApiResource::erase::<RoleBinding>(&()),
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<Deployment>(&()),
    ]
}

/// Kinds of the objects that let a gateway act as its agents in its own cluster. They belong to no namespace.
pub fn cluster_kinds() -> [ApiResource; 2] {
    [ApiResource::erase::<ClusterRole>(&()), ApiResource::erase::<ClusterRoleBinding>(&())]
}

/// Whether objects of a kind belong to no namespace.
pub fn is_cluster_wide(kind: &ApiResource) -> bool {
    cluster_kinds().iter().any(|one| one.kind == kind.kind && one.group == kind.group)
}

/// Starts the watches of a scope.
pub struct Watches {
    client: Client,
    namespace: Option<String>,
    kinds: Vec<ApiResource>,
    due: Due,
    tasks: JoinSet<()>,
}

impl Debug for Watches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watches").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Watches {
    /// Nothing is watched yet. `namespace`: `None` for the whole cluster.
    pub fn new(client: Client, namespace: Option<String>, due: Due) -> Self {
        Self { client, namespace, kinds: owned_kinds().to_vec(), due, tasks: JoinSet::new() }
    }

    /// With the kinds that belong to no namespace as well.
    #[must_use]
    pub fn cluster_wide(mut self) -> Self {
        self.kinds.extend(cluster_kinds());
        self
    }

    /// Starts every watch and waits until the caches hold what there is.
    ///
    /// Cancel safe: dropped watches end.
    ///
    /// # Errors
    /// A watch ended before its cache was filled, which only a panic can cause.
    pub async fn start(mut self) -> Result<(Stores, JoinSet<()>), reflector::store::WriterDropped> {
        let (resources, resources_in) = reflector::store();
        let (policies, policies_in) = reflector::store();
        let (requests, requests_in) = reflector::store();
        let (pods, pods_in) = reflector::store();
        let (secrets, secrets_in) = reflector::store();
        let (config_maps, config_maps_in) = reflector::store();
        let (claims, claims_in) = reflector::store();
        let mut owned = BTreeMap::new();
        let mut owned_in = Vec::new();
        for kind in std::mem::take(&mut self.kinds) {
            let writer = Writer::new(kind.clone());
            owned.insert(kind.kind.clone(), writer.as_reader());
            owned_in.push((kind, writer));
        }
        let attachments = Attachments::default();
        let stores =
            Stores { resources, policies, requests, pods, secrets, config_maps, claims, owned, attachments };
        self.ours(&stores, resources_in, policies_in, requests_in);
        self.pods(&stores, pods_in);
        self.mentioned(&stores, Some(KeyKind::Secret), secrets_in);
        self.mentioned(&stores, Some(KeyKind::ConfigMap), config_maps_in);
        self.mentioned(&stores, None, claims_in);
        for (kind, writer) in owned_in {
            self.owned(&stores, kind, writer);
        }
        stores.wait_until_ready().await?;
        Ok((stores, self.tasks))
    }

    fn ours(
        &mut self,
        stores: &Stores,
        resources: Writer<Guarded<ProtectedResource>>,
        policies: Writer<Guarded<Policy>>,
        requests: Writer<Guarded<ApprovalRequest>>,
    ) {
        let (all, due) = (stores.clone(), self.due.clone());
        let api = self.api();
        self.follow(api, watcher::Config::default(), resources, move |change| match change {
            Change::Listed => due.all(&all),
            Change::One { before, after } => resource_changed(&all, &due, before.as_deref(), after),
        });
        let (all, due) = (stores.clone(), self.due.clone());
        let api = self.api();
        self.follow(api, watcher::Config::default(), policies, move |change| match change {
            Change::Listed => {
                all.attachments.listed(&all.policies);
                due.all(&all);
            }
            Change::One { before, after } => {
                let left = all.policies.get(&ObjectRef::from_obj(after));
                all.attachments.changed(before.as_deref(), left.as_deref());
                policy_changed(&all, &due, before.as_deref(), after);
            }
        });
        let (all, due) = (stores.clone(), self.due.clone());
        let api = self.api();
        self.follow(api, watcher::Config::default(), requests, move |change| match change {
            Change::Listed => due.all(&all),
            Change::One { after, .. } => due.requests.push(ObjectRef::from_obj(after)),
        });
    }

    fn pods(&mut self, stores: &Stores, writer: Writer<Pod>) {
        let (stores, due) = (stores.clone(), self.due.clone());
        let config = watcher::Config::default().labels(MANAGED_BY);
        let api = self.api();
        self.follow(api, config, writer, move |change| match change {
            Change::Listed => due.all(&stores),
            Change::One { after, .. } => {
                if let Some(reference) = belongs_to(after) {
                    policies_of(&stores, &due, &reference);
                    due.resources.push(reference);
                }
            }
        });
    }

    /// Objects that a Resource may mention: `None` for claims.
    fn mentioned<K>(&mut self, stores: &Stores, kind: Option<KeyKind>, writer: Writer<PartialObjectMeta<K>>)
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + Debug
            + Send
            + Sync
            + 'static,
        PartialObjectMeta<K>: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let (stores, due) = (stores.clone(), self.due.clone());
        let api = self.api();
        self.follow(api, watcher::Config::default(), writer, move |change| match change {
            Change::Listed => due.all(&stores),
            Change::One { after, .. } => {
                let (namespace, name) = (after.namespace(), after.name_any());
                for resource in stores.resources.state() {
                    if resource.namespace() == namespace && mentions(&resource, kind, &name) {
                        due.resources.push(ObjectRef::from_obj(&*resource));
                    }
                }
            }
        });
    }

    fn owned(&mut self, stores: &Stores, kind: ApiResource, writer: Writer<DynamicObject>) {
        let (stores, due) = (stores.clone(), self.due.clone());
        let api = match &self.namespace {
            Some(namespace) if !is_cluster_wide(&kind) => {
                Api::namespaced_with(self.client.clone(), namespace, &kind)
            }
            Some(_) | None => Api::all_with(self.client.clone(), &kind),
        };
        let config = watcher::Config::default().labels(MANAGED_BY);
        self.tasks.spawn(follow(api, config, (writer, kind), without_secrets, move |change| match change {
            Change::Listed => due.all(&stores),
            Change::One { after, .. } => {
                if let Some(reference) = belongs_to(after) {
                    due.resources.push(reference);
                }
            }
        }));
    }

    fn follow<K>(
        &mut self,
        api: Api<K>,
        config: watcher::Config,
        writer: Writer<K>,
        noticed: impl FnMut(Change<'_, K>) + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        self.tasks.spawn(follow(api, config, (writer, ()), |_, ()| {}, noticed));
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

impl Stores {
    /// Policies that select a Resource.
    pub fn policies_of(&self, resource: &ProtectedResource) -> Vec<Arc<Guarded<Policy>>> {
        let facts = ResourceFacts::of(resource);
        let candidates = self.attachments.candidates(&facts.namespace, &facts.name).into_iter();
        let found = candidates.filter_map(|policy| self.policies.get(&policy));
        found.filter(|policy| policy.0.as_ref().is_ok_and(|policy| selects(&facts, policy))).collect()
    }

    /// Resources that a Policy selects.
    pub fn targets_of(&self, policy: &Policy) -> Vec<Arc<Guarded<ProtectedResource>>> {
        let is_target = |resource: &Guarded<ProtectedResource>| {
            resource.0.as_ref().is_ok_and(|resource| selects(&ResourceFacts::of(resource), policy))
        };
        if policy.spec.resource_selector.is_some() {
            let namespace = &policy.metadata.namespace;
            return self
                .resources
                .state_filter(|resource| resource.meta().namespace == *namespace && is_target(resource));
        }
        let namespace = policy.namespace().unwrap_or_default();
        let named = policy.spec.target_refs.iter();
        let named =
            named.filter_map(|target| self.resources.get(&ObjectRef::new(&target.name).within(&namespace)));
        let mut targets: Vec<_> = named.filter(|resource| is_target(resource)).collect();
        targets.sort_by_key(|resource| resource.name_any());
        targets.dedup_by(|left, right| Arc::ptr_eq(left, right));
        targets
    }

    async fn wait_until_ready(&self) -> Result<(), reflector::store::WriterDropped> {
        self.resources.wait_until_ready().await?;
        self.policies.wait_until_ready().await?;
        self.requests.wait_until_ready().await?;
        self.pods.wait_until_ready().await?;
        self.secrets.wait_until_ready().await?;
        self.config_maps.wait_until_ready().await?;
        self.claims.wait_until_ready().await?;
        for store in self.owned.values() {
            store.wait_until_ready().await?;
        }
        Ok(())
    }
}

/// What an event says.
enum Change<'a, K> {
    /// Everything was listed, at the start or after a watch was lost.
    Listed,
    /// One object is new, changed or gone.
    One {
        /// As it was in the cache.
        before: Option<Arc<K>>,
        /// As it is, or was last.
        after: &'a K,
    },
}

/// Keeps a cache current until the process ends.
async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    (mut writer, kind): (Writer<K>, K::DynamicType),
    slim: fn(&mut K, &K::DynamicType),
    mut noticed: impl FnMut(Change<'_, K>),
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone + Send + Sync,
{
    let store = writer.as_reader();
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event.modify(|object| {
                object.meta_mut().managed_fields = None;
                slim(object, &kind);
            }),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&kind), error = %Chain(&error), "watch");
                continue;
            }
        };
        let before = match &event {
            Event::Apply(object) | Event::Delete(object) => {
                store.get(&ObjectRef::from_obj_with(object, kind.clone()))
            }
            Event::Init | Event::InitApply(_) | Event::InitDone => None,
        };
        writer.apply_watcher_event(&event);
        match &event {
            Event::Apply(after) | Event::Delete(after) => noticed(Change::One { before, after }),
            Event::InitDone => noticed(Change::Listed),
            Event::Init | Event::InitApply(_) => {}
        }
    }
}

/// Private keys have no business in a cache; annotations tell what is in a Secret.
fn without_secrets(object: &mut DynamicObject, kind: &ApiResource) {
    if kind.kind == "Secret"
        && let Some(fields) = object.data.as_object_mut()
    {
        fields.remove("data");
    }
}

/// The Resource that an object was made for.
pub fn belongs_to<K: Resource>(object: &K) -> Option<ObjectRef<Guarded<ProtectedResource>>> {
    let resource = object.labels().get(RESOURCE_LABEL)?;
    let namespace = object.namespace().or_else(|| object.labels().get(RESOURCE_NAMESPACE_LABEL).cloned());
    Some(ObjectRef::new(resource).within(&namespace?))
}

fn resource_changed(
    stores: &Stores,
    due: &Due,
    before: Option<&Guarded<ProtectedResource>>,
    after: &Guarded<ProtectedResource>,
) {
    due.resources.push(ObjectRef::from_obj(after));
    // Its own status, but for what gateways report, changes nothing for its policies.
    let told = |resource: &Guarded<ProtectedResource>| {
        let reports = resource.0.as_ref().ok().and_then(|resource| resource.status.as_ref());
        let metadata = resource.meta();
        (
            reports.map(|status| status.gateways.clone()),
            metadata.generation,
            metadata.labels.clone(),
            metadata.uid.clone(),
        )
    };
    if before.map(told) == Some(told(after)) && stores.resources.get(&ObjectRef::from_obj(after)).is_some() {
        return;
    }
    policies_of(stores, due, &ObjectRef::from_obj(after));
}

/// Policies that may be about a Resource, though it may not be there.
fn policies_of(stores: &Stores, due: &Due, resource: &ObjectRef<Guarded<ProtectedResource>>) {
    let namespace = resource.namespace.as_deref().unwrap_or_default();
    for policy in stores.attachments.candidates(namespace, &resource.name) {
        due.policies.push(policy);
    }
}

fn policy_changed(stores: &Stores, due: &Due, before: Option<&Guarded<Policy>>, after: &Guarded<Policy>) {
    due.policies.push(ObjectRef::from_obj(after));
    let told = |policy: &Guarded<Policy>| (policy.meta().generation, policy.meta().uid.clone());
    let gone = stores.policies.get(&ObjectRef::from_obj(after)).is_none();
    if !gone && before.map(told) == Some(told(after)) {
        return;
    }
    for policy in before.into_iter().chain([after]) {
        for resource in policy.0.iter().flat_map(|policy| stores.targets_of(policy)) {
            due.resources.push(ObjectRef::from_obj(&*resource));
        }
    }
}

/// An error with everything that caused it, in one line.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
