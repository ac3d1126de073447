//! The corpus of answers that carry secrets, in every shape, every encoding and cut everywhere.

use flate2::{Compression, write::GzEncoder};
use proxy_core::mask::Masker;
use proxy_kubernetes::mask::{Answer, Masks, Unmaskable, negotiate};
use proxy_kubernetes::request::RequestInfo;
use proxy_policy::{Detector, DetectorChoice, FieldChoice, Mask};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;

const CLEAR: &str = "canary-of-the-field";
const BASE64: &str = "Y2FuYXJ5LW9mLXRoZS1maWVsZA==";
const FOUND: &str = "AKIAZ7QXWERTYUIOPLKJ";
const PASS: &str = "Hq7-vvKz81xRtLm4";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    objects: BTreeMap<String, Object>,
    reads: Vec<Read>,
    errors: Vec<Failure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    path: String,
    object: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    name: String,
    request: String,
    of: String,
    shape: String,
    accept: Option<String>,
    upstream: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    name: String,
    request: String,
    message: String,
    reason: String,
    code: u16,
    kept: bool,
}

fn corpus() -> Corpus {
    let text = include_str!("../corpus/reads.yaml");
    let text = [("CLEAR", CLEAR), ("BASE64", BASE64), ("FOUND", FOUND), ("PASS", PASS)].iter().fold(
        text.to_owned(),
        |text, (word, value)| {
            // not within names such as DB_PASSWORD
            text.replace(&format!("{word}@"), &format!("{value}@"))
                .split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .map(|part| match part.strip_prefix(word) {
                    Some(rest) if !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') => {
                        format!("{value}{rest}")
                    }
                    Some(_) | None => part.to_owned(),
                })
                .collect()
        },
    );
    serde_saphyr::from_str(&text).unwrap()
}

fn masks() -> Masks {
    let choice =
        DetectorChoice { detectors: vec![Detector::Secrets], patterns: Vec::new(), with: Mask::default() };
    let fields = |resource: &str, path: &str| FieldChoice {
        resources: vec![resource.to_owned()],
        paths: vec![path.to_owned()],
        with: Mask::default(),
    };
    let fields = [fields("configmaps", "data.password"), fields("databases.example.com", "spec.*password")];
    Masks::new(Masker::new(&[choice], &[1; 32]), &fields)
}

const SHAPES: [&str; 9] = [
    "object",
    "list",
    "listSorted",
    "table",
    "tableObject",
    "metadata",
    "metadataList",
    "watch",
    "watchTable",
];

/// The documents of an answer in which an object comes.
fn shaped(object: &Value, shape: &str) -> Vec<Value> {
    let metadata = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]});
    let table = |object: &Value| {
        json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "1"},
            "columnDefinitions": [{"name": "Name", "type": "string"}],
            "rows": [{"cells": ["keep-me", "Opaque", 3, "2d"], "object": object}, {"cells": ["keep-me"], "object": null}]})
    };
    let event = |type_: &str, object: &Value| json!({"type": type_, "object": object});
    match shape {
        "object" => vec![object.clone()],
        "list" => {
            vec![json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": [object, object]})]
        }
        "listSorted" => vec![json!({"apiVersion": "v1", "items": [object], "kind": "List", "metadata": {}})],
        "table" => vec![table(&metadata)],
        "tableObject" => vec![table(object)],
        "metadata" => vec![metadata],
        "metadataList" => vec![json!({"kind": "PartialObjectMetadataList", "items": [metadata]})],
        "watch" => vec![event("ADDED", object), event("BOOKMARK", &metadata), event("DELETED", object)],
        "watchTable" => vec![event("ADDED", &table(object))],
        _ => panic!("no shape {shape}"),
    }
}

fn info(request: &str, base: &str) -> RequestInfo {
    let (method, rest) = request.split_once(' ').unwrap_or((request, ""));
    RequestInfo::read(method, &format!("{base}{rest}")).unwrap()
}

fn run(info: &RequestInfo, answer: Answer<'_>, body: &[u8], step: usize) -> Result<String, Unmaskable> {
    let mut masker = masks().response(info, answer).unwrap();
    let mut out = Vec::new();
    for piece in body.chunks(step) {
        masker.push(piece, &mut out)?;
    }
    masker.finish(&mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(body).unwrap();
    gzip.finish().unwrap()
}

/// Checks documents in every encoding; how many answers that were.
fn check(name: &str, info: &RequestInfo, documents: &[Value], is_stream: bool) -> usize {
    let compact = documents.iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\n";
    let pretty: String =
        documents.iter().map(|document| serde_json::to_string_pretty(document).unwrap()).collect();
    let escaped = compact.replace("AKIA", "\\u0041KI\\u0041").replace("canary", "c\\u0061nary");
    let packed = gzip(compact.as_bytes());
    let json = Answer { status: 200, content_type: Some("application/json"), content_encoding: None };
    let mut answers = vec![
        (json, compact.clone().into_bytes()),
        (json, pretty.into_bytes()),
        (json, escaped.into_bytes()),
        (
            Answer { content_type: Some("application/json;stream=watch"), ..json },
            compact.clone().into_bytes(),
        ),
        (Answer { content_encoding: Some("gzip"), ..json }, packed),
    ];
    if let ([document], false) = (documents, is_stream) {
        let yaml = serde_saphyr::to_string(document).unwrap();
        let type_ = Answer { content_type: Some("application/yaml"), ..json };
        answers.push((type_, yaml.clone().into_bytes()));
        answers.push((Answer { content_encoding: Some("gzip"), ..type_ }, gzip(yaml.as_bytes())));
    }
    for (answer, body) in &answers {
        let whole = run(info, *answer, body, body.len()).unwrap();
        for canary in [CLEAR, BASE64, FOUND, PASS, "hunter2"] {
            assert!(!whole.contains(canary), "{name} {answer:?}: {canary} in\n{whole}");
        }
        assert!(whole.contains("keep-me"), "{name} {answer:?}:\n{whole}");
        for step in [1, 13, 500] {
            assert_eq!(
                run(info, *answer, body, step).unwrap(),
                whole,
                "{name} {answer:?} in pieces of {step}"
            );
        }
    }
    answers.len()
}

#[test]
fn no_shape_and_no_encoding_of_an_answer_carries_a_canary() {
    let corpus = corpus();
    let mut answers = 0;
    for (name, object) in &corpus.objects {
        let raw = object.object.to_string();
        assert!([CLEAR, BASE64, FOUND, PASS].iter().any(|canary| raw.contains(canary)), "{name}: {raw}");
        for shape in SHAPES {
            let request = if shape.starts_with("watch") { "GET ?watch=1" } else { "GET" };
            let documents = shaped(&object.object, shape);
            let name = format!("{name} as {shape}");
            answers += check(&name, &info(request, &object.path), &documents, shape.starts_with("watch"));
        }
    }
    println!("{answers} answers, each whole and in pieces of 1, 13 and 500 bytes");
}

#[test]
fn every_read_of_the_catalogue_is_masked_or_not_asked_for() {
    let corpus = corpus();
    for read in &corpus.reads {
        let object = &corpus.objects[&read.of];
        let base = match read.name.as_str() {
            "K15 WATCH the old way" => object.path.replace("/api/v1/", "/api/v1/watch/"),
            _ => object.path.clone(),
        };
        let info = info(&read.request, &base);
        let asked = negotiate(&info, read.accept.as_deref(), &masks());
        match read.upstream.as_deref() {
            Some("none") => {
                assert_eq!(asked.unwrap_err().code, 406, "{}", read.name);
                continue;
            }
            Some(expected) => assert_eq!(asked.unwrap(), expected, "{}", read.name),
            None => assert_eq!(
                asked.unwrap(),
                read.accept.as_deref().unwrap_or("application/json"),
                "{}",
                read.name
            ),
        }
        check(&read.name, &info, &shaped(&object.object, &read.shape), read.shape.starts_with("watch"));
    }
}

#[test]
fn errors_about_secrets_say_what_cannot_be_a_value() {
    let corpus = corpus();
    for failure in &corpus.errors {
        let info = info(&failure.request, "/api/v1/namespaces/shop/secrets");
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": failure.message, "reason": failure.reason, "code": failure.code,
            "details": {"name": "keep-me", "kind": "secrets", "causes": [{"reason": "x", "message": failure.message}]}});
        let answer =
            Answer { status: failure.code, content_type: Some("application/json"), content_encoding: None };
        for body in [status.to_string(), json!({"type": "ERROR", "object": status}).to_string()] {
            let masked = run(&info, answer, body.as_bytes(), 10).unwrap();
            assert!(!masked.contains(CLEAR), "{}: {masked}", failure.name);
            assert!(
                masked.contains("keep-me") && masked.contains(&failure.reason),
                "{}: {masked}",
                failure.name
            );
            assert_eq!(masked == body, failure.kept, "{}: {masked}", failure.name);
        }
    }
}

#[test]
fn logs_are_masked_line_by_line_as_they_come() {
    let info = info("GET /web/log?follow=true", "/api/v1/namespaces/shop/pods");
    let answer = Answer { status: 200, content_type: Some("text/plain"), content_encoding: None };
    let mut masker = masks().response(&info, answer).unwrap();
    let mut out = Vec::new();
    masker.push(format!("keep-me\nkey={FOUND}").as_bytes(), &mut out).unwrap();
    assert_eq!(out, b"keep-me\n");
    masker.push(b"\nlast", &mut out).unwrap();
    masker.finish(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains(FOUND) && text.ends_with("\nlast"), "{text}");
    assert_eq!(masker.counts().total(), 1);
}

#[test]
fn what_is_behind_a_proxy_is_searched_as_text() {
    let info = info("GET /web/proxy/config", "/api/v1/namespaces/shop/services");
    for content_type in
        ["application/json", "text/html", "application/octet-stream", "application/vnd.kubernetes.protobuf"]
    {
        let answer = Answer { status: 200, content_type: Some(content_type), content_encoding: None };
        let body = format!("<keep-me> {FOUND} </x>");
        let masked = run(&info, answer, body.as_bytes(), 3).unwrap();
        assert!(!masked.contains(FOUND) && masked.contains("keep-me"), "{masked}");
    }
}
