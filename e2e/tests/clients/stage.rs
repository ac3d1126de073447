//! A shop's database behind a gateway, and the logins of those who come: what the policies here allow is what the
//! clients' behaviours need, and nothing for dropping a table.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};
use tempfile::TempDir;

use e2e::gateway::{Gateway, Setup, config_map, secret};
use e2e::issuer::Issuer;
use e2e::postgres::Postgres;
use proxy_audit::read;
use proxy_audit::record::Record;

/// Name of the Resource.
pub(crate) const RESOURCE: &str = "shop";
/// Audience of the development issuer's tokens.
pub(crate) const AUDIENCE: &str = "portcullis";

/// A server with the tables of `seed.sql`, an issuer and a gateway.
#[derive(Debug)]
pub(crate) struct Stage {
    /// First, so that it ends first.
    pub(crate) gateway: Gateway,
    /// Issuer of the tokens.
    pub(crate) issuer: Issuer,
    /// The upstream.
    pub(crate) postgres: Postgres,
    _keys: TempDir,
}

/// What a client is told to connect with.
#[derive(Clone)]
pub(crate) struct Login {
    /// Port on localhost.
    pub(crate) port: u16,
    /// Role that it asks for.
    pub(crate) user: &'static str,
    /// Password, or token.
    pub(crate) password: String,
    /// Certificate authority to verify.
    pub(crate) ca: PathBuf,
}

impl Login {
    /// The connection as libpq's environment variables, which every driver here reads.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("PGHOST", "localhost".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", self.user.to_owned()),
            ("PGPASSWORD", self.password.clone()),
            ("PGDATABASE", RESOURCE.to_owned()),
            ("PGSSLMODE", "verify-full".to_owned()),
            ("PGSSLROOTCERT", self.ca.display().to_string()),
        ]
    }
}

impl Stage {
    /// Starts everything with the development issuer as the only one.
    ///
    /// # Errors
    /// Something does not start; with its log.
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(&[], &[])
    }

    /// As [`Stage::start`], with further entries of `issuers` and further arguments of the gateway.
    ///
    /// # Errors
    /// Something does not start; with its log.
    pub(crate) fn start_with(issuers: &[Value], arguments: &[String]) -> Result<Self> {
        let postgres = Postgres::start(&["timezone=UTC", "fsync=off"])?;
        let quoted = PASSWORD.replace('\'', "''");
        for role in ["app", "visitor"] {
            postgres.sql("postgres", &format!("create role {role} login password '{quoted}'"))?;
        }
        postgres.sql("postgres", "create database shop owner app")?;
        postgres.sql(RESOURCE, "alter schema public owner to app")?;
        let seed = std::fs::read_to_string(crate::programs::sources("seed.sql"))?;
        postgres.sql(RESOURCE, &format!("set role app; {seed}"))?;
        postgres.sql(RESOURCE, "grant select on all tables in schema public to visitor")?;
        postgres.sql(RESOURCE, "grant insert on deliveries to visitor")?;

        let keys = tempfile::tempdir()?;
        let issuer = Issuer::start(keys.path())?;
        let mut setup = Setup::new()?;
        for argument in arguments {
            setup = setup.argument(argument);
        }
        let mut trusted = vec![json!({ "issuer": issuer.url(), "audiences": [AUDIENCE] })];
        trusted.extend_from_slice(issuers);
        setup.write("credentials.yaml", &secret("app", &[("username", "app"), ("password", PASSWORD)]))?;
        setup.write("ca.yaml", &config_map("upstream-ca", &[("ca.crt", &postgres.authority().pem())]))?;
        setup.write("resource.yaml", &resource(postgres.port(), &trusted).to_string())?;
        setup.write("drivers.yaml", &policy("drivers", &drivers()).to_string())?;
        setup.write("owners.yaml", &policy("owners", &owners()).to_string())?;
        setup.write("masks.yaml", &policy("masks", &masks()).to_string())?;
        Ok(Self { gateway: setup.start()?, issuer, postgres, _keys: keys })
    }

    /// Straight to the server, as a role that owns nothing: what it may not drop is refused by the server.
    pub(crate) fn direct(&self) -> Login {
        self.login_direct("visitor")
    }

    /// Straight to the server as the tables' owner.
    pub(crate) fn direct_owner(&self) -> Login {
        self.login_direct("app")
    }

    /// Through the gateway as a member of the group `drivers`, to the role that owns the tables: what may not be
    /// dropped is refused by the gateway only.
    ///
    /// # Errors
    /// There is no token or no such port.
    pub(crate) fn driver(&self) -> Result<Login> {
        self.login("drivers")
    }

    /// Through the gateway as a member of the group `owners`, who may do whatever can be told.
    ///
    /// # Errors
    /// There is no token or no such port.
    pub(crate) fn owner(&self) -> Result<Login> {
        self.login("owners")
    }

    /// Through the gateway with a token of one's own.
    ///
    /// # Errors
    /// The Resource is not served.
    pub(crate) fn with_token(&self, token: String) -> Result<Login> {
        let port = self.gateway.port(RESOURCE)?;
        Ok(Login { port, user: "app", password: token, ca: self.gateway.ca() })
    }

    /// Every record of the gateway's audit log so far, in order.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        let mut all = Vec::new();
        for log in read::logs(&self.gateway.state().join("audit"))? {
            all.extend(read::records(&log)?.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(all)
    }

    fn login(&self, group: &str) -> Result<Login> {
        self.with_token(self.issuer.token("tester", &[group], AUDIENCE)?)
    }

    fn login_direct(&self, user: &'static str) -> Login {
        let ca = self.postgres.authority().file().to_owned();
        Login { port: self.postgres.port(), user, password: PASSWORD.to_owned(), ca }
    }
}

/// The Resource of a server at that port, with one role.
pub(crate) fn resource(port: u16, issuers: &[Value]) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "Resource",
        "metadata": { "name": RESOURCE },
        "spec": {
            "postgresql": {
                "host": "localhost",
                "port": port,
                "tls": { "caRef": { "name": "upstream-ca", "key": "ca.crt" } },
                "roles": [{ "name": "app", "credentialsRef": { "name": "app" } }],
            },
            "authentication": { "issuers": issuers },
            "gateway": { "service": { "port": 0 }, "tls": { "secretRef": { "name": "gateway-tls" } } },
        },
    })
}

/// A Policy for the Resource.
pub(crate) fn policy(name: &str, rules: &Value) -> Value {
    let mut spec = json!({ "targetRefs": [{ "name": RESOURCE }] });
    if let (Some(spec), Some(rules)) = (spec.as_object_mut(), rules.as_object()) {
        spec.extend(rules.clone());
    }
    let metadata = json!({ "name": name });
    json!({ "apiVersion": "portcullis.dev/v1alpha1", "kind": "Policy", "metadata": metadata, "spec": spec })
}

/// What the drivers' behaviours need.
fn drivers() -> Value {
    let readable = ["public.*", "pg_catalog.*", "information_schema.*"];
    json!({
        "subjects": [{ "group": "drivers" }],
        "rules": [
            allow("sessions", &json!({ "effects": ["Connect", "Transaction", "Set", "Notify"] })),
            allow("reads", &json!({ "effects": ["Select"], "relations": readable })),
            allow("deliveries", &json!({ "effects": ["Insert"], "relations": ["public.deliveries"] })),
            allow("functions", &json!({ "effects": ["Call"], "functions": FUNCTIONS })),
        ],
    })
}

/// Functions outside the built-in allow-list, and who calls them.
const FUNCTIONS: &[&str] = &[
    // The running query of `cancel`.
    "pg_catalog.pg_sleep",
    // asyncpg, when a connection goes back to its pool.
    "pg_catalog.pg_advisory_unlock_all",
    // asyncpg turns `jit` off around its own questions to the catalogue.
    "pg_catalog.set_config",
];

/// Whatever has a name. What cannot be told is named as well: `pg_dump` executes statements that it prepared by SQL.
pub(crate) fn owners() -> Value {
    json!({
        "subjects": [{ "group": "owners" }],
        "rules": [allow("everything", &json!({})), allow("even-this", &json!({ "effects": ["Unknown"] }))],
    })
}

fn masks() -> Value {
    json!({ "masking": [{ "columns": ["public.parts.supplier_email"] }] })
}

pub(crate) fn allow(name: &str, postgresql: &Value) -> Value {
    json!({ "name": name, "action": "Allow", "postgresql": postgresql })
}

pub(crate) const PASSWORD: &str = "the target's own";
