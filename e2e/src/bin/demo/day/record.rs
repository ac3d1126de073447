//! What is left of the day: sessions that can be listed, replayed and verified.

use super::{AGENT, Day};
use crate::command;
use anyhow::{Context as _, Result, ensure};
use e2e::process::wait_until;
use e2e::shop::CANARY;
use serde_json::Value;
use std::process::Command;

/// Looks at all of it.
pub(super) fn investigate(day: &mut Day<'_>) -> Result<()> {
    let sessions = list(day)?;
    replay(day, &sessions)?;
    verify(day)?;
    tamper(day)
}

/// Identifiers of the sessions that are replayed.
struct Sessions {
    masked: String,
    held: String,
}

fn list(day: &mut Day<'_>) -> Result<Sessions> {
    day.screen.title("The sessions are listed")?;
    // The end of a session is on record a moment after its client is gone.
    let all = wait_until("every session has ended", || {
        let all = day.ask(&["sessions"]).ok()?;
        let ended = all.as_array()?.iter().all(|session| session.get("end").is_some_and(Value::is_string));
        ended.then_some(all)
    })?;
    let count = |text: &str| text.lines().skip(1).filter(|line| line.contains(AGENT)).count().to_string();
    let listed = day.portcullis(&["sessions"])?;
    day.screen.same("all three are there", &count(&listed.text), "3")?;
    let refused = day.portcullis(&["sessions", "--verdict", "deny"])?;
    day.screen.same("one of them was refused something", &count(&refused.text), "1")?;
    Ok(Sessions { masked: session_with(&all, "masked")?, held: session_with(&all, "held")? })
}

/// Identifier of the session that has counted something of a kind.
fn session_with(sessions: &Value, kind: &str) -> Result<String> {
    let mut sessions = sessions.as_array().into_iter().flatten();
    let found = sessions.find(|session| session.get(kind).and_then(Value::as_u64) > Some(0));
    let id = found.and_then(|session| session.get("id")).and_then(Value::as_str);
    id.map(str::to_owned).with_context(|| format!("no session with something {kind}"))
}

fn replay(day: &mut Day<'_>, sessions: &Sessions) -> Result<()> {
    day.screen.title("They are replayed")?;
    let query = day.portcullis(&["replay", &sessions.masked])?;
    day.screen.has("the query's answer is as the agent saw it", &query.text, &["Ada", "(2 rows)"])?;
    day.screen.lacks("nothing unmasked was recorded", &query.text, &["ada@", "bob@", CANARY])?;
    let deletion = day.portcullis(&["replay", &sessions.held])?;
    day.screen.has("the approval is part of the record", &deletion.text, &["approved", "DELETE 10"])
}

fn verify(day: &mut Day<'_>) -> Result<()> {
    day.screen.title("The record is verified")?;
    let said = day.portcullis(&["verify"])?;
    day.screen.same("exit code 0: whole and unchanged", &said.code, "0")
}

fn tamper(day: &mut Day<'_>) -> Result<()> {
    day.screen.title("A copy in which the DELETE has become a SELECT is caught")?;
    let directory = tempfile::Builder::new().prefix("portcullis-copy-").tempdir()?;
    let copy = directory.path().join("audit");
    let (audit, copy) =
        (day.shop.gateway.state().join("audit").display().to_string(), copy.display().to_string());
    shell(day, &format!("cp -r {audit} {copy}"))?;
    let before = day.portcullis(&["verify", "--spool", &copy])?;
    day.screen.same("exit code 0: the copy is as good as the original", &before.code, "0")?;
    // The same length, so that nothing but the words gives it away.
    shell(day, &format!("grep -rl '{DELETION}' {copy} | LC_ALL=C xargs sed -i 's/{DELETION}/{INNOCENT}/'"))?;
    let after = day.portcullis(&["verify", "--spool", &copy])?;
    day.screen.same("exit code 1: it was changed", &after.code, "1")?;
    day.screen.has("and it says where", &after.text, &["TAMPERED", "FIRST BAD"])
}

/// Runs a line of shell as it is shown.
fn shell(day: &mut Day<'_>, line: &str) -> Result<()> {
    day.screen.typed(line)?;
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    let said = command::run(command)?;
    day.screen.printed(&said.text)?;
    ensure!(said.code == "0", "{line}: exit code {}", said.code);
    Ok(())
}

const DELETION: &str = "delete from orders";
const INNOCENT: &str = "select from orders";
