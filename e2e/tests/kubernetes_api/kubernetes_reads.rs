//! What carries secrets, asked of a real API server in every form that a client can ask for.

use crate::scene::{RESOURCE, Scene};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const RULES: &str = r"
rules:
- name: everything
  action: Allow
  kubernetes: {}
masking:
- detectors: [Secrets]
  with: {type: Redact}
- fields: {resources: [configmaps], paths: [data.plain]}
  with: {type: Redact}
";

/// Known only by the field that it stands in.
pub(crate) const FIELD: &str = "canary-of-the-field-7Qz1";
/// The same as a Secret shows it in JSON.
pub(crate) const FIELD_BASE64: &str = "Y2FuYXJ5LW9mLXRoZS1maWVsZC03UXox";
/// Known by its form.
pub(crate) const FOUND: &str = "ghp_x7Qz1xP0vB2nM4kL6jH8gF5dS3aQ9wE1rT0y";

/// What a client may accept, by name.
pub(crate) const ACCEPTS: [(&str, &str); 11] = [
    ("JSON", "application/json"),
    ("YAML", "application/yaml"),
    ("protobuf", "application/vnd.kubernetes.protobuf"),
    ("protobuf or anything", "application/vnd.kubernetes.protobuf,*/*"),
    ("CBOR", "application/cbor"),
    ("CBOR or JSON", "application/cbor, application/json;q=0.5"),
    ("a Table", "application/json;as=Table;v=v1;g=meta.k8s.io"),
    ("a Table in protobuf", "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io"),
    ("metadata", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"),
    ("metadata of a list", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"),
    (
        "metadata of a list in protobuf",
        "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,*/*",
    ),
];

/// How it is asked: what is behind the path of a list, and more headers.
const WAYS: [(&str, &str, &str); 6] = [
    ("list", "", ""),
    ("list with whole objects in Tables", "?includeObject=Object", ""),
    ("packed list", "", "Accept-Encoding: gzip\r\n"),
    ("watch", "?watch=1&timeoutSeconds=1", ""),
    ("watch with whole objects in Tables", "?watch=true&timeoutSeconds=1&includeObject=Object", ""),
    (
        "watch over a WebSocket",
        "?watch=1&timeoutSeconds=1",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \
         dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://localhost\r\n",
    ),
];

/// Where a server is, what signed its certificate, and a token for it.
pub(crate) struct Place {
    pub(crate) address: String,
    pub(crate) authority: Vec<u8>,
    pub(crate) token: String,
}

/// The API server itself, and the gateway before it.
pub(crate) fn both(scene: &Scene) -> (Place, Place) {
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(scene.direct.kubeconfig()).unwrap()).unwrap();
    let text = |path: &str| config.pointer(path).and_then(Value::as_str).unwrap().to_owned();
    let path = "jsonpath={.clusters[0].cluster.certificate-authority-data}";
    let view = scene.direct.run(&["config", "view", "--raw", "--minify", "--flatten", "-o", path]).unwrap();
    let authority = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, view.trim()).unwrap();
    let direct =
        Place { address: text("/clusters/0/cluster/server"), authority, token: text("/users/0/user/token") };
    let gated = Place {
        address: format!("https://localhost:{}", scene.gateway.port(RESOURCE).unwrap()),
        authority: std::fs::read(scene.gateway.ca()).unwrap(),
        token: scene.token("bot"),
    };
    (direct, gated)
}

/// A server, and somebody known to it.
struct Peer {
    port: u16,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    token: String,
}

impl Peer {
    fn new(address: &str, authority: &[u8], token: &str) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let (host, port) = address.trim_start_matches("https://").rsplit_once(':').unwrap();
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        Self { port: port.parse().unwrap(), name, tls: Arc::new(tls), token: token.to_owned() }
    }

    /// Every byte that the server sends for one request.
    fn ask(&self, target: &str, accept: &str, headers: &str) -> Vec<u8> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let client = ClientConnection::new(Arc::clone(&self.tls), self.name.clone()).unwrap();
        let mut stream = StreamOwned::new(client, socket);
        let close = if headers.contains("Upgrade") { "" } else { "Connection: close\r\n" };
        let token = &self.token;
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nAccept: {accept}\r\n{close}{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut part = vec![0; 64 * 1024];
        // servers end connections without saying so in TLS
        while let Ok(length @ 1..) = stream.read(&mut part) {
            answer.extend_from_slice(&part[..length]);
            if is_whole(&answer) {
                break;
            }
        }
        answer
    }
}

/// Whether an answer has all that it said it has: a refused upgrade leaves the connection open.
fn is_whole(answer: &[u8]) -> bool {
    let head = head(answer);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| answer.len() >= head.len() + 4 + length.parse::<usize>().unwrap())
}

fn holds(answer: &[u8], text: &str) -> bool {
    answer.windows(text.len()).any(|window| window == text.as_bytes())
}

pub(crate) fn shows_a_canary(answer: &[u8]) -> bool {
    [FIELD, FIELD_BASE64, FOUND].iter().any(|canary| holds(answer, canary))
}

/// What an answer says of itself.
pub(crate) fn head(answer: &[u8]) -> String {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase()
}

/// Objects that carry canaries, by the path of their list. Large enough that the API server packs a list of them.
pub(crate) fn write_objects(scene: &Scene, namespace: &str) -> [String; 3] {
    let filler = "x".repeat(150_000);
    let object = |kind: &str, fields: Value| {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {
            "name": "canary", "namespace": namespace, "annotations": {"note": format!("keep-me {FOUND}")}}});
        object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        object.to_string()
    };
    let pod = json!({"spec": {"nodeName": "nowhere", "containers": [
        {"name": "main", "image": "example.test/a:1", "env": [{"name": "DB_PASSWORD", "value": FOUND}]}]}});
    for manifest in [
        object("ConfigMap", json!({"data": {"plain": FIELD, "filler": filler}})),
        object("Secret", json!({"stringData": {"plain": FIELD, "filler": filler}})),
        object("Pod", pod),
    ] {
        scene.direct.apply(&manifest).unwrap();
    }
    ["configmaps", "secrets", "pods"].map(|resource| format!("/api/v1/namespaces/{namespace}/{resource}"))
}

/// An answer that came through the gateway.
pub(crate) fn check(name: &str, answer: &[u8]) {
    assert!(!shows_a_canary(answer), "{name}: {}", String::from_utf8_lossy(answer));
    let head = head(answer);
    assert!(!head.contains("content-encoding") && !head.contains("protobuf"), "{name}: {head}");
    let status = head.split(' ').nth(1).unwrap_or_default();
    assert!(matches!(status, "200" | "101" | "406"), "{name}: {head}");
}

#[test]
fn kubernetes_no_form_of_an_answer_shows_a_canary() {
    let Some(scene) = Scene::start(RULES) else { return };
    let namespace = scene.namespace("reads");
    let account = format!("--namespace={namespace}");
    scene.direct.run(&["wait", "--for=create", "serviceaccount/default", &account]).unwrap();
    let lists = write_objects(&scene, &namespace);
    let (direct, gated) = both(&scene);
    let direct = Peer::new(&direct.address, &direct.authority, &direct.token);
    let gated = Peer::new(&gated.address, &gated.authority, &gated.token);

    let mut cases = Vec::new();
    for list in &lists {
        for (form, accept) in ACCEPTS {
            for (way, query, headers) in WAYS {
                cases.push((format!("{way} of {list} as {form}"), format!("{list}{query}"), accept, headers));
            }
        }
    }
    // watches last a second: many at once
    let carrying: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = cases
            .chunks(cases.len().div_ceil(16))
            .map(|cases| {
                let (direct, gated) = (&direct, &gated);
                scope.spawn(move || {
                    let carries = |(name, target, accept, headers): &(String, String, &str, &str)| {
                        check(name, &gated.ask(target, accept, headers));
                        let there = direct.ask(target, accept, headers);
                        shows_a_canary(&there) || head(&there).contains("content-encoding: gzip")
                    };
                    cases.iter().filter(|case| carries(case)).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let asked = cases.len();
    println!("{asked} answers, {carrying} of which carry a canary when asked for directly");
    assert!(carrying * 2 > asked, "only {carrying} of {asked} answers would have shown a canary");
    for canary in [FIELD, FIELD_BASE64, FOUND] {
        scene.assert_nowhere(canary);
    }
    scene.portcullis(&["verify"], 0);
}
