//! Tokens from wishes.

use super::store::SigningKey;
use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Longest life of a token, in seconds: a day.
const MAX_TTL: u32 = 24 * 60 * 60;

/// Body of `POST /token`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TokenRequest {
    /// The `sub` claim.
    #[serde(alias = "sub")]
    pub(super) subject: String,
    /// The `groups` claim.
    #[serde(default)]
    pub(super) groups: Vec<String>,
    /// The `aud` claim.
    #[serde(alias = "aud")]
    pub(super) audience: Audience,
    /// Other claims. They win over those made here, so that a test can have a token that is wrong in one claim.
    #[serde(default)]
    pub(super) claims: Map<String, Value>,
    /// Seconds until it expires. Omitted: 15 minutes. At most a day.
    #[serde(default = "default_ttl")]
    pub(super) ttl_seconds: u32,
}

/// One audience or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    /// As a list.
    Many(Vec<String>),
    /// As a string.
    One(String),
}

const fn default_ttl() -> u32 {
    15 * 60
}

/// Mints a token, signed with ES256.
pub(super) fn mint(
    issuer: &str,
    key: &SigningKey,
    request: TokenRequest,
    now: Timestamp,
) -> anyhow::Result<String> {
    ensure!(request.ttl_seconds <= MAX_TTL, "a token of this issuer lives a day at most");
    let now = now.as_second();
    let audience = match request.audience {
        Audience::Many(list) => match <[String; 1]>::try_from(list) {
            Ok([one]) => json!(one),
            Err(list) => json!(list),
        },
        Audience::One(one) => json!(one),
    };
    let made = json!({
        "iss": issuer,
        "sub": request.subject,
        "aud": audience,
        "groups": request.groups,
        "iat": now,
        "nbf": now,
        "exp": now.saturating_add(i64::from(request.ttl_seconds)),
        "jti": uuid::Uuid::new_v4().to_string(),
    });
    let mut claims = request.claims;
    for (name, value) in made.as_object().into_iter().flatten() {
        claims.entry(name.clone()).or_insert_with(|| value.clone());
    }
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(key.id.clone());
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(&key.pkcs8()?)).context("sign the token")
}
