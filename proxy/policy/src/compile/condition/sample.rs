//! A dry run over made-up commands, which finds type errors before any agent does.

use cel::{Env, ExecutionError, Value};
use jiff::Timestamp;
use std::sync::Arc;

use super::{Condition, Scope};
use crate::{Access, Command, Detail, Effects, Identity, Reading, ResourceFacts, Touch};

/// Runs `condition` over a read and a write.
///
/// # Errors
/// The first failure that does not come from a claim or a label that the samples happen to lack.
pub(super) fn dry_run(condition: &Condition, env: &Arc<Env>, resource: &ResourceFacts) -> Result<(), String> {
    let identity = Identity {
        issuer: "https://issuer.example".to_owned(),
        subject: "sample".to_owned(),
        username: "sample".to_owned(),
        groups: vec!["sample".to_owned()],
        claims: serde_json::Map::new(),
    };
    // Any moment will do; this crate has no clock.
    let now = Timestamp::UNIX_EPOCH;
    for command in
        [sample("SELECT", "Select", Access::Read, false), sample("DELETE", "Delete", Access::Write, true)]
    {
        let scope = Scope::new(env, resource, &identity, &command, now);
        match condition.execute(&scope)? {
            // Samples are short: an index past their end says nothing.
            Ok(Value::Bool(_)) | Err(ExecutionError::IndexOutOfBounds(_)) => {}
            Ok(other) => return Err(format!("must give a bool, but gives {}", super::name_of(&other))),
            // Claims and labels differ by caller and by resource; whether these have the key is seen at run time.
            Err(ExecutionError::NoSuchKey(_)) if condition.asks_open_maps() => {}
            Err(error) => return Err(super::describe(&error)),
        }
    }
    Ok(())
}

impl Condition {
    /// Whether it looks into maps whose keys nobody knows beforehand.
    fn asks_open_maps(&self) -> bool {
        ["claims", "labels", "object"].iter().any(|map| self.source.contains(map))
    }
}

fn sample(operation: &str, effect: &'static str, access: Access, unbounded: bool) -> Command {
    let touch = Touch {
        effect,
        object: "relation",
        name: "public.sample".to_owned(),
        access,
        unbounded,
        detail: Detail::None,
    };
    Command {
        text: "".into(),
        canonical: String::new(),
        role: "sample".into(),
        namespace: "sample".into(),
        binding: Vec::new(),
        reading: Reading::new(operation, operation, Effects::Known(vec![touch])).into(),
    }
}
