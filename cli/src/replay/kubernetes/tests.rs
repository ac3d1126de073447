use super::*;

/// What a request and its answer look like, however the record was cut.
fn shown(text: &str, answer: &str) -> (String, String) {
    let show = |size: usize| {
        let mut transcript = Transcript::default();
        let (_, line) = transcript.begin(text);
        let mut parts = Vec::new();
        for piece in answer.as_bytes().chunks(size) {
            parts.extend(transcript.feed(piece));
        }
        parts.extend(transcript.finish());
        (line, parts.iter().map(Part::text).collect::<String>())
    };
    let whole = show(usize::MAX);
    for size in [1, 3, 7] {
        assert_eq!(show(size), whole, "{size}");
    }
    whole
}

fn json(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\r\n{body}")
}

#[test]
fn requests_are_the_command_lines_that_sent_them() {
    let pods = "/api/v1/namespaces/shop/pods";
    for (text, line) in [
        (format!("GET {pods}?limit=500"), "kubectl get pods --namespace=shop"),
        (format!("GET {pods}/web"), "kubectl get pods web --namespace=shop"),
        (
            "GET /api/v1/pods?limit=500&labelSelector=app=web".to_owned(),
            "kubectl get pods --all-namespaces --selector=app=web",
        ),
        (
            "GET /apis/apps/v1/namespaces/shop/deployments?watch=true".to_owned(),
            "kubectl get deployments.apps --watch --namespace=shop",
        ),
        (
            format!("GET {pods}/web/log?container=a&follow=true&tailLines=5"),
            "kubectl logs web --namespace=shop --follow --container=a --tail=5",
        ),
        (
            format!("GET {pods}/web/exec?stdin=true&stdout=true&tty=true -- sh -c 'echo hi'"),
            "kubectl exec web --namespace=shop --stdin --tty -- sh -c 'echo hi'",
        ),
        ("DELETE /api/v1/nodes/n1".to_owned(), "kubectl delete nodes n1"),
        (
            "DELETE /api/v1/nodes/n1\n{\"propagationPolicy\":\"Background\"}".to_owned(),
            "kubectl delete nodes n1",
        ),
        (format!("DELETE {pods}"), "kubectl delete pods --all --namespace=shop"),
        (
            format!("PATCH {pods}/web\n{{\"a\":1}}"),
            "kubectl patch pods web --namespace=shop --patch='{\"a\":1}'",
        ),
        (
            format!("POST {pods}?fieldManager=kubectl-create\n{{\"a\":1}}"),
            "kubectl create --namespace=shop --filename=- <<'.'\n{\"a\":1}\n.",
        ),
        ("GET /api/v1/namespaces/shop".to_owned(), "kubectl get namespaces shop"),
        ("GET /version".to_owned(), "kubectl get --raw /version"),
        ("GET /apis/apps/v1?timeout=32s".to_owned(), "kubectl get --raw /apis/apps/v1"),
    ] {
        assert_eq!(shown(&text, "").0, line, "{text}");
    }
}

#[test]
fn what_kubectl_has_no_words_for_is_shown_as_it_was_sent() {
    for text in [
        "POST /api/v1/namespaces/shop/pods/web/eviction",
        "GET /api/v1/namespaces/shop/pods?unknown=1",
        "GET /api/v1/namespaces/shop/pods/a b",
        "GET /api/v1/namespaces/shop/pods?labelSelector=a;b",
        "DELETE /api/v1/nodes/n1\n{\"gracePeriodSeconds\":0,\"propagationPolicy\":\"Background\"}",
        "POST /version",
        "GET /openapi/v2?timeout=32s&hash=a",
        "nonsense",
        "",
    ] {
        assert_eq!(shown(text, "").0, text);
    }
}

#[test]
fn a_table_is_what_kubectl_prints() {
    let body = r#"{"kind":"Table","columnDefinitions":[{"name":"Name","priority":0},{"name":"IP","priority":1},{"name":"Age"}],
        "rows":[{"cells":["web","10.1.2.3","5m"]},{"cells":["a-longer-one",null,"1h"]}]}"#;
    let (_, out) = shown("GET /api/v1/namespaces/shop/pods?limit=500", &json("200 OK", body));
    assert_eq!(out, "NAME           AGE\nweb            5m\na-longer-one   1h\n");
    let none = json("200 OK", r#"{"kind":"Table","columnDefinitions":[],"rows":[]}"#);
    assert_eq!(shown("GET /api/v1/pods", &none).1, "No resources found\n");
}

#[test]
fn lists_objects_and_what_was_done_are_told() {
    let list = r#"{"kind":"PodList","items":[{"metadata":{"name":"web","namespace":"shop","creationTimestamp":"2026-01-01T00:00:00Z"}}]}"#;
    let (_, out) = shown("GET /api/v1/pods", &json("200 OK", list));
    assert_eq!(out, "NAMESPACE   NAME   CREATED\nshop        web    2026-01-01T00:00:00Z\n");
    let secret = r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"db","managedFields":[1]},"data":{"password":"***"}}"#;
    let (_, out) = shown("GET /api/v1/namespaces/shop/secrets/db", &json("200 OK", secret));
    assert!(out.contains("data:\n  password: '***'\n") && !out.contains("managedFields"), "{out}");
    let made = r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web"}}"#;
    let post = "POST /apis/apps/v1/namespaces/shop/deployments\n{}";
    assert_eq!(shown(post, &json("201 Created", made)).1, "deployment.apps/web created\n");
    let gone = r#"{"kind":"Status","status":"Success","details":{"name":"web","kind":"pods"}}"#;
    let delete = "DELETE /api/v1/namespaces/shop/pods/web";
    assert_eq!(shown(delete, &json("200 OK", gone)).1, "pods \"web\" deleted\n");
    assert_eq!(shown("GET /api", &json("200 OK", r#"{"kind":"APIVersions"}"#)).1, "(APIVersions)\n");
}

/// Typed clients, `kubectl create` among them, ask for protobuf.
#[test]
fn an_object_in_protobuf_is_told_as_one_in_json() {
    let head = "HTTP/1.1 201 Created\r\ncontent-type: application/vnd.kubernetes.protobuf\r\n\r\n";
    let object = "k8s\0\n\u{f}\n\u{2}v1\u{12}\u{9}ConfigMap\u{12}\u{7}\n\u{5}\n\u{3}web\u{1a}\0\"\0";
    let request = "POST /api/v1/namespaces/shop/configmaps\n{}";
    assert_eq!(shown(request, &format!("{head}{object}")).1, "configmap/web created\n");
    let other = object.replace("ConfigMap", "Unheardof");
    assert_eq!(shown(request, &format!("{head}{other}")).1, "(34 bytes of protobuf)\n");
}

#[test]
fn errors_logs_and_events_come_as_they_came() {
    let status = r#"{"kind":"Status","status":"Failure","reason":"NotFound","message":"pods \"x\" not found","code":404}"#;
    let (_, out) = shown("GET /api/v1/namespaces/shop/pods/x", &json("404 Not Found", status));
    assert_eq!(out, "Error from server (NotFound): pods \"x\" not found\n");
    let log = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\none\ntwo \u{1b}[2J\nthree";
    let (_, out) = shown("GET /api/v1/namespaces/shop/pods/web/log", log);
    assert_eq!(out, "one\ntwo \u{fffd}[2J\nthree\n");
    let row = |kind: &str, heads: &str| {
        format!(
            r#"{{"type":"{kind}","object":{{"kind":"Table","columnDefinitions":[{heads}],"rows":[{{"cells":["web"]}}]}}}}"#
        )
    };
    let bookmark = r#"{"type":"BOOKMARK","object":{"kind":"Pod"}}"#;
    let plain = r#"{"type":"DELETED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web"}}}"#;
    let events =
        [row("ADDED", r#"{"name":"Name"}"#), bookmark.to_owned(), row("MODIFIED", ""), plain.to_owned()]
            .join("\n");
    let (_, out) = shown("GET /api/v1/pods?watch=true", &json("200 OK", &events));
    assert_eq!(out, "EVENT   NAME\nADDED   web\nMODIFIED   web\nDELETED   pod/web\n");
}

#[test]
fn hostile_answers_do_no_harm() {
    for answer in
        ["", "HTTP/1.1", "\r\n\r\n", "no head at all", "HTTP/1.1 200 OK\r\n\r\n\u{1b}]0;x\u{7}", "[[[[[["]
    {
        let (_, out) = shown("GET /api/v1/pods", answer);
        assert!(!out.contains(|c: char| c.is_control() && c != '\n'), "{out:?}");
    }
    let deep = json("200 OK", &"[".repeat(100_000));
    assert!(shown("GET /api/v1/pods", &deep).1.starts_with("[["));
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "x".repeat(MAX_HEAD_BYTES));
    assert!(!shown("GET /api/v1/pods", &endless).1.is_empty());
}

#[test]
fn a_refusal_says_why_and_what_to_do_as_its_client_was_told() {
    let refusal = |kind: Option<&str>, hint: &str| Refusal {
        kind: kind.map(str::to_owned),
        message: "shop/limits \u{1b}allows 5 a minute".into(),
        hint: hint.into(),
        rule: "shop/limits".into(),
    };
    let transcript = Transcript::default();
    let message = "shop/limits \u{fffd}allows 5 a minute";
    for (kind, beginning) in [
        // of an older gateway
        (None, "Error from server"),
        (Some("of another time"), "Error from server"),
        (Some("denied"), "Error from server (Forbidden)"),
        (Some("approval_expired"), "Error from server (Forbidden)"),
        (Some("unavailable"), "Error from server (InternalError)"),
    ] {
        let said = transcript.refused(&refusal(kind, "try again in 10 s"));
        assert_eq!(said, format!("{beginning}: {message}; try again in 10 s\n"));
        assert_eq!(transcript.refused(&refusal(kind, "")), format!("{beginning}: {message}\n"));
    }
    let said = transcript.refused(&refusal(Some("session_ended"), ""));
    assert_eq!(said, format!("error: You must be logged in to the server ({message})\n"));
}
