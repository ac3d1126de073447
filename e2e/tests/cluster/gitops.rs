//! What Argo CD is taught about the health of our kinds, run by Lua as Argo CD would.

use e2e::tools::{or_skip, repository};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::Command;

#[test]
fn a_resource_and_a_policy_are_as_healthy_as_their_conditions_say() {
    let Some(argo) = ArgoCd::or_skip() else { return };
    let ready = |status| json!([{"type": "Ready", "status": status, "message": "said so"}]);
    let beside = |kind: &str, status| {
        json!([
            {"type": "Ready", "status": status, "message": "no"},
            {"type": kind, "status": "True", "message": "said so"},
        ])
    };
    for kind in ["Resource", "Policy"] {
        let health = |observed: i64, conditions: Value| {
            argo.health(kind, &json!({"observedGeneration": observed, "conditions": conditions}))
        };
        assert_eq!(argo.health(kind, &Value::Null), ("Progressing".into(), NOT_SEEN.into()));
        assert_eq!(argo.health(kind, &json!({"gateways": []})), ("Progressing".into(), NOT_SEEN.into()));
        assert_eq!(
            health(1, ready("True")),
            ("Progressing".into(), NOT_SEEN.into()),
            "of an older generation"
        );
        assert_eq!(health(2, ready("True")), ("Healthy".into(), "said so".into()));
        assert_eq!(health(2, ready("False")), ("Degraded".into(), "said so".into()));
        assert_eq!(health(2, ready("Unknown")).0, "Progressing");
        assert_eq!(health(2, beside("Reconciling", "False")), ("Progressing".into(), "said so".into()));
        assert_eq!(health(2, beside("Stalled", "False")), ("Degraded".into(), "said so".into()));
    }
}

#[test]
fn an_approval_request_is_suspended_until_it_ends() {
    let Some(argo) = ArgoCd::or_skip() else { return };
    let health = |conditions: Value| argo.health("ApprovalRequest", &json!({"conditions": conditions}));
    let condition =
        |kind: &str, status: &str| json!({"type": kind, "status": status, "message": "alice (dba)"});
    let suspended = ("Suspended".to_owned(), "waits for a decision".to_owned());
    assert_eq!(argo.health("ApprovalRequest", &Value::Null), suspended);
    assert_eq!(health(json!([])), suspended);
    assert_eq!(health(json!([condition("Approved", "False")])), suspended);
    for kind in ["Approved", "Denied", "Expired", "Withdrawn"] {
        assert_eq!(
            health(json!([condition(kind, "True")])),
            ("Healthy".into(), format!("{kind}: alice (dba)"))
        );
    }
    let consumed = json!([condition("Approved", "True"), condition("Consumed", "True")]);
    assert_eq!(health(consumed), ("Healthy".into(), "Consumed: alice (dba)".into()));
    // Nothing that is decided will count: somebody has to see to that.
    assert_eq!(health(json!([condition("ApproverBinding", "False")])).0, "Degraded");
}

/// The scripts, and a Lua that runs them.
struct ArgoCd {
    lua: std::path::PathBuf,
    scripts: Value,
}

impl ArgoCd {
    fn or_skip() -> Option<Self> {
        let lua = or_skip("lua5.4")?;
        let text = std::fs::read_to_string(repository().join("docs/gitops/argo-cd-health.yaml")).unwrap();
        let patch: Value = serde_yaml_ng::from_str(&text).unwrap();
        Some(Self { lua, scripts: patch["data"].clone() })
    }

    /// Status and message of an object of generation 2.
    fn health(&self, kind: &str, status: &Value) -> (String, String) {
        let script =
            self.scripts[format!("resource.customizations.health.portcullis.dev_{kind}")].as_str().unwrap();
        let mut object = json!({"metadata": {"name": "a", "generation": 2}});
        if !status.is_null() {
            object["status"] = status.clone();
        }
        let program = format!(
            "obj = {}\nlocal health = (function()\n{script}\nend)()\nprint(health.status)\nprint(health.message)",
            literal(&object)
        );
        let output = Command::new(&self.lua).args(["-e", &program]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let (status, message) = said.trim_end().split_once('\n').unwrap();
        (status.to_owned(), message.to_owned())
    }
}

/// As Argo CD gives an object to Lua: tables, lists from 1.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(entries) => {
            let entries: Vec<String> = entries.iter().map(literal).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Object(fields) => {
            let mut text = String::new();
            for (name, value) in fields {
                write!(text, "[{}] = {}, ", Value::from(name.as_str()), literal(value)).unwrap();
            }
            format!("{{{text}}}")
        }
    }
}

const NOT_SEEN: &str = "the operator has not looked at it yet";
