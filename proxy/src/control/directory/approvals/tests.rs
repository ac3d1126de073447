//! Requests in a real directory, decided by edits of their files.

use super::{DirectoryApprovals, Limits};
use crds::v1alpha1::{ApprovalRequest, ApprovalVerdict, Decision, OnDisconnect, ReviewerRequirement};
use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use proxy_core::approval::{Approvals as _, Outcome, Pending, Question};
use proxy_policy::{ApprovalTerms, Identity, RuleRef};
use serde_json::{Map, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Room {
    directory: tempfile::TempDir,
    approvals: DirectoryApprovals,
}

impl Room {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let approvals = gateway(directory.path());
        Self { directory, approvals }
    }

    async fn ask(&self, question: &Question) -> Box<dyn Pending> {
        self.approvals.ask(question.clone()).await.unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.yaml"))
    }

    fn read(&self, name: &str) -> ApprovalRequest {
        serde_yaml_ng::from_str(&fs::read_to_string(self.file(name)).unwrap()).unwrap()
    }

    /// Edits a request as an editor does: a new file renamed over the old one.
    fn edit(&self, name: &str, edit: impl FnOnce(&mut ApprovalRequest)) {
        let mut request = self.read(name);
        edit(&mut request);
        let draft = self.directory.path().join(".draft.swp");
        fs::write(&draft, serde_yaml_ng::to_string(&request).unwrap()).unwrap();
        fs::rename(draft, self.file(name)).unwrap();
    }

    fn decide(&self, name: &str, approver: &str, verdict: ApprovalVerdict) {
        self.edit(name, |request| request.spec.decisions.push(decision(approver, verdict)));
    }

    fn conditions(&self, name: &str) -> Vec<String> {
        let status = self.read(name).status.unwrap_or_default();
        status.conditions.into_iter().map(|condition| condition.type_).collect()
    }

    fn names(&self) -> Vec<String> {
        self.approvals.shared.directory.names().unwrap()
    }

    async fn until_conditions(&self, name: &str, expected: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(1);
        while self.conditions(name) != expected {
            assert!(Instant::now() < deadline, "not within a second: {:?}", self.conditions(name));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn gateway(directory: &Path) -> DirectoryApprovals {
    DirectoryApprovals::open(directory.to_owned(), Limits::default()).unwrap()
}

fn decision(approver: &str, verdict: ApprovalVerdict) -> Decision {
    Decision { approver: approver.to_owned(), group: None, verdict, reason: Some("ticket 7".to_owned()) }
}

fn question(digest: &str, on_disconnect: OnDisconnect) -> Question {
    let mut claims = Map::new();
    claims.insert("repository".to_owned(), json!("acme/billing"));
    Question {
        resource: "orders".to_owned(),
        requester: Arc::new(Identity {
            issuer: "https://issuer.example".to_owned(),
            subject: "ci-bot".to_owned(),
            username: "ci-bot".to_owned(),
            groups: vec!["agents".to_owned()],
            claims,
        }),
        session: "0190".to_owned(),
        number: 1,
        protocol: "postgresql",
        summary: "DELETE\nFROM orders".to_owned(),
        text: "DELETE FROM orders".to_owned(),
        effects: vec!["Delete public.orders (unbounded)".to_owned()],
        digest: digest.to_owned(),
        effect_digest: "effect".to_owned(),
        in_transaction: false,
        estimate: None,
        members: Vec::new(),
        burst: None,
        is_second_try: false,
        is_repeatable: false,
        rule: RuleRef { policy: "agents".to_owned(), generation: 0, rule: "destructive".to_owned() },
        terms: ApprovalTerms { timeout: Duration::from_mins(1), reviewers: Vec::new(), on_disconnect },
    }
}

async fn outcome(pending: &mut Box<dyn Pending>) -> Outcome {
    tokio::time::timeout(Duration::from_secs(10), pending.outcome()).await.expect("an end").unwrap()
}

#[tokio::test]
async fn an_approval_releases_one_command_once() {
    let room = Room::new();
    let mut pending = room.ask(&question("d", OnDisconnect::Withdraw)).await;
    let name = pending.name().to_owned();
    let request = room.read(&name);
    assert!(name.starts_with("orders-") && name.len() == 13, "{name}");
    assert_eq!(request.metadata.uid.as_deref(), Some(pending.uid()));
    assert_eq!(request.spec.command.summary, "DELETE FROM orders");
    assert_eq!(request.spec.requester.claims["repository"], "acme/billing");
    room.decide(&name, "alice", ApprovalVerdict::Approved);
    let began = Instant::now();
    let approvers = vec!["alice: ticket 7".to_owned()];
    assert_eq!(outcome(&mut pending).await, Outcome::Approved { approvers });
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(room.conditions(&name), ["Approved", "Consumed"]);
    assert_eq!(outcome(&mut pending).await, Outcome::Withdrawn, "returned once");
    let again = room.ask(&question("d", OnDisconnect::Withdraw)).await;
    assert_ne!(again.name(), name, "a consumed request is not joined");
}

#[tokio::test]
async fn a_decision_appended_as_text_is_enough() {
    let room = Room::new();
    let mut pending = room.ask(&question("d", OnDisconnect::Withdraw)).await;
    let file = room.file(pending.name());
    let text = fs::read_to_string(&file).unwrap();
    let edited = text.replace(
        "decisions: []",
        "# seen by alice\n  decisions:\n  - approver: alice\n    verdict: Approved",
    );
    assert_ne!(text, edited);
    fs::write(file, edited).unwrap();
    assert_eq!(outcome(&mut pending).await, Outcome::Approved { approvers: vec!["alice".to_owned()] });
}

#[tokio::test]
async fn one_denial_denies() {
    let room = Room::new();
    let mut pending = room.ask(&question("d", OnDisconnect::Withdraw)).await;
    let name = pending.name().to_owned();
    room.decide(&name, "bob", ApprovalVerdict::Denied);
    assert_eq!(outcome(&mut pending).await, Outcome::Denied { approver: "bob: ticket 7".to_owned() });
    assert_eq!(room.conditions(&name), ["Denied"]);
}

#[tokio::test]
async fn any_other_edit_voids_the_request() {
    let edits: [fn(&mut ApprovalRequest); 4] = [
        |request| request.spec.command.digest = "other".to_owned(),
        |request| request.spec.expires_at = "2099-01-01T00:00:00Z".to_owned(),
        |request| request.spec.reviewers.push(ReviewerRequirement { group: None, count: 1 }),
        |request| request.metadata.uid = Some("9b2e4a58-0000-4000-8000-000000000000".to_owned()),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let room = Room::new();
        let mut pending = room.ask(&question("d", OnDisconnect::Withdraw)).await;
        let name = pending.name().to_owned();
        room.edit(&name, |request| {
            edit(request);
            request.spec.decisions.push(decision("alice", ApprovalVerdict::Approved));
        });
        assert_eq!(outcome(&mut pending).await, Outcome::Withdrawn, "edit {number}");
    }
}

#[tokio::test]
async fn a_status_that_says_approved_approves_nothing() {
    let room = Room::new();
    let mut pending = room.ask(&question("d", OnDisconnect::Withdraw)).await;
    let name = pending.name().to_owned();
    room.edit(&name, |request| {
        let condition = json!({
            "type": "Approved", "status": "True", "reason": "Forged", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        request.status = serde_json::from_value(json!({ "conditions": [condition] })).unwrap();
    });
    let waited = tokio::time::timeout(Duration::from_secs(1), pending.outcome()).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn a_half_written_or_briefly_missing_file_is_waited_for() {
    let room = Room::new();
    let mut pending = room.ask(&question("d", OnDisconnect::Withdraw)).await;
    let file = room.file(pending.name());
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.split_at(text.len() / 2).0).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), pending.outcome()).await.is_err());
    fs::remove_file(&file).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), pending.outcome()).await.is_err());
    fs::write(&file, &text).unwrap();
    let name = pending.name().to_owned();
    room.decide(&name, "alice", ApprovalVerdict::Approved);
    assert!(matches!(outcome(&mut pending).await, Outcome::Approved { .. }));
}

#[tokio::test]
async fn a_removed_file_withdraws() {
    let room = Room::new();
    let mut pending = room.ask(&question("d", OnDisconnect::Withdraw)).await;
    fs::remove_file(room.file(pending.name())).unwrap();
    assert_eq!(outcome(&mut pending).await, Outcome::Withdrawn);
}

#[tokio::test]
async fn nobody_deciding_in_time_expires_it() {
    let room = Room::new();
    let mut brief = question("d", OnDisconnect::Withdraw);
    brief.terms.timeout = Duration::from_millis(400);
    let began = Instant::now();
    let mut pending = room.ask(&brief).await;
    assert_eq!(outcome(&mut pending).await, Outcome::Expired);
    assert!((350..1400).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(room.conditions(pending.name()), ["Expired"]);
}

/// The wall clock stands still here: only the gateway's own clock moves.
#[tokio::test(start_paused = true)]
async fn it_expires_though_the_wall_clock_or_the_directory_fails() {
    let room = Room::new();
    let mut still = room.ask(&question("d", OnDisconnect::Withdraw)).await;
    assert_eq!(still.outcome().await.unwrap(), Outcome::Expired);
    let mut lost = room.ask(&question("e", OnDisconnect::Withdraw)).await;
    let file = room.file(lost.name());
    fs::write(file, "not: [yaml").unwrap();
    assert_eq!(lost.outcome().await.unwrap(), Outcome::Expired);
}

#[tokio::test]
async fn a_client_that_goes_away_withdraws_within_a_second() {
    let room = Room::new();
    let pending = room.ask(&question("d", OnDisconnect::Withdraw)).await;
    let name = pending.name().to_owned();
    drop(pending);
    room.until_conditions(&name, &["Withdrawn"]).await;
}

#[tokio::test]
async fn a_claimable_request_outlives_its_client_and_a_repetition_claims_it_at_once() {
    let room = Room::new();
    let first = room.ask(&question("d", OnDisconnect::Claimable)).await;
    let name = first.name().to_owned();
    drop(first);
    room.decide(&name, "alice", ApprovalVerdict::Approved);
    let mut other = question("e", OnDisconnect::Claimable);
    other.requester = Arc::new(Identity { subject: "other".to_owned(), ..(*other.requester).clone() });
    assert_ne!(room.ask(&other).await.name(), name, "another identity");
    let mut stricter = question("e", OnDisconnect::Claimable);
    stricter.terms.reviewers.push(ReviewerRequirement { group: Some("dba".to_owned()), count: 2 });
    assert_ne!(room.ask(&stricter).await.name(), name, "stricter terms");
    let restarted = gateway(room.directory.path());
    let mut retry = restarted.ask(question("e", OnDisconnect::Claimable)).await.unwrap();
    assert_eq!(retry.name(), name);
    assert!(matches!(outcome(&mut retry).await, Outcome::Approved { .. }));
    assert_eq!(room.conditions(&name), ["Approved", "Consumed"]);
}

#[tokio::test]
async fn repetitions_join_and_one_approval_releases_one_of_them() {
    let room = Room::new();
    let mut first = room.ask(&question("d", OnDisconnect::Withdraw)).await;
    let mut second = room.ask(&question("d", OnDisconnect::Withdraw)).await;
    let third = room.ask(&question("d", OnDisconnect::Withdraw)).await;
    assert_eq!(first.name(), second.name());
    let different = room.ask(&question("other", OnDisconnect::Withdraw)).await;
    assert_ne!(first.name(), different.name(), "another command");
    drop(third);
    room.decide(first.name(), "alice", ApprovalVerdict::Approved);
    let outcomes = [outcome(&mut first).await, outcome(&mut second).await];
    assert_eq!(
        outcomes.iter().filter(|one| matches!(one, Outcome::Approved { .. })).count(),
        1,
        "{outcomes:?}"
    );
    assert_eq!(outcomes.iter().filter(|one| **one == Outcome::Withdrawn).count(), 1, "{outcomes:?}");
}

#[tokio::test]
async fn of_many_gateways_one_consumes() {
    let room = Room::new();
    let mut waiting = tokio::task::JoinSet::new();
    let (ready, mut all_ready) = tokio::sync::mpsc::channel(8);
    let first = room.ask(&question("d", OnDisconnect::Claimable)).await;
    for _ in 0..8 {
        let approvals = gateway(room.directory.path());
        let ready = ready.clone();
        waiting.spawn(async move {
            let mut pending = approvals.ask(question("d", OnDisconnect::Claimable)).await.unwrap();
            ready.send(()).await.unwrap();
            outcome(&mut pending).await
        });
    }
    for _ in 0..8 {
        all_ready.recv().await.unwrap();
    }
    assert_eq!(room.names().len(), 1);
    room.decide(first.name(), "alice", ApprovalVerdict::Approved);
    let outcomes = waiting.join_all().await;
    let approved = outcomes.iter().filter(|one| matches!(one, Outcome::Approved { .. })).count();
    assert_eq!(approved, 1, "{outcomes:?}");
}

#[tokio::test]
async fn a_restored_copy_of_a_consumed_request_is_worth_nothing() {
    let room = Room::new();
    let mut pending = room.ask(&question("d", OnDisconnect::Claimable)).await;
    let name = pending.name().to_owned();
    room.decide(&name, "alice", ApprovalVerdict::Approved);
    let backup = fs::read(room.file(&name)).unwrap();
    assert!(matches!(outcome(&mut pending).await, Outcome::Approved { .. }));
    fs::write(room.file(&name), backup).unwrap();
    let again = room.ask(&question("d", OnDisconnect::Claimable)).await;
    assert_ne!(again.name(), name);
}

#[tokio::test]
async fn a_cancelled_wait_loses_no_approval() {
    let room = Room::new();
    let mut pending = room.ask(&question("d", OnDisconnect::Withdraw)).await;
    room.decide(pending.name(), "alice", ApprovalVerdict::Approved);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        assert!(Instant::now() < deadline, "the approval was lost");
        if let Ok(outcome) = tokio::time::timeout(Duration::from_micros(200), pending.outcome()).await {
            assert!(matches!(outcome.unwrap(), Outcome::Approved { .. }));
            return;
        }
    }
}

#[tokio::test]
async fn whoever_stops_waiting_loses_no_approval_either() {
    let room = Room::new();
    let question = question("exact", OnDisconnect::Claimable);
    let mut looking = room.ask(&question).await;
    let name = looking.name().to_owned();
    room.decide(&name, "alice", ApprovalVerdict::Approved);
    assert!(looking.stop().await.is_none(), "nobody has looked: it is left to be claimed");
    assert_eq!(room.conditions(&name), [""; 0]);
    // the look that has begun consumes it
    let looked = match looking.outcome().now_or_never() {
        None => looking.stop().await.unwrap(),
        Some(at_once) => at_once,
    };
    assert!(matches!(looked.unwrap(), Outcome::Approved { .. }));
    assert_eq!(looking.outcome().await.unwrap(), Outcome::Withdrawn, "it is told once");
}

#[tokio::test]
async fn an_identity_has_at_most_twenty_open_requests() {
    let room = Room::new();
    let mut open = Vec::new();
    for number in 0..20 {
        open.push(room.ask(&question(&format!("d{number}"), OnDisconnect::Withdraw)).await);
    }
    let refused = room.approvals.ask(question("one more", OnDisconnect::Withdraw)).await.unwrap_err();
    assert_eq!(refused.to_string(), "ci-bot has 20 open approval requests, the most allowed");
    let gone = open.pop().unwrap();
    let name = gone.name().to_owned();
    drop(gone);
    room.until_conditions(&name, &["Withdrawn"]).await;
    room.ask(&question("one more", OnDisconnect::Withdraw)).await;
}

/// A question in other words that its client asks by itself after a no.
fn second_try(on_disconnect: OnDisconnect) -> Question {
    Question { is_second_try: true, ..question("in other words", on_disconnect) }
}

#[tokio::test]
async fn a_second_try_is_told_what_the_first_was_and_whoever_asks_later_asks_anew() {
    for on_disconnect in [OnDisconnect::Withdraw, OnDisconnect::Claimable] {
        let room = Room::new();
        let mut pending = room.ask(&question("d", on_disconnect)).await;
        let name = pending.name().to_owned();
        room.decide(&name, "bob", ApprovalVerdict::Denied);
        let denied = outcome(&mut pending).await;
        let restarted = gateway(room.directory.path());
        let mut again = restarted.ask(second_try(on_disconnect)).await.unwrap();
        assert_eq!(outcome(&mut again).await, denied);
        assert_eq!(again.name(), name);
        // an answer is no request that somebody waits for
        drop(again);
        assert_eq!((room.names().len(), room.conditions(&name)), (1, vec!["Denied".to_owned()]));
        // somebody means it, or means something else
        assert_ne!(room.ask(&question("d", on_disconnect)).await.name(), name);
        let other = Question { effect_digest: "other".to_owned(), ..second_try(on_disconnect) };
        assert_ne!(room.ask(&other).await.name(), name);
        room.edit(&name, |request| {
            let at = Timestamp::now() - SignedDuration::from_secs(31);
            request.status.as_mut().unwrap().conditions[0].last_transition_time.0 = at;
        });
        assert_ne!(room.ask(&second_try(on_disconnect)).await.name(), name, "it is too late");
    }
}

#[tokio::test]
async fn a_second_try_is_told_of_an_expiry_and_joins_what_is_open() {
    let room = Room::new();
    let mut brief = question("d", OnDisconnect::Withdraw);
    brief.terms.timeout = Duration::from_millis(200);
    let mut pending = room.ask(&brief).await;
    assert_eq!(outcome(&mut pending).await, Outcome::Expired);
    let mut again = room.ask(&second_try(OnDisconnect::Withdraw)).await;
    assert_eq!(outcome(&mut again).await, Outcome::Expired);
    assert_eq!(again.name(), pending.name());

    let first = room.ask(&question("d", OnDisconnect::Claimable)).await;
    let mut claiming = room.ask(&second_try(OnDisconnect::Claimable)).await;
    assert_eq!(claiming.name(), first.name());
    room.decide(first.name(), "alice", ApprovalVerdict::Approved);
    assert!(matches!(outcome(&mut claiming).await, Outcome::Approved { .. }));
    assert_ne!(room.ask(&second_try(OnDisconnect::Claimable)).await.name(), first.name(), "it is consumed");
}

#[tokio::test]
async fn abandoned_requests_expire_and_old_ones_are_removed() {
    let room = Room::new();
    let pending = room.ask(&question("d", OnDisconnect::Claimable)).await;
    let name = pending.name().to_owned();
    drop(pending);
    let shared = &room.approvals.shared;
    shared.sweep(Timestamp::now()).unwrap();
    assert!(room.conditions(&name).is_empty());
    let expired_at = Timestamp::now() + SignedDuration::from_secs(61);
    shared.sweep(expired_at).unwrap();
    assert_eq!(room.conditions(&name), ["Expired"]);
    shared.sweep(expired_at + SignedDuration::from_hours(24 * 6)).unwrap();
    assert_eq!(room.names(), [name]);
    shared.sweep(expired_at + SignedDuration::from_hours(24 * 7 + 1)).unwrap();
    assert!(room.names().is_empty());
}

#[tokio::test]
async fn a_crash_between_consuming_and_saying_so_is_made_good() {
    let room = Room::new();
    let pending = room.ask(&question("d", OnDisconnect::Claimable)).await;
    let (name, uid) = (pending.name().to_owned(), pending.uid().to_owned());
    drop(pending);
    let shared = &room.approvals.shared;
    let lock = shared.directory.lock().unwrap();
    assert!(shared.directory.consume(&lock, &uid).unwrap());
    assert!(!shared.directory.consume(&lock, &uid).unwrap());
    drop(lock);
    assert_ne!(room.ask(&question("d", OnDisconnect::Claimable)).await.name(), name);
    shared.sweep(Timestamp::now()).unwrap();
    assert_eq!(room.conditions(&name), ["Approved", "Consumed"]);
}

#[tokio::test]
async fn a_file_that_is_named_otherwise_or_is_none_is_no_request_and_writes_none() {
    let room = Room::new();
    let pending = room.ask(&question("d", OnDisconnect::Claimable)).await;
    let name = pending.name().to_owned();
    drop(pending);
    let elsewhere = tempfile::tempdir().unwrap();
    let victim = elsewhere.path().join("victim.yaml");
    fs::write(&victim, "precious: data").unwrap();
    let mut request = room.read(&name);
    let climb = "../".repeat(20) + elsewhere.path().join("victim").to_str().unwrap();
    request.metadata.name = Some(climb);
    request.metadata.uid = Some("7b1c1a4e-94a4-4d3f-9f3b-2f6b0c8f9a11".to_owned());
    fs::write(room.file("evil"), serde_yaml_ng::to_string(&request).unwrap()).unwrap();
    let pipe = room.file("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink(&victim, room.file("link")).unwrap();
    let expired_at = Timestamp::now() + SignedDuration::from_secs(61);
    room.approvals.shared.sweep(expired_at).unwrap();
    assert_eq!(room.conditions(&name), ["Expired"]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious: data");
    // and nobody waits for the pipe
    room.ask(&question("another", OnDisconnect::Withdraw)).await;
}

/// A command whose client is told to repeat it, under a rule that says nothing of clients that go away.
fn repeatable(digest: &str) -> Question {
    Question { is_repeatable: true, ..question(digest, OnDisconnect::Withdraw) }
}

#[tokio::test]
async fn whoever_was_told_to_repeat_a_command_claims_its_approval_once_and_nobody_else_does() {
    let room = Room::new();
    let mut first = room.ask(&repeatable("d")).await;
    let name = first.name().to_owned();
    first.leave();
    drop(first);
    let mut other = repeatable("d");
    Arc::make_mut(&mut other.requester).subject = "another".to_owned();
    assert_ne!(room.ask(&other).await.name(), name);
    let another = Question { effect_digest: "another".to_owned(), ..repeatable("d") };
    assert_ne!(room.ask(&another).await.name(), name);
    assert!(room.conditions(&name).is_empty());

    room.decide(&name, "alice", ApprovalVerdict::Approved);
    // by another gateway, in other words
    let restarted = gateway(room.directory.path());
    let mut again = restarted.ask(repeatable("e")).await.unwrap();
    assert_eq!(again.name(), name);
    assert!(matches!(outcome(&mut again).await, Outcome::Approved { .. }));
    assert_ne!(room.ask(&repeatable("d")).await.name(), name, "it is consumed");
}

#[tokio::test]
async fn whoever_goes_away_before_it_was_told_to_repeat_a_command_withdraws_it() {
    let room = Room::new();
    let first = room.ask(&repeatable("d")).await;
    let name = first.name().to_owned();
    drop(first);
    room.until_conditions(&name, &["Withdrawn"]).await;
    let mut second = room.ask(&repeatable("d")).await;
    let name = second.name().to_owned();
    second.leave();
    drop(second);
    // it came back and then gave up
    let third = room.ask(&repeatable("d")).await;
    assert_eq!(third.name(), name);
    drop(third);
    room.until_conditions(&name, &["Withdrawn"]).await;
}
