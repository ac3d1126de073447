//! What a driver received, in PostgreSQL's binary format, is what a replay shows: the same bytes, and in words what psql
//! makes of the same rows.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::process::wait_until;
use e2e::tools;
use serde_json::Value;
use std::process::{Command, Stdio};
use tokio_postgres::config::SslNegotiation;

use super::Session;
use crate::programs;
use crate::stage::Stage;

/// Every type that a replay puts into words: all but `point`.
const EVERY_TYPE: &str = "select id, a_boolean, a_smallint, a_bigint, a_real, a_double, a_numeric, a_text, a_varchar, \
     a_bytea, a_json, a_jsonb, a_uuid, a_date, a_timestamp, a_timestamptz, an_interval, an_inet, integers, texts \
     from every_type order by id";
/// With a masked column.
const PARTS: &str = "select id, name, price, supplier_email from parts order by id";

#[test]
fn what_a_driver_received_in_binary_is_what_is_replayed() -> Result<()> {
    if !programs::present(&["psql", "postgres"]) {
        return Ok(());
    }
    let stage = Stage::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (received, emails) = runtime.block_on(session(&stage))?;
    ensure!(
        emails.len() == 3 && !emails.iter().flatten().any(|email| email.contains("@bolts")),
        "{emails:?}"
    );

    let id = wait_until("the session's end", || {
        let listed = portcullis(&stage, &["sessions", "-o", "json"]).ok()?;
        let listed: Value = serde_json::from_str(&listed).ok()?;
        let ended = listed.as_array()?.iter().find(|session| !session["end"].is_null())?;
        Some(ended["id"].as_str()?.to_owned())
    })?;
    let steps: Value = serde_json::from_str(&portcullis(&stage, &["replay", &id, "-o", "json"])?)?;
    let mut recorded = Vec::new();
    for step in steps.as_array().into_iter().flatten() {
        recorded.extend(STANDARD.decode(step["frames"].as_str().unwrap_or_default())?);
    }
    let (received, recorded) = (rows(&received), rows(&recorded));
    ensure!(received.len() == 2 * (3 + 1) + (3 + 1) + (1 + 1), "rows and ends: {received:?}");
    ensure!(received == recorded, "{received:?}\n--- recorded ---\n{recorded:?}");

    let replayed = portcullis(&stage, &["replay", &id])?;
    for sql in [EVERY_TYPE, PARTS] {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-c", sql]);
        let output = programs::run(&psql, &stage.driver()?)?;
        let printed = String::from_utf8(output.stdout.clone())?;
        ensure!(printed.contains("(3 rows)"), "{}", programs::said(&output));
        ensure!(replayed.contains(printed.trim_end()), "{printed}\n--- replayed ---\n{replayed}");
    }
    for email in emails.iter().flatten() {
        ensure!(replayed.contains(email.as_str()), "{email}: {replayed}");
    }
    Ok(())
}

/// Asks some of it twice, and some with a value. Gives the bytes that came, and what the driver made of a masked column.
async fn session(stage: &Stage) -> Result<(Vec<u8>, Vec<Option<String>>)> {
    let session = Session::open(&stage.driver()?, SslNegotiation::Postgres).await?;
    let every_type = session.prepare(EVERY_TYPE).await?;
    for _ in 0..2 {
        session.query(&every_type, &[]).await?;
    }
    let emails = session.query(PARTS, &[]).await?.iter().map(|row| row.get(3)).collect();
    session.query_one("select name, supplier_email from parts where id = $1", &[&2_i32]).await?;
    Ok((session.tls.received(), emails))
}

/// Rows and the ends of results, among messages of the protocol.
fn rows(mut messages: &[u8]) -> Vec<(char, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((tag, rest)) = messages.split_first()
        && let Some((length, rest)) = rest.split_first_chunk::<4>()
        && let Some(length) = u32::from_be_bytes(*length).checked_sub(4)
        && let Some((body, rest)) = rest.split_at_checked(length as usize)
    {
        if matches!(tag, b'D' | b'C') {
            found.push((char::from(*tag), body.to_vec()));
        }
        messages = rest;
    }
    found
}

fn portcullis(stage: &Stage, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(tools::own("portcullis")?);
    command.args(arguments).env("PORTCULLIS_SPOOL", stage.gateway.state()).stdin(Stdio::null());
    let output = command.output().context("run portcullis")?;
    ensure!(output.status.success(), "{}", programs::said(&output));
    Ok(String::from_utf8(output.stdout)?)
}
