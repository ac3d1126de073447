//! `portcullis approve` and `portcullis deny`: one decision of one person.
//!
//! The approver is who runs the command, as the operating system or the API server knows them, and there is no way to
//! say otherwise. It is not the requester: a request whose requester has the same name is refused.

mod outcome;

use crate::approvals::{Scope, Standing, Store, StoreArguments, User};
use crate::describe;
use crate::output::{Document, FAILURE, Output, inline};
use crate::requests::unknown;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use crds::v1alpha1::{ApprovalRequest, ApprovalRequestSpec, ApprovalVerdict, Decision, OnDisconnect};
use jiff::Timestamp;
use proxy_policy::approval::{Settled, is_requester, settle};
use serde_json::json;
use std::process::ExitCode;

/// Let a held command run.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis approve orders-k3x9qf -n shop
  portcullis approve orders-k3x9qf --group dba --reason 'ticket 4711'
  portcullis approve orders-k3x9qf --wait && echo 'it runs'
  portcullis approve orders-k3x9qf --state /var/lib/portcullis")]
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
    /// Name of the request, as `requests` lists it.
    name: String,
    /// Why, for the record and the requester.
    #[arg(long)]
    reason: Option<String>,
    /// Group in which you decide, where the request names groups. Omitted, in a cluster: the first of them that you
    /// are in.
    #[arg(long)]
    group: Option<String>,
    /// Wait until nothing more is decided, for other approvers too, and fail unless it came to what you decided.
    /// Omitted: a few seconds, for the operator only.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    store: StoreArguments,
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
    let store = arguments.store.open(Scope::Namespace)?;
    let store = store.as_ref();
    let (name, user) = (&arguments.name, store.user()?);
    let mut shown = false;
    let written = store.append(name, &mut |request| {
        if output.format() == Document::Table && !shown {
            describe::print(request, store, output)?;
            output.line("")?;
            shown = true;
        }
        let group = arguments.group.clone().or_else(|| group(&request.spec, &user));
        let decision =
            Decision { approver: user.name.clone(), group, verdict, reason: arguments.reason.clone() };
        check(request, &decision, &user, store).with_context(|| format!("cannot decide {name}"))?;
        Ok(decision)
    })?;
    let Some(request) = written else { bail!("{}", unknown(name, store)) };
    let patience = if arguments.wait { outcome::Patience::UntilOver } else { outcome::Patience::Operator };
    let (request, standing) = outcome::wait(store, request, patience)?;
    report(&request, &standing, output)?;
    Ok(if arguments.wait && !agrees(&standing, verdict) {
        ExitCode::from(FAILURE)
    } else {
        ExitCode::SUCCESS
    })
}

/// The first group of the reviewers that the user is in, where somebody knows that.
fn group(spec: &ApprovalRequestSpec, user: &User) -> Option<String> {
    let groups = user.groups.as_ref()?;
    named_groups(spec)
        .into_iter()
        .find(|named| groups.iter().any(|group| group == named))
        .map(ToOwned::to_owned)
}

/// Says no with a remedy before anything is written.
fn check(
    request: &ApprovalRequest,
    decision: &Decision,
    user: &User,
    store: &dyn Store,
) -> anyhow::Result<()> {
    let (spec, now) = (&request.spec, Timestamp::now());
    if let Standing::Over(word) = store.standing(request, now) {
        let again = "the requester has to send the command again";
        match word {
            "expired" => bail!("it has expired; {again}"),
            "withdrawn" => bail!("it was withdrawn: nobody waits for it; {again}"),
            decided => bail!("it is already {decided}; `requests --all` lists it"),
        }
    }
    // A cluster takes one decision of each approver.
    let mine = spec.decisions.iter().find(|earlier| {
        earlier.approver == decision.approver && (user.groups.is_some() || earlier.group == decision.group)
    });
    if mine.is_some() {
        bail!("{} has decided already; one more approver has to be another person", decision.approver);
    }
    if decision.verdict == ApprovalVerdict::Approved {
        check_approval(spec, decision, user)?;
    }
    let mut decided = spec.clone();
    decided.decisions.push(decision.clone());
    if let Settled::Void { why } = settle(spec, &decided, now) {
        bail!("this decision would void it: {why}");
    }
    Ok(())
}

/// Whether the approval would count.
fn check_approval(spec: &ApprovalRequestSpec, decision: &Decision, user: &User) -> anyhow::Result<()> {
    let approver = &decision.approver;
    ensure!(
        !is_requester(spec, approver),
        "{approver} asks for it and cannot approve it; somebody else has to"
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
        None if user.groups.is_some() => {
            bail!("it needs an approver of group {}, and {approver} is in none of them", groups.join(" or "))
        }
        None => bail!("it needs an approver of a group: add --group {}", groups.join(" or ")),
    }
}

fn named_groups(spec: &ApprovalRequestSpec) -> Vec<&str> {
    spec.reviewers.iter().filter_map(|requirement| requirement.group.as_deref()).collect()
}

/// Whether it came to what was decided.
fn agrees(standing: &Standing, verdict: ApprovalVerdict) -> bool {
    let wanted: &[&str] = match verdict {
        ApprovalVerdict::Approved => &["approved", "consumed"],
        ApprovalVerdict::Denied => &["denied"],
    };
    matches!(standing, Standing::Over(word) if wanted.contains(word))
}

fn report(request: &ApprovalRequest, standing: &Standing, output: &mut Output) -> anyhow::Result<()> {
    let (name, namespace) =
        (request.metadata.name.as_deref().unwrap_or_default(), &request.metadata.namespace);
    let sentence = match standing {
        Standing::Pending(missing) => format!("recorded; {name} still needs {missing}"),
        Standing::Unconfirmed(why) => {
            format!("recorded, but it does not count yet: {why}; `describe {name}` shows what becomes of it")
        }
        Standing::Over("approved") if request.spec.on_disconnect == OnDisconnect::Claimable => {
            format!("{name} is approved: the gateway lets the command run, or its repetition")
        }
        Standing::Over("approved") => format!("{name} is approved: the gateway lets the command run"),
        Standing::Over("consumed") => format!("{name} is approved, and the gateway has let the command run"),
        Standing::Over("denied") => format!("{name} is denied: the requester is told so"),
        Standing::Over("expired") => format!("too late: {name} has expired"),
        Standing::Over("withdrawn") => format!("{name} was withdrawn: nobody waits for it any more"),
        Standing::Over(word) => format!("{name} is {word}"),
    };
    match output.format() {
        Document::Json => output.json(&json!({
            "name": name, "namespace": namespace, "state": standing.word(), "missing": standing.missing(),
        })),
        Document::Table => output.line(&inline(&sentence)),
    }
}
