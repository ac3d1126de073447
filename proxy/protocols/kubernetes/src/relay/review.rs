//! `kubectl auth can-i`: what the API server says of its own rules, and the policies of theirs.
//!
//! A review asks about the caller, changes nothing and needs no rule. What RBAC allows and a policy denies is answered
//! with no; what a policy holds with yes, and the reason says that somebody has to approve.

use crate::analyze;
use crate::request::RequestInfo;
use crate::session::Session;
use jiff::Timestamp;
use proxy_policy::{Command, Verdict};
use serde_json::Value;

/// What a review asks.
#[derive(Debug)]
pub(crate) enum Question {
    /// May I do this?
    Access(Box<Command>),
    /// What may I do?
    Rules,
}

/// The question of a request, if it is one.
pub(super) fn question(info: &RequestInfo, body: &[u8]) -> Option<Question> {
    let asks = info.is_resource && info.group == "authorization.k8s.io" && info.verb == "create";
    match info.resource.as_str() {
        "selfsubjectaccessreviews" if asks => {
            analyze::review::asked(body).map(|command| Question::Access(Box::new(command)))
        }
        "selfsubjectrulesreviews" if asks => Some(Question::Rules),
        _ => None,
    }
}

impl Question {
    /// The API server's answer with what the policies say. An answer that is no review stays as it is.
    pub(super) fn answer(self, session: &Session, body: Vec<u8>) -> Vec<u8> {
        let Ok(mut review) = serde_json::from_slice::<Value>(&body) else { return body };
        let Some(status) = review.get_mut("status").and_then(Value::as_object_mut) else { return body };
        match self {
            Self::Access(command) => {
                let command = Command { role: session.agent().user().into(), ..*command };
                let policies = session.resource().policies.load();
                let evaluation = policies.evaluate(session.identity(), &command, Timestamp::now());
                match evaluation.verdict {
                    Verdict::Allow { .. } => return body,
                    Verdict::Deny { message, .. } => {
                        status.insert("allowed".to_owned(), false.into());
                        status.insert("denied".to_owned(), true.into());
                        status.insert("reason".to_owned(), message.into());
                    }
                    Verdict::Hold { rule, .. } => {
                        let reason = format!(
                            "rule {} of policy {} holds it until somebody approves",
                            rule.rule, rule.policy
                        );
                        let before = status.get("reason").and_then(Value::as_str).unwrap_or_default();
                        let reason = if before.is_empty() { reason } else { format!("{before}; {reason}") };
                        status.insert("reason".to_owned(), reason.into());
                    }
                }
            }
            Self::Rules => {
                status.insert("incomplete".to_owned(), true.into());
                let note = "these are the cluster's own rules; the gateway's policies apply as well";
                status.insert("evaluationError".to_owned(), note.into());
            }
        }
        review.to_string().into_bytes()
    }
}
