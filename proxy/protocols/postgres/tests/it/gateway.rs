//! The gateway in this process: real sockets, a real audit log, real policies; tokens are the test's own words, and
//! approvals are scripted.

use crate::client::{Raw, Tls};
use crate::server::{Certificates, PASSWORD, Server, binaries};
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
use proxy_postgres::options::{Credentials, Limits, Options, UpstreamTls};
use proxy_postgres::{Authenticate, Postgres};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) const TOKEN: &str = "a-good-token";

/// Knows one token.
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

    fn discovery_url(&self) -> Option<String> {
        Some("https://idp.example.com/.well-known/openid-configuration".to_owned())
    }
}

/// Answers questions when the test says so.
#[derive(Debug, Default)]
pub(crate) struct Scripted {
    pub(crate) questions: Mutex<Vec<Question>>,
    answers: Mutex<VecDeque<watch::Receiver<Option<Outcome>>>>,
    pub(crate) withdrawn: Arc<Mutex<u32>>,
}

#[derive(Debug)]
struct ScriptedPending {
    answer: watch::Receiver<Option<Outcome>>,
    done: bool,
    withdrawn: Arc<Mutex<u32>>,
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
        self.questions.lock().unwrap().push(question);
        match self.answers.lock().unwrap().pop_front() {
            Some(answer) => {
                Ok(Box::new(ScriptedPending { answer, done: false, withdrawn: Arc::clone(&self.withdrawn) }))
            }
            None => Err(ApprovalError { step: "write approval request".to_owned(), source: None }),
        }
    }
}

#[async_trait]
impl Pending for ScriptedPending {
    fn name(&self) -> &'static str {
        "orders-1"
    }
    fn uid(&self) -> &'static str {
        "uid-1"
    }
    async fn outcome(&mut self) -> Result<Outcome, ApprovalError> {
        let outcome = self.answer.wait_for(Option::is_some).await.map(|outcome| outcome.clone().unwrap());
        self.done = outcome.is_ok();
        outcome.or(Err(ApprovalError { step: "follow approval request".to_owned(), source: None }))
    }
}

impl Drop for ScriptedPending {
    fn drop(&mut self) {
        if !self.done {
            *self.withdrawn.lock().unwrap() += 1;
        }
    }
}

/// Results of up to 1 MiB.
const RECORDING: Recording =
    Recording { results: true, max_result_bytes: 1 << 20, contents: false, durability: Durability::Auto };

/// A gateway in front of one database.
pub(crate) struct Gateway {
    pub(crate) server: Arc<Server>,
    pub(crate) database: String,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) port: u16,
    pub(crate) approvals: Arc<Scripted>,
    pub(crate) resource: Arc<ResourceContext>,
    pub(crate) changes: watch::Sender<u64>,
    pub(crate) drain: CancellationToken,
    pub(crate) directory: TempDir,
    accepting: tokio::task::JoinHandle<()>,
}

impl Gateway {
    /// Starts one with these policy rules (YAML of `spec.rules` and `spec.masking`) before a database that these
    /// statements fill. `None`: skipped.
    pub(crate) async fn start(policy: &str, sql: &str) -> Option<Self> {
        Self::start_with(policy, sql, |_| {}, |_| {}).await
    }

    pub(crate) async fn start_with(
        policy: &str,
        sql: &str,
        adjust_spool: impl FnOnce(&mut SpoolOptions),
        adjust: impl FnOnce(&mut Options),
    ) -> Option<Self> {
        let server = tokio::task::spawn_blocking(Server::shared).await.unwrap()?;
        Some(Self::start_at(server, policy, sql, adjust_spool, adjust).await)
    }

    /// As [`Gateway::start`], with a server of its own.
    pub(crate) async fn start_alone(policy: &str, sql: &str) -> Option<Self> {
        let server = tokio::task::spawn_blocking(Server::alone).await.unwrap()?;
        Some(Self::start_at(server, policy, sql, |_| {}, |_| {}).await)
    }

    async fn start_at(
        server: Arc<Server>,
        policy: &str,
        sql: &str,
        adjust_spool: impl FnOnce(&mut SpoolOptions),
        adjust: impl FnOnce(&mut Options),
    ) -> Self {
        let database = server.database(sql);
        let certificates = Arc::new(Certificates::new());
        let directory = tempfile::tempdir().unwrap();
        let mut spool_options = SpoolOptions::new(directory.path().join("log"), "test/shop/orders/1");
        adjust_spool(&mut spool_options);
        let (spool, _) = Spool::open(&spool_options).unwrap();
        let (changes, receiver) = watch::channel(0);
        let approvals = Arc::new(Scripted::default());
        let resource = Arc::new(ResourceContext {
            namespace: "shop".to_owned(),
            name: "orders".to_owned(),
            protocol: "postgresql",
            wording: proxy_core::session::Wording::DATABASE,
            policies: Arc::new(ArcSwap::from_pointee(policies(policy))),
            changes: receiver,
            contact: Contact::here(),
            spool,
            approvals: Arc::clone(&approvals) as Arc<dyn Approvals>,
            recording: RECORDING,
            tenant_key: Secret::new([7; 32]),
            metrics: Metrics::default(),
            instance: "test".to_owned(),
        });
        let drain = CancellationToken::new();
        let credentials = |role: &str| Credentials {
            username: role.to_owned(),
            password: Secret::new(PASSWORD.to_owned()),
        };
        let mut options = Options {
            host: "localhost".to_owned(),
            port: server.port,
            tls: UpstreamTls::Require(Arc::new(server.certificates.client())),
            roles: BTreeMap::from([("app".to_owned(), credentials("app"))]),
            limits: Limits { notice_every: Duration::from_millis(300), ..Limits::default() },
            drain: drain.clone(),
            stop: CancellationToken::new(),
        };
        adjust(&mut options);
        let tls = Arc::new(ArcSwap::from_pointee(certificates.server()));
        let postgres = Arc::new(Postgres::new(options, Arc::clone(&resource), Arc::new(OneToken), tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepting = tokio::spawn(accept(listener, postgres));
        Self {
            server,
            database,
            certificates,
            port,
            approvals,
            resource,
            changes,
            drain,
            directory,
            accepting,
        }
    }

    /// tokio-postgres, connected through the gateway.
    pub(crate) async fn connect(&self) -> tokio_postgres::Client {
        let (client, connection) = self.connection().await;
        tokio::spawn(async move { connection.await.ok() });
        client
    }

    /// As [`Gateway::connect`], with the connection for whoever wants its messages.
    pub(crate) async fn connection(
        &self,
    ) -> (tokio_postgres::Client, tokio_postgres::Connection<tokio_postgres::Socket, crate::client::TlsSocket>)
    {
        self.config(TOKEN).connect(self.tls()).await.unwrap()
    }

    pub(crate) fn config(&self, token: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("localhost").port(self.port).user("app").dbname(&self.database).password(token);
        config.ssl_mode(tokio_postgres::config::SslMode::Require);
        config
    }

    pub(crate) fn tls(&self) -> Tls {
        Tls(Arc::new(self.certificates.client()))
    }

    /// A client that speaks bytes, authenticated and ready.
    pub(crate) async fn raw(&self) -> Raw {
        let mut raw = Raw::connect(self).await;
        let heard = raw.start(&[("user", "app"), ("database", &self.database)]).await;
        assert!(heard.last().is_some_and(|last| last.tag == 'Z'), "{heard:?}");
        raw
    }

    /// Runs `psql` through the gateway.
    pub(crate) async fn psql(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> std::process::Output {
        let authority = self.certificates.write_authority(self.directory.path());
        let mut command = tokio::process::Command::new(binaries().unwrap().join("psql"));
        command
            .env("PGPASSWORD", TOKEN)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", authority)
            .args(["-X", "-h", "localhost", "-p", &self.port.to_string(), "-U", "app", "-d", &self.database])
            .args(arguments)
            .envs(environment.iter().copied())
            .kill_on_drop(true);
        command.output().await.unwrap()
    }

    pub(crate) fn put_in_force(&self, policy: &str) {
        self.resource.policies.store(Arc::new(policies(policy)));
        self.changes.send_modify(|count| *count += 1);
    }

    /// Everything in the log's files, byte for byte where it is text.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.log_bytes()).into_owned()
    }

    /// Everything in the log's files.
    pub(crate) fn log_bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.directory.path().join("log")).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn policies(spec: &str) -> PolicySet {
    let facts = ResourceFacts {
        namespace: "shop".to_owned(),
        name: "orders".to_owned(),
        protocol: "postgresql".to_owned(),
        ..ResourceFacts::default()
    };
    let head = "apiVersion: portcullis.dev/v1alpha1\nkind: Policy\nmetadata: {name: agents, namespace: shop}\nspec:\n  \
                targetRefs: [{name: orders}]\n  subjects: [{group: agents}]\n";
    let indented = spec.replace('\n', "\n  ");
    let policy = serde_yaml_ng::from_str(&format!("{head}  {indented}")).unwrap();
    compile(&facts, &[policy]).unwrap()
}

async fn accept(listener: TcpListener, postgres: Arc<Postgres>) {
    loop {
        let (socket, peer) = listener.accept().await.unwrap();
        let postgres = Arc::clone(&postgres);
        tokio::spawn(async move {
            if let Err(error) = postgres.serve(socket, peer, ()).await {
                println!("gateway: {}", proxy_core::gate::Chain(&error));
            }
        });
    }
}
