//! What every story starts with: a shop behind the gate, or a printed skip.

use e2e::shop::{Prepared, Shop};
use e2e::tools;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A running shop, whose failures are the story's.
#[derive(Debug)]
pub(crate) struct Scene(Shop);

/// All but the gateway; `None` where PostgreSQL is missing, after printing that.
pub(crate) fn prepare() -> Option<Prepared> {
    tools::or_skip("postgres")?;
    Some(Prepared::new().unwrap())
}

impl Scene {
    /// `None` where PostgreSQL is missing, after printing that.
    pub(crate) fn start() -> Option<Self> {
        Some(Self(prepare()?.start().unwrap()))
    }

    /// This shop.
    pub(crate) fn of(shop: Shop) -> Self {
        Self(shop)
    }

    /// A token of an agent.
    pub(crate) fn token(&self, subject: &str) -> String {
        self.0.token(subject).unwrap()
    }

    /// psql as a role of the shop's database.
    pub(crate) fn psql(&self, role: &str, token: &str) -> Command {
        self.0.psql(role, token).unwrap()
    }

    /// Runs one psql command line and gives what came of it.
    pub(crate) fn run(&self, role: &str, token: &str, sql: &str) -> Answer {
        Answer::new(
            &self.psql(role, token).args(["-At", "-v", "VERBOSITY=verbose", "-c", sql]).output().unwrap(),
        )
    }

    /// A script that asks the same five times a second until the session ends.
    pub(crate) fn again_and_again(&self, sql: &str) -> PathBuf {
        let script = self.gateway.state().join("again.sql");
        std::fs::write(&script, format!("\\set ON_ERROR_STOP on\n{sql} \\watch 0.2\n")).unwrap();
        script
    }

    /// Starts one psql command line and does not wait for it.
    pub(crate) fn begin(&self, role: &str, token: &str, sql: &str) -> Child {
        let mut command = self.psql(role, token);
        command.args(["-At", "-v", "VERBOSITY=verbose", "-c", sql]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// `portcullis` on the gateway's state.
    pub(crate) fn portcullis_command(&self) -> Command {
        let mut command = self.0.portcullis().unwrap();
        command.stdin(Stdio::null());
        command
    }

    /// Runs `portcullis` on the gateway's state, whatever comes of it.
    pub(crate) fn portcullis_any(&self, arguments: &[&str]) -> Answer {
        Answer::new(&self.0.portcullis().unwrap().args(arguments).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs `portcullis` on the gateway's state; it must exit with `code`.
    pub(crate) fn portcullis(&self, arguments: &[&str], code: i32) -> Answer {
        let done = self.0.portcullis().unwrap().args(arguments).stdin(Stdio::null()).output().unwrap();
        let answer = Answer::new(&done);
        assert_eq!(done.status.code(), Some(code), "portcullis {arguments:?}: {answer:?}");
        answer
    }
}

impl Deref for Scene {
    type Target = Shop;

    fn deref(&self) -> &Shop {
        &self.0
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut Shop {
        &mut self.0
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of the gateway ---\n{}", self.gateway.log());
        } else if let Err(leak) = e2e::leaks::search(&self.gateway, &self.secrets(), &[]) {
            panic!("{leak:#}");
        }
    }
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) success: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    pub(crate) fn new(output: &Output) -> Self {
        Self {
            success: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
            err: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
        }
    }
}
