//! A shop behind the gate, for stories and the demo: its database, an issuer, and the gateway with the manifests of
//! `examples/standalone`.

use crate::gateway::{Gateway, Login, Setup, config_map, secret};
use crate::issuer::Issuer;
use crate::postgres::Postgres;
use crate::tools;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Name of the example's Resource.
pub const RESOURCE: &str = "orders";

/// Database behind it.
pub const DATABASE: &str = "shop";

/// Audience of the tokens that it takes.
pub const AUDIENCE: &str = "orders.shop";

/// Group that the example's Policy is about.
pub const GROUP: &str = "agents";

/// A value of the column `users.ssn`, which is masked: it must be seen nowhere but in the server.
pub const CANARY: &str = "078-05-1120";

/// The running shop.
#[derive(Debug)]
pub struct Shop {
    /// The gateway. First, so that it ends first.
    pub gateway: Gateway,
    /// Issuer of the agents' tokens.
    pub issuer: Issuer,
    /// The server behind the gateway. Its log holds statements that change a schema or a database.
    pub server: Postgres,
    keys: TempDir,
}

/// What is needed to start the gateway, before it is started: its manifests can still be changed.
#[derive(Debug)]
pub struct Prepared {
    /// Directories and arguments of the gateway.
    pub setup: Setup,
    /// Issuer of the agents' tokens.
    pub issuer: Issuer,
    /// The server behind the gateway.
    pub server: Postgres,
    keys: TempDir,
}

impl Prepared {
    /// Starts the server and the issuer, fills the database, and points the example at both.
    ///
    /// # Errors
    /// A program is not installed or not built, or does not start; with its log.
    pub fn new() -> Result<Self> {
        // Without this the server's log says nothing of a statement that went well.
        let server = Postgres::start(&["log_statement=ddl"])?;
        server.sql("postgres", &format!("create database {DATABASE}"))?;
        server.sql(DATABASE, TABLES)?;
        let keys = tempfile::Builder::new().prefix("portcullis-issuer-").tempdir()?;
        let issuer = Issuer::start(keys.path())?;
        let setup = Setup::new()?;
        setup.write("resource.yaml", &resource(&server, &issuer)?)?;
        setup.write("policy.yaml", &example("agents.yaml")?)?;
        for role in ["readonly", "app"] {
            let login = secret(&format!("orders-{role}"), &[("username", role), ("password", PASSWORD)]);
            setup.write(&format!("{role}.yaml"), &in_shop(&login)?)?;
        }
        let ca = config_map("orders-ca", &[("ca.crt", &server.authority().pem())]);
        setup.write("ca.yaml", &in_shop(&ca)?)?;
        let tls = std::fs::read_to_string(setup.config().join("gateway-tls.yaml"))?;
        setup.write("gateway-tls.yaml", &in_shop(&tls.replace("gateway-tls", "orders-gateway-tls"))?)?;
        Ok(Self { setup, issuer, server, keys })
    }

    /// What must be nowhere but where it belongs: a masked value, the gateway's own credential, the agents' tokens.
    pub fn secrets(&self) -> Vec<String> {
        secrets(&self.issuer)
    }

    /// Starts the gateway.
    ///
    /// # Errors
    /// It does not start; with its log.
    pub fn start(self) -> Result<Shop> {
        let Self { setup, issuer, server, keys } = self;
        Ok(Shop { gateway: setup.start()?, issuer, server, keys })
    }
}

impl Shop {
    /// Starts everything.
    ///
    /// # Errors
    /// As [`Prepared::new`] and [`Prepared::start`].
    pub fn start() -> Result<Self> {
        Prepared::new()?.start()
    }

    /// A token of an agent.
    ///
    /// # Errors
    /// The issuer is not there.
    pub fn token(&self, subject: &str) -> Result<String> {
        self.issuer.token(subject, &[GROUP], AUDIENCE)
    }

    /// psql through the gateway, as a role of the database.
    ///
    /// # Errors
    /// psql is not installed, or the gateway does not serve the Resource.
    pub fn psql(&self, role: &str, token: &str) -> Result<Command> {
        self.gateway.psql(RESOURCE, &Login { role, database: DATABASE, token })
    }

    /// `portcullis` for this gateway's state and this issuer's keys.
    ///
    /// # Errors
    /// It is not built.
    pub fn portcullis(&self) -> Result<Command> {
        let mut command = Command::new(tools::own("portcullis")?);
        command.env("PORTCULLIS_STATE", self.gateway.state()).env("PORTCULLIS_SPOOL", self.gateway.state());
        command.env("PORTCULLIS_DEV_ISSUER", self.keys());
        Ok(command)
    }

    /// Directory of the issuer's keys.
    pub fn keys(&self) -> &Path {
        self.keys.path()
    }

    /// As [`Prepared::secrets`].
    pub fn secrets(&self) -> Vec<String> {
        secrets(&self.issuer)
    }

    /// The directories that exist as long as the shop.
    pub fn directories(&self) -> Vec<PathBuf> {
        let directories = [self.gateway.config(), self.gateway.state(), self.keys(), self.server.directory()];
        directories.map(Path::to_owned).to_vec()
    }
}

fn secrets(issuer: &Issuer) -> Vec<String> {
    let mut secrets = issuer.signatures();
    secrets.extend([CANARY, PASSWORD].map(str::to_owned));
    secrets
}

/// The example's Resource, pointed at this shop's server and issuer, on a free port.
fn resource(server: &Postgres, issuer: &Issuer) -> Result<String> {
    let mut resource = example("orders.yaml")?;
    let server = format!("port: {}", server.port());
    for (written, here) in
        [("port: 5432", server.as_str()), ("port: 6432", "port: 0"), ("http://127.0.0.1:8180", issuer.url())]
    {
        ensure!(resource.contains(written), "examples/standalone/orders.yaml has no {written} any more");
        resource = resource.replace(written, here);
    }
    Ok(resource)
}

fn example(file: &str) -> Result<String> {
    let path = tools::repository().join("examples/standalone").join(file);
    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// The same manifest in the namespace of the example.
fn in_shop(manifest: &str) -> Result<String> {
    let mut object: Value = serde_json::from_str(manifest).context("read a manifest")?;
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut).context("no metadata")?;
    metadata.insert("namespace".to_owned(), "shop".into());
    Ok(object.to_string())
}

const PASSWORD: &str = "upstream-credential-that-no-client-sees";

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
