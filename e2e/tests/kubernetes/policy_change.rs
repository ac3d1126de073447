//! `Programmed` on a Policy is a promise: once it is true, every live session of every gateway is under this generation.

use crate::live::Live;
use crate::scene::Scene;
use serde_json::json;

#[test]
fn once_programmed_a_policy_binds_sessions_that_were_open_before() {
    let Some(scene) = Scene::set("policy-change") else { return };
    // enough of them that both gateways have some
    let mut sessions: Vec<Live> = (0..6).map(|_| Live::open(&scene, "readonly", "agent")).collect();
    for round in 0..4 {
        let allowed = round % 2 == 1;
        let action = if allowed { "Allow" } else { "Deny" };
        let rules = json!([
            {"name": "sessions", "action": "Allow", "postgresql": {"effects": ["Connect", "Transaction", "Set"]}},
            {"name": "others", "action": "Allow", "postgresql": {"effects": ["Select"], "relations": ["pg_catalog.*"]}},
            {"name": "reads", "action": action, "postgresql": {"effects": ["Select"], "relations": ["public.orders"]}},
        ]);
        let patch = json!({"spec": {"rules": rules}}).to_string();
        scene.kubectl(&["patch", "policy.portcullis.dev/agents", "--type=merge", "--patch", &patch]);
        scene.kubectl(&[
            "wait",
            "--for=condition=Programmed",
            "policy.portcullis.dev/agents",
            "--timeout=30s",
        ]);
        for session in &mut sessions {
            let answer = session.ask("select count(*) from orders");
            assert_eq!(answer.lines().next() == Some("10"), allowed, "round {round}: {answer}");
        }
    }

    // One that does not compile changes nothing, and says so.
    let broken =
        json!({"spec": {"rules": [{"name": "reads", "action": "Allow", "when": "nope ==="}]}}).to_string();
    scene.kubectl(&["patch", "policy.portcullis.dev/agents", "--type=merge", "--patch", &broken]);
    scene.kubectl(&[
        "wait",
        "--for=condition=Accepted=False",
        "policy.portcullis.dev/agents",
        "--timeout=30s",
    ]);
    for session in &mut sessions {
        let answer = session.ask("select count(*) from orders");
        assert!(answer.starts_with("10"), "the last good one stays in force: {answer}");
    }

    // Gone, nothing allows anything any more: sessions end.
    scene.kubectl(&["delete", "policy.portcullis.dev/agents"]);
    e2e::process::wait_until("sessions without a Policy are over", || {
        for session in &mut sessions {
            if !session.is_over() && session.ask("select count(*) from orders").starts_with("10") {
                return None;
            }
        }
        Some(())
    })
    .unwrap();
}
