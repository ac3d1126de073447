//! The body of a request, understood once.

use super::json;
use crate::protobuf;
use crate::request::{Method, Refused, RequestInfo};
use serde_json::Value;

/// What a request carries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Body<'a> {
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// All of it; empty where there is none.
    pub bytes: &'a [u8],
}

/// What goes upstream in its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Forward {
    /// The body as it was sent.
    AsSent,
    /// The same in the form in which it was judged.
    Replaced {
        /// `Content-Type`.
        content_type: &'static str,
        /// The body.
        bytes: Vec<u8>,
    },
}

impl Forward {
    /// What goes upstream, where this was sent.
    pub fn in_place_of<'a>(&'a self, sent: Body<'a>) -> Body<'a> {
        match self {
            Self::AsSent => sent,
            Self::Replaced { content_type, bytes } => Body { content_type: Some(content_type), bytes },
        }
    }
}

/// What a body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// A whole object, or the options of a delete.
    Object,
    /// RFC 6902.
    JsonPatch,
    /// RFC 7386.
    MergePatch,
    /// Kubernetes' own patch, with directives.
    StrategicPatch,
    /// Server-side apply.
    Apply,
}

/// A body that was read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) form: Form,
    pub(super) value: Value,
    pub(super) forward: Forward,
}

/// Reads a body. `None`: there is none.
pub(super) fn read(info: &RequestInfo, body: Body<'_>) -> Result<Option<Read>, Refused> {
    if body.bytes.is_empty() {
        return Ok(None);
    }
    if matches!(info.method, Method::Get | Method::Head) {
        return Err(Refused::bad("a GET has no body"));
    }
    let content_type = body.content_type.unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (form, encoding) = form(info.method, &essence).ok_or_else(unread)?;
    let (value, forward) = match encoding {
        Encoding::Yaml => yaml(form, body.bytes)?,
        Encoding::Protobuf => protobuf(body.bytes)?,
        Encoding::Json => {
            let value = json::read(body.bytes)
                .ok_or_else(|| Refused::bad("the body is not JSON, or an object in it has a name twice"))?;
            (value, Forward::AsSent)
        }
    };
    let is_fitting = if form == Form::JsonPatch { value.is_array() } else { value.is_object() };
    if !is_fitting {
        return Err(Refused::bad("the body is not an object, or not a list of operations"));
    }
    Ok(Some(Read { form, value, forward }))
}

fn unread() -> Refused {
    Refused::media_type(
        "the gateway reads what it lets through: send the body as JSON, YAML or protobuf, and patches in JSON",
    )
}

/// How a body is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Encoding {
    Json,
    Protobuf,
    Yaml,
}

/// What a media type says.
fn form(method: Method, essence: &str) -> Option<(Form, Encoding)> {
    match (method, essence) {
        (Method::Patch, "application/json-patch+json") => Some((Form::JsonPatch, Encoding::Json)),
        (Method::Patch, "application/merge-patch+json") => Some((Form::MergePatch, Encoding::Json)),
        (Method::Patch, "application/strategic-merge-patch+json") => {
            Some((Form::StrategicPatch, Encoding::Json))
        }
        (Method::Patch, "application/apply-patch+yaml") => Some((Form::Apply, Encoding::Yaml)),
        (Method::Patch, _) => None,
        // the API server takes what says nothing for JSON
        (_, JSON | "") => Some((Form::Object, Encoding::Json)),
        (_, "application/yaml") => Some((Form::Object, Encoding::Yaml)),
        (_, protobuf::CONTENT_TYPE) => Some((Form::Object, Encoding::Protobuf)),
        _ => None,
    }
}

const JSON: &str = "application/json";

/// Reads protobuf. It goes upstream as the JSON that it was read as.
fn protobuf(bytes: &[u8]) -> Result<(Value, Forward), Refused> {
    let value = protobuf::to_json(bytes).map_err(|why| Refused::media_type(why.to_string()))?;
    let bytes = value.to_string().into_bytes();
    Ok((value, Forward::Replaced { content_type: JSON, bytes }))
}

/// Reads YAML, JSON among it. It goes upstream as the JSON that it was read as: what is sent as YAML is read as YAML there,
/// which is not in all the JSON that it is here.
fn yaml(form: Form, bytes: &[u8]) -> Result<(Value, Forward), Refused> {
    let value = if let Some(value) = json::read(bytes) {
        value
    } else {
        let text = std::str::from_utf8(bytes).map_err(|_not_utf8| Refused::bad("the body is not UTF-8"))?;
        crate::yaml::read(text)
            .map_err(|_not_yaml| Refused::bad("the body is not one YAML document, or has a name twice"))?
    };
    // the API server knows apply patches under this one name
    let content_type = if form == Form::Apply { "application/apply-patch+yaml" } else { JSON };
    let bytes = crate::yaml::as_json(&value).into_bytes();
    Ok((value, Forward::Replaced { content_type, bytes }))
}
