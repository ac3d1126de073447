//! What a real API server makes of requests whose meaning it is asked for, and of patches that name other objects.

use crate::scene::{Answer, Scene, feed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::process::wait_until;
use serde_json::{Value, json};

const CANARY: &str = "canary-of-an-embedded-secret";

/// A type with a field of any content, and one that knows what it holds.
fn definition() -> Value {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let text = json!({"type": "string"});
    let known = json!({"type": "object", "properties": {"apiGroup": text, "kind": text, "name": text}});
    let spec = json!({"type": "object", "properties": {"any": any, "dataSource": known}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.custom.example"},
        "spec": {
            "group": "custom.example", "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            }],
        },
    })
}

/// A thing that holds a Secret and refers to something, made directly.
fn make(scene: &Scene, namespace: &str) {
    scene.direct.apply(&definition().to_string()).unwrap();
    scene.direct.run(&["wait", "--for=condition=Established", "crd/things.custom.example"]).unwrap();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "data": {"p": STANDARD.encode(CANARY)}, "stringData": {"q": CANARY}});
    let thing = json!({
        "apiVersion": "custom.example/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": namespace},
        "spec": {"any": {"object": secret}, "dataSource": {"kind": "VolumeSnapshot", "name": "old"}},
    });
    wait_until("the new type is served", || scene.direct.apply(&thing.to_string()).ok()).unwrap();
}

/// Fails if an answer shows the canary.
fn clear(answer: Answer) -> Answer {
    let encoded = STANDARD.encode(CANARY);
    assert!(!answer.out.contains(CANARY) && !answer.out.contains(&encoded), "{answer:?}");
    answer
}

#[test]
fn kubernetes_patches_of_custom_resources_name_other_objects_and_unmask_no_secret() {
    let rules = "rules:\n- name: everything\n  action: Allow\n  kubernetes: {}\n";
    let Some(scene) = Scene::start(rules) else { return };
    let namespace = scene.namespace("custom");
    make(&scene, &namespace);
    let n = format!("--namespace={namespace}");
    let patch = |patch: Value| {
        let patch = patch.to_string();
        let arguments = ["patch", "thing", "t", &n, "--type=merge", "--output=yaml", "--patch", &patch];
        clear(scene.run(&arguments))
    };
    let stored = || {
        let thing = scene.direct.run(&["get", "thing", "t", &n, "--output=json"]).unwrap();
        serde_json::from_str::<Value>(&thing).unwrap()["spec"].clone()
    };
    let source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "new"});
    let answer = patch(json!({"spec": {"dataSource": source}}));
    assert!(answer.ok() && answer.err.is_empty(), "{answer:?}");
    assert_eq!(stored()["dataSource"], source);
    // what holds a Secret stays one, and what is made something else loses what it had of one
    let answer = patch(json!({"spec": {"any": {"object": {"kind": "ConfigMap"}}}}));
    assert!(
        !answer.ok() && answer.err.contains("a patch may not change what an embedded object is"),
        "{answer:?}"
    );
    assert!(stored()["any"].to_string().contains(CANARY));
    let reference = json!({"kind": "ConfigMap", "name": "c", "apiVersion": "v1"});
    let answer = patch(json!({"spec": {"any": {"object": reference, "fresh": reference}}}));
    assert!(answer.ok() && answer.err.is_empty(), "{answer:?}");
    assert_eq!(stored()["any"], json!({"object": reference, "fresh": reference}));
    clear(scene.run(&["get", "things", &n, "--output=yaml"]));
    // an unknown field is an error where the schema has none, and a guard is no field
    let strict = ["patch", "thing", "t", &n, "--type=merge", "--dry-run=server", "--patch"];
    let body = json!({"spec": {"dataSource": {"kind": "A", "name": "b"}}}).to_string();
    let answer = clear(scene.run(&[strict.as_slice(), &[body.as_str()]].concat()));
    assert!(answer.ok() && answer.err.is_empty(), "{answer:?}");
}

#[test]
fn kubernetes_a_dry_run_of_a_custom_resource_is_one_for_whoever_may_see_who_serves_it() {
    let rules = "
rules:
- name: tries
  action: Allow
  kubernetes: {resources: [things], dryRun: true}
- name: reads
  action: Allow
  kubernetes: {verbs: [get, list]}
";
    let Some(scene) = Scene::start(rules) else { return };
    let namespace = scene.namespace("dry");
    make(&scene, &namespace);
    let n = format!("--namespace={namespace}");
    let body = r#"{"spec":{"dataSource":{"kind":"A","name":"b"}}}"#;
    let tried = ["patch", "thing", "t", &n, "--type=merge", "--dry-run=server", "--patch", body];
    let answer = scene.run(&tried);
    assert!(answer.ok(), "{answer:?}");
    let done = ["patch", "thing", "t", &n, "--type=merge", "--patch", body];
    assert!(scene.run(&done).err.contains("denied"));
    // the aggregated API of metrics: nothing answers there, and nothing is sent
    let service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.aggregated.example"},
        "spec": {
            "group": "aggregated.example", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "insecureSkipTLSVerify": true, "service": {"name": "nobody", "namespace": namespace},
        },
    });
    scene.direct.apply(&service.to_string()).unwrap();
    let path = format!("/apis/aggregated.example/v1/namespaces/{namespace}/things?dryRun=All");
    let mut command = scene.kubectl(&scene.token("bot"));
    command.args(["create", "--raw", &path, "-f", "-"]);
    let answer = Answer::new(&feed(command, "{}"));
    scene.direct.run(&["delete", "apiservice", "v1.aggregated.example"]).unwrap();
    assert!(answer.err.contains("denied"), "{answer:?}");
}

#[test]
fn kubernetes_certificates_are_approved_where_a_rule_names_their_signer() {
    let rules = r#"
rules:
- name: requests
  action: Allow
  kubernetes: {resources: [certificatesigningrequests, certificatesigningrequests/approval]}
- name: ours
  action: Allow
  kubernetes: {verbs: [approve], resources: [signers], names: ["custom.example/*"]}
"#;
    let Some(scene) = Scene::start(rules) else { return };
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let request = STANDARD.encode(request.serialize_request(&key).unwrap().pem().unwrap());
    for (name, signer) in [("ours", "custom.example/a"), ("theirs", "custom2.example/a")] {
        let csr = json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {"request": request, "signerName": signer, "usages": ["digital signature"]},
        });
        scene.direct.apply(&csr.to_string()).unwrap();
    }
    let approved = scene.run(&["certificate", "approve", "ours"]);
    assert!(approved.ok(), "{approved:?}");
    let state = ["get", "csr", "ours", "--output=jsonpath={.status.conditions[*].type}"];
    assert_eq!(scene.direct.run(&state).unwrap(), "Approved");
    let refused = scene.run(&["certificate", "approve", "theirs"]);
    assert!(!refused.ok() && refused.err.contains("custom2.example/a"), "{refused:?}");
    let patch = r#"{"status":{"conditions":[{"type":"Approved","status":"True","reason":"x"}]}}"#;
    let unbound = ["patch", "csr", "ours", "--subresource=approval", "--type=merge", "--patch", patch];
    let refused = scene.run(&unbound);
    assert!(!refused.ok() && refused.err.contains("whose signer that is cannot be told"), "{refused:?}");
}
