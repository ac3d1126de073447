//! Answers in JSON: what comes out does not depend on how they were cut, is what `serde_json` reads, and holds no
//! finding and no value of a Secret.
//!
//! The first byte chooses the resource, the second where the answer is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_core::mask::{MaskCounts, Masker};
use proxy_kubernetes::mask::{Answer, Masks, Unmaskable};
use proxy_kubernetes::request::RequestInfo;
use proxy_policy::{Detector, DetectorChoice, FieldChoice, Mask};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Nesting that the masker takes, less what a list adds.
const DEPTH: usize = 120;

static MASKER: LazyLock<Masker> = LazyLock::new(|| {
    let choice =
        DetectorChoice { detectors: vec![Detector::Secrets], patterns: Vec::new(), with: Mask::default() };
    Masker::new(&[choice], &[7; 32])
});

static MASKS: LazyLock<Masks> = LazyLock::new(|| {
    let field = FieldChoice {
        resources: vec!["configmaps".to_owned()],
        paths: vec!["data.password".to_owned()],
        with: Mask::default(),
    };
    Masks::new(MASKER.clone(), &[field])
});

const TARGETS: [&str; 4] =
    ["/api/v1/pods", "/api/v1/secrets", "/api/v1/namespaces/a/configmaps/b", "/api/v1/secrets?watch=1"];

fuzz_target!(|input: &[u8]| {
    let [target, step, body @ ..] = input else { return };
    let target = TARGETS[usize::from(*target) % TARGETS.len()];
    let whole = run(target, body, body.len().max(1));
    let pieces = run(target, body, usize::from(*step).max(1));
    assert_eq!(whole.is_ok(), pieces.is_ok(), "{whole:?} {pieces:?}");
    let documents: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(body).into_iter().collect();
    let Ok(out) = whole else {
        let separated = documents.as_ref().is_ok_and(|documents| documents.len() == 1);
        assert!(!separated || body.iter().filter(|b| matches!(b, b'{' | b'[')).count() > DEPTH, "{body:?}");
        return;
    };
    assert_eq!(Ok(&out), pieces.as_ref());
    let Ok(documents) = documents else { return };
    let masked: Vec<Value> =
        serde_json::Deserializer::from_slice(&out).into_iter().collect::<Result<_, _>>().expect("JSON");
    assert_eq!(masked.len(), documents.len());
    masked.iter().for_each(clean);
    if target.starts_with("/api/v1/secrets") {
        for (before, after) in documents.iter().zip(&masked) {
            hidden(before, after);
            hidden(&before["object"], &after["object"]);
            for (before, after) in list(before).iter().zip(list(after)) {
                hidden(before, after);
            }
        }
    }
});

fn run(target: &str, body: &[u8], step: usize) -> Result<Vec<u8>, Unmaskable> {
    let info = RequestInfo::read("GET", target).expect("a request");
    let answer = Answer { status: 200, content_type: Some("application/json"), content_encoding: None };
    let mut masker = MASKS.response(&info, answer).expect("JSON is masked");
    let mut out = Vec::new();
    for piece in body.chunks(step) {
        masker.push(piece, &mut out)?;
    }
    masker.finish(&mut out)?;
    Ok(out)
}

fn list(value: &Value) -> &[Value] {
    value["items"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// No text holds a finding.
fn clean(value: &Value) {
    let check = |text: &str| {
        let again = MASKER.text(text.as_bytes(), &mut MaskCounts::default()).into_owned();
        assert!(
            matches!(MASKER.text(text.as_bytes(), &mut MaskCounts::default()), Cow::Borrowed(_)),
            "{text:?} {again:?}"
        );
    };
    match value {
        Value::String(text) => check(text),
        Value::Array(list) => list.iter().for_each(clean),
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            if name != "kubectl.kubernetes.io/last-applied-configuration" {
                check(name);
                clean(value);
            }
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The values of a Secret are not what they were.
fn hidden(before: &Value, after: &Value) {
    let Some(values) = before["data"].as_object() else { return };
    for (name, value) in values {
        // a name that was itself a finding is another now
        let Some(masked) = after["data"].get(name) else { continue };
        match value {
            Value::String(_) => assert_eq!(masked, "W01BU0tFRDpzZWNyZXRzLmRhdGFd", "{before}"),
            Value::Number(_) | Value::Bool(_) => assert!(masked.is_null(), "{before}"),
            Value::Null | Value::Array(_) | Value::Object(_) => {}
        }
    }
}
