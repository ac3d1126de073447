//! Kubernetes' protobuf, for the few bodies that every client sends so.
//!
//! Typed clients of client-go write protobuf since 1.32 unless they are told otherwise, kubectl among them: reviews of
//! oneself (`auth can-i`), evictions (`drain`), tokens (`create token`) and the options of deletes. Those are read here
//! by a table of their fields and go upstream as the JSON that was judged. A type or field that is not in the table is
//! not understood, and the body is refused by whoever asked.
//!
//! Envelope: <https://kubernetes.io/docs/reference/using-api/api-concepts/#kubernetes-protobuf-encoding>; fields: the
//! `generated.proto` of `k8s.io/api` and `k8s.io/apimachinery`.

use serde_json::{Map, Value, json};

/// What a protobuf body is sent as.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";
/// Deepest message; the types of the table need five.
const DEPTH: usize = 8;

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Truth,
    Message(&'static [Field]),
    /// A map of texts.
    Texts,
}

/// A field: its number, its name in JSON, what it holds, and whether it repeats.
type Field = (u64, &'static str, Kind, bool);

const PRECONDITIONS: &[Field] = &[(1, "uid", Kind::Text, false), (2, "resourceVersion", Kind::Text, false)];
const DELETE_OPTIONS: &[Field] = &[
    (1, "gracePeriodSeconds", Kind::Number, false),
    (2, "preconditions", Kind::Message(PRECONDITIONS), false),
    (3, "orphanDependents", Kind::Truth, false),
    (4, "propagationPolicy", Kind::Text, false),
    (5, "dryRun", Kind::Text, true),
    (6, "ignoreStoreReadErrorWithClusterBreakingPotential", Kind::Truth, false),
];
const NO_TIME: &[Field] = &[];
const META: &[Field] = &[
    (1, "name", Kind::Text, false),
    (2, "generateName", Kind::Text, false),
    (3, "namespace", Kind::Text, false),
    (4, "selfLink", Kind::Text, false),
    (5, "uid", Kind::Text, false),
    (6, "resourceVersion", Kind::Text, false),
    (7, "generation", Kind::Number, false),
    // clients send the time of creation empty
    (8, "creationTimestamp", Kind::Message(NO_TIME), false),
    (11, "labels", Kind::Texts, false),
    (12, "annotations", Kind::Texts, false),
    (14, "finalizers", Kind::Text, true),
];
const REQUIREMENT: &[Field] =
    &[(1, "key", Kind::Text, false), (2, "operator", Kind::Text, false), (3, "values", Kind::Text, true)];
const SELECTOR: &[Field] =
    &[(1, "rawSelector", Kind::Text, false), (2, "requirements", Kind::Message(REQUIREMENT), true)];
const RESOURCE: &[Field] = &[
    (1, "namespace", Kind::Text, false),
    (2, "verb", Kind::Text, false),
    (3, "group", Kind::Text, false),
    (4, "version", Kind::Text, false),
    (5, "resource", Kind::Text, false),
    (6, "subresource", Kind::Text, false),
    (7, "name", Kind::Text, false),
    (8, "fieldSelector", Kind::Message(SELECTOR), false),
    (9, "labelSelector", Kind::Message(SELECTOR), false),
];
const NON_RESOURCE: &[Field] = &[(1, "path", Kind::Text, false), (2, "verb", Kind::Text, false)];
const ACCESS_SPEC: &[Field] = &[
    (1, "resourceAttributes", Kind::Message(RESOURCE), false),
    (2, "nonResourceAttributes", Kind::Message(NON_RESOURCE), false),
];
const ACCESS_STATUS: &[Field] = &[
    (1, "allowed", Kind::Truth, false),
    (2, "reason", Kind::Text, false),
    (3, "evaluationError", Kind::Text, false),
    (4, "denied", Kind::Truth, false),
];
const ACCESS_REVIEW: &[Field] = &[
    (1, "metadata", Kind::Message(META), false),
    (2, "spec", Kind::Message(ACCESS_SPEC), false),
    (3, "status", Kind::Message(ACCESS_STATUS), false),
];
const RULES_SPEC: &[Field] = &[(1, "namespace", Kind::Text, false)];
const RULES_STATUS: &[Field] = &[(3, "incomplete", Kind::Truth, false)];
const RULES_REVIEW: &[Field] = &[
    (1, "metadata", Kind::Message(META), false),
    (2, "spec", Kind::Message(RULES_SPEC), false),
    (3, "status", Kind::Message(RULES_STATUS), false),
];
const USER_INFO: &[Field] = &[(1, "username", Kind::Text, false)];
const SUBJECT_STATUS: &[Field] = &[(1, "userInfo", Kind::Message(USER_INFO), false)];
const SUBJECT_REVIEW: &[Field] =
    &[(1, "metadata", Kind::Message(META), false), (2, "status", Kind::Message(SUBJECT_STATUS), false)];
const EVICTION: &[Field] = &[
    (1, "metadata", Kind::Message(META), false),
    (2, "deleteOptions", Kind::Message(DELETE_OPTIONS), false),
];
const BOUND: &[Field] = &[
    (1, "kind", Kind::Text, false),
    (2, "apiVersion", Kind::Text, false),
    (3, "name", Kind::Text, false),
    (4, "uid", Kind::Text, false),
];
const TOKEN_SPEC: &[Field] = &[
    (1, "audiences", Kind::Text, true),
    (3, "boundObjectRef", Kind::Message(BOUND), false),
    (4, "expirationSeconds", Kind::Number, false),
];
const TOKEN_STATUS: &[Field] =
    &[(1, "token", Kind::Text, false), (2, "expirationTimestamp", Kind::Message(NO_TIME), false)];
const TOKEN: &[Field] = &[
    (1, "metadata", Kind::Message(META), false),
    (2, "spec", Kind::Message(TOKEN_SPEC), false),
    (3, "status", Kind::Message(TOKEN_STATUS), false),
];

/// The JSON of a body. `None`: a type or field that is not known here, or no protobuf at all.
pub(crate) fn to_json(body: &[u8]) -> Option<Value> {
    let envelope = fields(body.strip_prefix(MAGIC)?)?;
    let mut kind = (String::new(), String::new());
    let mut raw: &[u8] = &[];
    for (number, content) in envelope {
        match (number, content) {
            (1, Content::Bytes(bytes)) => {
                for (number, content) in fields(bytes)? {
                    match (number, content) {
                        (1, Content::Bytes(text)) => kind.0 = String::from_utf8(text.to_vec()).ok()?,
                        (2, Content::Bytes(text)) => kind.1 = String::from_utf8(text.to_vec()).ok()?,
                        _ => return None,
                    }
                }
            }
            (2, Content::Bytes(bytes)) => raw = bytes,
            // the encoding and type of what is inside: only the default is sent
            (3 | 4, Content::Bytes([])) => {}
            _ => return None,
        }
    }
    let (version, kind) = kind;
    let table = match (version.as_str(), kind.as_str()) {
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => ACCESS_REVIEW,
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => RULES_REVIEW,
        ("authentication.k8s.io/v1", "SelfSubjectReview") => SUBJECT_REVIEW,
        ("authentication.k8s.io/v1", "TokenRequest") => TOKEN,
        ("policy/v1" | "policy/v1beta1", "Eviction") => EVICTION,
        (_, "DeleteOptions") => DELETE_OPTIONS,
        _ => return None,
    };
    let mut object = message(raw, table, 0)?;
    object.insert("apiVersion".to_owned(), version.into());
    object.insert("kind".to_owned(), kind.into());
    Some(Value::Object(object))
}

fn message(bytes: &[u8], table: &[Field], depth: usize) -> Option<Map<String, Value>> {
    if depth > DEPTH {
        return None;
    }
    let mut object = Map::new();
    for (number, content) in fields(bytes)? {
        let (_, name, kind, repeats) = table.iter().find(|field| field.0 == number)?;
        match (kind, content) {
            (Kind::Texts, Content::Bytes(bytes)) => {
                let entry = object.entry(*name).or_insert_with(|| json!({})).as_object_mut()?;
                let (key, value) = pair(bytes)?;
                entry.insert(key, value.into());
            }
            (Kind::Message([]), Content::Bytes([])) => {}
            (kind, content) => {
                let value = value(*kind, content, depth)?;
                if *repeats {
                    object.entry(*name).or_insert_with(|| json!([])).as_array_mut()?.push(value);
                } else {
                    // empty texts are how absent ones are sent
                    if value != "" {
                        object.insert((*name).to_owned(), value);
                    }
                }
            }
        }
    }
    Some(object)
}

fn value(kind: Kind, content: Content<'_>, depth: usize) -> Option<Value> {
    match (kind, content) {
        (Kind::Text, Content::Bytes(bytes)) => String::from_utf8(bytes.to_vec()).ok().map(Value::from),
        // int64 in two's complement
        (Kind::Number, Content::Number(number)) => Some(number.cast_signed().into()),
        (Kind::Truth, Content::Number(number)) => Some((number != 0).into()),
        (Kind::Message(table), Content::Bytes(bytes)) => {
            message(bytes, table, depth.saturating_add(1)).map(Value::Object)
        }
        _ => None,
    }
}

fn pair(bytes: &[u8]) -> Option<(String, String)> {
    let (mut key, mut value) = (String::new(), String::new());
    for (number, content) in fields(bytes)? {
        match (number, content) {
            (1, Content::Bytes(text)) => key = String::from_utf8(text.to_vec()).ok()?,
            (2, Content::Bytes(text)) => value = String::from_utf8(text.to_vec()).ok()?,
            _ => return None,
        }
    }
    Some((key, value))
}

/// What a field has on the wire.
#[derive(Clone, Copy)]
enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Fields of a message. Kubernetes has no fixed-width fields in these types.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Content<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (tag, rest) = varint(bytes)?;
        match tag & 7 {
            0 => {
                let (number, rest) = varint(rest)?;
                fields.push((tag >> 3, Content::Number(number)));
                bytes = rest;
            }
            2 => {
                let (length, rest) = varint(rest)?;
                let (content, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                fields.push((tag >> 3, Content::Bytes(content)));
                bytes = rest;
            }
            _ => return None,
        }
    }
    Some(fields)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        let shift = u32::try_from(index).ok()?.checked_mul(7)?;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(index.saturating_add(1)..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn body(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &meta), field(2, raw), field(3, b""), field(4, b"")].concat()
    }

    #[test]
    fn a_review_is_read() {
        let attributes = [field(1, b"shop"), field(2, b"delete"), field(5, b"pods")].concat();
        let raw = [field(1, &field(8, b"")), field(2, &field(1, &attributes))].concat();
        let read = to_json(&body("authorization.k8s.io/v1", "SelfSubjectAccessReview", &raw)).unwrap();
        let asked = &read["spec"]["resourceAttributes"];
        assert_eq!(asked, &json!({"namespace": "shop", "verb": "delete", "resource": "pods"}));
        assert_eq!(read["kind"], "SelfSubjectAccessReview");
    }

    #[test]
    fn an_eviction_keeps_its_options() {
        let options = [vec![1 << 3, 30], field(5, b"All")].concat();
        let raw = [field(1, &field(1, b"web")), field(2, &options)].concat();
        let read = to_json(&body("policy/v1", "Eviction", &raw)).unwrap();
        assert_eq!(read["deleteOptions"], json!({"gracePeriodSeconds": 30, "dryRun": ["All"]}));
        assert_eq!(read["metadata"]["name"], "web");
    }

    #[test]
    fn what_is_not_known_is_not_understood() {
        assert!(to_json(&body("v1", "Pod", b"")).is_none());
        assert!(to_json(&body("policy/v1", "Eviction", &field(9, b"new"))).is_none());
        assert!(to_json(b"k8s\0\xff").is_none());
        assert!(to_json(b"{}").is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            to_json(&[MAGIC, &bytes].concat());
            to_json(&body("policy/v1", "Eviction", bytes.get(..100).unwrap_or(&bytes)));
        }
    }
}
