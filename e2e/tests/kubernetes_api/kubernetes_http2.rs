//! The same over HTTP/2, as most clients speak it; and writes whose answers say what stands there.

use crate::kubernetes_reads::{
    ACCEPTS, FIELD, FIELD_BASE64, FOUND, Place, RULES, both, check, head, shows_a_canary, write_objects,
};
use crate::scene::Scene;
use futures_util::{StreamExt as _, stream};
use reqwest::{Certificate, Client, Method, Version};
use serde_json::Value;

/// How a list is asked: what is behind its path, and what encoding is taken.
const WAYS: [(&str, &str, &str); 5] = [
    ("list", "", "identity"),
    ("list with whole objects in Tables", "?includeObject=Object", "identity"),
    ("packed list", "", "gzip"),
    ("watch", "?watch=1&timeoutSeconds=1", "identity"),
    ("watch with whole objects in Tables", "?watch=true&timeoutSeconds=1&includeObject=Object", "identity"),
];

/// A server over HTTP/2, which both sides name by ALPN.
struct Peer {
    place: Place,
    client: Client,
}

impl Peer {
    fn new(place: Place) -> Self {
        let authority = Certificate::from_pem(&place.authority).unwrap();
        Self { place, client: Client::builder().tls_certs_only([authority]).build().unwrap() }
    }

    /// An answer as it would stand in HTTP/1.1.
    async fn ask(&self, method: Method, target: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
        let mut request = self.client.request(method, format!("{}{target}", self.place.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.bearer_auth(&self.place.token).body(body.to_owned());
        let response = request.send().await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2, "{target}");
        let mut answer = format!("HTTP/2 {}\r\n", response.status()).into_bytes();
        for (name, value) in response.headers() {
            answer.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        answer.extend_from_slice(b"\r\n");
        answer.extend_from_slice(&response.bytes().await.unwrap());
        answer
    }
}

#[tokio::test]
async fn kubernetes_no_form_of_an_answer_over_http_2_shows_a_canary() {
    let Some(scene) = Scene::start(RULES) else { return };
    let namespace = scene.namespace("http2");
    let account = format!("--namespace={namespace}");
    scene.direct.run(&["wait", "--for=create", "serviceaccount/default", &account]).unwrap();
    let lists = write_objects(&scene, &namespace);
    let (direct, gated) = both(&scene);
    let (direct, gated) = (Peer::new(direct), Peer::new(gated));
    let mut cases = Vec::new();
    for list in &lists {
        for (form, accept) in ACCEPTS {
            for (way, query, encoding) in WAYS {
                cases.push((
                    format!("{way} of {list} as {form}"),
                    format!("{list}{query}"),
                    accept,
                    encoding,
                ));
            }
        }
    }
    let asked = cases.len();
    // watches last a second: many at once, on one connection
    let carrying = stream::iter(cases).map(|(name, target, accept, encoding)| {
        let (direct, gated) = (&direct, &gated);
        async move {
            let headers = [("accept", accept), ("accept-encoding", encoding)];
            check(&name, &gated.ask(Method::GET, &target, &headers, "").await);
            let there = direct.ask(Method::GET, &target, &headers, "").await;
            shows_a_canary(&there) || head(&there).contains("content-encoding: gzip")
        }
    });
    let carrying = carrying.buffer_unordered(32).filter(|carries| std::future::ready(*carries)).count().await;
    println!("{asked} answers, {carrying} of which carry a canary when asked for directly");
    assert!(carrying * 2 > asked, "only {carrying} of {asked} answers would have shown a canary");
    for canary in [FIELD, FIELD_BASE64, FOUND] {
        scene.assert_nowhere(canary);
    }
    scene.portcullis(&["verify"], 0);
}

/// YAML takes more than JSON for ends of lines, and folds them: JSON that is sent as YAML says something else there.
#[tokio::test]
async fn kubernetes_json_that_is_sent_as_yaml_is_stored_as_it_was_judged() {
    let rules = "
rules:
- name: no-removals
  action: Deny
  kubernetes: {resources: [configmaps], verbs: [create, patch]}
  when: command.request.object.data.run == 'rm -rf'
- name: everything
  action: Allow
  kubernetes: {}
";
    let Some(scene) = Scene::start(rules) else { return };
    let namespace = scene.namespace("folded");
    let (direct, gated) = both(&scene);
    let (direct, gated) = (Peer::new(direct), Peer::new(gated));
    let list = format!("/api/v1/namespaces/{namespace}/configmaps");
    let object = |name: &str, run: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"run":"{run}"}}}}"#
        )
    };
    let apply = |name: &str| format!("{list}/{name}?fieldManager=x");
    let apply_type = "application/apply-patch+yaml";
    for (name, run, stored) in [
        ("folded", "rm\u{85}-rf", "rm\u{85}-rf"),
        ("shortened", "rm \u{2028} -rf", "rm \u{2028} -rf"),
        ("escaped", r"rm\u0085-\ud83d\ude00\u007f", "rm\u{85}-\u{1f600}\u{7f}"),
    ] {
        let (created, applied) = (format!("{name}-created"), format!("{name}-applied"));
        let (written, patched) = (object(&created, run), object(&applied, run));
        let headers = [("content-type", "application/yaml")];
        let answer = gated.ask(Method::POST, &list, &headers, &written).await;
        assert!(head(&answer).starts_with("http/2 201"), "{}", String::from_utf8_lossy(&answer));
        let headers = [("content-type", apply_type)];
        let answer = gated.ask(Method::PATCH, &apply(&applied), &headers, &patched).await;
        assert!(head(&answer).starts_with("http/2 201"), "{}", String::from_utf8_lossy(&answer));
        for name in [created, applied] {
            let there = direct.ask(Method::GET, &format!("{list}/{name}"), &[], "").await;
            let there = String::from_utf8(there).unwrap();
            let there: Value = serde_json::from_str(there.split_once("\r\n\r\n").unwrap().1).unwrap();
            assert_eq!(there["data"]["run"], stored, "{name}");
        }
    }
    let written = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\ndata: {run: \"rm -rf\"}\n";
    let answer = gated.ask(Method::PATCH, &apply("plain"), &[("content-type", apply_type)], written).await;
    assert!(head(&answer).starts_with("http/2 403"), "{}", String::from_utf8_lossy(&answer));
}

/// A write, by what it is: its method, what is behind the list's path, its type, its body.
struct Write(&'static str, Method, String, &'static str, String);

fn writes(kind: &str) -> Vec<Write> {
    const OBJECT: &str = "application/json";
    const OPERATIONS: &str = "application/json-patch+json";
    const MERGE: &str = "application/merge-patch+json";
    let of = |query: &str| format!("/canary{query}");
    let named = format!(r#"{{"apiVersion":"v1","kind":"{kind}","metadata":{{"name":"canary"}}"#);
    // what a detector knows, where no field tells
    let mistaken = if kind == "Secret" { FIELD_BASE64 } else { FOUND };
    let copy = r#"[{"op":"copy","from":"/data/plain","path":"/metadata/annotations/x"}]"#;
    let guess = format!(r#"[{{"op":"test","path":"/data/plain","value":"{FIELD}"}}]"#);
    vec![
        Write("an empty patch", Method::PATCH, of(""), OPERATIONS, "[]".to_owned()),
        Write("an empty merge patch", Method::PATCH, of(""), MERGE, "{}".to_owned()),
        Write("a copy", Method::PATCH, of("?dryRun=All"), OPERATIONS, copy.to_owned()),
        Write("a guess", Method::PATCH, of("?dryRun=All"), OPERATIONS, guess),
        Write(
            "an apply",
            Method::PATCH,
            of("?dryRun=All&fieldManager=x"),
            "application/apply-patch+yaml",
            format!("{named}}}"),
        ),
        Write("a deletion", Method::DELETE, of("?dryRun=All"), OBJECT, String::new()),
        Write("a deletion of all", Method::DELETE, "?dryRun=All".to_owned(), OBJECT, String::new()),
        Write("a creation of what is there", Method::POST, String::new(), OBJECT, format!("{named}}}")),
        Write(
            "a wrong type",
            Method::POST,
            String::new(),
            OBJECT,
            format!(r#"{named},"data":"{mistaken}"}}"#),
        ),
        Write(
            "a wrong type in a patch",
            Method::PATCH,
            of(""),
            MERGE,
            r#"{"data":{"plain":[1]}}"#.to_owned(),
        ),
        Write(
            "an unknown field in a patch",
            Method::PATCH,
            of("?fieldValidation=Strict&dryRun=All"),
            MERGE,
            r#"{"unknown":1}"#.to_owned(),
        ),
        Write(
            "a wrong name in a patch",
            Method::PATCH,
            of("?dryRun=All"),
            MERGE,
            r#"{"immutable":"yes"}"#.to_owned(),
        ),
    ]
}

#[tokio::test]
async fn kubernetes_no_answer_to_a_write_shows_a_canary() {
    let Some(scene) = Scene::start(RULES) else { return };
    let namespace = scene.namespace("writes");
    let account = format!("--namespace={namespace}");
    scene.direct.run(&["wait", "--for=create", "serviceaccount/default", &account]).unwrap();
    let [configmaps, secrets, _pods] = write_objects(&scene, &namespace);
    let (direct, gated) = both(&scene);
    let (direct, gated) = (Peer::new(direct), Peer::new(gated));
    let (mut asked, mut carrying) = (0, 0);
    for (list, kind) in [(configmaps, "ConfigMap"), (secrets, "Secret")] {
        for Write(name, method, behind, content_type, body) in writes(kind) {
            for (form, accept) in ACCEPTS {
                let headers = [("accept", accept), ("content-type", content_type)];
                let target = format!("{list}{behind}");
                let answer = gated.ask(method.clone(), &target, &headers, &body).await;
                let text = String::from_utf8_lossy(&answer);
                assert!(!shows_a_canary(&answer), "{name} of a {kind} as {form}: {text}");
                let there = direct.ask(method.clone(), &target, &headers, &body).await;
                carrying += usize::from(shows_a_canary(&there));
                asked += 1;
            }
        }
    }
    println!("{asked} writes, {carrying} of which show a canary when sent directly");
    assert!(carrying * 4 > asked, "only {carrying} of {asked} answers would have shown a canary");
    for canary in [FIELD, FIELD_BASE64, FOUND] {
        scene.assert_nowhere(canary);
    }
    scene.portcullis(&["verify"], 0);
}
