//! Killing the gateway at random moments under load: nothing may have run without a record, and every log verifies.

use crate::scene::Scene;
use e2e::random::Random;
use proxy_audit::event::key;
use proxy_audit::read;
use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Kills in one run; `PORTCULLIS_KILLS=200` is the long mode.
fn kills() -> usize {
    std::env::var("PORTCULLIS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

#[test]
fn a_gateway_that_is_killed_under_load_has_recorded_everything_that_ran() {
    let Some(mut scene) = Scene::start() else { return };
    scene
        .server
        .sql("shop", "create table marks (client text, number int); grant insert on marks to app")
        .unwrap();
    let mut random = Random::printed();
    for round in 0..kills() {
        // many kills take longer than a token lives
        let token = scene.token("loader");
        let clients: Vec<Child> = (0..CLIENTS).map(|client| load(&scene, &token, round, client)).collect();
        std::thread::sleep(Duration::from_millis(random.below(700)));
        scene.gateway.crash_and_restart().unwrap();
        for mut client in clients {
            client.wait().unwrap();
        }
    }
    let ran = scene.server.sql("shop", "select client, count(*) from marks group by 1").unwrap();
    let recorded = recorded(&scene);
    let mut total = 0;
    for line in ran.lines() {
        let (client, count) = line.split_once('|').unwrap();
        let count: usize = count.parse().unwrap();
        let on_record = recorded.get(client).copied().unwrap_or_default();
        assert!(count <= on_record, "{client}: {count} statements ran, {on_record} are on record");
        total += count;
    }
    println!("{total} statements ran, all of them are on record, {} kills", kills());
    assert!(total > kills(), "the load did not run: {total} statements");
    scene.gateway.process().signal("TERM").unwrap();
    scene.gateway.process_mut().wait().unwrap();
    scene.portcullis(&["verify"], 0);
}

/// A client that inserts until its gateway dies.
fn load(scene: &Scene, token: &str, round: usize, client: usize) -> Child {
    let name = format!("load-{round}-{client}");
    let script: String = (0..3_000).map(|n| format!("insert into marks values ('{name}', {n});\n")).collect();
    let file = scene.gateway.state().join(format!("{name}.sql"));
    std::fs::write(&file, script).unwrap();
    let mut psql = scene.psql("app", token);
    psql.env("PGAPPNAME", &name).args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file);
    psql.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Inserts on record as allowed, by the client's own name.
fn recorded(scene: &Scene) -> BTreeMap<String, usize> {
    let mut clients: BTreeMap<String, String> = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for log in read::logs(scene.gateway.state()).unwrap() {
        for record in read::records(&log).unwrap().map(Result::unwrap) {
            let session = record.text(key::SESSION_ID).unwrap_or_default().to_owned();
            match record.name() {
                "portcullis.session.start" => {
                    clients.insert(session, record.text(key::CLIENT_NAME).unwrap_or_default().to_owned());
                }
                "portcullis.statement" if record.text(key::OPERATION) == Some("INSERT") => {
                    assert_eq!(record.text(key::VERDICT), Some("allow"), "{record:?}");
                    *counts.entry(clients[&session].clone()).or_default() += 1;
                }
                _ => {}
            }
        }
    }
    counts
}

const CLIENTS: usize = 6;
