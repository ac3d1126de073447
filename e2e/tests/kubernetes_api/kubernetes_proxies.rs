//! Servers behind the API server: in a pod, behind a service, and the node's kubelet.

use crate::pods::Pods;
use crate::scene::{Answer, Scene};
use e2e::process::wait_until;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

const EVERYTHING: &str = "
rules: [{name: everything, action: Allow, kubernetes: {}}]
masking: [{detectors: [Secrets]}]
";
const NARROW: &str = "
rules:
- {name: no-writes, action: Deny, kubernetes: {verbs: [create], resources: [pods/proxy, services/proxy]}}
- {name: no-kubelet, action: Deny, kubernetes: {verbs: [create], resources: [nodes/proxy]}}
- {name: no-shells, action: Deny, kubernetes: {verbs: [create], resources: [pods/exec]}}
- {name: pages, action: Allow, kubernetes: {verbs: [get], resources: [pods/proxy, services/proxy, nodes/proxy]}}
- {name: kubelet, action: Allow, kubernetes: {verbs: [create], resources: [nodes/proxy]}}
";
const CANARY: &str = "ghp_k3Vq8xT1mZ7cN5bR2wY9sL4hD6fJ0aPtUeXo";

/// Says what it was sent, headers and body.
const MIRROR: &str = r#"#!/bin/sh
echo "Content-Type: text/plain"
echo "X-Mirror: yes"
echo
env
echo "BODY $(head -c "${CONTENT_LENGTH:-0}")"
"#;

/// A namespace whose pod serves a page, a large file, a script and a secret, behind a service.
fn started(name: &str) -> Option<Pods> {
    let pods = Pods::start(name, EVERYTHING)?;
    let script = format!(
        "mkdir -p /tmp/site/cgi-bin; cd /tmp/site; echo hello > index.html; echo 'key {CANARY} end' > secret.txt; \
         head -c 3000000 /dev/urandom > large.bin; cat > cgi-bin/mirror <<'END'\n{MIRROR}END\n\
         chmod +x cgi-bin/mirror; exec httpd -f -p 8081 -h /tmp/site"
    );
    pods.run_pod("site", &script);
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "site", "namespace": pods.namespace},
        "spec": {"selector": {"app": "site"}, "ports": [{"name": "web", "port": 80, "targetPort": 8081}]}});
    pods.cluster.apply(&service.to_string()).unwrap();
    let page = format!("/api/v1/namespaces/{}/services/site:web/proxy/", pods.namespace);
    wait_until("the service has its pod", || pods.cluster.kubectl(&["get", "--raw", &page]).ok()).unwrap();
    Some(pods)
}

/// A running `kubectl proxy`. It ends with the value.
struct Proxy {
    kubectl: Child,
    port: u16,
}

impl Proxy {
    fn start(mut command: Command) -> Self {
        let mut kubectl =
            command.args(["proxy", "--port=0"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(kubectl.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok()).expect(&line);
        Self { kubectl, port }
    }

    /// The answer to a request: its head, without what is of this moment, and its body.
    fn ask(&self, method: &str, path: &str, body: &str) -> (Vec<String>, Vec<u8>) {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(
            connection,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nX-Own: kept\r\nContent-Type: text/plain\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let of_the_moment =
            ["date:", "audit-id:", "content-length:", "last-modified:", "etag:", "accept-ranges:"];
        let mut head: Vec<String> = head
            .lines()
            .filter(|line| !of_the_moment.iter().any(|name| line.to_ascii_lowercase().starts_with(name)))
            .map(str::to_owned)
            .collect();
        head.sort();
        (head, answer.split_off(end + 4))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.kubectl.kill().unwrap();
        self.kubectl.wait().unwrap();
    }
}

#[test]
fn kubernetes_servers_behind_pods_services_and_nodes_answer_as_directly() {
    let Some(pods) = started("proxies") else { return };
    let Pods { scene, cluster: _, namespace } = &pods;
    let raw = |path: &str| {
        let arguments = ["get", "--raw", path];
        let there = Answer::new(&scene.direct.command().args(arguments).output().unwrap());
        (there, scene.run(&arguments))
    };
    let below = |rest: &str| format!("/api/v1/namespaces/{namespace}/{rest}");
    for path in [
        below("pods/site:8081/proxy/index.html"),
        below("pods/http:site:8081/proxy/"),
        below("services/site:web/proxy/index.html"),
        below("services/http:site:80/proxy/index.html?a=1&a=%2F"),
        "/api/v1/nodes/node-0/proxy/healthz".to_owned(),
        format!("/api/v1/nodes/node-0/proxy/containerLogs/{namespace}/web/busybox"),
    ] {
        let (there, here) = raw(&path);
        assert!(there.ok() && !there.out.is_empty(), "{path}: {there:?}");
        assert_eq!((&here.out, here.code), (&there.out, there.code), "{path}: {here:?}");
    }
    for path in [
        below("pods/site:8081/proxy/missing"),
        below("pods/nobody/proxy/"),
        below("services/site/proxy/index.html"),
        below("services/site:81/proxy/"),
    ] {
        let (there, here) = raw(&path);
        assert!(!there.ok(), "{path}: {there:?}");
        assert_eq!((&here.err, here.code), (&there.err, there.code), "{path}");
    }

    let there = Proxy::start(scene.direct.command());
    let here = Proxy::start(scene.kubectl(&scene.token("bot")));
    for (method, path, body) in [
        ("GET", "services/site:web/proxy/large.bin", ""),
        ("GET", "services/site:web/proxy/cgi-bin", ""),
        ("GET", "pods/site:8081/proxy/index.html", ""),
        ("HEAD", "pods/site:8081/proxy/index.html", ""),
    ] {
        let path = below(path);
        assert_eq!(here.ask(method, &path, body), there.ask(method, &path, body), "{method} {path}");
    }
    // what the server is sent: the client's own headers and body, and nobody's credential
    let (head, body) = here.ask("POST", &below("services/site:web/proxy/cgi-bin/mirror?q=1"), "a body");
    let body = String::from_utf8(body).unwrap();
    assert!(head.iter().any(|line| line.eq_ignore_ascii_case("x-mirror: yes")), "{head:?}");
    for part in ["BODY a body", "HTTP_X_OWN=kept", "REQUEST_METHOD=POST", "QUERY_STRING=q=1"] {
        assert!(body.contains(part), "{part} is not in\n{body}");
    }
    for part in ["AUTHORIZATION", "Bearer", "IMPERSONATE", "REMOTE_USER=bot"] {
        assert!(!body.to_uppercase().contains(&part.to_uppercase()), "{part} is in\n{body}");
    }
    let (_, secret) = here.ask("GET", &below("pods/site:8081/proxy/secret.txt"), "");
    let secret = String::from_utf8(secret).unwrap();
    assert!(secret.starts_with("key ") && !secret.contains(CANARY), "{secret}");
    scene.assert_nowhere(CANARY);
    drop((here, there));
    on_record(scene, &below("services/site:web/proxy/cgi-bin/mirror"));
    assert!(scene.replayed().contains("BODY a body"));
    scene.portcullis(&["verify"], 0);
}

/// The request is on record with what it was, and what it was sent.
fn on_record(scene: &Scene, path: &str) {
    let listed = scene.portcullis(&["commands", "-o", "json"], 0).out;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let text = |command: &Value| command["text"].as_str().unwrap_or_default().to_owned();
    let command = listed.as_array().unwrap().iter().find(|command| text(command).contains(path)).unwrap();
    assert!(text(command).contains("POST") && text(command).contains("a body"), "{command}");
    assert!(command.to_string().contains("create services/proxy"), "{command}");
    assert_eq!(command["outcome"], "ok", "{command}");
}

#[test]
fn kubernetes_proxies_are_decided_by_what_they_reach() {
    let Some(mut pods) = started("proxied") else { return };
    pods.scene = Scene::before(pods.cluster.client().clone(), NARROW);
    let Pods { scene, namespace, .. } = &pods;
    let below = |rest: &str| format!("/api/v1/namespaces/{namespace}/{rest}");
    assert!(scene.run(&["get", "--raw", &below("pods/site:8081/proxy/")]).ok());
    assert!(scene.run(&["get", "--raw", &below("services/site:web/proxy/")]).ok());
    let denied = |answer: &Answer, rule: &str| {
        assert!(
            !answer.ok() && answer.err.contains("(Forbidden)") && answer.err.contains(rule),
            "{answer:?}"
        );
    };
    for path in ["pods/site:8081/proxy/cgi-bin/mirror", "services/site:web/proxy/cgi-bin/mirror"] {
        denied(&scene.run(&["create", "--raw", &below(path), "-f", "/dev/null"]), "no-writes");
    }
    // the kubelet does the same for a GET as for a POST
    for path in ["healthz", "configz", "runningpods/"] {
        denied(&scene.run(&["get", "--raw", &format!("/api/v1/nodes/node-0/proxy/{path}")]), "no-kubelet");
    }
    let without = NARROW.lines().filter(|line| !line.contains("no-kubelet")).collect::<Vec<_>>().join("\n");
    let scene = Scene::before(pods.cluster.client().clone(), &without);
    let healthz = scene.run(&["get", "--raw", "/api/v1/nodes/node-0/proxy/healthz"]);
    assert!(healthz.ok() && healthz.out == "ok", "{healthz:?}");
    let run = format!("/api/v1/nodes/node-0/proxy/run/{namespace}/web/busybox?cmd=id");
    denied(&scene.run(&["create", "--raw", &run, "-f", "/dev/null"]), "no-shells");
    denied(&scene.run(&["get", "--raw", &run]), "no-shells");
    scene.portcullis(&["verify"], 0);
}
