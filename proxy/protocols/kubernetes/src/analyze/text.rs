//! The words of a request for records, lists and digests.

use super::body::{Form, Read};
use crate::mask::Masks;
use crate::request::RequestInfo;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Resources that the name of an operation may contain; others would make lists and metrics grow without bound.
const KNOWN: [&str; 40] = [
    "bindings",
    "certificatesigningrequests",
    "clusterrolebindings",
    "clusterroles",
    "configmaps",
    "controllerrevisions",
    "cronjobs",
    "csidrivers",
    "customresourcedefinitions",
    "daemonsets",
    "deployments",
    "endpoints",
    "endpointslices",
    "events",
    "horizontalpodautoscalers",
    "ingresses",
    "jobs",
    "leases",
    "limitranges",
    "mutatingwebhookconfigurations",
    "namespaces",
    "networkpolicies",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "poddisruptionbudgets",
    "pods",
    "podtemplates",
    "priorityclasses",
    "replicasets",
    "replicationcontrollers",
    "resourcequotas",
    "rolebindings",
    "roles",
    "secrets",
    "serviceaccounts",
    "services",
    "statefulsets",
    "storageclasses",
    "validatingwebhookconfigurations",
];
const KNOWN_SUBRESOURCES: [&str; 13] = [
    "approval",
    "attach",
    "binding",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "finalize",
    "log",
    "portforward",
    "proxy",
    "scale",
    "status",
    "token",
];

/// Decides whose fields server-side apply takes away.
const MANAGER: &str = "fieldManager";
/// Parameters that do not change what a request does.
const INCIDENTAL: [&str; 7] = [
    MANAGER,
    "fieldValidation",
    "pretty",
    "resourceVersion",
    "resourceVersionMatch",
    "timeout",
    "timeoutSeconds",
];
/// What the server or a clock writes into objects: where, and what. Not the `uid`: another one is another object under
/// the name, and where the body is a patch nothing else may tell them apart (a signing request that is approved).
const VOLATILE: [(&[&str], &[&str]); 2] = [
    (&["metadata"], &["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink"]),
    (&["spec", "template", "metadata", "annotations"], &["kubectl.kubernetes.io/restartedAt"]),
];

/// A short name from a bounded vocabulary: `list pods`, `create pods/exec`, `get other`, `get path`.
pub(super) fn operation(info: &RequestInfo) -> String {
    let mut out = info.rbac_verb().to_owned();
    if !info.is_resource {
        out.push_str(" path");
        return out;
    }
    let known = |name: &str, known: &[&'static str]| known.iter().find(|known| **known == name).copied();
    write_all(&mut out, &[" ", known(&info.resource, &KNOWN).unwrap_or("other")]);
    if !info.subresource.is_empty() {
        write_all(&mut out, &["/", known(&info.subresource, &KNOWN_SUBRESOURCES).unwrap_or("other")]);
    }
    out
}

fn write_all(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

/// What goes upstream, for the digest of the exact command. Holds secrets.
pub(super) fn exact(info: &RequestInfo, body: super::Body<'_>) -> String {
    let mut out = format!("{} {}", info.method.as_str(), info.canonical());
    if !body.bytes.is_empty() {
        write_all(&mut out, &["\n", body.content_type.unwrap_or_default(), "\n"]);
        out.push_str(&String::from_utf8_lossy(body.bytes));
    }
    out
}

/// What was sent, for people: parameters decoded, values masked, the masked body behind them.
pub(super) fn masked(info: &RequestInfo, masks: &Masks, body: Option<&str>) -> String {
    let mut out = format!("{} {}", info.method.as_str(), masks.text(&info.path));
    let plain = info.query.iter().filter(|(name, _)| name != "command");
    for (at, (name, value)) in plain.enumerate() {
        let value = masks.value(name, value);
        write_all(&mut out, &[if at == 0 { "?" } else { "&" }, &printable(name), "=", &printable(&value)]);
    }
    let mut before = "";
    for (at, word) in info.parameters("command").enumerate() {
        let shown = masks.value(before, word);
        write_all(&mut out, &[if at == 0 { " -- " } else { " " }, &quoted(&shown)]);
        before = word;
    }
    if let Some(body) = body {
        write_all(&mut out, &["\n", body]);
    }
    out
}

/// Control characters are shown, not meant.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A word as a shell would need it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| {
        c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '=' | ',' | '@' | '%' | '+')
    };
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", printable(word).replace('\'', r"'\''"))
}

/// The effect in canonical form: the same for a repetition that a clock or another client wrote. Bodies are digested.
pub(super) fn canonical(info: &RequestInfo, read: Option<&Read>, sent: super::Body<'_>) -> String {
    let applies = read.is_some_and(|read| read.form == Form::Apply);
    let counts = |name: &str| !INCIDENTAL.contains(&name) || (applies && name == MANAGER);
    let mut query: Vec<_> = info.query.iter().filter(|(name, _)| counts(name)).collect();
    // the order of the words of a command line matters; a stable sort keeps it
    query.sort_by(|a, b| a.0.cmp(&b.0));
    let mut out = format!("{} {}", info.rbac_verb(), info.path.trim_end_matches('/'));
    for (name, value) in query {
        write_all(&mut out, &["\n", name, "="]);
        // a line end in a value must not look like the next parameter
        out.push_str(&value.escape_default().to_string());
    }
    // writing to a String cannot fail
    if let Some(read) = read {
        let mut body = String::new();
        steady(&read.value, &mut Vec::new(), &mut body);
        let _written =
            write!(out, "\n\n{:?} {}", read.form, const_hex::encode(Sha256::digest(body.as_bytes())));
    } else if !sent.bytes.is_empty() {
        let _written = write!(
            out,
            "\n\n{} {}",
            sent.content_type.unwrap_or_default().escape_default(),
            const_hex::encode(Sha256::digest(sent.bytes))
        );
    }
    out
}

/// JSON with its names sorted and without what changes by itself; `path` is where it stands.
fn steady<'a>(value: &'a Value, path: &mut Vec<&'a str>, out: &mut String) {
    match value {
        Value::Object(map) => {
            let volatile =
                VOLATILE.iter().find(|(place, _)| place == path).map_or(&[][..], |(_, names)| names);
            let mut members: Vec<_> =
                map.iter().filter(|(name, _)| !volatile.contains(&name.as_str())).collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (name, value) in members {
                let _written = write!(out, "{}:", Value::from(name.as_str()));
                path.push(name);
                steady(value, path, out);
                path.pop();
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(list) => {
            out.push('[');
            // below a list is no place of an object's own
            path.push("[]");
            for element in list {
                steady(element, path, out);
                out.push(',');
            }
            path.pop();
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _written = write!(out, "{value}");
        }
    }
}
