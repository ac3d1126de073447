//! A command that waits for an approval.

use super::record::Facts;
use crate::approval::{ApprovalError, Outcome, Pending, Question};
use crate::refusal::{Refusal, RefusalKind};
use proxy_policy::{ApprovalTerms, Command, RuleRef};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A command that waits. Give it to `Gate::resume` with its outcome, or to `Gate::withdraw`.
#[derive(Debug)]
pub struct Held {
    number: u64,
    command: Arc<Command>,
    rule: RuleRef,
    terms: ApprovalTerms,
    message: String,
    since: Instant,
    pending: Option<Box<dyn Pending>>,
    /// What approvers are told that it would do.
    estimate: Option<String>,
}

/// What the client is told while it waits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// One sentence: held by which rule, waiting for which request.
    pub message: String,
    /// How it is decided, and when it expires.
    pub hint: String,
}

impl Held {
    pub(super) fn new(
        number: u64,
        command: Arc<Command>,
        rule: RuleRef,
        terms: ApprovalTerms,
        message: String,
    ) -> Self {
        Self { number, command, rule, terms, message, since: Instant::now(), pending: None, estimate: None }
    }

    pub(super) fn attach(&mut self, pending: Box<dyn Pending>) {
        self.pending = Some(pending);
    }

    pub(super) fn estimate(&self) -> Option<&str> {
        self.estimate.as_deref()
    }

    pub(super) fn set_estimate(&mut self, estimate: String) {
        self.estimate = Some(estimate);
    }

    pub(super) fn question(&self, facts: &Facts<'_>, in_transaction: bool) -> Question {
        let mut summary: String = facts.text().chars().take(SUMMARY_CHARACTERS).collect();
        if summary.is_empty() {
            summary.push_str(&self.command.reading.operation);
        }
        Question {
            resource: facts.resource.name.clone(),
            requester: Arc::clone(facts.session.identity.identity()),
            session: facts.session.id.clone(),
            number: self.number,
            protocol: facts.resource.protocol,
            summary,
            text: facts.text(),
            effects: facts.effects(),
            digest: facts.digest(),
            effect_digest: facts.effect_digest(),
            in_transaction,
            estimate: None,
            members: Vec::new(),
            burst: None,
            is_second_try: false,
            is_repeatable: false,
            rule: self.rule.clone(),
            terms: self.terms.clone(),
        }
    }

    /// Waits for the end of the request. An approval it returns is consumed.
    ///
    /// Cancel safe until it returns.
    ///
    /// # Errors
    /// The approval store was lost; nothing was approved.
    pub async fn outcome(&mut self) -> Result<Outcome, ApprovalError> {
        match &mut self.pending {
            Some(pending) => pending.outcome().await,
            None => Err(ApprovalError { step: "follow approval request".to_owned(), source: None }),
        }
    }

    /// What to tell the client; at the start, and again from time to time so that it knows it waits.
    pub fn notice(&self) -> Notice {
        let left = self.terms.timeout.saturating_sub(self.waited()).as_secs();
        let mut hint = self.pending.as_ref().map(|pending| pending.advice()).unwrap_or_default();
        write!(hint, "; it expires in {left} s").unwrap_or_default();
        Notice { message: format!("{}; waiting for approval {}", self.message, self.name()), hint }
    }

    /// Name of the ApprovalRequest.
    pub fn name(&self) -> &str {
        self.pending.as_ref().map_or("", |pending| pending.name())
    }

    pub(super) fn uid(&self) -> &str {
        self.pending.as_ref().map_or("", |pending| pending.uid())
    }

    /// Number of the command within its session.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The command.
    pub const fn command(&self) -> &Arc<Command> {
        &self.command
    }

    /// How long it waits at most, from the moment it was asked.
    pub const fn timeout(&self) -> Duration {
        self.terms.timeout
    }

    /// Waits no longer. `None`: no approval is consumed from here on, and the client may be told to repeat the command;
    /// otherwise how the request has ended already, or was just ending. For what was asked about as
    /// [repeatable](super::Unasked::as_repeatable): of a burst the others wait in vain after that.
    ///
    /// Cancel safe, but an approval that is being consumed then may be lost.
    pub async fn stop(&mut self) -> Option<Result<Outcome, ApprovalError>> {
        match &mut self.pending {
            Some(pending) => pending.stop().await,
            None => None,
        }
    }

    /// Leaves its request open when this is dropped: the client is told to repeat the command.
    pub(super) fn leave(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.leave();
        }
    }

    pub(super) const fn rule(&self) -> &RuleRef {
        &self.rule
    }

    pub(super) const fn terms(&self) -> &ApprovalTerms {
        &self.terms
    }

    pub(super) fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    pub(super) fn into_command(self) -> Arc<Command> {
        self.command
    }

    /// What the client is told if the request did not end in an approval.
    pub(super) fn refusal(&self, outcome: &Result<Outcome, ApprovalError>) -> Option<Refusal> {
        let name = self.name();
        let again = "send the command again to ask anew";
        let (kind, message, hint) = match outcome {
            Ok(Outcome::Approved { .. }) => return None,
            Ok(Outcome::Denied { approver }) => (
                RefusalKind::ApprovalDenied,
                format!("approval {name} was denied by {approver}"),
                "do not send it again without talking to the approver",
            ),
            Ok(Outcome::Expired) => {
                (RefusalKind::ApprovalExpired, format!("approval {name} expired undecided"), again)
            }
            Ok(Outcome::Withdrawn) => {
                (RefusalKind::Withdrawn, format!("approval {name} was withdrawn"), again)
            }
            Err(error) => (RefusalKind::Unavailable, lost(name, error), "try again later; nothing was run"),
        };
        Some(Refusal { kind, rule: Some(self.rule.clone()), message, hint: hint.to_owned() })
    }
}

/// The store is gone: that is for whoever runs the gateway, so it is logged here.
fn lost(name: &str, error: &ApprovalError) -> String {
    tracing::error!(request = name, error = %super::Chain(error), "follow approval request");
    format!("approval {name} cannot be followed: {error}")
}

/// A line of a list.
const SUMMARY_CHARACTERS: usize = 120;
