//! One measurement: the same work over the gateway and over a peer, in turn, in the same run.

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use std::process::Command;

/// One way to the same database.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    /// `direct`, `pgbouncer` or `gateway`.
    pub(crate) name: &'static str,
    /// TCP port on loopback.
    pub(crate) port: u16,
    /// PostgreSQL user name.
    pub(crate) user: String,
    /// Password or token.
    pub(crate) password: String,
    /// CA file of the certificate on this path.
    pub(crate) ca: std::path::PathBuf,
}

impl Path {
    /// libpq's environment for this path.
    pub(crate) fn environment(&self) -> [(&'static str, String); 8] {
        [
            ("PGHOST", "localhost".to_owned()),
            ("PGHOSTADDR", "127.0.0.1".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", self.user.clone()),
            ("PGPASSWORD", self.password.clone()),
            ("PGDATABASE", "bench".to_owned()),
            ("PGSSLMODE", "verify-full".to_owned()),
            ("PGSSLROOTCERT", self.ca.display().to_string()),
        ]
    }

    /// A command with libpq's environment set for this path.
    pub(crate) fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment());
        command
    }
}

/// A line of the table and of `target/bench/results.json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    /// The gateway's figure.
    pub(crate) ours: f64,
    /// What it is compared with.
    pub(crate) peer: &'static str,
    /// The peer's figure.
    pub(crate) peer_value: f64,
    /// Unit of both figures.
    pub(crate) unit: &'static str,
    /// `ours / peer_value`.
    pub(crate) ratio: f64,
}

impl Row {
    /// A comparison.
    pub(crate) fn new(
        name: impl Into<String>,
        unit: &'static str,
        ours: f64,
        peer: (&'static str, f64),
    ) -> Self {
        Self { name: name.into(), ours, peer: peer.0, peer_value: peer.1, unit, ratio: ours / peer.1 }
    }
}

/// The middle of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs a command and gives its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("run {command:?}").replace("PGPASSWORD", "…"))?;
    if !done.status.success() {
        bail!("{} failed: {}", command.get_program().display(), String::from_utf8_lossy(&done.stderr));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Transactions per second of one pgbench run, without connection set-up.
pub(crate) fn pgbench(pgbench: &std::path::Path, path: &Path, arguments: &[&str]) -> Result<Figures> {
    let text = output(path.command(pgbench).args(arguments))?;
    let figure = |start: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(start))
            .with_context(|| format!("no {start} in {text}"))?;
        let number = line.split('=').nth(1).unwrap_or_default().split_whitespace().next().unwrap_or_default();
        number.parse::<f64>().with_context(|| format!("read {line}"))
    };
    Ok(Figures { tps: figure("tps = ")?, latency_ms: figure("latency average = ")? })
}

/// What pgbench prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Transactions per second.
    pub(crate) tps: f64,
    /// Mean latency in milliseconds.
    pub(crate) latency_ms: f64,
}

/// Measures every path in turn, `rounds` times, so that a drift of the machine hits all alike; medians.
pub(crate) fn in_turn<const N: usize>(
    rounds: usize,
    paths: [&Path; N],
    mut measure: impl FnMut(&Path) -> Result<f64>,
) -> Result<[f64; N]> {
    let mut figures: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..rounds {
        for (path, figures) in paths.iter().zip(&mut figures) {
            figures.push(measure(path).with_context(|| format!("measure {}", path.name))?);
        }
    }
    Ok(figures.map(median))
}
