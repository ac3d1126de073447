//! What the gate keeps in mind of a verdict never outlives what it depends on.

use super::*;
use std::time::Duration;

async fn runs(gate: &mut Gate, command: Arc<Command>) -> bool {
    match gate.decide(command, Standing::Alone).await {
        Decision::Permit(permit) => gate.finish(permit, End::ok(0)).await.is_ok(),
        Decision::Refused(refusal) => {
            assert_eq!(refusal.kind, RefusalKind::Denied);
            false
        }
        Decision::Held(held) => panic!("{held:?}"),
    }
}

fn rules(rules: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1alpha1\nkind: Policy\nmetadata: {{name: agents, namespace: shop}}\n\
         spec:\n  targetRefs: [{{name: orders}}]\n  rules: [{rules}]\n"
    )
}

#[tokio::test]
async fn a_permission_ends_with_its_time() {
    let bench = Bench::new(|_| ());
    let until = Timestamp::now() + SignedDuration::from_secs(1);
    let rule = format!("{{name: reads, action: Allow, when: 'now < timestamp(\"{until}\")'}}");
    bench.put_in_force(&rules(&rule));
    let mut gate = bench.open(600).await;
    let read = command("SELECT", "Select", "public.orders");
    let before = runs(&mut gate, Arc::clone(&read)).await;
    assert!(before || Timestamp::now() >= until);
    tokio::time::timeout(Duration::from_secs(30), async {
        while runs(&mut gate, Arc::clone(&read)).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert!(Timestamp::now() >= until);
}

#[tokio::test]
async fn a_permission_ends_with_its_policy_and_is_for_one_role_and_one_namespace() {
    let bench = Bench::new(|_| ());
    bench.put_in_force(&rules("{name: reads, action: Allow, roles: [app], postgresql: {databases: [shop]}}"));
    let mut gate = bench.open(600).await;
    let read = command("SELECT", "Select", "public.orders");
    for _ in 0..3 {
        assert!(runs(&mut gate, Arc::clone(&read)).await);
    }
    let elsewhere = Command { namespace: "other".into(), ..Command::clone(&read) };
    assert!(!runs(&mut gate, Arc::new(elsewhere)).await);
    let other = Command { role: "owner".into(), ..Command::clone(&read) };
    assert!(!runs(&mut gate, Arc::new(other)).await);
    assert!(runs(&mut gate, Arc::clone(&read)).await);
    bench.put_in_force(&rules("{name: reads, action: Deny}"));
    assert!(!runs(&mut gate, read).await);
}

#[tokio::test]
async fn records_of_one_text_say_the_same_but_for_number_and_digest() {
    let bench = Bench::new(|_| ());
    let mut gate = bench.open(600).await;
    let first = command("SELECT", "Select", "public.orders");
    let second = Command { text: "SELECT public.orders 'another'".into(), ..Command::clone(&first) };
    assert!(runs(&mut gate, Arc::clone(&first)).await);
    assert!(runs(&mut gate, Arc::new(second)).await);
    assert!(runs(&mut gate, first).await);
    let records = bench.records();
    let of: Vec<_> = records
        .iter()
        .filter(|record| record.name() == "portcullis.statement")
        .filter(|record| record.text(key::OPERATION) == Some("SELECT"))
        .collect();
    let [one, two, three] = &*of else { panic!("{of:?}") };
    for same in [key::QUERY_TEXT, key::VERDICT, key::POLICY_NAME, key::RULE] {
        assert!(one.text(same).is_some(), "{same}");
        assert_eq!(one.text(same), two.text(same), "{same}");
        assert_eq!(one.text(same), three.text(same), "{same}");
    }
    assert_eq!(one.list(key::EFFECTS), ["Select public.orders"]);
    assert_eq!(two.list(key::EFFECTS), one.list(key::EFFECTS));
    assert_eq!([one, two, three].map(|record| record.int(key::COMMAND)), [Some(2), Some(3), Some(4)]);
    assert_ne!(one.text(key::DIGEST), two.text(key::DIGEST));
    assert_eq!(one.text(key::DIGEST), three.text(key::DIGEST));
}
