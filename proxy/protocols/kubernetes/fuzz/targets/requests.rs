//! Requests: whatever a client writes, what goes upstream is what was judged.
//!
//! The first line is a method and a target, what follows is the body; the first byte chooses the body's type.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy_core::mask::Masker;
use proxy_kubernetes::analyze::{Body, Forward, analyze, is_open, reads_body};
use proxy_kubernetes::mask::Masks;
use proxy_kubernetes::request::RequestInfo;
use proxy_policy::{Detector, DetectorChoice, Effects, FieldChoice, Mask};
use std::sync::LazyLock;

/// No detector knows it: only fields can hide it.
const CANARY: &str = "canary-of-the-field";

static MASKS: LazyLock<Masks> = LazyLock::new(|| {
    let choice =
        DetectorChoice { detectors: vec![Detector::Secrets], patterns: Vec::new(), with: Mask::default() };
    let field = FieldChoice {
        resources: vec!["configmaps".to_owned()],
        paths: vec!["data.password".to_owned()],
        with: Mask::default(),
    };
    Masks::new(Masker::new(&[choice], &[7; 32]), &[field])
});

const TYPES: [&str; 8] = [
    "application/json",
    "application/yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
    "",
];

fuzz_target!(|input: &[u8]| {
    let Some((&choice, input)) = input.split_first() else { return };
    let (line, body) = match input.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, &[][..]),
    };
    let Ok(line) = std::str::from_utf8(line) else { return };
    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
    let Ok(info) = RequestInfo::read(method, target) else { return };
    canonical(method, &info);
    let body = if reads_body(&info) { body } else { &[] };
    let content_type = TYPES[usize::from(choice) % TYPES.len()];
    let Ok(analysis) = analyze(&info, Body { content_type: Some(content_type), bytes: body }, &MASKS) else {
        return;
    };
    let Effects::Known(touches) = &analysis.command.reading.effects else { panic!("nothing is unknown") };
    assert_eq!(touches.is_empty(), is_open(&info), "{info}");
    let own = touches.first().and_then(|touch| touch.detail.request());
    assert!(own.is_none_or(|own| own.verb == info.rbac_verb() && own.resource == info.resource), "{info}");
    forwarded(&info, &analysis.forward, content_type);
    written_to_secret(&info, body, &analysis.command.reading.masked_text);
});

/// What goes upstream is read as the same request, and in no other way.
fn canonical(method: &str, info: &RequestInfo) {
    let canonical = info.canonical();
    let again = RequestInfo::read(method, &canonical).expect("the canonical form is accepted");
    assert_eq!(again.canonical(), canonical);
    let path = again.path.trim_end_matches('/');
    assert_eq!(path, info.path.trim_end_matches('/'));
    assert_eq!(RequestInfo { path: info.path.clone(), ..again }, *info);
    let path = canonical.split('?').next().unwrap_or_default();
    assert!(path.starts_with('/') && !path.contains("//") && !path.contains("/../"), "{canonical}");
    let lower = path.to_ascii_lowercase();
    assert!(canonical.is_ascii() && !lower.contains("%2f") && !lower.contains("%25"), "{canonical}");
}

/// What stands in place of a body means what the body was judged to mean.
fn forwarded(info: &RequestInfo, forward: &Forward, was: &str) {
    let Forward::Replaced { content_type, bytes } = forward else { return };
    assert!(was.ends_with("yaml") || was.ends_with("protobuf") || was.ends_with("/merge-patch+json"));
    let body = Body { content_type: Some(content_type), bytes };
    let again = analyze(info, body, &MASKS).expect("what goes upstream is understood");
    assert_eq!(again.forward, Forward::AsSent);
}

/// A canary that is a value of a Secret is not in what is recorded.
fn written_to_secret(info: &RequestInfo, body: &[u8], recorded: &str) {
    let is_secret = info.resource == "secrets" && info.group.is_empty();
    let Ok(object) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    let holds = |field: &str| {
        let values = object.get(field).and_then(|values| values.as_object());
        values.is_some_and(|values| values.values().any(|value| value == CANARY))
    };
    if is_secret
        && (holds("data") || holds("stringData"))
        && body.windows(CANARY.len()).filter(|part| *part == CANARY.as_bytes()).count() == 1
    {
        assert!(!recorded.contains(CANARY), "{recorded}");
    }
}
