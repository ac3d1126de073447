//! What every story starts with: a host behind the gate, or a printed skip.

use crate::stage::Stage;
use e2e::hosts::{self, Agent, Hosts};
use e2e::process::wait_until;
use e2e::tools;
use proxy_audit::event::key;
use proxy_audit::record::Record;
use serde_json::json;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A running whole, and an agent's machine.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) hosts: Hosts,
    pub(crate) agent: Agent,
}

impl Scene {
    /// `None` where OpenSSH is missing, after printing that.
    pub(crate) fn start() -> Option<Self> {
        Self::with_policy(None)
    }

    /// The same with another Policy.
    pub(crate) fn with_policy(policy: Option<&str>) -> Option<Self> {
        Self::started(policy, &[], &[])
    }

    /// The same with another Policy and a host on a stage.
    pub(crate) fn on_stage(policy: &str, stage: &Stage) -> Option<Self> {
        Self::with(policy, &[&stage.config()], &[])
    }

    /// The same with another Policy, more lines of `sshd_config`, and more arguments of the gateway.
    pub(crate) fn with(policy: &str, sshd: &[&str], arguments: &[&str]) -> Option<Self> {
        Self::started(Some(policy), sshd, arguments)
    }

    /// The same with another Policy, and more fields of the Resource's `recording`.
    pub(crate) fn recording(policy: &str, fields: &str) -> Option<Self> {
        Self::begun(|| Hosts::recording(Some(policy), &[], &[], fields))
    }

    fn started(policy: Option<&str>, sshd: &[&str], arguments: &[&str]) -> Option<Self> {
        Self::begun(|| Hosts::start_with(policy, sshd, arguments))
    }

    fn begun(start: impl FnOnce() -> anyhow::Result<Hosts>) -> Option<Self> {
        tools::or_skip("sshd")?;
        tools::or_skip("ssh")?;
        let hosts = start().unwrap();
        let agent = hosts.agent(&hosts.token("ci-bot").unwrap()).unwrap();
        Some(Self { hosts, agent })
    }

    /// Gives the agent another token, which lives as long as this.
    pub(crate) fn renew(&self, life: Duration) {
        let asked = json!({"sub": "ci-bot", "groups": [hosts::GROUP], "aud": hosts::AUDIENCE, "ttlSeconds": life.as_secs()});
        std::fs::write(self.agent.path().join("token"), self.hosts.issuer.mint(&asked).unwrap()).unwrap();
    }

    /// Runs one command line on the host.
    pub(crate) fn run(&self, line: &str) -> Answer {
        let mut ssh = self.agent.program("ssh").unwrap();
        Answer::of(ssh.args(["web", line]).stdin(Stdio::null()))
    }

    /// Starts one and does not wait for it.
    pub(crate) fn begin(&self, line: &str) -> Child {
        let mut ssh = self.agent.program("ssh").unwrap();
        ssh.args(["web", line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ssh.spawn().unwrap()
    }

    /// Runs `portcullis` on the gateway's state; it must exit with `code`.
    pub(crate) fn portcullis(&self, arguments: &[&str], code: i32) -> Answer {
        let answer = Answer::of(self.hosts.portcullis().unwrap().args(arguments).stdin(Stdio::null()));
        assert_eq!(answer.code, Some(code), "portcullis {arguments:?}: {answer:?}");
        answer
    }

    /// Trades the agent's token for a certificate, and gives the configuration file of `ssh` that presents it.
    pub(crate) fn log_in(&self) -> std::path::PathBuf {
        let keys = self.agent.path().join("keys");
        let directory = keys.to_str().unwrap();
        let gateway = format!("127.0.0.1:{}", self.agent.port);
        let key = &self.hosts.host_key;
        let asked = ["ssh-config", "web", "--gateway", &gateway, "--host-key", key, "--role", "deploy"];
        let stanza = self.portcullis(&[&asked[..], &["--directory", directory]].concat(), 0).out;
        let config = self.agent.path().join("plain_config");
        std::fs::write(&config, &stanza).unwrap();
        let token = self.agent.path().join("token");
        let login =
            ["ssh", "login", "web", "--directory", directory, "--token-file", token.to_str().unwrap()];
        self.portcullis(&[&login[..], &["--ssh-config", config.to_str().unwrap()]].concat(), 0);
        config
    }

    /// Name of the one request that waits.
    pub(crate) fn pending(&self) -> String {
        let approvals = self.hosts.gateway.state().join("approvals");
        wait_until("a request for approval", || {
            let files = std::fs::read_dir(&approvals).ok()?.filter_map(Result::ok);
            let names =
                files.filter_map(|file| file.file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned));
            names.into_iter().find(|name| !name.starts_with('.'))
        })
        .unwrap()
    }

    /// Everything in the audit log's files, byte for byte where it is text.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.log_bytes()).into_owned()
    }

    /// The same as it is.
    pub(crate) fn log_bytes(&self) -> Vec<u8> {
        let listed = Command::new("find")
            .arg(self.hosts.gateway.state().join("audit"))
            .args(["-type", "f"])
            .output()
            .unwrap();
        let files = String::from_utf8(listed.stdout).unwrap();
        files.lines().flat_map(|file| std::fs::read(file).unwrap()).collect()
    }

    /// Every command so far, and its verdict.
    pub(crate) fn decided(&self) -> Vec<(String, String)> {
        let logs = proxy_audit::read::logs(&self.hosts.gateway.state().join("audit")).unwrap();
        let records =
            logs.iter().flat_map(|log| proxy_audit::read::records(log).unwrap()).map(Result::unwrap);
        let verdict = |record: Record| {
            let text = |name| record.text(name).map(str::to_owned);
            Some((text(key::COMMAND_LINE)?, text(key::VERDICT)?))
        };
        records.filter_map(verdict).collect()
    }

    /// KiB of the gateway's memory: `VmRSS` for what it has now, `VmHWM` for the most that it had.
    pub(crate) fn memory(&self, what: &str) -> u64 {
        let process = self.hosts.gateway.process().id();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The replay of every session so far.
    pub(crate) fn replayed(&self) -> String {
        let listed = self.portcullis(&["sessions", "-o", "json"], 0).out;
        let sessions: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let ids = sessions.as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap());
        ids.map(|id| self.portcullis(&["replay", id], 0).out).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of the gateway ---\n{}", self.hosts.gateway.log());
            println!("--- log of sshd ---\n{}", self.hosts.sshd.log());
        } else if let Err(leak) =
            e2e::leaks::search(&self.hosts.gateway, &self.hosts.issuer.signatures(), &[])
        {
            panic!("{leak:#}");
        }
    }
}

/// What a command printed.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::new(&command.output().unwrap())
    }

    pub(crate) fn new(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
