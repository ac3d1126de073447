//! The development OIDC issuer, as a process of its own.

use crate::process::Process;
use crate::tools;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A running `portcullis dev-issuer`.
#[derive(Debug)]
pub struct Issuer {
    process: Process,
    url: String,
    issued: Mutex<Vec<String>>,
}

impl Issuer {
    /// Starts an issuer on a free loopback port; its keys are kept in `state`.
    ///
    /// # Errors
    /// It does not start; with its log.
    pub fn start(state: &Path) -> Result<Self> {
        Self::start_at(state, 0)
    }

    /// As [`Issuer::start`], on a port of the caller's choice, so that it can come back where it was.
    ///
    /// # Errors
    /// It does not start; with its log.
    pub fn start_at(state: &Path, port: u16) -> Result<Self> {
        let mut command = Command::new(tools::own("portcullis")?);
        command.args(["dev-issuer", "--listen", &format!("127.0.0.1:{port}"), "--state"]).arg(state);
        let mut process = Process::start("dev-issuer", &mut command)?;
        let url = process.wait_for_line("its address", |line| {
            let start = line.find("http://127.0.0.1:")?;
            line.get(start..)?
                .split_whitespace()
                .next()
                .map(|url| url.trim_end_matches(['/', '.', ',']).to_owned())
        })?;
        Ok(Self { process, url, issued: Mutex::default() })
    }

    /// The issuer's URL, which is also its `iss`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// A token for a subject with groups, for the audience, with 15 minutes to live.
    ///
    /// # Errors
    /// The issuer refuses or is not there.
    pub fn token(&self, subject: &str, groups: &[&str], audience: &str) -> Result<String> {
        self.mint(&json!({ "sub": subject, "groups": groups, "aud": audience }))
    }

    /// A token as the request says: `sub`, `groups`, `aud`, `ttlSeconds`, `claims`.
    ///
    /// # Errors
    /// The issuer refuses or is not there.
    pub fn mint(&self, request: &Value) -> Result<String> {
        let mut command = Command::new("curl");
        command.args([
            "-sS",
            "--fail-with-body",
            "-H",
            "content-type: application/json",
            "-d",
            &request.to_string(),
        ]);
        let done = command.arg(format!("{}/token", self.url)).output().context("run curl")?;
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.status.success() {
            bail!("the issuer refused: {text} {}", String::from_utf8_lossy(&done.stderr));
        }
        let answer: Value = serde_json::from_str(&text).with_context(|| format!("read {text}"))?;
        let token = answer.get("access_token").and_then(Value::as_str).context("no access_token")?;
        let signature = token.rsplit('.').next().unwrap_or(token);
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).push(signature.to_owned());
        Ok(token.to_owned())
    }

    /// The signatures of all tokens so far: what makes a token one, and must be on no record and in no log.
    pub fn signatures(&self) -> Vec<String> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
