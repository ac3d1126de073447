//! The command line as approvers run it, each with a context of their own.

use super::approvals::{ask, staged};
use super::stage::Stage;
use e2e::process::wait_until;
use e2e::tools;
use serde_json::{Value, json};
use std::process::{Command, Output, Stdio};

/// The command line as somebody in namespace `shop`.
fn portcullis(stage: &Stage, user: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(tools::own("portcullis").unwrap());
    command.env_remove("PORTCULLIS_STATE").env("KUBECONFIG", stage.server.kubeconfig());
    command.args(arguments).args(["--context", user, "--namespace", "shop"]);
    command
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeds(stage: &Stage, user: &str, arguments: &[&str]) -> String {
    let output = portcullis(stage, user, arguments).output().unwrap();
    assert!(output.status.success(), "{user} {arguments:?}: {}", shown(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn fails(stage: &Stage, user: &str, arguments: &[&str]) -> String {
    let output = portcullis(stage, user, arguments).output().unwrap();
    assert!(!output.status.success(), "{user} {arguments:?}: {}", shown(&output));
    String::from_utf8(output.stderr).unwrap()
}

fn json_of(stage: &Stage, user: &str, arguments: &[&str]) -> Value {
    serde_json::from_str(&succeeds(stage, user, &[arguments, &["-o", "json"]].concat())).unwrap()
}

/// The same program called by the real kubectl, as its plugin.
fn kubectl(stage: &Stage, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("kubectl-portcullis");
    std::os::unix::fs::symlink(tools::own("portcullis").unwrap(), plugin).unwrap();
    let paths = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect::<Vec<_>>();
    let path = std::env::join_paths([directory.path().to_owned()].into_iter().chain(paths)).unwrap();
    let mut kubectl = stage.server.client().command();
    kubectl.env("PATH", path).env_remove("PORTCULLIS_STATE").arg("portcullis").args(arguments);
    kubectl.output().unwrap()
}

fn decisions(stage: &Stage, name: &str) -> Value {
    let object = format!("approvalrequest/{name}");
    stage.server.client().get(&[&object, "--namespace=shop"]).unwrap()["spec"]["decisions"].clone()
}

/// Lets developers write decisions as far as roles go; `approve` they lack.
fn let_developers_patch(stage: &Stage) {
    stage
        .server
        .apply(
            "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: meddlers, namespace: shop}
rules:
- {apiGroups: [portcullis.dev], resources: [approvalrequests], verbs: [get, list, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: meddlers, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: meddlers}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: developers}]
",
        )
        .unwrap();
    wait_until("bob may patch", || {
        let may = ["auth", "can-i", "patch", "approvalrequests.portcullis.dev", "--namespace=shop"];
        stage.server.kubectl_as("bob", &may).ok()
    })
    .unwrap();
}

#[test]
fn approvers_decide_as_themselves_and_learn_what_came_of_it() {
    let Some(stage) = staged() else { return };
    ask(&stage, "quorum", &json!([{"group": "dba", "count": 2}]), 600);
    let listed = succeeds(&stage, "alice", &["requests"]);
    for expected in
        ["quorum", "agent-7", "orders", "DELETE FROM orders", "pending: 2 more approvers of group dba"]
    {
        assert!(listed.contains(expected), "no {expected} in {listed}");
    }

    let plugin = kubectl(&stage, &["requests", "--context=alice", "--namespace=shop"]);
    assert!(plugin.status.success() && shown(&plugin).contains("quorum"), "{}", shown(&plugin));
    let usage = shown(&kubectl(&stage, &["approve"]));
    assert!(usage.contains("Usage: kubectl portcullis approve"), "{usage}");

    let first = succeeds(&stage, "alice", &["approve", "quorum", "--reason", "CHG-7"]);
    assert!(first.contains("Delete public.orders (unbounded)"), "decided without seeing it: {first}");
    assert!(first.contains("still needs 1 more approver of group dba"), "{first}");
    let alice = json!({"approver": "alice", "group": "dba", "verdict": "Approved", "reason": "CHG-7"});
    assert_eq!(decisions(&stage, "quorum"), json!([alice]), "name and group are filled in");
    let again = fails(&stage, "alice", &["approve", "quorum"]);
    assert!(again.contains("another person"), "{again}");

    let second = json_of(&stage, "carol", &["approve", "quorum"]);
    assert_eq!(second, json!({"name": "quorum", "namespace": "shop", "state": "approved", "missing": null}));
    assert_eq!(
        stage.condition("approvalrequest/quorum", "Approved").as_deref(),
        Some("True EnoughApprovers")
    );
    assert_eq!(decisions(&stage, "quorum")[0], alice, "what others decided is as it was");

    assert!(succeeds(&stage, "alice", &["requests"]).contains("nothing waits"));
    ask(&stage, "next", &json!([]), 600);
    let all = json_of(&stage, "alice", &["requests", "--all"]);
    let states: Vec<_> = all.as_array().unwrap().iter().map(|listed| &listed["state"]).collect();
    assert_eq!(states, ["pending", "approved"], "those that wait come first");
    let mut everywhere = Command::new(tools::own("portcullis").unwrap());
    everywhere.env("KUBECONFIG", stage.server.kubeconfig()).args(["requests", "--all-namespaces"]);
    let everywhere = shown(&everywhere.output().unwrap());
    assert!(everywhere.trim_start().starts_with("NAMESPACE") && everywhere.contains("shop"), "{everywhere}");
    let described = succeeds(&stage, "alice", &["describe", "quorum"]);
    for expected in ["approved by alice (dba): CHG-7", "approved by carol (dba)", "Approved=True"] {
        assert!(described.contains(expected), "no {expected} in {described}");
    }
}

#[test]
fn a_denial_and_an_end_are_told_to_whoever_waits() {
    let Some(stage) = staged() else { return };
    ask(&stage, "held", &json!([{"group": "dba", "count": 2}]), 600);
    let mut waiting = portcullis(&stage, "alice", &["approve", "held", "--wait"]);
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("alice's approval", || (decisions(&stage, "held") != json!([])).then_some(())).unwrap();
    let denied = succeeds(&stage, "carol", &["deny", "held", "--reason", "use the archive job"]);
    assert!(denied.contains("held is denied"), "{denied}");
    assert_eq!(stage.condition("approvalrequest/held", "Denied").as_deref(), Some("True Denied"));
    let waited = waiting.wait_with_output().unwrap();
    assert!(!waited.status.success() && shown(&waited).contains("held is denied"), "{}", shown(&waited));
    let late = fails(&stage, "alice", &["deny", "held"]);
    assert!(late.contains("already denied"), "{late}");
    let unknown = fails(&stage, "alice", &["approve", "hold"]);
    assert!(unknown.contains("no request is called hold"), "{unknown}");
}

#[test]
fn who_may_not_decide_reads_the_words_of_the_admission_policy() {
    let Some(stage) = staged() else { return };
    ask(&stage, "anybody", &json!([]), 600);
    let complaint = fails(&stage, "bob", &["approve", "anybody"]);
    assert!(
        complaint.contains("cannot get resource") && complaint.contains("portcullis-approver"),
        "{complaint}"
    );

    let_developers_patch(&stage);
    let complaint = fails(&stage, "bob", &["approve", "anybody"]);
    assert!(complaint.contains("portcullis: bob may not approve for Policy agents"), "{complaint}");
    assert!(!complaint.contains("ValidatingAdmissionPolicy"), "{complaint}");
    let complaint = fails(&stage, "bob", &["deny", "anybody", "--group", "dba"]);
    assert!(complaint.contains("portcullis: bob is not in the group that the decision names"), "{complaint}");
    assert_eq!(decisions(&stage, "anybody"), json!([]));

    ask(&stage, "grouped", &json!([{"group": "dba", "count": 1}]), 600);
    let complaint = fails(&stage, "bob", &["approve", "grouped"]);
    assert!(complaint.contains("bob is in none of them"), "{complaint}");

    // Who may impersonate may approve, as with kubectl; everybody else learns that they may not.
    let complaint = fails(&stage, "bob", &["approve", "grouped", "--as", "alice", "--as-group", "dba"]);
    assert!(complaint.contains("cannot impersonate"), "{complaint}");
    succeeds(&stage, "admin", &["approve", "grouped", "--as", "alice", "--as-group", "dba"]);
    assert_eq!(decisions(&stage, "grouped")[0]["approver"], "alice");
}

#[test]
fn approvers_who_decide_at_once_lose_no_decision() {
    let Some(stage) = staged() else { return };
    ask(&stage, "busy", &json!([{"group": "dba", "count": 6}]), 600);
    let approvers: Vec<_> = (0..6)
        .map(|number| {
            let user = format!("approver-{number}");
            let mut command =
                portcullis(&stage, "admin", &["approve", "busy", "--as", &user, "--as-group", "dba"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for approver in approvers {
        let output = approver.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", shown(&output));
    }
    assert_eq!(decisions(&stage, "busy").as_array().unwrap().len(), 6);
    stage.wait_for("approvalrequest/busy", "Approved", "True EnoughApprovers");
}

#[test]
fn an_approval_that_is_not_bound_is_not_called_one() {
    let Some(stage) = staged() else { return };
    let binding = "validatingadmissionpolicybinding/portcullis-approver-binding";
    stage.server.kubectl(&["delete", binding]).unwrap();
    ask(&stage, "unbound", &json!([]), 600);
    wait_until("the API server checks nothing", || {
        let forged =
            json!({"spec": {"decisions": [{"approver": "mallory", "verdict": "Approved"}]}}).to_string();
        let patch =
            ["patch", "approvalrequest/unbound", "--namespace=shop", "--type=merge", "--patch", &forged];
        stage.server.kubectl_as("carol", &[&patch[..], &["--dry-run=server"]].concat()).ok()
    })
    .unwrap();
    let said = succeeds(&stage, "alice", &["approve", "unbound"]);
    assert!(said.contains("does not count yet: not bound:"), "{said}");
    let listed = json_of(&stage, "alice", &["requests"]);
    assert_eq!(listed[0]["state"], "unconfirmed", "{listed}");
}
