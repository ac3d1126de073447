//! The order of a command, step by step: each test breaks one step and sees the refusal, and the record.

use super::{Decision, End, EndKind, Gate, Judged, Standing};
use crate::approval::{ApprovalError, Approvals, Outcome, Pending, Question};
use crate::authn::Verified;
use crate::contact::Contact;
use crate::metrics::Metrics;
use crate::refusal::{Refusal, RefusalKind};
use crate::secret::Secret;
use crate::session::{Durability, Recording, ResourceContext, Session};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use proxy_audit::event::key;
use proxy_audit::record::Record;
use proxy_audit::{Spool, SpoolOptions, read};
use proxy_policy::{
    Access, Command, Effects, Identity, Outputs, PolicySet, Reading, ResourceFacts, Touch, compile,
};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const POLICY: &str = r"
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: agents, namespace: shop}
spec:
  targetRefs: [{name: orders}]
  subjects: [{group: agents}]
  rules:
  - {name: no-drops, action: Deny, postgresql: {effects: [Drop]}, message: Ask the owners.}
  - {name: deletes, action: Hold, postgresql: {effects: [Delete]}}
  - {name: reads, action: Allow, postgresql: {effects: [Select]}}
  - {name: additions, action: Allow, postgresql: {effects: [Insert]}}
";

mod approvals;
mod remembered;

/// Answers every question in the same way.
#[derive(Debug)]
struct Scripted {
    answer: Mutex<Option<Result<Outcome, String>>>,
    asked: Mutex<Vec<Question>>,
}

#[derive(Debug)]
struct ScriptedPending(Option<Result<Outcome, String>>);

#[async_trait]
impl Approvals for Scripted {
    async fn ask(&self, question: Question) -> Result<Box<dyn Pending>, ApprovalError> {
        self.asked.lock().unwrap().push(question);
        match self.answer.lock().unwrap().take() {
            Some(answer) => Ok(Box::new(ScriptedPending(Some(answer)))),
            None => Err(ApprovalError { step: "write approval request".to_owned(), source: None }),
        }
    }
}

#[async_trait]
impl Pending for ScriptedPending {
    fn name(&self) -> &'static str {
        "orders-1"
    }
    fn uid(&self) -> &'static str {
        "uid-1"
    }
    async fn outcome(&mut self) -> Result<Outcome, ApprovalError> {
        let answer = self.0.take().unwrap();
        answer.map_err(|step| ApprovalError { step, source: None })
    }
}

struct Bench {
    directory: TempDir,
    resource: Arc<ResourceContext>,
    changes: tokio::sync::watch::Sender<u64>,
    approvals: Arc<Scripted>,
}

impl Bench {
    fn new(adjust: impl FnOnce(&mut SpoolOptions)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = SpoolOptions::new(directory.path().join("log"), "test/shop/orders/1");
        adjust(&mut options);
        let (spool, _) = Spool::open(&options).unwrap();
        let (changes, receiver) = tokio::sync::watch::channel(0);
        let approvals = Arc::new(Scripted { answer: Mutex::default(), asked: Mutex::default() });
        let resource = ResourceContext {
            namespace: "shop".to_owned(),
            name: "orders".to_owned(),
            protocol: "postgresql",
            wording: crate::session::Wording::DATABASE,
            policies: Arc::new(ArcSwap::from_pointee(policies(POLICY))),
            changes: receiver,
            contact: Contact::here(),
            spool,
            approvals: Arc::clone(&approvals) as Arc<dyn Approvals>,
            recording: Recording {
                results: true,
                max_result_bytes: 100_000,
                contents: false,
                durability: Durability::Auto,
            },
            tenant_key: Secret::new([7; 32]),
            metrics: Metrics::default(),
            instance: "test".to_owned(),
        };
        Self { directory, resource: Arc::new(resource), changes, approvals }
    }

    async fn open(&self, token_seconds: i64) -> Gate {
        let session = session(token_seconds, "agents");
        Gate::open(session, Arc::clone(&self.resource), command("connect", "Connect", "shop")).await.unwrap()
    }

    fn answer(&self, answer: Result<Outcome, &str>) {
        *self.approvals.answer.lock().unwrap() = Some(answer.map_err(str::to_owned));
    }

    fn put_in_force(&self, policy: &str) {
        self.resource.policies.store(Arc::new(policies(policy)));
        self.changes.send_modify(|count| *count += 1);
    }

    fn records(&self) -> Vec<Record> {
        records(&self.directory.path().join("log"))
    }
}

fn records(log: &Path) -> Vec<Record> {
    read::records(log).unwrap().map(Result::unwrap).collect()
}

fn policies(yaml: &str) -> PolicySet {
    let facts = ResourceFacts {
        namespace: "shop".to_owned(),
        name: "orders".to_owned(),
        protocol: "postgresql".to_owned(),
        ..ResourceFacts::default()
    };
    compile(&facts, &[serde_yaml_ng::from_str(yaml).unwrap()]).unwrap()
}

fn session(token_seconds: i64, group: &str) -> Session {
    let identity = Identity {
        issuer: "https://idp.example.com".to_owned(),
        subject: "ci-bot".to_owned(),
        username: "ci-bot".to_owned(),
        groups: vec![group.to_owned()],
        claims: serde_json::Map::new(),
    };
    let expires = Timestamp::now() + SignedDuration::from_secs(token_seconds);
    Session {
        id: "session-1".to_owned(),
        identity: Verified::for_tests(identity, expires),
        role: "app".to_owned(),
        namespace: "shop".to_owned(),
        client: "127.0.0.1:5000".parse().unwrap(),
        client_name: "psql".to_owned(),
        transport: "TLSv1.3".to_owned(),
    }
}

fn command(operation: &str, effect: &'static str, name: &str) -> Arc<Command> {
    let access = if effect == "Select" { Access::Read } else { Access::Write };
    let touch = Touch {
        effect,
        object: "relation",
        name: name.to_owned(),
        access,
        unbounded: false,
        detail: proxy_policy::Detail::None,
    };
    let masked_text = format!("{operation} {name} $1");
    let reading = Reading {
        outputs: vec![Outputs::None],
        ..Reading::new(operation, masked_text, Effects::Known(vec![touch]))
    };
    Arc::new(Command {
        text: format!("{operation} {name} 'a literal'").into(),
        canonical: format!("{operation} {name}"),
        role: "app".into(),
        namespace: "shop".into(),
        binding: Vec::new(),
        reading: reading.into(),
    })
}

fn approved() -> Outcome {
    Outcome::Approved { approvers: vec!["alice (dba): CHG-7".to_owned()] }
}

/// The last record: the end of the command that was held, which says what its client was told.
fn assert_refused(records: &[Record], refusal: &Refusal) {
    let end = records.last().unwrap();
    assert_eq!((end.name(), end.text(key::OUTCOME)), ("portcullis.result", Some("refused")));
    assert_eq!(end.int(key::COMMAND), last(records, "portcullis.statement").int(key::COMMAND));
    let told = [key::REFUSAL_KIND, key::REFUSAL_MESSAGE, key::REFUSAL_HINT].map(|key| end.text(key));
    assert_eq!(told, [Some(refusal.kind.word()), Some(&*refusal.message), Some(&*refusal.hint)]);
    assert_eq!(end.text(key::RULE), refusal.rule.as_ref().map(|rule| rule.rule.as_str()));
}

fn last<'a>(records: &'a [Record], name: &str) -> &'a Record {
    records.iter().rev().find(|record| record.name() == name).unwrap()
}

#[tokio::test]
async fn an_allowed_command_is_on_record_before_there_is_a_permit_and_its_result_after() {
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(60).await;
    let Decision::Permit(mut permit) =
        gate.decide(command("SELECT", "Select", "public.orders"), Standing::Alone).await
    else {
        panic!("not permitted");
    };
    let before = bench.records();
    let statement = last(&before, "portcullis.statement");
    assert_eq!(statement.text(key::VERDICT), Some("allow"));
    assert_eq!(statement.text(key::RULE), Some("reads"));
    assert_eq!(statement.text(key::QUERY_TEXT), Some("SELECT public.orders $1"));
    gate.record(&mut permit, b"a row").unwrap();
    gate.finish(permit, End::ok(1)).await.unwrap();
    let after = bench.records();
    let result = last(&after, "portcullis.result");
    assert_eq!(result.int(key::COMMAND), statement.int(key::COMMAND));
    assert_eq!(result.bytes(key::FRAMES), Some(&b"a row"[..]));
    assert!(after.iter().all(|record| !format!("{record:?}").contains("a literal")));
}

#[tokio::test]
async fn a_denied_command_is_on_record_and_the_refusal_names_rule_and_author() {
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(60).await;
    let Decision::Refused(refusal) =
        gate.decide(command("DROP", "Drop", "public.orders"), Standing::Alone).await
    else {
        panic!("not refused");
    };
    assert_eq!(refusal.kind, RefusalKind::Denied);
    assert_eq!(refusal.rule.as_ref().unwrap().rule, "no-drops");
    assert!(refusal.message.contains("Ask the owners."), "{refusal:?}");
    assert_eq!(last(&bench.records(), "portcullis.statement").text(key::VERDICT), Some("deny"));
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_run() {
    let bench = Bench::new(|options| options.max_bytes = 12_000);
    let mut gate = bench.open(60).await;
    let mut refused = None;
    for _ in 0..100 {
        match gate.decide(command("SELECT", "Select", "public.orders"), Standing::Alone).await {
            Decision::Permit(permit) => drop(permit),
            Decision::Refused(refusal) => refused = Some(refusal),
            Decision::Held(_) => panic!("held"),
        }
        if refused.is_some() {
            break;
        }
    }
    assert_eq!(refused.unwrap().kind, RefusalKind::Unavailable);
}

#[tokio::test]
async fn what_a_transaction_changed_is_on_disk_before_the_command_that_may_commit_it() {
    for (first, standing, permitted) in [
        (None, Standing::InTransaction, true),
        (Some(Standing::Undoable), Standing::InTransaction, false),
        // The transaction is over: whatever it was, it was not committed.
        (Some(Standing::Undoable), Standing::Alone, true),
        (Some(Standing::Undoable), Standing::Undoable, true),
    ] {
        let bench = Bench::new(|_| ());
        let mut gate = bench.open(60).await;
        // From now on nothing reaches the disk.
        bench.resource.spool.inject(proxy_audit::spool::Fault::SyncFails, 0);
        if let Some(first) = first {
            let change = gate.decide(command("INSERT", "Insert", "public.orders"), first).await;
            assert!(matches!(change, Decision::Permit(_)), "{change:?}");
        }
        let next = gate.decide(command("COMMIT", "Select", ""), standing).await;
        assert_eq!(matches!(next, Decision::Permit(_)), permitted, "{first:?}, then {standing:?}: {next:?}");
    }
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(60).await;
    bench.resource.spool.inject(proxy_audit::spool::Fault::SyncFails, 0);
    let alone = gate.decide(command("INSERT", "Insert", "public.orders"), Standing::Alone).await;
    assert!(matches!(alone, Decision::Refused(_)), "{alone:?}");
}

/// Waits until the session may not go on, as a protocol does.
async fn ended(gate: &mut Gate) -> Refusal {
    let mut watch = gate.watch();
    loop {
        if let Some(refusal) = gate.look() {
            return refusal;
        }
        watch.due().await;
    }
}

#[tokio::test]
async fn an_expired_token_ends_the_session() {
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(1).await;
    assert_eq!(ended(&mut gate).await.kind, RefusalKind::SessionEnded);
    let Decision::Refused(refusal) =
        gate.decide(command("SELECT", "Select", "public.orders"), Standing::Alone).await
    else {
        panic!("not refused");
    };
    assert_eq!(refusal.kind, RefusalKind::SessionEnded);
}

#[tokio::test]
async fn the_first_record_under_new_policies_names_them_and_no_other_does() {
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(60).await;
    let named = |records: &[Record]| {
        let digests = records.iter().filter_map(|record| record.text(key::POLICY_DIGEST));
        digests.map(str::to_owned).collect::<Vec<_>>()
    };
    for changed in [false, false, true, false] {
        if changed {
            bench.put_in_force(&POLICY.replace("name: reads", "name: looks"));
        }
        drop(gate.decide(command("SELECT", "Select", "public.orders"), Standing::Alone).await);
    }
    let records = bench.records();
    let digests = named(&records);
    assert_eq!(digests.len(), 2, "{digests:?}");
    assert_ne!(digests[0], digests[1]);
    let start = last(&records, "portcullis.session.start");
    assert_eq!(start.text(key::POLICY_DIGEST), Some(digests[0].as_str()));
    let first = records.iter().find(|record| record.text(key::RULE) == Some("looks")).unwrap();
    assert_eq!(first.text(key::POLICY_DIGEST), Some(digests[1].as_str()));
}

#[tokio::test]
async fn a_policy_that_no_longer_concerns_the_identity_ends_its_session() {
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(60).await;
    bench.put_in_force(&POLICY.replace("group: agents", "group: others"));
    assert_eq!(ended(&mut gate).await.kind, RefusalKind::SessionEnded);
}

#[tokio::test]
async fn an_identity_that_no_policy_concerns_opens_no_session() {
    let bench = Bench::new(|_| ());
    let opened = Gate::open(
        session(60, "strangers"),
        Arc::clone(&bench.resource),
        command("connect", "Connect", "shop"),
    );
    assert_eq!(opened.await.unwrap_err().kind, RefusalKind::Denied);
    assert_eq!(last(&bench.records(), "portcullis.session.end").text(key::REASON), Some("policy"));
}

#[tokio::test]
async fn a_permit_that_is_dropped_leaves_an_aborted_outcome() {
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(60).await;
    let Decision::Permit(permit) =
        gate.decide(command("SELECT", "Select", "public.orders"), Standing::Alone).await
    else {
        panic!("not permitted");
    };
    drop(permit);
    assert_eq!(last(&bench.records(), "portcullis.result").text(key::OUTCOME), Some("aborted"));
}

#[tokio::test]
async fn a_long_result_is_recorded_in_parts_and_the_cut_is_on_record() {
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(60).await;
    let Decision::Permit(mut permit) =
        gate.decide(command("SELECT", "Select", "public.orders"), Standing::Alone).await
    else {
        panic!("not permitted");
    };
    let rows: Vec<u8> = (0..150_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    for part in rows.chunks(7_000) {
        gate.record(&mut permit, part).unwrap();
        gate.before_release(&mut permit).unwrap();
    }
    gate.finish(permit, End { outcome: EndKind::Ok, rows: 9, ..End::default() }).await.unwrap();
    let records = bench.records();
    let parts = records.iter().filter(|r| r.name().starts_with("portcullis.result"));
    let recorded: Vec<u8> = parts.flat_map(|r| r.bytes(key::FRAMES).unwrap_or_default().to_vec()).collect();
    let result = last(&records, "portcullis.result");
    assert_eq!(recorded, rows[..100_000]);
    assert_eq!(result.truth(key::TRUNCATED), Some(true));
    assert_eq!(result.int(key::BYTES), Some(150_000));
}
