//! A database, a host and a cluster behind one gateway process.

use crate::scene::{self, Answer};
use e2e::cluster::Kubectl;
use e2e::gateway::secret;
use e2e::hosts::{self, Agent, Host};
use e2e::shop::{self, Prepared, Shop};
use e2e::tools;
use proxy_audit::read;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// How many there were; each has a namespace of its own.
static WHOLES: AtomicU32 = AtomicU32::new(0);

/// The running whole, and the machine of its clients.
#[derive(Debug)]
pub(crate) struct Whole {
    /// The database and the gateway.
    pub(crate) shop: Shop,
    _host: Host,
    /// The cluster, past the gateway.
    pub(crate) cluster: Kubectl,
    /// Where objects are made.
    pub(crate) namespace: String,
    /// Where the host makes files.
    files: TempDir,
    /// What the clients of the host have.
    pub(crate) agent: Agent,
    /// What all others have.
    home: TempDir,
}

impl Whole {
    /// `None`: skipped.
    pub(crate) fn start() -> Option<Self> {
        Self::start_on(|_| ())
    }

    /// As [`Self::start`], where something is done to the state directory before the gateway starts.
    pub(crate) fn start_on(prepare: impl FnOnce(&Path)) -> Option<Self> {
        let cluster = scene::server()?.client().clone();
        for program in ["postgres", "sshd", "ssh", "curl"] {
            tools::or_skip(program)?;
        }
        let prepared = Prepared::new().unwrap();
        prepared.server.sql(shop::DATABASE, MARKS).unwrap();
        let host = Host::behind(&prepared.setup, &prepared.issuer, &[], "").unwrap();
        let mut resource = scene::resource(&prepared.issuer);
        resource["spec"]["gateway"]["tls"] = json!({"secretRef": {"name": "orders-gateway-tls"}});
        let kubeconfig = scene::own_kubeconfig(&cluster).unwrap();
        let login = secret("cluster-kubeconfig", &[("kubeconfig", &kubeconfig)]);
        let login = serde_json::from_str(&login).unwrap();
        for (file, manifest) in [("cluster.yaml", resource), ("kubeconfig.yaml", login)] {
            prepared.setup.write(file, &in_shop(manifest)).unwrap();
        }
        prepared.setup.write("marks.yaml", POLICIES).unwrap();
        let namespace = format!("whole-{}-{}", std::process::id(), WHOLES.fetch_add(1, Ordering::Relaxed));
        cluster.run(&["create", "namespace", &namespace]).unwrap();
        prepare(prepared.setup.state());
        let shop = prepared.start().unwrap();
        let agent = Agent::new(&shop.gateway, &host.host_key, "").unwrap();
        let [files, home] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        Some(Self { shop, _host: host, cluster, namespace, files, agent, home })
    }

    /// Gives the clients of the host a token that lives a while, and the port that the gateway has now.
    pub(crate) fn renew(&mut self) {
        std::fs::write(self.agent.path().join("token"), self.token(hosts::AUDIENCE)).unwrap();
        self.agent.port = self.shop.gateway.port(hosts::RESOURCE).unwrap();
    }

    /// A token for one of the three.
    pub(crate) fn token(&self, audience: &str) -> String {
        self.shop.issuer.token("loader", &[scene::GROUP], audience).unwrap()
    }

    /// Kills the gateway and starts it again; with a pause, kills that one after it, too.
    pub(crate) fn crash(&mut self, again_after: Option<Duration>) {
        let gateway = &mut self.shop.gateway;
        match again_after {
            Some(pause) => gateway.crash_and_restart_twice(pause).unwrap(),
            None => gateway.crash_and_restart().unwrap(),
        }
    }

    /// Ends the gateway in order.
    pub(crate) fn stop(&mut self) {
        self.shop.gateway.process().signal("TERM").unwrap();
        self.shop.gateway.process_mut().wait().unwrap();
    }

    /// Every log verifies, and no token is in anything that is left. Gives the number of logs.
    pub(crate) fn verify(&self) -> usize {
        let done = self.shop.portcullis().unwrap().arg("verify").stdin(Stdio::null()).output().unwrap();
        let answer = Answer::new(&done);
        assert!(answer.ok(), "{answer:?}");
        e2e::leaks::search(&self.shop.gateway, &self.shop.secrets(), &[]).unwrap();
        read::logs(self.shop.gateway.state()).unwrap().len()
    }

    /// A file of the clients'.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Where the host makes files.
    pub(crate) fn files(&self) -> &Path {
        self.files.path()
    }

    /// A row, a file and an object, of which the gateway knows nothing.
    pub(crate) fn change_directly(&self, [row, file, object]: &[String; 3]) {
        self.shop.server.sql(shop::DATABASE, &format!("insert into marks values ('{row}')")).unwrap();
        std::fs::write(self.files().join(file), "").unwrap();
        let namespace = format!("--namespace={}", self.namespace);
        self.cluster.run(&["create", "configmap", object, &namespace]).unwrap();
    }

    /// kubectl through the gateway.
    pub(crate) fn kubectl(&self, name: &str) -> Command {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "gateway",
            "clusters": [{"name": "gateway", "cluster": {
                "server": self.address(), "certificate-authority": self.shop.gateway.ca(),
            }}],
            "users": [{"name": "agent", "user": {"token": self.token(scene::AUDIENCE)}}],
            "contexts": [{"name": "gateway", "context": {"cluster": "gateway", "user": "agent"}}],
        });
        let file = self.file(&format!("{name}.kubeconfig"));
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = self.cluster.command();
        command.env("KUBECONFIG", file).env("KUBECACHEDIR", self.file("cache"));
        command
    }

    /// The cluster through the gateway, as it is now.
    pub(crate) fn address(&self) -> String {
        format!("https://localhost:{}", self.shop.gateway.port(scene::RESOURCE).unwrap())
    }
}

fn in_shop(mut manifest: Value) -> String {
    manifest["metadata"]["namespace"] = "shop".into();
    manifest.to_string()
}

const MARKS: &str = "
create table marks (name text, at timestamptz default clock_timestamp());
grant insert on marks to app;
";

const POLICIES: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: files, namespace: shop}
spec:
  targetRefs: [{name: web}]
  subjects: [{group: agents}]
  rules:
  - {name: files, action: Allow, ssh: {effects: [Execute, Read, Write, Attributes]}}
---
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: objects, namespace: shop}
spec:
  targetRefs: [{name: cluster}]
  subjects: [{group: agents}]
  rules:
  - {name: objects, action: Allow, kubernetes: {}}
  - {name: no-nodes, action: Deny, kubernetes: {verbs: [delete], resources: [nodes]}}
";
