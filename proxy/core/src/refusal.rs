//! What a client may be told when it is refused.

use proxy_policy::RuleRef;

/// A refusal in no protocol's words yet. Everything in it is safe for the client's eyes.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// What kind of refusal.
    pub kind: RefusalKind,
    /// Rule that refused; `None` where no rule is to blame.
    pub rule: Option<RuleRef>,
    /// What was refused and why: one sentence.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

/// Kinds of refusal; each protocol maps them to its own codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefusalKind {
    /// The token is missing, wrong, expired or not trusted.
    Authentication,
    /// Policy denies.
    Denied,
    /// An approver denied.
    ApprovalDenied,
    /// Nobody decided in time.
    ApprovalExpired,
    /// The client went away or cancelled while held.
    Withdrawn,
    /// The recorder, the approval store or the policy is not there: fail closed.
    Unavailable,
    /// The session may not go on: token expired, identity lost access.
    SessionEnded,
    /// The client broke the protocol, or asked for what this gateway does not speak.
    Protocol,
    /// Over a limit.
    TooLarge,
    /// No place for another session.
    Full,
}

impl RefusalKind {
    /// Every kind.
    const ALL: [Self; 10] = [
        Self::Authentication,
        Self::Denied,
        Self::ApprovalDenied,
        Self::ApprovalExpired,
        Self::Withdrawn,
        Self::Unavailable,
        Self::SessionEnded,
        Self::Protocol,
        Self::TooLarge,
        Self::Full,
    ];

    /// The kind in one word, as it is on record.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Denied => "denied",
            Self::ApprovalDenied => "approval_denied",
            Self::ApprovalExpired => "approval_expired",
            Self::Withdrawn => "withdrawn",
            Self::Unavailable => "unavailable",
            Self::SessionEnded => "session_ended",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Full => "full",
        }
    }

    /// The kind of this word; `None` for one that is not known here.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

impl Refusal {
    /// A policy's Deny.
    pub fn denied(rule: RuleRef, message: String) -> Self {
        let hint = if rule.policy.is_empty() {
            "nothing allows it; ask the owner of the resource's policies".to_owned()
        } else {
            format!("see rule {} of policy {}; do not try to rephrase it", rule.rule, rule.policy)
        };
        Self { kind: RefusalKind::Denied, rule: Some(rule), message, hint }
    }

    /// The session may not go on.
    pub fn ended(message: &str) -> Self {
        Self {
            kind: RefusalKind::SessionEnded,
            rule: None,
            message: message.to_owned(),
            hint: "connect again with a fresh token".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_word() {
        for kind in RefusalKind::ALL {
            assert_eq!(RefusalKind::of_word(kind.word()), Some(kind));
        }
        assert_eq!(RefusalKind::of_word("of another time"), None);
    }
}
