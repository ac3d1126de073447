//! Requests that were answered a moment ago, for clients that ask twice.
//!
//! kubectl asks for an `exec` over a WebSocket, and takes any no for a gateway that speaks none: it asks again over SPDY,
//! at once and on another connection. That is not somebody who has thought about it, so nobody is asked anew.

use crate::control::requests::{end, is_alike, is_all_of, is_expired};
use async_trait::async_trait;
use crds::v1alpha1::ApprovalRequest;
use crds::v1alpha1::conditions::{DENIED, EXPIRED};
use jiff::{SignedDuration, Timestamp};
use proxy_core::approval::{ApprovalError, Outcome, Pending, Question};

/// How long an answer stands for a second try. What comes later was meant.
const STANDS: SignedDuration = SignedDuration::from_secs(30);

/// A request that said no.
#[derive(Debug)]
pub(in crate::control) struct Answered {
    name: String,
    uid: String,
    outcome: Outcome,
}

impl Answered {
    /// The answer that a request is to a question, if this is a second try. An approval never is one.
    pub(in crate::control) fn by(
        request: &ApprovalRequest,
        question: &Question,
        now: Timestamp,
    ) -> Option<Self> {
        let is_asked = question.is_second_try
            && is_alike(request, question)
            && is_all_of(question, &request.spec.command);
        if !is_asked {
            return None;
        }
        let (outcome, at) = no(request, now)?;
        let metadata = &request.metadata;
        (now.duration_since(at) <= STANDS).then(|| Self {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            outcome,
        })
    }
}

/// How a request ended that nobody consumed or withdrew, and when.
fn no(request: &ApprovalRequest, now: Timestamp) -> Option<(Outcome, Timestamp)> {
    let Some(condition) = end(request) else {
        let at = request.spec.expires_at.parse().ok()?;
        return is_expired(&request.spec, now).then_some((Outcome::Expired, at));
    };
    let at = condition.last_transition_time.0;
    match condition.type_.as_str() {
        DENIED => Some((Outcome::Denied { approver: condition.message.clone() }, at)),
        EXPIRED => Some((Outcome::Expired, at)),
        _ => None,
    }
}

#[async_trait]
impl Pending for Answered {
    fn name(&self) -> &str {
        &self.name
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    async fn outcome(&mut self) -> Result<Outcome, ApprovalError> {
        Ok(self.outcome.clone())
    }
}
