//! What is measured: one PostgreSQL, and three ways to it with the same TLS on every path.

use super::measure::Path;
use super::pgbouncer::PgBouncer;
use anyhow::Result;
use e2e::gateway::{Gateway, Setup, config_map, secret};
use e2e::issuer::Issuer;
use e2e::postgres::Postgres;
use e2e::tools;
use tempfile::TempDir;

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) server: Postgres,
    pub(crate) bouncer: PgBouncer,
    pub(crate) gateway: Gateway,
    pub(crate) direct: Path,
    pub(crate) pgbouncer: Path,
    /// Recording, policy, column masks and every detector.
    pub(crate) guarded: Path,
    /// Recording, policy and column masks, no detectors.
    pub(crate) plain: Path,
    _issuer: Issuer,
    _directory: TempDir,
}

impl Scene {
    /// Starts everything and fills the database.
    pub(crate) fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
        let password: String = format!("bench-{:x}", std::process::id());
        let server = Postgres::start(&["max_connections=2200", "shared_buffers=512MB", "max_wal_size=4GB"])?;
        fill(&server, &password)?;
        let bouncer = PgBouncer::start(&server, "bench", &password)?;
        let issuer = Issuer::start(directory.path())?;
        let gateway = gateway(&server, &issuer, &password)?;
        let way = |token: String| -> Result<Path> {
            Ok(Path {
                name: "gateway",
                port: gateway.port("bench")?,
                user: "bench".to_owned(),
                password: token,
                ca: gateway.ca(),
            })
        };
        let token = |group: &str| {
            issuer.mint(
                &serde_json::json!({"sub": "bench", "groups": [group], "aud": "bench", "ttlSeconds": 14_400}),
            )
        };
        Ok(Self {
            direct: Path {
                name: "direct",
                port: server.port(),
                user: "bench".to_owned(),
                password: password.clone(),
                ca: server.authority().file().to_owned(),
            },
            pgbouncer: bouncer.path("bench", &password),
            guarded: way(token("guarded")?)?,
            plain: way(token("plain")?)?,
            server,
            bouncer,
            gateway,
            _issuer: issuer,
            _directory: directory,
        })
    }
}

fn fill(server: &Postgres, password: &str) -> Result<()> {
    server.sql("postgres", &format!("create role bench login password '{password}'"))?;
    server.sql("postgres", "create database bench owner bench")?;
    let pgbench = tools::need("pgbench")?;
    let socket = server.directory().display().to_string();
    let port = server.port().to_string();
    let mut command = std::process::Command::new(pgbench);
    command.args(["-i", "-q", "-s", "10", "-h", &socket, "-p", &port, "-U", "postgres", "bench"]);
    super::measure::output(&mut command)?;
    server.sql("bench", TABLES)?;
    server.sql("bench", "vacuum analyze")?;
    Ok(())
}

fn gateway(server: &Postgres, issuer: &Issuer, password: &str) -> Result<Gateway> {
    let setup = Setup::new()?;
    setup.write("login.yaml", &secret("login", &[("username", "bench"), ("password", password)]))?;
    setup.write("ca.yaml", &config_map("upstream-ca", &[("ca.crt", &server.authority().pem())]))?;
    let resource =
        RESOURCE.replace("UPSTREAM_PORT", &server.port().to_string()).replace("ISSUER_URL", issuer.url());
    setup.write("resource.yaml", &resource)?;
    setup.write("policy.yaml", POLICY)?;
    setup.argument("--max-unauthenticated-per-address=4000").start()
}

const TABLES: &str = "
create table bulk as select i as id, 'customer ' || i as name, i * 7 % 1000 as amount, md5(i::text) as hash,
  'note number ' || i || ' about nothing in particular' as note from generate_series(1, 1000000) i;
create table secrets as select id, 'user' || id || '@example.com' as email, name, amount, note from bulk;
create table written (id bigint generated always as identity, text text);
grant select, insert, update, delete on all tables in schema public to bench;
";

const RESOURCE: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: Resource
metadata: {name: bench}
spec:
  postgresql:
    host: localhost
    port: UPSTREAM_PORT
    tls: {mode: VerifyFull, caRef: {name: upstream-ca, key: ca.crt}}
    roles: [{name: bench, credentialsRef: {name: login}}]
  authentication: {issuers: [{issuer: ISSUER_URL, audiences: [bench]}]}
  gateway: {service: {port: 0}, tls: {secretRef: {name: gateway-tls}}, maxSessions: 4000}
";

const POLICY: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: bench}
spec:
  targetRefs: [{name: bench}]
  rules:
  - {name: no-drops, action: Deny, postgresql: {effects: [Drop, Truncate]}}
  - {name: unbounded, action: Hold, postgresql: {effects: [Delete], unbounded: true}}
  - {name: work, action: Allow, postgresql: {effects: [Select, Insert, Update, Delete, Maintain], relations: ['public.*']}}
  masking:
  - {columns: [public.secrets.email], with: {type: Partial, keepLast: 4}}
---
apiVersion: portcullis.dev/v1alpha1
kind: Policy
metadata: {name: detectors}
spec:
  targetRefs: [{name: bench}]
  subjects: [{group: guarded}]
  masking:
  - {detectors: [Secrets, PersonalData]}
";
