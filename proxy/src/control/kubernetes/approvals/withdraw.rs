//! Withdrawing a request that nobody waits for any more.

use super::{Shared, Written, stripped};
use crate::control::requests::{condition, is_open};
use crds::v1alpha1::ApprovalRequest;
use crds::v1alpha1::conditions::WITHDRAWN;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Pause after the first attempt that got no answer.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Shared {
    /// Withdraws a request that may have been created, though no answer said so, and that nobody waits for.
    pub(super) async fn abandon(self: Arc<Self>, asked: ApprovalRequest) {
        let name = asked.metadata.name.clone().unwrap_or_default();
        let mut pause = SHORTEST_PAUSE;
        while is_open(&asked, Timestamp::now()) {
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            match self.read(&name).await {
                Written::Done(Some(found)) if found.spec == stripped(asked.clone()).spec => {
                    return self.withdraw(Arc::new(*found)).await;
                }
                Written::Done(_) | Written::Gone => return,
                Written::Conflict | Written::Refused(_) | Written::Unknown(_) => {}
            }
        }
    }

    /// Withdraws a request, unless somebody joined it or it has ended meanwhile. Tries until it expires: nothing runs
    /// by it in any case, for nobody waits.
    pub(super) async fn withdraw(self: Arc<Self>, asked: Arc<ApprovalRequest>) {
        let (name, uid) = (asked.metadata.name.clone(), asked.metadata.uid.clone());
        let (name, uid) = (name.unwrap_or_default(), uid.unwrap_or_default());
        let mut current = self.requests.get(&name).unwrap_or_else(|| Arc::clone(&asked));
        let mut pause = SHORTEST_PAUSE;
        loop {
            // Nobody joins while it is written.
            let turn = self.turn(&asked.spec.requester.issuer, &asked.spec.requester.subject).lock().await;
            let over = self.is_awaited(&uid)
                || current.metadata.uid != asked.metadata.uid
                || !is_open(&current, Timestamp::now());
            if over {
                return;
            }
            let gone = "the client that waited went away or cancelled";
            let withdrawn = condition(WITHDRAWN, "ClientGone", gone, Timestamp::now());
            match self.add(&current, withdrawn).await {
                Written::Done(_) | Written::Gone => return,
                Written::Refused(error) => {
                    tracing::warn!(request = name, error = %proxy_core::gate::Chain(&error), "cannot withdraw");
                    return;
                }
                Written::Conflict => {}
                Written::Unknown(error) => {
                    tracing::debug!(request = name, error, "cannot withdraw yet");
                    drop(turn);
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
            }
            match self.read(&name).await {
                Written::Done(Some(read)) => current = Arc::new(*read),
                Written::Done(None) | Written::Gone => return,
                Written::Conflict | Written::Refused(_) | Written::Unknown(_) => {}
            }
        }
    }
}
