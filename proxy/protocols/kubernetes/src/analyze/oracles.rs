//! Requests that would tell what is masked: selectors and comparisons by it, and copies to where no mask covers it.

use super::body::{Form, Read};
use super::{fields, touches};
use crate::mask::{Rules, may_hold_objects};
use crate::request::{Refused, RequestInfo, label_keys};
use serde_json::Value;

/// Fields with nothing below them that every client may compare: what a patch was made for.
const PLAIN: [&str; 5] = [
    "metadata.generation",
    "metadata.name",
    "metadata.namespace",
    "metadata.resourceVersion",
    "metadata.uid",
];

/// A selector by a masked field or label tells whether a guess was right.
///
/// # Errors
/// There is one.
pub(super) fn selectors(info: &RequestInfo, rules: &Rules) -> Result<(), Refused> {
    if !rules.any() {
        return Ok(());
    }
    let refused =
        |field: &str| Refused::forbidden(format!("{field} is masked, so nothing can be selected by it"));
    let selector = info.parameter("fieldSelector").unwrap_or_default();
    for term in selector.split(',') {
        let field = term.split(['=', '!']).next().unwrap_or_default();
        if rules.covers(field) {
            return Err(refused(field));
        }
    }
    let selector = info.parameter("labelSelector").unwrap_or_default();
    let Some(keys) = label_keys(selector) else {
        return if rules.guards("metadata.labels") { Err(refused("a label")) } else { Ok(()) };
    };
    match keys.iter().map(|key| format!("metadata.labels.{key}")).find(|field| rules.covers(field)) {
        Some(field) => Err(refused(&field)),
        None => Ok(()),
    }
}

/// JSON patches can compare values and copy them to where no mask covers them.
///
/// # Errors
/// This one does.
pub(super) fn patches(info: &RequestInfo, read: &Read, rules: &Rules) -> Result<(), Refused> {
    if read.form != Form::JsonPatch {
        return Ok(());
    }
    let holds_objects = may_hold_objects(info);
    for operation in read.value.as_array().into_iter().flatten() {
        compares(operation, rules)?;
        if holds_objects {
            embedded(operation)?;
        }
    }
    Ok(())
}

fn compares(operation: &Value, rules: &Rules) -> Result<(), Refused> {
    let Some(pointer) = source(operation).filter(|_| rules.any()) else { return Ok(()) };
    let source = touches::dotted(pointer);
    // annotations may hold the whole object
    if PLAIN.contains(&source.as_str()) && !rules.covers(&source) {
        return Ok(());
    }
    let holds = source.is_empty() || source == "metadata" || source.starts_with("metadata.annotations");
    if holds || rules.guards(&source) { Err(compared()) } else { Ok(()) }
}

/// What an operation reads.
fn source(operation: &Value) -> Option<&str> {
    match text(operation, "op") {
        "test" => Some(text(operation, "path")),
        "copy" | "move" => Some(text(operation, "from")),
        _ => None,
    }
}

fn text<'a>(operation: &'a Value, name: &str) -> &'a str {
    operation.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// An operation on an object in which a Secret may be, wherever it is.
fn embedded(operation: &Value) -> Result<(), Refused> {
    let Some(source) = source(operation) else { return Ok(()) };
    let names: Vec<String> = fields::names(source).collect();
    let is_whole = matches!(names.iter().map(String::as_str).collect::<Vec<_>>()[..], [] | ["metadata"]);
    let is_data = |name: &String| matches!(name.as_str(), "annotations" | "data" | "stringData");
    // a whole object tells of its data, should all the rest be right
    let is_compared = text(operation, "op") == "test"
        && operation.get("value").is_some_and(|value| value.is_object() || value.is_array());
    if is_whole || is_compared || names.iter().any(is_data) { Err(compared()) } else { Ok(()) }
}

fn compared() -> Refused {
    Refused::forbidden("a JSON patch may not test, copy or move what is masked: write the value itself")
}
