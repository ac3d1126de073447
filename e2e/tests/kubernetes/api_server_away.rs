//! Without the API server gateways go on, and nothing is approved.

use crate::live::Live;
use crate::scene::Scene;
use e2e::process::wait_until;

#[test]
fn gateways_go_on_without_the_api_server_and_holds_fail_closed() {
    let Some(scene) = Scene::set_alone("api-server-away") else { return };
    let mut session = Live::open(&scene, "app", "agent");
    scene.cluster.stop_api_server().unwrap();
    assert!(session.ask("select count(*) from orders").starts_with("10"));
    let answer = session.ask("delete from orders");
    assert!(answer.contains("ERROR"), "{answer}");
    assert!(
        session.ask("select count(*) from orders").starts_with("10"),
        "the session is none the worse for it"
    );
    scene.cluster.start_api_server().unwrap();
    // Held again as soon as it is back; nobody decides, and the agent goes away.
    let (mut held, request) = wait_until("commands are held again", || {
        let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            scene.hold("app", "agent", "delete from orders where true")
        }));
        held.ok()
    })
    .unwrap();
    held.kill().unwrap();
    held.wait().unwrap();
    assert_eq!(scene.server.sql("shop", "select count(*) from orders").unwrap(), "10");
    // Claimable: it stays for whoever repeats the command.
    scene.kubectl(&["get", &format!("approvalrequest/{request}")]);
}
