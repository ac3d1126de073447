//! What a body touches: fields, images, whole sections.

use super::Refused;
use super::body::{Form, Read};
use crate::request::RequestInfo;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// More fields than this are "not known".
const FIELDS_LIMIT: usize = 4096;
/// Deepest that a body is walked; `serde_json` reads no deeper.
const DEPTH_LIMIT: usize = 128;
/// Maps from names to plain values: what stands in them has nothing below it.
const FLAT_MAPS: [&str; 9] = [
    "annotations",
    "binaryData",
    "data",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "requests",
    "stringData",
];
/// Fields that are plain values wherever they stand.
const FLAT_FIELDS: [&str; 6] = ["finalizers", "image", "paused", "replicas", "suspend", "unschedulable"];
/// Members that say what an object is, and not how it shall be.
const IDENTITY: [&str; 4] = ["apiVersion", "kind", "metadata.name", "metadata.namespace"];

/// What an update or patch touches.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Touched {
    /// Dotted paths, sorted. `None`: it may be any.
    pub(super) fields: Option<Vec<String>>,
    /// Fields that are touched for certain, known or not.
    certain: BTreeSet<String>,
    /// A whole section is taken away, as a delete would.
    pub(super) wipes: bool,
}

impl Touched {
    /// Whether a field, or something below or above it, is touched for certain.
    pub(super) fn meets(&self, field: &str) -> bool {
        self.certain.iter().any(|path| {
            let (short, long) =
                if path.len() < field.len() { (path.as_str(), field) } else { (field, path.as_str()) };
            long.strip_prefix(short)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || short.is_empty())
        })
    }
}

/// What a body touches.
pub(super) fn touched(info: &RequestInfo, read: &Read) -> Touched {
    let mut walk = Fields { known: true, ..Fields::default() };
    match read.form {
        Form::Object => {
            walk.object(&read.value, 0);
            // what is left out is taken away, whatever it was
            walk.known = info.subresource == "scale";
            walk.wipes = is_empty(info, &read.value);
        }
        Form::JsonPatch => {
            for operation in read.value.as_array().into_iter().flatten() {
                walk.operation(operation);
            }
        }
        Form::MergePatch | Form::StrategicPatch => {
            walk.replaces_lists = read.form == Form::MergePatch;
            walk.object(&read.value, 0);
        }
        Form::Apply => {
            walk.object(&read.value, 0);
            // what was applied before and is left out now is taken away
            walk.known = false;
        }
    }
    let is_known = walk.known && walk.found.len() <= FIELDS_LIMIT;
    let fields = is_known.then(|| walk.found.iter().cloned().collect());
    Touched { fields, certain: walk.found, wipes: walk.wipes }
}

/// An update that leaves nothing but what the object is called. Some kinds have no more to say.
fn is_empty(info: &RequestInfo, object: &Value) -> bool {
    let nameless = matches!(info.resource.as_str(), "namespaces" | "serviceaccounts");
    let bare = |object: &Map<String, Value>| {
        object.iter().all(|(name, value)| {
            matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "type" | "status")
                || value.is_null()
                || value.as_object().is_some_and(Map::is_empty)
        })
    };
    !nameless && info.subresource.is_empty() && object.as_object().is_some_and(bare)
}

#[derive(Debug, Default)]
struct Fields {
    path: Vec<String>,
    found: BTreeSet<String>,
    known: bool,
    wipes: bool,
    /// A list in the patch stands for the whole list.
    replaces_lists: bool,
}

impl Fields {
    fn object(&mut self, value: &Value, depth: usize) {
        if depth > DEPTH_LIMIT {
            self.known = false;
            return;
        }
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (name, value) in map {
                    self.member(name, value, depth);
                }
            }
            Value::Array(list) if list.iter().any(Value::is_object) => {
                self.known &= !self.replaces_lists;
                for element in list {
                    self.object(element, depth + 1);
                }
            }
            Value::Null => {
                self.note();
                self.removal();
            }
            Value::Object(_) | Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                self.note();
            }
        }
    }

    fn member(&mut self, name: &str, value: &Value, depth: usize) {
        match name {
            "$patch" => {
                self.note();
                // `merge` is what happens anyway
                if value != "merge" {
                    self.known = false;
                    self.wipes |= self.path.len() <= 1;
                }
            }
            "$retainKeys" => {
                self.note();
                self.known = false;
            }
            _ if name.starts_with('$') => {
                // `$setElementOrder/containers`, `$deleteFromPrimitiveList/finalizers`
                self.path.push(name.rsplit('/').next().unwrap_or_default().to_owned());
                self.note();
                self.path.pop();
            }
            _ => {
                self.path.push(name.to_owned());
                self.object(value, depth + 1);
                self.path.pop();
            }
        }
    }

    fn note(&mut self) {
        let path = self.path.join(".");
        if !IDENTITY.contains(&path.as_str()) && self.found.len() <= FIELDS_LIMIT {
            self.found.insert(path);
        }
    }

    /// What stands at the path is taken away, with all that is below it.
    fn removal(&mut self) {
        self.known &= self.is_flat();
        self.wipes |= self.path.len() <= 1 && self.path.first().is_none_or(|first| first != "metadata");
    }

    /// Whether what stands at the path has nothing below it.
    fn is_flat(&self) -> bool {
        let mut last = self.path.iter().rev().map(String::as_str);
        let (name, parent) = (last.next().unwrap_or_default(), last.next().unwrap_or_default());
        FLAT_FIELDS.contains(&name) || FLAT_MAPS.contains(&parent)
    }

    /// One operation of a JSON patch.
    fn operation(&mut self, operation: &Value) {
        let text = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default();
        let value = operation.get("value").unwrap_or(&Value::Null);
        self.path = segments(text("path"));
        match text("op") {
            "test" => {}
            "add" | "replace" => self.assign(value, text("path").ends_with("/-")),
            "remove" => {
                self.note();
                self.removal();
            }
            "move" => {
                self.note();
                self.known &= self.is_flat();
                self.path = segments(text("from"));
                self.note();
                self.removal();
            }
            "copy" => {
                self.note();
                self.known &= self.is_flat();
            }
            _ => self.known = false,
        }
        self.path.clear();
    }

    /// A value is put in place of whatever was there.
    fn assign(&mut self, value: &Value, appends: bool) {
        self.note();
        let is_section = self.path.len() <= 1;
        if value.is_object() || value.is_array() {
            self.known &= appends;
            self.object(value, 0);
            self.wipes |= is_section && is_nothing(value);
        } else {
            self.known &= !is_section || self.is_flat();
            self.wipes |= is_section && value.is_null();
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// The segments of a JSON pointer (RFC 6901) without places in lists.
pub(super) fn segments(pointer: &str) -> Vec<String> {
    names(pointer)
        .filter(|name| name != "-" && (name.is_empty() || !name.bytes().all(|b| b.is_ascii_digit())))
        .collect()
}

/// The segments of a JSON pointer, places in lists as well.
pub(super) fn names(pointer: &str) -> impl DoubleEndedIterator<Item = String> {
    let segments = pointer.split_once('/').map(|(_, rest)| rest.split('/'));
    segments.into_iter().flatten().map(|segment| segment.replace("~1", "/").replace("~0", "~"))
}

/// Refuses a patch that says where in a way that could be read in two.
///
/// The API server's library reads a place in a list as a number with a sign, and counts a negative one from the end;
/// the name of a member may look the same. An image's name that comes from elsewhere in the object is none that anybody
/// could judge.
///
/// # Errors
/// [`Refused`], naming the pointer.
pub(super) fn places(read: &Read) -> Result<(), Refused> {
    if read.form != Form::JsonPatch {
        return Ok(());
    }
    for operation in read.value.as_array().into_iter().flatten() {
        let text = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default();
        for pointer in [text("path"), text("from")] {
            if names(pointer).any(|name| is_signed_number(&name)) {
                return Err(Refused::bad(format!(
                    "{pointer} has a number with a sign: say places in lists as 0, 1, 2 or -, and change a member of \
                     that name by a merge patch"
                )));
            }
        }
        if matches!(text("op"), "copy" | "move") && names_image(text("path")) {
            return Err(Refused::bad(
                "an image may not be copied or moved by a JSON patch: write its name itself",
            ));
        }
    }
    Ok(())
}

fn is_signed_number(name: &str) -> bool {
    name.strip_prefix(['-', '+'])
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether an image's name stands there. Image volumes say `image: {reference: …}`.
fn names_image(pointer: &str) -> bool {
    let mut last = names(pointer).rev();
    match (last.next().as_deref(), last.next().as_deref()) {
        (Some("image"), _) | (Some("reference"), Some("image")) => true,
        (Some(_) | None, _) => false,
    }
}

/// Images that a body names, in order, each once: whatever is called `image`, in operations of a patch as well.
pub(super) fn images(read: &Read) -> Vec<String> {
    let mut found = Vec::new();
    if read.form == Form::JsonPatch {
        for operation in read.value.as_array().into_iter().flatten() {
            let path = operation.get("path").and_then(Value::as_str).unwrap_or_default();
            let value = operation.get("value").unwrap_or(&Value::Null);
            if names_image(path) {
                note_image(value, &mut found);
            }
            find_images(value, 0, &mut found);
        }
    } else {
        find_images(&read.value, 0, &mut found);
    }
    found
}

fn note_image(value: &Value, found: &mut Vec<String>) {
    // an image volume says `image: {reference: …}`
    let name = value.as_str().or_else(|| value.get("reference").and_then(Value::as_str));
    if let Some(name) = name.filter(|name| !name.is_empty() && !found.iter().any(|earlier| earlier == name)) {
        found.push(name.to_owned());
    }
}

fn find_images(value: &Value, depth: usize, found: &mut Vec<String>) {
    if depth > DEPTH_LIMIT {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if name == "image" {
                    note_image(value, found);
                }
                find_images(value, depth + 1, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|element| find_images(element, depth + 1, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
