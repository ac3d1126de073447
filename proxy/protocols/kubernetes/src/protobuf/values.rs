//! What fields hold, in the JSON that the Go types write.

use super::types::Holds;
use super::wire::{Content, Fields};
use super::{NotRead, read_message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Number, Value};

/// One value.
pub(super) fn read(holds: Holds, content: Content<'_>, depth: usize) -> Result<Value, NotRead> {
    let inner = depth.saturating_add(1);
    match holds {
        Holds::Bool => number(content).map(|number| (number != 0).into()),
        Holds::Int => number(content).map(Value::from),
        Holds::Double => double(content),
        Holds::Text => text(content).map(Value::from),
        Holds::Bytes => Ok(STANDARD.encode(bytes(content)?).into()),
        Holds::Message(message) => read_message(bytes(content)?, message, inner).map(Value::Object),
        Holds::Items => texts(bytes(content)?, 1),
        Holds::Json => json(bytes(content)?),
        Holds::Quantity => only_text(bytes(content)?),
        Holds::Time => time(bytes(content)?, |seconds, _| {
            Timestamp::from_second(seconds).map(|time| time.to_string()).ok()
        }),
        Holds::MicroTime => time(bytes(content)?, |seconds, nanos| {
            // Go writes six digits and drops the rest
            let time = Timestamp::new(seconds, nanos).ok()?;
            Some(time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
        }),
        Holds::IntOrString => int_or_string(bytes(content)?),
        Holds::OrBool(schema) => or_bool(bytes(content)?, schema, inner),
        Holds::OrList(schema) => or_list(bytes(content)?, schema, inner),
        Holds::OrTexts(schema) => or_texts(bytes(content)?, schema, inner),
    }
}

/// Whether Go takes a value for empty. Messages never are.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

pub(super) fn text(content: Content<'_>) -> Result<String, NotRead> {
    let bytes = bytes(content)?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_not_utf8| NotRead::Malformed)
}

fn bytes(content: Content<'_>) -> Result<&[u8], NotRead> {
    match content {
        Content::Bytes(bytes) => Ok(bytes),
        Content::Number(_) | Content::Double(_) => Err(NotRead::Malformed),
    }
}

/// A whole number in two's complement. Nothing at all, as in an entry of a map, is zero.
fn number(content: Content<'_>) -> Result<i64, NotRead> {
    match content {
        Content::Number(number) => Ok(number.cast_signed()),
        Content::Bytes([]) => Ok(0),
        Content::Bytes(_) | Content::Double(_) => Err(NotRead::Malformed),
    }
}

/// A number as Go writes it: whole ones without a point.
fn double(content: Content<'_>) -> Result<Value, NotRead> {
    match content {
        Content::Double(number) => {
            number.to_string().parse::<Number>().map(Value::Number).map_err(|_not_finite| NotRead::Malformed)
        }
        Content::Number(_) | Content::Bytes(_) => Err(NotRead::Malformed),
    }
}

/// The texts of a message that has no other field.
fn texts(message: &[u8], number: u64) -> Result<Value, NotRead> {
    let read = |field: Result<(u64, Content<'_>), NotRead>| match field? {
        (found, content) if found == number => text(content).map(Value::from),
        _ => Err(NotRead::Malformed),
    };
    Fields::new(message).map(read).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

/// The one field of a message that has no more than one, once.
fn only(message: &[u8]) -> Result<Option<Content<'_>>, NotRead> {
    let mut fields = Fields::new(message);
    match (fields.next().transpose()?, fields.next()) {
        (None, _) => Ok(None),
        (Some((1, content)), None) => Ok(Some(content)),
        (Some(_), _) => Err(NotRead::Malformed),
    }
}

fn only_text(message: &[u8]) -> Result<Value, NotRead> {
    Ok(only(message)?.map(text).transpose()?.map_or(Value::Null, Value::from))
}

/// JSON within protobuf. Other encodings of what is inside are not read.
fn json(message: &[u8]) -> Result<Value, NotRead> {
    let raw = only(message)?.map(bytes).transpose()?.unwrap_or_default();
    if raw.is_empty() { Ok(Value::Null) } else { crate::analyze::json::read(raw).ok_or(NotRead::Malformed) }
}

/// Seconds and nanoseconds since 1970. A time that is none is empty on the wire.
fn time(message: &[u8], write: impl Fn(i64, i32) -> Option<String>) -> Result<Value, NotRead> {
    if message.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::new(message) {
        match field? {
            (1, content) => seconds = number(content)?,
            (2, content) => nanos = i32::try_from(number(content)?).map_err(|_range| NotRead::Malformed)?,
            _ => return Err(NotRead::Malformed),
        }
    }
    if !(0..1_000_000_000).contains(&nanos) {
        return Err(NotRead::Malformed);
    }
    write(seconds, nanos).map(Value::from).ok_or(NotRead::Malformed)
}

fn int_or_string(message: &[u8]) -> Result<Value, NotRead> {
    let (mut kind, mut int, mut string) = (0, 0, String::new());
    for field in Fields::new(message) {
        match field? {
            (1, content) => kind = number(content)?,
            (2, content) => int = number(content)?,
            (3, content) => string = text(content)?,
            _ => return Err(NotRead::Malformed),
        }
    }
    match kind {
        0 => Ok(int.into()),
        1 => Ok(string.into()),
        _ => Err(NotRead::Malformed),
    }
}

fn or_bool(message: &[u8], schema: usize, depth: usize) -> Result<Value, NotRead> {
    let mut found = Value::Bool(false);
    for field in Fields::new(message) {
        match field? {
            (1, content) if found.is_boolean() => found = (number(content)? != 0).into(),
            (2, content) => found = read(Holds::Message(schema), content, depth)?,
            _ => return Err(NotRead::Malformed),
        }
    }
    Ok(found)
}

fn or_list(message: &[u8], schema: usize, depth: usize) -> Result<Value, NotRead> {
    let (mut one, mut several) = (Value::Null, Vec::new());
    for field in Fields::new(message) {
        match field? {
            (1, content) => one = read(Holds::Message(schema), content, depth)?,
            (2, content) => several.push(read(Holds::Message(schema), content, depth)?),
            _ => return Err(NotRead::Malformed),
        }
    }
    Ok(if several.is_empty() { one } else { Value::Array(several) })
}

fn or_texts(message: &[u8], schema: usize, depth: usize) -> Result<Value, NotRead> {
    let (mut one, mut names) = (Value::Null, Vec::new());
    for field in Fields::new(message) {
        match field? {
            (1, content) => one = read(Holds::Message(schema), content, depth)?,
            (2, content) => names.push(text(content)?.into()),
            _ => return Err(NotRead::Malformed),
        }
    }
    Ok(if names.is_empty() { one } else { Value::Array(names) })
}
