//! Commands and identities for tests of this crate.

use std::collections::BTreeSet;

use crate::{Access, Command, Effects, Identity, Touch};

pub(crate) fn identity(name: &str, groups: &[&str]) -> Identity {
    let claims =
        serde_json::json!({"repository": "acme/billing", "run_number": 7, "roles": ["ci", "deploy"]});
    Identity {
        issuer: "https://idp.example".to_owned(),
        subject: name.to_owned(),
        username: name.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        claims: claims.as_object().cloned().unwrap_or_default(),
    }
}

/// A touch; its kind of object and its access follow from the effect.
pub(crate) fn touch(effect: &'static str, name: &str) -> Touch {
    let object = match effect {
        "Call" => "function",
        "Connect" => "database",
        "Transaction" => "transaction",
        "Set" => "setting",
        _ => "relation",
    };
    let access =
        if matches!(effect, "Select" | "Connect" | "Transaction") { Access::Read } else { Access::Write };
    Touch { effect, object, name: name.to_owned(), access, unbounded: false, detail: crate::Detail::None }
}

pub(crate) fn command(touches: Vec<Touch>) -> Command {
    let changes = touches.iter().any(|touch| touch.access == Access::Write);
    let operation = touches.first().map_or("", |touch| touch.effect).to_uppercase();
    Command {
        masked_text: operation.clone(),
        operation,
        text: "select 'canary'".to_owned(),
        canonical: String::new(),
        role: "app".to_owned(),
        namespace: "app".to_owned(),
        binding: Vec::new(),
        effects: Effects::Known(touches),
        outputs: Vec::new(),
        reads: BTreeSet::new(),
        predicates: BTreeSet::new(),
        flows: Vec::new(),
        changes,
    }
}
