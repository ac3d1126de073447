//! A held command, approved by `kubectl patch`: by whoever may, and by nobody else.

use crate::scene::{Scene, printed};
use e2e::process::wait_until;
use serde_json::{Value, json};

fn patch(scene: &Scene, user: &str, request: &str, approver: &str, verdict: &str) -> anyhow::Result<String> {
    let decision = json!({"approver": approver, "group": "dba", "verdict": verdict, "reason": "CHG-7"});
    let patch = json!({"spec": {"decisions": [decision]}}).to_string();
    let object = format!("approvalrequest/{request}");
    scene.try_kubectl(user, &["patch", &object, "--type=merge", "--patch", &patch])
}

fn conditions(scene: &Scene, request: &str) -> Vec<String> {
    let object = scene.get(&format!("approvalrequest/{request}"));
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let is_true = |condition: &&Value| condition["status"] == "True";
    conditions.iter().filter(is_true).filter_map(|c| Some(c["type"].as_str()?.to_owned())).collect()
}

#[test]
fn a_held_command_runs_once_somebody_who_may_has_approved_it() {
    let Some(scene) = Scene::set("approval") else { return };

    let (held, request) = scene.hold("app", "agent", "delete from orders");
    assert_eq!(scene.server.sql("shop", "select count(*) from orders").unwrap(), "10", "it waits");
    let object = scene.get(&format!("approvalrequest/{request}"));
    assert_eq!(object["spec"]["requester"]["username"], "system:serviceaccount:approval:agent");
    assert_eq!(object["spec"]["command"]["protocol"], "postgresql");

    // bob has no right; alice may not speak for carol; the requester may not approve itself.
    assert!(patch(&scene, "bob", &request, "bob", "Approved").unwrap_err().to_string().contains("Forbidden"));
    let forged = patch(&scene, "alice", &request, "carol", "Approved").unwrap_err().to_string();
    assert!(forged.contains("portcullis: approver must be the user who patches"), "{forged}");
    assert_eq!(conditions(&scene, &request), Vec::<String>::new());

    patch(&scene, "alice", &request, "alice", "Approved").unwrap();
    let output = held.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", printed(&output));
    assert_eq!(scene.server.sql("shop", "select count(*) from orders").unwrap(), "0", "it ran");
    wait_until("the approval is consumed", || {
        conditions(&scene, &request).contains(&"Consumed".to_owned()).then_some(())
    })
    .unwrap();

    // Denied: it does not run, and the agent is told by whom.
    scene.server.sql("shop", "insert into orders values (1, 'again')").unwrap();
    let (held, request) = scene.hold("app", "agent", "delete from orders");
    patch(&scene, "carol", &request, "carol", "Denied").unwrap();
    let output = held.wait_with_output().unwrap();
    let text = printed(&output);
    assert!(!output.status.success() && text.contains("denied by carol"), "{text}");
    assert_eq!(scene.server.sql("shop", "select count(*) from orders").unwrap(), "1");
}
