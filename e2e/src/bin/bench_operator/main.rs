//! What the operator costs, and how fast what it promises is true.

mod scale;

use anyhow::Result;
use clap::Parser;
use std::io::Write as _;

/// Measures the operator against a real API server.
#[derive(Debug, Parser)]
struct Args {
    /// Sizes at which everything is reconciled: so many Resources, and five times as many Policies.
    #[arg(long, value_delimiter = ',', default_values_t = [250, 500, 1000])]
    sizes: Vec<usize>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut out = std::io::stdout().lock();
    writeln!(out, "resources  policies  settled  per resource  writes  memory   resync  writes")?;
    let mut first = None;
    for resources in args.sizes {
        let scale = scale::measure(resources)?;
        let each = scale.settled.as_secs_f64() * 1000.0 / usize_to_f64(scale.resources);
        let base = *first.get_or_insert(each);
        writeln!(
            out,
            "{:>9}  {:>8}  {:>6.1}s  {each:>6.1} ms ({:.2})  {:>6}  {:>4} MiB  {:>5.1}s  {:>6}",
            scale.resources,
            scale.resources.saturating_mul(5),
            scale.settled.as_secs_f64(),
            each / base,
            scale.writes,
            scale.memory >> 20,
            scale.resync.as_secs_f64(),
            scale.resync_writes,
        )?;
        out.flush()?;
    }
    Ok(())
}

/// Counts here are far below what a double holds exactly.
fn usize_to_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
