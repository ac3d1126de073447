//! Bodies as the Go types write them, and bytes that nobody writes.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;
use std::sync::LazyLock;

/// Every kind in both forms, written by `e2e/cluster/protobuf`. To compare others, name a file of its output in
/// `PORTCULLIS_PROTOBUF`.
static SAMPLES: LazyLock<Vec<(Vec<u8>, Value)>> = LazyLock::new(|| {
    let text = std::env::var("PORTCULLIS_PROTOBUF").map_or_else(
        |_| include_str!("../../tests/corpus/protobuf.jsonl").to_owned(),
        |file| std::fs::read_to_string(file).unwrap(),
    );
    let sample = |line: &str| {
        let (bytes, mut object): (String, Value) = serde_json::from_str(line).unwrap();
        without_null(&mut object);
        (STANDARD.decode(bytes).unwrap(), object)
    };
    text.lines().map(sample).collect()
});

/// Go writes `null` for lists that are not there; to whoever reads it that is the same.
fn without_null(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_null);
        }
        Value::Array(list) => list.iter_mut().for_each(without_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
}

fn body(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &meta), field(2, raw), field(3, b""), field(4, b"")].concat()
}

#[test]
fn every_kind_is_read_as_the_json_that_its_own_type_writes() {
    for (bytes, object) in SAMPLES.iter() {
        let mut read =
            to_json(bytes).unwrap_or_else(|why| panic!("{} {}: {why}", object["apiVersion"], object["kind"]));
        without_null(&mut read);
        assert!(read == *object, "{read}\n{object}");
    }
    assert!(SAMPLES.len() > 150, "{}", SAMPLES.len());
}

#[test]
fn a_review_and_an_eviction_are_read() {
    let attributes = [field(1, b"shop"), field(2, b"delete"), field(5, b"pods")].concat();
    let raw = [field(1, &field(8, b"")), field(2, &field(1, &attributes))].concat();
    let read = to_json(&body("authorization.k8s.io/v1", "SelfSubjectAccessReview", &raw)).unwrap();
    let asked = &read["spec"]["resourceAttributes"];
    assert_eq!(asked, &json!({"namespace": "shop", "verb": "delete", "resource": "pods"}));

    let options = [vec![1 << 3, 30], field(5, b"All")].concat();
    let raw = [field(1, &field(1, b"web")), field(2, &options)].concat();
    let read = to_json(&body("policy/v1", "Eviction", &raw)).unwrap();
    assert_eq!(read["deleteOptions"], json!({"gracePeriodSeconds": 30, "dryRun": ["All"]}));
    assert_eq!(read["metadata"]["name"], "web");
    let read = to_json(&body("example.com/v1", "DeleteOptions", &options)).unwrap();
    assert_eq!(read["dryRun"], json!(["All"]));
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let why = |bytes: &[u8]| to_json(bytes).unwrap_err().to_string();
    let unknown = why(&body("example.com/v1", "Widget", b""));
    assert!(unknown.contains("example.com/v1 Widget"), "{unknown}");
    let newer = why(&body("v1", "Pod", &field(9, b"new")));
    assert!(newer.contains("field 9 of core/v1.Pod"), "{newer}");
    let alias = why(&body("v1", "Pod\u{1b}[2J\n", b""));
    assert!(!alias.contains(['\u{1b}', '\n']), "{alias}");
}

#[test]
fn what_no_client_writes_is_refused() {
    let name = field(1, &field(1, b"web"));
    let twice_a_name = field(1, &[field(1, b"a"), field(1, b"b")].concat());
    let label = field(11, &[field(1, b"k"), field(2, b"v")].concat());
    let twice_a_label = field(1, &[label.clone(), label].concat());
    for bytes in [
        b"k8s\0\xff".to_vec(),
        b"{}".to_vec(),
        body("v1", "Pod", &[name.clone(), name].concat()),
        body("v1", "Pod", &twice_a_name),
        body("v1", "Pod", &twice_a_label),
        // a number where a text is, not UTF-8, longer than there is, a group
        body("v1", "Pod", &field(1, &[1 << 3, 5])),
        body("v1", "Pod", &field(1, &field(1, b"\xff"))),
        body("v1", "Pod", &[1 << 3 | 2, 9]),
        body("v1", "Pod", &[1 << 3 | 3]),
        // eleven bytes of one number
        body("v1", "Pod", &[0xff; 11]),
        // an encoding of what is inside
        [body("v1", "Pod", b""), field(3, b"gzip")].concat(),
        // JSON with a name twice
        body("apps/v1", "ControllerRevision", &field(2, &field(1, br#"{"a":1,"a":2}"#))),
    ] {
        assert_eq!(to_json(&bytes), Err(NotRead::Malformed), "{bytes:?}");
    }
}

#[test]
fn schemas_within_schemas_come_to_an_end() {
    let length = |bytes: &[u8]| {
        let mut out = Vec::new();
        let mut rest = bytes.len();
        while rest > 127 {
            out.push(u8::try_from(rest & 127).unwrap() | 128);
            rest >>= 7;
        }
        out.push(u8::try_from(rest).unwrap());
        out
    };
    let wrap = |tag: &[u8], bytes: &[u8]| [tag, &length(bytes), bytes].concat();
    // JSONSchemaProps.not is field 28, of two bytes
    let nested = (0..1_000).fold(Vec::new(), |inner, _| wrap(&[0xe2, 1], &inner));
    let validation = wrap(&[1 << 3 | 2], &nested);
    let version = wrap(&[4 << 3 | 2], &validation);
    let spec = wrap(&[7 << 3 | 2], &version);
    let raw = wrap(&[2 << 3 | 2], &spec);
    let meta = [field(1, b"apiextensions.k8s.io/v1"), field(2, b"CustomResourceDefinition")].concat();
    let bytes = [MAGIC.to_vec(), field(1, &meta), wrap(&[2 << 3 | 2], &raw)].concat();
    assert_eq!(to_json(&bytes), Err(NotRead::TooDeep));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _read = to_json(&[MAGIC, &bytes].concat());
        let _read = to_json(&body("v1", "Pod", bytes.get(..100).unwrap_or(&bytes)));
    }

    #[test]
    fn no_damage_makes_it_panic(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = which.get(&SAMPLES).0.clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _read = to_json(&bytes);
        let _read = to_json(&bytes[..cut.index(bytes.len())]);
    }
}
