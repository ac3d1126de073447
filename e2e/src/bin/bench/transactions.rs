//! pgbench's own workloads.

use super::measure::{Path, Row, in_turn, median, output, pgbench};
use super::scene::Scene;
use anyhow::{Context as _, Result};
use e2e::tools;
use std::io::Write as _;
use std::time::Instant;

/// Select-only in three protocols with 1, 8 and 64 clients, and the default mix with 64.
pub(crate) fn measure(scene: &Scene, seconds: u32) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for protocol in ["simple", "extended", "prepared"] {
        for clients in ["1", "8", "64"] {
            let name = format!("select-only {protocol}, {clients} clients");
            rows.extend(compare(scene, &name, &["-S", "-M", protocol, "-c", clients], seconds)?);
        }
    }
    rows.extend(compare(scene, "read-write mix, 64 clients", &["-c", "64"], seconds)?);
    Ok(rows)
}

fn compare(scene: &Scene, name: &str, arguments: &[&str], seconds: u32) -> Result<Vec<Row>> {
    let program = tools::need("pgbench")?;
    let seconds = seconds.to_string();
    let mut all = vec!["-n", "-j", "2", "-T", &seconds];
    all.extend(arguments);
    let [direct, bouncer, ours] =
        in_turn(ROUNDS, [&scene.direct, &scene.pgbouncer, &scene.guarded], |path| {
            Ok(pgbench(&program, path, &all)?.tps)
        })?;
    Ok(vec![
        Row::new(name, "tps", ours, ("pgbouncer", bouncer)),
        Row::new(name, "tps", ours, ("direct", direct)),
    ])
}

/// Added median latency of one client, for a read and for a write that is synced, and the disk's own sync.
pub(crate) fn latency(scene: &Scene, seconds: u32) -> Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let read = directory.path().join("read.sql");
    std::fs::write(&read, "select abalance from pgbench_accounts where aid = 1;\n")?;
    let write = directory.path().join("write.sql");
    std::fs::write(&write, "insert into written (text) values ('x');\n")?;
    let mut rows = Vec::new();
    for (name, script) in [("median latency of a read", &read), ("median latency of a synced write", &write)]
    {
        let measure = |path: &Path| median_latency(path, script, seconds);
        let [direct, bouncer, ours] =
            in_turn(ROUNDS, [&scene.direct, &scene.pgbouncer, &scene.guarded], measure)?;
        rows.push(Row::new(name, "ms", ours, ("direct", direct)));
        rows.push(Row::new(name, "ms", ours, ("pgbouncer", bouncer)));
    }
    let sync = fdatasync(scene.gateway.state())?;
    if let Some(row) = rows.iter().find(|row| row.name.contains("synced write") && row.peer == "direct") {
        let added = row.ours - row.peer_value;
        rows.push(Row::new(
            "latency added to a synced write, beside one fdatasync",
            "ms",
            added,
            ("fdatasync", sync),
        ));
    }
    Ok(rows)
}

fn median_latency(path: &Path, script: &std::path::Path, seconds: u32) -> Result<f64> {
    let logs = tempfile::tempdir()?;
    let mut command = path.command(&tools::need("pgbench")?);
    let prefix = logs.path().join("latency").display().to_string();
    command
        .args(["-n", "-l", "--log-prefix", &prefix, "-c", "1", "-T", &seconds.to_string(), "-f"])
        .arg(script);
    output(&mut command)?;
    let mut figures = Vec::new();
    for file in std::fs::read_dir(logs.path())? {
        let text = std::fs::read_to_string(file?.path())?;
        let times = text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok());
        figures.extend(times.map(|microseconds| microseconds / 1000.0));
    }
    Ok(median(figures))
}

/// Median milliseconds of appending 640 bytes and syncing them, on the disk of the audit log.
fn fdatasync(directory: &std::path::Path) -> Result<f64> {
    let mut file = std::fs::File::create(directory.join("fdatasync.probe")).context("create a probe")?;
    let mut figures = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        file.write_all(&[7; 640])?;
        file.sync_data()?;
        figures.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(figures))
}

const ROUNDS: usize = 3;
