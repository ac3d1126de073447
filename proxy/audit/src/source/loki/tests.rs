use super::*;
use serde_json::json;
use std::collections::BTreeSet;

fn wanted(session: &str, identity: &str, resource: &str) -> Wanted {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Wanted { session: some(session), identity: some(identity), resource: some(resource), since: None }
}

#[test]
fn what_is_asked_is_logql_in_which_texts_are_texts() {
    const OURS: &str = r#"{service_name="portcullis"} | portcullis_schema!="" | portcullis_seq!="""#;
    for (wanted, stages) in [
        (wanted("", "", ""), ""),
        (wanted("0199e2-7", "", ""), r#" | session_id=~"0199e2-7.*""#),
        (wanted("", "ci-bot", ""), r#" | user_id="ci-bot" or user_name="ci-bot" or user_id=~".*#ci-bot""#),
        (wanted("", "", "orders"), r#" | portcullis_resource_name="orders""#),
        (
            wanted("", "", "shop/orders"),
            r#" | portcullis_resource_namespace="shop" | portcullis_resource_name="orders""#,
        ),
        // Neither ends its string nor its expression.
        (wanted(r#"a" or ""="|.*"#, "", ""), r#" | session_id=~"a\" or \"\"=\"\\|\\.\\*.*""#),
        (
            wanted("", "a\\b\n(c)", ""),
            r#" | user_id="a\\b\U0000000a(c)" or user_name="a\\b\U0000000a(c)" or user_id=~".*#a\\\\b\U0000000a\\(c\\)""#,
        ),
    ] {
        assert_eq!(logql::records("portcullis", &wanted), format!("{OURS}{stages}"));
    }
    assert_eq!(
        logql::of_sessions("gate", &["0199-a".to_owned(), "0199-b".to_owned()]),
        r#"{service_name="gate"} | portcullis_schema!="" | portcullis_seq!="" | session_id=~"0199-a|0199-b""#
    );
}

/// As Loki's documentation has it, with the attributes of a record.
fn labels() -> serde_json::Value {
    json!({
        "service_name": "portcullis", "detected_level": "warn", "scope_name": "portcullis", "event_name": "portcullis.statement",
        "severity_text": "WARN", "severity_number": "13", "observed_timestamp": "1764000000000000001",
        "portcullis_schema": "v1", "portcullis_log_origin": "gw/default/orders/0", "portcullis_seq": "17",
        "portcullis_session_seq": "3", "portcullis_chain_prev": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "session_id": "0199e2aa-0000-7000-8000-000000000000", "user_roles": "[\"agents\",\"ci\"]",
        "portcullis_claim_repository": "acme/billing", "portcullis_result_truncated": "true",
    })
}

#[test]
fn an_answer_has_records_whichever_way_its_labels_are_told() {
    let value = json!(["1764000000000000007", "deny DROP TABLE users"]);
    let mixed = json!({"status": "success", "data": {"resultType": "streams", "stats": {}, "result": [
        {"stream": labels(), "values": [value]},
    ]}});
    let told_apart = json!({"status": "success", "data": {"resultType": "streams", "result": [
        {"stream": {"service_name": "portcullis"}, "values": [
            [value[0], value[1], {"structuredMetadata": labels(), "parsed": {}}],
        ]},
    ]}});
    for answer in [mixed, told_apart] {
        let mut entries = answer::entries(answer.to_string().as_bytes()).unwrap();
        let log_record = entries.remove(0).into_log_record().unwrap();
        let record = Record::from_log_record(&log_record).unwrap();
        assert_eq!(record.time().as_nanosecond(), 1_764_000_000_000_000_007);
        assert_eq!((record.name(), record.severity()), ("portcullis.statement", "WARN"));
        assert_eq!(record.body(), "deny DROP TABLE users");
        assert_eq!((record.sequence(), record.session_sequence()), (17, 3));
        assert_eq!(record.chain_previous(), [0; 32]);
        assert_eq!(record.list(key::USER_ROLES), ["agents", "ci"]);
        assert_eq!(record.text("portcullis.claim.repository"), Some("acme/billing"));
        assert_eq!(record.truth(key::TRUNCATED), Some(true));
        // What Loki added is none of ours.
        assert!(record.attributes().iter().all(|attribute| !attribute.key.contains("level")));
    }
}

#[test]
fn what_is_no_answer_is_said() {
    let mut nameless = labels();
    nameless.as_object_mut().unwrap().remove("event_name");
    let answer =
        json!({"data": {"resultType": "streams", "result": [{"stream": nameless, "values": [["1", "x"]]}]}});
    let mut entries = answer::entries(answer.to_string().as_bytes()).unwrap();
    assert!(entries.remove(0).into_log_record().unwrap_err().contains("docs/forensics.md"));
    let matrix = json!({"data": {"resultType": "matrix", "result": []}}).to_string();
    for wrong in ["", "<html>log in</html>", "{}", matrix.as_str()] {
        let error = answer::entries(wrong.as_bytes()).unwrap_err();
        assert!(error.starts_with("not an answer of Loki's"), "{error}");
    }
}

#[test]
fn every_attribute_has_a_label_of_its_own() {
    let labels: BTreeSet<String> = key::ALL.iter().map(|(key, _)| answer::label(key)).collect();
    assert_eq!(labels.len(), key::ALL.len());
}

#[test]
fn an_address_says_where_and_no_secret() {
    let source = |url: &str| LokiSource::new(url, LokiAccess::default());
    let url = |url: &str| source(url).unwrap().url.to_string();
    assert_eq!(url("loki://logs"), "http://logs:3100/loki/api/v1/");
    assert_eq!(url("loki://logs:80/tenant/a/"), "http://logs/tenant/a/loki/api/v1/");
    assert_eq!(url("loki://[::1]?secure=true"), "https://[::1]/loki/api/v1/");
    let all = source("loki://logs?service=gate&days=7&limit=50").unwrap();
    assert_eq!((all.service.as_str(), all.back.as_hours(), all.limit), ("gate", 168, 50));
    for wrong in
        ["loki://", "http://logs", "loki://logs?secure=false", "loki://logs?days=0", "loki://logs?tenant=a"]
    {
        assert!(source(wrong).unwrap_err().contains("loki://HOST"), "{wrong}");
    }
    let secret = source("loki://me:hunter2@logs").unwrap_err();
    assert!(secret.contains("LOKI_PASSWORD") && !secret.contains("hunter2"), "{secret}");
    let access = LokiAccess {
        login: Some(("me".to_owned(), "hunter2".to_owned())),
        bearer: Some("hunter2".to_owned()),
        ..LokiAccess::default()
    };
    assert!(!format!("{:?} {access:?}", LokiSource::new("loki://logs", access.clone())).contains("hunter2"));
}

#[test]
fn a_sessions_identifier_says_from_when_on_to_look() {
    let source = LokiSource::new("loki://logs?days=30", LokiAccess::default()).unwrap();
    let now: Timestamp = "2026-11-30T00:00:00Z".parse().unwrap();
    let (long_ago, horizon) =
        ("2025-01-01T00:00:00Z".parse().unwrap(), now - SignedDuration::from_hours(720));
    let id = |time: Timestamp| format!("{:012x}", time.as_millisecond());
    assert_eq!(source.begin(None, now), horizon);
    assert_eq!(source.begin(Some("01"), now), horizon);
    assert_eq!(source.begin(Some("no-identifier"), now), horizon);
    assert_eq!(source.begin(Some(&id(long_ago)), now), long_ago - CLOCKS_APART);
    let (yesterday, begins) = (now - SignedDuration::from_hours(24), source.begin(id(now).get(..9), now));
    assert!(begins <= now - CLOCKS_APART && begins > yesterday, "{begins}");
}
