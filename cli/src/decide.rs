//! `portcullis approve` and `portcullis deny`: one decision of one person.
//!
//! The approver is the operating-system user who runs the command, and there is no way to say otherwise. It is not
//! the requester: a request whose requester has the same name is refused.

use crate::approvals::{Requests, Standing, StateArguments};
use crate::output::{Format, Output, printable};
use crate::requests::remaining;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use crds::v1alpha1::{ApprovalRequest, ApprovalRequestSpec, ApprovalVerdict, Decision, TransactionState};
use jiff::Timestamp;
use proxy_policy::approval::{Settled, is_requester, settle};
use serde_json::json;
use std::process::ExitCode;

/// Let a held command run.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis approve orders-k3x9qf
  portcullis approve orders-k3x9qf --group dba --reason 'ticket 4711'")]
pub(crate) struct ApproveArguments {
    #[command(flatten)]
    decision: DecisionArguments,
}

/// Refuse a held command.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis deny orders-k3x9qf --reason 'use the archive job'")]
pub(crate) struct DenyArguments {
    #[command(flatten)]
    decision: DecisionArguments,
}

#[derive(Args, Debug)]
struct DecisionArguments {
    /// Name of the request, as `portcullis requests` lists it.
    name: String,
    /// Why, for the record and the requester.
    #[arg(long)]
    reason: Option<String>,
    /// Group in which you decide, where the request names groups.
    #[arg(long)]
    group: Option<String>,
    #[command(flatten)]
    state: StateArguments,
}

pub(crate) fn approve(arguments: &ApproveArguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    decide(&arguments.decision, ApprovalVerdict::Approved, output)
}

pub(crate) fn deny(arguments: &DenyArguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    decide(&arguments.decision, ApprovalVerdict::Denied, output)
}

fn decide(
    arguments: &DecisionArguments,
    verdict: ApprovalVerdict,
    output: &mut Output,
) -> anyhow::Result<ExitCode> {
    let approver = operating_system_user()?;
    let requests = arguments.state.requests()?;
    let name = &arguments.name;
    let lock = requests.lock()?;
    let Some(mut request) = requests.read(name)? else { bail!("{}", unknown(name, &requests)?) };
    let now = Timestamp::now();
    if output.format() == Format::Table {
        describe(&request, now, output)?;
    }
    let decision =
        Decision { approver, group: arguments.group.clone(), verdict, reason: arguments.reason.clone() };
    check(&request, &decision, now).with_context(|| format!("cannot decide {name}"))?;
    let before = request.spec.clone();
    request.spec.decisions.push(decision);
    let settled = settle(&before, &request.spec, now);
    if let Settled::Void { why } = settled {
        bail!("this decision would void {name}: {why}");
    }
    requests.replace(&lock, name, &request)?;
    drop(lock);
    report(name, &settled, output)?;
    Ok(ExitCode::SUCCESS)
}

/// The person's name by the user id of this process; the environment is not asked.
fn operating_system_user() -> anyhow::Result<String> {
    let id = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(id).context("look up who you are")?;
    user.map(|user| user.name).with_context(|| format!("the system knows no name for user id {id}"))
}

/// Says no with a remedy before anything is written.
fn check(request: &ApprovalRequest, decision: &Decision, now: Timestamp) -> anyhow::Result<()> {
    let spec = &request.spec;
    if let Standing::Over(word) = Standing::of(request, now) {
        let again = "the requester has to send the command again";
        match word {
            "expired" => bail!("it has expired; {again}"),
            "withdrawn" => bail!("it was withdrawn: nobody waits for it; {again}"),
            decided => bail!("it is already {decided}; see `portcullis requests --all`"),
        }
    }
    if spec
        .decisions
        .iter()
        .any(|earlier| earlier.approver == decision.approver && earlier.group == decision.group)
    {
        bail!("{} has decided already; one more approver has to be another person", decision.approver);
    }
    if decision.verdict == ApprovalVerdict::Denied {
        return Ok(());
    }
    ensure!(
        !is_requester(spec, &decision.approver),
        "{} asks for it and cannot approve it; somebody else has to",
        decision.approver
    );
    let groups = named_groups(spec);
    if groups.is_empty() || spec.reviewers.iter().any(|requirement| requirement.group.is_none()) {
        return Ok(());
    }
    match &decision.group {
        Some(group) if groups.contains(&group.as_str()) => Ok(()),
        Some(group) => {
            bail!("group {group} does not count here; one that does: --group {}", groups.join(" or "))
        }
        None => bail!("it needs an approver of a group: add --group {}", groups.join(" or ")),
    }
}

fn named_groups(spec: &ApprovalRequestSpec) -> Vec<&str> {
    spec.reviewers.iter().filter_map(|requirement| requirement.group.as_deref()).collect()
}

fn unknown(name: &str, requests: &Requests) -> anyhow::Result<String> {
    let now = Timestamp::now();
    let (all, _) = requests.list()?;
    let pending: Vec<String> = all
        .into_iter()
        .filter(|request| matches!(Standing::of(request, now), Standing::Pending(_)))
        .filter_map(|request| request.metadata.name)
        .collect();
    Ok(if pending.is_empty() {
        format!("no request is called {name}, and nothing waits for an approval")
    } else {
        format!("no request is called {name}; these wait: {}", pending.join(", "))
    })
}

/// What is decided about, before it is decided.
fn describe(request: &ApprovalRequest, now: Timestamp, output: &mut Output) -> anyhow::Result<()> {
    let spec = &request.spec;
    let requester = &spec.requester;
    output.line(&format!(
        "requester  {} ({})",
        printable(&requester.username),
        printable(&requester.issuer)
    ))?;
    output.line(&format!("groups     {}", printable(&requester.groups.join(", "))))?;
    for (name, value) in &requester.claims {
        output.line(&format!("claim      {} = {}", printable(name), printable(value)))?;
    }
    output.line(&format!("resource   {}", printable(&spec.resource_ref.name)))?;
    output.line(&format!(
        "held by    {}/{}",
        printable(&spec.policy_ref.name),
        printable(&spec.policy_ref.rule)
    ))?;
    if spec.command.transaction == TransactionState::InTransaction {
        output.line("in         a transaction: its locks are kept while it waits")?;
    }
    output.line(&format!("expires    {}", remaining(&spec.expires_at, now)))?;
    for effect in &spec.command.effects {
        output.line(&format!("effect     {}", printable(effect)))?;
    }
    for line in printable(&spec.command.text).lines() {
        output.line(&format!("           {line}"))?;
    }
    output.line("")
}

fn report(name: &str, settled: &Settled, output: &mut Output) -> anyhow::Result<()> {
    let (state, missing, sentence) = match settled {
        Settled::Approved { .. } => {
            ("approved", None, format!("{name} is approved: the gateway lets the command run"))
        }
        Settled::Denied { .. } => ("denied", None, format!("{name} is denied: the requester is told so")),
        Settled::Pending { missing } => {
            ("pending", Some(missing), format!("recorded; {name} still needs {missing}"))
        }
        Settled::Expired => ("expired", None, format!("too late: {name} expired a moment ago")),
        Settled::Void { why } => ("withdrawn", None, format!("{name} is void: {why}")),
    };
    match output.format() {
        Format::Json => output.json(&json!({ "name": name, "state": state, "missing": missing })),
        Format::Table => output.line(&printable(&sentence)),
    }
}
