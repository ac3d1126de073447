//! `crds/generated` is what the code says, and what an API server takes.

use crds::definitions;
use serde_json::Value;
use std::path::Path;

#[test]
fn the_generated_definitions_are_those_of_the_code() {
    expect_generated(&Path::new(env!("CARGO_MANIFEST_DIR")).join("generated"));
}

/// Helm packs only what lies in the chart.
#[test]
fn the_chart_carries_the_same_definitions() {
    expect_generated(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/portcullis/files/crds"));
}

fn expect_generated(directory: &Path) {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut names = Vec::new();
    for definition in definitions::all() {
        names.push(format!("{}.yaml", definition.metadata.name.as_deref().unwrap()));
        let path = directory.join(names.last().unwrap());
        let expected = definitions::to_yaml(&definition).unwrap();
        if update {
            std::fs::create_dir_all(directory).unwrap();
            std::fs::write(&path, &expected).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == expected, "{} is stale: run this test with UPDATE_GOLDEN=1", path.display());
    }
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name), "{name} in {} is no definition", directory.display());
    }
}

/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>
#[test]
fn schemas_are_structural_and_use_formats_that_the_api_server_knows() {
    for definition in definitions::all() {
        let name = definition.spec.names.kind.clone();
        for version in definition.spec.versions {
            let schema = version.schema.and_then(|schema| schema.open_api_v3_schema).unwrap();
            check_schema(&serde_json::to_value(schema).unwrap(), &name);
        }
    }
}

fn check_schema(schema: &Value, path: &str) {
    let object = schema.as_object().unwrap();
    assert!(object.get("type").is_some_and(Value::is_string), "{path} has no single type");
    for forbidden in ["oneOf", "anyOf", "allOf", "not", "$ref", "definitions", "uniqueItems"] {
        assert!(!object.contains_key(forbidden), "{path} has {forbidden}");
    }
    assert!(!(object.contains_key("properties") && object.contains_key("additionalProperties")), "{path}");
    if let Some(format) = object.get("format").and_then(Value::as_str) {
        assert!(["int32", "int64", "date-time", "double"].contains(&format), "{path} has format {format}");
    }
    for (name, property) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        check_schema(property, &format!("{path}.{name}"));
    }
    for field in ["items", "additionalProperties"] {
        if let Some(inner) = object.get(field) {
            check_schema(inner, &format!("{path}[]"));
        }
    }
}

/// Without bounds, the API server's cost estimate of a CEL rule over a list is unlimited, and it refuses the definition.
#[test]
fn every_list_of_a_spec_is_bounded() {
    for definition in definitions::all() {
        let value = serde_json::to_value(&definition).unwrap();
        let spec = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        check_bounds(spec, &definition.spec.names.kind);
    }
}

fn check_bounds(schema: &Value, path: &str) {
    // A label selector is Kubernetes' own type, without bounds there as well.
    if path.contains("resourceSelector") {
        return;
    }
    if schema["type"] == "array" {
        assert!(schema["maxItems"].is_number(), "{path} is an unbounded list");
        check_bounds(&schema["items"], &format!("{path}[]"));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        check_bounds(property, &format!("{path}.{name}"));
    }
}
