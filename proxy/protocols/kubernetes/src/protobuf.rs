//! Kubernetes' protobuf bodies, as the JSON that they mean.
//!
//! Typed clients of client-go write protobuf by themselves since 1.32, kubectl among them: `create deployment`,
//! `auth can-i`, `drain`, `create token`. Every built-in type is read, by a table of fields that is made of the Go types
//! themselves ([`types`]), and goes upstream as the JSON that was judged: what is analysed and what is sent cannot
//! differ. What the table does not have, a field given twice, and what no client writes are refused.
//!
//! The envelope: <https://kubernetes.io/docs/reference/using-api/api-concepts/#kubernetes-protobuf-encoding>.

mod types;
mod values;
mod wire;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};
use types::{Field, Holds, Shape, TYPES};
use wire::{Content, Fields};

/// What a protobuf body is sent as.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";
/// Deepest message. Schemas of schemas are the only ones that go deeper than ten.
const DEPTH: usize = 60;

/// Why a body was not read. In words for the client.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NotRead {
    /// It is no Kubernetes protobuf, or none that a client would write.
    #[error("the body is not well-formed protobuf")]
    Malformed,
    /// A type that is not in the table.
    #[error("the gateway does not know {0} in protobuf: send it as JSON")]
    Kind(String),
    /// A field that is not in the table: of a newer version.
    #[error("the gateway does not know field {number} of {message} in protobuf: send it as JSON")]
    Field {
        /// The number on the wire.
        number: u64,
        /// The message that has it.
        message: &'static str,
    },
    /// Messages in messages beyond [`DEPTH`].
    #[error("the body is nested too deep")]
    TooDeep,
}

/// The JSON of a body.
///
/// # Errors
/// It is not understood.
pub(crate) fn to_json(body: &[u8]) -> Result<Value, NotRead> {
    let (mut version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields::new(body.strip_prefix(MAGIC).ok_or(NotRead::Malformed)?) {
        match field? {
            (1, Content::Bytes(bytes)) => (version, kind) = type_meta(bytes)?,
            (2, Content::Bytes(bytes)) => raw = bytes,
            // the encoding and type of what is inside: only the default is sent
            (3 | 4, Content::Bytes([])) => {}
            _ => return Err(NotRead::Malformed),
        }
    }
    let message = TYPES.body(&version, &kind).ok_or_else(|| NotRead::Kind(shown(&version, &kind)))?;
    let mut object = read_message(raw, message, 0)?;
    object.insert("apiVersion".to_owned(), version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

/// Whether objects of a built-in kind have some member of these names. `None`: the kind is not known.
pub(crate) fn has_member(version: &str, kind: &str, names: &[&str]) -> Option<bool> {
    let message = TYPES.message(TYPES.body(version, kind)?);
    Some(message.has(|name| names.contains(&name)))
}

fn type_meta(bytes: &[u8]) -> Result<(String, String), NotRead> {
    let (mut version, mut kind) = (String::new(), String::new());
    for field in Fields::new(bytes) {
        match field? {
            (1, content) => version = values::text(content)?,
            (2, content) => kind = values::text(content)?,
            _ => return Err(NotRead::Malformed),
        }
    }
    Ok((version, kind))
}

/// A type for a message to the client: what it says of itself, short and printable.
fn shown(version: &str, kind: &str) -> String {
    let text = format!("{version} {kind}");
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(120).collect()
}

fn read_message(bytes: &[u8], message: usize, depth: usize) -> Result<Map<String, Value>, NotRead> {
    let mut object = Map::new();
    members(bytes, message, depth, &mut object)?;
    Ok(object)
}

/// Adds the members of a message to an object.
fn members(
    bytes: &[u8],
    message: usize,
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), NotRead> {
    if depth > DEPTH {
        return Err(NotRead::TooDeep);
    }
    let table = TYPES.message(message);
    let mut seen = Vec::new();
    for field in Fields::new(bytes) {
        let (number, content) = field?;
        let field = table.field(number).ok_or(NotRead::Field { number, message: table.name })?;
        if field.shape == Shape::One {
            if seen.contains(&number) {
                return Err(NotRead::Malformed);
            }
            seen.push(number);
        }
        match (field.shape, field.holds, content) {
            (Shape::One, Holds::Message(inner), Content::Bytes(bytes)) if field.is_inline() => {
                members(bytes, inner, depth.saturating_add(1), object)?;
            }
            (Shape::One, ..) => one(field, content, depth, object)?,
            (Shape::List, ..) => {
                let value = values::read(field.holds, content, depth)?;
                let list = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
                list.as_array_mut().ok_or(NotRead::Malformed)?.push(value);
            }
            (Shape::Map, _, Content::Bytes(bytes)) => {
                let (key, value) = entry(field.holds, bytes, depth)?;
                let map = object.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                if map.as_object_mut().ok_or(NotRead::Malformed)?.insert(key, value).is_some() {
                    return Err(NotRead::Malformed);
                }
            }
            (Shape::Map, _, Content::Number(_) | Content::Double(_)) => return Err(NotRead::Malformed),
        }
    }
    Ok(())
}

/// Adds a field that stands once. What JSON leaves out is left out.
fn one(
    field: &Field,
    content: Content<'_>,
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), NotRead> {
    let value = values::read(field.holds, content, depth)?;
    let is_left_out = value.is_null() || (field.omits_empty && values::is_empty(&value));
    if !is_left_out {
        object.insert(field.name.to_owned(), value);
    }
    Ok(())
}

/// One entry of a map.
fn entry(holds: Holds, bytes: &[u8], depth: usize) -> Result<(String, Value), NotRead> {
    let (mut key, mut value) = (String::new(), None);
    for field in Fields::new(bytes) {
        match field? {
            (1, content) => key = values::text(content)?,
            (2, content) => value = Some(values::read(holds, content, depth)?),
            _ => return Err(NotRead::Malformed),
        }
    }
    // what is empty may be left out on the wire
    let value = match value {
        Some(value) => value,
        None => values::read(holds, Content::Bytes(&[]), depth)?,
    };
    Ok((key, value))
}
