//! Opening sessions, and keeping many of them idle.

use super::measure::{Path, Row, in_turn, pgbench};
use super::pgbouncer::resident;
use super::scene::Scene;
use anyhow::{Context as _, Result};
use e2e::process::wait_until;
use e2e::tools;
use std::process::{Child, Command, Stdio};

/// Connections per second, and memory per idle session.
pub(crate) fn measure(scene: &Scene, seconds: u32) -> Result<Vec<Row>> {
    let program = tools::need("pgbench")?;
    let seconds = seconds.to_string();
    let arguments = ["-n", "-C", "-S", "-c", "1", "-T", &seconds];
    let [direct, bouncer, ours] = in_turn(3, [&scene.direct, &scene.pgbouncer, &scene.guarded], |path| {
        Ok(pgbench(&program, path, &arguments)?.tps)
    })?;
    let name = "connection set-up, one query each";
    let ours_memory = per_session(scene, &scene.guarded, &|| resident(scene.gateway.process().id()))?;
    let bouncer_memory = per_session(scene, &scene.pgbouncer, &|| scene.bouncer.resident())?;
    Ok(vec![
        Row::new(name, "tps", ours, ("pgbouncer", bouncer)),
        Row::new(name, "tps", ours, ("direct", direct)),
        Row::new(
            format!("memory per idle session at {SESSIONS}"),
            "KiB",
            ours_memory,
            ("pgbouncer", bouncer_memory),
        ),
    ])
}

/// KiB that each of many idle sessions adds.
fn per_session(scene: &Scene, path: &Path, memory: &dyn Fn() -> Result<u64>) -> Result<f64> {
    // PgBouncer keeps what earlier sections made it open, and uses that again.
    let idle_before = idle(scene)?;
    let wanted = if path.name == "gateway" { idle_before.saturating_add(SESSIONS) } else { SESSIONS };
    let before = memory()?;
    let mut clients = idle_clients(path)?;
    let all = wait_until("every session is idle", || (idle(scene).ok()? >= wanted).then(memory));
    clients.kill().context("end pgbench")?;
    clients.wait()?;
    if path.name == "gateway" {
        // PgBouncer keeps these as well; it is measured last.
        wait_until("every session has ended", || {
            (idle(scene).ok()? <= idle_before.saturating_add(10)).then_some(())
        })?;
    }
    let after = all??;
    #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
    Ok(after.saturating_sub(before) as f64 / 1024.0 / SESSIONS as f64)
}

/// Sessions of the server that have run something and are idle.
fn idle(scene: &Scene) -> Result<usize> {
    let counted = "select count(*) from pg_stat_activity where usename = 'bench' and backend_type = 'client backend' \
                   and state = 'idle' and query <> ''";
    scene.server.sql("postgres", counted)?.parse().context("read a count")
}

/// pgbench clients that run one query each and then sleep.
fn idle_clients(path: &Path) -> Result<Child> {
    let script = std::env::temp_dir().join(format!("portcullis-idle-{}.sql", std::process::id()));
    std::fs::write(&script, "select 1;\n\\sleep 300 s\n")?;
    let program = tools::need("pgbench")?;
    let environment = path.command(&program);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 8192; exec \"$@\"", "sh"]).arg(&program);
    command.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(["-n", "-c", &SESSIONS.to_string(), "-j", "2", "-T", "300", "-f"]).arg(&script);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start pgbench")
}

const SESSIONS: usize = 2000;
