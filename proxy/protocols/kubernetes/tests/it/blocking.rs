//! The corpus of requests that act behind a policy's back, decided by a real policy.

use http::HeaderMap;
use proxy_core::mask::Masker;
use proxy_kubernetes::analyze::{Analysis, Body, Known, analyze_knowing};
use proxy_kubernetes::mask::Masks;
use proxy_kubernetes::request::{Refused, RequestInfo, refuse_headers};
use proxy_policy::{Effects, Identity, PolicySet, ResourceFacts, Verdict, compile};
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Case {
    name: String,
    request: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default, rename = "type")]
    type_: String,
    #[serde(default)]
    body: String,
    decision: String,
    touches: Option<Vec<String>>,
    fields: Option<Vec<String>>,
    images: Option<Vec<String>>,
    dry_run: Option<bool>,
    /// What the API server says of it: whether it serves that itself, whether it stands in no namespace, and whose
    /// signer it is.
    #[serde(default)]
    own: bool,
    #[serde(default)]
    no_namespace: bool,
    signer: Option<String>,
    upstream: Option<String>,
}

fn cases() -> Vec<Case> {
    serde_saphyr::from_str(include_str!("../corpus/blocking.yaml")).unwrap()
}

fn content_type(last: &str) -> Option<String> {
    Some(match last {
        "" => return None,
        "protobuf" => "application/vnd.kubernetes.protobuf".to_owned(),
        "apply-patch" => "application/apply-patch+yaml".to_owned(),
        patch if patch.ends_with("-patch") => format!("application/{patch}+json"),
        other => format!("application/{other}"),
    })
}

/// What the policy of the corpus is.
fn policy() -> PolicySet {
    let rules = json!([
        {"name": "victim", "action": "Deny", "kubernetes":
            {"verbs": ["delete"], "resources": ["configmaps"], "namespaces": ["shop"], "names": ["victim"]}},
        {"name": "secrets", "action": "Deny", "kubernetes":
            {"verbs": ["get", "list", "watch"], "resources": ["secrets", "secrets/*"]}},
        {"name": "code", "action": "Deny", "kubernetes": {"resources": ["pods/exec", "nodes/proxy"]}},
        {"name": "rights", "action": "Deny", "kubernetes": {"verbs": ["escalate", "bind", "approve", "impersonate"]}},
        {"name": "signer", "action": "Deny", "kubernetes":
            {"verbs": ["sign"], "resources": ["signers"], "names": ["kubernetes.io/kube-apiserver-client"]}},
        {"name": "vault", "action": "Deny", "kubernetes":
            {"resources": ["services/proxy", "pods/proxy"], "names": ["vault"]}},
        {"name": "leases", "action": "Deny", "kubernetes": {"verbs": ["create"], "resources": ["leases"]}},
        {"name": "real", "action": "Deny", "kubernetes":
            {"resources": ["virtualmachines", "virtualmachines/*", "orders", "orders/*"], "dryRun": false}},
        {"name": "bank", "action": "Deny", "kubernetes":
            {"verbs": ["get", "list", "watch", "deletecollection"], "namespaces": ["bank"]}},
        {"name": "named", "action": "Deny", "kubernetes":
            {"verbs": ["create"], "resources": ["cronjobs", "accounts"], "names": ["victim"]}},
        {"name": "rest", "action": "Allow"},
    ]);
    let policy = json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "Policy",
        "metadata": {"name": "corpus", "namespace": "default", "generation": 1},
        "spec": {"targetRefs": [{"kind": "Resource", "name": "cluster"}], "rules": rules}});
    let policy = serde_json::from_value(policy).unwrap();
    let facts = ResourceFacts {
        namespace: "default".to_owned(),
        name: "cluster".to_owned(),
        labels: BTreeMap::new(),
        protocol: "kubernetes".to_owned(),
        roles: Vec::new(),
    };
    compile(&facts, &[policy]).unwrap()
}

fn understand(case: &Case) -> Result<(RequestInfo, Analysis), Refused> {
    let mut headers = HeaderMap::new();
    headers.append("authorization", "Bearer t".parse().unwrap());
    for (name, value) in &case.headers {
        headers.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    refuse_headers(&headers)?;
    let (method, target) = case.request.split_once(' ').unwrap();
    let info = RequestInfo::read(method, target)?;
    let content_type = content_type(&case.type_);
    let body = Body { content_type: content_type.as_deref(), bytes: case.body.as_bytes() };
    let known = Known { is_own: case.own, in_no_namespace: case.no_namespace, signer: case.signer.clone() };
    let analysis = analyze_knowing(&info, body, &Masks::new(Masker::new(&[], &[1; 32]), &[]), &known)?;
    Ok((info, analysis))
}

fn decide(set: &PolicySet, analysis: &Analysis) -> &'static str {
    let identity = Identity {
        issuer: "https://idp".to_owned(),
        subject: "agent".to_owned(),
        username: "agent".to_owned(),
        groups: Vec::new(),
        claims: serde_json::Map::new(),
    };
    match set.evaluate(&identity, &analysis.command, jiff::Timestamp::UNIX_EPOCH).verdict {
        Verdict::Allow { rule, .. } if rule.rule == "no-effects" => "open",
        Verdict::Allow { .. } => "allowed",
        Verdict::Deny { .. } => "denied",
        Verdict::Hold { .. } => "held",
    }
}

/// What differs from what is expected.
fn difference(set: &PolicySet, case: &Case) -> Option<String> {
    let (info, analysis) = match understand(case) {
        Ok(understood) => understood,
        Err(_) if case.decision == "refused" => return None,
        Err(refused) => return Some(format!("refused: {refused}")),
    };
    let Effects::Known(touches) = &analysis.command.reading.effects else {
        return Some("unknown".to_owned());
    };
    let shown: Vec<_> = touches.iter().map(ToString::to_string).collect();
    let decision = decide(set, &analysis);
    if decision != case.decision {
        return Some(format!("{decision}: {shown:?}"));
    }
    if case.touches.as_ref().is_some_and(|expected| *expected != shown) {
        return Some(format!("{shown:?}"));
    }
    if case.upstream.as_ref().is_some_and(|expected| *expected != info.canonical()) {
        return Some(info.canonical());
    }
    let own = touches.first().and_then(|touch| touch.detail.request())?;
    let fits = case.fields.as_ref().is_none_or(|expected| own.fields.as_ref() == Some(expected))
        && case.images.as_ref().is_none_or(|expected| own.images == *expected)
        && case.dry_run.is_none_or(|expected| own.dry_run == expected);
    (!fits).then(|| format!("{:?} {:?} {}", own.fields, own.images, own.dry_run))
}

#[test]
fn every_request_is_decided_on_what_it_means() {
    let set = policy();
    let cases = cases();
    let wrong: Vec<_> =
        cases.iter().filter_map(|case| Some(format!("{}: {}", case.name, difference(&set, case)?))).collect();
    println!("{} requests", cases.len());
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "a name is given twice");
}

#[test]
fn nothing_is_allowed_where_no_rule_is_about_it() {
    let facts = ResourceFacts {
        namespace: "default".to_owned(),
        name: "cluster".to_owned(),
        labels: BTreeMap::new(),
        protocol: "kubernetes".to_owned(),
        roles: Vec::new(),
    };
    let policy = json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "Policy",
        "metadata": {"name": "empty", "namespace": "default", "generation": 1},
        "spec": {"targetRefs": [{"kind": "Resource", "name": "cluster"}], "rules": []}});
    let set = compile(&facts, &[serde_json::from_value(policy).unwrap()]).unwrap();
    for case in cases() {
        let Ok((_, analysis)) = understand(&case) else { continue };
        let expected = if case.decision == "open" { "open" } else { "denied" };
        assert_eq!(decide(&set, &analysis), expected, "{}", case.name);
    }
}
