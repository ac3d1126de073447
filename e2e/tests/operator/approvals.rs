//! Decisions are counted, once, and only while they are bound to whoever made them.

use super::stage::{ORDERS, Stage};
use e2e::process::wait_until;
use serde_json::{Value, json};

/// Asks as the gateway would; `expires` in seconds from now.
pub(super) fn ask(stage: &Stage, name: &str, reviewers: &Value, expires: i64) {
    let expires_at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(expires);
    let request = json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "resourceRef": {"name": "orders"},
            "requester": {"issuer": "https://idp.example.com", "subject": "agent-7", "username": "agent-7", "groups": []},
            "session": "s1",
            "command": {
                "protocol": "postgresql", "summary": "DELETE FROM orders", "text": "DELETE FROM orders",
                "effects": ["Delete public.orders (unbounded)"], "digest": "d", "effectDigest": "e",
            },
            "policyRef": {"name": "agents", "generation": 1, "rule": "unbounded"},
            "reviewers": reviewers,
            "expiresAt": expires_at.to_string(),
        },
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), request.to_string()).unwrap();
    stage
        .server
        .kubectl(&[
            "create",
            "--as=system:serviceaccount:shop:orders-gateway",
            "--filename",
            file.path().to_str().unwrap(),
        ])
        .unwrap();
}

fn decide(stage: &Stage, user: &str, name: &str, decisions: &Value) -> anyhow::Result<String> {
    let patch = json!({"spec": {"decisions": decisions}}).to_string();
    let object = format!("approvalrequest/{name}");
    stage.server.kubectl_as(user, &["patch", &object, "--namespace=shop", "--type=merge", "--patch", &patch])
}

fn by(approver: &str, group: &str, verdict: &str) -> Value {
    json!({"approver": approver, "group": group, "verdict": verdict, "reason": "CHG-7"})
}

/// Approvers in the group dba, gateways, and nobody else.
fn roles(stage: &Stage) {
    stage
        .server
        .apply(
            "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: approvers, namespace: shop}
rules:
- {apiGroups: [portcullis.dev], resources: [approvalrequests], verbs: [get, list, watch, patch]}
- {apiGroups: [portcullis.dev], resources: [policies], resourceNames: [agents], verbs: [approve]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: approvers, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: approvers}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: dba}]
",
        )
        .unwrap();
    wait_until("alice may patch", || {
        let may = ["auth", "can-i", "patch", "approvalrequests.portcullis.dev", "--namespace=shop"];
        stage.server.kubectl_as("alice", &may).ok()
    })
    .unwrap();
}

pub(super) fn staged() -> Option<Stage> {
    let stage = Stage::set()?;
    stage.server.apply(ORDERS).unwrap();
    roles(&stage);
    stage.wait_for("resource.portcullis.dev/orders", "ApproverBinding", "True Proven");
    Some(stage)
}

#[test]
fn enough_approvers_approve_one_denies_and_time_expires() {
    let Some(stage) = staged() else { return };
    let two = json!([{"group": "dba", "count": 2}]);

    ask(&stage, "quorum", &two, 600);
    decide(&stage, "alice", "quorum", &json!([by("alice", "dba", "Approved")])).unwrap();
    stage.operator.rest().unwrap();
    assert_eq!(stage.condition("approvalrequest/quorum", "Approved"), None, "one of two is not enough");
    decide(
        &stage,
        "carol",
        "quorum",
        &json!([by("alice", "dba", "Approved"), by("carol", "dba", "Approved")]),
    )
    .unwrap();
    stage.wait_for("approvalrequest/quorum", "Approved", "True EnoughApprovers");
    assert_eq!(stage.condition("approvalrequest/quorum", "ApproverBinding").as_deref(), Some("True Proven"));
    let message = stage.message("approvalrequest/quorum", "Approved");
    assert_eq!(message, "alice (dba): CHG-7; carol (dba): CHG-7");

    ask(&stage, "denied", &two, 600);
    decide(&stage, "carol", "denied", &json!([by("carol", "dba", "Denied")])).unwrap();
    stage.wait_for("approvalrequest/denied", "Denied", "True Denied");
    let late = json!([by("carol", "dba", "Denied"), by("alice", "dba", "Approved")]);
    let refused = decide(&stage, "alice", "denied", &late).unwrap_err().to_string();
    assert!(refused.contains("portcullis:"), "{refused}");

    ask(&stage, "late", &two, 2);
    stage.wait_for("approvalrequest/late", "Expired", "True NobodyDecided");
    let refused = decide(&stage, "bob", "late", &json!([by("bob", "dba", "Approved")])).unwrap_err();
    assert!(refused.to_string().to_lowercase().contains("forbidden"), "{refused}");
}

#[test]
fn without_the_admission_policy_no_approval_counts() {
    let Some(stage) = staged() else { return };
    let anybody = json!([]);
    let binding = "validatingadmissionpolicybinding/portcullis-approver-binding";
    let saved = stage.server.kubectl(&["get", binding, "--output=json"]).unwrap();
    let mut saved: Value = serde_json::from_str(&saved).unwrap();
    saved["metadata"] = json!({"name": saved["metadata"]["name"]});
    stage.server.kubectl(&["delete", binding]).unwrap();

    ask(&stage, "unbound", &anybody, 600);
    // A forged decision: alice, in bob's name, against the API server that checks nothing.
    wait_until("the API server checks nothing", || {
        decide(&stage, "alice", "unbound", &json!([by("bob", "dba", "Approved")])).ok()
    })
    .unwrap();
    stage.wait_for("approvalrequest/unbound", "ApproverBinding", "False NotProven");
    stage.operator.rest().unwrap();
    assert_eq!(stage.condition("approvalrequest/unbound", "Approved"), None);

    // A broken policy lets everything pass as well, and is seen the same way.
    stage.server.apply(&saved.to_string()).unwrap();
    stage.wait_for("resource.portcullis.dev/orders", "ApproverBinding", "True Proven");
}

/// As many decisions as a request takes: the operator's own, forged one must still be refused for its name, and not
/// for being one too many.
#[test]
fn a_request_that_is_full_is_decided_by_its_last_decision() {
    let Some(stage) = staged() else { return };
    ask(&stage, "full", &json!([{"group": "dba", "count": 1}]), 600);
    let object = ["patch", "approvalrequest/full", "--namespace=shop", "--type=json", "--patch"];
    for number in 0..31 {
        // whose group is not asked: it is on record, and decides nothing
        let user = format!("bystander-{number}");
        let add =
            json!([{"op": "add", "path": "/spec/decisions/-", "value": by(&user, "bystanders", "Approved")}]);
        let identity = [&*format!("--as={user}"), "--as-group=bystanders", "--as-group=system:masters"];
        stage.server.kubectl(&[&object[..], &[&*add.to_string()], &identity].concat()).unwrap();
    }
    stage.operator.rest().unwrap();
    assert_eq!(stage.condition("approvalrequest/full", "Approved"), None);
    let last = json!([{"op": "add", "path": "/spec/decisions/-", "value": by("alice", "dba", "Approved")}]);
    stage.server.kubectl_as("alice", &[&object[..], &[&*last.to_string()]].concat()).unwrap();
    stage.wait_for("approvalrequest/full", "Approved", "True EnoughApprovers");
    assert_eq!(stage.condition("approvalrequest/full", "ApproverBinding").as_deref(), Some("True Proven"));
    let decisions = stage.server.client().get(&["approvalrequest/full", "--namespace=shop"]).unwrap();
    assert_eq!(decisions["spec"]["decisions"].as_array().map(Vec::len), Some(32));
}

#[test]
fn old_requests_are_removed() {
    let Some(server) = super::stage::server() else { return };
    let operator = e2e::operator::Operator::start(server.kubeconfig(), &["--retention=1"]).unwrap();
    let stage = Stage { server, operator };
    stage.server.apply(ORDERS).unwrap();
    stage.wait_for("resource.portcullis.dev/orders", "ApproverBinding", "True Proven");
    ask(&stage, "old", &json!([]), 1);
    wait_until("it is gone", || {
        stage.server.kubectl(&["get", "approvalrequest/old", "--namespace=shop"]).err()
    })
    .unwrap();
}
