//! The approval requests of a cluster. Who decides is who the API server takes them for, and what binds a decision to
//! them is the admission policy: what is checked here only saves a round trip.

mod refusal;

use super::{Listing, Scope, Standing, Store, User};
use crate::cluster::{Cluster, KubernetesArguments, is_name};
use anyhow::{Context as _, bail};
use crds::v1alpha1::{ApprovalRequest, Decision};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams, TypeMeta};
use refusal::explain;
use serde_json::{Value, json};

/// Who appends, in the objects' managed fields.
const MANAGER: &str = "portcullis-cli";
/// How often to begin again when somebody else writes at the same time.
const ATTEMPTS: usize = 20;

/// The requests of one namespace, or of all.
pub(super) struct Kubernetes {
    cluster: Cluster,
    scope: Scope,
}

impl Kubernetes {
    /// Finds the cluster that is meant. Nothing is asked of it yet.
    pub(super) fn connect(arguments: &KubernetesArguments, scope: Scope) -> anyhow::Result<Self> {
        Ok(Self { cluster: Cluster::connect(arguments)?, scope })
    }

    /// Objects are read as they come and parsed one by one: one that is not understood does not hide the others.
    fn api(&self) -> Api<DynamicObject> {
        let kind = ApiResource::erase::<ApprovalRequest>(&());
        match self.scope {
            Scope::Namespace => {
                Api::namespaced_with(self.cluster.client.clone(), &self.cluster.namespace, &kind)
            }
            Scope::Everywhere => Api::all_with(self.cluster.client.clone(), &kind),
        }
    }

    fn get(&self, name: &str) -> anyhow::Result<Option<DynamicObject>> {
        // A name becomes part of the address.
        if !is_name(name) {
            return Ok(None);
        }
        let found = self.cluster.runtime.block_on(self.api().get_opt(name));
        found.map_err(|error| self.refused(error))
    }

    fn refused(&self, error: kube::Error) -> anyhow::Error {
        explain(error, &self.cluster.server, &self.cluster.namespace)
    }
}

impl Store for Kubernetes {
    fn list(&self) -> anyhow::Result<Listing> {
        let listed = self.cluster.runtime.block_on(self.api().list(&ListParams::default()));
        let listed = listed.map_err(|error| self.refused(error))?;
        let (mut requests, mut unreadable) = (Vec::new(), Vec::new());
        for object in listed.items {
            match parse(object) {
                Ok(request) => requests.push(request),
                Err(error) => unreadable.push(format!("{error:#}")),
            }
        }
        requests.sort_by_key(|request| request.metadata.creation_timestamp.as_ref().map(|time| time.0));
        Ok(Listing { requests, unreadable })
    }

    fn read(&self, name: &str) -> anyhow::Result<Option<ApprovalRequest>> {
        self.get(name)?.map(parse).transpose()
    }

    fn user(&self) -> anyhow::Result<User> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.cluster.client.clone());
        let (params, question) = (PostParams::default(), SelfSubjectReview::default());
        let review = self.cluster.runtime.block_on(reviews.create(&params, &question));
        let review = review.map_err(|error| self.refused(error)).context("ask the API server who you are")?;
        let user = review.status.and_then(|status| status.user_info).unwrap_or_default();
        let name = user.username.filter(|name| !name.is_empty());
        let name =
            name.context("the API server does not say who you are: log in, or choose another --context")?;
        Ok(User { name, groups: Some(user.groups.unwrap_or_default()) })
    }

    fn append(
        &self,
        name: &str,
        decide: &mut dyn FnMut(&ApprovalRequest) -> anyhow::Result<Decision>,
    ) -> anyhow::Result<Option<ApprovalRequest>> {
        let mut last: Option<Attempt> = None;
        for _ in 0..ATTEMPTS {
            let Some(object) = self.get(name)? else { return Ok(None) };
            let request = parse(object.clone())?;
            if let Some(Attempt { before, decision, error }) = last.take() {
                if before.metadata.uid != request.metadata.uid {
                    bail!("{name} is another request by now: look at it again before you decide");
                }
                if request.spec.decisions.contains(&decision) {
                    // It was written and the answer got lost.
                    return Ok(Some(request));
                }
                if before.metadata.resource_version == request.metadata.resource_version {
                    return Err(self.refused(error));
                }
            }
            let decision = decide(&request)?;
            let written = self.cluster.runtime.block_on(self.api().patch(
                name,
                &params(),
                &appending(&object, &decision)?,
            ));
            match written {
                Ok(object) => return parse(object).map(Some),
                // 422 is what a failed test of a JSON patch comes to, and an invalid decision as well.
                Err(kube::Error::Api(status)) if matches!(status.code, 409 | 422 | 504) => {
                    last = Some(Attempt { before: request, decision, error: kube::Error::Api(status) });
                }
                Err(error) => return Err(self.refused(error)),
            }
        }
        bail!("{name} changed each of {ATTEMPTS} times that your decision was to be written: try again")
    }

    fn standing(&self, request: &ApprovalRequest, now: Timestamp) -> Standing {
        Standing::by_operator(request, now)
    }
}

/// A decision that the API server did not take.
struct Attempt {
    before: ApprovalRequest,
    decision: Decision,
    error: kube::Error,
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// Appends to the very version that was read, so that a decision is about what its approver saw and overwrites no
/// other. A merge patch would write the other decisions as this program understands them.
fn appending(object: &DynamicObject, decision: &Decision) -> anyhow::Result<Patch<Value>> {
    let there = object.data.pointer("/spec/decisions").is_some_and(Value::is_array);
    let add = if there {
        json!({"op": "add", "path": "/spec/decisions/-", "value": decision})
    } else {
        json!({"op": "add", "path": "/spec/decisions", "value": [decision]})
    };
    let test = |path: &str, value: &Option<String>| json!({"op": "test", "path": path, "value": value});
    let patch = json!([
        test("/metadata/uid", &object.metadata.uid),
        test("/metadata/resourceVersion", &object.metadata.resource_version),
        add,
    ]);
    Ok(Patch::Json(serde_json::from_value(patch).context("write a patch")?))
}

fn parse(mut object: DynamicObject) -> anyhow::Result<ApprovalRequest> {
    // Of interest to nobody who reads a request, and longer than the rest.
    object.metadata.managed_fields = None;
    object.types = Some(TypeMeta::resource::<ApprovalRequest>());
    let name = object.metadata.name.clone().unwrap_or_default();
    let value = serde_json::to_value(object).context("read an object of the API server")?;
    serde_json::from_value(value)
        .with_context(|| format!("parse {name}: is this program as new as the gateways of the cluster?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::v1alpha1::ApprovalVerdict;

    #[test]
    fn a_decision_goes_behind_those_of_the_version_that_was_read() {
        let read = |spec: &Value| -> DynamicObject {
            serde_json::from_value(json!({"metadata": {"uid": "u1", "resourceVersion": "7"}, "spec": spec}))
                .unwrap()
        };
        let decision = Decision {
            approver: "alice".to_owned(),
            group: Some("dba".to_owned()),
            verdict: ApprovalVerdict::Approved,
            reason: None,
        };
        let value = json!({"approver": "alice", "group": "dba", "verdict": "Approved"});
        for (spec, add) in [
            (json!({}), json!({"op": "add", "path": "/spec/decisions", "value": [value]})),
            (json!({"decisions": []}), json!({"op": "add", "path": "/spec/decisions/-", "value": value})),
        ] {
            let Patch::Json(patch) = appending(&read(&spec), &decision).unwrap() else {
                panic!("a JSON patch")
            };
            let expected = json!([
                {"op": "test", "path": "/metadata/uid", "value": "u1"},
                {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
                add,
            ]);
            assert_eq!(serde_json::to_value(patch).unwrap(), expected);
        }
    }
}
