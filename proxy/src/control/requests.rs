//! What an `ApprovalRequest` says, wherever it is kept: how it begins, which repetition it is good for, and how it ended.

use crds::v1alpha1::conditions::{CONSUMED, DENIED, EXPIRED, WITHDRAWN};
use crds::v1alpha1::{
    ApprovalRequest, ApprovalRequestSpec, HeldCommand, HeldMember, OnDisconnect, PolicyRef, Requester,
    ResourceRef, TransactionState,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use proxy_core::approval::{ApprovalError, Member, Question};
use proxy_core::authn::recorded_claims;

/// Most open requests of one identity: more are no questions any more, and nobody would read them.
pub(in crate::control) const OPEN_PER_IDENTITY: usize = 20;
/// Longest summary, in characters.
const MAX_SUMMARY: usize = 256;
/// Longest text, in characters.
const MAX_TEXT: usize = 16 * 1024;
/// Most effects and groups.
const MAX_LINES: usize = 256;
/// Most commands of one request; a gateway asks about no more at once.
const MAX_MEMBERS: usize = 128;
/// Longest effect or group, in characters.
const MAX_LINE: usize = 1024;
/// Longest part of a name that comes from the Resource; with its suffix the name is a DNS label.
const MAX_STEM: usize = 50;

/// Whether an approval of this request would be one of the question too: asked by the same identity, held by the same
/// rule under the same terms, and with the same effect; the very same command unless it is `Claimable`.
pub(in crate::control) fn is_good_for(request: &ApprovalRequest, question: &Question) -> bool {
    let spec = &request.spec;
    is_alike(request, question)
        && (spec.on_disconnect == OnDisconnect::Claimable || spec.command.digest == question.digest)
}

/// Whether the same is asked by the same identity under the same rule and terms, in whatever words.
pub(in crate::control) fn is_alike(request: &ApprovalRequest, question: &Question) -> bool {
    let spec = &request.spec;
    let (command, rule) = (&spec.command, &spec.policy_ref);
    same_identity(request, question)
        && spec.resource_ref.name == question.resource
        && command.protocol == question.protocol
        && is_part_of(question, command)
        && (rule.name.as_str(), rule.rule.as_str()) == (&*question.rule.policy, &*question.rule.rule)
        && rule.generation == question.rule.generation
        // An approval under weaker terms than today's is worth nothing today.
        && spec.reviewers == question.terms.reviewers
        && spec.on_disconnect == on_disconnect(question)
}

/// Whether everything that is asked is among what was asked before, each as often.
fn is_part_of(question: &Question, command: &HeldCommand) -> bool {
    if is_all_of(question, command) {
        return true;
    }
    let mut listed: Vec<&str> = command.members.iter().map(|member| member.effect_digest.as_str()).collect();
    let mut take = |digest: &str| {
        let found = listed.iter().position(|one| *one == digest);
        found.map(|at| listed.swap_remove(at)).is_some()
    };
    if question.members.is_empty() {
        return take(&question.effect_digest);
    }
    question.members.iter().all(|member| take(&member.effect_digest))
}

/// Whether the very same is asked as before. While somebody waits, nobody else joins: a part of a burst would consume
/// the approval of all of it.
pub(in crate::control) fn is_all_of(question: &Question, command: &HeldCommand) -> bool {
    command.effect_digest == question.effect_digest
}

/// Whether the same identity asks.
pub(in crate::control) fn same_identity(request: &ApprovalRequest, question: &Question) -> bool {
    let (requester, identity) = (&request.spec.requester, &question.requester);
    requester.issuer == identity.issuer && requester.subject == identity.subject
}

/// The refusal of one more request.
pub(in crate::control) fn too_many(question: &Question, open: usize) -> ApprovalError {
    let name = &question.requester.username;
    let step = format!("{name} has {open} open approval requests, the most allowed");
    ApprovalError { step, source: None }
}

/// A failure of the store.
pub(in crate::control) fn failed(
    step: impl Into<String>,
    source: impl std::error::Error + Send + Sync + 'static,
) -> ApprovalError {
    ApprovalError { step: step.into(), source: Some(Box::new(source)) }
}

/// The condition that ended a request.
pub(in crate::control) fn end(request: &ApprovalRequest) -> Option<&Condition> {
    let conditions = &request.status.as_ref()?.conditions;
    conditions.iter().find(|condition| {
        condition.status == "True"
            && [CONSUMED, DENIED, EXPIRED, WITHDRAWN].contains(&condition.type_.as_str())
    })
}

/// Neither ended nor expired.
pub(in crate::control) fn is_open(request: &ApprovalRequest, now: Timestamp) -> bool {
    end(request).is_none() && !is_expired(&request.spec, now)
}

/// Whether its time is up. A time that cannot be read has passed.
pub(in crate::control) fn is_expired(spec: &ApprovalRequestSpec, now: Timestamp) -> bool {
    spec.expires_at.parse::<Timestamp>().map_or(true, |expires_at| expires_at <= now)
}

pub(in crate::control) fn condition(kind: &str, reason: &str, message: &str, now: Timestamp) -> Condition {
    Condition {
        last_transition_time: Time(now),
        message: message.to_owned(),
        observed_generation: None,
        reason: reason.to_owned(),
        status: "True".to_owned(),
        type_: kind.to_owned(),
    }
}

/// The request that a question becomes, without the UID that its store gives it.
pub(in crate::control) fn new_request(
    question: &Question,
    now: Timestamp,
) -> Result<ApprovalRequest, jiff::Error> {
    let timeout = SignedDuration::try_from(question.terms.timeout)?;
    let expires_at = now.checked_add(timeout)?;
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
        on_disconnect: on_disconnect(question),
        decisions: Vec::new(),
    };
    Ok(ApprovalRequest::new(&new_name(&question.resource), spec))
}

/// What the request says: an approval that a repetition may claim is claimable, whatever becomes of the request when the
/// client goes away before it was told to repeat the command. The gateway that asked knows that.
fn on_disconnect(question: &Question) -> OnDisconnect {
    if question.is_claimable() { OnDisconnect::Claimable } else { OnDisconnect::Withdraw }
}

fn requester(question: &Question) -> Requester {
    let identity = &question.requester;
    Requester {
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        username: identity.username.clone(),
        groups: lines(&identity.groups),
        claims: recorded_claims(identity).into_iter().collect(),
    }
}

fn command(question: &Question) -> HeldCommand {
    HeldCommand {
        protocol: question.protocol.to_owned(),
        summary: one_line(&question.summary),
        text: question.text.chars().take(MAX_TEXT).collect(),
        effects: lines(&question.effects),
        digest: question.digest.clone(),
        effect_digest: question.effect_digest.clone(),
        transaction: if question.in_transaction {
            TransactionState::InTransaction
        } else {
            TransactionState::Idle
        },
        estimate: question.estimate.as_ref().map(|text| text.chars().take(MAX_TEXT).collect()),
        members: question.members.iter().take(MAX_MEMBERS).map(member).collect(),
    }
}

fn member(member: &Member) -> HeldMember {
    HeldMember {
        summary: one_line(&member.summary),
        digest: member.digest.clone(),
        effect_digest: member.effect_digest.clone(),
    }
}

fn one_line(summary: &str) -> String {
    let on_a_line = |c: char| if c.is_control() { ' ' } else { c };
    summary.chars().map(on_a_line).take(MAX_SUMMARY).collect()
}

fn lines(all: &[String]) -> Vec<String> {
    all.iter().take(MAX_LINES).map(|line| line.chars().take(MAX_LINE).collect()).collect()
}

/// `<resource>-<6 random characters>`: a DNS label (RFC 1123), short enough to type.
pub(in crate::control) fn new_name(resource: &str) -> String {
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

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_dns_labels_whatever_the_resource_is_called() {
        for resource in ["orders", "Orders_DB", "--", "", "../../etc/passwd", &"x".repeat(300), "größe"] {
            let name = super::new_name(resource);
            let first = name.chars().next().unwrap();
            assert!(name.len() <= 63 && first.is_ascii_alphanumeric(), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
        }
    }
}
