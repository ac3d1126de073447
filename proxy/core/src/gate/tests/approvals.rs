//! Commands that are held, and what their requests come to.

use super::*;

#[tokio::test]
async fn an_approved_command_gets_a_permit_and_the_approver_is_on_record() {
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(60).await;
    bench.answer(Ok(approved()));
    let Decision::Held(mut held) =
        gate.decide(command("DELETE", "Delete", "public.orders"), Standing::InTransaction).await
    else {
        panic!("not held");
    };
    let question = bench.approvals.asked.lock().unwrap().pop().unwrap();
    assert!(question.in_transaction && !question.text.contains("a literal"), "{question:?}");
    let outcome = held.outcome().await;
    let permit = gate.resume(*held, outcome).await.unwrap();
    gate.finish(permit, End::ok(3)).await.unwrap();
    let records = bench.records();
    let approval = last(&records, "portcullis.approval");
    assert_eq!(approval.text(key::APPROVAL_VERDICT), Some("approved"));
    assert_eq!(approval.list(key::APPROVERS), ["alice (dba): CHG-7"]);
}

#[tokio::test]
async fn every_other_end_of_a_request_is_a_refusal() {
    for (answer, kind) in [
        (Ok(Outcome::Denied { approver: "alice".to_owned() }), RefusalKind::ApprovalDenied),
        (Ok(Outcome::Expired), RefusalKind::ApprovalExpired),
        (Ok(Outcome::Withdrawn), RefusalKind::Withdrawn),
        (Err("watch approval request"), RefusalKind::Unavailable),
    ] {
        let bench = Bench::new(|_| ());
        let mut gate = bench.open(60).await;
        bench.answer(answer);
        let Decision::Held(mut held) =
            gate.decide(command("DELETE", "Delete", "public.orders"), Standing::Alone).await
        else {
            panic!("not held");
        };
        let outcome = held.outcome().await;
        let refusal = gate.resume(*held, outcome).await.unwrap_err();
        assert_eq!(refusal.kind, kind);
        let records = bench.records();
        let told = last(&records, "portcullis.approval").text(key::REFUSAL_MESSAGE);
        assert_eq!(told, Some(&*refusal.message), "what the client was told");
    }
}

#[tokio::test]
async fn a_question_that_cannot_be_asked_is_a_refusal() {
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(60).await;
    let Decision::Refused(refusal) =
        gate.decide(command("DELETE", "Delete", "public.orders"), Standing::Alone).await
    else {
        panic!("not refused");
    };
    assert_eq!(refusal.kind, RefusalKind::Unavailable);
    assert_refused(&bench.records(), &refusal);
}

#[tokio::test]
async fn nobody_is_asked_about_a_session_that_a_rule_holds_nor_about_a_command_that_cannot_wait() {
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(60).await;
    bench.answer(Ok(approved()));
    let judged = gate.judge(command("DELETE", "Delete", "public.orders"), Standing::Alone).await;
    let Judged::Unasked(unasked) = judged else { panic!("not held: {judged:?}") };
    let refusal = gate.decline(*unasked, Refusal::ended("it cannot wait")).await;
    assert_eq!(refusal.rule.as_ref().unwrap().rule, "deletes");
    assert_refused(&bench.records(), &refusal);
    bench.put_in_force(&POLICY.replace("[Delete]", "[Connect, Delete]"));
    let connect = command("connect", "Connect", "shop");
    let refusal = Gate::open(session(60, "agents"), Arc::clone(&bench.resource), connect).await.unwrap_err();
    assert!(refusal.message.contains("cannot be held"), "{refusal:?}");
    let records = bench.records();
    assert_eq!(last(&records, "portcullis.result").text(key::OUTCOME), Some("refused"));
    assert_eq!(records.last().unwrap().name(), "portcullis.session.end");
    assert!(bench.approvals.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn policies_out_of_date_beyond_their_limit_allow_nothing_and_that_is_on_record() {
    let mut bench = Bench::new(|_| ());
    let mut gate = bench.open(60).await;
    let contact = Contact::with_limit(std::time::Duration::from_millis(200));
    let context = ResourceContext { contact: contact.clone(), ..(*bench.resource).clone() };
    bench.resource = Arc::new(context);
    let mut watched = bench.open(60).await;
    tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    let decision = watched.decide(command("SELECT", "Select", "public.orders"), Standing::Alone).await;
    let Decision::Refused(refusal) = decision else { panic!("not refused: {decision:?}") };
    assert_eq!(
        (refusal.kind, &*refusal.rule.clone().unwrap().rule),
        (RefusalKind::Unavailable, "policy-stale")
    );
    assert!(watched.look().is_none(), "the session goes on");
    let records = bench.records();
    let statement = last(&records, "portcullis.statement");
    assert_eq!(
        (statement.text(key::VERDICT), statement.text(key::RULE)),
        (Some("deny"), Some("policy-stale"))
    );
    assert_eq!(statement.text(key::REFUSAL_MESSAGE), Some(&*refusal.message), "what the client was told");
    assert_eq!(statement.text(key::REFUSAL_HINT), Some(&*refusal.hint));
    contact.made(tokio::time::Instant::now());
    for gate in [&mut watched, &mut gate] {
        let decision = gate.decide(command("SELECT", "Select", "public.orders"), Standing::Alone).await;
        assert!(matches!(decision, Decision::Permit(_)), "{decision:?}");
    }
}

#[tokio::test]
async fn an_approval_that_comes_when_policies_are_out_of_date_releases_nothing() {
    let mut bench = Bench::new(|_| ());
    let contact = Contact::with_limit(std::time::Duration::from_millis(200));
    bench.resource = Arc::new(ResourceContext { contact, ..(*bench.resource).clone() });
    let mut gate = bench.open(60).await;
    bench.answer(Ok(approved()));
    let Decision::Held(mut held) =
        gate.decide(command("DELETE", "Delete", "public.orders"), Standing::Alone).await
    else {
        panic!("not held");
    };
    tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    let outcome = held.outcome().await;
    let refusal = gate.resume(*held, outcome).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Unavailable);
    assert_refused(&bench.records(), &refusal);
}

#[tokio::test]
async fn an_approval_never_turns_a_new_deny_into_allow() {
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(60).await;
    bench.answer(Ok(approved()));
    let Decision::Held(mut held) =
        gate.decide(command("DELETE", "Delete", "public.orders"), Standing::Alone).await
    else {
        panic!("not held");
    };
    bench.put_in_force(&POLICY.replace("action: Hold", "action: Deny"));
    let outcome = held.outcome().await;
    let refusal = gate.resume(*held, outcome).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Denied);
    let records = bench.records();
    assert_eq!(last(&records, "portcullis.approval").text(key::APPROVAL_VERDICT), Some("approved"));
    assert_refused(&records, &refusal);
}

#[tokio::test]
async fn an_approval_of_one_rule_does_not_count_for_another() {
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(60).await;
    bench.answer(Ok(approved()));
    let Decision::Held(mut held) =
        gate.decide(command("DELETE", "Delete", "public.orders"), Standing::Alone).await
    else {
        panic!("not held");
    };
    bench.put_in_force(&POLICY.replace("name: deletes", "name: removals"));
    let outcome = held.outcome().await;
    let refusal = gate.resume(*held, outcome).await.unwrap_err();
    assert!(refusal.message.contains("policies changed"), "{refusal:?}");
    assert_refused(&bench.records(), &refusal);
}
