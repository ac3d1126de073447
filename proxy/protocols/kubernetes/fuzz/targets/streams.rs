//! Streams of `exec` over every transport: whatever both sides say, the relay ends when they have ended, and a secret
//! that the API server's side writes in one line never reaches the client.
//!
//! The first byte chooses the transport and who is well-behaved. The rest are steps: a byte that says who speaks and
//! how, a length, and as many bytes.

#![no_main]

use arc_swap::ArcSwap;
use flate2::{Compress, Compression, FlushCompress};
use libfuzzer_sys::fuzz_target;
use proxy_audit::{Spool, SpoolOptions};
use proxy_core::approval::{ApprovalError, Approvals, Pending, Question};
use proxy_core::authn::Verified;
use proxy_core::contact::Contact;
use proxy_core::metrics::Metrics;
use proxy_core::secret::Secret;
use proxy_core::session::{Durability, Recording, ResourceContext, Wording};
use proxy_kubernetes::analyze::{Body, analyze};
use proxy_kubernetes::fuzzing::{Transport, relay};
use proxy_kubernetes::mask::Masks;
use proxy_kubernetes::options::{Credential, Limits, Naming, Options};
use proxy_kubernetes::request::RequestInfo;
use proxy_policy::{Command, Identity, ResourceFacts, compile};
use serde_json::json;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const CANARY: &str = "ghp_x7Qz1xP0vB2nM4kL6jH8gF5dS3aQ9wE1rT0y";

struct World {
    runtime: Runtime,
    resource: Arc<ResourceContext>,
    options: Options,
    command: Arc<Command>,
    /// Runs so far.
    runs: u32,
    _changes: tokio::sync::watch::Sender<u64>,
    /// Goes last: the log is in it.
    _directory: TempDir,
}

/// Runs after which the log is thrown away, so that it fills no disk.
const RUNS: u32 = 2_000;

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Nobody;

#[async_trait::async_trait]
impl Approvals for Nobody {
    async fn ask(&self, _: Question) -> Result<Box<dyn Pending>, ApprovalError> {
        Err(ApprovalError { step: "ask nobody".to_owned(), source: None })
    }
}

fn world() -> World {
    // every run waits for the disk, if there is one below
    let memory = std::path::Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let directory = directory.expect("a directory");
    let (spool, _) = Spool::open(&SpoolOptions::new(directory.path().join("log"), "fuzz")).expect("a log");
    let (changes, receiver) = tokio::sync::watch::channel(0);
    let facts = ResourceFacts {
        namespace: "shop".to_owned(),
        name: "cluster".to_owned(),
        protocol: "kubernetes".to_owned(),
        ..ResourceFacts::default()
    };
    let policy = json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "Policy",
        "metadata": {"name": "fuzz", "namespace": "shop", "generation": 1},
        "spec": {"targetRefs": [{"name": "cluster"}], "rules": [{"name": "all", "action": "Allow", "kubernetes": {}}],
            "masking": [{"detectors": ["Secrets"], "with": {"type": "Redact"}}]}});
    let policies = compile(&facts, &[serde_json::from_value(policy).expect("a policy")]).expect("compiled");
    let resource = ResourceContext {
        namespace: "shop".to_owned(),
        name: "cluster".to_owned(),
        protocol: "kubernetes",
        wording: Wording::REQUEST,
        policies: Arc::new(ArcSwap::from_pointee(policies)),
        changes: receiver,
        contact: Contact::here(),
        spool,
        approvals: Arc::new(Nobody),
        // nothing is kept: the log would fill the disk
        recording: Recording {
            results: true,
            max_result_bytes: 0,
            contents: false,
            durability: Durability::Auto,
        },
        tenant_key: Secret::new([7; 32]),
        metrics: Metrics::default(),
        instance: "fuzz".to_owned(),
    };
    let tls =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
    let options = Options {
        server: "https://localhost:1".parse().expect("an address"),
        server_name: None,
        tls: Arc::new(tls),
        credential: Credential::Certificate,
        naming: Naming::default(),
        limits: Limits::default(),
        drain: CancellationToken::new(),
        stop: CancellationToken::new(),
    };
    let info =
        RequestInfo::read("POST", "/api/v1/namespaces/shop/pods/web/exec?command=cat").expect("a request");
    let masks = Masks::new(proxy_core::mask::Masker::new(&[], &[1; 32]), &[]);
    let analysis = analyze(&info, Body { content_type: None, bytes: &[] }, &masks).expect("understood");
    World {
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
        resource: Arc::new(resource),
        options,
        command: Arc::new(Command { role: "bot".into(), ..analysis.command }),
        runs: 0,
        _changes: changes,
        _directory: directory,
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, steps)) = input.split_first() else { return };
    if holds(steps) {
        // in the middle of a word it is none
        return;
    }
    let wire = [Transport::WebSocket, Transport::Spdy, Transport::Tunnelled][usize::from(choice % 3)];
    let (mut client, mut server) = (Said::new(wire), Said::new(wire));
    if choice & 0x80 == 0 && !matches!(wire, Transport::WebSocket) {
        // without these, nothing that follows means anything
        for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
            client.open(stream, kind);
        }
    }
    let mut rest = steps;
    while let [how, length, after @ ..] = rest {
        let (payload, after) = after.split_at(after.len().min(usize::from(*length)));
        let side = if how & 1 == 0 { &mut client } else { &mut server };
        side.say(how >> 1, payload, how & 1 == 0);
        rest = after;
    }
    // on a line of its own: what stands before it may make another word of it
    server.say(0, format!("\n{CANARY}\n").as_bytes(), false);
    let heard = WORLD.with_borrow_mut(|kept| {
        let world = kept.get_or_insert_with(world);
        world.runs += 1;
        let heard = world.runtime.block_on(run(world, wire, &client.bytes, &server.bytes));
        if world.runs == RUNS {
            *kept = None;
        }
        heard
    });
    assert!(!holds(&heard), "{heard:?}");
});

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes())
}

async fn run(world: &World, wire: Transport, client: &[u8], server: &[u8]) -> Vec<u8> {
    let (near_client, mut far_client) = tokio::io::duplex(1 << 20);
    let (near_server, mut far_server) = tokio::io::duplex(1 << 20);
    let identity = Identity {
        issuer: "https://idp".to_owned(),
        subject: "bot".to_owned(),
        username: "bot".to_owned(),
        groups: Vec::new(),
        claims: serde_json::Map::new(),
    };
    let verified =
        Verified::for_tests(identity, jiff::Timestamp::now() + jiff::SignedDuration::from_secs(600));
    let resource = (Arc::clone(&world.resource), &world.options);
    let relaying = relay((near_client, near_server), wire, resource, verified, Arc::clone(&world.command));
    let mut heard = Vec::new();
    let talking = async {
        far_client.write_all(client).await.unwrap_or_default();
        far_server.write_all(server).await.unwrap_or_default();
        far_server.shutdown().await.unwrap_or_default();
        let mut ignored = Vec::new();
        let (heard, _) =
            tokio::join!(far_client.read_to_end(&mut heard), far_server.read_to_end(&mut ignored));
        heard.unwrap_or_default()
    };
    // a relay that does not end once the API server has is a finding
    let both = async { tokio::join!(relaying, talking) };
    let (relayed, _) = tokio::time::timeout(Duration::from_secs(8), both).await.expect("it ends");
    assert!(relayed.is_some(), "the command is allowed");
    heard
}

/// What one side says.
struct Said {
    bytes: Vec<u8>,
    wire: Transport,
    zlib: Compress,
}

impl Said {
    fn new(wire: Transport) -> Self {
        let mut zlib = Compress::new(Compression::default(), true);
        zlib.set_dictionary(include_bytes!("../../src/streams/spdy3.dictionary")).expect("a dictionary");
        Self { bytes: Vec::new(), wire, zlib }
    }

    fn open(&mut self, stream: u32, kind: &str) {
        let mut block = 1_u32.to_be_bytes().to_vec();
        for text in ["streamtype", kind] {
            block.extend(u32::try_from(text.len()).expect("short").to_be_bytes());
            block.extend(text.as_bytes());
        }
        let mut deflated = Vec::with_capacity(4096);
        self.zlib.compress_vec(&block, &mut deflated, FlushCompress::Sync).expect("deflated");
        let payload = [&stream.to_be_bytes()[..], &[0; 6], &deflated].concat();
        let head = [&[0x80, 3, 0, 1, 0][..], &length(&payload)].concat();
        self.carry(&[head, payload].concat(), true);
    }

    /// `how` 0 is an ordinary piece of a program's; 1 is bytes as they are, others are in between.
    fn say(&mut self, how: u8, payload: &[u8], is_client: bool) {
        match (self.wire, how % 4) {
            (_, 1) => self.bytes.extend_from_slice(payload),
            (Transport::WebSocket, 0) => {
                let channel = if is_client { 0 } else { 1 };
                self.message(&[&[channel], payload].concat(), is_client);
            }
            (Transport::WebSocket, _) => self.message(payload, is_client),
            (Transport::Spdy | Transport::Tunnelled, 0) => {
                let stream: u32 = if is_client { 3 } else { 5 };
                let head = [&stream.to_be_bytes()[..], &[0], &length(payload)].concat();
                self.carry(&[&head, payload].concat(), is_client);
            }
            (Transport::Spdy | Transport::Tunnelled, _) => {
                let kind = payload.first().copied().unwrap_or_default();
                let rest = payload.get(1..).unwrap_or_default();
                let head = if how % 4 == 2 {
                    [&[0x80, 3, 0, kind % 12, kind >> 7][..], &length(rest)].concat()
                } else {
                    [&[0, 0, 0, kind % 9, kind >> 7][..], &length(rest)].concat()
                };
                self.carry(&[&head, rest].concat(), is_client);
            }
        }
    }

    fn carry(&mut self, bytes: &[u8], is_client: bool) {
        if matches!(self.wire, Transport::Tunnelled) {
            self.message(bytes, is_client);
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// A binary message of a WebSocket; a client's is masked, with zeros.
    fn message(&mut self, bytes: &[u8], is_client: bool) {
        let mask = if is_client { 0x80 } else { 0 };
        let length = u16::try_from(bytes.len()).expect("short").to_be_bytes();
        self.bytes.extend([0x82, mask | 126, length[0], length[1]]);
        if is_client {
            self.bytes.extend([0; 4]);
        }
        self.bytes.extend_from_slice(bytes);
    }
}

fn length(bytes: &[u8]) -> [u8; 3] {
    let [_, length @ ..] = u32::try_from(bytes.len()).expect("short").to_be_bytes();
    length
}
