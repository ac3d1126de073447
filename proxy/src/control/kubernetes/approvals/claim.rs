//! Consuming an approval: a compare-and-swap of its status.
//!
//! The condition `Consumed` is added to the very version that was judged; its message names who consumed it: process,
//! session and command. An answer that does not come leaves open whether it was written. Then the request is read again
//! until that can be told; if it cannot be told in time, nothing runs.

use super::judge::{Judgement, judge};
use super::{Shared, Written};
use crate::control::requests::{condition, failed};
use crds::v1alpha1::ApprovalRequest;
use crds::v1alpha1::conditions::CONSUMED;
use jiff::Timestamp;
use proxy_core::approval::{ApprovalError, Outcome};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Pause between two attempts that got no answer.
const PAUSE: Duration = Duration::from_millis(250);

/// One who claims an approval.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// The request when it was asked or joined.
    pub(super) asked: Arc<ApprovalRequest>,
    /// What the condition says if this one consumed it. No other command ever has the same.
    pub(super) message: String,
    /// When the wait is over.
    pub(super) deadline: Instant,
}

impl Shared {
    /// Consumes an approval. `None`: it is no approval any more; go on waiting.
    pub(super) async fn claim(
        self: Arc<Self>,
        claim: Claim,
        mut current: Arc<ApprovalRequest>,
    ) -> Result<Option<Outcome>, ApprovalError> {
        let mut approvers = Vec::new();
        loop {
            match judge(&claim.asked, &current, Timestamp::now()) {
                Judgement::Approved { approvers: by } => approvers = by,
                Judgement::Consumed(message) if message == claim.message => {
                    return Ok(Some(Outcome::Approved { approvers }));
                }
                Judgement::Consumed(_) => return Ok(Some(Outcome::Withdrawn)),
                Judgement::Ended(outcome) => return Ok(Some(outcome)),
                Judgement::Pending => return Ok(None),
            }
            if Instant::now() >= claim.deadline {
                return Ok(Some(Outcome::Expired));
            }
            let consumed = condition(CONSUMED, "Released", &claim.message, Timestamp::now());
            match self.add(&current, consumed).await {
                Written::Done(_) => return Ok(Some(Outcome::Approved { approvers })),
                Written::Gone => return Ok(Some(Outcome::Withdrawn)),
                Written::Refused(error) => {
                    return Err(failed("the API server refused to let the approval be consumed", error));
                }
                Written::Conflict => {}
                Written::Unknown(error) => {
                    let request = current.metadata.name.as_deref();
                    tracing::warn!(request, error, "an approval may have been consumed: asking");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            match self.read_again(&claim).await {
                Ok(read) => current = read,
                Err(outcome) => return Ok(Some(outcome)),
            }
        }
    }

    /// Reads the request until there is an answer, or the time is up.
    async fn read_again(&self, claim: &Claim) -> Result<Arc<ApprovalRequest>, Outcome> {
        let name = claim.asked.metadata.name.as_deref().unwrap_or_default();
        while Instant::now() < claim.deadline {
            match self.read(name).await {
                Written::Done(Some(read)) => return Ok(Arc::new(*read)),
                Written::Done(None) | Written::Gone => return Err(Outcome::Withdrawn),
                Written::Conflict | Written::Refused(_) | Written::Unknown(_) => {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Err(Outcome::Expired)
    }
}
