//! Agents: each command is somebody's own, and is repeated until something came of it.

use super::super::scene::{login, psql};
use super::field::{Fate, Field};
use e2e::random::Random;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long a command is tried: kills are seconds apart, and an API server takes some to come back.
const PATIENCE: Duration = Duration::from_secs(100);
/// How long one attempt may take, held or not.
const ATTEMPT: Duration = Duration::from_secs(30);
/// How long an agent waits that goes away.
const ABANDONED: Duration = Duration::from_millis(1500);

/// Runs one command after the other until the field ends, and the last to its end.
pub(super) fn work(field: &Field<'_>, random: &mut Random, agent: u64) {
    field.at_work(|| {
        for number in 0.. {
            if field.is_ending() {
                return;
            }
            let name = format!("mark-{agent}-{number}");
            let fate = match random.below(8) {
                0 => Fate::Deny,
                1 => Fate::Abandon,
                _ => Fate::Approve,
            };
            field.begin(&name, fate);
            run(field, random, &name, fate);
        }
    });
}

fn run(field: &Field<'_>, random: &mut Random, name: &str, fate: Fate) {
    let token = field.scene.token(name);
    let began = Instant::now();
    let mut last = String::new();
    while began.elapsed() < PATIENCE {
        if let Some(port) = field.port(random.below(2)) {
            let patience = if fate == Fate::Abandon { ABANDONED } else { ATTEMPT };
            last = attempt(field, port, name, &token, patience);
            if fate == Fate::Abandon || last.contains("INSERT 0 1") || last.contains("was denied by") {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(50 + random.below(200)));
    }
    panic!("{name}: nothing came of it in {PATIENCE:?}; the last was {last}");
}

/// One psql; killed when it takes too long.
fn attempt(field: &Field<'_>, port: u16, name: &str, token: &str, patience: Duration) -> String {
    let mut command = psql(port, &field.ca, &login("app", token));
    command.args(["-c", &format!("insert into marks values ('{name}')")]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > patience {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
