//! The order of a verification, and what the claims become.

use super::fetch::{Endpoint, discovery_url};
use super::jwks::{Freshness, KeyCache};
use super::token::Token;
use super::{AuthnError, AuthnReason, BearerToken, SetupError, Verified};
use jiff::Timestamp;
use proxy_policy::Identity;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;

/// How far `nbf` and `iat` may be ahead of our clock, in seconds. `exp` has none: the session ends at that moment.
const LEEWAY_SECONDS: i64 = 30;
/// Longest user name or group, in characters.
const MAX_NAME: usize = 256;
/// Longest subject, in characters; those of continuous-integration jobs spell out repository and ref.
const MAX_SUBJECT: usize = 1024;
/// Most groups of an identity.
const MAX_GROUPS: usize = 256;

/// One trusted issuer, as configured.
#[derive(Clone, Debug)]
pub struct IssuerOptions {
    /// Exact value of `iss`. `https`, or `http` on loopback.
    pub issuer: String,
    /// A token must carry at least one of these in `aud`. At least one.
    pub audiences: Vec<String>,
    /// Claim whose string becomes the user name.
    pub username_claim: String,
    /// Claim whose string or list of strings becomes the groups.
    pub groups_claim: String,
    /// Certificate authorities for the issuer's TLS; `None`: the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// What the gateway shows to an issuer that answers nobody else; `None`: nothing, as issuers publish their keys.
    pub introduction: Option<Introduction>,
}

/// How the gateway identifies itself to an issuer that answers nobody else. It is shown to the issuer's own origin
/// only, whatever address a discovery document names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Introduction {
    /// File with a bearer token, read for each request: it is renewed from time to time.
    pub token_file: PathBuf,
    /// Path of the issuer's own keys. A discovery document that names it at another address is about these.
    pub keys_path: &'static str,
}

/// What may be told to anybody about a trusted issuer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustedIssuer {
    /// Its name.
    pub issuer: String,
    /// The audiences that it may write tokens for.
    pub audiences: Vec<String>,
    /// Its discovery document, for the answer of OAUTHBEARER (RFC 7628 section 3.2.2).
    pub discovery_url: String,
}

/// Verifies the tokens of one resource. Shared by all its sessions.
#[derive(Debug)]
pub struct Authenticator {
    issuers: Vec<(IssuerOptions, Arc<KeyCache>)>,
    trusted: Arc<[TrustedIssuer]>,
}

impl Authenticator {
    /// Trusts these issuers and no other. Inside a tokio runtime it begins to fetch their keys; an issuer that does
    /// not answer is no error: its tokens are refused until it does.
    ///
    /// # Errors
    /// No issuer, one named twice, without audience, not `https`, or with certificate authorities that are not PEM.
    pub fn new(issuers: Vec<IssuerOptions>, freshness: Freshness) -> Result<Self, SetupError> {
        if issuers.is_empty() {
            return Err(SetupError::NoIssuer);
        }
        let trusted = issuers.iter().map(TrustedIssuer::of).collect();
        let mut checked: Vec<(IssuerOptions, Arc<KeyCache>)> = Vec::with_capacity(issuers.len());
        for options in issuers {
            let issuer = || options.issuer.clone();
            if options.audiences.is_empty() {
                return Err(SetupError::NoAudience { issuer: issuer() });
            }
            if checked.iter().any(|(other, _)| other.issuer == options.issuer) {
                return Err(SetupError::Twice { issuer: issuer() });
            }
            let keys = KeyCache::new(Endpoint::new(&options)?, freshness);
            checked.push((options, keys));
        }
        Ok(Self { issuers: checked, trusted })
    }

    /// The issuers that a client may ask for a token.
    pub fn issuers(&self) -> &[TrustedIssuer] {
        &self.trusted
    }

    /// Verifies a token: issuer, signature, then audience and times; no claim is believed before the signature.
    ///
    /// Cancel safe. Waits for the issuer only when its keys are not known: at most 10 s.
    ///
    /// # Errors
    /// The token is refused, or the issuer's keys are not available: the client is nobody.
    pub async fn verify(&self, token: &BearerToken) -> Result<Verified, AuthnError> {
        self.verify_at(token.expose(), Timestamp::now())
            .await
            .map_err(|reason| AuthnError::new(reason, Arc::clone(&self.trusted)))
    }

    pub(super) async fn verify_at(&self, token: &str, now: Timestamp) -> Result<Verified, AuthnReason> {
        let token = Token::parse(token)?;
        let Some(Value::String(issuer)) = token.claims.get("iss") else {
            return Err(AuthnReason::Malformed("its iss is not a string"));
        };
        let (options, keys) =
            self.issuers.iter().find(|(o, _)| o.issuer == *issuer).ok_or(AuthnReason::UntrustedIssuer)?;
        keys.check(&token).await?;
        check_audience(&token.claims, &options.audiences)?;
        let expires_at = check_times(&token.claims, now)?;
        let identity = Arc::new(identity(token.claims, options)?);
        Ok(Verified { identity, expires_at })
    }
}

impl TrustedIssuer {
    fn of(options: &IssuerOptions) -> Self {
        Self {
            issuer: options.issuer.clone(),
            audiences: options.audiences.clone(),
            discovery_url: discovery_url(&options.issuer),
        }
    }
}

fn check_audience(claims: &Map<String, Value>, accepted: &[String]) -> Result<(), AuthnReason> {
    let found = strings(claims.get("aud"), "its aud is neither a string nor a list of strings")?;
    if found.iter().any(|audience| accepted.contains(audience)) {
        Ok(())
    } else {
        Err(AuthnReason::WrongAudience)
    }
}

/// Checks `exp`, `nbf` and `iat`; returns `exp`.
fn check_times(claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, AuthnReason> {
    let expires =
        seconds(claims, "exp", "its exp is not a time")?.ok_or(AuthnReason::Malformed("it has no exp"))?;
    let latest = now.as_second().saturating_add(LEEWAY_SECONDS);
    for (claim, what) in [("nbf", "its nbf is not a time"), ("iat", "its iat is not a time")] {
        if seconds(claims, claim, what)?.is_some_and(|start| start > latest) {
            return Err(AuthnReason::NotYetValid);
        }
    }
    if now.as_second() >= expires {
        return Err(AuthnReason::Expired);
    }
    // A time beyond what a timestamp can hold is no sensible expiry.
    Timestamp::from_second(expires).ok().ok_or(AuthnReason::Malformed("its exp is not a time"))
}

/// A `NumericDate` (RFC 7519 section 2): seconds since 1970, fractions allowed.
fn seconds(claims: &Map<String, Value>, claim: &str, what: &'static str) -> Result<Option<i64>, AuthnReason> {
    /// The year 9999: every whole number up to there is exact in an `f64`.
    const LATEST: f64 = 253_402_300_799.0;
    let Some(value) = claims.get(claim) else { return Ok(None) };
    if let Some(whole) = value.as_i64() {
        return Ok(Some(whole));
    }
    match value.as_f64() {
        #[expect(clippy::cast_possible_truncation, reason = "within the range that the guard checks")]
        Some(fraction) if (0.0..=LATEST).contains(&fraction) => Ok(Some(fraction.floor() as i64)),
        _ => Err(AuthnReason::Malformed(what)),
    }
}

fn identity(claims: Map<String, Value>, options: &IssuerOptions) -> Result<Identity, AuthnReason> {
    let subject = name(claims.get("sub"), MAX_SUBJECT, "its sub is not a name of 1 to 1024 characters")?;
    let username = name(
        claims.get(&options.username_claim),
        MAX_NAME,
        "its user name claim is not a name of 1 to 256 characters",
    )?;
    let groups_refused = "its groups are not up to 256 names of 1 to 256 characters";
    let groups = match claims.get(&options.groups_claim) {
        None | Some(Value::Null) => Vec::new(),
        groups => strings(groups, groups_refused)?,
    };
    if groups.len() > MAX_GROUPS || !groups.iter().all(|group| is_name(group, MAX_NAME)) {
        return Err(AuthnReason::Malformed(groups_refused));
    }
    Ok(Identity { issuer: options.issuer.clone(), subject, username, groups, claims })
}

fn name(value: Option<&Value>, longest: usize, what: &'static str) -> Result<String, AuthnReason> {
    match value {
        Some(Value::String(text)) if is_name(text, longest) => Ok(text.clone()),
        _ => Err(AuthnReason::Malformed(what)),
    }
}

/// Not empty, not too long, and nothing that moves the cursor of whoever reads it.
fn is_name(text: &str, longest: usize) -> bool {
    !text.is_empty() && text.chars().count() <= longest && !text.chars().any(char::is_control)
}

fn strings(value: Option<&Value>, what: &'static str) -> Result<Vec<String>, AuthnReason> {
    let malformed = AuthnReason::Malformed(what);
    match value {
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(list)) => {
            list.iter().map(|entry| entry.as_str().map(str::to_owned).ok_or(malformed)).collect()
        }
        _ => Err(malformed),
    }
}
