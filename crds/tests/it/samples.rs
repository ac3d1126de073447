//! Every sample parses, and `all-options.yaml` leaves no field out.

use crds::definitions;
use crds::manifest::{Manifests, to_yaml};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn sample(name: &str) -> Manifests {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    Manifests::parse(name, &text).unwrap()
}

#[test]
fn the_samples_parse() {
    let resource = sample("resource.yaml");
    assert_eq!((resource.resources.len(), resource.secrets.len()), (1, 1));
    assert_eq!(sample("policy.yaml").policies.len(), 1);
    assert_eq!(sample("approvalrequest.yaml").approval_requests.len(), 1);
    let all = sample("all-options.yaml");
    assert_eq!((all.resources.len(), all.policies.len(), all.approval_requests.len()), (4, 4, 1));
    assert_eq!((all.secrets.len(), all.config_maps.len()), (1, 1));
}

#[test]
fn a_sample_that_is_written_and_read_again_is_the_same() {
    let all = sample("all-options.yaml");
    for resource in &all.resources {
        let again = Manifests::parse("again", &to_yaml(resource).unwrap()).unwrap();
        assert_eq!(&again.resources[0], resource);
    }
    let policy = to_yaml(&all.policies[0]).unwrap();
    assert_eq!(Manifests::parse("again", &policy).unwrap().policies[0], all.policies[0]);
    let request = to_yaml(&all.approval_requests[0]).unwrap();
    assert_eq!(Manifests::parse("again", &request).unwrap().approval_requests, all.approval_requests);
}

#[test]
fn all_options_sets_every_field_and_every_word_of_the_policy() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/all-options.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let mut used = BTreeSet::new();
    for document in text.split("\n---\n") {
        let value: Value = serde_saphyr::from_str(document).unwrap();
        collect(&value, value["kind"].as_str().unwrap(), &mut used);
    }
    for definition in definitions::all() {
        let value = serde_json::to_value(&definition).unwrap();
        let schema = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"] {
            let path = format!("{}.{part}", definition.spec.names.kind);
            check_used(&schema["properties"][part], &path, &used);
        }
    }
}

/// Paths of all fields; of texts, also the path with the value.
fn collect(value: &Value, path: &str, used: &mut BTreeSet<String>) {
    used.insert(path.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                collect(value, &format!("{path}.{name}"), used);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, &format!("{path}[]"), used)),
        Value::String(text) => drop(used.insert(format!("{path}={text}"))),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn check_used(schema: &Value, path: &str, used: &BTreeSet<String>) {
    assert!(used.contains(path), "all-options.yaml does not set {path}");
    // Every effect and detector is listed; of single choices, one value is enough.
    if path.ends_with("[]") {
        for word in schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert!(
                used.contains(&format!("{path}={word}")),
                "all-options.yaml does not use {word} in {path}"
            );
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        check_used(property, &format!("{path}.{name}"), used);
    }
    // A condition is Kubernetes' own type; what is in it is not ours to show.
    if schema["items"].is_object() && !path.ends_with(".status.conditions") {
        check_used(&schema["items"], &format!("{path}[]"), used);
    }
}
