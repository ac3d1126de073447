//! What every story starts with: a shop's database, an issuer, and the gateway from the example manifests.

use e2e::gateway::{Gateway, Login, Setup, config_map, secret};
use e2e::issuer::Issuer;
use e2e::postgres::Postgres;
use e2e::tools;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A running shop.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) server: Postgres,
    pub(crate) issuer: Issuer,
    pub(crate) gateway: Gateway,
    _directory: TempDir,
}

/// What is needed to start a gateway, before it is started.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) server: Postgres,
    pub(crate) issuer: Issuer,
    pub(crate) setup: Setup,
    directory: TempDir,
}

impl Prepared {
    /// `None` where PostgreSQL is missing, after printing that.
    pub(crate) fn new() -> Option<Self> {
        tools::or_skip("postgres")?;
        let directory = tempfile::tempdir().unwrap();
        let server = Postgres::start(&[]).unwrap();
        server.sql("postgres", "create database shop").unwrap();
        server.sql("shop", TABLES).unwrap();
        let issuer = Issuer::start(directory.path()).unwrap();
        let setup = Setup::new().unwrap();
        setup.write("resource.yaml", &resource(&server, &issuer)).unwrap();
        setup.write("policy.yaml", &example("agents.yaml")).unwrap();
        for role in ["readonly", "app"] {
            let login = secret(&format!("orders-{role}"), &[("username", role), ("password", PASSWORD)]);
            setup.write(&format!("{role}.yaml"), &in_shop(&login)).unwrap();
        }
        let ca = config_map("orders-ca", &[("ca.crt", &server.authority().pem())]);
        setup.write("ca.yaml", &in_shop(&ca)).unwrap();
        let tls = std::fs::read_to_string(setup.config().join("gateway-tls.yaml")).unwrap();
        setup.write("gateway-tls.yaml", &in_shop(&tls.replace("gateway-tls", "orders-gateway-tls"))).unwrap();
        Some(Self { server, issuer, setup, directory })
    }

    /// Starts the gateway.
    pub(crate) fn start(self) -> Scene {
        let Self { server, issuer, setup, directory } = self;
        Scene { server, issuer, gateway: setup.start().unwrap(), _directory: directory }
    }
}

impl Scene {
    /// `None` where PostgreSQL is missing, after printing that.
    pub(crate) fn start() -> Option<Self> {
        Prepared::new().map(Prepared::start)
    }

    /// A token of an agent.
    pub(crate) fn token(&self, subject: &str) -> String {
        self.issuer.token(subject, &["agents"], "orders.shop").unwrap()
    }

    /// psql as a role of the shop's database.
    pub(crate) fn psql(&self, role: &str, token: &str) -> Command {
        self.gateway.psql("orders", &Login { role, database: "shop", token }).unwrap()
    }

    /// Runs one psql command line and gives what came of it.
    pub(crate) fn run(&self, role: &str, token: &str, sql: &str) -> Answer {
        Answer::new(
            &self.psql(role, token).args(["-At", "-v", "VERBOSITY=verbose", "-c", sql]).output().unwrap(),
        )
    }

    /// Starts one psql command line and does not wait for it.
    pub(crate) fn begin(&self, role: &str, token: &str, sql: &str) -> Child {
        let mut command = self.psql(role, token);
        command.args(["-At", "-v", "VERBOSITY=verbose", "-c", sql]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs `portcullis` on the gateway's state; it must exit with `code`.
    pub(crate) fn portcullis(&self, arguments: &[&str], code: i32) -> Answer {
        let mut command = Command::new(tools::own("portcullis").unwrap());
        command.args(arguments).env("PORTCULLIS_STATE", self.gateway.state());
        command.env("PORTCULLIS_SPOOL", self.gateway.state()).stdin(Stdio::null());
        let done = command.output().unwrap();
        let answer = Answer::new(&done);
        assert_eq!(done.status.code(), Some(code), "portcullis {arguments:?}: {answer:?}");
        answer
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of the gateway ---\n{}", self.gateway.log());
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

/// The example's Resource, pointed at this story's server and issuer, on a free port.
fn resource(server: &Postgres, issuer: &Issuer) -> String {
    let example = example("orders.yaml");
    let pointed = example.replace("port: 5432", &format!("port: {}", server.port()));
    let pointed = pointed.replace("port: 6432", "port: 0").replace("http://127.0.0.1:8180", issuer.url());
    assert!(
        pointed.contains(issuer.url()) && pointed.contains("port: 0"),
        "the example has changed:\n{example}"
    );
    pointed
}

fn example(file: &str) -> String {
    std::fs::read_to_string(tools::repository().join("examples/standalone").join(file)).unwrap()
}

/// The same manifest in the namespace of the example.
fn in_shop(manifest: &str) -> String {
    let mut object: serde_json::Value = serde_json::from_str(manifest).unwrap();
    object["metadata"]["namespace"] = "shop".into();
    object.to_string()
}

const PASSWORD: &str = "upstream-credential-that-no-client-sees";

/// The canary of the masking stories is the number that `standards` of this field use.
pub(crate) const CANARY: &str = "078-05-1120";

const TABLES: &str = "
create role readonly login password 'upstream-credential-that-no-client-sees';
create role app login password 'upstream-credential-that-no-client-sees';
create table users (id int primary key, name text, email text, ssn text);
insert into users values (1, 'Ada', 'ada@example.com', '078-05-1120'), (2, 'Bob', 'bob@example.com', '219-09-9999');
create table orders (id int primary key, user_id int references users, amount numeric, note text);
insert into orders select i, 1 + i % 2, i * 10, 'order ' || i from generate_series(1, 10) i;
grant select on all tables in schema public to readonly;
grant select, insert, update, delete, truncate on all tables in schema public to app;
";
