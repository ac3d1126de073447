//! Why a token was refused, in words that are safe for the client's eyes.

use super::TrustedIssuer;
use crate::refusal::{Refusal, RefusalKind};
use std::fmt;
use std::sync::Arc;

/// A token was refused. Holds nothing of the token.
#[derive(Clone, Debug)]
pub struct AuthnError {
    reason: AuthnReason,
    trusted: Arc<[TrustedIssuer]>,
}

impl AuthnError {
    pub(super) const fn new(reason: AuthnReason, trusted: Arc<[TrustedIssuer]>) -> Self {
        Self { reason, trusted }
    }

    /// Why.
    pub const fn reason(&self) -> AuthnReason {
        self.reason
    }

    /// What the client is told.
    pub fn refusal(&self) -> Refusal {
        let kind = if matches!(self.reason, AuthnReason::KeysUnavailable) {
            RefusalKind::Unavailable
        } else {
            RefusalKind::Authentication
        };
        Refusal { kind, rule: None, message: self.reason.to_string(), hint: self.hint() }
    }

    fn hint(&self) -> String {
        match self.reason {
            AuthnReason::KeysUnavailable => {
                "try again in a few seconds; if it goes on, tell the gateway's operator that the issuer's keys cannot \
                 be fetched"
                    .to_owned()
            }
            AuthnReason::UnknownKey => {
                format!("if the issuer has just changed its keys, try again in a few seconds; else {}", self.ask())
            }
            AuthnReason::NotYetValid => format!("check the clocks of issuer and gateway, then {}", self.ask()),
            AuthnReason::BadSignature
            | AuthnReason::Expired
            | AuthnReason::Malformed(_)
            | AuthnReason::TooLong
            | AuthnReason::UnsupportedAlgorithm
            | AuthnReason::UntrustedIssuer
            | AuthnReason::WrongAudience => self.ask(),
        }
    }

    /// "request a new token for audience orders.shop from <https://token.example>", for each trusted issuer.
    fn ask(&self) -> String {
        let places: Vec<String> = self
            .trusted
            .iter()
            .map(|trusted| format!("for audience {} from {}", trusted.audiences.join(" or "), trusted.issuer))
            .collect();
        format!("request a new token {}", places.join(", or "))
    }
}

impl fmt::Display for AuthnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for AuthnError {}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum AuthnReason {
    /// No key of the issuer made this signature.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// The issuer's keys are not known, or so old that they are not trusted any more.
    #[error("the token cannot be checked now: the keys of its issuer are not available")]
    KeysUnavailable,
    /// Not a JSON Web Token that this gateway accepts; says which part.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// `nbf` or `iat` is more than 30 s ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Longer than 16 KiB.
    #[error("the token is longer than 16 KiB")]
    TooLong,
    /// The issuer does not publish the key that the token names.
    #[error("the token is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// `none`, a shared-secret algorithm, one unknown here, or one that is not the key's.
    #[error("the token is signed with an algorithm that is not accepted")]
    UnsupportedAlgorithm,
    /// `iss` is none of the resource's issuers.
    #[error("the token's issuer is not trusted for this resource")]
    UntrustedIssuer,
    /// `aud` names none of the audiences.
    #[error("the token is for another audience")]
    WrongAudience,
}

impl AuthnReason {
    /// Short stable name for records and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadSignature => "bad-signature",
            Self::Expired => "expired",
            Self::KeysUnavailable => "keys-unavailable",
            Self::Malformed(_) => "malformed",
            Self::NotYetValid => "not-yet-valid",
            Self::TooLong => "too-long",
            Self::UnknownKey => "unknown-key",
            Self::UnsupportedAlgorithm => "unsupported-algorithm",
            Self::UntrustedIssuer => "untrusted-issuer",
            Self::WrongAudience => "wrong-audience",
        }
    }
}

/// Why an [`Authenticator`](super::Authenticator) cannot be set up. For the operator's eyes.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// An issuer accepts no audience, so any token of the issuer would do.
    #[error("issuer {issuer} has no audience: name at least one")]
    NoAudience {
        /// The issuer.
        issuer: String,
    },
    /// No issuer at all.
    #[error("no trusted issuer: name at least one")]
    NoIssuer,
    /// The HTTP client cannot be built.
    #[error("set up the HTTP client for issuer {issuer}")]
    Client {
        /// The issuer.
        issuer: String,
        /// Because of.
        #[source]
        source: reqwest::Error,
    },
    /// The certificate authorities are not PEM.
    #[error("read the certificate authorities of issuer {issuer}")]
    Ca {
        /// The issuer.
        issuer: String,
        /// Because of.
        #[source]
        source: reqwest::Error,
    },
    /// Two entries for one issuer.
    #[error("issuer {issuer} is named twice")]
    Twice {
        /// The issuer.
        issuer: String,
    },
    /// Neither `https`, nor `http` on loopback, or with user, query or fragment.
    #[error("issuer {issuer} is not an https URL (http is accepted on loopback only)")]
    Url {
        /// The issuer.
        issuer: String,
    },
}
