//! A credential that is rotated: the next session logs in with the new one, and no pod is started again for it.

use crate::scene::Scene;
use e2e::process::wait_until;
use serde_json::json;

#[test]
fn a_rotated_secret_is_used_by_the_next_session() {
    let Some(scene) = Scene::set("rotation") else { return };
    let pods = |scene: &Scene| {
        let mut names: Vec<String> = scene.get("pods")["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let before = pods(&scene);
    scene.server.sql("postgres", "alter role readonly password 'rotated-credential'").unwrap();
    let (ok, _) = scene.run("readonly", "agent", "select 1");
    assert!(!ok, "the old credential is worth nothing any more");
    let patch = json!({"stringData": {"password": "rotated-credential"}}).to_string();
    scene.kubectl(&["patch", "secret/orders-readonly", "--type=merge", "--patch", &patch]);
    wait_until("both gateways use the new credential", || {
        (0..6).all(|_| scene.run("readonly", "agent", "select count(*) from orders").0).then_some(())
    })
    .unwrap();
    assert_eq!(pods(&scene), before, "no pod was started for it");
}
