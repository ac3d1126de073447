//! Whether decisions are bound to whoever makes them: the admission policy has to be seen refusing.
//!
//! A `ValidatingAdmissionPolicy` that is missing, unbound, or broken by one typing error lets everything pass without
//! a word. So the operator tries what must be refused, as a dry run, before anything counts and then regularly.

use crate::metrics::Metrics;
use crate::names::MANAGER;
use crate::stores::Chain;
use crds::v1alpha1::{
    ApprovalRequest, ApprovalRequestSpec, ApprovalVerdict, Decision, HeldCommand, OnDisconnect, PolicyRef,
    Requester, ResourceRef, TransactionState,
};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use proxy_policy::approval::MAX_DECISIONS;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// Name of the admission policy; its refusals carry it.
pub const ADMISSION_POLICY: &str = "portcullis-approver-binding";
/// What it says to a request that is created with a decision.
const BORN_DECIDED: &str = "portcullis: a request is not created already decided";
/// What it says to a decision in another name.
const IN_ANOTHER_NAME: &str = "portcullis: approver must be the user who patches";
/// Who the canary pretends to be.
const CANARY: &str = "portcullis-canary";
/// How often it is tried while it is refused as it must be, and while it is not.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(2));
/// The first Kubernetes whose API server has ValidatingAdmissionPolicy without a feature gate.
const OLDEST: (u32, u32) = (1, 30);
/// A proof that is older counts for nothing.
const FRESH: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// Whether the admission policy was seen at work.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Binding {
    /// It refused, at this time.
    Proven(Timestamp),
    /// It was not, because of this.
    Unproven(Unbound),
}

/// Why decisions prove nothing of who made them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unbound {
    /// One word, for conditions.
    pub reason: &'static str,
    /// In full, with what to do.
    pub why: String,
}

impl Unbound {
    /// The admission policy was not seen at work.
    pub const fn not_proven(why: String) -> Self {
        Self { reason: "NotProven", why }
    }
}

impl Binding {
    /// Whether it was seen at work lately.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn check(&self, now: Timestamp) -> Result<(), Unbound> {
        match self {
            Self::Proven(at) if now.duration_since(*at) <= FRESH => Ok(()),
            Self::Proven(at) => {
                Err(Unbound::not_proven(format!("the admission policy was last seen at work at {at}")))
            }
            Self::Unproven(unbound) => Err(unbound.clone()),
        }
    }
}

/// Tries the canary until the process ends, and tells of every change.
///
/// Cancel safe.
pub async fn watch_over(
    client: Client,
    namespace: String,
    binding: watch::Sender<Binding>,
    metrics: Metrics,
) {
    loop {
        let seen = try_create(&client, &namespace, Timestamp::now()).await;
        let proven = matches!(seen, Binding::Proven(_));
        metrics.approver_binding.set(i64::from(proven));
        if let Binding::Unproven(unbound) = &seen
            && *binding.borrow() != seen
        {
            tracing::error!(
                reason = unbound.reason,
                why = unbound.why,
                "approvals are not bound to their approvers: none counts"
            );
        }
        binding.send_replace(seen);
        tokio::time::sleep(if proven { INTERVALS.0 } else { INTERVALS.1 }).await;
    }
}

/// A request that is created already decided must be refused.
async fn try_create(client: &Client, namespace: &str, now: Timestamp) -> Binding {
    let api = Api::<ApprovalRequest>::namespaced(client.clone(), namespace);
    let params = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
    match api.create(&params, &canary(now)).await {
        Ok(_) => Binding::Unproven(unchecked(client).await),
        Err(kube::Error::Api(status)) if refused(&status.message, BORN_DECIDED) => Binding::Proven(now),
        Err(error) => Binding::Unproven(Unbound::not_proven(format!(
            "the admission policy cannot be tried: {}",
            Chain(&error)
        ))),
    }
}

/// Why nothing was refused: the cluster knows no such policies, or ours is not there.
async fn unchecked(client: &Client) -> Unbound {
    let version = client.apiserver_version().await.ok();
    version.and_then(|version| too_old(&version.major, &version.minor)).unwrap_or_else(|| {
        Unbound::not_proven(format!(
            "the API server lets a request be created already decided: the ValidatingAdmissionPolicy \
             {ADMISSION_POLICY} or its binding is missing or broken; install the chart with approverBinding.enabled"
        ))
    })
}

/// Whether this version of Kubernetes lacks admission policies. Some providers write `29+`. One that cannot be read is
/// not called old.
fn too_old(major: &str, minor: &str) -> Option<Unbound> {
    let number = |text: &str| text.trim_end_matches('+').parse::<u32>().ok();
    let is_old = (number(major)?, number(minor)?) < OLDEST;
    let (oldest_major, oldest_minor) = OLDEST;
    is_old.then(|| Unbound {
        reason: "ClusterTooOld",
        why: format!(
            "this cluster is Kubernetes {major}.{minor}, and what binds decisions to their approvers, a \
             ValidatingAdmissionPolicy, takes {oldest_major}.{oldest_minor} or newer: upgrade the cluster; until then \
             held commands are never released"
        ),
    })
}

/// A decision in another name, on this very request, must be refused.
///
/// Cancel safe.
///
/// # Errors
/// Why it is not certain that it is.
pub async fn prove(client: &Client, request: &ApprovalRequest) -> Result<(), Unbound> {
    prove_or_why(client, request).await.map_err(Unbound::not_proven)
}

async fn prove_or_why(client: &Client, request: &ApprovalRequest) -> Result<(), String> {
    let metadata = &request.metadata;
    let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else {
        return Err("the request has no name".to_owned());
    };
    let mut decisions = request.spec.decisions.clone();
    // one more than the schema takes would be refused for that, which proves nothing; the forged name is what the
    // admission policy looks at first
    decisions.truncate(MAX_DECISIONS.saturating_sub(1));
    decisions.push(forged());
    let patch =
        json!({"metadata": {"resourceVersion": metadata.resource_version}, "spec": {"decisions": decisions}});
    let params =
        PatchParams { dry_run: true, field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let api = Api::<ApprovalRequest>::namespaced(client.clone(), namespace);
    match api.patch(name, &params, &Patch::Merge(&patch)).await {
        Ok(_) => Err(format!(
            "the API server accepts a decision in another name: the ValidatingAdmissionPolicy {ADMISSION_POLICY} \
             or its binding is missing or broken"
        )),
        Err(kube::Error::Api(status)) if refused(&status.message, IN_ANOTHER_NAME) => Ok(()),
        Err(error) => Err(format!("the admission policy cannot be tried: {}", Chain(&error))),
    }
}

/// Refused by the policy, for the reason that counts.
fn refused(message: &str, reason: &str) -> bool {
    message.contains(ADMISSION_POLICY) && message.contains(reason)
}

fn forged() -> Decision {
    Decision {
        approver: CANARY.to_owned(),
        group: None,
        verdict: ApprovalVerdict::Approved,
        reason: Some("dry run: must be refused".to_owned()),
    }
}

fn canary(now: Timestamp) -> ApprovalRequest {
    let canary = || CANARY.to_owned();
    let spec = ApprovalRequestSpec {
        resource_ref: ResourceRef { name: canary(), uid: None },
        requester: Requester {
            issuer: canary(),
            subject: canary(),
            username: canary(),
            groups: Vec::new(),
            claims: BTreeMap::new(),
        },
        session: canary(),
        command: HeldCommand {
            protocol: canary(),
            summary: canary(),
            text: canary(),
            effects: Vec::new(),
            digest: canary(),
            effect_digest: canary(),
            transaction: TransactionState::Idle,
            estimate: None,
            members: Vec::new(),
        },
        policy_ref: PolicyRef { name: canary(), generation: 0, rule: canary() },
        reviewers: Vec::new(),
        expires_at: now.to_string(),
        on_disconnect: OnDisconnect::Withdraw,
        decisions: vec![forged()],
    };
    let mut request = ApprovalRequest::new(CANARY, spec);
    request.metadata.labels = Some(BTreeMap::from([("portcullis.dev/canary".to_owned(), "true".to_owned())]));
    request
}

#[cfg(test)]
mod tests {
    use super::{Binding, Unbound, too_old};

    #[test]
    fn an_old_proof_counts_for_nothing() {
        let at = "2026-11-24T12:00:00Z".parse().unwrap();
        let later = |text: &str| Binding::Proven(at).check(text.parse().unwrap());
        assert_eq!(later("2026-11-24T12:01:00Z"), Ok(()));
        assert!(later("2026-11-24T12:01:01Z").unwrap_err().why.contains("last seen"));
        assert!(Binding::Unproven(Unbound::not_proven("why".to_owned())).check(at).is_err());
    }

    #[test]
    fn a_cluster_without_admission_policies_is_told_from_one_without_ours() {
        for (major, minor) in [("1", "29"), ("1", "29+"), ("1", "9"), ("0", "99")] {
            let unbound = too_old(major, minor).unwrap();
            assert_eq!(unbound.reason, "ClusterTooOld");
            assert!(unbound.why.contains(&format!("Kubernetes {major}.{minor},")), "{}", unbound.why);
            assert!(unbound.why.contains("1.30 or newer: upgrade the cluster"), "{}", unbound.why);
        }
        for (major, minor) in [("1", "30"), ("1", "30+"), ("1", "34"), ("2", "0"), ("1", ""), ("", "x")] {
            assert_eq!(too_old(major, minor), None, "{major}.{minor}");
        }
    }
}
