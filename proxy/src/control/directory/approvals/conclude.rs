//! How a request begins and ends in its file.

use super::Shared;
use super::file::Lock;
use crds::v1alpha1::conditions::{APPROVED, CONSUMED, DENIED, EXPIRED, WITHDRAWN};
use crds::v1alpha1::{
    ApprovalRequest, ApprovalRequestSpec, HeldCommand, PolicyRef, Requester, ResourceRef, TransactionState,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use proxy_core::approval::{Outcome, Question};
use proxy_core::authn::recorded_claims;
use proxy_policy::approval::{Settled, settle};
use std::io;

/// Longest summary, in characters.
const MAX_SUMMARY: usize = 256;
/// Longest text, in characters.
const MAX_TEXT: usize = 16 * 1024;
/// Most effects and groups.
const MAX_LINES: usize = 256;
/// Longest part of a name that comes from the Resource; with its suffix the name is a DNS label.
const MAX_STEM: usize = 50;

impl Shared {
    /// Ends a request if it has come to its end, and says how. `None`: it has not.
    ///
    /// Reads the file again under the lock, so that of several who see an approval one consumes it.
    pub(super) fn conclude(
        &self,
        name: &str,
        uid: &str,
        before: &ApprovalRequestSpec,
        now: Timestamp,
    ) -> io::Result<Option<Outcome>> {
        let lock = self.directory.lock()?;
        let mut request = self.directory.read(name)?;
        if let Some(outcome) = ended(&request, uid) {
            return Ok(Some(outcome));
        }
        let (outcome, conditions) = match settle(before, &request.spec, now) {
            Settled::Pending { .. } => return Ok(None),
            Settled::Approved { approvers } => {
                if !self.directory.consume(&lock, uid)? {
                    return Ok(Some(Outcome::Withdrawn));
                }
                let conditions = approved(&approvers, now);
                (Outcome::Approved { approvers }, conditions)
            }
            Settled::Denied { approver } => {
                let condition = condition(DENIED, "Denied", &approver, now);
                (Outcome::Denied { approver }, vec![condition])
            }
            Settled::Expired => {
                let condition = condition(EXPIRED, "NobodyDecided", "nobody decided in time", now);
                (Outcome::Expired, vec![condition])
            }
            Settled::Void { why } => {
                tracing::warn!(request = name, why, "approval request is void");
                (Outcome::Withdrawn, vec![condition(WITHDRAWN, "Changed", why, now)])
            }
        };
        if let Err(error) = self.write_status(&lock, &mut request, conditions) {
            // The end stands: what ends it is in `.consumed`, in its decisions or in the past.
            tracing::warn!(request = name, %error, "cannot write the status of an approval request");
        }
        Ok(Some(outcome))
    }

    /// Withdraws a request that nobody waits for any more.
    pub(super) fn withdraw(&self, name: &str, uid: &str) -> io::Result<()> {
        let lock = self.directory.lock()?;
        let mut request = self.directory.read(name)?;
        // Somebody may have joined, or it may have ended, while this waited for the lock.
        if self.is_awaited(uid) || ended(&request, uid).is_some() || self.directory.is_consumed(uid)? {
            return Ok(());
        }
        let condition = condition(
            WITHDRAWN,
            "ClientGone",
            "the client that waited went away or cancelled",
            Timestamp::now(),
        );
        self.write_status(&lock, &mut request, vec![condition])
    }

    /// Gives a request that has none the status it has come to while nobody waited.
    pub(super) fn catch_up(&self, name: &str, now: Timestamp) -> io::Result<()> {
        let lock = self.directory.lock()?;
        let mut request = self.directory.read(name)?;
        let uid = request.metadata.uid.clone().unwrap_or_default();
        if ended(&request, &uid).is_some() || self.is_awaited(&uid) {
            return Ok(());
        }
        let conditions = if self.directory.is_consumed(&uid)? {
            // Its gateway died between consuming it and saying so.
            approved(&[], now)
        } else if is_expired(&request.spec, now) {
            vec![condition(EXPIRED, "NobodyDecided", "nobody decided in time", now)]
        } else {
            return Ok(());
        };
        self.write_status(&lock, &mut request, conditions)
    }

    fn write_status(
        &self,
        lock: &Lock,
        request: &mut ApprovalRequest,
        conditions: Vec<Condition>,
    ) -> io::Result<()> {
        request.status.get_or_insert_default().conditions = conditions;
        self.directory.replace(lock, request)
    }
}

/// How a request ended by its own account; it is another one if the UID differs. `Approved` alone is not an end.
pub(super) fn ended(request: &ApprovalRequest, uid: &str) -> Option<Outcome> {
    if request.metadata.uid.as_deref() != Some(uid) {
        return Some(Outcome::Withdrawn);
    }
    let condition = end(request)?;
    Some(match condition.type_.as_str() {
        DENIED => Outcome::Denied { approver: condition.message.clone() },
        EXPIRED => Outcome::Expired,
        _ => Outcome::Withdrawn,
    })
}

/// The condition that ended a request.
pub(super) fn end(request: &ApprovalRequest) -> Option<&Condition> {
    let conditions = &request.status.as_ref()?.conditions;
    conditions.iter().find(|condition| {
        condition.status == "True"
            && [CONSUMED, DENIED, EXPIRED, WITHDRAWN].contains(&condition.type_.as_str())
    })
}

/// Neither ended nor expired.
pub(super) fn is_open(request: &ApprovalRequest, now: Timestamp) -> bool {
    end(request).is_none() && !is_expired(&request.spec, now)
}

/// A time that cannot be read has passed.
fn is_expired(spec: &ApprovalRequestSpec, now: Timestamp) -> bool {
    spec.expires_at.parse::<Timestamp>().map_or(true, |expires_at| expires_at <= now)
}

fn approved(approvers: &[String], now: Timestamp) -> Vec<Condition> {
    vec![
        condition(APPROVED, "EnoughApprovers", &approvers.join("; "), now),
        condition(CONSUMED, "Released", "the command was released to run", now),
    ]
}

fn condition(kind: &str, reason: &str, message: &str, now: Timestamp) -> Condition {
    Condition {
        last_transition_time: Time(now),
        message: message.to_owned(),
        observed_generation: None,
        reason: reason.to_owned(),
        status: "True".to_owned(),
        type_: kind.to_owned(),
    }
}

/// The request that a question becomes.
pub(super) fn new_request(question: &Question, now: Timestamp) -> io::Result<ApprovalRequest> {
    let timeout = SignedDuration::try_from(question.terms.timeout).map_err(io::Error::other)?;
    let expires_at = now.checked_add(timeout).map_err(io::Error::other)?;
    let spec = ApprovalRequestSpec {
        resource_ref: ResourceRef { name: question.resource.clone(), uid: None },
        requester: requester(question),
        session: question.session.clone(),
        command: command(question),
        policy_ref: PolicyRef {
            name: question.rule.policy.clone(),
            generation: question.rule.generation,
            rule: question.rule.rule.clone(),
        },
        reviewers: question.terms.reviewers.clone(),
        expires_at: format!("{expires_at:.3}"),
        on_disconnect: question.terms.on_disconnect,
        decisions: Vec::new(),
    };
    let mut request = ApprovalRequest::new(&new_name(&question.resource), spec);
    request.metadata.uid = Some(uuid::Uuid::new_v4().to_string());
    request.metadata.creation_timestamp = Some(Time(now));
    Ok(request)
}

fn requester(question: &Question) -> Requester {
    let identity = &question.requester;
    Requester {
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        username: identity.username.clone(),
        groups: identity.groups.iter().take(MAX_LINES).cloned().collect(),
        claims: recorded_claims(identity).into_iter().collect(),
    }
}

fn command(question: &Question) -> HeldCommand {
    let one_line = |c: char| if c.is_control() { ' ' } else { c };
    HeldCommand {
        protocol: question.protocol.to_owned(),
        summary: question.summary.chars().map(one_line).take(MAX_SUMMARY).collect(),
        text: question.text.chars().take(MAX_TEXT).collect(),
        effects: question.effects.iter().take(MAX_LINES).cloned().collect(),
        digest: question.digest.clone(),
        effect_digest: question.effect_digest.clone(),
        transaction: if question.in_transaction {
            TransactionState::InTransaction
        } else {
            TransactionState::Idle
        },
        estimate: None,
    }
}

/// `<resource>-<6 random characters>`: a DNS label (RFC 1123), short enough to type.
pub(super) fn new_name(resource: &str) -> String {
    /// Without letters and digits that look alike.
    const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let label = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let stem: String = resource.chars().map(label).take(MAX_STEM).collect();
    let stem = match stem.trim_matches('-') {
        "" => "request",
        stem => stem,
    };
    let suffix: String = rand::random::<[u8; 6]>()
        .into_iter()
        .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from))
        .collect();
    format!("{stem}-{suffix}")
}
