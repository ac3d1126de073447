//! The programs of `e2e/clients`, each against the server itself and through the gateway.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::observed::Observed;
use crate::programs;
use crate::stage::{Login, Stage};

/// Runs the program both ways and compares. `program` makes its command line from the folder it was built in.
fn check(client: &str, needs: &[&str], program: impl Fn(&Path) -> Command) -> Result<()> {
    if !programs::present(needs) || !programs::present(&["postgres"]) {
        return Ok(());
    }
    let folder = programs::built(client)?;
    let stage = Stage::start()?;
    let direct = run(program(&folder), "direct", &stage.direct())?;
    let gateway = run(program(&folder), "gateway", &stage.driver()?)?;
    let differences = gateway.differences(&direct);
    let log = stage.gateway.log();
    ensure!(differences.is_empty(), "{} differ:\n{}\n{log}", differences.len(), differences.join("\n"));
    Ok(())
}

fn run(mut program: Command, name: &str, login: &Login) -> Result<Observed> {
    program.env("RUN", format!("by {name}"));
    let output = programs::run(&program, login)?;
    let observed = Observed::parse(std::str::from_utf8(&output.stdout)?);
    ensure!(observed.is_ok() && !output.stdout.is_empty(), "the program failed: {}", programs::said(&output));
    observed
}

fn python(folder: &Path, program: &str) -> Command {
    let mut command = Command::new(folder.join("venv/bin/python"));
    command.arg("-B").arg(programs::sources("python").join(program));
    command
}

#[test]
fn psycopg_sees_what_the_server_says() -> Result<()> {
    check("python", &["python3"], |folder| python(folder, "psycopg_client.py"))
}

#[test]
fn asyncpg_sees_what_the_server_says() -> Result<()> {
    check("python", &["python3"], |folder| python(folder, "asyncpg_client.py"))
}

#[test]
fn pgjdbc_sees_what_the_server_says() -> Result<()> {
    check("java", &["java", "javac", "mvn"], |folder| {
        let mut command = Command::new("java");
        command.current_dir(folder).args([
            "-cp",
            ".:postgresql-42.7.14.jar",
            "-Dfile.encoding=UTF-8",
            "Client",
        ]);
        command
    })
}

#[test]
fn pgx_sees_what_the_server_says() -> Result<()> {
    check("go", &["go"], |folder| Command::new(folder.join("client")))
}

#[test]
fn node_postgres_sees_what_the_server_says() -> Result<()> {
    check("node", &["node", "npm"], |folder| {
        let mut command = Command::new("node");
        command.arg(folder.join("client.js"));
        command
    })
}
