//! The control plane without Kubernetes: files in directories.

pub mod approvals;

use super::Offer;
use crate::config::{self, Snapshot};
use crate::reload::{Look, Watcher};
use crate::run::RunError;
use approvals::{DirectoryApprovals, Limits};
use proxy_core::approval::{ApprovalError, Approvals};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Manifests in a directory.
#[derive(Debug)]
pub struct DirectorySource {
    watcher: Watcher<Snapshot>,
    first: Option<Offer>,
    obstacle: watch::Sender<Option<String>>,
}

impl DirectorySource {
    /// Reads the directory.
    ///
    /// # Errors
    /// Every problem of it.
    pub(super) async fn open(directory: &Path) -> Result<Self, RunError> {
        let path = directory.to_owned();
        let watcher = Watcher::new(move || Snapshot::read(&path)).await;
        let first = offer(watcher.known());
        if let Err(problems) = first.config {
            return Err(RunError::Config { from: directory.display().to_string(), problems });
        }
        Ok(Self { watcher, first: Some(first), obstacle: watch::Sender::new(None) })
    }

    /// Waits for a change. Cancel safe.
    pub(super) async fn next(&mut self) -> Offer {
        if let Some(first) = self.first.take() {
            return first;
        }
        self.watcher.change().await;
        offer(self.watcher.known())
    }

    pub(super) fn obstacle(&self) -> watch::Receiver<Option<String>> {
        self.obstacle.subscribe()
    }
}

fn offer(look: &Look<Snapshot>) -> Offer {
    match look {
        Ok(snapshot) => {
            Offer { digest: snapshot.digest(), config: config::load(snapshot), held_back: Vec::new() }
        }
        Err(problems) => {
            Offer { digest: String::new(), config: Err(problems.clone()), held_back: Vec::new() }
        }
    }
}

/// Approvals by files in a directory. Blocks for some file operations.
///
/// # Errors
/// The directory cannot be made or written.
pub(super) fn approvals(directory: PathBuf) -> Result<Arc<dyn Approvals>, ApprovalError> {
    Ok(Arc::new(DirectoryApprovals::open(directory, Limits::default())?))
}
