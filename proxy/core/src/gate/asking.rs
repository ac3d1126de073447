//! Asking for an approval, for which no gate is needed: other commands of the session go on meanwhile.

use super::held::Held;
use crate::approval::{Approvals, Question};
use crate::refusal::{Refusal, RefusalKind};
use std::sync::Arc;

/// A command that a rule holds, on record as held. Nobody has been asked yet.
#[derive(Debug)]
pub struct Unasked {
    held: Held,
    question: Question,
    approvals: Arc<dyn Approvals>,
}

/// A command about which people are asked. That is not on record yet: give it to `Gate::hold`.
#[derive(Debug)]
#[must_use = "it is given to Gate::hold; dropped, its request is withdrawn"]
pub struct Asked(pub(super) Held);

impl Unasked {
    pub(super) const fn new(held: Held, question: Question, approvals: Arc<dyn Approvals>) -> Self {
        Self { held, question, approvals }
    }

    /// Number of the command within its session.
    pub const fn number(&self) -> u64 {
        self.held.number()
    }

    /// Asks, however long that takes.
    ///
    /// Cancel safe: a request that was made meanwhile is withdrawn.
    ///
    /// # Errors
    /// Nobody can be asked; nothing was run.
    pub async fn ask(self) -> Result<Asked, Refusal> {
        let Self { mut held, question, approvals } = self;
        let session = question.session.clone();
        match approvals.ask(question).await {
            Ok(pending) => {
                held.attach(pending);
                Ok(Asked(held))
            }
            Err(error) => {
                tracing::error!(session, error = %super::Chain(&error), "ask for approval");
                Err(Refusal {
                    kind: RefusalKind::Unavailable,
                    rule: Some(held.rule().clone()),
                    message: format!("the command needs an approval and none can be asked for: {error}"),
                    hint: "try again later; nothing was run".to_owned(),
                })
            }
        }
    }
}
