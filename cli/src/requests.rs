//! `portcullis requests`: what waits for an approval.

use crate::approvals::{Listing, Scope, Standing, Store, StoreArguments};
use crate::output::{Document, Output, inline, judged};
use clap::Args;
use crds::v1alpha1::{ApprovalRequest, ApprovalVerdict};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

/// Pause between two looks of `--watch`.
const LOOK: Duration = Duration::from_secs(2);

/// List held commands that wait for an approval.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis requests
  portcullis requests --all-namespaces --watch
  portcullis requests --all -o json | jq '.[] | select(.state == \"denied\")'
  portcullis requests --state /var/lib/portcullis
  portcullis approve orders-k3x9qf --reason 'ticket 4711'")]
pub(crate) struct Arguments {
    /// Also those that are over, after the others.
    #[arg(short, long)]
    all: bool,
    /// List again whenever something changed, until interrupted.
    #[arg(short, long)]
    watch: bool,
    /// Those of every namespace of the cluster.
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "state"])]
    all_namespaces: bool,
    #[command(flatten)]
    store: StoreArguments,
}

impl Arguments {
    const fn scope(&self) -> Scope {
        if self.all_namespaces { Scope::Everywhere } else { Scope::Namespace }
    }
}

/// A request and where it stands.
#[derive(Serialize)]
pub(crate) struct Listed<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<&'a str>,
    request: &'a ApprovalRequest,
}

impl<'a> Listed<'a> {
    pub(crate) fn new(request: &'a ApprovalRequest, standing: &'a Standing) -> Self {
        Self { state: standing.word(), missing: standing.missing(), request }
    }
}

/// What one look shows.
type Requests = Vec<(ApprovalRequest, Standing)>;

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let scope = arguments.scope();
    let store = arguments.store.open(scope)?;
    let (shown, unreadable) = look(store.as_ref(), arguments.all)?;
    print(&shown, scope, output)?;
    for problem in unreadable {
        crate::output::warn(&problem);
    }
    if arguments.watch {
        return watch(arguments, store.as_ref(), shown, output);
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends when the process does, or with the first look that fails.
fn watch(
    arguments: &Arguments,
    store: &dyn Store,
    mut shown: Requests,
    output: &mut Output,
) -> anyhow::Result<ExitCode> {
    let scope = arguments.scope();
    loop {
        std::thread::sleep(LOOK);
        let (requests, _) = look(store, arguments.all)?;
        if requests != shown {
            shown = requests;
            output.line("")?;
            print(&shown, scope, output)?;
        }
    }
}

fn look(store: &dyn Store, over_too: bool) -> anyhow::Result<(Requests, Vec<String>)> {
    let now = Timestamp::now();
    let Listing { requests, unreadable } = store.list()?;
    let mut requests: Requests = requests
        .into_iter()
        .map(|request| {
            let standing = store.standing(&request, now);
            (request, standing)
        })
        .filter(|(_, standing)| over_too || !standing.is_over())
        .collect();
    requests.sort_by_key(|(_, standing)| standing.is_over());
    Ok((requests, unreadable))
}

fn print(requests: &Requests, scope: Scope, output: &mut Output) -> anyhow::Result<()> {
    let now = Timestamp::now();
    match output.format() {
        Document::Json => {
            let listed = requests.iter().map(|(request, standing)| Listed::new(request, standing));
            output.json(&listed.collect::<Vec<_>>())
        }
        Document::Table if requests.is_empty() => output.line("nothing waits for an approval"),
        Document::Table => {
            let mut header = vec!["NAME", "REQUESTER", "RESOURCE", "COMMAND", "DECISION", "EXPIRES IN"];
            let mut rows: Vec<Vec<String>> =
                requests.iter().map(|(request, standing)| row(request, standing, now)).collect();
            if scope == Scope::Everywhere {
                header.insert(0, "NAMESPACE");
                for (row, (request, _)) in rows.iter_mut().zip(requests) {
                    row.insert(0, request.metadata.namespace.clone().unwrap_or_default());
                }
            }
            output.table(&header, rows)
        }
    }
}

fn row(request: &ApprovalRequest, standing: &Standing, now: Timestamp) -> Vec<String> {
    let spec = &request.spec;
    let expires = if standing.is_over() { String::new() } else { remaining(&spec.expires_at, now) };
    vec![
        request.metadata.name.clone().unwrap_or_default(),
        inline(&spec.requester.username),
        spec.resource_ref.name.clone(),
        inline(&spec.command.summary),
        decision(request, standing),
        expires,
    ]
}

/// `pending: 1 more approver of group dba (alice approved)`.
fn decision(request: &ApprovalRequest, standing: &Standing) -> String {
    let Some(missing) = standing.missing() else { return judged(standing.word()) };
    let approved =
        request.spec.decisions.iter().filter(|decision| decision.verdict == ApprovalVerdict::Approved);
    let approvers: Vec<String> = approved.map(|decision| inline(&decision.approver)).collect();
    let so_far =
        if approvers.is_empty() { String::new() } else { format!(" ({} approved)", approvers.join(", ")) };
    format!("{}: {}{so_far}", standing.word(), inline(missing))
}

/// `4m 3s`.
pub(crate) fn remaining(expires_at: &str, now: Timestamp) -> String {
    let Ok(expires_at) = expires_at.parse::<Timestamp>() else { return "never readable".to_owned() };
    let seconds = expires_at.duration_since(now).as_secs().max(0);
    format!("{:#}", SignedDuration::from_secs(seconds))
}

/// That a name is unknown, with the names that could be meant.
pub(crate) fn unknown(name: &str, store: &dyn Store) -> String {
    // Who may read one request need not be allowed to list them.
    let Ok((requests, _)) = look(store, false) else { return format!("no request is called {name}") };
    let pending: Vec<String> =
        requests.into_iter().filter_map(|(request, _)| request.metadata.name).collect();
    if pending.is_empty() {
        format!("no request is called {name}, and nothing waits for an approval")
    } else {
        format!("no request is called {name}; these wait: {}", pending.join(", "))
    }
}
