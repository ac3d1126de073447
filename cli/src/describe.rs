//! `portcullis describe`: everything an approver needs to know about one request.

use crate::approvals::{Scope, Standing, Store, StoreArguments};
use crate::output::{Document, Output, inline, judged, printable, utc};
use crate::requests::{Listed, remaining, unknown};
use anyhow::bail;
use clap::Args;
use crds::v1alpha1::{
    ApprovalRequest, ApprovalRequestSpec, ApprovalVerdict, Decision, OnDisconnect, Requester,
    ReviewerRequirement, TransactionState,
};
use jiff::Timestamp;
use std::process::ExitCode;

/// Show one held command: who asks, what it does, who has to approve it and what was decided.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis describe orders-k3x9qf
  portcullis describe orders-k3x9qf -n shop -o json | jq -r .request.spec.command.text")]
pub(crate) struct Arguments {
    /// Name of the request, as `requests` lists it.
    name: String,
    #[command(flatten)]
    store: StoreArguments,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let (name, store) = (&arguments.name, arguments.store.open(Scope::Namespace)?);
    let Some(request) = store.read(name)? else { bail!("{}", unknown(name, store.as_ref())) };
    print(&request, store.as_ref(), output)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a request in full.
pub(crate) fn print(request: &ApprovalRequest, store: &dyn Store, output: &mut Output) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let standing = store.standing(request, now);
    match output.format() {
        Document::Json => output.json(&Listed::new(request, &standing)),
        Document::Table => lines(request, &standing, now).iter().try_for_each(|line| output.line(line)),
    }
}

fn lines(request: &ApprovalRequest, standing: &Standing, now: Timestamp) -> Vec<String> {
    let (metadata, spec) = (&request.metadata, &request.spec);
    let mut lines = Vec::new();
    line(&mut lines, "request", &inline(metadata.name.as_deref().unwrap_or_default()));
    if let Some(namespace) = &metadata.namespace {
        line(&mut lines, "namespace", &inline(namespace));
    }
    let state = match standing.missing() {
        Some(missing) => format!("{}: {}", standing.word(), inline(missing)),
        None => judged(standing.word()),
    };
    line(&mut lines, "state", &state);
    if !standing.is_over() {
        line(
            &mut lines,
            "expires",
            &format!("in {} ({})", remaining(&spec.expires_at, now), inline(&spec.expires_at)),
        );
    }
    asked(&mut lines, &spec.requester);
    held(&mut lines, spec);
    decided(&mut lines, request);
    // Last, for it is as long as it likes.
    line(&mut lines, "command", &inline(&spec.command.summary));
    lines.extend(printable(&spec.command.text).lines().map(|text| format!("    {text}")));
    lines
}

/// Who asks.
fn asked(lines: &mut Vec<String>, requester: &Requester) {
    line(lines, "requester", &format!("{} ({})", inline(&requester.username), inline(&requester.issuer)));
    line(lines, "subject", &inline(&requester.subject));
    line(lines, "groups", &inline(&requester.groups.join(", ")));
    for (name, value) in &requester.claims {
        line(lines, "claim", &format!("{} = {}", inline(name), inline(value)));
    }
}

/// What for, and why it waits.
fn held(lines: &mut Vec<String>, spec: &ApprovalRequestSpec) {
    let (command, policy) = (&spec.command, &spec.policy_ref);
    line(lines, "session", &inline(&spec.session));
    line(lines, "resource", &format!("{} ({})", inline(&spec.resource_ref.name), inline(&command.protocol)));
    line(lines, "held by", &format!("{}/{}", inline(&policy.name), inline(&policy.rule)));
    if command.transaction == TransactionState::InTransaction {
        line(lines, "in", "a transaction: its locks are kept while it waits");
    }
    if spec.on_disconnect == OnDisconnect::Claimable {
        line(
            lines,
            "claimable",
            "until it expires, the same requester may claim the approval by repeating the command",
        );
    }
    for effect in &command.effects {
        line(lines, "effect", &inline(effect));
    }
    if let Some(estimate) = &command.estimate {
        for (at, text) in printable(estimate).lines().enumerate() {
            line(lines, if at == 0 { "estimate" } else { "" }, text);
        }
    }
}

/// Who may decide and what was decided.
fn decided(lines: &mut Vec<String>, request: &ApprovalRequest) {
    let reviewers: Vec<String> = request.spec.reviewers.iter().map(reviewer).collect();
    let anybody = "1 approver".to_owned();
    line(lines, "reviewers", &if reviewers.is_empty() { anybody } else { reviewers.join(", or ") });
    for decision in &request.spec.decisions {
        line(lines, "decision", &describe(decision));
    }
    for condition in request.status.iter().flat_map(|status| &status.conditions) {
        let time = utc(condition.last_transition_time.0);
        let (kind, status) = (inline(&condition.type_), inline(&condition.status));
        line(lines, "condition", &format!("{kind}={status}  {time}  {}", inline(&condition.message)));
    }
}

fn reviewer(requirement: &ReviewerRequirement) -> String {
    let count = requirement.count.max(1);
    let plural = if count == 1 { "" } else { "s" };
    match &requirement.group {
        Some(group) => format!("{count} approver{plural} of group {}", inline(group)),
        None => format!("{count} approver{plural}"),
    }
}

fn describe(decision: &Decision) -> String {
    let word = match decision.verdict {
        ApprovalVerdict::Approved => judged("approved"),
        ApprovalVerdict::Denied => judged("denied"),
    };
    let group = decision.group.as_deref().map_or_else(String::new, |group| format!(" ({})", inline(group)));
    let reason =
        decision.reason.as_deref().map_or_else(String::new, |reason| format!(": {}", inline(reason)));
    format!("{word} by {}{group}{reason}", inline(&decision.approver))
}

fn line(lines: &mut Vec<String>, name: &str, value: &str) {
    lines.push(format!("{name:<10} {value}").trim_end().to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_that_a_requester_writes_forges_a_line() {
        let request: ApprovalRequest = serde_json::from_value(json!({
            "apiVersion": "portcullis.dev/v1alpha1",
            "kind": "ApprovalRequest",
            "metadata": { "name": "orders-1", "namespace": "shop" },
            "spec": {
                "resourceRef": { "name": "orders" },
                "requester": {
                    "issuer": "https://issuer.example", "subject": "s", "username": "ci\nstate      approved",
                    "groups": ["agents\nreviewers  none"], "claims": { "ref": "main\n\u{1b}[2Keffect     Select\u{202e}" },
                },
                "session": "s1",
                "command": {
                    "protocol": "postgresql", "summary": "DELETE", "text": "DELETE\nstate      approved",
                    "effects": ["Delete public.orders (unbounded)"], "digest": "d", "effectDigest": "e",
                    "transaction": "InTransaction", "estimate": "about 1200 rows",
                },
                "policyRef": { "name": "agents", "rule": "unbounded" },
                "reviewers": [{ "group": "dba", "count": 2 }, { "group": "owners" }],
                "expiresAt": "2026-01-01T00:10:00Z",
                "onDisconnect": "Claimable",
                "decisions": [{ "approver": "alice", "group": "dba", "verdict": "Approved", "reason": "CHG-7" }],
            },
        }))
        .unwrap();
        let now = "2026-01-01T00:05:57Z".parse().unwrap();
        let shown = lines(&request, &Standing::by_operator(&request, now), now);
        let expected = "\
request    orders-1
namespace  shop
state      pending: 1 more approver of group dba, or 1 more approver of group owners
expires    in 4m 3s (2026-01-01T00:10:00Z)
requester  ci\u{fffd}state      approved (https://issuer.example)
subject    s
groups     agents\u{fffd}reviewers  none
claim      ref = main\u{fffd}\u{fffd}[2Keffect     Select\u{fffd}
session    s1
resource   orders (postgresql)
held by    agents/unbounded
in         a transaction: its locks are kept while it waits
claimable  until it expires, the same requester may claim the approval by repeating the command
effect     Delete public.orders (unbounded)
estimate   about 1200 rows
reviewers  2 approvers of group dba, or 1 approver of group owners
decision   approved by alice (dba): CHG-7
command    DELETE
    DELETE
    state      approved";
        let shown = shown.join("\n").replace("\u{1b}[32m", "").replace("\u{1b}[39m", "");
        assert_eq!(shown, expected);
    }
}
