//! Another company's issuer: a certified OpenID provider whose JWT access tokens a job obtains for a resource.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use e2e::process::Process;

use crate::programs;
use crate::stage::Stage;

const OURS: &str = "urn:portcullis:shop";

struct Company {
    issuer: String,
    _process: Process,
}

impl Company {
    fn start(algorithm: &str) -> Result<Self> {
        let folder = programs::built("issuer")?;
        let mut program = Command::new("node");
        program.current_dir(folder).args(["issuer.js", algorithm]);
        let mut process = Process::start("oidc-provider", &mut program)?;
        let issuer = process.wait_for_line("its address", |line| {
            serde_json::from_str::<Value>(line).ok()?.get("issuer")?.as_str().map(str::to_owned)
        })?;
        Ok(Self { issuer, _process: process })
    }

    /// An access token by the client-credentials grant, for the resource (RFC 8707).
    fn token(&self, client: &str, resource: &str) -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "--user",
            &format!("{client}:{client}-secret"),
            "--data",
            "grant_type=client_credentials",
        ]);
        curl.args(["--data-urlencode", &format!("resource={resource}"), &format!("{}/token", self.issuer)]);
        let answer = curl.output().context("run curl")?.stdout;
        let answer: Value = serde_json::from_slice(&answer)?;
        answer
            .get("access_token")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .with_context(|| format!("no token: {answer}"))
    }
}

fn psql(stage: &Stage, token: String) -> Result<std::process::Output> {
    let mut program = Command::new("psql");
    program.args(["-XAt", "-c", "select name from parts where id = 1"]);
    programs::run(&program, &stage.with_token(token)?)
}

fn admits_its_groups_and_nobody_else(algorithm: &str) -> Result<()> {
    if !programs::present(&["node", "npm", "psql", "postgres"]) {
        return Ok(());
    }
    let company = Company::start(algorithm)?;
    let trusted = json!({
        "issuer": company.issuer,
        "audiences": [OURS],
        "claims": { "username": "client_id", "groups": "groups" },
    });
    let stage = Stage::start_with(&[trusted], &[])?;

    let job = psql(&stage, company.token("nightly-report", OURS)?)?;
    ensure!(
        job.status.success() && job.stdout == b"bolt\n",
        "{}\n{}",
        programs::said(&job),
        stage.gateway.log()
    );

    let visitor = psql(&stage, company.token("intern-laptop", OURS)?)?;
    ensure!(
        !visitor.status.success() && visitor.stdout.is_empty(),
        "no policy is about: {}",
        programs::said(&visitor)
    );

    let elsewhere = company.token("nightly-report", "urn:another:service")?;
    let refused = psql(&stage, elsewhere.clone())?;
    ensure!(
        !refused.status.success() && refused.stdout.is_empty(),
        "for another: {}",
        programs::said(&refused)
    );

    let records: Vec<_> = stage.records()?;
    let user = format!("{}#nightly-report", company.issuer);
    let theirs = records.iter().filter(|record| record.text("user.id") == Some(&user)).count();
    ensure!(theirs >= 3, "start, statement and end are theirs: {records:?}");
    let kept = format!("{records:?}{}", stage.gateway.log());
    ensure!(!kept.contains(&elsewhere), "a refused token is kept nowhere");
    Ok(())
}

#[test]
fn a_company_issuer_that_signs_by_rsa_is_trusted() -> Result<()> {
    admits_its_groups_and_nobody_else("RS256")
}

#[test]
fn a_company_issuer_that_signs_by_elliptic_curve_is_trusted() -> Result<()> {
    admits_its_groups_and_nobody_else("ES256")
}
