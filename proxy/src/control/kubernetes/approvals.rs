//! Approvals as ApprovalRequests of the Resource's namespace.
//!
//! * A request is created by the gateway and bound to the Resource by UID; people append decisions, the operator says
//!   what they amount to. This gateway releases a command only for the very object it asked with, while the operator's
//!   `Approved` and `ApproverBinding` are True, the decisions still say so, and its own clock is before the expiry.
//! * An approval is consumed by a compare-and-swap of its status (`claim`): however many replicas wait for it and
//!   whatever crashes when, one of them releases one command.
//! * A repetition joins the request that is open for it, as in a directory: with `onDisconnect: Withdraw` while
//!   somebody of this gateway waits for the very same command, with `Claimable` whenever its effect, identity, rule and
//!   reviewers are the same, in whichever replica it was held. Only two replicas that are asked within the same few
//!   milliseconds may both ask; then each approval is good for one command.
//! * The last of those who wait withdraws the request when it goes away, unless its rule says `Claimable` or it was told
//!   to repeat the command.
//! * Without the API server nothing can be asked: the command is refused. What waits already goes on waiting until it
//!   expires by the monotonic clock.

mod claim;
mod judge;
mod pending;
mod withdraw;

use super::PATIENCE;
use super::described::Described;
use super::mirror::Mirror;
use super::report::manager;
use crate::config::ResourceKey;
use crate::control::answered::Answered;
use crate::control::requests::{
    OPEN_PER_IDENTITY, failed, is_all_of, is_good_for, is_open, new_request, same_identity, too_many,
};
use async_trait::async_trait;
use crds::v1alpha1::{ApprovalRequest, GROUP, OnDisconnect, ProtectedResource, VERSION};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use pending::KubernetesPending;
use proxy_core::approval::{ApprovalError, Approvals, Pending, Question};
use serde_json::json;
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// How many identities ask at the same time, at most; those of one identity ask one after the other.
const TURNS: usize = 64;
/// How often a name is made anew that is taken.
const NAMES: usize = 3;

/// Who claims approvals.
#[derive(Clone, Debug)]
pub(super) struct Claimant {
    /// Name of this gateway process.
    pub(super) instance: String,
    /// Name of its pod.
    pub(super) pod: String,
}

/// Asks people through ApprovalRequests.
#[derive(Debug)]
pub(super) struct KubernetesApprovals {
    shared: Arc<Shared>,
}

/// What the store and every request that waits share.
#[derive(Debug)]
struct Shared {
    api: Api<DynamicObject>,
    key: ResourceKey,
    resource: Mirror<Described<ProtectedResource>>,
    requests: Mirror<ApprovalRequest>,
    claimant: Claimant,
    /// Requests that somebody waits for here, by UID. The watch may not have shown them yet.
    awaited: Mutex<HashMap<String, Awaited>>,
    turns: Vec<tokio::sync::Mutex<()>>,
    any_turn: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Awaited {
    count: usize,
    request: Arc<ApprovalRequest>,
}

/// What came of writing.
enum Written {
    /// It is written.
    Done(Option<Box<ApprovalRequest>>),
    /// It has changed meanwhile, or is another object.
    Conflict,
    /// There is none.
    Gone,
    /// The API server refused.
    Refused(kube::Error),
    /// There was no answer: it may be written.
    Unknown(String),
}

impl KubernetesApprovals {
    pub(super) fn new(
        api: Api<ApprovalRequest>,
        key: ResourceKey,
        resource: Mirror<Described<ProtectedResource>>,
        requests: Mirror<ApprovalRequest>,
        claimant: Claimant,
    ) -> Self {
        let (client, namespace) = (api.into_client(), key.namespace.clone());
        let kind = kube::core::ApiResource::erase::<ApprovalRequest>(&());
        let shared = Shared {
            api: Api::namespaced_with(client, &namespace, &kind),
            key,
            resource,
            requests,
            claimant,
            awaited: Mutex::default(),
            turns: std::iter::repeat_with(tokio::sync::Mutex::default).take(TURNS).collect(),
            any_turn: tokio::sync::Mutex::default(),
            tasks: TaskTracker::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Waits for what is under way in the background.
    pub(super) async fn finish(&self, patience: Duration) {
        self.shared.tasks.close();
        if tokio::time::timeout(patience, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("requests that nobody waits for are left to expire");
        }
    }
}

#[async_trait]
impl Approvals for KubernetesApprovals {
    /// Not kept if cancelled: a request that was created meanwhile is withdrawn.
    async fn ask(&self, question: Question) -> Result<Box<dyn Pending>, ApprovalError> {
        let shared = Arc::clone(&self.shared);
        // If this future is dropped, so is the result, which withdraws.
        let asked = self.shared.tasks.spawn(async move { shared.ask(&question).await }).await;
        match asked {
            Ok(result) => result,
            Err(error) => Err(failed("the approval request was not created", error)),
        }
    }
}

impl Shared {
    async fn ask(self: Arc<Self>, question: &Question) -> Result<Box<dyn Pending>, ApprovalError> {
        // Of two repetitions that arrive at once the second has to see what the first has created.
        let _turn = self.turn(&question.requester.issuer, &question.requester.subject).lock().await;
        // A gateway that has just started may not be ready and get a session all the same.
        let known = tokio::time::timeout(PATIENCE, self.requests.known()).await.is_ok();
        let Some(resource) = self.resource.get(&self.key.name).filter(|_| known) else {
            let step = "the gateway does not know yet which approvals are asked for".to_owned();
            return Err(ApprovalError { step, source: None });
        };
        let now = Timestamp::now();
        if let Some(answered) = self.answered(question, &resource.uid, now) {
            return Ok(Box::new(answered));
        }
        let open = self.open_requests(question, now);
        let joined = open.iter().find(|request| self.can_join(request, &resource.uid, question));
        if let Some(request) = joined {
            return Ok(Box::new(self.wait_for(Arc::clone(request), question)));
        }
        if open.len() >= OPEN_PER_IDENTITY {
            return Err(too_many(question, open.len()));
        }
        let request = self.create(question, &resource.uid).await?;
        Ok(Box::new(self.wait_for(Arc::new(request), question)))
    }

    /// What the first try was told, here or by another gateway.
    fn answered(&self, question: &Question, resource: &str, now: Timestamp) -> Option<Answered> {
        let mut own = self.requests.all().into_iter();
        own.find_map(|request| {
            let is_own = request.spec.resource_ref.uid.as_deref() == Some(resource);
            is_own.then(|| Answered::by(&request, question, now))?
        })
    }

    fn wait_for(self: &Arc<Self>, request: Arc<ApprovalRequest>, question: &Question) -> KubernetesPending {
        let uid = request.metadata.uid.clone().unwrap_or_default();
        let mut awaited = self.awaited();
        let entry = awaited.entry(uid).or_insert_with(|| Awaited { count: 0, request: Arc::clone(&request) });
        entry.count = entry.count.saturating_add(1);
        drop(awaited);
        KubernetesPending::new(Arc::clone(self), request, question)
    }

    /// Requests of the same identity that are neither ended nor expired.
    fn open_requests(&self, question: &Question, now: Timestamp) -> Vec<Arc<ApprovalRequest>> {
        let mut open: HashMap<String, Arc<ApprovalRequest>> = HashMap::new();
        let created = self.awaited().values().map(|awaited| Arc::clone(&awaited.request)).collect::<Vec<_>>();
        // What the watch shows is newer than what was created.
        for request in created.into_iter().chain(self.requests.all()) {
            let uid = request.metadata.uid.clone().unwrap_or_default();
            open.insert(uid, request);
        }
        open.retain(|_, request| is_open(request, now) && same_identity(request, question));
        open.into_values().collect()
    }

    fn can_join(&self, request: &ApprovalRequest, resource: &str, question: &Question) -> bool {
        let is_awaited = self.is_awaited(request.metadata.uid.as_deref().unwrap_or_default());
        request.spec.resource_ref.uid.as_deref() == Some(resource)
            && is_good_for(request, question)
            && match request.spec.on_disconnect {
                OnDisconnect::Claimable => is_all_of(question, &request.spec.command) || !is_awaited,
                OnDisconnect::Withdraw => is_awaited,
            }
    }

    async fn create(
        self: &Arc<Self>,
        question: &Question,
        resource: &str,
    ) -> Result<ApprovalRequest, ApprovalError> {
        for _ in 0..NAMES {
            let request = self.new_request(question, resource)?;
            let name = request.metadata.name.clone().unwrap_or_default();
            let created = match serde_json::from_value(json!(request)) {
                Ok(object) => self.post(&object).await,
                Err(error) => return Err(failed("the approval request cannot be written down", error)),
            };
            match created {
                Written::Done(Some(created)) => return Ok(*created),
                Written::Conflict => {
                    // Perhaps by a request of ours that was sent twice.
                    if let Written::Done(Some(found)) = self.read(&name).await
                        && found.spec == stripped(request).spec
                    {
                        return Ok(*found);
                    }
                }
                Written::Refused(error) => {
                    return Err(failed("the API server refused to create the approval request", error));
                }
                Written::Unknown(error) => {
                    tracing::warn!(request = name, error, "an approval request may have been created");
                    if !question.stays() {
                        self.tasks.spawn(Arc::clone(self).abandon(request));
                    }
                    return Err(ApprovalError {
                        step: "the API server does not answer".to_owned(),
                        source: None,
                    });
                }
                Written::Done(None) | Written::Gone => break,
            }
        }
        Err(ApprovalError { step: "the approval request was not created".to_owned(), source: None })
    }

    fn new_request(&self, question: &Question, resource: &str) -> Result<ApprovalRequest, ApprovalError> {
        let mut request = new_request(question, Timestamp::now())
            .map_err(|error| failed("the time of the approval request cannot be told", error))?;
        request.spec.resource_ref.uid = Some(resource.to_owned());
        request.metadata.namespace = Some(self.key.namespace.clone());
        request.metadata.owner_references = Some(vec![OwnerReference {
            api_version: format!("{GROUP}/{VERSION}"),
            kind: "Resource".to_owned(),
            name: self.key.name.clone(),
            uid: resource.to_owned(),
            ..OwnerReference::default()
        }]);
        Ok(request)
    }

    async fn post(&self, object: &DynamicObject) -> Written {
        let parameters = PostParams::default();
        written(tokio::time::timeout(PATIENCE, self.api.create(&parameters, object)).await)
    }

    /// Reads it from the API server itself.
    async fn read(&self, name: &str) -> Written {
        written(tokio::time::timeout(PATIENCE, self.api.get(name)).await)
    }

    /// Adds a condition to the very version of a request that was seen, and changes nothing else.
    async fn add(&self, request: &ApprovalRequest, condition: Condition) -> Written {
        let metadata = &request.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        let condition = Condition { observed_generation: metadata.generation, ..condition };
        let object = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "ApprovalRequest",
            "metadata": { "name": name, "uid": metadata.uid, "resourceVersion": metadata.resource_version },
            "status": { "conditions": [condition] },
        });
        let parameters = PatchParams::apply(&manager("gateway", &self.claimant.pod));
        let patch = Patch::Apply(object);
        written(tokio::time::timeout(PATIENCE, self.api.patch_status(name, &parameters, &patch)).await)
    }

    /// One who waited goes away. Returns whether it was the last.
    fn leave(&self, uid: &str) -> bool {
        let mut awaited = self.awaited();
        let Some(entry) = awaited.get_mut(uid) else { return true };
        entry.count = entry.count.saturating_sub(1);
        let last = entry.count == 0;
        if last {
            awaited.remove(uid);
        }
        last
    }

    fn is_awaited(&self, uid: &str) -> bool {
        self.awaited().contains_key(uid)
    }

    fn awaited(&self) -> MutexGuard<'_, HashMap<String, Awaited>> {
        // Counters: whoever panicked left them whole.
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held by whoever asks for an identity, or withdraws what was asked for it.
    fn turn(&self, issuer: &str, subject: &str) -> &tokio::sync::Mutex<()> {
        let mut hash = DefaultHasher::new();
        (issuer, subject).hash(&mut hash);
        let number = usize::try_from(hash.finish() % TURNS as u64).unwrap_or_default();
        self.turns.get(number).unwrap_or(&self.any_turn)
    }
}

fn written(answer: Result<Result<DynamicObject, kube::Error>, tokio::time::error::Elapsed>) -> Written {
    match answer {
        Ok(Ok(object)) => Written::Done(read(object).map(Box::new)),
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Written::Gone,
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() || status.is_already_exists() => {
            Written::Conflict
        }
        // The server had trouble of its own: it may have written before.
        Ok(Err(kube::Error::Api(status))) if status.code >= 500 || status.code == 429 => {
            Written::Unknown(status.message)
        }
        Ok(Err(error @ kube::Error::Api(_))) => Written::Refused(error),
        Ok(Err(error)) => Written::Unknown(proxy_core::gate::Chain(&error).to_string()),
        Err(_) => Written::Unknown(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// A request as it is kept here.
pub(super) fn read(object: DynamicObject) -> Option<ApprovalRequest> {
    match object.try_parse::<ApprovalRequest>() {
        Ok(request) => Some(stripped(request)),
        Err(error) => {
            tracing::warn!(error = %proxy_core::gate::Chain(&error), "cannot read an approval request");
            None
        }
    }
}

/// Without what is for people only: a namespace keeps the requests of days.
fn stripped(mut request: ApprovalRequest) -> ApprovalRequest {
    request.metadata.managed_fields = None;
    request.spec.command.text.clear();
    request.spec.command.summary.clear();
    request.spec.command.effects.clear();
    request.spec.command.estimate = None;
    request.spec.command.members.iter_mut().for_each(|member| member.summary.clear());
    request.spec.requester.claims.clear();
    request
}
