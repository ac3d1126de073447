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
