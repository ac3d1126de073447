//! What the agent does: it reads, it goes too far, it asks for too much.

use super::Day;
use anyhow::{Context as _, Result};
use e2e::process::wait_until;
use e2e::shop::CANARY;

/// All of it.
pub(super) fn work(day: &mut Day<'_>) -> Result<()> {
    read(day)?;
    go_too_far(day)?;
    ask_for_too_much(day)
}

fn read(day: &mut Day<'_>) -> Result<()> {
    day.screen.title("An allowed query comes back masked")?;
    let said = day.psql("readonly", "select id, name, email, ssn from users order by id")?.finish()?;
    day.screen.printed(&said.text)?;
    let there = day.server("select email, ssn from users where id = 1")?;
    day.screen.same("the server holds the values", &there, &format!("ada@example.com|{CANARY}"))?;
    day.screen.same("the query ends well", &said.code, "0")?;
    day.screen.same("the agent gets them masked", &cells(&said.text), MASKED)?;
    day.screen.lacks("nothing of them is in its answer", &said.text, &["ada@", "bob@", CANARY, "219-09"])
}

fn go_too_far(day: &mut Day<'_>) -> Result<()> {
    day.screen.title("DROP DATABASE is refused before the server sees it")?;
    let said = day.psql("app", "drop database shop")?.finish()?;
    day.screen.printed(&said.text)?;
    day.screen.same("psql ends with an error", &said.code, "1")?;
    let parts = ["42501", "no-drops", "Ask #dba; schema changes go through migrations."];
    day.screen.has("it names the rule and what to do next", &said.text, &parts)?;
    // A statement of the same kind, past the gateway: once it is in the log, an earlier one would be too.
    day.server("comment on database shop is 'still here'")?;
    let log = wait_until("the server logs a statement", || {
        let log = day.shop.server.log().to_lowercase();
        log.contains("comment on database shop").then_some(log)
    })?;
    day.screen.has("the server's log holds statements of that kind", &log, &["create database shop"])?;
    day.screen.lacks("and no DROP DATABASE", &log, &["drop database"])?;
    let databases = day.server("select datname from pg_database where datname = 'shop'")?;
    day.screen.same("the database is still there", &databases, "shop")
}

fn ask_for_too_much(day: &mut Day<'_>) -> Result<()> {
    day.screen.title("A DELETE without WHERE waits, is approved, and runs")?;
    let waiting = day.psql("app", "delete from orders")?;
    let request = wait_until("a request for approval", || {
        let pending = day.ask(&["requests"]).ok()?;
        pending.pointer("/0/request/metadata/name")?.as_str().map(str::to_owned)
    })
    .with_context(|| waiting.said())?;
    wait_until("a notice that names it", || waiting.said().contains(&request).then_some(()))?;
    let notice = waiting.said();
    day.screen.printed(&notice)?;
    let before = day.server("select count(*) from orders")?;
    day.screen.same("before the approval all rows are there", &before, "10")?;
    day.screen.say("\n  Meanwhile, somebody else:")?;
    let listed = day.portcullis(&["requests"])?;
    day.screen.has("the request is listed", &listed.text, &[&request, "ci-bot", "pending"])?;
    let approved = day.portcullis(&["approve", &request, "--reason", "CHG-7"])?;
    day.screen.same("it is approved", &approved.code, "0")?;
    day.screen.say("\n  The agent's psql goes on:")?;
    let said = waiting.finish()?;
    day.screen.printed(said.text.get(notice.len()..).unwrap_or(&said.text))?;
    day.screen.has("the DELETE ran", &said.text, &["DELETE 10"])?;
    day.screen.same("psql ends well", &said.code, "0")?;
    let after = day.server("select count(*) from orders")?;
    day.screen.same("after it no row is there", &after, "0")?;
    let again = day.portcullis(&["approve", &request])?;
    day.screen.same("the approval is used up", &again.code, "1")
}

/// The cells of psql's table, by row, without its spaces.
fn cells(table: &str) -> String {
    let rows = table.lines().filter(|line| line.contains('|')).skip(1);
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>().join("|"));
    rows.collect::<Vec<_>>().join("\n")
}

const MASKED: &str = "1|Ada|***********.com|[MASKED:column public.users.ssn]
2|Bob|***********.com|[MASKED:column public.users.ssn]";
