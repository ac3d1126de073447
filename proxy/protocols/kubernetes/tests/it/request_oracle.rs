//! Requests resolved here and by the API server itself.
//!
//! `tests/corpus/requestinfo.jsonl` is written by `e2e/cluster/requestinfo`, which asks `k8s.io/apiserver`. To compare
//! others, name a file of its output in `PORTCULLIS_REQUESTINFO`.

use proxy_kubernetes::request::RequestInfo;
use serde_json::Value;

/// What the API server says of one request; `None`: it refuses.
struct Case {
    method: String,
    target: String,
    fields: Option<[String; 11]>,
}

fn cases() -> Vec<Case> {
    let corpus = std::env::var("PORTCULLIS_REQUESTINFO").map_or_else(
        |_| include_str!("../corpus/requestinfo.jsonl").to_owned(),
        |file| std::fs::read_to_string(file).unwrap(),
    );
    let cases = corpus.lines().map(|line| {
        let line: Vec<Value> = serde_json::from_str(line).unwrap();
        let text = |at: usize| line.get(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let refused = line[2].as_bool().unwrap();
        let fields = (!refused).then(|| std::array::from_fn(|field| text(field + 3)));
        Case { method: text(0), target: text(1), fields }
    });
    cases.collect()
}

fn ours(info: &RequestInfo) -> [String; 11] {
    [
        &info.path,
        info.verb,
        &info.api_prefix,
        &info.group,
        &info.version,
        &info.namespace,
        &info.resource,
        &info.subresource,
        &info.name,
        &info.field_selector,
        &info.label_selector,
    ]
    .map(str::to_owned)
}

#[test]
fn whatever_is_accepted_is_resolved_as_the_api_server_resolves_it() {
    let (mut accepted, mut resources, mut wrong) = (0, 0, Vec::new());
    let cases = cases();
    for case in &cases {
        let Ok(info) = RequestInfo::read(&case.method, &case.target) else { continue };
        accepted += 1;
        resources += usize::from(info.is_resource);
        if case.fields.as_ref() != Some(&ours(&info)) {
            wrong.push(format!(
                "{} {}\n  ours   {:?}\n  theirs {:?}",
                case.method,
                case.target,
                ours(&info),
                case.fields
            ));
        }
    }
    println!("{} requests, {accepted} accepted, {resources} of them for resources", cases.len());
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    assert!(accepted > cases.len() / 3 && resources > cases.len() / 4, "too many are refused to tell");
}

#[test]
fn what_goes_upstream_is_what_was_judged() {
    for case in cases() {
        let Ok(info) = RequestInfo::read(&case.method, &case.target) else { continue };
        let canonical = info.canonical();
        let again = RequestInfo::read(&case.method, &canonical).unwrap();
        let path = if info.is_resource { info.path.trim_end_matches('/') } else { &info.path };
        assert_eq!(
            RequestInfo { path: info.path.clone(), ..again.clone() },
            info,
            "{} to {canonical}",
            case.target
        );
        assert!(again.path == path || again.path == info.path, "{} to {canonical}", case.target);
        assert_eq!(again.canonical(), canonical);
    }
}
