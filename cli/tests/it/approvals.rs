//! Decisions from the command line on requests that a gateway waits for.

use super::{fails, portcullis, succeeds, text};
use proxy::control::directory::approvals::{DirectoryApprovals, Limits};
use proxy_core::approval::{Approvals as _, Outcome, Pending, Question};
use proxy_policy::{ApprovalTerms, Identity, OnDisconnect, ReviewerRequirement, RuleRef};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// A gateway's state directory with its approvals open.
struct Gateway {
    state: tempfile::TempDir,
    approvals: DirectoryApprovals,
}

impl Gateway {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let approvals = DirectoryApprovals::open(state.path().join("approvals"), Limits::default()).unwrap();
        Self { state, approvals }
    }

    async fn ask(&self, username: &str, reviewers: Vec<ReviewerRequirement>) -> Box<dyn Pending> {
        let question = Question {
            resource: "orders".to_owned(),
            requester: Arc::new(Identity {
                issuer: "https://issuer.example".to_owned(),
                subject: "subject".to_owned(),
                username: username.to_owned(),
                groups: vec!["agents".to_owned()],
                claims: serde_json::Map::new(),
            }),
            session: "0190".to_owned(),
            number: 1,
            protocol: "postgresql",
            summary: "DELETE FROM orders".to_owned(),
            text: "DELETE FROM orders\n\u{1b}[2KSELECT $1".to_owned(),
            effects: vec!["Delete public.orders (unbounded)".to_owned()],
            digest: "d".to_owned(),
            effect_digest: "e".to_owned(),
            in_transaction: true,
            estimate: None,
            members: Vec::new(),
            burst: None,
            is_second_try: false,
            is_repeatable: false,
            rule: RuleRef { policy: "agents".to_owned(), generation: 0, rule: "destructive".to_owned() },
            terms: ApprovalTerms {
                timeout: Duration::from_mins(1),
                reviewers,
                on_disconnect: OnDisconnect::Withdraw,
            },
        };
        self.approvals.ask(question).await.unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Command {
        let mut command = portcullis(arguments);
        command.args(["--state", text(self.state.path())]);
        command
    }
}

async fn outcome(pending: &mut Box<dyn Pending>) -> Outcome {
    tokio::time::timeout(Duration::from_secs(10), pending.outcome()).await.expect("an end").unwrap()
}

/// The user that runs the tests, by the system's own account.
fn me() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn of_group(group: &str, count: i32) -> ReviewerRequirement {
    ReviewerRequirement { group: Some(group.to_owned()), count }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_shows_the_command_and_releases_it() {
    let gateway = Gateway::new();
    let mut pending = gateway.ask("ci-bot", Vec::new()).await;
    let listed = succeeds(&mut gateway.run(&["requests"]));
    assert!(listed.contains(pending.name()) && listed.contains("DELETE FROM orders"), "{listed}");
    let shown = succeeds(
        gateway
            .run(&["approve", pending.name(), "--reason", "ticket 7"])
            .env("USER", "mallory")
            .env("LOGNAME", "mallory"),
    );
    for expected in ["ci-bot", "Delete public.orders (unbounded)", "SELECT $1", "transaction", "is approved"]
    {
        assert!(shown.contains(expected), "no {expected} in {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    let approvers = vec![format!("{}: ticket 7", me())];
    assert_eq!(outcome(&mut pending).await, Outcome::Approved { approvers });
    let again = fails(&mut gateway.run(&["approve", pending.name()]));
    assert!(again.contains("already consumed"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_reaches_the_requester() {
    let gateway = Gateway::new();
    let mut pending = gateway.ask("ci-bot", Vec::new()).await;
    succeeds(&mut gateway.run(&["deny", pending.name(), "--reason", "use the archive job"]));
    let approver = format!("{}: use the archive job", me());
    assert_eq!(outcome(&mut pending).await, Outcome::Denied { approver });
    assert!(succeeds(&mut gateway.run(&["requests"])).contains("nothing waits"));
    let all = succeeds(&mut gateway.run(&["requests", "--all", "-o", "json"]));
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all[0]["state"], "denied");
    assert_eq!(all[0]["request"]["spec"]["decisions"][0]["verdict"], "Denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_approves_what_they_ask_for_themselves() {
    let gateway = Gateway::new();
    let pending = gateway.ask(&me(), Vec::new()).await;
    let complaint = fails(&mut gateway.run(&["approve", pending.name()]));
    assert!(complaint.contains("somebody else"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_two_of_a_group_says_what_it_needs() {
    let gateway = Gateway::new();
    let pending = gateway.ask("ci-bot", vec![of_group("dba", 2)]).await;
    let name = pending.name();
    let groupless = fails(&mut gateway.run(&["approve", name]));
    assert!(groupless.contains("add --group dba"), "{groupless}");
    let wrong = fails(&mut gateway.run(&["approve", name, "--group", "sales"]));
    assert!(wrong.contains("--group dba"), "{wrong}");
    let first = succeeds(&mut gateway.run(&["approve", name, "--group", "dba", "-o", "json"]));
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["state"], "pending");
    assert_eq!(first["missing"], "1 more approver of group dba");
    let again = fails(&mut gateway.run(&["approve", name, "--group", "dba"]));
    assert!(again.contains("another person"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_lists_those_that_wait() {
    let gateway = Gateway::new();
    assert!(fails(&mut gateway.run(&["approve", "orders-nobody"])).contains("nothing waits"));
    let pending = gateway.ask("ci-bot", Vec::new()).await;
    for name in ["orders-nobody", "../tenant", ""] {
        let complaint = fails(&mut gateway.run(&["deny", name]));
        assert!(complaint.contains(pending.name()), "{name}: {complaint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_request_cannot_be_decided() {
    let gateway = Gateway::new();
    let pending = gateway.ask("ci-bot", Vec::new()).await;
    let name = pending.name().to_owned();
    drop(pending);
    let deadline = std::time::Instant::now() + Duration::from_secs(2);
    while !succeeds(&mut gateway.run(&["requests"])).contains("nothing waits") {
        assert!(std::time::Instant::now() < deadline, "not withdrawn");
    }
    let complaint = fails(&mut gateway.run(&["approve", &name]));
    assert!(complaint.contains("send the command again"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_approver_of_the_group_writes_stays_readable_for_the_gateway() {
    let gateway = Gateway::new();
    let directory = gateway.state.path().join("approvals");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o2770)).unwrap();
    let pending = gateway.ask("ci-bot", vec![of_group("dba", 2)]).await;
    let file = directory.join(format!("{}.yaml", pending.name()));
    let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o660);
    succeeds(&mut gateway.run(&["approve", pending.name(), "--group", "dba"]));
    assert_eq!(mode(), 0o660);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_says_who_asks_what_it_does_and_who_decides() {
    let gateway = Gateway::new();
    let pending = gateway.ask("ci-bot", vec![of_group("dba", 2)]).await;
    succeeds(&mut gateway.run(&["approve", pending.name(), "--group", "dba", "--reason", "ticket 7"]));
    let shown = succeeds(&mut gateway.run(&["describe", pending.name()]));
    for expected in [
        "pending: 1 more approver of group dba",
        "ci-bot (https://issuer.example)",
        "agents/destructive",
        "Delete public.orders (unbounded)",
        "2 approvers of group dba",
        &format!("approved by {} (dba): ticket 7", me()),
        "SELECT $1",
    ] {
        assert!(shown.contains(expected), "no {expected} in {shown}");
    }
    let json = succeeds(&mut gateway.run(&["describe", pending.name(), "-o", "json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["state"], "pending");
    assert_eq!(json["request"]["spec"]["requester"]["username"], "ci-bot");
    assert!(fails(&mut gateway.run(&["describe", "orders-nobody"])).contains(pending.name()));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_learns_whether_it_came_to_what_they_decided() {
    let gateway = Gateway::new();
    let mut pending = gateway.ask("ci-bot", Vec::new()).await;
    let waited = gateway.run(&["approve", pending.name(), "--wait"]).status().unwrap();
    assert!(waited.success());
    assert!(matches!(outcome(&mut pending).await, Outcome::Approved { .. }));

    let pending = gateway.ask("ci-bot", vec![of_group("dba", 2)]).await;
    let mut waiting = gateway.run(&["approve", pending.name(), "--group", "dba", "--wait"]).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(waiting.try_wait().unwrap().is_none(), "one of two is not enough");
    drop(pending);
    assert!(!waiting.wait().unwrap().success(), "it was withdrawn");
}

#[test]
fn without_a_directory_and_a_cluster_it_says_how_to_name_one() {
    let complaint = fails(&mut portcullis(&["requests"]));
    for remedy in ["--kubeconfig", "KUBECONFIG", "--state", "PORTCULLIS_STATE"] {
        assert!(complaint.contains(remedy), "{complaint}");
    }
    let both = fails(&mut portcullis(&["requests", "--state", "state", "--context", "here"]));
    assert!(both.contains("cannot be used with"), "{both}");
    let missing = fails(&mut portcullis(&["requests", "--kubeconfig", "/nonexistent/other"]));
    assert!(missing.contains("/nonexistent/other"), "{missing}");
}

#[test]
fn called_as_a_plugin_its_usage_is_that_of_kubectl() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("kubectl-portcullis");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_portcullis"), &plugin).unwrap();
    let usage = fails(Command::new(&plugin).arg("approve"));
    assert!(usage.contains("Usage: kubectl portcullis approve"), "{usage}");
}

#[test]
fn a_directory_that_is_no_state_is_said_to_be_none() {
    let empty = tempfile::tempdir().unwrap();
    let complaint = fails(&mut portcullis(&["requests", "--state", text(empty.path())]));
    assert!(complaint.contains("--state"), "{complaint}");
}
