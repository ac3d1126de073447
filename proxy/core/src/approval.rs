//! The question that a held command asks, and its outcomes. Where it is asked is a control plane's business.

mod gather;

pub use gather::Gathering;

use async_trait::async_trait;
use proxy_policy::{ApprovalTerms, Identity, OnDisconnect, RuleRef};
use std::fmt;
use std::sync::Arc;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Resource of the command.
    pub resource: String,
    /// Who asks.
    pub requester: Arc<Identity>,
    /// Session of the command.
    pub session: String,
    /// Number of the command within its session.
    pub number: u64,
    /// Protocol of the resource.
    pub protocol: &'static str,
    /// One short line.
    pub summary: String,
    /// The command, literals masked and detectors run.
    pub text: String,
    /// Its effects, one line each.
    pub effects: Vec<String>,
    /// Keyed digest of the exact command and what binds it.
    pub digest: String,
    /// Keyed digest of the canonical effect.
    pub effect_digest: String,
    /// Sent inside a transaction.
    pub in_transaction: bool,
    /// What is known of what it would do, masked. Several lines.
    pub estimate: Option<String>,
    /// The commands, where it is about several. Empty: it is about one.
    pub members: Vec<Member>,
    /// Questions of a session and rule that name the same burst and come together may be asked as one. `None`: it is
    /// asked by itself.
    pub burst: Option<String>,
    /// The client may have been told no a moment ago, and try again by itself in another way: that no then stands.
    pub is_second_try: bool,
    /// Its client does not wait to the end: it is told to repeat the command ([`Pending::leave`]), and that may claim the
    /// approval until it expires, whatever the terms say of clients that go away.
    pub is_repeatable: bool,
    /// The rule that holds it.
    pub rule: RuleRef,
    /// The terms.
    pub terms: ApprovalTerms,
}

impl Question {
    /// Whether a repetition of the command may claim the approval when nobody waits for it.
    pub fn is_claimable(&self) -> bool {
        self.is_repeatable || self.stays()
    }

    /// Whether the request stays open when the client goes away.
    pub fn stays(&self) -> bool {
        self.terms.on_disconnect == OnDisconnect::Claimable
    }
}

/// One of several commands that are asked about together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// One short line, masked.
    pub summary: String,
    /// Keyed digest of the exact command and what binds it.
    pub digest: String,
    /// Keyed digest of the canonical effect.
    pub effect_digest: String,
}

/// How a question ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Enough approvers agreed, and this gateway consumed the approval: nobody else can.
    Approved {
        /// `name (group): reason`, one per approver.
        approvers: Vec<String>,
    },
    /// An approver refused.
    Denied {
        /// `name (group): reason`.
        approver: String,
    },
    /// Nobody decided in time.
    Expired,
    /// The request vanished, was withdrawn elsewhere, or was already consumed.
    Withdrawn,
}

/// Why a question could not be asked or followed. The command does not run.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct ApprovalError {
    /// What failed: "write approval request".
    pub step: String,
    /// Because of.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Asks people.
#[async_trait]
pub trait Approvals: Send + Sync + fmt::Debug {
    /// Creates the request, or joins an approved one that this question may claim (same identity, resource, rule
    /// and effect digest, claimable, not consumed, not expired). A second try gets the answer of the first.
    ///
    /// # Errors
    /// The store is not there, or the identity has too many open requests.
    async fn ask(&self, question: Question) -> Result<Box<dyn Pending>, ApprovalError>;
}

/// A request that waits. Dropping it withdraws it (or leaves it, where the terms say `Claimable`), within a second.
#[async_trait]
pub trait Pending: Send + Sync + fmt::Debug {
    /// Name of the ApprovalRequest, for the client and the record.
    fn name(&self) -> &str;
    /// Its UID.
    fn uid(&self) -> &str;
    /// How it is decided, for the client.
    fn advice(&self) -> String {
        format!("decide with: portcullis approve {0}, or: portcullis deny {0}", self.name())
    }
    /// The client was told to repeat its command: dropping this leaves the request open, for that to claim. For
    /// questions that are repeatable; does nothing where dropping withdraws nothing.
    fn leave(&mut self) {}
    /// Waits no longer: from here on no approval is consumed. One that may be being consumed at this moment is not let
    /// go of, for that would lose it: this waits for what comes of it, and gives that if it is an end.
    ///
    /// Cancel safe, but an approval that is being consumed then may be lost.
    async fn stop(&mut self) -> Option<Result<Outcome, ApprovalError>> {
        None
    }
    /// Waits for the end. An approval is consumed before this returns it: it is returned once.
    ///
    /// Cancel safe until it returns.
    ///
    /// # Errors
    /// The store was lost; nothing was approved.
    async fn outcome(&mut self) -> Result<Outcome, ApprovalError>;
}
