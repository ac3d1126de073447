//! What a request has come to. Pure.

use crate::control::requests::{end, is_expired};
use crds::v1alpha1::ApprovalRequest;
use crds::v1alpha1::conditions::{APPROVED, APPROVER_BINDING, CONSUMED, DENIED, EXPIRED};
use jiff::Timestamp;
use proxy_core::approval::Outcome;
use proxy_policy::approval::{Settled, settle};

/// What a request has come to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Judgement {
    /// Nothing yet.
    Pending,
    /// It may be consumed.
    Approved {
        /// `name (group): reason`, one per approver.
        approvers: Vec<String>,
    },
    /// It is consumed, says this message.
    Consumed(String),
    /// It ended otherwise.
    Ended(Outcome),
}

/// What a request has come to, given what it was when it was asked or joined.
///
/// The operator's word alone is not enough: the decisions must say the same, and nothing but them may have changed.
pub(super) fn judge(asked: &ApprovalRequest, current: &ApprovalRequest, now: Timestamp) -> Judgement {
    let ended = Judgement::Ended;
    if asked.metadata.uid.is_none() || current.metadata.uid != asked.metadata.uid {
        return ended(Outcome::Withdrawn);
    }
    if let Some(condition) = end(current) {
        return match condition.type_.as_str() {
            CONSUMED => Judgement::Consumed(condition.message.clone()),
            DENIED => ended(Outcome::Denied { approver: condition.message.clone() }),
            EXPIRED => ended(Outcome::Expired),
            _ => ended(Outcome::Withdrawn),
        };
    }
    if is_expired(&asked.spec, now) {
        return ended(Outcome::Expired);
    }
    let operator_says = is_true(current, APPROVED) && is_true(current, APPROVER_BINDING);
    match settle(&asked.spec, &current.spec, now) {
        Settled::Void { .. } => ended(Outcome::Withdrawn),
        Settled::Expired => ended(Outcome::Expired),
        Settled::Approved { approvers } if operator_says => Judgement::Approved { approvers },
        // The operator has the last word about a denial too, unless it has said Approved already.
        Settled::Denied { approver } if operator_says => ended(Outcome::Denied { approver }),
        Settled::Approved { .. } | Settled::Denied { .. } | Settled::Pending { .. } => Judgement::Pending,
    }
}

fn is_true(request: &ApprovalRequest, kind: &str) -> bool {
    let conditions = request.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::{Judgement, judge};
    use crds::v1alpha1::ApprovalRequest;
    use jiff::Timestamp;
    use proxy_core::approval::Outcome;
    use serde_json::{Value, json};

    #[expect(clippy::needless_pass_by_value, reason = "literals read better without a borrow")]
    fn request(decisions: Value, conditions: &[(&str, &str)]) -> ApprovalRequest {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(kind, status)| {
                json!({"type": kind, "status": status, "reason": "R", "message": "said so",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "ApprovalRequest",
            "metadata": {"name": "orders-1", "uid": "u1"},
            "spec": {
                "resourceRef": {"name": "orders", "uid": "r1"},
                "requester": {"issuer": "https://issuer.example", "subject": "ci", "username": "ci"},
                "session": "s", "policyRef": {"name": "p", "rule": "r"},
                "command": {"protocol": "postgresql", "summary": "", "text": "", "digest": "d", "effectDigest": "e"},
                "expiresAt": "2026-01-01T00:10:00Z", "decisions": decisions,
            },
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    fn yes(who: &str) -> Value {
        json!([{"approver": who, "verdict": "Approved"}])
    }

    fn verdict(current: &ApprovalRequest) -> Judgement {
        judge(&request(json!([]), &[]), current, "2026-01-01T00:05:00Z".parse().unwrap())
    }

    const BOTH: [(&str, &str); 2] = [("Approved", "True"), ("ApproverBinding", "True")];

    #[test]
    fn an_approval_takes_the_operator_its_binding_and_the_decisions() {
        let approved = Judgement::Approved { approvers: vec!["alice".to_owned()] };
        assert_eq!(verdict(&request(yes("alice"), &BOTH)), approved);
        for (decisions, conditions) in [
            (yes("alice"), &[][..]),
            (yes("alice"), &[("Approved", "True")]),
            (yes("alice"), &[("Approved", "True"), ("ApproverBinding", "False")]),
            (yes("alice"), &[("Approved", "Unknown"), ("ApproverBinding", "True")]),
            (yes("alice"), &[("ApproverBinding", "True")]),
            (json!([]), &BOTH),
            (yes("ci"), &BOTH),
        ] {
            let judged = verdict(&request(decisions.clone(), conditions));
            assert_eq!(judged, Judgement::Pending, "{decisions} {conditions:?}");
        }
    }

    #[test]
    fn every_other_end_stands_whatever_else_is_said() {
        for (kind, expected) in [
            ("Consumed", Judgement::Consumed("said so".to_owned())),
            ("Denied", Judgement::Ended(Outcome::Denied { approver: "said so".to_owned() })),
            ("Expired", Judgement::Ended(Outcome::Expired)),
            ("Withdrawn", Judgement::Ended(Outcome::Withdrawn)),
        ] {
            let conditions = [BOTH[0], BOTH[1], (kind, "True")];
            assert_eq!(verdict(&request(yes("alice"), &conditions)), expected);
        }
        let denied =
            json!([{"approver": "alice", "verdict": "Approved"}, {"approver": "bob", "verdict": "Denied"}]);
        let ended = Judgement::Ended(Outcome::Denied { approver: "bob".to_owned() });
        assert_eq!(verdict(&request(denied, &BOTH)), ended);
    }

    #[test]
    fn another_object_or_another_command_under_the_name_is_withdrawn() {
        let withdrawn = Judgement::Ended(Outcome::Withdrawn);
        let edits: [fn(&mut ApprovalRequest); 4] = [
            |request| request.metadata.uid = Some("u2".to_owned()),
            |request| request.metadata.uid = None,
            |request| request.spec.command.digest = "other".to_owned(),
            |request| request.spec.expires_at = "2036-01-01T00:00:00Z".to_owned(),
        ];
        for edit in edits {
            let mut current = request(yes("alice"), &BOTH);
            edit(&mut current);
            assert_eq!(verdict(&current), withdrawn);
        }
    }

    #[test]
    fn past_the_expiry_by_our_own_clock_nothing_counts() {
        let asked = request(json!([]), &[]);
        let late: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        assert_eq!(judge(&asked, &request(yes("alice"), &BOTH), late), Judgement::Ended(Outcome::Expired));
    }
}
