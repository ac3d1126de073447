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
use crate::{Access, Command, Effects, Identity, ResourceFacts, Touch};

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
        context.add_variable_as_val("command", command_value(self.command));
        context.add_variable_as_val("resource", resource_value(self.resource));
        context.add_variable_as_val("now", timestamp_value(self.now)?);
        Ok(context)
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

fn command_value(command: &Command) -> Value<'_> {
    let (touches, unknown) = match &command.effects {
        Effects::Known(touches) => (touches, None),
        Effects::Unknown { touches, .. } => (touches, Some(&UNKNOWN)),
    };
    let effects = (touches.len() <= MAX_EFFECTS)
        .then(|| ("effects", list(touches.iter().chain(unknown).map(touch_value))));
    let text = (command.masked_text.len() <= MAX_TEXT).then(|| ("text", string(&command.masked_text)));
    let fields = [
        ("operation", string(&command.operation)),
        ("database", string(&command.namespace)),
        ("role", string(&command.role)),
        ("changes", bool(command.changes)),
    ];
    map(fields.into_iter().chain(effects).chain(text))
}

fn touch_value(touch: &Touch) -> Value<'_> {
    let access = match touch.access {
        Access::Read => "Read",
        Access::Write => "Write",
    };
    map([
        ("effect", string(touch.effect)),
        ("object", string(touch.object)),
        ("name", string(&touch.name)),
        ("access", string(access)),
        ("unbounded", bool(touch.unbounded)),
    ])
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
