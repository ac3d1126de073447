//! A request that somebody waits for.

use super::Shared;
use super::claim::Claim;
use super::judge::{Judgement, judge};
use crate::control::requests::failed;
use async_trait::async_trait;
use crds::v1alpha1::ApprovalRequest;
use jiff::Timestamp;
use proxy_core::approval::{ApprovalError, Outcome, Pending, Question};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long past its deadline an approval that was claimed before it is waited for.
const CLOSING_PATIENCE: Duration = Duration::from_secs(1);

/// A request that somebody waits for. Dropping it withdraws the request if nobody else waits for it here and it is not
/// to stay.
#[derive(Debug)]
pub(super) struct KubernetesPending {
    shared: Arc<Shared>,
    claim: Claim,
    changes: watch::Receiver<u64>,
    /// The watch has shown it.
    seen: bool,
    /// A claim that was begun: it may consume the approval, so its result must survive a cancelled wait.
    claiming: Option<JoinHandle<Result<Option<Outcome>, ApprovalError>>>,
    over: bool,
    /// The request stays open when this is dropped.
    stays: bool,
}

impl KubernetesPending {
    pub(super) fn new(shared: Arc<Shared>, request: Arc<ApprovalRequest>, question: &Question) -> Self {
        let left = request.spec.expires_at.parse::<Timestamp>().ok();
        let left = left.and_then(|at| Duration::try_from(at.duration_since(Timestamp::now())).ok());
        let left = left.unwrap_or_default().min(question.terms.timeout);
        let message =
            format!("released to {}/{}/{}", shared.claimant.instance, question.session, question.number);
        let claim = Claim { asked: request, message, deadline: Instant::now() + left };
        let changes = shared.requests.changes();
        Self { shared, claim, changes, seen: false, claiming: None, over: false, stays: question.stays() }
    }

    /// Looks at what the watch shows.
    fn look(&mut self) -> Look {
        let current = self.shared.requests.get(self.name());
        let Some(current) = current else {
            // Before the watch has shown it, it is not missing.
            return if self.seen { Look::Ended(Outcome::Withdrawn) } else { Look::Nothing };
        };
        self.seen |= current.metadata.uid == self.claim.asked.metadata.uid;
        match judge(&self.claim.asked, &current, Timestamp::now()) {
            Judgement::Pending => Look::Nothing,
            Judgement::Approved { .. } => Look::Approved(current),
            // By somebody else: whoever consumes it here learns that from the claim.
            Judgement::Consumed(_) => Look::Ended(Outcome::Withdrawn),
            Judgement::Ended(outcome) => Look::Ended(outcome),
        }
    }

    /// Waits for a claim that was begun. Cancel safe.
    async fn claimed(&mut self) -> Result<Option<Outcome>, ApprovalError> {
        let Some(claiming) = &mut self.claiming else { return Ok(None) };
        let patience = self.claim.deadline.max(Instant::now()) + CLOSING_PATIENCE;
        let Ok(claimed) = tokio::time::timeout_at(patience, claiming).await else {
            // Should it be consumed later, the command has not run: closed.
            return Ok(Some(Outcome::Expired));
        };
        self.claiming = None;
        claimed.unwrap_or_else(|error| Err(failed("the approval was not consumed", error)))
    }

    async fn wait(&mut self) -> Result<Outcome, ApprovalError> {
        loop {
            if let Some(outcome) = self.claimed().await? {
                return Ok(outcome);
            }
            if Instant::now() >= self.claim.deadline {
                return Ok(Outcome::Expired);
            }
            // Before the look, so that no change falls between the two.
            self.changes.mark_unchanged();
            match self.look() {
                Look::Ended(outcome) => return Ok(outcome),
                Look::Approved(current) => {
                    let claim = Arc::clone(&self.shared).claim(self.claim.clone(), current);
                    self.claiming = Some(self.shared.tasks.spawn(claim));
                }
                Look::Nothing => {
                    tokio::select! {
                        _ = self.changes.changed() => {}
                        () = tokio::time::sleep_until(self.claim.deadline) => {}
                    }
                }
            }
        }
    }
}

enum Look {
    Nothing,
    Approved(Arc<ApprovalRequest>),
    Ended(Outcome),
}

#[async_trait]
impl Pending for KubernetesPending {
    fn name(&self) -> &str {
        self.claim.asked.metadata.name.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.claim.asked.metadata.uid.as_deref().unwrap_or_default()
    }

    fn advice(&self) -> String {
        let (name, namespace) = (self.name(), &self.shared.key.namespace);
        format!(
            "decide with: kubectl portcullis approve {name} -n {namespace}, or: kubectl portcullis deny {name} -n \
             {namespace}"
        )
    }

    fn leave(&mut self) {
        self.stays = true;
    }

    async fn stop(&mut self) -> Option<Result<Outcome, ApprovalError>> {
        let claimed = self.claimed().await.transpose()?;
        self.over = claimed.is_ok();
        Some(claimed)
    }

    async fn outcome(&mut self) -> Result<Outcome, ApprovalError> {
        if self.over {
            // It is returned once.
            return Ok(Outcome::Withdrawn);
        }
        let outcome = self.wait().await?;
        self.over = true;
        Ok(outcome)
    }
}

impl Drop for KubernetesPending {
    fn drop(&mut self) {
        let last = self.shared.leave(self.uid());
        if last && !self.over && !self.stays && tokio::runtime::Handle::try_current().is_ok() {
            let withdraw = Arc::clone(&self.shared).withdraw(Arc::clone(&self.claim.asked));
            self.shared.tasks.spawn(withdraw);
        }
    }
}
