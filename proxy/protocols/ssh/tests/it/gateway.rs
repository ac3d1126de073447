//! The gateway in this process: real sockets, a real audit log, real policies, a real `sshd` behind it; tokens are the
//! test's own words, and approvals are scripted.

use crate::sshd::{Sshd, user};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use proxy_audit::read;
use proxy_audit::record::Record;
use proxy_audit::stream::{StreamDecoder, StreamEvent};
use proxy_audit::{Spool, SpoolOptions};
use proxy_core::approval::{ApprovalError, Approvals, Outcome, Pending, Question};
use proxy_core::authn::{BearerToken, Verified};
use proxy_core::contact::Contact;
use proxy_core::metrics::Metrics;
use proxy_core::refusal::{Refusal, RefusalKind};
use proxy_core::secret::Secret;
use proxy_core::session::{Durability, Recording, ResourceContext, Wording};
use proxy_policy::{Identity, PolicySet, ResourceFacts, compile};
use proxy_ssh::keys::{HostKeys, PrivateKey};
use proxy_ssh::options::{Credentials, Host, Limits, Options, Proof};
use proxy_ssh::{Authenticate, Ssh};
use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) const TOKEN: &str = "a-good-token";

/// Knows one token, followed by the seconds that it is good for and by anything after a `/`.
#[derive(Debug)]
struct OneToken;

#[async_trait]
impl Authenticate for OneToken {
    async fn verify(&self, token: &BearerToken) -> Result<Verified, Refusal> {
        let (name, padding) = token.expose().split_once('/').unwrap_or((token.expose(), "."));
        let seconds = match name.strip_prefix(TOKEN) {
            // a long token is good only as a whole
            Some(seconds) if padding.ends_with('.') => seconds.trim_start_matches('-').parse().unwrap_or(600),
            Some(_) | None => {
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
    /// While it is true, questions are taken and none gets its request.
    pub(crate) is_slow: watch::Sender<bool>,
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
        self.is_slow.subscribe().wait_for(|is_slow| !is_slow).await.unwrap();
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
        "hosts-1"
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

/// A gateway in front of one host.
pub(crate) struct Gateway {
    pub(crate) sshd: Sshd,
    pub(crate) port: u16,
    pub(crate) approvals: Arc<Scripted>,
    pub(crate) resource: Arc<ResourceContext>,
    pub(crate) changes: watch::Sender<u64>,
    pub(crate) drain: CancellationToken,
    pub(crate) directory: TempDir,
    accepting: tokio::task::JoinHandle<()>,
}

impl Gateway {
    /// Starts one with these policy rules (YAML of `spec.rules` and `spec.masking`). `None`: skipped.
    pub(crate) async fn start(policy: &str) -> Option<Self> {
        Self::start_with(policy, |_| {}).await
    }

    pub(crate) async fn start_with(policy: &str, adjust: impl FnOnce(&mut Options)) -> Option<Self> {
        let sshd = tokio::task::spawn_blocking(Sshd::start).await.unwrap()?;
        let directory = tempfile::tempdir().unwrap();
        let spool_options = SpoolOptions::new(directory.path().join("log"), "test/shop/hosts/1");
        let (spool, _) = Spool::open(&spool_options).unwrap();
        let (changes, receiver) = watch::channel(0);
        let approvals = Arc::new(Scripted::default());
        let resource = Arc::new(ResourceContext {
            namespace: "shop".to_owned(),
            name: "hosts".to_owned(),
            protocol: "ssh",
            wording: Wording::PROCESS,
            policies: Arc::new(ArcSwap::from_pointee(policies(policy))),
            changes: receiver,
            contact: Contact::here(),
            spool,
            approvals: Arc::clone(&approvals) as Arc<dyn Approvals>,
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
        let drain = CancellationToken::new();
        let role =
            Credentials { username: user(), proof: Proof::Key(PrivateKey::parse(&sshd.user_key).unwrap()) };
        let host = Host {
            name: "web1".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: sshd.port,
            keys: HostKeys::parse(&sshd.host_key).unwrap(),
        };
        let mut options = Options {
            hosts: vec![host],
            roles: BTreeMap::from([("deploy".to_owned(), role)]),
            host_key: PrivateKey::generate().unwrap(),
            authority: Some(PrivateKey::generate().unwrap()),
            limits: Limits { notice_every: Duration::from_millis(300), ..Limits::default() },
            drain: drain.clone(),
            stop: CancellationToken::new(),
        };
        adjust(&mut options);
        let line = options.host_key.public_line();
        let ssh = Arc::new(Ssh::new(options, Arc::clone(&resource), Arc::new(OneToken)).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        std::fs::write(directory.path().join("known_hosts"), format!("[127.0.0.1]:{port} {line}\n")).unwrap();
        let accepting = tokio::spawn(accept(listener, ssh));
        Some(Self { sshd, port, approvals, resource, changes, drain, directory, accepting })
    }

    /// A program that gives the token, part by part, when OpenSSH asks.
    pub(crate) fn askpass(&self, token: &str) -> PathBuf {
        let path = self.directory.path().join("askpass");
        std::fs::write(self.directory.path().join("token"), token).unwrap();
        let script = format!(
            "#!/bin/sh\nfrom=$(printf %s \"$1\" | sed -n 's/.*from byte \\([0-9]*\\).*/\\1/p')\n\
             tail -c +$((${{from:-0}} + 1)) '{}' | head -c 1000\n",
            self.directory.path().join("token").display()
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    /// A client program of OpenSSH's (`ssh`, `scp`, `sftp`) with what it needs to come here.
    pub(crate) fn program(&self, program: &str) -> Command {
        self.program_with(program, TOKEN)
    }

    pub(crate) fn program_with(&self, program: &str, token: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("SSH_ASKPASS", self.askpass(token))
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env_remove("SSH_AUTH_SOCK")
            .arg(format!("-oUserKnownHostsFile={}", self.directory.path().join("known_hosts").display()))
            .args(["-F", "/dev/null", "-oStrictHostKeyChecking=yes", "-oIdentitiesOnly=yes"])
            .arg("-oIdentityFile=none")
            .arg(format!("-oPort={}", self.port))
            .kill_on_drop(true);
        command
    }

    /// Runs one command line.
    pub(crate) async fn run(&self, line: &str) -> Ran {
        self.run_as(TOKEN, &[], line).await
    }

    pub(crate) async fn run_as(&self, token: &str, arguments: &[&str], line: &str) -> Ran {
        let mut command = self.program_with("ssh", token);
        command.args(arguments).arg("deploy@127.0.0.1");
        if !line.is_empty() {
            command.arg(line);
        }
        ran(command.stdin(std::process::Stdio::null()).output().await.unwrap())
    }

    /// Runs one command line as another user.
    pub(crate) async fn run_to(&self, user: &str, line: &str) -> Ran {
        let mut command = self.program("ssh");
        command.args(["-l", user, "127.0.0.1", line]).stdin(std::process::Stdio::null());
        ran(command.output().await.unwrap())
    }

    pub(crate) fn put_in_force(&self, policy: &str) {
        self.resource.policies.store(Arc::new(policies(policy)));
        self.changes.send_modify(|count| *count += 1);
    }

    /// The audit log so far.
    pub(crate) fn records(&self) -> Vec<Record> {
        read::records(&self.directory.path().join("log")).unwrap().map(Result::unwrap).collect()
    }

    /// What was recorded of command `number` of the newest session, decoded.
    pub(crate) fn stream(&self, number: i64) -> Vec<StreamEvent> {
        use proxy_audit::event::key;
        let records = self.records();
        let session = records.iter().rev().find_map(|r| r.text(key::SESSION_ID)).unwrap().to_owned();
        let mut decoder = StreamDecoder::default();
        let mine = records.iter().filter(|r| {
            r.text(key::SESSION_ID) == Some(&*session)
                && r.int(key::COMMAND) == Some(number)
                && r.name().starts_with("portcullis.result")
        });
        mine.flat_map(|r| decoder.feed(r.bytes(key::FRAMES).unwrap_or_default()).unwrap())
            .map(|frame| frame.event)
            .collect()
    }

    /// Whether this was recorded as the output of some command of the newest session.
    pub(crate) fn has_said(&self, wanted: &str) -> bool {
        let began =
            self.records().iter().any(|record| record.text(proxy_audit::event::key::SESSION_ID).is_some());
        let said = |number| crate::exec::said(&self.stream(number), proxy_audit::stream::Channel::STDOUT);
        began && (1..16).any(|number| said(number).contains(wanted))
    }

    /// Everything in the log's files, byte for byte where it is text.
    pub(crate) fn log(&self) -> String {
        let files = std::fs::read_dir(self.directory.path().join("log")).unwrap();
        let bytes: Vec<u8> = files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What came of a program.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn ran(output: std::process::Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn policies(spec: &str) -> PolicySet {
    let facts = ResourceFacts {
        namespace: "shop".to_owned(),
        name: "hosts".to_owned(),
        protocol: "ssh".to_owned(),
        ..ResourceFacts::default()
    };
    let head = "apiVersion: portcullis.dev/v1alpha1\nkind: Policy\nmetadata: {name: agents, namespace: shop}\nspec:\n  \
                targetRefs: [{name: hosts}]\n  subjects: [{group: agents}]\n";
    let indented = spec.replace('\n', "\n  ");
    let policy = serde_yaml_ng::from_str(&format!("{head}  {indented}")).unwrap();
    compile(&facts, &[policy]).unwrap()
}

async fn accept(listener: TcpListener, ssh: Arc<Ssh>) {
    loop {
        let (socket, peer) = listener.accept().await.unwrap();
        let ssh = Arc::clone(&ssh);
        tokio::spawn(async move {
            if let Err(error) = ssh.serve(socket, peer, ()).await {
                println!("gateway: {}", proxy_core::gate::Chain(&error));
            }
        });
    }
}
