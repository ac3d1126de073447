//! Who asks: facts from a verified token.

use serde::{Deserialize, Serialize};

/// Facts about the caller, taken from a token whose signature was checked elsewhere.
///
/// This type proves nothing: the proof is `proxy_core::authn::Verified`, which wraps it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The token's `iss`.
    pub issuer: String,
    /// The token's `sub`.
    pub subject: String,
    /// The mapped user name; `sub` unless the Resource maps another claim.
    pub username: String,
    /// The mapped groups; empty when the claim is absent.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Every claim of the token but its signature-related ones, as the issuer sent them.
    #[serde(default)]
    pub claims: serde_json::Map<String, serde_json::Value>,
}

impl Identity {
    /// `issuer#subject`: the unique name of the identity in records (`user.id`).
    pub fn id(&self) -> String {
        format!("{}#{}", self.issuer, self.subject)
    }
}
