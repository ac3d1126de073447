//! The masker of bodies, by form.

mod embedded;

use super::rules::LAST_APPLIED;
use super::*;
use crate::request::RequestInfo;
use proptest::prelude::*;
use proxy_policy::{Detector, DetectorChoice, Mask, MaskType};
use serde_json::{Value, json};

const CANARY: &str = "AKIAZ7QXWERTYUIOPLKJ";
const PASSWORD: &str = "hunter2-Zk9vQ1xR7b";

fn masks(detectors: &[Detector], fields: &[FieldChoice]) -> Masks {
    let choice =
        DetectorChoice { detectors: detectors.to_vec(), patterns: Vec::new(), with: Mask::default() };
    let choices = if detectors.is_empty() { Vec::new() } else { vec![choice] };
    Masks::new(Masker::new(&choices, &[7; 32]), fields)
}

fn field(resource: &str, path: &str, type_: MaskType) -> FieldChoice {
    let with = Mask { type_, keep_last: None };
    FieldChoice { resources: vec![resource.to_owned()], paths: vec![path.to_owned()], with }
}

fn info(target: &str) -> RequestInfo {
    RequestInfo::read("GET", target).unwrap()
}

/// The body masked, pushed in pieces of `step` bytes.
fn run(masks: &Masks, target: &str, body: &[u8], step: usize) -> Result<Vec<u8>, Unmaskable> {
    let answer = Answer { status: 200, content_type: Some("application/json"), content_encoding: None };
    let mut masker = masks.response(&info(target), answer).unwrap();
    let mut out = Vec::new();
    for piece in body.chunks(step) {
        masker.push(piece, &mut out)?;
    }
    masker.finish(&mut out)?;
    Ok(out)
}

fn json_of(masks: &Masks, target: &str, body: &Value) -> Value {
    let body = body.to_string().into_bytes();
    let whole = run(masks, target, &body, body.len()).unwrap();
    for step in [1, 2, 7, 64] {
        assert_eq!(run(masks, target, &body, step).unwrap(), whole, "in pieces of {step}");
    }
    serde_json::from_slice(&whole).unwrap()
}

const SECRETS: &str = "/api/v1/namespaces/shop/secrets";

#[test]
fn a_secret_in_an_object_of_another_kind_is_masked_without_any_mask_of_a_policy() {
    let masks = masks(&[], &[]);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"p": "clear-value"}});
    let applied = json!({"kind": "Application", "spec": {"objects": [secret]}}).to_string();
    let holder = json!({"apiVersion": "example.test/v1", "kind": "Application",
        "metadata": {"name": "a", "annotations": {LAST_APPLIED: applied}},
        "spec": {"objects": [secret, {"kind": "ConfigMap", "data": {"p": "stays"}}]}});
    let list = json!({"apiVersion": "example.test/v1", "kind": "ApplicationList",
        "items": [{"spec": {"colour": "red"}}, holder]});
    for (path, body) in [
        ("/apis/example.test/v1/namespaces/shop/applications/a", &holder),
        ("/apis/example.test/v1/applications", &list),
        ("/apis/apps/v1/namespaces/shop/controllerrevisions/a", &holder),
        ("/apis/example.test/v1/applications?watch=true", &json!({"type": "ADDED", "object": holder})),
    ] {
        assert!(masks.rewrites(&info(path)), "{path}");
        let masked = json_of(&masks, path, body).to_string();
        assert!(!masked.contains("clear-value"), "{path}: {masked}");
        assert!(masked.contains("stays"), "{path}: {masked}");
    }
    // what holds no Secret comes byte for byte
    let plain = b"{ \"kind\" : \"Application\",\n \"spec\":{\"a\":1.0} }";
    let path = "/apis/example.test/v1/namespaces/shop/applications/a";
    assert_eq!(run(&masks, path, plain, 3).unwrap(), plain);
}

#[test]
fn values_of_secrets_are_masked_in_every_form_and_stay_what_typed_clients_can_read() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "annotations":
        {LAST_APPLIED: "{\"kind\":\"Secret\",\"stringData\":{\"p\":\"clear-value\"},\"data\":{\"q\":\"Y2xlYXI=\"}}\n"}},
        "data": {"p": "Y2xlYXI=", "n": null, "nested": {"x": [1, true, "y"]}}, "type": "Opaque"});
    let masks = masks(&[], &[]);
    let masked = json_of(&masks, &format!("{SECRETS}/s"), &secret);
    assert_eq!(masked["data"]["p"], "W01BU0tFRDpzZWNyZXRzLmRhdGFd", "base64 of [MASKED:secrets.data]");
    assert_eq!(masked["data"]["n"], Value::Null);
    assert_eq!(masked["data"]["nested"]["x"], json!([null, null, "W01BU0tFRDpzZWNyZXRzLmRhdGFd"]));
    let applied: Value =
        serde_json::from_str(masked["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap()).unwrap();
    assert_eq!(applied["stringData"]["p"], "[MASKED:secrets.stringData]");
    assert_eq!((&masked["type"], &masked["metadata"]["name"]), (&json!("Opaque"), &json!("s")));
    for (target, wrapped) in [
        (
            SECRETS,
            json!({"kind": "SecretList", "metadata": {"resourceVersion": "1"}, "items": [secret, secret]}),
        ),
        (SECRETS, json!({"items": [secret], "kind": "SecretList", "metadata": {}})),
        ("/api/v1/secrets?watch=1", json!({"type": "ADDED", "object": secret})),
        (SECRETS, json!({"kind": "Table", "rows": [{"cells": ["s", "Opaque", 1], "object": secret}]})),
        (
            "/api/v1/secrets?watch=1",
            json!({"type": "ADDED", "object": {"kind": "Table", "rows": [{"cells": [], "object": secret}]}}),
        ),
        // embedded in an object of another kind, its name last
        (
            "/apis/example.com/v1/bundles/b",
            json!({"spec": {"template": {"data": {"p": "Y2xlYXI="}, "kind": "Secret"}}}),
        ),
    ] {
        let masks = self::masks(&[Detector::AwsAccessKey], &[]);
        let masked = json_of(&masks, target, &wrapped).to_string();
        assert!(!masked.contains("Y2xlYXI=") && !masked.contains("clear-value"), "{target}: {masked}");
        assert!(masked.contains("W01BU0tFRDpzZWNyZXRzLmRhdGFd"), "{target}: {masked}");
    }
}

#[test]
fn what_is_not_masked_is_the_same_byte_for_byte() {
    let body = b" {\"kind\" : \"PodList\",\n\"metadata\":{ },\"items\":[ {\"a\":1.50e+3 , \"b\":\"\\u003c\\/x\"} ,\n{} ], \"z\":-0 } \n{\"items\":[]}\n[1, 2]\n7 \"x\" null";
    let masks = masks(&[Detector::Secrets, Detector::PersonalData], &[]);
    for step in [1, 3, 1000] {
        assert_eq!(run(&masks, "/api/v1/pods", body, step).unwrap(), body, "{step}");
    }
}

#[test]
fn fields_that_policies_name_are_masked_as_they_say() {
    let body = json!({"metadata": {"name": "c"}, "data": {"password": "abc", "user": "u"}, "other": {"data": {"password": "x"}}});
    let one = |type_| {
        let masks = masks(&[], &[field("configmaps", "data.password", type_)]);
        json_of(&masks, "/api/v1/namespaces/a/configmaps/c", &body)
    };
    let masked = one(MaskType::Redact);
    assert_eq!(masked["data"], json!({"password": "[MASKED:configmaps.data.password]", "user": "u"}));
    assert_eq!(masked["other"], body["other"]);
    assert_eq!(one(MaskType::Null)["data"]["password"], Value::Null);
    assert!(one(MaskType::Hash)["data"]["password"].as_str().unwrap().starts_with("hash_"));
    let masks = masks(&[], &[field("*.example.com", "spec.users.password", MaskType::Redact)]);
    let list = json!({"items": [{"spec": {"users": [{"password": "a"}, {"password": ["b"]}]}}]});
    let masked = json_of(&masks, "/apis/db.example.com/v1/clusters", &list);
    let users = &masked["items"][0]["spec"]["users"];
    assert_eq!(users[0]["password"], "[MASKED:clusters.db.example.com.spec.users.password]");
    assert_eq!(users[1]["password"][0], users[0]["password"]);
    assert!(!masks.rewrites(&info("/api/v1/pods")));
    assert!(!masks.rewrites(&info("/apis/apps/v1/deployments")));
}

#[test]
fn detectors_see_values_with_the_names_that_give_them_away() {
    let pod = json!({"spec": {"containers": [{"env": [{"name": "DB_PASSWORD", "value": PASSWORD}, {"name": "A", "value": CANARY}],
        "args": ["--password", PASSWORD, "--key", CANARY, format!("--token={CANARY}")]}]},
        "metadata": {"annotations": {"note": format!("line\nkey: {CANARY}\n"), "api-token": PASSWORD},
                     "managedFields": [{"fieldsV1": {"f:data": {format!("f:{CANARY}"): {}}}}]},
        "data": {"password": PASSWORD, "app.properties": format!("db.password={PASSWORD}\nx=1")}});
    let masks = masks(&[Detector::Secrets], &[]);
    let masked = json_of(&masks, "/api/v1/pods", &pod);
    let text = masked.to_string();
    assert!(!text.contains(CANARY) && !text.contains(PASSWORD), "{text}");
    assert_eq!(masked["spec"]["containers"][0]["env"][0]["name"], "DB_PASSWORD");
    assert_eq!(masked["spec"]["containers"][0]["args"][0], "--password");
    assert!(masked["data"]["app.properties"].as_str().unwrap().ends_with("\nx=1"), "{text}");
}

#[test]
fn escapes_do_not_hide_a_finding() {
    let masks = masks(&[Detector::Secrets], &[]);
    let escaped = CANARY.chars().fold(String::new(), |all, c| format!("{all}\\u{:04x}", u32::from(c)));
    let body = format!("{{\"a\":\"x {escaped} y\"}}");
    let masked = run(&masks, "/api/v1/pods", body.as_bytes(), 5).unwrap();
    let masked: Value = serde_json::from_slice(&masked).unwrap();
    let text = masked["a"].as_str().unwrap();
    assert!(text.starts_with("x [MASKED:") && text.ends_with(" y"), "{text}");
}

#[test]
fn errors_that_may_quote_a_masked_value_say_nothing_and_others_what_they_said() {
    let status = |reason: &str, message: &str| {
        json!({"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": 400,
               "details": {"name": "s", "causes": [{"message": message, "field": "data"}]}})
    };
    let masks = masks(&[], &[]);
    let masked = json_of(&masks, &format!("{SECRETS}/s"), &status("BadRequest", "cannot parse clear-value"));
    assert_eq!(masked["message"], "[MASKED:message]");
    assert_eq!(masked["details"]["causes"][0]["message"], "[MASKED:message]");
    assert_eq!((&masked["reason"], &masked["code"]), (&json!("BadRequest"), &json!(400)));
    for plain in [
        status("NotFound", "secrets \"s\" not found"),
        status("Forbidden", "secrets \"s\" is forbidden: User \"ada\" cannot get resource \"secrets\""),
    ] {
        assert_eq!(json_of(&masks, &format!("{SECRETS}/s"), &plain), plain);
    }
    // where no field is masked, errors are plain
    let bad = status("BadRequest", "no");
    assert_eq!(json_of(&self::masks(&[Detector::Jwt], &[]), "/api/v1/pods/p", &bad), bad);
}

#[test]
fn an_event_is_given_out_with_its_last_byte() {
    let masks = masks(&[Detector::Secrets], &[]);
    let answer = Answer { status: 200, content_type: Some("application/json"), ..Answer::default() };
    let mut masker = masks.response(&info("/api/v1/pods?watch=1"), answer).unwrap();
    for event in ["{\"type\":\"ADDED\",\"object\":{\"a\":\"}\"}}", "\n{\"type\":\"BOOKMARK\",\"object\":{}}"]
    {
        let mut out = Vec::new();
        let (last, rest) = event.as_bytes().split_last().unwrap();
        masker.push(rest, &mut out).unwrap();
        assert_eq!(out.len(), usize::from(event.starts_with('\n')));
        masker.push(&[*last], &mut out).unwrap();
        assert_eq!(out, event.as_bytes());
    }
}

#[test]
fn a_long_list_is_given_out_element_by_element() {
    let masks = masks(&[Detector::Secrets], &[]);
    let answer = Answer { status: 200, content_type: Some("application/json"), ..Answer::default() };
    let mut masker = masks.response(&info("/api/v1/pods"), answer).unwrap();
    let (mut sent, mut got, mut out) = (0, 0, Vec::new());
    let mut push = |piece: &str| {
        out.clear();
        masker.push(piece.as_bytes(), &mut out).unwrap();
        sent += piece.len();
        got += out.len();
        assert!(sent - got <= 2100, "{} bytes are held", sent - got);
    };
    push("{\"kind\":\"PodList\",\"items\":[");
    let element = format!("{{\"spec\":\"{}\"}}", "x".repeat(2000));
    for index in 0..6000 {
        push(if index == 0 { "" } else { "," });
        push(&element);
    }
    push("],\"metadata\":{}}");
    assert_eq!(sent, got);
}

#[test]
fn what_cannot_be_read_is_not_passed() {
    let masks = masks(&[Detector::Secrets], &[]);
    for body in [
        "{\"a\":",
        "{\"a\" \"b\"}",
        "{]",
        "]",
        "{\"items\":[{},]}",
        "{\"items\":[1}]}",
        "{\"items\":[]]",
        "{\"items\" [1]}",
        "{\"items\":[\"\\ud800\"]}",
        "nul",
        "{\"a\":01}",
    ] {
        assert_eq!(run(&masks, "/api/v1/pods", body.as_bytes(), 3), Err(Unmaskable::Malformed), "{body}");
    }
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    assert_eq!(run(&masks, "/api/v1/pods", deep.as_bytes(), 64), Err(Unmaskable::TooDeep));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(run(&masks, "/api/v1/pods", objects(190).as_bytes(), 64).is_ok());
    assert_eq!(run(&masks, "/api/v1/pods", objects(201).as_bytes(), 64), Err(Unmaskable::TooDeep));
    let large = format!("{{\"a\":\"{}", "x".repeat(OBJECT_LIMIT));
    assert_eq!(run(&masks, "/api/v1/pods", large.as_bytes(), 65536), Err(Unmaskable::TooLarge));
    for (content_type, content_encoding) in [
        ("application/vnd.kubernetes.protobuf", None),
        ("application/cbor", None),
        ("application/json", Some("zstd")),
    ] {
        let answer = Answer { status: 200, content_type: Some(content_type), content_encoding };
        assert_eq!(masks.response(&info("/api/v1/pods"), answer).unwrap_err().code, 502);
        // nothing to mask, nothing to read
        let none = self::masks(&[], &[]).response(&info("/api/v1/pods"), answer).unwrap();
        assert!(none.is_transparent());
    }
}

#[test]
fn representations_that_cannot_be_read_are_not_asked_for() {
    let detecting = masks(&[Detector::Secrets], &[]);
    let ask = |masks: &Masks, target: &str, accept| negotiate(&info(target), accept, masks);
    for (accept, upstream) in [
        (Some("application/vnd.kubernetes.protobuf, */*"), Some("*/*")),
        (Some("application/vnd.kubernetes.protobuf,application/json;q=0.5"), Some("application/json;q=0.5")),
        (
            Some("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
            Some("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
        ),
        (Some("application/cbor"), None),
        (Some("application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"), None),
        (None, Some("application/json")),
    ] {
        let asked = ask(&detecting, "/api/v1/pods", accept);
        assert_eq!(asked.as_ref().ok().map(String::as_str), upstream, "{accept:?}");
        assert!(asked.is_ok() || asked.is_err_and(|refused| refused.code == 406));
    }
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    assert_eq!(ask(&detecting, "/openapi/v2", Some(protobuf)).unwrap(), protobuf);
    let naming = masks(&[], &[field("*", "spec.password", MaskType::Redact)]);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    assert_eq!(ask(&naming, "/apis/example.com/v1/dbs", Some(table)).unwrap(), "application/json");
    assert_eq!(ask(&naming, "/api/v1/secrets", Some(table)).unwrap(), table);
    assert_eq!(ask(&masks(&[], &[]), "/api/v1/pods", Some(protobuf)).unwrap(), protobuf);
}

#[test]
fn a_packed_answer_is_unpacked_piece_by_piece() {
    use std::io::Write as _;
    let masks = masks(&[Detector::Secrets], &[]);
    let body = json!({"items": vec![json!({"a": CANARY, "b": "x".repeat(5000)}); 400]}).to_string();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes()).unwrap();
    let packed = gzip.finish().unwrap();
    let answer =
        Answer { status: 200, content_type: Some("application/json"), content_encoding: Some("gzip") };
    for step in [1, 100, packed.len()] {
        let mut masker = masks.response(&info("/api/v1/pods"), answer).unwrap();
        let mut out = Vec::new();
        for piece in packed.chunks(step) {
            masker.push(piece, &mut out).unwrap();
        }
        masker.finish(&mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out == body.replace(CANARY, "[MASKED:aws-access-key]"), "{} bytes", out.len());
        assert_eq!(masker.counts().total(), 400);
    }
    let mut masker = masks.response(&info("/api/v1/pods"), answer).unwrap();
    let cut = packed.len() / 2;
    let mut out = Vec::new();
    masker.push(&packed[..cut], &mut out).unwrap();
    assert_eq!(masker.finish(&mut out), Err(Unmaskable::Malformed));
}

/// JSON of any shape.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z\\\\\"/\u{1f600}\n{}\\[\\],:]{0,12}",
        Just("items".to_owned()),
        Just("rows".to_owned()),
        Just("kind".to_owned()),
        Just("Secret".to_owned()),
        Just("data".to_owned()),
        Just("object".to_owned()),
        Just(CANARY.to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_out_depends_on_the_bytes_alone_and_holds_no_canary(
        documents in prop::collection::vec(any_json(), 1..4),
        pretty: bool,
        step in 1_usize..40,
        secret: bool,
    ) {
        let masks = masks(&[Detector::Secrets], &[]);
        let written = documents.iter().map(|document| {
            if pretty { serde_json::to_string_pretty(document).unwrap() } else { document.to_string() }
        });
        let body = written.collect::<Vec<_>>().join("\n");
        let target = if secret { SECRETS } else { "/api/v1/pods" };
        let whole = run(&masks, target, body.as_bytes(), body.len()).unwrap();
        prop_assert_eq!(&run(&masks, target, body.as_bytes(), step).unwrap(), &whole);
        let text = String::from_utf8(whole.clone()).unwrap();
        prop_assert!(!text.contains(CANARY), "{}", text);
        let read: Vec<Value> =
            serde_json::Deserializer::from_slice(&whole).into_iter().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read.len(), documents.len());
        if !body.contains(CANARY) && !secret && !body.contains("Secret") {
            prop_assert_eq!(text, body);
        }
    }
}
