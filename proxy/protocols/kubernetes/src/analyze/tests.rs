//! Commands of requests.

use super::*;
use crate::request::RequestInfo;
use proptest::prelude::*;
use proxy_core::mask::Masker;
use proxy_policy::{Detector, DetectorChoice, FieldChoice, Mask, Touch};

const CANARY: &str = "AKIAZ7QXWERTYUIOPLKJ";

fn masks() -> Masks {
    let choice =
        DetectorChoice { detectors: vec![Detector::Secrets], patterns: Vec::new(), with: Mask::default() };
    let fields = FieldChoice {
        resources: vec!["configmaps".to_owned()],
        paths: vec!["data.password".to_owned()],
        with: Mask::default(),
    };
    Masks::new(Masker::new(&[choice], &[1; 32]), &[fields])
}

fn run(request: &str, content_type: &str, body: &str) -> Result<Analysis, Refused> {
    let (method, target) = request.split_once(' ').unwrap();
    let info = RequestInfo::read(method, target).unwrap();
    analyze(&info, Body { content_type: Some(content_type), bytes: body.as_bytes() }, &masks())
}

fn command_of(request: &str, content_type: &str, body: &str) -> Command {
    run(request, content_type, body).unwrap().command
}

fn own(command: &Command) -> &ApiRequest {
    let Effects::Known(touches) = &command.reading.effects else { panic!("{command:?}") };
    touches.first().and_then(|touch: &Touch| touch.detail.request()).unwrap()
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PATCH: &str = "application/json-patch+json";
const DEPLOYMENT: &str = "PATCH /apis/apps/v1/namespaces/shop/deployments/web";

#[test]
fn a_patch_touches_what_it_names_and_only_what_it_cannot_hide_is_known() {
    for (content_type, body, fields) in [
        (
            MERGE,
            r#"{"spec":{"replicas":3},"metadata":{"labels":{"a":"b","c":null}}}"#,
            Some(vec!["metadata.labels.a", "metadata.labels.c", "spec.replicas"]),
        ),
        (MERGE, r#"{"spec":{"template":null}}"#, None),
        (MERGE, r#"{"spec":{"template":{"spec":{"containers":[{"name":"a"}]}}}}"#, None),
        (MERGE, r#"{"spec":{"args":["a"]}}"#, Some(vec!["spec.args"])),
        (
            STRATEGIC,
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"b"}],"$setElementOrder/containers":[]}}}}"#,
            Some(vec![
                "spec.template.spec.containers",
                "spec.template.spec.containers.image",
                "spec.template.spec.containers.name",
            ]),
        ),
        (STRATEGIC, r#"{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}"#, None),
        (STRATEGIC, r#"{"spec":{"template":{"$patch":"replace"}}}"#, None),
        (PATCH, r#"[{"op":"replace","path":"/spec/replicas","value":0}]"#, Some(vec!["spec.replicas"])),
        (
            PATCH,
            r#"[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"x"}]"#,
            Some(vec!["spec.template.spec.containers.image"]),
        ),
        (
            PATCH,
            r#"[{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"x"}}]"#,
            Some(vec!["spec.template.spec.containers", "spec.template.spec.containers.name"]),
        ),
        (PATCH, r#"[{"op":"replace","path":"/spec","value":{"replicas":1}}]"#, None),
        (PATCH, r#"[{"op":"remove","path":"/spec/template"}]"#, None),
        (PATCH, r#"[{"op":"remove","path":"/metadata/labels/a~1b"}]"#, Some(vec!["metadata.labels.a/b"])),
        (PATCH, r#"[{"op":"frob","path":"/spec/replicas"}]"#, None),
    ] {
        let command = command_of(DEPLOYMENT, content_type, body);
        let fields = fields.map(|fields| fields.into_iter().map(str::to_owned).collect());
        assert_eq!(own(&command).fields, fields, "{body}");
    }
    let update =
        command_of("PUT /apis/apps/v1/namespaces/shop/deployments/web", JSON, r#"{"spec":{"replicas":1}}"#);
    assert_eq!(own(&update).fields, None);
}

#[test]
fn images_are_found_wherever_they_stand() {
    let pod = r#"{"spec":{"initContainers":[{"image":"a"}],"containers":[{"image":"b"},{"image":"a"}],
        "volumes":[{"image":{"reference":"c"}}],"ephemeralContainers":[{"image":"d"}]}}"#;
    let mut images = own(&command_of("POST /api/v1/namespaces/shop/pods", JSON, pod)).images.clone();
    images.sort();
    assert_eq!(images, ["a", "b", "c", "d"]);
    let patch = r#"[{"op":"add","path":"/spec/containers/0/image","value":"e"},{"op":"add","path":"/spec/containers/-","value":{"image":"f"}}]"#;
    assert_eq!(own(&command_of(DEPLOYMENT, PATCH, patch)).images, ["e", "f"]);
}

#[test]
fn a_json_patch_says_places_and_images_in_one_way() {
    for (body, why) in [
        (r#"[{"op":"add","path":"/spec/containers/-1/securityContext/privileged","value":true}]"#, "a sign"),
        (
            r#"[{"op":"copy","from":"/spec/containers/+0/env/+0/value","path":"/metadata/annotations/x"}]"#,
            "a sign",
        ),
        (r#"[{"op":"test","path":"/spec/containers/+00/image","value":"a"}]"#, "a sign"),
        (r#"[{"op":"copy","from":"/metadata/annotations/x","path":"/spec/containers/0/image"}]"#, "an image"),
        (
            r#"[{"op":"move","from":"/metadata/annotations/x","path":"/spec/volumes/0/image/reference"}]"#,
            "an image",
        ),
    ] {
        let refused = run(DEPLOYMENT, PATCH, body).unwrap_err();
        assert!(refused.code == 400 && refused.message.contains(why), "{body}: {refused:?}");
    }
    let patch = r#"[{"op":"add","path":"/spec/volumes/0/image/reference","value":"e"}]"#;
    assert_eq!(own(&command_of(DEPLOYMENT, PATCH, patch)).images, ["e"]);
    // a name with a dash is a name
    let patch = r#"[{"op":"add","path":"/metadata/labels/a-1","value":"x"}]"#;
    assert_eq!(
        own(&command_of(DEPLOYMENT, PATCH, patch)).fields,
        Some(vec!["metadata.labels.a-1".to_owned()])
    );
}

#[test]
fn values_of_a_secret_are_masked_under_numbers_too() {
    for path in ["/data/1", "/stringData/-", "/data/a"] {
        let body = format!(r#"[{{"op":"add","path":"{path}","value":"aHVudGVyMg=="}}]"#);
        let command = command_of("PATCH /api/v1/namespaces/shop/secrets/s", PATCH, &body);
        assert!(!command.reading.masked_text.contains("aHVudGVyMg"), "{}", command.reading.masked_text);
    }
}

#[test]
fn what_a_proxied_server_is_sent_is_forwarded_as_it_came_and_recorded_masked() {
    let request = "POST /api/v1/namespaces/shop/services/prometheus:9090/proxy/api/v1/query";
    let body = format!("query=up&token={CANARY}");
    let analysis = run(request, "application/x-www-form-urlencoded", &body).unwrap();
    assert!(matches!(analysis.forward, Forward::AsSent));
    let text = &analysis.command.reading.masked_text;
    assert!(text.contains("query=up") && !text.contains(CANARY), "{text}");
    let other = command_of(request, "application/x-www-form-urlencoded", "query=down");
    assert_ne!(analysis.command.canonical, other.canonical);
}

#[test]
fn an_exec_is_its_words_in_order_and_its_streams() {
    let target = "GET /api/v1/namespaces/shop/pods/web/exec?command=sh&command=-c&command=echo%20a%3B%20id&container=app&stdin=1&tty=false";
    let command = command_of(target, JSON, "");
    let own = own(&command);
    assert_eq!(own.command, ["sh", "-c", "echo a; id"]);
    assert_eq!(
        (own.container.as_str(), own.stdin, own.tty, command.reading.changes),
        ("app", true, false, true)
    );
    assert_eq!(command.reading.operation, "create pods/exec");
    assert_eq!(
        command.reading.masked_text,
        "GET /api/v1/namespaces/shop/pods/web/exec?container=app&stdin=1&tty=false -- sh -c 'echo a; id'"
    );
}

#[test]
fn a_repetition_has_the_same_effect_and_anything_else_another() {
    let patch = |stamp: &str, replicas: u8| {
        format!(
            r#"{{"spec":{{"template":{{"metadata":{{"annotations":{{"kubectl.kubernetes.io/restartedAt":"{stamp}"}}}}}},"replicas":{replicas}}}}}"#
        )
    };
    let canonical = |request: &str, body: &str| command_of(request, MERGE, body).canonical;
    let first = canonical(&format!("{DEPLOYMENT}?fieldManager=a"), &patch("1", 1));
    assert_eq!(first, canonical(&format!("{DEPLOYMENT}/?timeout=1s&fieldManager=b"), &patch("2", 1)));
    assert_ne!(first, canonical(DEPLOYMENT, &patch("1", 2)));
    assert_ne!(first, canonical(&format!("{DEPLOYMENT}?dryRun=All"), &patch("1", 1)));
    // what a server writes is called so in an object's own metadata, and elsewhere is somebody's data
    let data = |uid: u8| {
        canonical("PATCH /api/v1/namespaces/shop/configmaps/app", &format!(r#"{{"data":{{"uid":"{uid}"}}}}"#))
    };
    assert_ne!(data(0), data(1));
    let versioned = |version: u8| {
        canonical(
            DEPLOYMENT,
            &format!(r#"{{"metadata":{{"resourceVersion":"{version}"}},"spec":{{"replicas":1}}}}"#),
        )
    };
    assert_eq!(versioned(1), versioned(2));
    let of_object = |uid: u8| {
        const APPROVAL: &str = "PATCH /apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval";
        canonical(APPROVAL, &format!(r#"{{"metadata":{{"uid":"{uid}"}},"status":{{"conditions":[]}}}}"#))
    };
    assert_ne!(of_object(1), of_object(2));
    // what was applied before, and by whom, decides what goes away
    let applied = |query: &str| {
        command_of(
            &format!("{DEPLOYMENT}?{query}"),
            "application/apply-patch+yaml",
            r#"{"spec":{"replicas":1}}"#,
        )
        .canonical
    };
    assert_eq!(applied("fieldManager=a&pretty=true"), applied("fieldManager=a"));
    assert_ne!(applied("fieldManager=a"), applied("fieldManager=b"));
    assert_ne!(applied("fieldManager=a"), applied("fieldManager=a&force=true"));
    let last_applied = |text: &str| {
        let annotations = serde_json::json!({"kubectl.kubernetes.io/last-applied-configuration": text});
        canonical(DEPLOYMENT, &serde_json::json!({"metadata": {"annotations": annotations}}).to_string())
    };
    assert_ne!(last_applied("{}"), last_applied(r#"{"spec":{}}"#));
    let exec = |query: &str| {
        command_of(&format!("POST /api/v1/namespaces/a/pods/b/exec?{query}"), JSON, "").canonical
    };
    assert_ne!(exec("command=a&command=b"), exec("command=b&command=a"));
    assert_ne!(exec("command=a%0Acommand=b"), exec("command=a&command=b"));
    assert_eq!(exec("command=a&stdin=1"), exec("stdin=1&command=a"));
}

#[test]
fn yaml_goes_upstream_as_the_json_that_was_judged() {
    let analysis =
        run("POST /api/v1/namespaces/a/configmaps", "application/yaml", "data: {mode: 0644}").unwrap();
    let Forward::Replaced { content_type, bytes } = analysis.forward else { panic!() };
    assert_eq!((content_type, bytes.as_slice()), (JSON, &br#"{"data":{"mode":420}}"#[..]));
    let analysis = run(DEPLOYMENT, "application/apply-patch+yaml", r#"{"spec":{"replicas":1}}"#).unwrap();
    assert_eq!(own(&analysis.command).fields, None, "what was applied before may go");
    // JSON is YAML, but not everywhere the same
    for (request, content_type, sent_as) in [
        ("POST /api/v1/namespaces/a/configmaps", "application/yaml", JSON),
        (DEPLOYMENT, "application/apply-patch+yaml", "application/apply-patch+yaml"),
    ] {
        let analysis = run(request, content_type, "{\"data\": {\"run\": \"rm\u{85}-rf\"}}").unwrap();
        let Forward::Replaced { content_type, bytes } = analysis.forward else { panic!() };
        assert_eq!((content_type, bytes.as_slice()), (sent_as, &br#"{"data":{"run":"rm\u0085-rf"}}"#[..]));
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(BODY_LIMIT));
    assert_eq!(run(DEPLOYMENT, MERGE, &body).unwrap_err().code, 413);
}

#[test]
fn secrets_in_what_is_written_are_neither_recorded_nor_judged() {
    let secret = "Y2xlYXItdmFsdWU=";
    for (request, content_type, body) in [
        (
            "POST /api/v1/namespaces/a/secrets",
            JSON,
            format!(r#"{{"data":{{"p":"{secret}"}},"stringData":{{"q":"{secret}"}}}}"#),
        ),
        ("PUT /api/v1/namespaces/a/secrets/s", "application/yaml", format!("data: {{p: {secret}}}")),
        ("POST /api/v1/namespaces/a/secrets", JSON, format!(r#"{{"data":"{secret}"}}"#)),
        ("PATCH /api/v1/namespaces/a/secrets/s", MERGE, format!(r#"{{"stringData":{{"q":"{secret}"}}}}"#)),
        (
            "PATCH /api/v1/namespaces/a/secrets/s",
            PATCH,
            format!(r#"[{{"op":"add","path":"/data/p","value":"{secret}"}}]"#),
        ),
        (
            "PATCH /api/v1/namespaces/a/secrets/s",
            PATCH,
            format!(r#"[{{"op":"add","path":"/data","value":{{"p":"{secret}"}}}}]"#),
        ),
        (
            "PATCH /api/v1/namespaces/a/configmaps/s",
            PATCH,
            format!(r#"[{{"op":"add","path":"/data/password","value":"{secret}"}}]"#),
        ),
        (
            "PATCH /api/v1/namespaces/a/configmaps/s",
            "application/apply-patch+yaml",
            format!("data: {{password: {secret}}}"),
        ),
        (
            "POST /apis/authentication.k8s.io/v1/tokenreviews",
            JSON,
            format!(r#"{{"spec":{{"token":"{secret}"}}}}"#),
        ),
        (
            "POST /api/v1/namespaces/a/pods",
            JSON,
            format!(r#"{{"spec":{{"containers":[{{"env":[{{"name":"K","value":"{CANARY}"}}]}}]}}}}"#),
        ),
    ] {
        let command = command_of(request, content_type, &body);
        let known =
            format!("{}{}{:?}", command.reading.masked_text, command.canonical, command.reading.effects);
        assert!(!known.contains(secret) && !known.contains(CANARY), "{request} {body}: {known}");
        assert!(
            command.reading.masked_text.contains("MASKED")
                || command.reading.masked_text.contains("W01BU0tFR"),
            "{}",
            command.reading.masked_text
        );
    }
    let exec = format!(
        "POST /api/v1/namespaces/a/pods/b/exec?command=login&command=--token={CANARY}&command=--password&command=Hq7-vvKz81xRt"
    );
    let text = command_of(&exec, JSON, "").reading.masked_text.clone();
    assert!(!text.contains(CANARY) && !text.contains("Hq7"), "{text}");
}

#[test]
fn a_mask_of_any_value_leaves_names_and_versions_to_be_compared() {
    let field = FieldChoice {
        resources: vec!["*".to_owned()],
        paths: vec!["*.value".to_owned()],
        with: Mask::default(),
    };
    let masks = Masks::new(Masker::new(&[], &[1; 32]), &[field]);
    let run = |request: &str, body: &str| {
        let (method, target) = request.split_once(' ').unwrap();
        let info = RequestInfo::read(method, target).unwrap();
        let body = Body { content_type: Some(PATCH), bytes: body.as_bytes() };
        analyze(&info, body, &masks).map(drop).map_err(|refused| refused.code)
    };
    assert_eq!(run("GET /api/v1/pods?watch=1&fieldSelector=metadata.name%3Da", ""), Ok(()));
    assert_eq!(run("GET /apis/a.b/v1/c?fieldSelector=spec.value%3Da", ""), Err(403));
    assert_eq!(run("GET /apis/a.b/v1/c?fieldSelector=a%3Db,spec.value.x!%3Da", ""), Err(403));
    let labels = "GET /api/v1/pods?labelSelector=";
    assert_eq!(run(&format!("{labels}app%3Da,tier%20in%20(a,b)"), ""), Ok(()));
    for selector in
        ["a.value%3E5", "!%20a.value", "app%3Da,%20a.value%20notin%20(a,b)", "a.value!%3Da", "a.value"]
    {
        assert_eq!(run(&format!("{labels}{selector}"), ""), Err(403), "{selector}");
    }
    let test = |path: &str| format!(r#"[{{"op":"test","path":"{path}","value":"1"}}]"#);
    assert_eq!(run(DEPLOYMENT, &test("/metadata/resourceVersion")), Ok(()));
    assert_eq!(run(DEPLOYMENT, &test("/spec")), Err(403));
    assert_eq!(run(DEPLOYMENT, &test("/spec/value")), Err(403));
}

fn any_patch() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z$]{0,6}",
        Just("$patch".to_owned()),
        Just("data".to_owned()),
        Just("password".to_owned())
    ];
    let leaf = prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from), Just(Value::from(CANARY))];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text.clone(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_patch_is_recorded_with_a_canary(
        value in any_patch(),
        op in prop_oneof![Just("add"), Just("replace"), Just("test"), Just("frob")],
        path in "(/(data|spec|password|0|-|a~1b)){0,4}",
    ) {
        let object = if value.is_object() { value.clone() } else { serde_json::json!({"x": value}) };
        let operations = serde_json::json!([{"op": op, "path": path, "value": value}]);
        for (content_type, body) in [(MERGE, &object), (STRATEGIC, &object), (PATCH, &operations)] {
            let Ok(analysis) = run(DEPLOYMENT, content_type, &body.to_string()) else { continue };
            let command = analysis.command;
            let known = format!("{}{}{:?}", command.reading.masked_text, command.canonical, command.reading.effects);
            prop_assert!(!known.contains(CANARY), "{}", known);
        }
    }
}

/// Go writes `null` for lists that are not there.
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

#[test]
fn an_object_is_the_same_command_in_protobuf_and_in_json() {
    use base64::Engine as _;
    for line in include_str!("../../tests/corpus/protobuf.jsonl").lines() {
        let (protobuf, mut object): (String, Value) = serde_json::from_str(line).unwrap();
        without_null(&mut object);
        let version = object["apiVersion"].as_str().unwrap();
        let root = if version.contains('/') { "/apis" } else { "/api" };
        let info = RequestInfo::read("POST", &format!("{root}/{version}/namespaces/shop/things")).unwrap();
        let json = object.to_string();
        let json = Body { content_type: Some(JSON), bytes: json.as_bytes() };
        let bytes = base64::engine::general_purpose::STANDARD.decode(protobuf).unwrap();
        let protobuf = Body { content_type: Some(crate::protobuf::CONTENT_TYPE), bytes: &bytes };
        let there = analyze(&info, json, &masks()).unwrap();
        let here = analyze(&info, protobuf, &masks()).unwrap();
        assert_eq!(here.command.canonical, there.command.canonical, "{version} {}", object["kind"]);
        assert_eq!(
            here.command.reading.effects, there.command.reading.effects,
            "{version} {}",
            object["kind"]
        );
        // what goes upstream is what was judged
        let sent = here.forward.in_place_of(protobuf);
        let again = analyze(&info, sent, &masks()).unwrap();
        assert_eq!((&again.command, again.forward), (&here.command, Forward::AsSent));
    }
}

#[test]
fn a_record_says_what_its_request_is_about() {
    let subject = |request: &str, body: &str| {
        let named = command_of(request, JSON, body).reading.subject.clone();
        named.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        subject("GET /api/v1/namespaces/shop/pods/web-1/log", ""),
        "k8s.namespace.name=shop k8s.pod.name=web-1 portcullis.k8s.verb=get portcullis.k8s.resource=pods \
         portcullis.k8s.subresource=log portcullis.k8s.name=web-1"
    );
    // whatever the method, as rules see it
    assert!(subject("GET /api/v1/namespaces/shop/pods/web-1/exec?command=id", "").contains("verb=create"));
    assert_eq!(
        subject("POST /apis/apps/v1/namespaces/shop/deployments", r#"{"metadata":{"name":"web"}}"#),
        "k8s.namespace.name=shop portcullis.k8s.verb=create portcullis.k8s.group=apps \
         portcullis.k8s.resource=deployments portcullis.k8s.name=web"
    );
    assert_eq!(subject("GET /version", ""), "portcullis.k8s.verb=get");
}
