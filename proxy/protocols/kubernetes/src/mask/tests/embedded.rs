//! Objects and values where nobody looks first: annotations, managed fields, columns, error messages.

use super::*;

const SECRET: &str = "/api/v1/namespaces/shop/secrets/s";
const CUSTOM: &str = "/apis/example.test/v1/namespaces/shop/applications/a";

#[test]
fn whole_objects_in_any_annotation_are_masked_as_such() {
    let masks = masks(&[], &[]);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"p": "Y2xlYXI="}}).to_string();
    let kindless = json!({"data": {"p": "Y2xlYXI="}, "type": "Opaque"}).to_string();
    let wrapped = json!({"was": {"stringData": {"p": "Y2xlYXI="}}}).to_string();
    let patch = json!([{"op": "replace", "path": "/data/p", "value": "Y2xlYXI="}]).to_string();
    let broken = "{\"data\": {\"p\": \"Y2xlYXI=\"}, ".to_owned();
    let packed = "H4sIAAAAAAAAA6tWSkksSVSyqlYqULJSUIo0Sql0VLJVqgUAQ2xlYXI=".to_owned();
    for (target, text) in [
        (SECRET, &secret),
        (SECRET, &kindless),
        (SECRET, &wrapped),
        (SECRET, &patch),
        (SECRET, &broken),
        (SECRET, &packed),
        (CUSTOM, &secret),
    ] {
        let annotations = json!({"kapp.k14s.io/original": text, "note": "stays", "list": "[1, 2]"});
        let object = json!({"kind": "Any", "metadata": {"annotations": annotations}});
        let table = json!({"kind": "Table", "rows": [{"cells": [], "object": object}]});
        for body in [object, table] {
            let masked = json_of(&masks, target, &body).to_string();
            assert!(!masked.contains("2xlYXI="), "{target} {text}: {masked}");
            assert!(masked.contains("stays") && masked.contains("[1, 2]"), "{target}: {masked}");
        }
    }
    // elsewhere what only begins like JSON is a text
    let templated = json!({"metadata": {"annotations": {"note": "{{ template }}"}}, "kind": "Secret-less"});
    assert_eq!(json_of(&masks, CUSTOM, &templated), templated);
}

#[test]
fn elements_that_are_masked_are_masked_in_the_names_of_managed_fields() {
    let choices = [field("*", "status.podIPs", MaskType::Redact), field("*", "spec.hosts", MaskType::Redact)];
    let masks = masks(&[], &choices);
    let object = json!({
        "metadata": {"managedFields": [{"manager": "kubectl", "fieldsV1": {
            "f:spec": {"f:hosts": {".": {}, "v:\"vault.example.test\"": {}}, "f:ports": {"v:80": {}}},
            "f:status": {"f:podIPs": {"k:{\"ip\":\"10.9.8.7\"}": {"f:ip": {}}}}
        }}]},
        "spec": {"hosts": ["vault.example.test"], "ports": [80]}, "status": {"podIPs": [{"ip": "10.9.8.7"}]}
    });
    for body in [object.clone(), json!({"items": [object]}), json!({"type": "ADDED", "object": object})] {
        let masked = json_of(&masks, "/api/v1/pods", &body).to_string();
        assert!(!masked.contains("vault") && !masked.contains("10.9.8.7"), "{masked}");
        let shown = ["v:80", r#""v:\"[MASKED:pods.spec.hosts]\"""#, "k:{\\\"ip\\\":\\\"[MASKED:", "f:podIPs"];
        assert!(shown.iter().all(|part| masked.contains(part)), "{masked}");
    }
}

#[test]
fn rules_meet_fields_of_an_objects_own_that_are_called_items_or_rows() {
    for name in ["items", "rows"] {
        let masks = masks(&[], &[field("*", &format!("{name}.code"), MaskType::Redact)]);
        let object = json!({"kind": "Vault", name: [{"code": "0451", "label": "door"}]});
        let masked = json_of(&masks, CUSTOM, &object);
        assert_eq!(
            masked[name][0]["code"],
            "[MASKED:applications.example.test.items.code]".replace("items", name)
        );
        assert_eq!(masked[name][0]["label"], "door");
    }
}

#[test]
fn a_table_that_comes_unasked_shows_no_cell_where_fields_are_masked() {
    let masks = masks(&[], &[field("pods", "status.podIP", MaskType::Redact)]);
    let table = json!({"kind": "Table", "rows": [{"cells": ["web", "10.9.8.7", 3], "object": null}]});
    let masked = json_of(&masks, "/api/v1/pods", &table);
    assert_eq!(masked["rows"][0]["cells"], json!(["[MASKED:cell]", "[MASKED:cell]", null]));
    let event = json!({"type": "ADDED", "object": table});
    let masked = json_of(&masks, "/api/v1/pods?watch=true", &event);
    assert_eq!(masked["object"]["rows"][0]["cells"], json!(["[MASKED:cell]", "[MASKED:cell]", null]));
    assert_eq!(json_of(&masks, "/api/v1/nodes", &table), table);
}

#[test]
fn a_table_is_asked_for_in_no_spelling_that_the_api_server_knows_where_columns_are_hidden() {
    let hiding = masks(&[], &[field("pods", "status.podIP", MaskType::Redact)]);
    for accept in [
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as = Table;v=v1;g=meta.k8s.io",
        "application/json ; as= Table\t; v=v1; g=meta.k8s.io",
        "application/json;as=x;as=Table;v=v1;g=meta.k8s.io",
        " application / json;\tas\t=\tTable;v=v1;g=meta.k8s.io",
    ] {
        let asked = negotiate(&info("/api/v1/pods"), Some(accept), &hiding).unwrap();
        assert_eq!(asked, "application/json", "{accept}");
        let shown =
            negotiate(&info("/api/v1/nodes"), Some(accept), &masks(&[Detector::Secrets], &[])).unwrap();
        assert!(shown.starts_with("application/json;as=Table;v=v1"), "{accept}: {shown}");
    }
    // what the API server skips is not sent on
    let odd = "application, application/json;as;q=0.5;v=a=b, /;x=y";
    let asked = negotiate(&info("/api/v1/pods"), Some(odd), &hiding).unwrap();
    assert_eq!(asked, "application/json;q=0.5");
}

#[test]
fn errors_quote_no_object_that_may_be_a_secret_and_keep_their_other_words() {
    let masks = masks(&[], &[]);
    for (message, is_shown) in [
        ("patch: Invalid value: \"{\\\"kind\\\":\\\"Secret\\\"}\": unknown field \"spec.x\"", false),
        ("Invalid value: map[string]interface {}{\"p\":\"clear\"}", false),
        ("spec.objects[0].data.p: Invalid value: \"clear\": must be base64", false),
        ("spec.replicas: Invalid value: \"three\": must be of type integer", true),
    ] {
        let causes = json!([{"reason": "FieldValueInvalid", "message": message}]);
        let status =
            json!({"kind": "Status", "reason": "Invalid", "message": message, "details": {"causes": causes}});
        let masked = json_of(&masks, CUSTOM, &status);
        let expected = if is_shown { message } else { "[MASKED:message]" };
        assert_eq!(masked["message"], expected);
        assert_eq!(masked["details"]["causes"][0]["message"], expected);
    }
}
