//! Killing the gateway at random moments while command lines run: nothing may have run without a record, and every log
//! verifies.

use crate::scene::Scene;
use crate::stage::policy;
use e2e::process::wait_until;
use e2e::random::{Random, kills};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const RULES: &str = "  rules:\n  - {name: anything, action: Allow, ssh: {effects: [Execute, Read, Write]}}\n";

/// Clients at once.
const CLIENTS: usize = 3;

#[test]
fn a_gateway_that_is_killed_under_command_lines_has_recorded_everything_that_ran() {
    let Some(mut scene) = Scene::with(&policy(RULES), &[], &[]) else { return };
    let marks = scene.agent.path().join("marks");
    let mut random = Random::printed();
    let kills = kills(4);
    for round in 0..kills {
        // many kills take longer than a token lives
        scene.renew(Duration::from_mins(10));
        let clients: Vec<Child> = (0..CLIENTS).map(|client| load(&scene, &marks, round, client)).collect();
        // a machine with much else to do may take longer to log in than the gateway has
        let begun =
            || std::fs::read_to_string(&marks).is_ok_and(|ran| ran.contains(&format!("mark-{round}-")));
        wait_until("the load runs", || begun().then_some(())).unwrap();
        std::thread::sleep(Duration::from_millis(random.below(700)));
        scene.hosts.gateway.crash_and_restart().unwrap();
        for mut client in clients {
            client.wait().unwrap();
        }
        // at another port, perhaps
        scene.agent.port = scene.hosts.gateway.port(e2e::hosts::RESOURCE).unwrap();
    }
    let ran = std::fs::read_to_string(&marks).unwrap_or_default();
    let decided = scene.decided();
    let recorded: BTreeSet<&str> = decided
        .iter()
        .filter(|(_, verdict)| verdict == "allow")
        .filter_map(|(line, _)| line.split_whitespace().find(|word| word.starts_with("mark-")))
        .collect();
    let unrecorded: Vec<&str> = ran.lines().filter(|mark| !recorded.contains(mark)).collect();
    assert!(unrecorded.is_empty(), "ran without a record: {unrecorded:?}");
    let total = ran.lines().count();
    println!("{total} command lines ran, {} are on record, {kills} kills", recorded.len());
    assert!(total > kills, "the load did not run");
    scene.hosts.gateway.process().signal("TERM").unwrap();
    scene.hosts.gateway.process_mut().wait().unwrap();
    scene.portcullis(&["verify"], 0);
}

/// A client that runs command lines over one connection until its gateway dies.
fn load(scene: &Scene, marks: &Path, round: usize, client: usize) -> Child {
    let ssh = scene.agent.line(&format!("c{client}"));
    let script = format!(
        "for n in $(seq 2000); do {ssh} web \"echo mark-{round}-{client}-$n >>{}\" || exit; done",
        marks.display()
    );
    let mut shell = Command::new("bash");
    scene.agent.introduce(&mut shell);
    shell.arg("-c").arg(script).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.spawn().unwrap()
}
