//! Fills a spool with sessions of agents, to measure reading on: query, verify, export.
//!
//! `cargo run --release -p proxy-audit --example spool_fill DIRECTORY RECORDS [NUMBER]`. Logs with other numbers can lie
//! beside one another.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use proxy_audit::event::key;
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

/// Commands of a session.
const COMMANDS: u64 = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("DIRECTORY is missing")?);
    let records: u64 = arguments.next().ok_or("RECORDS is missing")?.parse()?;
    let number: u64 = arguments.next().map_or(Ok(0), |number| number.parse())?;
    let started = Instant::now();
    let origin = format!("bench/default/orders/{number}");
    let options =
        SpoolOptions { max_bytes: 64 << 30, ..SpoolOptions::new(directory.join(number.to_string()), origin) };
    let (spool, _) = Spool::open(&options)?;
    let mut written = 0;
    let mut session = number << 32;
    while written < records {
        written += fill(&spool, session)?;
        session += 1;
    }
    spool.close().await?;
    let rate = written * 1_000 / u64::try_from(started.elapsed().as_millis())?.max(1);
    println!("{written} records in {:?}, {rate} a second", started.elapsed());
    Ok(())
}

/// One session; gives the number of its records.
fn fill(spool: &Spool, session: u64) -> Result<u64, Box<dyn Error>> {
    let agent = session.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
    let stamp = SessionStamp::new(vec![
        (key::SESSION_ID.into(), format!("0199e2a4-7b1c-7d3e-{session:016x}").into()),
        (key::USER_ID.into(), format!("https://issuer.example#agent-{agent}").into()),
        (key::USER_NAME.into(), format!("agent-{agent}").into()),
        (key::USER_ROLES.into(), vec!["agents".to_owned(), format!("team-{}", agent % 7)].into()),
        (format!("{}repository", key::CLAIM_PREFIX).into(), format!("shop/service-{}", agent % 40).into()),
        (key::RESOURCE_NAMESPACE.into(), "default".into()),
        (key::RESOURCE_NAME.into(), "orders".into()),
        (key::RESOURCE_PROTOCOL.into(), "PostgreSQL".into()),
        (key::ROLE.into(), "app".into()),
    ]);
    spool.append(&stamp, Event::new(EventName::SessionStart, Severity::Info, "session started"))?;
    let mut records = 2;
    for number in 0..COMMANDS {
        let mix = (session * COMMANDS + number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (verdict, severity) = match mix >> 57 {
            0 => ("deny", Severity::Warn),
            1 => ("hold", Severity::Warn),
            _ => ("allow", Severity::Info),
        };
        let command = i64::try_from(number + 1)?;
        let table = (mix >> 40) % 500;
        let statement = Event::new(EventName::Statement, severity, "SELECT")
            .with(key::COMMAND, command)
            .with(key::OPERATION, "SELECT")
            .with(
                key::QUERY_TEXT,
                format!("SELECT id, status FROM app.table_{table} WHERE c{} = $1", mix % 2_000),
            )
            .with(key::EFFECTS, vec![format!("read table app.table_{table}")])
            .with(key::DIGEST, format!("{mix:064x}"))
            .with(key::VERDICT, verdict)
            .with(key::POLICY_NAME, "orders")
            .with(key::RULE, format!("rule-{}", mix % 12));
        spool.append(&stamp, statement)?;
        if verdict == "hold" {
            for step in ["requested", "approved"] {
                spool.append(&stamp, approval(command, mix, step))?;
            }
            records += 2;
        }
        let mut result = Event::new(EventName::Result, severity, "result")
            .with(key::COMMAND, command)
            .with(key::OUTCOME, if verdict == "deny" { "refused" } else { "ok" })
            .with(key::ROWS, i64::try_from(mix % 100)?)
            .with(key::DURATION_US, i64::try_from(mix % 50_000)?);
        if mix.is_multiple_of(11) {
            result = result.with(key::MASKED, vec![format!("column app.users.email ×{}", mix % 9 + 1)]);
        }
        spool.append(&stamp, result)?;
        records += 2;
    }
    let end =
        Event::new(EventName::SessionEnd, Severity::Info, "session ended").with(key::REASON, "client_close");
    spool.append(&stamp, end)?;
    Ok(records)
}

fn approval(command: i64, mix: u64, step: &'static str) -> Event {
    Event::new(EventName::Approval, Severity::Info, step)
        .with(key::COMMAND, command)
        .with(key::APPROVAL_NAME, format!("orders-{mix:x}"))
        .with(key::APPROVAL_VERDICT, step)
        .with(key::APPROVERS, vec![format!("dba-{}", mix % 5)])
}
