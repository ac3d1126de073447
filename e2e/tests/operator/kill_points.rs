//! Wherever the operator is killed, it ends in the same place.
//!
//! It talks to the API server through a toll gate that counts its writes and kills it at the k-th: before the API server
//! hears of it, or after it did and before the operator does. Then another operator goes on, is killed one write later,
//! and so on; after the last the world must be what it is without any kill.
//! (The method of Sieve, OSDI 2022: <https://www.usenix.org/conference/osdi22/presentation/sun>.)

use super::stage::{ORDERS, server, world};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use e2e::cluster::ApiServer;
use e2e::operator::Operator;
use e2e::process::wait_until;
use e2e::rest::Rest;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Kill points that one run goes through; `PORTCULLIS_KILL_POINTS` overrides.
const KILL_POINTS: usize = 24;

/// Stands between the operator and the API server.
struct TollGate {
    rest: Rest,
    /// The operator's process.
    victim: AtomicU32,
    /// At which of the writes to come it is killed, from one.
    left: AtomicUsize,
    /// Whether the API server hears of the write at which it is killed.
    heard: AtomicBool,
    killed: AtomicUsize,
    /// What was being written when it was killed.
    at: Mutex<Vec<String>>,
}

impl TollGate {
    fn new(server: &ApiServer) -> Arc<Self> {
        let rest = Rest::new(server.kubeconfig(), e2e::cluster::ADMIN).unwrap();
        Arc::new(Self {
            rest,
            victim: AtomicU32::new(0),
            left: AtomicUsize::new(usize::MAX),
            heard: AtomicBool::new(false),
            killed: AtomicUsize::new(0),
            at: Mutex::default(),
        })
    }

    /// The next operator dies at its `writes`-th write.
    fn arm(&self, writes: usize, heard: bool) {
        self.heard.store(heard, Ordering::SeqCst);
        self.left.store(writes, Ordering::SeqCst);
    }

    /// Whether this request is the one.
    fn is_the_one(&self, request: &Request) -> bool {
        let query = request.uri().query().unwrap_or_default();
        let counts = request.method() != Method::GET
            // canaries write nothing, and Events are words
            && !query.contains("dryRun")
            && !request.uri().path().contains("/events");
        counts
            && self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok_and(|left| left == 1)
    }

    fn kill(&self, request: &str) {
        let victim = self.victim.load(Ordering::SeqCst);
        self.left.store(usize::MAX, Ordering::SeqCst);
        self.at.lock().unwrap().push(request.to_owned());
        self.killed.fetch_add(1, Ordering::SeqCst);
        assert_ne!(victim, 0);
        Command::new("kill").args(["-KILL", &victim.to_string()]).status().unwrap();
    }
}

async fn pass(State(gate): State<Arc<TollGate>>, request: Request) -> Response {
    let doomed = gate.is_the_one(&request);
    let name = format!("{} {}", request.method(), request.uri().path());
    if doomed && !gate.heard.load(Ordering::SeqCst) {
        gate.kill(&name);
        return refused();
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = parts.headers;
    headers.remove("host");
    headers.remove("authorization");
    let body = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    let answered = gate.rest.request(parts.method, path).headers(headers).body(body).send().await;
    if doomed {
        gate.kill(&name);
    }
    let Ok(answer) = answered else { return refused() };
    let mut response = Response::builder().status(answer.status());
    if let Some(kind) = answer.headers().get("content-type") {
        response = response.header("content-type", kind);
    }
    response.body(Body::from_stream(answer.bytes_stream())).unwrap()
}

fn refused() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// A kubeconfig for the toll gate.
fn kubeconfig(directory: &std::path::Path, port: u16) -> std::path::PathBuf {
    let path = directory.join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "toll",
        "clusters": [{"name": "toll", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "users": [{"name": "toll", "user": {}}],
        "contexts": [{"name": "toll", "context": {"cluster": "toll", "user": "toll"}}],
    });
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

/// What happens while operators come and go.
fn act(server: &ApiServer) {
    server.apply(ORDERS).unwrap();
    server
        .apply(&ORDERS.replace("name: orders,", "name: reports,").replace("name: agents,", "name: readers,"))
        .unwrap();
    // Objects come, change kind of certificate, and go.
    let referenced = r#"{"spec":{"gateway":{"tls":{"secretRef":{"name":"orders-readonly"}}}}}"#;
    server
        .kubectl(&[
            "patch",
            "resource.portcullis.dev/reports",
            "--namespace=shop",
            "--type=merge",
            "--patch",
            referenced,
        ])
        .unwrap();
    server.apply(&ORDERS.replace("name: orders,", "name: brief,")).unwrap();
}

fn settled(server: &ApiServer) -> bool {
    let ready = |object: &str| {
        server.kubectl(&["wait", "--for=condition=Ready", "--timeout=1s", "--namespace=shop", object]).is_ok()
    };
    ["resource.portcullis.dev/orders", "resource.portcullis.dev/reports", "policy.portcullis.dev/agents"]
        .into_iter()
        .all(ready)
        && server.kubectl(&["get", "resource.portcullis.dev/brief", "--namespace=shop"]).is_err()
        && server.kubectl(&["get", "deployment/brief-gateway", "--namespace=shop"]).is_err()
        && server.kubectl(&["get", "secret/reports-gateway-tls", "--namespace=shop"]).is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_in_the_same_place_wherever_it_is_killed() {
    let Some(server) = tokio::task::block_in_place(server) else { return };
    let gate = TollGate::new(&server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let routes = Router::new().fallback(pass).with_state(Arc::clone(&gate));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = kubeconfig(directory.path(), port);
    tokio::task::block_in_place(|| kill_again_and_again(&server, &gate, &kubeconfig));
}

fn kill_again_and_again(server: &ApiServer, gate: &TollGate, kubeconfig: &std::path::Path) {
    let points = std::env::var("PORTCULLIS_KILL_POINTS").ok().and_then(|points| points.parse().ok());
    let points: usize = points.unwrap_or(KILL_POINTS);
    let expected = undisturbed(server, gate, kubeconfig);
    let mut round = 0;
    while gate.killed.load(Ordering::SeqCst) < points {
        clear(server);
        act(server);
        let mut deleted = false;
        // Each round ends when an operator finished without reaching its kill point.
        for step in 0.. {
            // every write of a reconcile is reached in some round: the first operator's kill point moves on
            let writes = if step == 0 { 1 + round % 40 } else { 1 + step % 3 };
            let killed = gate.killed.load(Ordering::SeqCst);
            let mut operator = Operator::launch(kubeconfig, &["--leader-elect=false"]).unwrap();
            gate.victim.store(operator.process().id(), Ordering::SeqCst);
            gate.arm(writes, (round + step) % 2 == 0);
            if step > 0 && !deleted {
                deleted = true;
                let brief = ["delete", "resource.portcullis.dev/brief", "--namespace=shop", "--wait=false"];
                server.kubectl(&brief).unwrap();
            }
            let waited = wait_until("the operator is killed, or done", || {
                let dead = gate.killed.load(Ordering::SeqCst) > killed;
                (dead || deleted && settled(server)).then_some(())
            });
            assert!(waited.is_ok(), "round {round}, step {step}: {}", operator.process().log());
            if gate.killed.load(Ordering::SeqCst) == killed {
                gate.arm(usize::MAX, false);
                operator.rest().unwrap();
                break;
            }
        }
        let found = world(server).unwrap();
        assert_eq!(found, expected, "after kills at {:?}", gate.at.lock().unwrap());
        round += 1;
    }
    println!("{} kill points in {round} rounds, 0 divergent end states", gate.killed.load(Ordering::SeqCst));
}

fn undisturbed(server: &ApiServer, gate: &TollGate, kubeconfig: &std::path::Path) -> Value {
    act(server);
    let mut operator = Operator::launch(kubeconfig, &["--leader-elect=false"]).unwrap();
    gate.victim.store(operator.process().id(), Ordering::SeqCst);
    server.kubectl(&["delete", "resource.portcullis.dev/brief", "--namespace=shop", "--wait=false"]).unwrap();
    wait_until("everything is settled", || settled(server).then_some(())).unwrap();
    operator.rest().unwrap();
    world(server).unwrap()
}

/// Removes everything of ours, with whatever an operator needs for it.
fn clear(server: &ApiServer) {
    let operator = Operator::start(server.kubeconfig(), &["--leader-elect=false"]).unwrap();
    let all = ["resources.portcullis.dev", "policies.portcullis.dev", "approvalrequests.portcullis.dev"];
    for kind in all {
        server.kubectl(&["delete", kind, "--all", "--namespace=shop", "--timeout=60s"]).unwrap();
    }
    wait_until("everything that they owned is gone", || {
        let kinds = "deployments,services,serviceaccounts,roles,rolebindings,configmaps,secrets";
        let names = server.kubectl(&["get", kinds, "--namespace=shop", "--output=name"]).ok()?;
        (!names.contains("gateway")).then_some(())
    })
    .unwrap();
    drop(operator);
}
