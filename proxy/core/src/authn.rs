//! OIDC token → [`Verified`] identity.

use crate::secret::Secret;
use proxy_policy::Identity;
use std::sync::Arc;

/// A bearer token as a client gave it.
pub type BearerToken = Secret<String>;

/// An identity whose token's signature, issuer, audience and times were checked. Only `authn` can build one.
#[derive(Clone, Debug)]
pub struct Verified {
    identity: Arc<Identity>,
    expires_at: jiff::Timestamp,
}

impl Verified {
    /// Who.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// When the token expires; the session ends then.
    pub const fn expires_at(&self) -> jiff::Timestamp {
        self.expires_at
    }
}

/// Claims of an identity that go on every record; at most 16, each at most 256 characters.
pub fn recorded_claims(identity: &Identity) -> Vec<(String, String)> {
    const NAMES: [&str; 8] =
        ["repository", "ref", "run_id", "workflow", "actor", "sha", "job_workflow_ref", "environment"];
    let found = NAMES.iter().filter_map(|name| {
        let value = identity.claims.get(*name)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(((*name).to_owned(), text.chars().take(256).collect()))
    });
    found.collect()
}
