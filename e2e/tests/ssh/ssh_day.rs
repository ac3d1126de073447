//! An agent's day: a masked answer, a refusal, a hold that is approved, a file that is copied, a forwarding that is
//! refused, and the record of all of it.

use crate::scene::{Answer, Scene};
use std::process::{Output, Stdio};

/// Put together here, so that no scanner takes this file for a leak.
fn canary() -> String {
    format!("AKIA{}", "IOSFODNN7EXAMPLF")
}

#[test]
fn an_allowed_command_comes_back_masked_and_is_replayed() {
    let Some(scene) = Scene::start() else { return };
    let file = scene.agent.path().join("credentials");
    std::fs::write(&file, format!("aws_access_key_id = {}\nregion = eu-west-1\n", canary())).unwrap();
    let answer = scene.run(&format!("cat {}", file.display()));
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.out.contains("[MASKED:") && answer.out.contains("region = eu-west-1"), "{answer:?}");
    assert!(!answer.out.contains(&canary()), "{answer:?}");
    let replayed = scene.replayed();
    assert!(replayed.contains("region = eu-west-1") && !replayed.contains(&canary()), "{replayed}");
    e2e::leaks::search(&scene.hosts.gateway, &[canary()], &[]).unwrap();
    scene.portcullis(&["verify"], 0);
}

#[test]
fn removing_a_tree_is_refused_before_the_host_sees_it() {
    let Some(scene) = Scene::start() else { return };
    let tree = scene.agent.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    for line in
        [format!("rm -rf {}", tree.display()), format!("sh -c 'cd / && \\rm -r -f {}'", tree.display())]
    {
        let answer = scene.run(&line);
        assert_eq!((answer.code, answer.out.as_str()), (Some(126), ""), "{line}: {answer:?}");
        assert!(answer.err.contains("portcullis: "), "{answer:?}");
    }
    let answer = scene.run(&format!("rm -rf {}", tree.display()));
    for part in ["no-removal-of-trees", "Ask #ops; whole directories are removed by the deployment."] {
        assert!(answer.err.contains(part), "{part} is not in {answer:?}");
    }
    assert!(tree.exists());
}

#[test]
fn a_held_command_waits_for_approval_and_then_runs() {
    let Some(scene) = Scene::start() else { return };
    let mark = scene.agent.path().join("mark");
    let waiting = scene.begin(&format!("touch {}", mark.display()));
    let name = scene.pending();
    assert!(!mark.exists(), "it ran before approval");
    scene.portcullis(&["approve", &name, "--reason", "CHG-7"], 0);
    let answer = Answer::new(&waiting.wait_with_output().unwrap());
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.err.contains(&name), "no notice: {answer:?}");
    assert!(mark.exists());
}

#[test]
fn forwarding_and_shells_are_refused_by_default() {
    let Some(scene) = Scene::start() else { return };
    let mut ssh = scene.agent.program("ssh").unwrap();
    let to_itself = format!("127.0.0.1:{}", scene.hosts.sshd.port());
    let forwarded = Answer::of(ssh.args(["-W", &to_itself, "web"]).stdin(Stdio::null()));
    assert_ne!(forwarded.code, Some(0), "{forwarded:?}");
    assert!(!forwarded.out.contains("SSH-2.0"), "{forwarded:?}");
    let mut ssh = scene.agent.program("ssh").unwrap();
    let shell = Answer::of(ssh.args(["-tt", "web"]).stdin(Stdio::null()));
    assert_eq!(shell.code, Some(126), "{shell:?}");
    assert!(shell.out.contains("portcullis: "), "{shell:?}");
    let listed = scene.portcullis(&["sessions", "--verdict", "deny", "-o", "json"], 0).out;
    let sessions: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(sessions.as_array().unwrap().len(), 2, "{listed}");
}

/// Every byte value, secrets, text without an end: to a pipe, to standard error, and to a terminal.
#[test]
fn what_is_replayed_is_byte_for_byte_what_the_client_received() {
    let Some(scene) = Scene::with_policy(Some(crate::ssh_clients::POLICY)) else { return };
    let file = scene.agent.path().join("mixed");
    let mut mixed: Vec<u8> = (0..=255_u8).cycle().take(70_000).collect();
    mixed.extend_from_slice(format!("\nkey = {}\nümläut \u{1f980} without an end", canary()).as_bytes());
    std::fs::write(&file, &mixed).unwrap();
    let line = format!("cat {} {}/missing", file.display(), scene.agent.path().display());
    for terminal in ["-T", "-tt"] {
        let mut ssh = scene.agent.program("ssh").unwrap();
        let client = ssh.args(["-q", terminal, "web", &line]).stdin(Stdio::null()).output().unwrap();
        let shown = String::from_utf8_lossy(&client.stdout).into_owned();
        let end: String = shown.chars().rev().take(400).collect::<Vec<_>>().into_iter().rev().collect();
        assert!(shown.contains("[MASKED:") && shown.contains("without an end"), "{terminal}: {end:?}");
        assert!(client.stdout.len() > 70_000, "{terminal}: {} bytes", client.stdout.len());
        same_as_replayed(&scene, &client);
    }
}

/// The session that ended last is replayed as its client had it.
fn same_as_replayed(scene: &Scene, client: &Output) {
    let listed = scene.portcullis(&["sessions", "--limit", "1", "-o", "json"], 0).out;
    let sessions: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let id = sessions[0]["id"].as_str().unwrap();
    let steps = scene.portcullis(&["replay", id, "-o", "json"], 0).out;
    let [out, err] = e2e::replayed::streams(&steps).unwrap();
    assert!(out == client.stdout, "{} bytes on record, {} received", out.len(), client.stdout.len());
    let (err, received) = (String::from_utf8_lossy(&err), String::from_utf8_lossy(&client.stderr));
    assert_eq!(err, received, "standard error");
}
