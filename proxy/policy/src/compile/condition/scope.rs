//! The variables of one evaluation.

use cel::objects::{Key, Map};
use cel::{Context, Env, Value};
use jiff::Timestamp;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::command::UNKNOWN;
use crate::{Access, Command, Effects, Identity, Touch};

/// Most effects of a command that an expression may look at, and the longest text, in bytes. What is larger is left
/// out, so that an expression that asks for it fails: cut off, it would pass for harmless.
const MAX_EFFECTS: usize = 1024;
const MAX_TEXT: usize = 64 << 10;

/// Builds the variables when the first expression asks for them: most commands meet none.
pub(crate) struct Scope<'a> {
    env: &'a Arc<Env>,
    /// The `resource` variable, the same for every command of a set.
    resource: &'a Value,
    identity: &'a Identity,
    command: &'a Command,
    now: Timestamp,
    context: OnceCell<Result<Context<'static, 'static>, String>>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(
        env: &'a Arc<Env>,
        resource: &'a Value,
        identity: &'a Identity,
        command: &'a Command,
        now: Timestamp,
    ) -> Self {
        Self { env, resource, identity, command, now, context: OnceCell::new() }
    }

    pub(super) fn context(&self) -> Result<&Context<'static, 'static>, String> {
        self.context.get_or_init(|| self.build()).as_ref().map_err(Clone::clone)
    }

    fn build(&self) -> Result<Context<'static, 'static>, String> {
        let mut context = Context::with_env(Arc::clone(self.env));
        context.add_variable_from_value("identity", identity_value(self.identity));
        context.add_variable_from_value("command", command_value(self.command));
        context.add_variable_from_value("resource", self.resource.clone());
        context.add_variable_from_value("now", timestamp_value(self.now)?);
        Ok(context)
    }
}

fn identity_value(identity: &Identity) -> Value {
    let claims = identity.claims.iter().map(|(name, value)| (key(name), json_value(value))).collect();
    map([
        ("issuer", string(&identity.issuer)),
        ("subject", string(&identity.subject)),
        ("username", string(&identity.username)),
        ("groups", list(identity.groups.iter().map(|group| string(group)))),
        ("claims", Value::Map(Map { map: Arc::new(claims) })),
    ])
}

fn command_value(command: &Command) -> Value {
    let (touches, unknown) = match &command.effects {
        Effects::Known(touches) => (touches, None),
        Effects::Unknown { touches, .. } => (touches, Some(&UNKNOWN)),
    };
    let mut fields = fields([
        ("operation", string(&command.operation)),
        ("database", string(&command.namespace)),
        ("role", string(&command.role)),
        ("changes", Value::Bool(command.changes)),
    ]);
    if touches.len() <= MAX_EFFECTS {
        fields.insert(key("effects"), list(touches.iter().chain(unknown).map(touch_value)));
    }
    if command.masked_text.len() <= MAX_TEXT {
        fields.insert(key("text"), string(&command.masked_text));
    }
    Value::Map(Map { map: Arc::new(fields) })
}

fn touch_value(touch: &Touch) -> Value {
    let access = match touch.access {
        Access::Read => "Read",
        Access::Write => "Write",
    };
    map([
        ("effect", string(touch.effect)),
        ("object", string(touch.object)),
        ("name", string(&touch.name)),
        ("access", string(access)),
        ("unbounded", Value::Bool(touch.unbounded)),
    ])
}

/// The `resource` variable.
pub(crate) fn resource_value(resource: &crate::ResourceFacts) -> Value {
    let labels = resource.labels.iter().map(|(name, value)| (key(name), string(value))).collect();
    map([
        ("namespace", string(&resource.namespace)),
        ("name", string(&resource.name)),
        ("labels", Value::Map(Map { map: Arc::new(labels) })),
        ("protocol", string(&resource.protocol)),
    ])
}

fn timestamp_value(now: Timestamp) -> Result<Value, String> {
    let nanosecond = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
    chrono::DateTime::from_timestamp(now.as_second(), nanosecond)
        .map(|time| Value::Timestamp(time.fixed_offset()))
        .ok_or_else(|| "the time is out of range".to_owned())
}

/// Whole numbers become `int` where they fit, as an author of `claims.run_number > 5` expects.
fn json_value(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map(Value::Int)
            .or_else(|| number.as_u64().map(Value::UInt))
            .or_else(|| number.as_f64().map(Value::Float))
            .unwrap_or(Value::Null),
        serde_json::Value::String(text) => string(text),
        serde_json::Value::Array(entries) => list(entries.iter().map(json_value)),
        serde_json::Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (key(name), json_value(value))).collect();
            Value::Map(Map { map: Arc::new(fields) })
        }
    }
}

fn string(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

fn list(values: impl Iterator<Item = Value>) -> Value {
    Value::List(Arc::new(values.collect()))
}

fn map<const N: usize>(values: [(&str, Value); N]) -> Value {
    Value::Map(Map { map: Arc::new(fields(values)) })
}

fn fields<const N: usize>(values: [(&str, Value); N]) -> HashMap<Key, Value> {
    values.into_iter().map(|(name, value)| (key(name), value)).collect()
}
