//! What a record costs: time in `append`, and group commits beside the disk's own `fdatasync`.
//!
//! `cargo run --release -p proxy-audit --example spool_bench [DIRECTORY]`; the directory decides which disk.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use proxy_audit::event::key;
use proxy_audit::{Event, EventName, SessionStamp, Severity, Spool, SpoolOptions};
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const APPENDS: u32 = 200_000;
const SESSIONS: u32 = 64;
const COMMITS: u32 = 200;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = root.join(format!("spool-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let measured = measure(&directory).await;
    std::fs::remove_dir_all(&directory)?;
    measured
}

async fn measure(directory: &Path) -> Result<(), Box<dyn Error>> {
    println!("disk           fdatasync of a 1 KiB append      p50 {:?}", disk(directory)?);
    let (spool, _) = Spool::open(&SpoolOptions::new(directory.join("log"), "bench/default/orders/0"))?;
    let session = stamp();

    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    for number in 0..APPENDS {
        let event = statement(number);
        let before = Instant::now();
        spool.append(&session, event)?;
        slowest = slowest.max(before.elapsed());
    }
    println!(
        "append         one session   {:>8} ns/record, slowest {slowest:?}",
        started.elapsed().as_nanos() / u128::from(APPENDS)
    );

    let mut waits = Vec::new();
    for number in 0..COMMITS {
        let before = Instant::now();
        let receipt = spool.append(&session, statement(number))?;
        spool.synced(receipt).await?;
        waits.push(before.elapsed());
    }
    println!("append+synced  one session   p50 {:?}", median(waits));

    let started = Instant::now();
    let mut sessions = tokio::task::JoinSet::new();
    for _ in 0..SESSIONS {
        let spool = spool.clone();
        sessions.spawn(async move {
            let session = stamp();
            let mut waits = Vec::new();
            for number in 0..COMMITS {
                let before = Instant::now();
                let receipt = spool.append(&session, statement(number))?;
                spool.synced(receipt).await?;
                waits.push(before.elapsed());
            }
            Ok::<_, proxy_audit::SpoolError>(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(joined) = sessions.join_next().await {
        waits.extend(joined??);
    }
    let rate = f64::from(SESSIONS * COMMITS) / started.elapsed().as_secs_f64();
    println!("append+synced  {SESSIONS} sessions   p50 {:?}, {rate:.0} records/s", median(waits));
    spool.close().await?;
    Ok(())
}

/// The disk's own price of one small durable write.
fn disk(directory: &Path) -> std::io::Result<Duration> {
    let file = File::create(directory.join("probe"))?;
    let block = [7; 1_024];
    let mut waits = Vec::new();
    for number in 0..u64::from(COMMITS) {
        let before = Instant::now();
        file.write_all_at(&block, number * 1_024)?;
        file.sync_data()?;
        waits.push(before.elapsed());
    }
    Ok(median(waits))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn stamp() -> SessionStamp {
    SessionStamp::new(vec![
        (key::SESSION_ID.into(), "0199e2a4-7b1c-7d3e-9f00-8a6b5c4d3e2f".into()),
        (key::USER_ID.into(), "https://issuer.example#agent-7".into()),
        (key::USER_NAME.into(), "agent-7".into()),
        (key::USER_ROLES.into(), vec!["agents".to_owned(), "orders-readers".to_owned()].into()),
        (key::RESOURCE_NAMESPACE.into(), "default".into()),
        (key::RESOURCE_NAME.into(), "orders".into()),
        (key::RESOURCE_PROTOCOL.into(), "PostgreSQL".into()),
        (key::ROLE.into(), "app".into()),
    ])
}

fn statement(number: u32) -> Event {
    Event::new(EventName::Statement, Severity::Info, "allow: SELECT")
        .with(key::COMMAND, i64::from(number))
        .with(key::OPERATION, "SELECT")
        .with(
            key::QUERY_TEXT,
            "SELECT id, status FROM app.orders WHERE customer = $1 ORDER BY created DESC LIMIT 20",
        )
        .with(key::EFFECTS, vec!["read table app.orders".to_owned()])
        .with(key::DIGEST, "3f2a9c0d5b7e41f68c1a2b3c4d5e6f708192a3b4c5d6e7f80912a3b4c5d6e7f8")
        .with(key::VERDICT, "allow")
        .with(key::POLICY_NAME, "orders-read")
        .with(key::RULE, "reads")
        .with(key::POLICY_DIGEST, "9d0c1b2a39485766758493a2b1c0dfee9d0c1b2a39485766758493a2b1c0dfee")
}
