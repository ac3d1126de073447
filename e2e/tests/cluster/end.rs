//! What is left of a node whose owner was killed: nothing.

use e2e::cluster::{Cluster, Entrance};
use e2e::process::wait_until;
use e2e::tools;
use std::fs;
use std::process::Command;

/// Command lines of all processes of this machine that mention something.
fn mentioning(what: &str) -> Vec<String> {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    let lines = processes.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(what)).collect()
}

#[test]
fn nothing_of_a_node_outlives_the_process_that_started_it() {
    if !Cluster::is_possible() || std::env::var_os("PORTCULLIS_E2E_KUBECONFIG").is_some() {
        return;
    }
    Cluster::build().unwrap();
    let known = tempfile::NamedTempFile::new().unwrap();
    let mut owner = Command::new(tools::own("cluster").unwrap());
    let mut owner = owner.arg("own").arg(known.path()).spawn().unwrap();
    let entrance: Entrance =
        wait_until("a node is up", || serde_json::from_slice(&fs::read(known.path()).ok()?).ok()).unwrap();
    let directory = entrance.directory().display().to_string();
    assert!(mentioning(&directory).len() > 5);

    owner.kill().unwrap();
    owner.wait().unwrap();

    wait_until("every process ends", || mentioning(&directory).is_empty().then_some(())).unwrap();
    wait_until("its directory is removed", || (!entrance.directory().exists()).then_some(())).unwrap();
    let name = entrance.directory().file_name().unwrap();
    let groups = || Command::new("find").args(["/sys/fs/cgroup", "-name"]).arg(name).output().unwrap().stdout;
    wait_until("its control groups are removed", || groups().is_empty().then_some(())).unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&directory), "{mounts}");
}
