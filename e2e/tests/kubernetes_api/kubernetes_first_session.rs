//! An agent's first session: what it may see, masked; what it may not do, refused; and the record of both.

use crate::scene::Scene;

const RULES: &str = r#"
rules:
- name: no-nodes
  action: Deny
  message: "Ask #platform; nodes are drained by the pipeline."
  kubernetes: {verbs: [delete, deletecollection], resources: [nodes]}
- name: everything-else
  action: Allow
  kubernetes: {}
"#;

/// A value of a Secret: it must be seen nowhere but in the API server.
const CANARY: &str = "canary-7Qz1xP0v";

#[test]
fn kubernetes_reads_are_masked_refusals_name_the_rule_and_all_of_it_is_on_record() {
    let Some(scene) = Scene::start(RULES) else { return };
    let namespace = scene.namespace("first");
    let n = format!("--namespace={namespace}");
    scene
        .direct
        .run(&["create", "secret", "generic", "db", &format!("--from-literal=password={CANARY}"), &n])
        .unwrap();
    scene.direct.apply("{apiVersion: v1, kind: Node, metadata: {name: first-node}}").unwrap();

    let answer = scene.run(&["get", "namespaces"]);
    assert!(answer.ok() && answer.out.contains(&namespace), "{answer:?}");

    for form in ["json", "yaml", "wide", "jsonpath={.data.password}"] {
        let answer = scene.run(&["get", "secret", "db", &n, "--output", form]);
        assert!(answer.ok(), "{form}: {answer:?}");
        assert!(!answer.out.contains(CANARY) && !answer.out.contains("Y2FuYXJ5"), "{form}: {answer:?}");
    }

    let answer = scene.run(&["delete", "node", "first-node"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    for part in ["Forbidden", "no-nodes", "Ask #platform; nodes are drained by the pipeline."] {
        assert!(answer.err.contains(part), "{part} is not in {}", answer.err);
    }
    scene.direct.run(&["get", "node", "first-node"]).unwrap();
    let replayed = scene.replayed();
    assert!(replayed.contains(&answer.err), "{} is not in {replayed}", answer.err);

    let answer = scene.run(&["auth", "can-i", "delete", "nodes"]);
    assert!(!answer.ok() && answer.out.starts_with("no"), "{answer:?}");
    // of everything, nodes are a part
    let answer = scene.run(&["auth", "can-i", "*", "*"]);
    assert!(!answer.ok() && answer.out.starts_with("no"), "{answer:?}");
    let answer = scene.run(&["auth", "can-i", "*", "pods"]);
    assert!(answer.ok() && answer.out.starts_with("yes"), "{answer:?}");
    let answer = scene.run(&["auth", "can-i", "list", "pods"]);
    assert!(answer.ok() && answer.out.starts_with("yes"), "{answer:?}");

    let sessions = scene.portcullis(&["sessions"], 0).out;
    assert!(sessions.contains("bot"), "{sessions}");
    scene.portcullis(&["verify"], 0);
    scene.assert_nowhere(CANARY);
    scene.assert_nowhere("Y2FuYXJ5LTdRejF4UDB2");
    println!("{sessions}");
}
