//! A gateway: real policies, a real audit log, approvals by rote.

use crate::peers::{Peers, connection};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use proxy_audit::{Spool, SpoolOptions};
use proxy_core::approval::{ApprovalError, Approvals, Outcome, Pending, Question};
use proxy_core::authn::{BearerToken, Verified};
use proxy_core::contact::Contact;
use proxy_core::metrics::Metrics;
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_core::secret::Secret;
use proxy_core::session::{Durability, Recording, ResourceContext};
use proxy_policy::{Identity, PolicySet, ResourceFacts, compile};
use proxy_postgres::Authenticate;
use proxy_postgres::catalogue::{Catalogue, Column, Function, Relation, RelationKind, Row};
use proxy_postgres::fuzzing::Gateway;
use proxy_postgres::options::{Credentials, Limits, Options, UpstreamTls};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Sessions after which the audit log begins anew.
const SESSIONS: u32 = 5_000;
/// Largest message from a client, and largest that is masked, in bytes: within reach of a fuzzer.
const MESSAGE_BYTES: usize = 2_000;

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
}

/// Runs to the end.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(work))
}

/// How a session's approvals end; detectors or none.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// 0 approved, 1 denied, 2 expired, 3 nobody decides, 4 cannot be asked.
    pub approvals: u8,
    /// Values are searched for secrets.
    pub detectors: bool,
}

/// A session between our own peers.
pub async fn session(manner: Manner) -> (JoinHandle<()>, Peers) {
    let (gateway, catalogue) = WORLD.with_borrow_mut(|world| {
        if world.as_ref().is_none_or(|world| world.sessions >= SESSIONS) {
            *world = None;
            *world = Some(World::new());
        }
        let world = world.as_mut().expect("just made");
        world.sessions += 1;
        world.decides.store(manner.approvals, Ordering::Relaxed);
        let gateway = if manner.detectors { &world.detecting } else { &world.plain };
        (Arc::clone(gateway), Arc::clone(&world.catalogue))
    });
    let (client, client_peer) = connection();
    let (server, server_peer) = connection();
    let verified = Verified::for_tests(identity(), Timestamp::now() + SignedDuration::from_hours(1));
    let session = gateway.serve((client, server), "app", verified, catalogue).await;
    let session = tokio::spawn(session.expect("the session is allowed"));
    (session, Peers { client: client_peer, server: server_peer })
}

struct World {
    plain: Arc<Gateway>,
    detecting: Arc<Gateway>,
    catalogue: Arc<Catalogue>,
    decides: Arc<AtomicU8>,
    sessions: u32,
    _changes: watch::Sender<u64>,
    _directory: TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let decides = Arc::new(AtomicU8::new(0));
        let (sender, changes) = watch::channel(0);
        let gateway = |detectors: bool| {
            let log = directory.path().join(if detectors { "detecting" } else { "plain" });
            let (spool, _) = Spool::open(&SpoolOptions::new(log, "fuzz/shop/orders/1")).expect("a log");
            let resource = ResourceContext {
                namespace: "shop".to_owned(),
                name: "orders".to_owned(),
                protocol: "postgresql",
                wording: proxy_core::session::Wording::DATABASE,
                policies: Arc::new(ArcSwap::from_pointee(policies(detectors))),
                changes: changes.clone(),
                contact: Contact::here(),
                spool,
                approvals: Arc::new(ByRote(Arc::clone(&decides))),
                recording: Recording {
                    results: true,
                    max_result_bytes: 1 << 16,
                    contents: false,
                    durability: Durability::Auto,
                },
                tenant_key: Secret::new([7; 32]),
                metrics: Metrics::default(),
                instance: "fuzz".to_owned(),
            };
            let tls = Arc::new(ArcSwap::from_pointee(tls()));
            Arc::new(Gateway::new(options(), Arc::new(resource), Arc::new(Nobody), tls))
        };
        let (plain, detecting) = (gateway(false), gateway(true));
        let catalogue = Arc::new(catalogue());
        Self { plain, detecting, catalogue, decides, sessions: 0, _changes: sender, _directory: directory }
    }
}

/// Who asks.
pub fn identity() -> Identity {
    Identity {
        issuer: "https://idp.example.com".to_owned(),
        subject: "bot".to_owned(),
        username: "bot".to_owned(),
        groups: vec!["agents".to_owned()],
        claims: serde_json::Map::new(),
    }
}

/// TLS without a certificate: no handshake gets further than its first message, which is all that bytes can reach.
pub fn tls() -> rustls::ServerConfig {
    #[derive(Debug)]
    struct NoCertificate;
    impl rustls::server::ResolvesServerCert for NoCertificate {
        fn resolve(
            &self,
            _hello: rustls::server::ClientHello<'_>,
        ) -> Option<Arc<rustls::sign::CertifiedKey>> {
            None
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(NoCertificate));
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    config
}

fn options() -> Options {
    Options {
        // Nothing listens there: the catalogue is loaded already, and counts as fresh in every session.
        host: "127.0.0.1".to_owned(),
        port: 1,
        tls: UpstreamTls::Disable,
        roles: BTreeMap::from([("app".to_owned(), credentials())]),
        limits: Limits {
            client_message_bytes: MESSAGE_BYTES,
            statement_bytes: MESSAGE_BYTES / 2,
            masked_message_bytes: MESSAGE_BYTES,
            names: 6,
            catalogue_age: Duration::from_secs(1 << 30),
            ..Limits::default()
        },
        drain: CancellationToken::new(),
        stop: CancellationToken::new(),
    }
}

/// What the gateway logs in with.
pub fn credentials() -> Credentials {
    Credentials { username: "app".to_owned(), password: Secret::new("upstream-secret".to_owned()) }
}

/// All may be done but dropping, and truncating is held; two columns are masked.
fn policies(detectors: bool) -> PolicySet {
    let mut masking = vec![
        serde_json::json!({"columns": ["public.customers.ssn"], "with": {"type": "Partial", "keepLast": 2}}),
        serde_json::json!({"columns": ["public.customers.doc"]}),
    ];
    if detectors {
        masking.push(serde_json::json!({"detectors": ["UsSsn", "Jwt", "CreditCard"]}));
    }
    let policy = serde_json::json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "Policy",
        "metadata": {"name": "agents", "namespace": "shop"},
        "spec": {
            "targetRefs": [{"name": "orders"}],
            "subjects": [{"group": "agents"}],
            "rules": [
                {"name": "all", "action": "Allow", "postgresql": {}},
                {"name": "drops", "action": "Deny", "postgresql": {"effects": ["Drop"]}},
                {"name": "truncates", "action": "Hold", "postgresql": {"effects": ["Truncate"]},
                 "approval": {"timeoutSeconds": 60}},
            ],
            "masking": masking,
        },
    });
    let facts = ResourceFacts {
        namespace: "shop".to_owned(),
        name: "orders".to_owned(),
        protocol: "postgresql".to_owned(),
        ..ResourceFacts::default()
    };
    compile(&facts, &[serde_json::from_value(policy).expect("a policy")]).expect("it compiles")
}

/// A database with masked columns, and the kinds of thing that statements name: the one of the bypass corpora.
pub fn catalogue() -> Catalogue {
    let table = |oid, name: &str, columns: &[&str]| {
        let mut relation = Relation::simple("public", name, columns);
        relation.oid = oid;
        relation
    };
    let view = |kind, name: &str, columns: &[&str], text: &str| {
        let mut relation = Relation::simple("public", name, columns);
        (relation.kind, relation.view) = (kind, Some(text.to_owned()));
        relation
    };
    let mut people = table(7, "people", &["id", "name"]);
    people.columns.push(Column {
        name: "initials".into(),
        generated: Some("public.getssn(id)".into()),
        ..Column::default()
    });
    let mut partition = table(2, "customers_old", &["id", "name", "ssn", "doc"]);
    partition.parents = vec![1];
    let mut sequence = table(6, "seq", &["last_value", "log_cnt", "is_called"]);
    sequence.kind = RelationKind::Sequence;
    let relations = [
        table(1, "customers", &["id", "name", "ssn", "doc"]),
        partition,
        table(3, "orders", &["id", "customer_id", "total"]),
        table(4, "victim", &["id", "t"]),
        people,
        sequence,
        view(
            RelationKind::View,
            "customer_view",
            &["id", "national_id"],
            "SELECT customers.id, customers.ssn AS national_id FROM public.customers;",
        ),
        // A circle, which a server would not have.
        view(RelationKind::View, "snake", &["v"], "SELECT tail.v FROM public.tail;"),
        view(RelationKind::View, "tail", &["v"], "SELECT snake.v FROM public.snake;"),
        view(
            RelationKind::MaterializedView,
            "customer_copy",
            &["s"],
            "SELECT customers.ssn AS s FROM public.customers;",
        ),
    ];
    let rows = relations.into_iter().map(|relation| Row::Relation(Box::new(relation)));
    let function = Row::Function(Function {
        schema: "public".into(),
        name: "getssn".into(),
        arguments_min: 1,
        arguments_max: Some(1),
        computes: false,
    });
    Catalogue::from_rows(rows.chain([function]))
}

/// Knows nobody: sessions here are verified already.
#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Authenticate for Nobody {
    async fn verify(&self, _token: &BearerToken) -> Result<Verified, Refusal> {
        Err(Refusal {
            kind: RefusalKind::Authentication,
            rule: None,
            message: "nobody".to_owned(),
            hint: String::new(),
        })
    }

    fn discovery_url(&self) -> Option<String> {
        None
    }
}

/// Decides as [`Manner::approvals`] says.
#[derive(Debug)]
struct ByRote(Arc<AtomicU8>);

#[derive(Debug)]
struct Decided(Option<Outcome>);

#[async_trait]
impl Approvals for ByRote {
    async fn ask(&self, _question: Question) -> Result<Box<dyn Pending>, ApprovalError> {
        Ok(Box::new(Decided(match self.0.load(Ordering::Relaxed) {
            0 => Some(Outcome::Approved { approvers: vec!["dora (dba): fine".to_owned()] }),
            1 => Some(Outcome::Denied { approver: "dora (dba): no".to_owned() }),
            2 => Some(Outcome::Expired),
            3 => None,
            _ => return Err(ApprovalError { step: "write approval request".to_owned(), source: None }),
        })))
    }
}

#[async_trait]
impl Pending for Decided {
    fn name(&self) -> &str {
        "orders-1"
    }
    fn uid(&self) -> &str {
        "uid-1"
    }
    async fn outcome(&mut self) -> Result<Outcome, ApprovalError> {
        match &self.0 {
            Some(outcome) => Ok(outcome.clone()),
            None => std::future::pending().await,
        }
    }
}
