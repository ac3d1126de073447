use super::*;
use serde_json::{Value, json};

fn resource(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut value = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Resource", "metadata": {"name": "orders"},
        "spec": {
            "postgresql": {"host": "db", "roles": [{"name": "app", "credentialsRef": {"name": "app"}}]},
            "authentication": {"issuers": [{"issuer": "https://idp.example.com", "audiences": ["orders"]}]},
        },
    });
    change(&mut value);
    let resource: ProtectedResource = serde_json::from_value(value).unwrap();
    resource.validate().into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

fn policy(spec: &Value) -> Vec<String> {
    let value = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Policy", "metadata": {"name": "agents"}, "spec": spec,
    });
    let policy: Policy = serde_json::from_value(value).unwrap();
    policy.validate().into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

#[test]
fn a_valid_resource_has_no_problem() {
    assert_eq!(resource(|_| {}), Vec::<String>::new());
}

#[test]
fn bounds_of_the_schema_are_checked() {
    for (pointer, value, expected) in [
        (
            "/spec/postgresql",
            json!({"host": "", "roles": []}),
            "spec.postgresql.host: must have at least 1 characters",
        ),
        (
            "/spec/postgresql",
            json!({"host": "h", "roles": []}),
            "spec.postgresql.roles: must have at least 1 entries",
        ),
        ("/spec/authentication", json!({"issuers": []}), "spec.authentication.issuers: must have at least 1"),
        ("/metadata/name", json!("Orders"), "metadata.name: must be at most 253 lower-case"),
    ] {
        let problems = resource(|resource| *resource.pointer_mut(pointer).unwrap() = value);
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{expected}: {problems:?}");
    }
    let problems = resource(|resource| resource["spec"]["postgresql"]["port"] = json!(65536));
    assert_eq!(problems, ["spec.postgresql.port: must be from 1 to 65535, but is 65536"]);
    let problems = resource(|resource| resource["spec"]["recording"] = json!({"maxResultBytes": "ten"}));
    assert_eq!(problems, ["spec.recording.maxResultBytes: `ten` does not match ^[0-9]+(Ki|Mi|Gi|k|M|G)?$"]);
    let both = json!({"transfers": "Contents", "results": "Metadata"});
    let problems = resource(|resource| resource["spec"]["recording"] = both);
    assert_eq!(problems, ["spec.recording: transfers: Contents needs results: Full"]);
    let problems = resource(|resource| resource["spec"]["recording"] = json!({"retention": "forever"}));
    assert!(problems[0].starts_with("spec.recording.retention: `forever` does not match"), "{problems:?}");
}

#[test]
fn exactly_one_protocol_and_one_way_to_select_are_set() {
    let problems = resource(|resource| drop(resource["spec"].as_object_mut().unwrap().remove("postgresql")));
    assert!(problems[0].starts_with("spec: exactly one of postgresql, ssh and kubernetes"));
    assert!(policy(&json!({}))[0].contains("both are missing"));
    assert!(policy(&json!({"targetRefs": [{"name": "a"}], "resourceSelector": {}}))[0].contains("not both"));
    assert!(policy(&json!({"resourceSelector": {}})).is_empty());
}

#[test]
fn an_issuer_is_reached_over_tls_or_on_loopback() {
    for (issuer, valid) in [
        ("https://idp.example.com", true),
        ("https://", false),
        ("http://localhost:8080/dev", true),
        ("http://127.0.0.1", true),
        ("http://[::1]:8080", true),
        ("http://idp.example.com", false),
        ("http://localhost.evil.example", false),
        ("http://localhost@evil.example", false),
        ("http://localhost:x@evil.example/", false),
        ("http://[::1].evil.example", false),
        ("ftp://idp.example.com", false),
        ("", false),
    ] {
        let problems = resource(|resource| {
            resource["spec"]["authentication"]["issuers"][0]["issuer"] = json!(issuer);
        });
        assert_eq!(problems.is_empty(), valid, "{issuer}: {problems:?}");
    }
}

#[test]
fn names_in_lists_differ() {
    let problems = resource(|resource| {
        let roles = resource["spec"]["postgresql"]["roles"].as_array_mut().unwrap();
        roles.push(roles[0].clone());
        let issuers = resource["spec"]["authentication"]["issuers"].as_array_mut().unwrap();
        issuers.push(issuers[0].clone());
    });
    assert_eq!(
        problems,
        [
            "spec.authentication.issuers[1]: another entry has the same issuer",
            "spec.postgresql.roles[1]: another entry has the same name",
        ]
    );
}
