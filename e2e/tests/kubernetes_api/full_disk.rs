//! The disk of the record is full: a host and a cluster refuse as a database does, in their clients' own ways, and all
//! three go on by themselves once there is room.

use crate::scene::Answer;
use crate::whole::Whole;
use e2e::mounts::{fill, has_own_mounts, mount_over};
use e2e::process::wait_until;
use e2e::{hosts, shop};

/// What each client answers: the row, the file, the object of this name.
fn make(whole: &Whole, name: &str) -> [Answer; 3] {
    let mut psql = whole.shop.psql("app", &whole.token(shop::AUDIENCE)).unwrap();
    psql.args(["-c", &format!("insert into marks values ('{name}')")]);
    let mut ssh = whole.agent.program("ssh").unwrap();
    ssh.args([hosts::RESOURCE, &format!("touch {}/{name}", whole.files().display())]);
    let mut kubectl = whole.kubectl("disk");
    kubectl.args(["create", "configmap", name, &format!("--namespace={}", whole.namespace)]);
    [psql, ssh, kubectl].map(|mut command| Answer::new(&command.output().unwrap()))
}

/// Which of the three are there, by what knows nothing of the gateway.
fn there(whole: &Whole, name: &str) -> [bool; 3] {
    let row = format!("select count(*) from marks where name = '{name}'");
    let row = whole.shop.server.sql(shop::DATABASE, &row).unwrap().trim() == "1";
    let file = whole.files().join(name).exists();
    let namespace = format!("--namespace={}", whole.namespace);
    [row, file, whole.cluster.run(&["get", "configmap", name, &namespace]).is_ok()]
}

#[test]
fn full_disk_refuses_what_comes_over_every_protocol_until_there_is_room() {
    let story = "full_disk::full_disk_refuses_what_comes_over_every_protocol_until_there_is_room";
    if !has_own_mounts(story).unwrap() {
        return;
    }
    let started =
        Whole::start_on(|state| mount_over(state, &["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).unwrap());
    let Some(mut whole) = started else { return };
    whole.renew();
    let before = make(&whole, "before");
    assert!(before.iter().all(Answer::ok) && there(&whole, "before") == [true; 3], "{before:?}");

    let ballast = fill(whole.shop.gateway.state()).unwrap();
    wait_until("it is not ready", || whole.shop.gateway.admin("readyz").is_err().then_some(())).unwrap();
    let [row, file, object] = make(&whole, "while-full");
    let full = "the disk of the audit spool is full: free or add space";
    for refused in [&row, &file, &object] {
        assert!(!refused.ok() && refused.err.contains(full), "{refused:?}");
    }
    assert_eq!(there(&whole, "while-full"), [false; 3]);

    std::fs::remove_file(ballast).unwrap();
    wait_until("it is ready", || whole.shop.gateway.admin("readyz").ok()).unwrap();
    let after = make(&whole, "after");
    assert!(after.iter().all(Answer::ok) && there(&whole, "after") == [true; 3], "{after:?}");
    whole.stop();
    assert!(whole.verify() >= 3);
}
