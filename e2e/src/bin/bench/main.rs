//! `make bench`: what the gateway costs, as ratios against PgBouncer and a direct connection in the same run.
//!
//! Prints a table and writes `target/bench/results.json`. Absolute figures depend on the machine; ratios much less.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

mod bulk;
mod kubernetes;
mod measure;
mod pgbouncer;
mod record;
mod scene;
mod sessions;
mod ssh;
mod transactions;

use anyhow::{Context as _, Result};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use measure::Row;
use scene::Scene;

/// What the gateway costs, as ratios against PgBouncer and a direct connection in the same run.
#[derive(Debug, Parser)]
struct Arguments {
    /// Shorter runs, for a first look.
    #[arg(long)]
    quick: bool,
    /// Measure nothing: start everything, say how each way is reached, and wait until standard input ends. For profiles.
    #[arg(long)]
    keep: bool,
    /// Sections to measure. Omitted: all of them.
    #[arg(value_parser = SECTIONS.map(|(name, _)| name))]
    sections: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let seconds = if arguments.quick { 2 } else { 5 };
    println!("Starting PostgreSQL, PgBouncer, the issuer and the gateway …");
    let scene = Scene::start()?;
    if arguments.keep {
        return keep(&scene);
    }
    let mut rows = Vec::new();
    let wanted =
        |name: &str| arguments.sections.is_empty() || arguments.sections.iter().any(|one| one == name);
    for (what, measure) in SECTIONS.into_iter().filter(|(name, _)| wanted(name)) {
        println!("Measuring {what} …");
        let measured = measure(&scene, seconds).with_context(|| format!("measure {what}"))?;
        for row in &measured {
            println!(
                "  {} {:.3} {} ({} {:.3}, ratio {:.2})",
                row.name, row.ours, row.unit, row.peer, row.peer_value, row.ratio
            );
        }
        rows.extend(measured);
    }
    scene.gateway.stop()?;
    println!("\n{}", table(&rows));
    write(&rows)
}

/// Prints what libpq needs for each way, and the processes to look at.
fn keep(scene: &Scene) -> Result<()> {
    for path in [&scene.direct, &scene.pgbouncer, &scene.guarded, &scene.plain] {
        println!("{}", path.environment().map(|(name, value)| format!("{name}={value}")).join(" "));
    }
    println!("gateway {} pgbouncer {}", scene.gateway.process().id(), scene.bouncer.id());
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()).context("read standard input")?;
    Ok(())
}

/// A part of the benchmark.
type Section = fn(&Scene, u32) -> Result<Vec<Row>>;

const SECTIONS: [(&str, Section); 8] = [
    ("transactions", transactions::measure),
    ("latency", transactions::latency),
    ("bulk", bulk::measure),
    ("sessions", sessions::measure),
    ("record", record::measure),
    ("ssh", ssh::measure),
    ("kubernetes", kubernetes::measure),
    ("exec", kubernetes::exec),
];

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["measured", "gateway", "peer", "", "unit", "ratio"]);
    for row in rows {
        table.add_row([
            row.name.clone(),
            format!("{:.3}", row.ours),
            format!("{:.3}", row.peer_value),
            row.peer.to_owned(),
            row.unit.to_owned(),
            format!("{:.2}", row.ratio),
        ]);
    }
    for column in [1, 2, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn write(rows: &[Row]) -> Result<()> {
    let directory = e2e::tools::repository().join("target/bench");
    std::fs::create_dir_all(&directory)?;
    let file = directory.join("results.json");
    std::fs::write(&file, serde_json::to_string_pretty(rows)?).context("write results.json")?;
    println!("Written to target/bench/results.json");
    Ok(())
}
