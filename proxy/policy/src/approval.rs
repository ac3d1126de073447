//! What the decisions in an approval request amount to. Pure: the gateway, the operator and the command line ask
//! the same question here.
//!
//! * One denial denies, whoever it is from.
//! * The requester may not approve: an approval by somebody with the requester's user name or subject counts for
//!   nothing. Outside Kubernetes an approver is an operating-system user and the requester an OIDC identity, so
//!   this compares names from two directories: it stops the honest mistake, not somebody who has both accounts.
//! * `reviewers` are alternatives: one of them satisfied is enough. None at all: one approver of any group.
//! * Nothing but `decisions` may change, and decisions that were seen may not.
//! * Once the time is up, approvals count for nothing.

use crds::v1alpha1::{ApprovalRequestSpec, ApprovalVerdict, Decision, ReviewerRequirement};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Most decisions of one request.
pub const MAX_DECISIONS: usize = 32;
/// Longest name of an approver or group, in characters.
const MAX_NAME: usize = 253;
/// Longest reason, in characters.
const MAX_REASON: usize = 1024;

/// Where a request stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Settled {
    /// Enough approvers agreed.
    Approved {
        /// `name (group): reason`, one per approver.
        approvers: Vec<String>,
    },
    /// An approver refused.
    Denied {
        /// `name (group): reason`.
        approver: String,
    },
    /// Nobody decided in time.
    Expired,
    /// Not enough decisions yet.
    Pending {
        /// What is missing, for people: `1 more approver of group dba`.
        missing: String,
    },
    /// Something changed that may not change: the request is void.
    Void {
        /// What: `something other than its decisions was changed`.
        why: &'static str,
    },
}

/// Where a request stands, given what it was when it was last seen (`before`) and what it is `now`.
pub fn settle(before: &ApprovalRequestSpec, current: &ApprovalRequestSpec, now: Timestamp) -> Settled {
    if let Some(why) = changed(before, current).or_else(|| malformed(&current.decisions)) {
        return Settled::Void { why };
    }
    if let Some(denial) =
        current.decisions.iter().find(|decision| decision.verdict == ApprovalVerdict::Denied)
    {
        return Settled::Denied { approver: describe(denial) };
    }
    match current.expires_at.parse::<Timestamp>() {
        Ok(expires_at) if now < expires_at => {}
        // A time that cannot be read has passed: fail closed.
        Ok(_) | Err(_) => return Settled::Expired,
    }
    let approvals: Vec<&Decision> =
        current.decisions.iter().filter(|decision| !is_requester(current, &decision.approver)).collect();
    let anybody = [ReviewerRequirement { group: None, count: 1 }];
    let alternatives = if current.reviewers.is_empty() { &anybody[..] } else { &current.reviewers };
    if alternatives.iter().any(|requirement| missing(requirement, &approvals) == 0) {
        return Settled::Approved { approvers: approvals.into_iter().map(describe).collect() };
    }
    let missing: Vec<String> =
        alternatives.iter().map(|requirement| describe_missing(requirement, &approvals)).collect();
    Settled::Pending { missing: missing.join(", or ") }
}

/// Whether this name is the requester's: it may not approve.
pub fn is_requester(spec: &ApprovalRequestSpec, approver: &str) -> bool {
    approver == spec.requester.username || approver == spec.requester.subject
}

fn changed(before: &ApprovalRequestSpec, current: &ApprovalRequestSpec) -> Option<&'static str> {
    // Taking the current decisions into the old request must make it the current one.
    let mut expected = before.clone();
    expected.decisions.clone_from(&current.decisions);
    if expected != *current {
        return Some("something other than its decisions was changed");
    }
    if !current.decisions.starts_with(&before.decisions) {
        return Some("a decision was changed or taken back");
    }
    None
}

fn malformed(decisions: &[Decision]) -> Option<&'static str> {
    if decisions.len() > MAX_DECISIONS {
        return Some("it has more than 32 decisions");
    }
    let names =
        |decision: &Decision| is_name(&decision.approver) && decision.group.as_deref().is_none_or(is_name);
    let reason = |decision: &Decision| {
        decision.reason.as_ref().is_none_or(|reason| reason.chars().count() <= MAX_REASON)
    };
    if decisions.iter().all(|decision| names(decision) && reason(decision)) {
        None
    } else {
        Some("a decision has no proper approver, group or reason")
    }
}

fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.chars().count() <= MAX_NAME && !name.chars().any(char::is_control)
}

/// How many approvers are missing. One person counts once, however often they decide.
fn missing(requirement: &ReviewerRequirement, approvals: &[&Decision]) -> usize {
    let approvers: BTreeSet<&str> = approvals
        .iter()
        .filter(|decision| requirement.group.is_none() || decision.group == requirement.group)
        .map(|decision| decision.approver.as_str())
        .collect();
    // A count below one would approve by itself.
    usize::try_from(requirement.count).unwrap_or(1).max(1).saturating_sub(approvers.len())
}

fn describe_missing(requirement: &ReviewerRequirement, approvals: &[&Decision]) -> String {
    let count = missing(requirement, approvals);
    let plural = if count == 1 { "" } else { "s" };
    match &requirement.group {
        Some(group) => format!("{count} more approver{plural} of group {group}"),
        None => format!("{count} more approver{plural}"),
    }
}

/// `name (group): reason`, in one line.
fn describe(decision: &Decision) -> String {
    let mut text = decision.approver.clone();
    if let Some(group) = &decision.group {
        text.push_str(" (");
        text.push_str(group);
        text.push(')');
    }
    if let Some(reason) = decision.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty()) {
        text.push_str(": ");
        text.extend(reason.chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const START: &str = "2026-01-01T00:00:00Z";

    #[expect(clippy::needless_pass_by_value, reason = "literals read better without a borrow")]
    fn request(reviewers: serde_json::Value, decisions: serde_json::Value) -> ApprovalRequestSpec {
        serde_json::from_value(json!({
            "resourceRef": { "name": "orders" },
            "requester": { "issuer": "https://issuer.example", "subject": "sub-1", "username": "ci-bot" },
            "session": "s",
            "command": {
                "protocol": "postgresql", "summary": "DELETE", "text": "DELETE FROM orders",
                "digest": "d", "effectDigest": "e",
            },
            "policyRef": { "name": "p", "rule": "r" },
            "reviewers": reviewers,
            "expiresAt": "2026-01-01T00:10:00Z",
            "decisions": decisions,
        }))
        .unwrap()
    }

    fn verdict(reviewers: serde_json::Value, decisions: serde_json::Value) -> Settled {
        let before = request(reviewers.clone(), json!([]));
        settle(&before, &request(reviewers, decisions), START.parse().unwrap())
    }

    fn by(approver: &str, group: &str) -> serde_json::Value {
        json!({ "approver": approver, "group": group, "verdict": "Approved" })
    }

    #[test]
    fn without_reviewers_one_approver_of_any_group_is_enough() {
        let decision = json!({ "approver": "alice", "verdict": "Approved", "reason": "ticket 7\nok" });
        let approvers = vec!["alice: ticket 7 ok".to_owned()];
        assert_eq!(verdict(json!([]), json!([decision])), Settled::Approved { approvers });
        let missing = "1 more approver".to_owned();
        assert_eq!(verdict(json!([]), json!([])), Settled::Pending { missing });
    }

    #[test]
    fn every_alternative_counts_different_people_of_its_group() {
        let reviewers = json!([{ "group": "dba", "count": 2 }, { "group": "owner", "count": 1 }]);
        let missing = "1 more approver of group dba, or 1 more approver of group owner".to_owned();
        let twice = json!([by("alice", "dba"), by("alice", "dba")]);
        assert_eq!(verdict(reviewers.clone(), twice), Settled::Pending { missing: missing.clone() });
        let mixed = json!([by("alice", "dba"), by("bob", "other")]);
        assert_eq!(verdict(reviewers.clone(), mixed), Settled::Pending { missing });
        let two = json!([by("alice", "dba"), by("bob", "dba")]);
        assert!(matches!(verdict(reviewers.clone(), two), Settled::Approved { .. }));
        assert!(matches!(verdict(reviewers, json!([by("carol", "owner")])), Settled::Approved { .. }));
    }

    #[test]
    fn one_denial_denies_even_among_enough_approvals() {
        let denial = json!({ "approver": "bob", "verdict": "Denied", "reason": "no" });
        let verdict = verdict(json!([]), json!([by("alice", "dba"), denial]));
        assert_eq!(verdict, Settled::Denied { approver: "bob: no".to_owned() });
    }

    #[test]
    fn the_requester_does_not_approve_by_name_or_subject() {
        for name in ["ci-bot", "sub-1"] {
            assert!(
                matches!(verdict(json!([]), json!([by(name, "dba")])), Settled::Pending { .. }),
                "{name}"
            );
        }
    }

    #[test]
    fn a_count_below_one_still_needs_somebody() {
        for count in [0, -3] {
            let reviewers = json!([{ "count": count }]);
            assert!(matches!(verdict(reviewers, json!([])), Settled::Pending { .. }), "{count}");
        }
    }

    #[test]
    fn approvals_count_for_nothing_once_the_time_is_up_or_cannot_be_read() {
        let mut late = request(json!([]), json!([by("alice", "dba")]));
        assert_eq!(settle(&late, &late, "2026-01-01T00:10:00Z".parse().unwrap()), Settled::Expired);
        "soon".clone_into(&mut late.expires_at);
        assert_eq!(settle(&late, &late, START.parse().unwrap()), Settled::Expired);
    }

    #[test]
    fn any_change_beside_new_decisions_voids_the_request() {
        let before = request(json!([{ "group": "dba", "count": 2 }]), json!([by("alice", "dba")]));
        let edits: [fn(&mut ApprovalRequestSpec); 8] = [
            |spec| spec.reviewers.clear(),
            |spec| spec.expires_at = "2036-01-01T00:00:00Z".to_owned(),
            |spec| spec.command.text = "SELECT 1".to_owned(),
            |spec| spec.command.digest = "other".to_owned(),
            |spec| spec.requester.username = "somebody".to_owned(),
            |spec| spec.policy_ref.rule = "other".to_owned(),
            |spec| spec.decisions.clear(),
            |spec| spec.decisions[0].approver = "mallory".to_owned(),
        ];
        for (number, edit) in edits.into_iter().enumerate() {
            let mut current = before.clone();
            edit(&mut current);
            let settled = settle(&before, &current, START.parse().unwrap());
            assert!(matches!(settled, Settled::Void { .. }), "edit {number}: {settled:?}");
        }
    }

    #[test]
    fn decisions_without_a_proper_name_void_the_request() {
        for decision in [
            by("", "dba"),
            by(" ", "dba"),
            by("a\u{1b}[2K", "dba"),
            by("alice", ""),
            by(&"x".repeat(254), "d"),
        ] {
            assert!(
                matches!(verdict(json!([]), json!([decision.clone()])), Settled::Void { .. }),
                "{decision}"
            );
        }
        let many: Vec<_> = (0..33).map(|n| by(&format!("user{n}"), "dba")).collect();
        assert!(matches!(verdict(json!([{ "count": 40 }]), json!(many)), Settled::Void { .. }));
    }
}
