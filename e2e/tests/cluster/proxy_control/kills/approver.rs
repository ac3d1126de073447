//! The approver: alice decides about each command once, as its fate says.

use super::field::{Fate, Field};
use anyhow::{Context as _, Result};
use e2e::rest::Rest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const REQUESTS: &str = "/apis/portcullis.dev/v1alpha1/namespaces/shop/approvalrequests";

/// Decides until the last agent has left, and looks once more.
pub(super) fn decide(field: &Field<'_>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let alice = Rest::new(field.scene.server.kubeconfig(), "alice").unwrap();
    // The one request by which a command may run.
    let mut approved = BTreeMap::new();
    loop {
        let last = field.is_ending() && !field.is_anybody_at_work();
        // the API server may be away
        let looked = runtime.block_on(look(field, &alice, &mut approved));
        if last {
            return looked.unwrap();
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

async fn look(field: &Field<'_>, alice: &Rest, approved: &mut BTreeMap<String, String>) -> Result<()> {
    let list = alice.get(REQUESTS).await?;
    let fates = field.fates();
    for request in list["items"].as_array().context("no list")? {
        let text = |path: &str| request.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (name, subject) = (text("/metadata/name"), text("/spec/requester/subject"));
        let conditions = request.pointer("/status/conditions").and_then(Value::as_array);
        let conditions: Vec<&Value> = conditions.into_iter().flatten().collect();
        let is_true = conditions.iter().filter(|condition| condition["status"] == "True");
        field.saw(name, subject, is_true.filter_map(|one| Some(one["type"].as_str()?.to_owned())));
        let decided = request.pointer("/spec/decisions").and_then(Value::as_array);
        if !conditions.is_empty() || decided.is_some_and(|decided| !decided.is_empty()) {
            continue;
        }
        let verdict = match fates.get(subject).context("a request of nobody's")? {
            // A command is approved once: whoever asks again after a crash that may have run it is denied.
            Fate::Approve if approved.entry(subject.to_owned()).or_insert(name.to_owned()) == name => {
                "Approved"
            }
            Fate::Approve | Fate::Deny => "Denied",
            Fate::Abandon => continue,
        };
        let decision =
            json!({"approver": "alice", "group": "dba", "verdict": verdict, "reason": "as agreed"});
        let fields = json!({"spec": {"decisions": [decision]}});
        if alice.merge(&format!("{REQUESTS}/{name}"), &fields).await.is_ok() {
            field.decided();
        }
    }
    Ok(())
}
