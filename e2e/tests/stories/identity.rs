//! Who gets in: tokens of every kind through psql.

use crate::scene::Scene;
use serde_json::json;

#[test]
fn a_token_that_is_not_good_is_refused_with_a_reason_and_appears_nowhere() {
    let Some(scene) = Scene::start() else { return };
    let good = scene.token("ci-bot");
    let mint = |request: serde_json::Value| scene.issuer.mint(&request).unwrap();
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = head.split_once('.').unwrap();
    let none = "eyJhbGciOiJub25lIn0";
    let hmac = "eyJhbGciOiJIUzI1NiJ9";
    let bad: Vec<(&str, String)> = vec![
        ("empty", String::new()),
        ("no token at all", "hunter2".to_owned()),
        ("two parts", head.to_owned()),
        ("no signature", format!("{head}.")),
        ("algorithm none", format!("{none}.{payload}.")),
        ("algorithm HMAC", format!("{hmac}.{payload}.{signature}")),
        ("another's signature", format!("{head}.{}", scene.token("other").rsplit_once('.').unwrap().1)),
        ("broken base64", format!("{header}.%%%.{signature}")),
        ("another audience", mint(json!({"sub": "ci-bot", "groups": ["agents"], "aud": "billing"}))),
        (
            "expired",
            mint(json!({"sub": "ci-bot", "groups": ["agents"], "aud": "orders.shop",
            "claims": {"exp": 1_600_000_000}})),
        ),
        (
            "not yet valid",
            mint(json!({"sub": "ci-bot", "groups": ["agents"], "aud": "orders.shop",
            "claims": {"nbf": 4_000_000_000_u64}})),
        ),
        (
            "another issuer",
            mint(json!({"sub": "ci-bot", "groups": ["agents"], "aud": "orders.shop",
            "claims": {"iss": "https://evil.example.com"}})),
        ),
        ("too long", "x".repeat(20_000)),
    ];
    for (kind, token) in &bad {
        let answer = scene.run("readonly", token, "select 1");
        assert!(!answer.success && answer.out.is_empty(), "{kind}: {answer:?}");
        let told =
            answer.err.contains("FATAL:") && answer.err.contains("HINT:") && answer.err.contains("token");
        assert!(told || answer.err.contains("no password"), "{kind}: {answer:?}");
    }
    assert_eq!(scene.run("readonly", &good, "select 1").out, "1");
    let log = scene.gateway.log();
    for (kind, token) in bad.iter().filter(|(_, token)| token.len() > 100) {
        assert!(!log.contains(&token[token.len() - 60..]), "{kind} is in the log");
    }
}

#[test]
fn a_token_of_eight_kibibytes_works() {
    let Some(scene) = Scene::start() else { return };
    let groups: Vec<String> = (0..200).map(|n| format!("a-group-with-a-rather-long-name-{n:03}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).chain(["agents"]).collect();
    let token = scene.issuer.token("ci-bot", &groups, "orders.shop").unwrap();
    assert!(token.len() > 8 * 1024, "{}", token.len());
    let answer = scene.run("readonly", &token, "select 1");
    assert_eq!(answer.out, "1", "{answer:?}");
}

#[test]
fn claims_of_a_ci_job_are_on_every_record() {
    let Some(scene) = Scene::start() else { return };
    let token =
        scene.issuer.mint(&json!({"sub": "repo:acme/billing", "groups": ["agents"], "aud": "orders.shop",
        "claims": {"repository": "acme/billing", "run_id": "4711"}}));
    scene.run("readonly", &token.unwrap(), "select 1");
    let mut seen = 0;
    for log in proxy_audit::read::logs(scene.gateway.state()).unwrap() {
        for record in proxy_audit::read::records(&log).unwrap().map(Result::unwrap) {
            if record.text("session.id").is_some() {
                assert_eq!(
                    record.text("portcullis.claim.repository"),
                    Some("acme/billing"),
                    "{}",
                    record.name()
                );
                assert_eq!(record.text("portcullis.claim.run_id"), Some("4711"));
                seen += 1;
            }
        }
    }
    assert!(seen >= 4, "{seen} records");
}

#[test]
fn without_tls_nobody_gets_in() {
    let Some(scene) = Scene::start() else { return };
    let mut psql = scene.psql("readonly", &scene.token("ci-bot"));
    let done = psql.env("PGSSLMODE", "disable").args(["-c", "select 1"]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && said.contains("TLS"), "{said}");
}

#[test]
fn a_session_ends_when_its_token_expires() {
    let Some(scene) = Scene::start() else { return };
    let now = jiff::Timestamp::now().as_second();
    let token = scene.issuer.mint(&json!({"sub": "ci-bot", "groups": ["agents"], "aud": "orders.shop",
        "claims": {"exp": now + 3}}));
    let mut psql = scene.psql("readonly", &token.unwrap());
    let again = scene.again_and_again("select 'alive'");
    let done = psql.arg("-At").arg("-f").arg(again).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("expired"), "{said}");
}
