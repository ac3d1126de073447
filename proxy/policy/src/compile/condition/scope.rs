//! The variables of one evaluation.
//!
//! Built as the interpreter's own values, which borrow their texts: by way of `cel::Value`, everything would be copied
//! twice.

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelTimestamp, CelUInt,
};
use cel::common::value::Val;
use cel::{Context, Env};
use jiff::Timestamp;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::command::UNKNOWN;
use crate::{Access, ApiRequest, Command, Effects, Identity, Program, ResourceFacts, Touch};

type Value<'a> = Box<dyn Val + 'a>;

/// Most effects of a command that an expression may look at, and the longest text, in bytes. What is larger is left
/// out, so that an expression that asks for it fails: cut off, it would pass for harmless.
const MAX_EFFECTS: usize = 1024;
const MAX_TEXT: usize = 64 << 10;

/// Builds the variables when the first expression asks for them: most commands meet none.
pub(crate) struct Scope<'a> {
    env: &'a Arc<Env>,
    resource: &'a ResourceFacts,
    identity: &'a Identity,
    command: &'a Command,
    now: Timestamp,
    context: OnceCell<Result<Context<'a, 'a>, String>>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(
        env: &'a Arc<Env>,
        resource: &'a ResourceFacts,
        identity: &'a Identity,
        command: &'a Command,
        now: Timestamp,
    ) -> Self {
        Self { env, resource, identity, command, now, context: OnceCell::new() }
    }

    pub(super) fn context(&self) -> Result<&Context<'a, 'a>, String> {
        self.context.get_or_init(|| self.build()).as_ref().map_err(Clone::clone)
    }

    fn build(&self) -> Result<Context<'a, 'a>, String> {
        let mut context = Context::with_env(Arc::clone(self.env));
        context.add_variable_as_val("identity", identity_value(self.identity));
        context.add_variable_as_val("command", self.command_value());
        context.add_variable_as_val("resource", resource_value(self.resource));
        context.add_variable_as_val("now", timestamp_value(self.now)?);
        Ok(context)
    }

    fn command_value(&self) -> Value<'a> {
        let command = self.command;
        let (touches, unknown) = match &command.reading.effects {
            Effects::Known(touches) => (touches, None),
            Effects::Unknown { touches, .. } => (touches, Some(&UNKNOWN)),
        };
        let protocol = self.resource.protocol.as_str();
        let effects = || list(touches.iter().chain(unknown).map(|touch| touch_value(touch, protocol)));
        let effects = (touches.len() <= MAX_EFFECTS).then(|| ("effects", effects()));
        let text = (command.reading.masked_text.len() <= MAX_TEXT)
            .then(|| ("text", string(&command.reading.masked_text)));
        let fields = [
            ("operation", string(&command.reading.operation)),
            ("database", string(&command.namespace)),
            ("role", string(&command.role)),
            ("changes", bool(command.reading.changes)),
        ];
        // the request itself is the first touch; what it brings about comes after it
        let request = (protocol == "kubernetes")
            .then(|| ("request", request_value(touches.first().and_then(|touch| touch.detail.request()))));
        let host = (protocol == "ssh").then(|| ("host", string(&command.namespace)));
        map(fields.into_iter().chain(effects).chain(text).chain(request).chain(host))
    }
}

fn identity_value(identity: &Identity) -> Value<'_> {
    let claims = identity.claims.iter().map(|(name, value)| (name.as_str(), json_value(value)));
    map([
        ("issuer", string(&identity.issuer)),
        ("subject", string(&identity.subject)),
        ("username", string(&identity.username)),
        ("groups", list(identity.groups.iter().map(|group| string(group)))),
        ("claims", map(claims)),
    ])
}

/// Every touch of a protocol has the same keys, so that an expression cannot fail on those that lack a detail.
fn touch_value<'a>(touch: &'a Touch, protocol: &str) -> Value<'a> {
    let access = match touch.access {
        Access::Read => "Read",
        Access::Write => "Write",
    };
    let common = [
        ("effect", string(touch.effect)),
        ("object", string(touch.object)),
        ("name", string(&touch.name)),
        ("access", string(access)),
        ("unbounded", bool(touch.unbounded)),
    ];
    let detail = match protocol {
        "kubernetes" => vec![("request", request_value(touch.detail.request()))],
        "ssh" => program_value(touch.detail.program()),
        _ => Vec::new(),
    };
    map(common.into_iter().chain(detail))
}

fn program_value(program: Option<&Program>) -> Vec<(&'static str, Value<'_>)> {
    let args = program.map(|program| program.args.as_slice()).unwrap_or_default();
    vec![
        ("program", string(program.map_or("", Program::name))),
        ("args", list(args.iter().map(|arg| string(arg)))),
    ]
}

/// Without a request, all is empty.
fn request_value(request: Option<&ApiRequest>) -> Value<'_> {
    let text = |of: fn(&ApiRequest) -> &String| string(request.map_or("", |request| of(request)));
    let flag = |of: fn(&ApiRequest) -> bool| bool(request.is_some_and(of));
    let texts = |of: fn(&ApiRequest) -> &[String]| {
        list(request.map(of).unwrap_or_default().iter().map(|entry| string(entry)))
    };
    let mut members = vec![
        ("verb", text(|request| &request.verb)),
        ("group", text(|request| &request.group)),
        ("version", text(|request| &request.version)),
        ("resource", text(|request| &request.resource)),
        ("subresource", text(|request| &request.subresource)),
        ("namespace", text(|request| &request.namespace)),
        ("name", text(|request| &request.name)),
        ("path", text(|request| &request.path)),
        ("container", text(|request| &request.container)),
        ("dryRun", flag(|request| request.dry_run)),
        ("stdin", flag(|request| request.stdin)),
        ("tty", flag(|request| request.tty)),
        ("command", texts(|request| &request.command)),
        ("images", texts(|request| &request.images)),
    ];
    // What is not known is left out: a condition that asks for it has no value, and is no reason to allow anything.
    let fields = request.and_then(|request| request.fields.as_deref());
    if fields.is_some() || !request.is_some_and(ApiRequest::may_touch_any_field) {
        members.push(("fields", list(fields.unwrap_or_default().iter().map(|field| string(field)))));
    }
    let object = request.and_then(|request| request.object.as_deref());
    if object.is_some() || request.is_none_or(|request| request.verb != "patch") {
        members.push(("object", object.map_or_else(|| map([]), json_value)));
    }
    map(members)
}

fn resource_value(resource: &ResourceFacts) -> Value<'_> {
    map([
        ("namespace", string(&resource.namespace)),
        ("name", string(&resource.name)),
        ("labels", map(resource.labels.iter().map(|(name, value)| (name.as_str(), string(value))))),
        ("protocol", string(&resource.protocol)),
    ])
}

fn timestamp_value<'a>(now: Timestamp) -> Result<Value<'a>, String> {
    let nanosecond = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
    let time = chrono::DateTime::from_timestamp(now.as_second(), nanosecond);
    let time = time.ok_or_else(|| "the time is out of range".to_owned())?;
    Ok(Box::new(CelTimestamp::from(time.fixed_offset())))
}

/// Whole numbers become `int` where they fit, as an author of `claims.run_number > 5` expects.
fn json_value(value: &serde_json::Value) -> Value<'_> {
    match value {
        serde_json::Value::Null => Box::new(CelNull),
        serde_json::Value::Bool(flag) => bool(*flag),
        serde_json::Value::Number(number) => number_value(number),
        serde_json::Value::String(text) => string(text),
        serde_json::Value::Array(entries) => list(entries.iter().map(json_value)),
        serde_json::Value::Object(fields) => {
            map(fields.iter().map(|(name, value)| (name.as_str(), json_value(value))))
        }
    }
}

fn number_value<'a>(number: &serde_json::Number) -> Value<'a> {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(whole), _, _) => Box::new(CelInt::from(whole)),
        (None, Some(whole), _) => Box::new(CelUInt::from(whole)),
        (None, None, Some(fraction)) => Box::new(CelDouble::from(fraction)),
        (None, None, None) => Box::new(CelNull),
    }
}

fn bool<'a>(flag: bool) -> Value<'a> {
    Box::new(CelBool::from(flag))
}

fn string(text: &str) -> Value<'_> {
    Box::new(CelString::from(text))
}

fn list<'a>(values: impl Iterator<Item = Value<'a>>) -> Value<'a> {
    Box::new(CelList::from(values.collect::<Vec<_>>()))
}

fn map<'a>(fields: impl IntoIterator<Item = (&'a str, Value<'a>)>) -> Value<'a> {
    let fields = fields.into_iter().map(|(name, value)| (CelMapKey::from(name), value));
    Box::new(CelMap::from(fields.collect::<HashMap<_, _>>()))
}
