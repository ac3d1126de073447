//! A million rows, by SELECT and by COPY.

use super::measure::{Path, Row, in_turn, output, pgbench};
use super::scene::Scene;
use anyhow::Result;
use e2e::tools;
use std::process::Stdio;
use std::time::Instant;

/// Unmasked, with a masked column, and with every detector.
pub(crate) fn measure(scene: &Scene, _seconds: u32) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (table, what) in [("bulk", "unmasked"), ("secrets", "one column masked")] {
        let select = |path: &Path| select(path, table);
        let copy = |path: &Path| copy(path, table);
        rows.extend(compare(scene, &format!("SELECT of 1,000,000 rows, {what}"), &select)?);
        rows.extend(compare(scene, &format!("COPY of 1,000,000 rows, {what}"), &copy)?);
    }
    Ok(rows)
}

fn compare(scene: &Scene, name: &str, measure: &dyn Fn(&Path) -> Result<f64>) -> Result<Vec<Row>> {
    let paths = [&scene.direct, &scene.pgbouncer, &scene.plain, &scene.guarded];
    let [direct, bouncer, plain, guarded] = in_turn(ROUNDS, paths, measure)?;
    let detectors = format!("{name}, every detector");
    Ok(vec![
        Row::new(name, "rows/s", plain, ("pgbouncer", bouncer)),
        Row::new(name, "rows/s", plain, ("direct", direct)),
        Row::new(detectors, "rows/s", guarded, ("pgbouncer", bouncer)),
    ])
}

fn select(path: &Path, table: &str) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let script = directory.path().join("select.sql");
    std::fs::write(&script, format!("select * from {table};\n"))?;
    let script = script.display().to_string();
    let figures = pgbench(&tools::need("pgbench")?, path, &["-n", "-t", "1", "-f", &script])?;
    Ok(ROWS / (figures.latency_ms / 1000.0))
}

fn copy(path: &Path, table: &str) -> Result<f64> {
    let start = Instant::now();
    let mut command = path.command(&tools::need("psql")?);
    command.args(["-Xqc", &format!("\\copy (select * from {table}) to /dev/null")]).stdin(Stdio::null());
    output(&mut command)?;
    Ok(ROWS / start.elapsed().as_secs_f64())
}

const ROWS: f64 = 1_000_000.0;
const ROUNDS: usize = 3;
