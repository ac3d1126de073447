//! Approval requests, wherever they are kept: in a cluster, or in the state directory of a gateway that runs without
//! one.

mod directory;
mod kubernetes;
mod standing;

pub(crate) use standing::Standing;

use crate::cluster::{self, KubernetesArguments};
use anyhow::Context as _;
use clap::Args;
use crds::v1alpha1::{ApprovalRequest, Decision};
use directory::Directory;
use jiff::Timestamp;
use kubernetes::Kubernetes;
use std::path::PathBuf;

/// Names the state directory. Read here and not by clap, for Kubernetes' options on the command line go before it.
const STATE: &str = "PORTCULLIS_STATE";

/// Where the requests are.
#[derive(Args, Debug)]
pub(crate) struct StoreArguments {
    /// State directory of a gateway that runs without Kubernetes. Omitted: `PORTCULLIS_STATE`, else the cluster of your
    /// kubeconfig.
    #[arg(long, value_name = "DIR", conflicts_with_all = cluster::OPTIONS)]
    state: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Kubernetes")]
    kubernetes: KubernetesArguments,
}

/// In which namespaces to look. A directory has none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scope {
    /// In the one that was given, or else the context's.
    Namespace,
    /// In all of them.
    Everywhere,
}

impl StoreArguments {
    /// Opens whichever is meant.
    pub(crate) fn open(&self, scope: Scope) -> anyhow::Result<Box<dyn Store>> {
        let asked = self.kubernetes.are_given() || scope == Scope::Everywhere;
        let named = std::env::var_os(STATE).filter(|directory| !directory.is_empty() && !asked);
        match self.state.clone().or_else(|| named.map(PathBuf::from)) {
            Some(state) => Ok(Box::new(Directory::open(&state)?)),
            None => Ok(Box::new(Kubernetes::connect(&self.kubernetes, scope)?)),
        }
    }
}

/// Who runs the command line.
pub(crate) struct User {
    /// The name that decisions bear.
    pub(crate) name: String,
    /// Their groups. `None`: nobody here knows them, and whoever may decide is believed.
    pub(crate) groups: Option<Vec<String>>,
}

/// What was found, and what could not be read.
pub(crate) struct Listing {
    /// Oldest first.
    pub(crate) requests: Vec<ApprovalRequest>,
    /// What is wrong with the others.
    pub(crate) unreadable: Vec<String>,
}

/// A place where requests are kept and decided.
pub(crate) trait Store {
    /// Every request.
    fn list(&self) -> anyhow::Result<Listing>;

    /// One request; `None` if there is none of that name.
    fn read(&self, name: &str) -> anyhow::Result<Option<ApprovalRequest>>;

    /// Who decides. There is no way to say otherwise.
    fn user(&self) -> anyhow::Result<User>;

    /// Appends the decision that `decide` makes of the request as it is, and gives the request with it. `decide` is
    /// asked again when somebody else was faster: no decision is ever written over. `None` if there is no request of
    /// that name.
    fn append(
        &self,
        name: &str,
        decide: &mut dyn FnMut(&ApprovalRequest) -> anyhow::Result<Decision>,
    ) -> anyhow::Result<Option<ApprovalRequest>>;

    /// Where a request stands.
    fn standing(&self, request: &ApprovalRequest, now: Timestamp) -> Standing;

    /// As [`Store::read`], of a request that was there a moment ago.
    fn read_again(&self, request: &ApprovalRequest) -> anyhow::Result<ApprovalRequest> {
        let name = request.metadata.name.as_deref().unwrap_or_default();
        let again = self.read(name)?.filter(|again| again.metadata.uid == request.metadata.uid);
        again.with_context(|| {
            format!("{name} was deleted meanwhile: the requester has to send the command again")
        })
    }
}
