//! The audit events of a session, built from what the gate knows.

use super::held::Held;
use super::judgement::{Judgement, Said};
use super::permit::{End, EndKind};
use crate::approval::{ApprovalError, Outcome};
use crate::authn::recorded_claims;
use crate::mask::{MaskCounts, Masker};
use crate::refusal::Refusal;
use crate::session::{ResourceContext, Session, Status, Wording};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use proxy_audit::event::key;
use proxy_audit::{Common, Event, EventName, SessionStamp, Severity, Value};
use proxy_policy::{Command, Effects, Observed, PolicySet, Reading, RuleRef, Touch};
use sha2::Sha256;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of a command when it is judged.
pub(super) struct Facts<'a> {
    pub(super) number: u64,
    pub(super) command: &'a Command,
    pub(super) session: &'a Session,
    pub(super) resource: &'a ResourceContext,
    pub(super) masker: &'a Masker,
    /// The set of policies, where the session has not named it yet.
    pub(super) news: Option<&'a PolicySet>,
}

/// Counts of a session, for its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    verdicts: BTreeMap<&'static str, u64>,
    bytes: u64,
    masked: u64,
}

impl Totals {
    pub(super) fn count(&mut self, verdict: &'static str) {
        let count = self.verdicts.entry(verdict).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn add(&mut self, bytes: u64, masked: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.masked = self.masked.saturating_add(masked);
    }
}

impl Facts<'_> {
    pub(super) fn text(&self) -> String {
        shown_text(self.command, self.masker)
    }

    pub(super) fn effects(&self) -> Vec<String> {
        shown_effects(self.command, self.masker)
    }

    /// Keyed digest of the exact command and of what binds its meaning.
    pub(super) fn digest(&self) -> String {
        let mut parts = vec![&*self.command.text, &self.command.role, &self.command.namespace];
        for (name, value) in &self.command.binding {
            parts.extend([&**name, &**value]);
        }
        keyed_digest(self.resource.tenant_key.expose(), "command", &parts)
    }

    /// Keyed digest of what the command does, so that a repetition can claim an approval.
    pub(super) fn effect_digest(&self) -> String {
        let parts = [self.command.canonical.as_str(), &self.command.role, &self.command.namespace];
        keyed_digest(self.resource.tenant_key.expose(), "effect", &parts)
    }
}

/// The text for records and approvals: literals replaced, detectors run, bounded.
fn shown_text(command: &Command, masker: &Masker) -> String {
    let mut counts = MaskCounts::default();
    let Reading { masked_text, beside, .. } = &*command.reading;
    let whole =
        if beside.is_empty() { masked_text.clone() } else { format!("{masked_text} (with {beside})") };
    let hidden = masker.text(whole.as_bytes(), &mut counts);
    let text = String::from_utf8_lossy(&hidden);
    match text.char_indices().nth(TEXT_CHARACTERS) {
        None => text.into_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
    }
}

fn shown_effects(command: &Command, masker: &Masker) -> Vec<String> {
    let (why, touches) = match &command.reading.effects {
        Effects::Known(touches) => (None, touches),
        Effects::Unknown { why, touches } => (Some(format!("Unknown: {why}")), touches),
    };
    let shown = touches.iter().map(Touch::to_string).take(EFFECTS);
    shown.chain(why).map(|line| mask_line(masker, line)).collect()
}

/// The attributes of every record of a session.
pub(super) fn stamp(session: &Session, resource: &ResourceContext, masker: &Masker) -> SessionStamp {
    let identity = session.identity.identity();
    let mut attributes: Vec<(Cow<'static, str>, Value)> = vec![
        (key::SESSION_ID.into(), session.id.as_str().into()),
        (key::USER_ID.into(), identity.id().into()),
        (key::USER_NAME.into(), identity.username.as_str().into()),
        (key::USER_ROLES.into(), identity.groups.clone().into()),
        (key::RESOURCE_NAMESPACE.into(), resource.namespace.as_str().into()),
        (key::RESOURCE_NAME.into(), resource.name.as_str().into()),
        (key::RESOURCE_PROTOCOL.into(), resource.protocol.into()),
        (key::ROLE.into(), session.role.as_str().into()),
    ];
    if let Some(key) = resource.wording.namespace {
        attributes.push((key.into(), session.namespace.as_str().into()));
    }
    for (name, value) in recorded_claims(identity) {
        if name == TOKEN_ID {
            continue;
        }
        attributes.push((format!("{}{name}", key::CLAIM_PREFIX).into(), mask_line(masker, value).into()));
    }
    SessionStamp::new(attributes)
}

/// What is said once, because every record of the session would say the same and no question is asked by it.
pub(super) fn session_start(
    session: &Session,
    resource: &ResourceContext,
    policies: &PolicySet,
    masker: &Masker,
) -> Event {
    let identity = session.identity.identity();
    let body = format!("{} opened a session as {}", identity.username, session.role);
    let event = Event::new(EventName::SessionStart, Severity::Info, body)
        .with(key::CLIENT_ADDRESS, session.client.ip().to_string())
        .with(key::CLIENT_PORT, i64::from(session.client.port()))
        .with(key::CLIENT_NAME, mask_line(masker, session.client_name.clone()))
        .with(key::TRANSPORT, session.transport.as_str())
        .with(key::TOKEN_EXPIRES, session.identity.expires_at().to_string())
        .with(key::PROXY_INSTANCE, resource.instance.as_str())
        .with(key::POLICY_DIGEST, policies.digest());
    match recorded_claims(identity).into_iter().find(|(name, _)| name == TOKEN_ID) {
        Some((_, id)) => event.with(key::TOKEN_ID, mask_line(masker, id)),
        None => event,
    }
}

pub(super) fn session_end(reason: &'static str, commands: u64, totals: &Totals) -> Event {
    let verdicts =
        totals.verdicts.iter().map(|(verdict, count)| format!("{verdict} {count}")).collect::<Vec<_>>();
    Event::new(EventName::SessionEnd, Severity::Info, format!("session ended: {reason}"))
        .with(key::REASON, reason)
        .with(key::COMMANDS, commands)
        .with(key::VERDICTS, verdicts)
        .with(key::BYTES, totals.bytes)
        .with(key::MASKED_COUNT, totals.masked)
}

/// What the client was told: the rule's author may have quoted the command, so it is masked as that is.
fn told(refusal: &Refusal, masker: &Masker) -> [(&'static str, Value); 3] {
    let text = |text: &String| Value::from(mask_line(masker, text.clone()));
    [
        (key::REFUSAL_KIND, refusal.kind.word().into()),
        (key::REFUSAL_MESSAGE, text(&refusal.message)),
        (key::REFUSAL_HINT, text(&refusal.hint)),
    ]
}

/// What the records of all statements with one reading and one verdict say alike.
pub(super) fn common(
    command: &Command,
    said: &Said,
    observed: &[Observed],
    masker: &Masker,
    wording: Wording,
) -> Common {
    let rule = said.rule();
    let mut attributes: Vec<(&'static str, Value)> = vec![
        (wording.operation, command.reading.operation.as_str().into()),
        (wording.text, shown_text(command, masker).into()),
        (key::EFFECTS, shown_effects(command, masker).into()),
        (key::VERDICT, said.word().into()),
        (key::POLICY_NAME, rule.policy.as_str().into()),
        (key::POLICY_GENERATION, rule.generation.into()),
        (key::RULE, rule.rule.as_str().into()),
    ];
    let subject = command.reading.subject.iter();
    attributes.extend(subject.map(|(key, value)| (*key, mask_line(masker, value.clone()).into())));
    if let Said::Deny { refusal, .. } = said {
        attributes.extend(told(refusal, masker));
    }
    if !observed.is_empty() {
        let observed =
            observed.iter().map(|one| format!("{} {}/{}", one.verdict, one.rule.policy, one.rule.rule));
        attributes.push((key::OBSERVED, observed.collect::<Vec<_>>().into()));
    }
    Common::new(attributes)
}

pub(super) fn statement(facts: &Facts<'_>, judgement: &Judgement) -> Event {
    let severity = match &judgement.said {
        Said::Allow(_) => Severity::Info,
        Said::Deny { .. } | Said::Hold { .. } => Severity::Warn,
    };
    let body = format!("{}: {}", judgement.said.word(), facts.command.reading.operation);
    let event = Event::new(EventName::Statement, severity, body)
        .with_common(judgement.common.clone())
        .with(key::COMMAND, facts.number)
        .with(key::DIGEST, facts.digest());
    let event = match facts.news {
        Some(policies) => event.with(key::POLICY_DIGEST, policies.digest()),
        None => event,
    };
    match &judgement.said {
        Said::Hold { .. } => event.with(key::EFFECT_DIGEST, facts.effect_digest()),
        Said::Allow(_) | Said::Deny { .. } => event,
    }
}

pub(super) fn asked(held: &Held) -> Event {
    let event = approval_event(held, Severity::Warn, "requested");
    match held.estimate() {
        Some(estimate) => event.with(key::APPROVAL_ESTIMATE, estimate),
        None => event,
    }
}

pub(super) fn withdrawn(held: &Held, reason: &str) -> Event {
    approval_event(held, Severity::Warn, "withdrawn").with(key::REASON, reason)
}

/// The client was told to repeat the command, whose request stays open.
pub(super) fn left(held: &Held) -> Event {
    approval_event(held, Severity::Warn, "left")
        .with(key::REASON, "the client was told to repeat the command once it is approved")
}

pub(super) fn approval(
    held: &Held,
    outcome: &Result<Outcome, ApprovalError>,
    refusal: Option<&Refusal>,
    masker: &Masker,
) -> Event {
    let (severity, verdict, approvers) = match outcome {
        Ok(Outcome::Approved { approvers }) => (Severity::Info, "approved", approvers.clone()),
        Ok(Outcome::Denied { approver }) => (Severity::Warn, "denied", vec![approver.clone()]),
        Ok(Outcome::Expired) => (Severity::Warn, "expired", Vec::new()),
        Ok(Outcome::Withdrawn) => (Severity::Warn, "withdrawn", Vec::new()),
        Err(_) => (Severity::Error, "lost", Vec::new()),
    };
    let waited = i64::try_from(held.waited().as_millis()).unwrap_or(i64::MAX);
    let event = approval_event(held, severity, verdict)
        .with(key::APPROVERS, approvers)
        .with(key::APPROVAL_WAIT_MS, waited);
    let told = refusal.into_iter().flat_map(|refusal| told(refusal, masker));
    told.fold(event, |event, (key, text)| event.with(key, text))
}

/// The end of a held command that nobody could be asked about, or that its approval did not release.
pub(super) fn refused(held: &Held, refusal: &Refusal, masker: &Masker) -> Event {
    let body = format!("refused: {}", held.command().reading.operation);
    let mut event = Event::new(EventName::Result, Severity::Warn, body)
        .with(key::COMMAND, held.number())
        .with(key::OUTCOME, "refused");
    if let Some(rule) = &refusal.rule {
        event = event
            .with(key::POLICY_NAME, rule.policy.as_str())
            .with(key::POLICY_GENERATION, rule.generation)
            .with(key::RULE, rule.rule.as_str());
    }
    told(refusal, masker).into_iter().fold(event, |event, (key, text)| event.with(key, text))
}

fn approval_event(held: &Held, severity: Severity, verdict: &'static str) -> Event {
    let rule = held.rule();
    Event::new(EventName::Approval, severity, format!("approval {} {verdict}", held.name()))
        .with(key::COMMAND, held.number())
        .with(key::APPROVAL_NAME, held.name())
        .with(key::APPROVAL_UID, held.uid())
        .with(key::APPROVAL_VERDICT, verdict)
        .with(key::POLICY_NAME, rule.policy.as_str())
        .with(key::POLICY_GENERATION, rule.generation)
        .with(key::RULE, rule.rule.as_str())
}

pub(super) fn chunk(number: u64, frames: Bytes) -> Event {
    Event::new(EventName::ResultChunk, Severity::Info, "part of a result")
        .with(key::COMMAND, number)
        .with(key::FRAMES, frames)
}

/// What is known of a result.
#[derive(Default)]
pub(super) struct ResultFacts<'a> {
    pub(super) number: u64,
    pub(super) rule: Option<&'a RuleRef>,
    pub(super) operation: &'a str,
    pub(super) end: End,
    pub(super) bytes: u64,
    pub(super) truncated: bool,
    pub(super) frames: Bytes,
    pub(super) duration: Duration,
}

pub(super) fn result(facts: ResultFacts<'_>, wording: Wording) -> Event {
    let (severity, outcome) = match facts.end.outcome {
        EndKind::Ok => (Severity::Info, "ok"),
        EndKind::Error => (Severity::Error, "error"),
        EndKind::Aborted => (Severity::Warn, "aborted"),
    };
    let duration = i64::try_from(facts.duration.as_micros()).unwrap_or(i64::MAX);
    let mut event = Event::new(EventName::Result, severity, format!("{outcome}: {}", facts.operation))
        .with(key::COMMAND, facts.number)
        .with(key::OUTCOME, outcome)
        .with(key::BYTES, facts.bytes)
        .with(key::DURATION_US, duration);
    if wording.rows {
        event = event.with(key::ROWS, facts.end.rows);
    }
    if let Some(rule) = facts.rule {
        event = event.with(key::RULE, rule.rule.as_str());
    }
    if let Some(code) = facts.end.status_code {
        event = match wording.status {
            Status::Text(key) => event.with(key, code),
            // one that is no number would be another kind of status
            Status::Number(key) => match code.parse::<i64>() {
                Ok(number) => event.with(key, number),
                Err(_) => event.with(key::REASON, code),
            },
        };
    }
    if facts.truncated {
        event = event.with(key::TRUNCATED, true);
    }
    if !facts.end.masked.0.is_empty() {
        let masked = facts.end.masked.0.iter().map(|(name, count)| format!("{name} ×{count}"));
        event = event.with(key::MASKED, masked.collect::<Vec<_>>());
    }
    if !facts.frames.is_empty() {
        event = event.with(key::FRAMES, facts.frames);
    }
    event
}

pub(super) fn mask_line(masker: &Masker, line: String) -> String {
    let mut counts = MaskCounts::default();
    match masker.text(line.as_bytes(), &mut counts) {
        Cow::Borrowed(_) => line,
        Cow::Owned(hidden) => String::from_utf8_lossy(&hidden).into_owned(),
    }
}

/// Keyed, so that a low-entropy literal cannot be guessed from the record (`standards`: never a plain digest).
fn keyed_digest(key: &[u8; 32], purpose: &str, parts: &[&str]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    for part in std::iter::once(&purpose).chain(parts) {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    const_hex::encode(mac.finalize().into_bytes())
}

/// The claim that names the token; see `key::TOKEN_ID`.
const TOKEN_ID: &str = "jti";
/// Keeps a record within one leaf of the log, whatever the statement's length.
const TEXT_CHARACTERS: usize = 8 * 1024;
/// As above.
const EFFECTS: usize = 64;
