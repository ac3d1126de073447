//! A request and its body to [`Command`]: what it does to what, in RBAC's words.
//!
//! Pure. What the body says is read in every form that the API server takes but CBOR, which is refused.
//! What cannot be understood is refused, or is `Unknown`, which only a policy that names it allows.
//!
//! A request is judged as one touch for itself and one for each thing it brings about without saying so:
//!
//! | request | also |
//! | --- | --- |
//! | `create pods/eviction`, `deletecollection` | `delete` |
//! | an update or patch that empties an object, or touches owners, finalizers (a patch), the time of deletion | `delete` |
//! | `update namespaces/finalize` | `delete namespaces`, unbounded |
//! | server-side apply; an update of what that may create, which names no `uid` | `create` |
//! | `get` of one object with `watch` | `watch` |
//! | HTTP to a kubelet, whatever the method | `create nodes/proxy`, and `pods/exec`, `pods/log`, … where the path says so |
//! | writing roles, bindings, approval and status of signing requests | `escalate`, `bind` of the role, `approve`, `sign` of a signer |
//!
//! Discovery, `OpenAPI`, version, health and self reviews have no touch, so that the policy's `no-effects` allows them.

mod body;
mod discovery;
mod fields;
pub(crate) mod json;
mod known;
mod oracles;
mod programs;
mod recast;
pub mod review;
mod scope;
mod text;
mod touches;

#[cfg(test)]
mod tests;

pub use body::{Body, Forward};
pub use discovery::{is_discovery, is_open, is_self_review};
pub use known::{Known, Unknown, unknown};

use crate::mask::{Masks, Unmaskable};
use crate::request::{Refused, RequestInfo};
use body::{Form, Read};
use proxy_audit::event::key;
use proxy_policy::{ApiRequest, Command, Effects, Reading};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Largest body that is read, in bytes; the API server's own limit.
pub const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// What a request means.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// What the policy judges. Its `role` is for the caller to set.
    pub command: Command,
    /// What goes upstream as its body.
    pub forward: Forward,
}

/// Whether the body must be whole before a request can be judged. If not, it belongs to a stream or to a proxied
/// server, and [`analyze`] takes none.
pub fn reads_body(info: &RequestInfo) -> bool {
    info.is_resource && info.method.changes() && !info.is_proxy() && !info.is_connect()
}

/// The refusal of a body larger than [`BODY_LIMIT`].
pub fn too_large() -> Refused {
    Refused::too_large(format!("the body is larger than {BODY_LIMIT} bytes"))
}

/// Analyses a request of which nothing is known but itself.
///
/// # Errors
/// As [`analyze_knowing`].
pub fn analyze(info: &RequestInfo, body: Body<'_>, masks: &Masks) -> Result<Analysis, Refused> {
    analyze_knowing(info, body, masks, &Known::default())
}

/// Analyses a request.
///
/// # Errors
/// [`Refused`], whatever the policy says: the body cannot be read, or a patch or selector would compare or copy what is
/// masked.
pub fn analyze_knowing(
    info: &RequestInfo,
    body: Body<'_>,
    masks: &Masks,
    known: &Known,
) -> Result<Analysis, Refused> {
    if body.bytes.len() > BODY_LIMIT {
        return Err(too_large());
    }
    let rules = masks.rules(info);
    oracles::selectors(info, &rules)?;
    // what a proxied server is sent is between the client and it
    let is_read = !info.is_proxy() && (reads_body(info) || !body.bytes.is_empty());
    let mut read = if is_read { body::read(info, body)? } else { None };
    if let Some(read) = &mut read {
        fields::places(read)?;
        oracles::patches(info, read, &rules)?;
        if let Some(guarded) = recast::guarded(info, read)? {
            read.forward = guarded;
        }
    }
    let masked = read.as_ref().map(|read| masked_body(info, read, masks)).transpose()?;
    let effects = effects(info, read.as_ref(), masked.as_ref(), known)?;
    let sent = read.as_ref().map_or(body, |read| read.forward.in_place_of(body));
    let masked_text = match &masked {
        Some(masked) => text::masked(info, masks, Some(&masked.to_string())),
        None if body.bytes.is_empty() => text::masked(info, masks, None),
        None => text::masked(info, masks, Some(&masks.text(&String::from_utf8_lossy(body.bytes)))),
    };
    let reading = Reading {
        subject: subject(info, read.as_ref()),
        changes: info.method.changes() && !is_open(info) || info.is_connect() || info.is_proxy(),
        ..Reading::new(text::operation(info), masked_text, effects)
    };
    let command = Command {
        text: text::exact(info, sent).into(),
        canonical: text::canonical(info, read.as_ref(), body),
        namespace: info.namespace.as_str().into(),
        ..command(reading)
    };
    let forward = read.map_or(Forward::AsSent, |read| read.forward);
    Ok(Analysis { command, forward })
}

/// What a backend finds a request by, in its record's attributes.
fn subject(info: &RequestInfo, read: Option<&Read>) -> Vec<(&'static str, String)> {
    let created = read.and_then(|read| created_name(info, read));
    let name = created.as_deref().unwrap_or(&info.name);
    let pod = if info.group.is_empty() && info.resource == "pods" { name } else { "" };
    let known = [
        (key::K8S_NAMESPACE, info.namespace.as_str()),
        (key::K8S_POD, pod),
        (key::K8S_VERB, info.rbac_verb()),
        (key::K8S_GROUP, &info.group),
        (key::K8S_RESOURCE, &info.resource),
        (key::K8S_SUBRESOURCE, &info.subresource),
        (key::K8S_NAME, name),
    ];
    known
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key, value.to_owned()))
        .collect()
}

/// A command of which this was read, and nothing else.
fn command(reading: Reading) -> Command {
    Command {
        text: "".into(),
        canonical: String::new(),
        role: "".into(),
        namespace: "".into(),
        binding: Vec::new(),
        reading: reading.into(),
    }
}

fn effects(
    info: &RequestInfo,
    read: Option<&Read>,
    masked: Option<&Value>,
    known: &Known,
) -> Result<Effects, Refused> {
    if is_open(info) {
        return Ok(Effects::Known(Vec::new()));
    }
    let touched = read.map(|read| fields::touched(info, read)).unwrap_or_default();
    let writes = matches!(info.verb, "create" | "update" | "patch");
    let mut own = ApiRequest {
        dry_run: dry_run(info, read, known)?,
        every_namespace: scope::is_every_namespace(info, known),
        ..touches::own(info)
    };
    if let Some(read) = read.filter(|_| writes) {
        if let Some(name) = created_name(info, read) {
            own.name = name;
        }
        own.images = fields::images(read);
        own.object = masked.filter(|_| read.form != Form::JsonPatch).map(|object| Arc::new(object.clone()));
        own.fields = touched.fields.clone().filter(|_| info.verb != "create");
    }
    let implied = touches::implied(info, &own, (read, known), &touched);
    let mut all = vec![touches::touch(own, touches::is_unbounded(info))];
    all.extend(implied);
    Ok(Effects::Known(all))
}

/// The name that an object is created by, which no path has. `None`: the API server makes one, or refuses it.
fn created_name(info: &RequestInfo, read: &Read) -> Option<String> {
    let is_nameless = info.verb == "create" && info.name.is_empty();
    let name = read.value.pointer("/metadata/name").and_then(Value::as_str)?;
    (is_nameless && !name.is_empty() && name.len() <= NAME_LIMIT).then(|| name.to_owned())
}

/// Longest name that is read, in bytes, for it is in every record of the request. A longer one counts as not known.
const NAME_LIMIT: usize = 1024;

/// Whether the change is only tried. What opens a connection or mints a token does so all the same.
///
/// With a body, the API server reads the options of a delete from there and not from the query.
fn dry_run(info: &RequestInfo, read: Option<&Read>, known: &Known) -> Result<bool, Refused> {
    let is_tried = !info.is_connect()
        && !info.is_proxy()
        && info.subresource != "token"
        && (info.is_built_in() || known.is_own && may_be_a_definitions(info));
    let in_query = info.parameter("dryRun").is_some();
    if !info.is_resource || !info.method.changes() || !is_tried {
        return Ok(false);
    }
    let options = match (info.verb, info.subresource.as_str()) {
        ("delete" | "deletecollection", _) => read.map(|read| &read.value),
        (_, "eviction") => read.and_then(|read| read.value.get("deleteOptions")),
        _ => None,
    };
    let Some(options) = options else { return Ok(in_query) };
    let in_body = match options.get("dryRun") {
        None | Some(Value::Null) => false,
        Some(Value::Array(values)) if values.is_empty() => false,
        Some(Value::Array(values)) if values.iter().all(|value| value == "All") => true,
        Some(_) => return Err(Refused::bad("dryRun is none but [\"All\"]")),
    };
    let is_delete = info.verb != "create";
    if is_delete && in_query && !in_body {
        return Err(Refused::bad(
            "dryRun in the query of a delete with a body is ignored: put it into the body",
        ));
    }
    Ok(in_body || (in_query && !is_delete))
}

/// Whether a `CustomResourceDefinition` may serve it: such have these subresources alone. Another server behind the API
/// server may never have heard of dry runs, and do what it is told.
fn may_be_a_definitions(info: &RequestInfo) -> bool {
    !info.is_built_in() && matches!(info.subresource.as_str(), "" | "scale" | "status")
}

/// The body as it may be recorded and judged.
fn masked_body(info: &RequestInfo, read: &Read, masks: &Masks) -> Result<Value, Refused> {
    let refused = |_unmaskable: Unmaskable| Refused::bad("the body is nested too deep to be masked");
    let Some(operations) = read.value.as_array() else {
        return masks.object(info, &read.value).map_err(refused);
    };
    // a value is masked where it would come to stand
    let mut masked = Vec::with_capacity(operations.len());
    for operation in operations {
        let mut operation = operation.clone();
        let path = operation.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(value) = operation.get_mut("value") {
            *value = placed(info, &path, value, masks).map_err(refused)?;
        }
        masked.push(operation);
    }
    masks.object(info, &Value::Array(masked)).map_err(refused)
}

/// Masks a value as the member of an object that the pointer leads to.
fn placed(info: &RequestInfo, pointer: &str, value: &Value, masks: &Masks) -> Result<Value, Unmaskable> {
    let segments = fields::segments(pointer);
    let masked = masked_below(info, &segments, value, masks)?;
    // a number may be a member's name as well as a place: `/data/1` of a Secret
    let names: Vec<String> = fields::names(pointer).collect();
    if names == segments { Ok(masked) } else { masked_below(info, &names, &masked, masks) }
}

fn masked_below(
    info: &RequestInfo,
    names: &[String],
    value: &Value,
    masks: &Masks,
) -> Result<Value, Unmaskable> {
    let whole = names
        .iter()
        .rev()
        .fold(value.clone(), |inner, name| Value::Object(Map::from_iter([(name.clone(), inner)])));
    let mut masked = masks.object(info, &whole)?;
    for name in names {
        masked = masked.get_mut(name).map(Value::take).unwrap_or_default();
    }
    Ok(masked)
}
