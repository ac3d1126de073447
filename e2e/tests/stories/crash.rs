//! Killing the gateway at random moments under load: nothing may have run without a record, and every log verifies.

use crate::scene::Scene;
use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use e2e::process::wait_until;
use e2e::random::{Random, kills};
use proxy_audit::event::key;
use proxy_audit::read;
use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

#[test]
fn a_gateway_that_is_killed_under_load_has_recorded_everything_that_ran() {
    let Some(mut scene) = Scene::start() else { return };
    killed_under_load(&mut scene, kills(6), "");
}

/// Results lie beside the log then, each on disk before its record.
#[test]
fn a_gateway_that_is_killed_under_load_has_every_encrypted_result_that_is_on_record() {
    let Some(mut scene) = Scene::start() else { return };
    let auditor = Identity::generate();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("auditor.txt");
    std::fs::write(&key, auditor.to_string().expose_secret()).unwrap();
    scene.gateway.encrypt_results("resource.yaml", &auditor.to_public().to_string()).unwrap();
    killed_under_load(&mut scene, kills(6).div_ceil(2), "select 'seen-row', id, name from users;\n");
    let searched = |value: &str, code| {
        let values = key.with_extension("values");
        std::fs::write(&values, value).unwrap();
        let (key, values) = (key.to_str().unwrap(), values.to_str().unwrap());
        scene.portcullis(&["scan", "--values", values, "--identity", key], code).out
    };
    // Every part is there, whole, and opens.
    for (value, code) in [("nobody-has-seen-this", 0), ("seen-row", 1)] {
        let said = searched(value, code);
        assert!(!said.contains("NOT READ"), "{value}: {said}");
    }
    let verified = scene.portcullis(&["verify"], 0).out;
    assert!(verified.contains("encrypted for the auditors") && !verified.contains("erased"), "{verified}");
}

fn killed_under_load(scene: &mut Scene, kills: usize, beside: &str) {
    scene
        .server
        .sql("shop", "create table marks (client text, number int); grant insert on marks to app")
        .unwrap();
    let mut random = Random::printed();
    for round in 0..kills {
        // many kills take longer than a token lives
        let token = scene.token("loader");
        let clients: Vec<Child> =
            (0..CLIENTS).map(|client| load(scene, &token, (round, client), beside)).collect();
        // one has come to its second statement, and so has the answer to what it asked beside
        let begun = format!("select 1 from marks where client like 'load-{round}-%' and number > 0 limit 1");
        wait_until("the load runs", || (scene.server.sql("shop", &begun).ok()? == "1").then_some(()))
            .unwrap();
        std::thread::sleep(Duration::from_millis(random.below(700)));
        scene.gateway.crash_and_restart().unwrap();
        for mut client in clients {
            client.wait().unwrap();
        }
    }
    let ran = scene.server.sql("shop", "select client, count(*) from marks group by 1").unwrap();
    let recorded = recorded(scene);
    let mut total = 0;
    for line in ran.lines() {
        let (client, count) = line.split_once('|').unwrap();
        let count: usize = count.parse().unwrap();
        let on_record = recorded.get(client).copied().unwrap_or_default();
        assert!(count <= on_record, "{client}: {count} statements ran, {on_record} are on record");
        total += count;
    }
    println!("{total} statements ran, all of them are on record, {kills} kills");
    assert!(total > kills, "the load did not run: {total} statements");
    scene.gateway.process().signal("TERM").unwrap();
    scene.gateway.process_mut().wait().unwrap();
    scene.portcullis(&["verify"], 0);
}

/// A client that inserts until its gateway dies.
fn load(scene: &Scene, token: &str, (round, client): (usize, usize), beside: &str) -> Child {
    let name = format!("load-{round}-{client}");
    let script: String =
        (0..3_000).map(|n| format!("insert into marks values ('{name}', {n});\n{beside}")).collect();
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
