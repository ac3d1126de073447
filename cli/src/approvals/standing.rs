//! Where a request stands.

use crds::v1alpha1::ApprovalRequest;
use crds::v1alpha1::conditions::{APPROVED, APPROVER_BINDING, CONSUMED, DENIED, EXPIRED, WITHDRAWN};
use jiff::Timestamp;
use proxy_policy::approval::{Settled, settle};

/// Where a request stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// It waits for decisions; says which.
    Pending(String),
    /// It has the decisions it needs, and the operator has not said so; says why, as far as that is known.
    Unconfirmed(String),
    /// It is over, or the next look of a gateway ends it: `approved`, `denied`, `expired`, `withdrawn`, `consumed`.
    Over(&'static str),
}

impl Standing {
    /// Without Kubernetes: decisions count as they stand, the gateway itself counts them.
    pub(crate) fn by_gateway(request: &ApprovalRequest, now: Timestamp) -> Self {
        if let Some(word) = ended(request) {
            return Self::Over(word);
        }
        match settle(&request.spec, &request.spec, now) {
            Settled::Pending { missing } => Self::Pending(missing),
            Settled::Approved { .. } => Self::Over("approved"),
            Settled::Denied { .. } => Self::Over("denied"),
            Settled::Expired => Self::Over("expired"),
            Settled::Void { .. } => Self::Over("withdrawn"),
        }
    }

    /// In a cluster: gateways act on what the operator wrote, and on their clock.
    pub(crate) fn by_operator(request: &ApprovalRequest, now: Timestamp) -> Self {
        if let Some(word) = ended(request) {
            return Self::Over(word);
        }
        let approved = holds(request, APPROVED);
        if approved && holds(request, APPROVER_BINDING) {
            let late = request.spec.expires_at.parse::<Timestamp>().is_ok_and(|expires_at| expires_at <= now);
            return Self::Over(if late { "expired" } else { "approved" });
        }
        match settle(&request.spec, &request.spec, now) {
            Settled::Pending { missing } if !approved => Self::Pending(missing),
            Settled::Expired => Self::Over("expired"),
            Settled::Pending { .. } | Settled::Approved { .. } => Self::Unconfirmed(
                unbound(request).unwrap_or_else(|| "the operator has yet to confirm it".to_owned()),
            ),
            Settled::Denied { .. } => {
                Self::Unconfirmed("the operator has yet to confirm the denial".to_owned())
            }
            Settled::Void { why } => Self::Unconfirmed(format!("it is void: {why}")),
        }
    }

    /// One word.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Pending(_) => "pending",
            Self::Unconfirmed(_) => "unconfirmed",
            Self::Over(word) => word,
        }
    }

    /// What has to come first.
    pub(crate) fn missing(&self) -> Option<&str> {
        match self {
            Self::Pending(missing) | Self::Unconfirmed(missing) => Some(missing),
            Self::Over(_) => None,
        }
    }

    /// Whether nothing more is decided.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self, Self::Over(_))
    }
}

fn ended(request: &ApprovalRequest) -> Option<&'static str> {
    [(CONSUMED, "consumed"), (DENIED, "denied"), (EXPIRED, "expired"), (WITHDRAWN, "withdrawn")]
        .into_iter()
        .find_map(|(kind, word)| holds(request, kind).then_some(word))
}

fn holds(request: &ApprovalRequest, kind: &str) -> bool {
    let mut conditions = request.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == kind && condition.status == "True")
}

/// Why the operator does not count approvals.
fn unbound(request: &ApprovalRequest) -> Option<String> {
    let mut conditions = request.status.iter().flat_map(|status| &status.conditions);
    let binding =
        conditions.find(|condition| condition.type_ == APPROVER_BINDING && condition.status != "True")?;
    Some(format!("not bound: {}", binding.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn request(decisions: &Value, conditions: &[(&str, &str)]) -> ApprovalRequest {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(kind, status)| {
                json!({"type": kind, "status": status, "reason": "R", "message": "why", "lastTransitionTime": NOW})
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "portcullis.dev/v1alpha1",
            "kind": "ApprovalRequest",
            "metadata": { "name": "orders-1" },
            "spec": {
                "resourceRef": { "name": "orders" },
                "requester": { "issuer": "https://issuer.example", "subject": "s", "username": "ci-bot" },
                "session": "s",
                "command": {
                    "protocol": "postgresql", "summary": "DELETE", "text": "DELETE", "digest": "d", "effectDigest": "e",
                },
                "policyRef": { "name": "p", "rule": "r" },
                "reviewers": [{ "group": "dba", "count": 1 }],
                "expiresAt": "2026-01-01T00:10:00Z",
                "decisions": decisions,
            },
            "status": { "conditions": conditions },
        }))
        .unwrap()
    }

    fn enough() -> Value {
        json!([{ "approver": "alice", "group": "dba", "verdict": "Approved" }])
    }

    fn by_operator(decisions: &Value, conditions: &[(&str, &str)]) -> Standing {
        Standing::by_operator(&request(decisions, conditions), NOW.parse().unwrap())
    }

    #[test]
    fn a_gateway_counts_for_itself_and_an_operator_has_to_write_it_down() {
        let now = NOW.parse().unwrap();
        assert_eq!(Standing::by_gateway(&request(&enough(), &[]), now), Standing::Over("approved"));
        assert_eq!(by_operator(&enough(), &[]).word(), "unconfirmed");
        assert_eq!(
            by_operator(&json!([]), &[]),
            Standing::Pending("1 more approver of group dba".to_owned())
        );
        let denial = json!([{ "approver": "alice", "verdict": "Denied" }]);
        assert_eq!(Standing::by_gateway(&request(&denial, &[]), now), Standing::Over("denied"));
        assert_eq!(by_operator(&denial, &[]).word(), "unconfirmed");
        assert_eq!(by_operator(&denial, &[(DENIED, "True")]), Standing::Over("denied"));
    }

    #[test]
    fn an_approval_that_is_not_bound_is_none() {
        let unbound = by_operator(&enough(), &[(APPROVER_BINDING, "False")]);
        assert_eq!(unbound, Standing::Unconfirmed("not bound: why".to_owned()));
        for conditions in [&[(APPROVED, "True")][..], &[(APPROVED, "True"), (APPROVER_BINDING, "False")]] {
            assert_eq!(by_operator(&enough(), conditions).word(), "unconfirmed", "{conditions:?}");
        }
        let bound = [(APPROVED, "True"), (APPROVER_BINDING, "True")];
        assert_eq!(by_operator(&enough(), &bound), Standing::Over("approved"));
    }

    #[test]
    fn what_ended_or_is_late_is_over() {
        let bound = [(APPROVED, "True"), (APPROVER_BINDING, "True"), (CONSUMED, "True")];
        assert_eq!(by_operator(&enough(), &bound), Standing::Over("consumed"));
        assert_eq!(by_operator(&json!([]), &[(WITHDRAWN, "True")]), Standing::Over("withdrawn"));
        let late = "2026-01-01T00:10:00Z".parse().unwrap();
        let approved = request(&enough(), &bound[..2]);
        assert_eq!(Standing::by_operator(&approved, late), Standing::Over("expired"));
        assert_eq!(Standing::by_operator(&request(&json!([]), &[]), late), Standing::Over("expired"));
    }
}
