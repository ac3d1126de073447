//! Of several operators one works. Whoever loses the lease stops at once and starts anew as one that waits.

use crate::names::LEASE;
use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Seconds that a lease is good for without being renewed.
const DURATION_SECONDS: u64 = 15;
/// Seconds before its end at which it is renewed.
const GRACE_SECONDS: u64 = 5;

/// The lease, while it is contended for.
#[derive(Debug)]
pub struct Leadership {
    state: watch::Receiver<bool>,
    task: JoinHandle<kube_lease_manager::Result<LeaseManager>>,
}

impl Leadership {
    /// Waits until the lease is ours.
    ///
    /// Cancel safe: whoever was waiting is forgotten.
    ///
    /// # Errors
    /// The API server does not let the lease be written.
    pub async fn acquire(client: Client, namespace: &str) -> Result<Self, LeaseManagerError> {
        tracing::info!(namespace, lease = LEASE, "waiting for the lease");
        let manager = LeaseManagerBuilder::new(client, LEASE)
            .with_namespace(namespace)
            .with_duration(DURATION_SECONDS)
            .with_grace(GRACE_SECONDS)
            .build()
            .await?;
        let (mut state, task) = manager.watch().await;
        // an error means that the manager ended, which `lost` reports
        state.wait_for(|leading| *leading).await.ok();
        tracing::info!(namespace, lease = LEASE, "got the lease");
        Ok(Self { state, task })
    }

    /// Waits until the lease is lost.
    ///
    /// Cancel safe.
    pub async fn lost(&mut self) {
        self.state.wait_for(|leading| !*leading).await.ok();
    }

    /// Gives the lease back, so that another operator need not wait for its end.
    pub async fn release(self) {
        // the manager releases when nobody listens any more
        drop(self.state);
        match self.task.await {
            Ok(Ok(_)) => tracing::info!(lease = LEASE, "gave the lease back"),
            Ok(Err(error)) => tracing::warn!(%error, "give the lease back"),
            Err(error) => tracing::warn!(%error, "give the lease back"),
        }
    }
}
