//! PostgreSQL's own regression suite with psql, file by file: what it prints through the gateway is what it prints at the
//! server, byte by byte, errors included; and whoever may only read gets nothing done with it.
//!
//! The suite is of a later version than the server is likely to be. What that does not know is an error on both sides.

mod data;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use e2e::gateway::{Gateway, Setup, config_map, secret};
use e2e::issuer::Issuer;
use e2e::postgres::Postgres;
use e2e::process::wait_until;
use e2e::tools;

use crate::programs;
use crate::stage::{self, AUDIENCE, Login, PASSWORD, RESOURCE};

/// What the others build upon.
const FIRST: &[&str] =
    &["test_setup", "create_type", "create_misc", "create_operator", "create_table", "create_index"];

/// Files that cannot be compared, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("copyencoding", "client_encoding is pinned: a policy that allows it all the same ends the session"),
    ("plpgsql", "so is standard_conforming_strings"),
    ("strings", "so is standard_conforming_strings"),
    ("hash_part", "crashes some servers, and what a client says then depends on who closed the connection"),
    ("reindex_catalog", "locks what a catalogue is loaded from, if one has to be just then"),
    ("psql_pipeline", "\\watch prints the time of day"),
    ("stats", "waits for statistics, and prints process identifiers"),
    ("subscription", "leaves subscriptions that keep the database from being dropped"),
    ("prepared_xacts", "leaves prepared transactions that keep the database from being dropped"),
];

/// Every change of what a catalogue holds has it loaded again, with a connection of its own: a debug build takes long for
/// files of many.
const CHANGES_MAX: usize = 20;

/// The same server twice, one behind a gateway.
struct Pair {
    /// First, so that it ends first.
    gateway: Gateway,
    issuer: Issuer,
    direct: Postgres,
    behind: Postgres,
    suite: PathBuf,
    data: TempDir,
    _keys: TempDir,
}

impl Pair {
    fn start() -> Result<Self> {
        let suite = programs::built("regression")?.join("sql");
        let (keys, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
        data::write(data.path())?;
        tools::give_away(data.path())?;
        let (direct, behind) = (server()?, server()?);
        let issuer = Issuer::start(keys.path())?;
        let setup = Setup::new()?;
        setup.write("credentials.yaml", &secret("app", &[("username", "app"), ("password", PASSWORD)]))?;
        setup.write("ca.yaml", &config_map("upstream-ca", &[("ca.crt", &behind.authority().pem())]))?;
        let trusted = json!({ "issuer": issuer.url(), "audiences": [AUDIENCE] });
        setup.write("resource.yaml", &stage::resource(behind.port(), &[trusted]).to_string())?;
        setup.write("owners.yaml", &stage::policy("owners", &stage::owners()).to_string())?;
        setup.write("readers.yaml", &stage::policy("readers", &readers()).to_string())?;
        let pair = Self { gateway: setup.start()?, issuer, direct, behind, suite, data, _keys: keys };
        for server in [&pair.direct, &pair.behind] {
            for file in FIRST {
                pair.psql(&directly(server), file)?;
            }
        }
        Ok(pair)
    }

    /// Through the gateway as a member of a group.
    fn through(&self, group: &str) -> Result<Login> {
        let password = self.issuer.token("tester", &[group], AUDIENCE)?;
        Ok(Login { port: self.gateway.port(RESOURCE)?, user: "app", password, ca: self.gateway.ca() })
    }

    /// What psql prints of a file, statements and errors in order, as the suite's own runner has it print.
    fn psql(&self, login: &Login, file: &str) -> Result<String> {
        let printed = tempfile::tempfile()?;
        let mut psql = Command::new("timeout");
        psql.args(["--kill-after=5", "120", "psql", "-X", "-a", "-q", "-v", "HIDE_TABLEAM=on"]);
        psql.args(["-v", "HIDE_TOAST_COMPRESSION=on"]).envs(login.variables());
        psql.env("PGDATABASE", DATABASE).env("PGAPPNAME", "pg_regress").env("PAGER", "cat");
        psql.env("PG_ABS_SRCDIR", self.data.path()).env("PG_ABS_BUILDDIR", self.data.path());
        psql.env("PG_LIBDIR", "/nowhere").env("PG_DLSUFFIX", ".so").current_dir(self.data.path());
        psql.stdin(std::fs::File::open(self.suite.join(format!("{file}.sql")))?);
        psql.stdout(Stdio::from(printed.try_clone()?)).stderr(Stdio::from(printed.try_clone()?));
        let status = psql.status().context("run psql")?;
        let mut bytes = Vec::new();
        std::io::Seek::rewind(&mut &printed)?;
        std::io::Read::read_to_end(&mut &printed, &mut bytes)?;
        Ok(format!("{}\n{status}", String::from_utf8_lossy(&bytes)))
    }

    /// All files but those left out, in order; of those that change much only in the long mode.
    fn files(&self) -> Result<Vec<String>> {
        let full = std::env::var("PORTCULLIS_REGRESSION").is_ok_and(|mode| mode == "full");
        let mut files: Vec<String> = std::fs::read_dir(&self.suite)?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".sql")?.to_owned()))
            .filter(|file| !FIRST.contains(&file.as_str()))
            .filter(|file| !LEFT_OUT.iter().any(|(left_out, _)| left_out == file))
            .filter(|file| full || self.changes(file).is_ok_and(|changes| changes <= CHANGES_MAX))
            .collect();
        files.sort();
        Ok(files)
    }

    fn changes(&self, file: &str) -> Result<usize> {
        let text = std::fs::read(self.suite.join(format!("{file}.sql")))?;
        let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
        let changes = |line: &&str| ["create ", "alter ", "drop "].iter().any(|word| line.starts_with(word));
        Ok(text.lines().map(str::trim_start).filter(changes).count())
    }
}

/// Database of both servers.
const DATABASE: &str = "regression";

fn server() -> Result<Postgres> {
    let settings = ["timezone=PST8PDT", "datestyle=Postgres, MDY", "fsync=off", "autovacuum=off"];
    let server = Postgres::start(&settings)?;
    let quoted = PASSWORD.replace('\'', "''");
    server.sql("postgres", &format!("create role app superuser login password '{quoted}'"))?;
    let like = "template template0 locale 'C' encoding 'UTF8'";
    server.sql("postgres", &format!("create database {DATABASE} owner app {like}"))?;
    Ok(server)
}

fn directly(server: &Postgres) -> Login {
    let ca = server.authority().file().to_owned();
    Login { port: server.port(), user: "app", password: PASSWORD.to_owned(), ca }
}

/// Whatever reads, and settings, which last as long as the session.
fn readers() -> Value {
    let effects = json!({ "effects": ["Connect", "Select", "Transaction", "Set"] });
    json!({ "subjects": [{ "group": "readers" }], "rules": [stage::allow("reads", &effects)] })
}

/// The first lines that differ.
fn difference(direct: &str, gateway: &str) -> String {
    let same = direct.lines().zip(gateway.lines()).take_while(|(one, other)| one == other).count();
    let around = |text: &str| {
        text.lines().skip(same.saturating_sub(5)).take(12).fold(String::new(), |all, line| all + line + "\n")
    };
    format!("line {}: direct\n{}-- through the gateway\n{}", same + 1, around(direct), around(gateway))
}

#[test]
fn the_suite_prints_what_it_prints_at_the_server() -> Result<()> {
    if !programs::present(&["psql", "postgres", "python3"]) {
        return Ok(());
    }
    let pair = Pair::start()?;
    let (mut compared, mut differences) = (0, Vec::new());
    for file in pair.files()? {
        let direct = pair.psql(&directly(&pair.direct), &file)?;
        let gateway = pair.psql(&pair.through("owners")?, &file)?;
        for server in [&pair.direct, &pair.behind] {
            wait_until("the server serves", || server.sql(DATABASE, "select 1").ok())?;
        }
        compared += 1;
        if direct != gateway {
            differences.push(format!("== {file}, {}", difference(&direct, &gateway)));
        }
    }
    println!("{compared} files compared");
    let found = differences.len();
    ensure!(differences.is_empty(), "{found} differ:\n{}\n{}", differences.join("\n"), pair.gateway.log());
    ensure!(compared > 100, "only {compared} files were there");
    Ok(())
}

/// Whatever writes takes a transaction's identifier; who only reads takes none.
#[test]
fn who_may_only_read_changes_nothing() -> Result<()> {
    if !programs::present(&["psql", "postgres", "python3"]) {
        return Ok(());
    }
    let pair = Pair::start()?;
    let state = || {
        let databases = pair.behind.sql("postgres", "select datname from pg_database order by 1")?;
        let roles = pair.behind.sql("postgres", "select * from pg_authid order by 1")?;
        let taken = pair.behind.sql(DATABASE, "select pg_current_snapshot()")?;
        anyhow::Ok((taken, databases, roles))
    };
    let (before, mut read) = (state()?, 0);
    let files = pair.files()?;
    let more = ["prepared_xacts", "plpgsql"];
    // to ask for one's own identifier takes one
    for file in files.iter().map(String::as_str).chain(more).filter(|file| !["txid", "xid"].contains(file)) {
        let printed = pair.psql(&pair.through("readers")?, file)?;
        read += usize::from(printed.contains(" row"));
        let after = state()?;
        ensure!(after == before, "{file} changed something: {after:?}, was {before:?}\n{printed}");
    }
    ensure!(read > 60, "rows came of {read} files only");
    Ok(())
}
