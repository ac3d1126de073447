//! The gateway in this process: real sockets, a real audit log, real policies; tokens are the test's own words, and
//! approvals are scripted.

use crate::server::{Certificates, Server};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::{SignedDuration, Timestamp};
use proxy_audit::record::Record;
use proxy_audit::stream::{StreamDecoder, StreamEvent};
use proxy_audit::{Spool, SpoolOptions};
use proxy_core::approval::{ApprovalError, Approvals, Gathering, Outcome, Pending, Question};
use proxy_core::authn::{BearerToken, Verified};
use proxy_core::contact::Contact;
use proxy_core::metrics::Metrics;
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_core::secret::Secret;
use proxy_core::session::{Durability, Recording, ResourceContext, Wording};
use proxy_kubernetes::options::{Credential, Limits, Naming, Options};
use proxy_kubernetes::{Authenticate, Kubernetes};
use proxy_policy::{Identity, PolicySet, ResourceFacts, compile};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

pub(crate) const TOKEN: &str = "a-good-token";
/// What the gateway shows to the API server.
pub(crate) const OWN_TOKEN: &str = "the-gateways-own-token";

/// Knows one token; seconds behind it say how long it is good.
#[derive(Debug)]
struct OneToken;

#[async_trait]
impl Authenticate for OneToken {
    async fn verify(&self, token: &BearerToken) -> Result<Verified, Refusal> {
        let seconds = match token.expose().strip_prefix(TOKEN) {
            Some("") => 600,
            Some(seconds) => seconds.trim_start_matches('-').parse().unwrap(),
            None => {
                return Err(Refusal {
                    kind: RefusalKind::Authentication,
                    rule: None,
                    message: "the token is not trusted".to_owned(),
                    hint: "request a new token".to_owned(),
                });
            }
        };
        let identity = Identity {
            issuer: "https://idp.example.com".to_owned(),
            subject: "bot".to_owned(),
            username: "bot".to_owned(),
            groups: vec!["agents".to_owned()],
            claims: serde_json::Map::new(),
        };
        Ok(Verified::for_tests(identity, Timestamp::now() + SignedDuration::from_secs(seconds)))
    }
}

/// Answers questions when the test says so.
#[derive(Debug, Default)]
pub(crate) struct Scripted {
    pub(crate) questions: Mutex<Vec<Question>>,
    answers: Mutex<VecDeque<watch::Receiver<Option<Outcome>>>>,
    pub(crate) withdrawn: Arc<Mutex<u32>>,
    /// Requests that stay open, because their clients were told to repeat the command.
    pub(crate) left: Arc<Mutex<u32>>,
    /// While it is true, questions are taken and none gets its request.
    pub(crate) is_slow: watch::Sender<bool>,
    /// How long it takes to consume an approval.
    pub(crate) claim: Mutex<Duration>,
}

#[derive(Debug)]
struct ScriptedPending {
    answer: watch::Receiver<Option<Outcome>>,
    claim: Duration,
    /// When the approval will be consumed.
    claimed: Option<tokio::time::Instant>,
    done: bool,
    stays: bool,
    withdrawn: Arc<Mutex<u32>>,
    left: Arc<Mutex<u32>>,
}

impl Scripted {
    /// The next question will be answered through what this returns.
    pub(crate) fn next(&self) -> watch::Sender<Option<Outcome>> {
        let (sender, receiver) = watch::channel(None);
        self.answers.lock().unwrap().push_back(receiver);
        sender
    }
}

#[async_trait]
impl Approvals for Scripted {
    async fn ask(&self, question: Question) -> Result<Box<dyn Pending>, ApprovalError> {
        let stays = question.stays();
        self.questions.lock().unwrap().push(question);
        self.is_slow.subscribe().wait_for(|is_slow| !is_slow).await.unwrap();
        match self.answers.lock().unwrap().pop_front() {
            Some(answer) => {
                let (withdrawn, left) = (Arc::clone(&self.withdrawn), Arc::clone(&self.left));
                let claim = *self.claim.lock().unwrap();
                let (claimed, done) = (None, false);
                Ok(Box::new(ScriptedPending { answer, claim, claimed, done, stays, withdrawn, left }))
            }
            None => Err(ApprovalError { step: "write approval request".to_owned(), source: None }),
        }
    }
}

#[async_trait]
impl Pending for ScriptedPending {
    fn name(&self) -> &'static str {
        "cluster-1"
    }
    fn uid(&self) -> &'static str {
        "uid-1"
    }
    fn leave(&mut self) {
        self.stays = true;
    }
    async fn stop(&mut self) -> Option<Result<Outcome, ApprovalError>> {
        match self.claimed {
            Some(_) => Some(self.outcome().await),
            None => None,
        }
    }
    async fn outcome(&mut self) -> Result<Outcome, ApprovalError> {
        let outcome = self.answer.wait_for(Option::is_some).await.map(|outcome| outcome.clone().unwrap());
        let claimed = *self.claimed.get_or_insert_with(|| tokio::time::Instant::now() + self.claim);
        tokio::time::sleep_until(claimed).await;
        self.done = outcome.is_ok();
        outcome.or(Err(ApprovalError { step: "follow approval request".to_owned(), source: None }))
    }
}

impl Drop for ScriptedPending {
    fn drop(&mut self) {
        if !self.done {
            *if self.stays { &self.left } else { &self.withdrawn }.lock().unwrap() += 1;
        }
    }
}

/// A gateway in front of a scripted API server.
pub(crate) struct Gateway {
    pub(crate) server: Server,
    pub(crate) approvals: Arc<Scripted>,
    changes: watch::Sender<u64>,
    resource: Arc<ResourceContext>,
    certificates: Certificates,
    port: u16,
    directory: TempDir,
    accepting: tokio::task::JoinHandle<()>,
    kubernetes: Arc<Kubernetes>,
}

impl Gateway {
    /// Starts one with these policy rules (YAML of `spec.rules` and `spec.masking`).
    pub(crate) async fn start(policy: &str) -> Self {
        Self::start_with(policy, |_| {}).await
    }

    pub(crate) async fn start_with(policy: &str, adjust: impl FnOnce(&mut Options)) -> Self {
        let certificates = Certificates::new();
        let server = Server::start(&certificates).await;
        Self::before(certificates, server, policy, adjust).await
    }

    pub(crate) async fn before(
        certificates: Certificates,
        server: Server,
        policy: &str,
        adjust: impl FnOnce(&mut Options),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spool_options = SpoolOptions::new(directory.path().join("log"), "test/shop/cluster/1");
        let (spool, _) = Spool::open(&spool_options).unwrap();
        let (changes, receiver) = watch::channel(0);
        let approvals = Arc::new(Scripted::default());
        let resource = Arc::new(ResourceContext {
            namespace: "shop".to_owned(),
            name: "cluster".to_owned(),
            protocol: "kubernetes",
            wording: Wording::REQUEST,
            policies: Arc::new(ArcSwap::from_pointee(policies(policy))),
            changes: receiver,
            contact: Contact::here(),
            spool,
            approvals: Arc::new(Gathering::new(Arc::clone(&approvals) as Arc<dyn Approvals>)),
            recording: Recording {
                results: true,
                max_result_bytes: 1 << 20,
                contents: false,
                durability: Durability::Auto,
            },
            tenant_key: Secret::new([7; 32]),
            metrics: Metrics::default(),
            instance: "test".to_owned(),
        });
        let mut options = Options {
            server: format!("https://localhost:{}", server.port).parse().unwrap(),
            server_name: None,
            tls: Arc::new(certificates.client()),
            credential: Credential::Token(Secret::new(OWN_TOKEN.to_owned())),
            naming: Naming::default(),
            limits: Limits { hold_wait: Duration::from_millis(300), ..Limits::default() },
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
        };
        adjust(&mut options);
        let tls = Arc::new(ArcSwap::from_pointee(certificates.server(&[b"h2", b"http/1.1"])));
        let kubernetes = Arc::new(Kubernetes::new(options, Arc::clone(&resource), Arc::new(OneToken), tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&kubernetes)));
        Self { server, approvals, changes, resource, certificates, port, directory, accepting, kubernetes }
    }

    /// Serves on another thread too, with an event loop of its own; on which port.
    pub(crate) fn on_another_thread(&self) -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let kubernetes = Arc::clone(&self.kubernetes);
        std::thread::spawn(move || {
            let own = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            own.block_on(async { accept(TcpListener::from_std(listener).unwrap(), kubernetes).await });
        });
        port
    }

    /// A TLS connection that names these protocols by ALPN.
    pub(crate) async fn dial(&self, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        self.dial_on(self.port, alpn).await
    }

    /// As [`Self::dial`], on another port of the gateway's.
    pub(crate) async fn dial_on(&self, port: u16, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        let mut config = self.certificates.client();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
    }

    /// A connection of HTTP/1.1.
    pub(crate) async fn connect(&self) -> SendRequest<Full<Bytes>> {
        self.connect_on(self.port).await
    }

    /// As [`Self::connect`], on another port of the gateway's.
    pub(crate) async fn connect_on(&self, port: u16) -> SendRequest<Full<Bytes>> {
        let stream = TokioIo::new(self.dial_on(port, &[b"http/1.1"]).await);
        let (client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(async move { connection.with_upgrades().await.unwrap_or_default() });
        client
    }

    /// Asks on a connection of its own.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.connect().await.send_request(request).await.unwrap()
    }

    /// Asks on a connection of its own; gives the status and the body, which must be JSON.
    pub(crate) async fn json(&self, request: Request<Full<Bytes>>) -> (u16, Value) {
        let response = self.ask(request).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let value = serde_json::from_slice(&body);
        (status, value.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body))))
    }

    /// A connection of HTTP/2, and what drives it.
    pub(crate) async fn multiplexed(&self) -> (http2::SendRequest<Full<Bytes>>, tokio::task::JoinHandle<()>) {
        let stream = TokioIo::new(self.dial(&[b"h2", b"http/1.1"]).await);
        let (client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        (client, tokio::spawn(async move { connection.await.unwrap_or_default() }))
    }

    /// An upgraded connection, on the client's side. The other ends where the API server's script says.
    pub(crate) async fn upgraded(&self, request: Request<Full<Bytes>>) -> TokioIo<hyper::upgrade::Upgraded> {
        let mut response = self.ask(request).await;
        assert_eq!(response.status(), 101, "{response:?}");
        TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap())
    }

    /// Events of every recording, in the order of the log.
    pub(crate) fn recorded(&self) -> Vec<StreamEvent> {
        let log = self.directory.path().join("log");
        let mut decoders: BTreeMap<(String, Option<i64>), StreamDecoder> = BTreeMap::new();
        let mut events = Vec::new();
        for record in proxy_audit::read::records(&log).unwrap() {
            let record = record.unwrap();
            let Some(frames) = record.bytes("portcullis.result.frames") else { continue };
            let session = record.text("session.id").unwrap_or_default().to_owned();
            let decoder = decoders.entry((session, record.int("portcullis.command"))).or_default();
            // what is no stream is an answer of HTTP
            events.extend(decoder.feed(frames).unwrap_or_default().into_iter().map(|frame| frame.event));
        }
        events
    }

    /// Every record, in the order of the log.
    pub(crate) fn records(&self) -> Vec<Record> {
        let log = self.directory.path().join("log");
        proxy_audit::read::records(&log).unwrap().map(Result::unwrap).collect()
    }

    pub(crate) fn put_in_force(&self, policy: &str) {
        self.resource.policies.store(Arc::new(policies(policy)));
        self.changes.send_modify(|count| *count += 1);
    }

    /// Everything in the log's files, byte for byte where it is text.
    pub(crate) fn log(&self) -> String {
        let files = std::fs::read_dir(self.directory.path().join("log")).unwrap();
        let bytes: Vec<u8> = files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the log has this text.
    pub(crate) async fn wait_for_log(&self, text: &str) {
        for _ in 0..500 {
            if self.log().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the log never had {text}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A request with the good token.
pub(crate) fn request(method: &str, target: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(target)
        .header("host", "localhost")
        .header("authorization", format!("Bearer {TOKEN}"))
}

/// A `GET` with the good token.
pub(crate) fn get(target: &str) -> Request<Full<Bytes>> {
    request("GET", target).body(Full::default()).unwrap()
}

fn policies(spec: &str) -> PolicySet {
    let facts = ResourceFacts {
        namespace: "shop".to_owned(),
        name: "cluster".to_owned(),
        protocol: "kubernetes".to_owned(),
        ..ResourceFacts::default()
    };
    let head = "apiVersion: portcullis.dev/v1alpha1\nkind: Policy\nmetadata: {name: agents, namespace: shop}\nspec:\n  \
                targetRefs: [{name: cluster}]\n  subjects: [{group: agents}]\n";
    let indented = spec.trim().replace('\n', "\n  ");
    let policy = serde_yaml_ng::from_str(&format!("{head}  {indented}")).unwrap();
    compile(&facts, &[policy]).unwrap()
}

async fn accept(listener: TcpListener, kubernetes: Arc<Kubernetes>) {
    loop {
        let (socket, peer) = listener.accept().await.unwrap();
        let kubernetes = Arc::clone(&kubernetes);
        tokio::spawn(async move {
            if let Err(error) = kubernetes.serve(socket, peer, ()).await {
                println!("gateway: {}", proxy_core::gate::Chain(&error));
            }
        });
    }
}
