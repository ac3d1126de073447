//! `kubectl auth can-i`: the question that a `SelfSubjectAccessReview` asks, for the policy to answer as well.

use super::touches::touch;
use super::{command, json, scope};
use crate::request::RequestInfo;
use proxy_policy::{ApiRequest, Command, Effects, Reading};
use serde_json::{Value, json};

/// What `*` is asked to mean for verbs: all that there are, and those that conditions may ask for by name.
const EVERY_VERB: [&str; 9] =
    ["*", "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// The command that a `SelfSubjectAccessReview` asks about. `None`: its body is none that asks for something.
pub fn asked(body: &[u8]) -> Option<Command> {
    let spec = json::read(body)?.get("spec")?.clone();
    let text =
        |from: &Value, name: &str| from.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let request = if let Some(asked) = spec.get("resourceAttributes").filter(|asked| asked.is_object()) {
        of_resource(&|name| text(asked, name))
    } else {
        let asked = spec.get("nonResourceAttributes").filter(|asked| asked.is_object())?;
        ApiRequest { verb: text(asked, "verb"), path: text(asked, "path"), ..ApiRequest::default() }
    };
    // what needs no rule is no question for the policy
    if is_open(&request) {
        return None;
    }
    let connects = matches!(request.subresource.as_str(), "exec" | "attach" | "portforward");
    let verbs: &[&str] = match request.verb.as_str() {
        "*" => &EVERY_VERB,
        _ if connects && request.resource == "pods" => &["create"],
        verb => &[verb],
    };
    let touches =
        verbs.iter().map(|verb| touch(ApiRequest { verb: (*verb).to_owned(), ..request.clone() }, false));
    let effects = Effects::Known(touches.collect());
    let reading = Reading { changes: false, ..Reading::new("create other", "", effects) };
    Some(Command { namespace: request.namespace.as_str().into(), ..command(reading) })
}

/// The request that is asked about. No namespace means every one, and no group beside `*` any: so kubectl asks.
fn of_resource(text: &dyn Fn(&str) -> String) -> ApiRequest {
    let (mut group, resource, namespace) = (text("group"), text("resource"), text("namespace"));
    if group.is_empty() && resource == "*" {
        "*".clone_into(&mut group);
    }
    ApiRequest {
        verb: text("verb"),
        version: text("version"),
        subresource: text("subresource"),
        name: text("name"),
        every_namespace: namespace.is_empty() && !scope::in_no_namespace(&group, &resource),
        group,
        resource,
        namespace,
        ..ApiRequest::default()
    }
}

/// Whether the request that is asked about would need no rule.
fn is_open(asked: &ApiRequest) -> bool {
    let method = if asked.verb == "create" { "POST" } else { "GET" };
    let path = match (asked.resource.as_str(), asked.verb.as_str()) {
        ("", "get" | "head") => asked.path.clone(),
        (resource, "create") if asked.name.is_empty() && asked.subresource.is_empty() => {
            let version = if asked.version.is_empty() { "v1" } else { &asked.version };
            format!("/apis/{}/{version}/{resource}", asked.group)
        }
        _ => return false,
    };
    RequestInfo::read(method, &path).is_ok_and(|info| super::is_open(&info))
}

/// The API server's answer with the policy's No in it. `None`: it is no answer to a review.
pub fn denied(answer: &[u8], why: &str) -> Option<Vec<u8>> {
    let mut answer: Value = serde_json::from_slice(answer).ok()?;
    let object = answer.as_object_mut()?;
    object.insert("status".to_owned(), json!({"allowed": false, "denied": true, "reason": why}));
    serde_json::to_vec(&answer).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_about_the_request_it_describes() {
        let body = br#"{"kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":
            {"namespace":"shop","verb":"get","resource":"pods","subresource":"exec","name":"web"}}}"#;
        let Effects::Known(touches) = &asked(body).unwrap().reading.effects else { panic!() };
        let request = touches[0].detail.request().unwrap();
        assert_eq!((request.verb.as_str(), request.name.as_str(), touches.len()), ("create", "web", 1));
        let all = br#"{"spec":{"resourceAttributes":{"verb":"*","resource":"*"}}}"#;
        let Effects::Known(touches) = &asked(all).unwrap().reading.effects else { panic!() };
        let all = touches[0].detail.request().unwrap();
        assert_eq!((touches.len(), all.group.as_str(), all.every_namespace), (EVERY_VERB.len(), "*", true));
        assert_eq!(asked(br#"{"spec":{}}"#), None);
        // every client may have these, so the API server's own answer stands
        for open in [
            r#"{"nonResourceAttributes":{"verb":"get","path":"/version"}}"#,
            r#"{"resourceAttributes":{"verb":"create","group":"authorization.k8s.io","resource":"selfsubjectaccessreviews"}}"#,
        ] {
            assert_eq!(asked(format!(r#"{{"spec":{open}}}"#).as_bytes()), None, "{open}");
        }
        let path = br#"{"spec":{"nonResourceAttributes":{"verb":"get","path":"/metrics"}}}"#;
        assert!(asked(path).is_some());
    }

    #[test]
    fn the_answer_keeps_everything_but_the_verdict() {
        let answer = br#"{"kind":"SelfSubjectAccessReview","spec":{"x":1},"status":{"allowed":true}}"#;
        let answer: Value = serde_json::from_slice(&denied(answer, "policy").unwrap()).unwrap();
        assert_eq!(answer["status"], json!({"allowed": false, "denied": true, "reason": "policy"}));
        assert_eq!(answer["spec"]["x"], 1);
    }
}
