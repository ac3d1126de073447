//! Control planes: where configurations come from, and where approvals are asked.
//!
//! A directory and a cluster are two sources of the same stream: [`Source::next`] gives the configuration as it is now,
//! the process takes it over or not, and [`Source::settled`] tells the source what became of it.

mod answered;
pub mod directory;
pub mod kubernetes;
mod requests;

use crate::args::Args;
use crate::config::{Config, Problem, Problems};
use crate::gateway::Accounts;
use crate::metrics::ProcessMetrics;
use crate::run::RunError;
use crate::state::State;
use directory::DirectorySource;
use kubernetes::Cluster;
use proxy_core::approval::{ApprovalError, Approvals, Gathering};
use proxy_core::contact::Contact;
use std::sync::Arc;
use tokio::sync::watch;

/// A configuration as its source has it now.
#[derive(Debug)]
pub struct Offer {
    /// Tells two configurations apart: SHA-256 in hex.
    pub digest: String,
    /// The configuration, or why there is none that could be used.
    pub config: Result<Config, Problems>,
    /// Why parts of it are as they were before, though something newer was written.
    pub held_back: Vec<Problem>,
}

/// Where configurations come from.
#[derive(Debug)]
pub enum Source {
    /// A directory of manifests.
    Directory(DirectorySource),
    /// One Resource of a cluster.
    Kubernetes(Box<Cluster>),
}

impl Source {
    /// Opens the source that the arguments name.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// A directory has problems, all of which are listed; or nothing says how to reach the cluster.
    pub async fn open(args: &Args, metrics: &ProcessMetrics) -> Result<Self, RunError> {
        match (&args.source.config, &args.source.resource) {
            (Some(directory), None) => DirectorySource::open(directory).await.map(Self::Directory),
            (None, Some(resource)) => {
                let cluster = Cluster::open(resource, &args.source, metrics).await?;
                Ok(Self::Kubernetes(Box::new(cluster)))
            }
            (None, None) | (Some(_), Some(_)) => Err(RunError::Source),
        }
    }

    /// Waits for the next configuration, the first one included.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Offer {
        match self {
            Self::Directory(directory) => directory.next().await,
            Self::Kubernetes(cluster) => cluster.next().await,
        }
    }

    /// What became of the last offer.
    pub fn settled(&mut self, outcome: Result<(), &Problems>) {
        match self {
            Self::Directory(_) => {}
            Self::Kubernetes(cluster) => cluster.settled(outcome),
        }
    }

    /// What upstreams say of the gateway's own accounts with them.
    pub fn accounts(&mut self, known: &Accounts) {
        match self {
            // the log has it
            Self::Directory(_) => {}
            Self::Kubernetes(cluster) => cluster.accounts(known),
        }
    }

    /// Why new sessions should go elsewhere, though a configuration may be in force.
    pub fn obstacle(&self) -> watch::Receiver<Option<String>> {
        match self {
            Self::Directory(directory) => directory.obstacle(),
            Self::Kubernetes(cluster) => cluster.obstacle(),
        }
    }

    /// Whether a problem at the start is for whoever starts the gateway, who can put it right and start it again.
    pub const fn must_start_well(&self) -> bool {
        match self {
            Self::Directory(_) => true,
            Self::Kubernetes(_) => false,
        }
    }

    /// Begins what goes on in the background, and says where held commands are asked about. Blocks for some file
    /// operations.
    ///
    /// # Errors
    /// Requests cannot be kept.
    pub fn start(&mut self, state: &State) -> Result<Arc<dyn Approvals>, ApprovalError> {
        let store = match self {
            Self::Directory(_) => directory::approvals(state.approvals())?,
            Self::Kubernetes(cluster) => cluster.start(state.instance()),
        };
        Ok(Arc::new(Gathering::new(store)))
    }

    /// How long ago its policies were last known to be the newest.
    pub fn contact(&self) -> Contact {
        match self {
            Self::Directory(_) => Contact::here(),
            Self::Kubernetes(cluster) => cluster.contact(),
        }
    }

    /// Finishes what was begun in the background, for a short while: withdrawals of requests.
    ///
    /// Not cancel safe: a request may be left to expire by itself.
    pub async fn finish(self) {
        match self {
            Self::Directory(_) => {}
            Self::Kubernetes(cluster) => cluster.finish().await,
        }
    }
}
