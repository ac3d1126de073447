//! A JSON Web Token taken apart. Nothing in here is trusted before the signature was checked.

use super::AuthnReason;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest token, in bytes. Tokens with hundreds of groups reach 8 KiB.
const MAX_LENGTH: usize = 16 * 1024;
/// Longest key id, in bytes.
const MAX_KEY_ID: usize = 256;
/// Most claims in a token; GitHub's have about 30.
const MAX_CLAIMS: usize = 128;

/// The protected header, as far as it matters (RFC 7515 section 4.1). `jwk`, `jku` and `x5u`, by which a token would
/// bring its own key, are never read.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
}

/// A token taken apart.
pub(super) struct Token<'a> {
    /// What the header says it was signed with: must be one that the key allows.
    pub(super) algorithm: Algorithm,
    /// Which key signed it.
    pub(super) key_id: Option<String>,
    /// Header and payload as they were signed.
    pub(super) signed: &'a str,
    /// The signature in base64url.
    pub(super) signature: &'a str,
    /// The payload.
    pub(super) claims: Map<String, Value>,
}

impl<'a> Token<'a> {
    /// Takes a token apart: three parts, an algorithm of the allow-list, no extension that must be understood.
    pub(super) fn parse(text: &'a str) -> Result<Self, AuthnReason> {
        if text.len() > MAX_LENGTH {
            return Err(AuthnReason::TooLong);
        }
        let three_parts = || AuthnReason::Malformed("it has not three parts");
        let (signed, signature) = text.rsplit_once('.').ok_or_else(three_parts)?;
        let (header, payload) = signed.split_once('.').ok_or_else(three_parts)?;
        if payload.contains('.') {
            return Err(three_parts());
        }
        let header: Header = decode(header, "its header")?;
        let algorithm = allowed(&header.alg)?;
        if header.crit.is_some() {
            // RFC 7515 section 4.1.11: extensions in it must be understood, and none is.
            return Err(AuthnReason::Malformed("its header has a critical extension"));
        }
        check_type(header.typ.as_deref())?;
        if header.kid.as_ref().is_some_and(|kid| kid.len() > MAX_KEY_ID) {
            return Err(AuthnReason::Malformed("its key id is too long"));
        }
        let claims: Map<String, Value> = decode(payload, "its payload")?;
        if claims.len() > MAX_CLAIMS {
            return Err(AuthnReason::Malformed("it has too many claims"));
        }
        Ok(Self { algorithm, key_id: header.kid, signed, signature, claims })
    }
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str, what: &'static str) -> Result<T, AuthnReason> {
    // The causes are dropped on purpose: they would quote the token.
    let bytes = URL_SAFE_NO_PAD.decode(part).ok().ok_or(AuthnReason::Malformed(what))?;
    serde_json::from_slice(&bytes).ok().ok_or(AuthnReason::Malformed(what))
}

/// The allow-list: asymmetric algorithms only.
fn allowed(name: &str) -> Result<Algorithm, AuthnReason> {
    match name {
        "RS256" => Ok(Algorithm::RS256),
        "RS384" => Ok(Algorithm::RS384),
        "RS512" => Ok(Algorithm::RS512),
        "PS256" => Ok(Algorithm::PS256),
        "PS384" => Ok(Algorithm::PS384),
        "PS512" => Ok(Algorithm::PS512),
        "ES256" => Ok(Algorithm::ES256),
        "ES384" => Ok(Algorithm::ES384),
        "EdDSA" => Ok(Algorithm::EdDSA),
        _ => Err(AuthnReason::UnsupportedAlgorithm),
    }
}

/// An ID token, an access token (RFC 9068) or no type; never a logout token, a `DPoP` proof or the like.
fn check_type(typ: Option<&str>) -> Result<(), AuthnReason> {
    let Some(typ) = typ else { return Ok(()) };
    let typ = typ.to_ascii_lowercase();
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        "jwt" | "at+jwt" => Ok(()),
        _ => Err(AuthnReason::Malformed("its type is neither JWT nor at+jwt")),
    }
}
