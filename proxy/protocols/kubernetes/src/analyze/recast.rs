//! Patches that say what kind an embedded object is.
//!
//! A Secret within a custom resource is masked for being one. A patch that made something else of it would leave its
//! data where no mask covers it, and what is there now a patch does not tell. Most patches with a `kind` in them mean no
//! object at all, but say which one is meant, by kind and name: these go on with all taken away that makes a Secret of
//! an object and that no reference has, so that they are what they say wherever they come to stand. What may be either
//! is refused.

use super::body::{Form, Forward, Read};
use super::fields;
use crate::mask::may_hold_objects;
use crate::protobuf;
use crate::request::{Refused, RequestInfo};
use serde_json::{Map, Value};

/// The kind that is masked for being it. Whatever becomes one is masked more than before.
const SECRET: &str = "Secret";
/// What an object has of which something is masked where it is a Secret, and a reference has not.
const OF_OBJECTS: [&str; 3] = ["data", "metadata", "stringData"];
/// What of that a template of another kind has not either.
const OF_SECRETS: [&str; 2] = ["data", "stringData"];

/// What goes upstream in the place of a patch, if that is another one.
///
/// # Errors
/// It may make something else of a Secret.
pub(super) fn guarded(info: &RequestInfo, read: &Read) -> Result<Option<Forward>, Refused> {
    if !may_hold_objects(info) {
        return Ok(None);
    }
    match read.form {
        Form::JsonPatch => {
            let recasts = |operation: &Value| recasts(operation);
            let any = read.value.as_array().into_iter().flatten().any(recasts);
            if any { Err(recast()) } else { Ok(None) }
        }
        Form::MergePatch | Form::StrategicPatch => {
            let mut patch = read.value.clone();
            let changed = patch.as_object_mut().map_or(Ok(false), |members| guard(members, read.form))?;
            Ok(changed.then(|| Forward::Replaced {
                content_type: "application/merge-patch+json",
                bytes: patch.to_string().into_bytes(),
            }))
        }
        Form::Object | Form::Apply => Ok(None),
    }
}

/// Guards the members of an object that a patch changes; whether that changed the patch. Lists a merge patch replaces
/// whole.
fn guard(patch: &mut Map<String, Value>, form: Form) -> Result<bool, Refused> {
    let mut changed = false;
    for (name, value) in patch {
        let Value::Object(inner) = value else { continue };
        if inner.contains_key("kind") {
            for without in lacking(name, inner, form)? {
                changed |= inner.insert((*without).to_owned(), Value::Null).is_none();
            }
        }
        changed |= guard(inner, form)?;
    }
    Ok(changed)
}

/// What has to be taken away from where these members come to stand, for it to be no Secret of another kind.
fn lacking(name: &str, members: &Map<String, Value>, form: Form) -> Result<&'static [&'static str], Refused> {
    let empties = |name: &str| members.get(name).is_some_and(Value::is_null);
    if text(members, "kind") == SECRET || OF_SECRETS.into_iter().all(empties) {
        return Ok(&[]);
    }
    // what null does to what a strategic patch does not know is not said
    let takes_away = form == Form::MergePatch;
    if takes_away && is_reference(members) {
        return Ok(&OF_OBJECTS);
    }
    if is_named_reference(name) {
        return Ok(&[]);
    }
    if takes_away && is_template(members) {
        return Ok(&OF_SECRETS);
    }
    Err(recast())
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> &'a str {
    members.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Whether it says by kind and name which object is meant, and nothing that stands in an object.
fn is_reference(members: &Map<String, Value>) -> bool {
    let is_plain = |value: &Value| !value.is_object() && !value.is_array();
    ["kind", "name"].into_iter().all(|name| !text(members, name).is_empty())
        && members.values().all(is_plain)
        && OF_OBJECTS.into_iter().all(|name| !members.contains_key(name))
}

/// Whether it is of a built-in kind that has no data: a volume claim, a pod.
fn is_template(members: &Map<String, Value>) -> bool {
    protobuf::has_member(text(members, "apiVersion"), text(members, "kind"), &OF_SECRETS) == Some(false)
        && OF_SECRETS.into_iter().all(|name| !members.contains_key(name))
}

/// Whether an operation says of what may be an embedded object which kind it is.
fn recasts(operation: &Value) -> bool {
    let text = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default();
    let is_secret = matches!(text("op"), "add" | "replace") && text("value") == SECRET;
    text("op") != "test" && !is_secret && (is_kind(text("path")) || is_kind(text("from")))
}

/// Whether the kind of what may be an embedded object stands there.
fn is_kind(pointer: &str) -> bool {
    let mut names = fields::names(pointer).rev();
    if names.next().is_none_or(|last| last != "kind") {
        return false;
    }
    let is_place = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    // of an element of a list, the list's name tells
    names.find(|name| !is_place(name)).is_some_and(|parent| !is_named_reference(&parent))
}

/// Whether what has that name says which object is meant, and is none itself: `sourceRef`, `ownerReferences`.
fn is_named_reference(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["ref", "refs", "reference", "references"].iter().any(|ending| name.ends_with(ending))
        || REFERENCES.contains(&name.as_str())
}

/// Names of references that do not say so, of the built-in types: claims, bindings, events.
const REFERENCES: [&str; 4] = ["datasource", "involvedobject", "regarding", "subjects"];

fn recast() -> Refused {
    Refused::forbidden(
        "a patch may not change what an embedded object is, for its data would be masked no longer: write the whole \
         object, or, where a reference is meant, its kind together with its name",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PATCHED: &str = "/apis/example.com/v1/namespaces/a/things/x";

    fn tried(form: Form, patch: &Value) -> Result<Option<Value>, Refused> {
        let info = RequestInfo::read("PATCH", PATCHED).unwrap();
        let read = Read { form, value: patch.clone(), forward: Forward::AsSent };
        Ok(guarded(&info, &read)?.map(|forward| match forward {
            Forward::AsSent => panic!("as it was sent"),
            Forward::Replaced { bytes, .. } => serde_json::from_slice(&bytes).unwrap(),
        }))
    }

    #[test]
    fn references_of_operators_pass_and_take_along_what_no_reference_has() {
        let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s1"});
        for patch in [
            // CloudNativePG
            json!({"spec": {"bootstrap": {"recovery": {"volumeSnapshots": {"storage": snapshot, "walStorage": snapshot}}}}}),
            // KubeVirt's CDI, VolumeSnapshot restores
            json!({"spec": {"pvc": {"dataSource": snapshot}}}),
            // Argo Rollouts, Flagger, KEDA
            json!({"spec": {"workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}),
            json!({"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"}}}),
            // Flux
            json!({"spec": {"chart": {"spec": {"sourceRef": {"kind": "HelmRepository", "name": "r", "namespace": null}}}}}),
            // Crossplane, cert-manager
            json!({"spec": {"issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "ca"}}}),
            json!({"spec": {"claim": {"apiVersion": "x.io/v1", "kind": "Database", "name": "d", "uid": "1", "optional": true}}}),
        ] {
            let sent = tried(Form::MergePatch, &patch).unwrap().unwrap();
            let mut expected = patch.clone();
            take_along(&mut expected, &OF_OBJECTS);
            assert_eq!(sent, expected, "{patch}");
            // what goes on is let through as it is
            assert_eq!(tried(Form::MergePatch, &sent).unwrap(), None, "{patch}");
        }
    }

    fn take_along(patch: &mut Value, names: &[&str]) {
        let Value::Object(members) = patch else { return };
        members.values_mut().for_each(|member| take_along(member, names));
        if members.contains_key("kind") {
            members.extend(names.iter().map(|name| ((*name).to_owned(), Value::Null)));
        }
    }

    #[test]
    fn templates_of_kinds_without_data_pass_without_any() {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"labels": {"a": "b"}},
            "spec": {"resources": {"requests": {"storage": "1Gi"}}}});
        for patch in [
            // Prometheus, Rook
            json!({"spec": {"storage": {"volumeClaimTemplate": claim}}}),
            json!({"spec": {"podTemplate": {"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": "a"}}}}),
        ] {
            let sent = tried(Form::MergePatch, &patch).unwrap().unwrap();
            let mut expected = patch.clone();
            take_along(&mut expected, &OF_SECRETS);
            assert_eq!(sent, expected, "{patch}");
        }
    }

    #[test]
    fn what_needs_no_guard_goes_on_as_it_is() {
        for (form, patch) in [
            // lists are replaced whole: CloudNativePG, Istio, Gateway API, ECK
            (
                Form::MergePatch,
                json!({"spec": {"externalClusters": [{"name": "a", "plugin": {"kind": "x", "data": {}}}]}}),
            ),
            (
                Form::MergePatch,
                json!({"metadata": {"ownerReferences": [{"kind": "A", "name": "a", "uid": "1"}]}}),
            ),
            (Form::MergePatch, json!({"spec": {"parentRefs": [{"kind": "Gateway", "name": "g"}]}})),
            (Form::MergePatch, json!({"kind": "Thing", "spec": {"replicas": 3}})),
            // it is masked as a Secret whatever it was
            (Form::MergePatch, json!({"spec": {"template": {"kind": "Secret", "stringData": {"a": "b"}}}})),
            (
                Form::MergePatch,
                json!({"spec": {"object": {"kind": "ConfigMap", "data": null, "stringData": null}}}),
            ),
            (Form::MergePatch, json!({"spec": {"targetRef": {"kind": "Deployment"}}})),
            (Form::JsonPatch, json!([{"op": "replace", "path": "/spec/template/kind", "value": "Secret"}])),
            (
                Form::JsonPatch,
                json!([{"op": "replace", "path": "/metadata/ownerReferences/0/kind", "value": "A"}]),
            ),
            (Form::JsonPatch, json!([{"op": "replace", "path": "/spec/subjects/1/kind", "value": "User"}])),
            (
                Form::JsonPatch,
                json!([{"op": "replace", "path": "/spec/dataSource/kind", "value": "VolumeSnapshot"}]),
            ),
            (
                Form::JsonPatch,
                json!([{"op": "add", "path": "/spec/backendRefs/-", "value": {"kind": "Service"}}]),
            ),
            (
                Form::JsonPatch,
                json!([{"op": "replace", "path": "/spec/object", "value": {"kind": "A", "name": "a"}}]),
            ),
        ] {
            assert_eq!(tried(form, &patch).unwrap(), None, "{patch}");
        }
    }

    #[test]
    fn what_may_be_a_secret_made_something_else_is_refused() {
        for (form, patch) in [
            (Form::MergePatch, json!({"spec": {"object": {"kind": "ConfigMap"}}})),
            (Form::MergePatch, json!({"spec": {"object": {"kind": null}}})),
            (Form::MergePatch, json!({"spec": {"object": {"kind": null, "name": "a"}}})),
            (Form::MergePatch, json!({"spec": {"object": {"kind": "ConfigMap", "name": ""}}})),
            (Form::MergePatch, json!({"spec": {"object": {"kind": "ConfigMap", "name": "a", "data": "x"}}})),
            (Form::MergePatch, json!({"spec": {"object": {"kind": "ConfigMap", "name": "a", "data": null}}})),
            (
                Form::MergePatch,
                json!({"spec": {"object": {"kind": "ConfigMap", "name": "a", "metadata": {"name": "b"}}}}),
            ),
            (Form::MergePatch, json!({"spec": {"object": {"kind": "ConfigMap", "name": "a", "spec": {}}}})),
            // Crossplane's provider-kubernetes
            (
                Form::MergePatch,
                json!({"spec": {"forProvider": {"manifest":
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "b"}}}}}),
            ),
            // a kind that has data, one that nobody knows, one of no version
            (
                Form::MergePatch,
                json!({"spec": {"object": {"apiVersion": "v1", "kind": "ConfigMap", "immutable": true}}}),
            ),
            (
                Form::MergePatch,
                json!({"spec": {"object": {"apiVersion": "x.io/v1", "kind": "Any", "spec": {}}}}),
            ),
            (Form::MergePatch, json!({"spec": {"object": {"kind": "PersistentVolumeClaim", "spec": {}}}})),
            (
                Form::MergePatch,
                json!({"spec": {"object": {"apiVersion": "v1", "kind": "Pod", "data": {"a": null}}}}),
            ),
            (Form::StrategicPatch, json!({"spec": {"object": {"kind": "ConfigMap", "name": "a"}}})),
            (
                Form::JsonPatch,
                json!([{"op": "replace", "path": "/spec/objects/0/kind", "value": "ConfigMap"}]),
            ),
            (Form::JsonPatch, json!([{"op": "remove", "path": "/spec/object/kind"}])),
            (Form::JsonPatch, json!([{"op": "move", "from": "/spec/object/kind", "path": "/spec/colour"}])),
            (Form::JsonPatch, json!([{"op": "copy", "from": "/spec/kind", "path": "/spec/object/kind"}])),
        ] {
            assert!(tried(form, &patch).is_err(), "{patch}");
        }
    }

    #[test]
    fn built_in_types_that_hold_no_objects_are_let_alone() {
        let info = RequestInfo::read("PATCH", "/apis/apps/v1/namespaces/a/deployments/x").unwrap();
        let value = json!({"spec": {"object": {"kind": "ConfigMap"}}});
        let read = Read { form: Form::MergePatch, value, forward: Forward::AsSent };
        assert_eq!(guarded(&info, &read).unwrap(), None);
    }
}
