//! Asking for an approval, for which no gate is needed: other commands of the session go on meanwhile.

use super::held::Held;
use super::record::mask_line;
use crate::approval::{Approvals, Question};
use crate::mask::Masker;
use crate::refusal::{Refusal, RefusalKind};
use std::sync::Arc;

/// A command that a rule holds, on record as held. Nobody has been asked yet.
#[derive(Debug)]
pub struct Unasked {
    held: Held,
    question: Question,
    approvals: Arc<dyn Approvals>,
    masker: Masker,
}

/// A command about which people are asked, or cannot be. That is not on record yet: give it to `Gate::hold`.
#[derive(Debug)]
#[must_use = "it is given to Gate::hold; dropped, its request is withdrawn"]
pub struct Asked {
    pub(super) held: Held,
    /// Why nobody is asked.
    pub(super) refusal: Option<Refusal>,
}

impl Unasked {
    pub(super) const fn new(
        held: Held,
        question: Question,
        approvals: Arc<dyn Approvals>,
        masker: Masker,
    ) -> Self {
        Self { held, question, approvals, masker }
    }

    /// Number of the command within its session.
    pub const fn number(&self) -> u64 {
        self.held.number()
    }

    /// What is known of what it would do, for approvers and the record: a few lines, without values that a rule masks.
    /// Detectors run over it here. Longer than 4,096 characters it is cut.
    pub fn set_estimate(&mut self, estimate: &str) {
        let masked = mask_line(&self.masker, estimate.to_owned());
        let masked = match masked.char_indices().nth(ESTIMATE_CHARACTERS) {
            None => masked,
            Some((end, _)) => format!("{}…", masked.get(..end).unwrap_or_default()),
        };
        self.held.set_estimate(masked.clone());
        self.question.estimate = Some(masked);
    }

    /// Lets it be asked about together with others of its session and rule that name the same burst and come at the
    /// same time.
    pub fn in_burst(&mut self, burst: String) {
        self.question.burst = Some(burst);
    }

    pub(super) fn into_held(self) -> Held {
        self.held
    }

    /// Its client may have been told no a moment ago, and try again by itself in another way.
    pub const fn as_second_try(&mut self) {
        self.question.is_second_try = true;
    }

    /// Its client does not wait to the end, and is then told to repeat it: [`Gate::leave`](super::Gate::leave).
    pub const fn as_repeatable(&mut self) {
        self.question.is_repeatable = true;
    }

    /// Asks, however long that takes.
    ///
    /// Cancel safe: a request that was made meanwhile is withdrawn.
    pub async fn ask(self) -> Asked {
        let Self { mut held, question, approvals, masker: _ } = self;
        let session = question.session.clone();
        match approvals.ask(question).await {
            Ok(pending) => {
                held.attach(pending);
                Asked { held, refusal: None }
            }
            Err(error) => {
                tracing::error!(session, error = %super::Chain(&error), "ask for approval");
                let refusal = Refusal {
                    kind: RefusalKind::Unavailable,
                    rule: Some(held.rule().clone()),
                    message: format!("the command needs an approval and none can be asked for: {error}"),
                    hint: "try again later; nothing was run".to_owned(),
                };
                Asked { held, refusal: Some(refusal) }
            }
        }
    }
}

/// Most characters of an estimate.
const ESTIMATE_CHARACTERS: usize = 4_096;
