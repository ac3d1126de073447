//! OIDC token → [`Verified`] identity.
//!
//! A client presents a JSON Web Token (RFC 7519) as its password or by OAUTHBEARER. [`Authenticator::verify`] picks
//! the trusted issuer whose name equals the token's `iss`, checks the signature with the keys that this issuer
//! publishes, and only then reads the claims. What comes out, [`Verified`], is what a session needs to exist.
//!
//! * `token`: the three parts, taken apart; nothing in them is trusted yet
//! * `jwks`: the issuer's keys, cached, refreshed, refused when too old
//! * `fetch`: the only HTTP of this room, bounded in time and size
//! * `oidc`: the order, and the claims
//!
//! The token is in no error and no log: errors carry fixed words only.

mod error;
mod fetch;
mod jwks;
mod oidc;
#[cfg(test)]
mod tests;
mod token;

pub use error::{AuthnError, AuthnReason, SetupError};
pub use jwks::Freshness;
pub use oidc::{Authenticator, Introduction, IssuerOptions, TrustedIssuer};

use crate::secret::Secret;
use proxy_policy::Identity;
use serde_json::Value;
use std::sync::Arc;

/// A bearer token as a client gave it.
pub type BearerToken = Secret<String>;

/// An identity whose token's signature, issuer, audience and times were checked. Only `authn` can build one.
///
/// A clone costs two machine words. Everybody may read one:
///
/// ```
/// fn name(verified: &proxy_core::authn::Verified) -> String {
///     verified.identity().username.clone()
/// }
/// ```
///
/// Nobody else may make one:
///
/// ```compile_fail,E0451
/// fn forge(identity: std::sync::Arc<proxy_policy::Identity>) -> proxy_core::authn::Verified {
///     proxy_core::authn::Verified { identity, expires_at: jiff::Timestamp::MAX }
/// }
/// ```
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

    /// An identity that nobody checked, for tests of the rooms behind this one.
    #[cfg(any(test, feature = "test-util"))]
    pub fn for_tests(identity: Identity, expires_at: jiff::Timestamp) -> Self {
        Self { identity: Arc::new(identity), expires_at }
    }
}

/// Claims that go on every record where a token has them: what a continuous-integration job or workload says about
/// itself. The subject is on every record anyway.
///
/// Names as in the tokens of GitHub, GitLab and Kubernetes; see
/// <https://docs.github.com/en/actions/reference/security/oidc> and
/// <https://docs.gitlab.com/ci/secrets/id_token_authentication/>.
const RECORDED_CLAIMS: [&str; 16] = [
    "repository",
    "ref",
    "run_id",
    "run_attempt",
    "workflow",
    "job_workflow_ref",
    "actor",
    "sha",
    "environment",
    "event_name",
    "project_path",
    "pipeline_id",
    "job_id",
    "client_id",
    "azp",
    "jti",
];

/// Longest value of a recorded claim, in characters.
const RECORDED_CLAIM_LENGTH: usize = 256;

/// The claims of an identity that go on every record: at most 16, each at most 256 characters. Claims that are
/// neither string, number nor bool are left out.
pub fn recorded_claims(identity: &Identity) -> Vec<(String, String)> {
    let recorded = |name: &&str| {
        let text = match identity.claims.get(*name)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some(((*name).to_owned(), text.chars().take(RECORDED_CLAIM_LENGTH).collect()))
    };
    RECORDED_CLAIMS.iter().filter_map(recorded).collect()
}
