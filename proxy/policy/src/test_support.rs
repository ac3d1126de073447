//! Commands and identities for tests of this crate.

use crate::{Access, Command, Effects, Identity, Reading, Touch};

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
    let operation = touches.first().map_or("", |touch| touch.effect).to_uppercase();
    read(Reading::new(operation.clone(), operation, Effects::Known(touches)))
}

/// A command of which this was read.
pub(crate) fn read(reading: Reading) -> Command {
    Command {
        text: "select 'canary'".into(),
        canonical: String::new(),
        role: "app".into(),
        namespace: "app".into(),
        binding: Vec::new(),
        reading: reading.into(),
    }
}
