//! What a request does: itself first, then what it brings about.
//!
//! Rules are about every touch: a `Deny` of any of them refuses, and all must be allowed. So whoever may evict pods
//! must be allowed to delete them, and a `Deny` of `delete` holds against whatever deletes.

use super::body::{Form, Read};
use super::fields::{Touched, segments};
use super::known::Known;
use super::programs;
use crate::request::RequestInfo;
use proxy_policy::{Access, ApiRequest, Detail, Runs, Touch};
use std::sync::Arc;

/// RBAC's verbs, and the methods of other paths.
const VERBS: [&str; 19] = [
    "approve",
    "bind",
    "create",
    "delete",
    "deletecollection",
    "escalate",
    "get",
    "head",
    "impersonate",
    "list",
    "patch",
    "post",
    "proxy",
    "put",
    "sign",
    "update",
    "use",
    "watch",
    "*",
];

/// Verbs that leave things as they are.
const READS: [&str; 4] = ["get", "head", "list", "watch"];

const RBAC: &str = "rbac.authorization.k8s.io";

/// The touch for a request. `unbounded`: it takes more away than can be told from it.
pub(super) fn touch(request: ApiRequest, unbounded: bool) -> Touch {
    let effect = VERBS.iter().find(|verb| **verb == request.verb).copied().unwrap_or("other");
    let connects = request.subresource == "proxy";
    let access = if READS.contains(&effect) && !connects { Access::Read } else { Access::Write };
    Touch {
        effect,
        object: "request",
        name: display(&request),
        access,
        unbounded,
        detail: Detail::Request(Arc::new(request)),
    }
}

/// `deployments.apps/scale/shop/web`.
fn display(request: &ApiRequest) -> String {
    if request.resource.is_empty() {
        return request.path.clone();
    }
    let mut out = request.resource.clone();
    if !request.group.is_empty() {
        out.push('.');
        out.push_str(&request.group);
    }
    for part in [&request.subresource, &request.namespace, &request.name] {
        if !part.is_empty() {
            out.push('/');
            out.push_str(part);
        }
    }
    out
}

/// The request itself, with what its own particulars say.
pub(super) fn own(info: &RequestInfo) -> ApiRequest {
    let text = |name: &str| info.parameter(name).unwrap_or_default().to_owned();
    let streams = info.is_connect() && info.subresource != "portforward";
    let is_exec = info.is_connect() && info.subresource == "exec";
    let command: Vec<String> =
        if is_exec { info.parameters("command").map(str::to_owned).collect() } else { Vec::new() };
    // whoever writes to a program that is not known may have it do anything
    let is_written_to = streams && info.subresource == "attach" && info.flag("stdin");
    let mut runs = programs::of(&command);
    runs.unknown |= is_written_to;
    ApiRequest {
        verb: info.rbac_verb().to_owned(),
        group: info.group.clone(),
        version: info.version.clone(),
        resource: info.resource.clone(),
        subresource: info.subresource.clone(),
        namespace: info.namespace.clone(),
        name: info.name.clone(),
        path: if info.is_resource { String::new() } else { trimmed(&info.path) },
        command,
        runs,
        container: if streams || info.subresource == "log" { text("container") } else { String::new() },
        stdin: streams && info.flag("stdin"),
        tty: streams && info.flag("tty"),
        ..ApiRequest::default()
    }
}

/// A path without its trailing slash: rules need not think of it.
fn trimmed(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}

/// Whether what goes away is more than one object.
pub(super) fn is_unbounded(info: &RequestInfo) -> bool {
    match info.verb {
        "deletecollection" => info.field_selector.is_empty() && info.label_selector.is_empty(),
        "delete" => takes_others_along(info),
        _ => false,
    }
}

/// Whether everything in it or of it goes away as well.
fn takes_others_along(info: &RequestInfo) -> bool {
    info.subresource.is_empty()
        && matches!(
            (info.group.as_str(), info.resource.as_str()),
            ("", "namespaces") | ("apiextensions.k8s.io", "customresourcedefinitions")
        )
}

/// What the request brings about beside itself.
pub(super) fn implied(
    info: &RequestInfo,
    own: &ApiRequest,
    (read, known): (Option<&Read>, &Known),
    touched: &Touched,
) -> Vec<Touch> {
    let mut out = Vec::new();
    if !info.is_resource {
        slash(info, &mut out);
        return out;
    }
    let whole = |verb: &str, subresource: &str| ApiRequest {
        verb: verb.to_owned(),
        subresource: subresource.to_owned(),
        command: Vec::new(),
        runs: Runs::default(),
        fields: None,
        images: Vec::new(),
        object: None,
        ..own.clone()
    };
    if info.verb == "get" && info.flag("watch") {
        out.push(touch(whole("watch", &info.subresource), false));
    }
    if let Some(unbounded) = deletes(info, touched) {
        let name = exact_name(info);
        out.push(touch(ApiRequest { name, ..whole("delete", "") }, unbounded));
    }
    if read.is_some_and(|read| read.form == Form::Apply || (info.verb == "update" && may_create(info, read)))
    {
        out.push(touch(
            ApiRequest {
                object: own.object.clone(),
                images: own.images.clone(),
                ..whole("create", &info.subresource)
            },
            false,
        ));
    }
    if info.is_proxy() {
        proxy(info, &whole, &mut out);
    }
    if info.group == RBAC || info.resource == "certificatesigningrequests" {
        grants(info, (read, known), &whole, &mut out);
    }
    out
}

/// Whether an update creates the object where there is none. The API server asks for `create` then, and takes a `uid` for
/// that of an object which must be there.
fn may_create(info: &RequestInfo, read: &Read) -> bool {
    let uid = read.value.pointer("/metadata/uid").and_then(serde_json::Value::as_str).unwrap_or_default();
    info.subresource.is_empty()
        && uid.is_empty()
        && CREATED_BY_UPDATES.contains(&(info.group.as_str(), info.resource.as_str()))
}

/// Resources whose strategy says `AllowCreateOnUpdate`.
const CREATED_BY_UPDATES: [(&str, &str); 12] = [
    ("", "endpoints"),
    ("", "events"),
    ("", "limitranges"),
    ("", "services"),
    ("coordination.k8s.io", "leasecandidates"),
    ("coordination.k8s.io", "leases"),
    ("events.k8s.io", "events"),
    ("node.k8s.io", "runtimeclasses"),
    (RBAC, "clusterrolebindings"),
    (RBAC, "clusterroles"),
    (RBAC, "rolebindings"),
    (RBAC, "roles"),
];

/// A path of no resource with a trailing slash: a rule may be about what is below it.
fn slash(info: &RequestInfo, out: &mut Vec<Touch>) {
    if info.path.len() > 1 && info.path.ends_with('/') {
        let request =
            ApiRequest { verb: info.verb.to_owned(), path: info.path.clone(), ..ApiRequest::default() };
        out.push(touch(request, false));
    }
}

/// Whether an object goes away, or is emptied, or handed to the garbage collector; and whether others go with it.
fn deletes(info: &RequestInfo, touched: &Touched) -> Option<bool> {
    let resource = (info.group.as_str(), info.resource.as_str(), info.subresource.as_str());
    match (info.verb, resource) {
        ("create", ("", "pods", "eviction")) => Some(false),
        ("deletecollection", _) => Some(is_unbounded(info)),
        // the last finalizer gone, so is the namespace
        ("update" | "patch", ("", "namespaces", "finalize")) => Some(true),
        ("update" | "patch", _) => {
            let collected = touched.meets("metadata.ownerReferences")
                || (info.verb == "patch" && touched.meets("metadata.finalizers"))
                || touched.meets("metadata.deletionTimestamp");
            (touched.wipes || collected).then_some(takes_others_along(info))
        }
        _ => None,
    }
}

/// The one object that a collection is narrowed to, or the request's own.
fn exact_name(info: &RequestInfo) -> String {
    let narrowed =
        info.field_selector.strip_prefix("metadata.name=").map(|name| name.trim_start_matches('='));
    match narrowed {
        Some(name) if info.name.is_empty() && !name.contains([',', '\\', '=']) => name.to_owned(),
        Some(_) | None => info.name.clone(),
    }
}

/// HTTP to a node's kubelet is whatever the kubelet does with it; the old form of a proxy is the same as the new.
fn proxy(info: &RequestInfo, whole: &dyn Fn(&str, &str) -> ApiRequest, out: &mut Vec<Touch>) {
    if info.verb == "proxy" {
        out.push(touch(whole(if info.method.changes() { "create" } else { "get" }, "proxy"), false));
    }
    if info.resource != "nodes" || !info.group.is_empty() {
        return;
    }
    // the kubelet runs programs for a GET (nodes/proxy)
    if info.verb != "create" {
        out.push(touch(whole("create", "proxy"), false));
    }
    let tail = info.parts.get(if info.verb == "proxy" { 2 } else { 3 }..).unwrap_or_default();
    let [what, namespace, pod, ..] = tail else { return };
    let (verb, subresource) = match what.as_str() {
        "exec" | "run" => ("create", "exec"),
        "attach" => ("create", "attach"),
        "portForward" => ("create", "portforward"),
        "containerLogs" => ("get", "log"),
        _ => return,
    };
    let command: Vec<String> =
        info.parameters("command").chain(info.parameters("cmd")).map(str::to_owned).collect();
    let attached = Runs { unknown: subresource == "attach", ..Runs::default() };
    let runs = if command.is_empty() { attached } else { programs::of(&command) };
    out.push(touch(
        ApiRequest {
            resource: "pods".to_owned(),
            namespace: namespace.clone(),
            name: pod.clone(),
            command,
            runs,
            ..whole(verb, subresource)
        },
        false,
    ));
}

/// Rights that are given away: the API server asks for these verbs when they are more than the giver's own.
fn grants(
    info: &RequestInfo,
    (read, known): (Option<&Read>, &Known),
    whole: &dyn Fn(&str, &str) -> ApiRequest,
    out: &mut Vec<Touch>,
) {
    if !matches!(info.verb, "create" | "update" | "patch") {
        return;
    }
    let text = |pointer: &str| {
        let found = read.and_then(|read| read.value.pointer(pointer)).and_then(serde_json::Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    match (info.resource.as_str(), info.subresource.as_str()) {
        ("roles" | "clusterroles", "") => out.push(touch(whole("escalate", ""), false)),
        ("rolebindings" | "clusterrolebindings", "") => {
            let kind = text("/roleRef/kind");
            let resource = if kind == "Role" { "roles" } else { "clusterroles" };
            let namespace = if kind == "Role" { info.namespace.clone() } else { String::new() };
            let bound = ApiRequest {
                resource: resource.to_owned(),
                name: text("/roleRef/name"),
                namespace,
                ..whole("bind", "")
            };
            out.push(touch(bound, false));
        }
        // whose signer it is, the stored object says; what the body says of it the API server does not read
        _ if is_of_a_signer(info) => {
            let verb = if info.subresource == "approval" { "approve" } else { "sign" };
            let name = known.signer.clone().unwrap_or_default();
            let signer = ApiRequest { resource: "signers".to_owned(), name, ..whole(verb, "") };
            out.push(touch(signer, false));
        }
        _ => {}
    }
}

/// Whether a request approves or issues a certificate: that is up to whom the signer trusts.
pub(super) fn is_of_a_signer(info: &RequestInfo) -> bool {
    info.is_resource
        && info.group == "certificates.k8s.io"
        && info.resource == "certificatesigningrequests"
        && matches!(info.verb, "update" | "patch")
        && matches!(info.subresource.as_str(), "approval" | "status")
}

/// The dotted path of a JSON pointer.
pub(super) fn dotted(pointer: &str) -> String {
    segments(pointer).join(".")
}
