//! `portcullis requests`: what waits for an approval.

use crate::approvals::{Standing, StateArguments};
use crate::output::{Format, Output, judged, printable};
use clap::Args;
use crds::v1alpha1::ApprovalRequest;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::process::ExitCode;

/// List held commands that wait for an approval.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis requests
  portcullis requests --all -o json | jq '.[] | select(.state == \"denied\")'
  portcullis approve orders-k3x9qf --reason 'ticket 4711'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    state: StateArguments,
    /// Also those that are over.
    #[arg(short, long)]
    all: bool,
}

/// A request and where it stands.
#[derive(Serialize)]
struct Listed<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<&'a str>,
    request: &'a ApprovalRequest,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let now = Timestamp::now();
    let (requests, unreadable) = arguments.state.requests()?.list()?;
    let standing: Vec<(ApprovalRequest, Standing)> = requests
        .into_iter()
        .map(|request| {
            let standing = Standing::of(&request, now);
            (request, standing)
        })
        .filter(|(_, standing)| arguments.all || matches!(standing, Standing::Pending(_)))
        .collect();
    match output.format() {
        Format::Json => output.json(&standing.iter().map(listed).collect::<Vec<_>>())?,
        Format::Table if standing.is_empty() => output.line("nothing waits for an approval")?,
        Format::Table => output.table(
            &["NAME", "REQUESTER", "RESOURCE", "COMMAND", "STATE", "EXPIRES"],
            standing.iter().map(|(request, standing)| row(request, standing, now)).collect(),
        )?,
    }
    for problem in unreadable {
        crate::output::warn(&problem);
    }
    Ok(ExitCode::SUCCESS)
}

fn listed((request, standing): &(ApprovalRequest, Standing)) -> Listed<'_> {
    let missing = match standing {
        Standing::Pending(missing) => Some(missing.as_str()),
        Standing::Over(_) => None,
    };
    Listed { state: standing.word(), missing, request }
}

fn row(request: &ApprovalRequest, standing: &Standing, now: Timestamp) -> Vec<String> {
    let spec = &request.spec;
    let (state, expires) = match standing {
        Standing::Pending(missing) => {
            (format!("pending: {}", printable(missing)), remaining(&spec.expires_at, now))
        }
        Standing::Over(word) => (judged(word), String::new()),
    };
    vec![
        request.metadata.name.clone().unwrap_or_default(),
        printable(&spec.requester.username),
        spec.resource_ref.name.clone(),
        printable(&spec.command.summary),
        state,
        expires,
    ]
}

/// `in 4m 3s`.
pub(crate) fn remaining(expires_at: &str, now: Timestamp) -> String {
    let Ok(expires_at) = expires_at.parse::<Timestamp>() else { return "never readable".to_owned() };
    let seconds = expires_at.duration_since(now).as_secs().max(0);
    format!("in {:#}", SignedDuration::from_secs(seconds))
}
