//! Tokens of a real issuer on loopback, good and bad.

mod issuer;
mod keys;

use super::{Authenticator, AuthnReason, Freshness, SetupError, recorded_claims};
use crate::refusal::RefusalKind;
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use issuer::{AUDIENCE, Issuer, SigningKey};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

async fn verdict(authenticator: &Authenticator, token: &str) -> Result<super::Verified, AuthnReason> {
    let token = Secret::new(token.to_owned());
    authenticator.verify(&token).await.map_err(|error| error.reason())
}

#[tokio::test]
async fn a_good_token_becomes_an_identity() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&[&key]).await;
    let claims = issuer.claims(json!({}));
    let verified = verdict(&issuer.authenticator(), &key.sign(&claims)).await.unwrap();
    let identity = verified.identity();
    assert_eq!(identity.id(), format!("{}#ci-bot", issuer.url));
    assert_eq!(identity.username, "ci-bot");
    assert_eq!(identity.groups, ["agents"]);
    assert_eq!(verified.expires_at().as_second(), claims["exp"].as_i64().unwrap());
    assert_eq!(recorded_claims(identity), [("repository".to_owned(), "acme/billing".to_owned())]);
}

#[tokio::test]
async fn claims_are_accepted_in_every_form_the_standard_allows() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&[&key]).await;
    let authenticator = issuer.authenticator();
    let now = jiff::Timestamp::now().as_second();
    let many: Vec<String> = (0..240).map(|n| format!("group-with-a-long-name-{n:04}")).collect();
    for changes in [
        json!({ "aud": ["other", AUDIENCE] }),
        json!({ "groups": "agents" }),
        json!({ "groups": null }),
        json!({ "groups": many, "note": "x".repeat(1500) }),
        json!({ "exp": 4_000_000_000.5 }),
        json!({ "nbf": now + 20, "iat": now + 20 }),
        json!({ "azp": "another-client" }),
    ] {
        let token = key.sign(&issuer.claims(changes.clone()));
        verdict(&authenticator, &token).await.unwrap_or_else(|reason| panic!("{changes}: {reason}"));
    }
}

#[tokio::test]
async fn a_token_of_eight_kibibytes_is_accepted() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&[&key]).await;
    let token = key.sign(&issuer.claims(json!({ "note": "x".repeat(6 * 1024) })));
    assert!(token.len() > 8 * 1024);
    verdict(&issuer.authenticator(), &token).await.unwrap();
}

#[tokio::test]
async fn every_bad_claim_has_its_own_reason() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&[&key]).await;
    let authenticator = issuer.authenticator();
    let now = jiff::Timestamp::now().as_second();
    for (changes, expected) in [
        (json!({ "exp": now - 1 }), "expired"),
        (json!({ "exp": 0 }), "expired"),
        (json!({ "exp": -5 }), "expired"),
        (json!({ "exp": null }), "malformed"),
        (json!({ "exp": "tomorrow" }), "malformed"),
        (json!({ "exp": 1e300 }), "malformed"),
        (json!({ "exp": i64::MAX }), "malformed"),
        (json!({ "nbf": now + 60 }), "not-yet-valid"),
        (json!({ "iat": now + 60 }), "not-yet-valid"),
        (json!({ "nbf": [] }), "malformed"),
        (json!({ "aud": "orders.shop.evil" }), "wrong-audience"),
        (json!({ "aud": [] }), "wrong-audience"),
        (json!({ "aud": null }), "malformed"),
        (json!({ "aud": [AUDIENCE, 1] }), "malformed"),
        (json!({ "iss": "https://elsewhere.example" }), "untrusted-issuer"),
        (json!({ "iss": format!("{}/", issuer.url) }), "untrusted-issuer"),
        (json!({ "iss": null }), "malformed"),
        (json!({ "iss": [issuer.url] }), "malformed"),
        (json!({ "sub": null }), "malformed"),
        (json!({ "sub": "" }), "malformed"),
        (json!({ "sub": 7 }), "malformed"),
        (json!({ "sub": "x".repeat(257) }), "malformed"),
        (json!({ "sub": "root\u{1b}[2K" }), "malformed"),
        (json!({ "groups": ["agents", 1] }), "malformed"),
        (json!({ "groups": { "agents": true } }), "malformed"),
        (json!({ "groups": vec!["x"; 257] }), "malformed"),
        (json!({ "note": "x".repeat(17 * 1024) }), "too-long"),
    ] {
        let token = key.sign(&issuer.claims(changes.clone()));
        let reason = verdict(&authenticator, &token).await.expect_err(&changes.to_string());
        assert_eq!(reason.code(), expected, "{}", changes.to_string().get(..60).unwrap_or_default());
    }
}

#[tokio::test]
async fn every_bad_header_or_shape_is_refused() {
    let key = SigningKey::es256("one");
    let other = SigningKey::es256("one");
    let issuer = Issuer::start(&[&key]).await;
    let authenticator = issuer.authenticator();
    let claims = issuer.claims(json!({}));
    let good = key.sign(&claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let with = |header: Value| key.sign_with_header(&header, &claims);
    let none = format!("{}.{}.", encode(&json!({ "alg": "none" })), encode(&claims));
    for (token, expected) in [
        (String::new(), "malformed"),
        ("password".to_owned(), "malformed"),
        (format!("{good}."), "malformed"),
        (format!(" {good}"), "malformed"),
        (format!("{signed}.AAAA"), "bad-signature"),
        (format!("{signed}."), "bad-signature"),
        (format!("{signed}.{}", signature.to_lowercase()), "bad-signature"),
        (other.sign(&claims), "bad-signature"),
        (none, "unsupported-algorithm"),
        (with(json!({ "alg": "HS256", "kid": "one" })), "unsupported-algorithm"),
        (with(json!({ "alg": "RS256", "kid": "one" })), "unsupported-algorithm"),
        (with(json!({ "alg": "ES384", "kid": "one" })), "unsupported-algorithm"),
        (with(json!({ "alg": "ES256", "kid": "one", "crit": ["exp"] })), "malformed"),
        (with(json!({ "alg": "ES256", "kid": "one", "crit": [] })), "malformed"),
        (with(json!({ "alg": "ES256", "kid": "one", "typ": "logout+jwt" })), "malformed"),
        (with(json!({ "alg": "ES256", "kid": "x".repeat(300) })), "malformed"),
        (with(json!({ "alg": "ES256", "kid": "two" })), "unknown-key"),
        (with(json!({ "alg": "ES256", "kid": "../one" })), "unknown-key"),
        (with(json!({ "kid": "one" })), "malformed"),
    ] {
        let reason = verdict(&authenticator, &token).await.expect_err(&token);
        assert_eq!(reason.code(), expected, "{token}");
    }
    for header in [
        json!({ "alg": "ES256" }),
        json!({ "alg": "ES256", "kid": "one", "typ": "at+jwt" }),
        json!({ "alg": "ES256", "kid": "one", "typ": "JWT", "jku": "https://elsewhere.example", "x5u": "x" }),
    ] {
        verdict(&authenticator, &with(header.clone()))
            .await
            .unwrap_or_else(|reason| panic!("{header}: {reason}"));
    }
}

#[tokio::test]
async fn a_shared_secret_made_of_the_public_key_is_refused() {
    let key = SigningKey::rsa("one", Algorithm::RS256);
    let issuer = Issuer::start(&[&key]).await;
    let secret = jsonwebtoken::EncodingKey::from_secret(key.public.to_string().as_bytes());
    let mut header = jsonwebtoken::Header::new(Algorithm::HS256);
    header.kid = Some("one".to_owned());
    let token = jsonwebtoken::encode(&header, &issuer.claims(json!({})), &secret).unwrap();
    let reason = verdict(&issuer.authenticator(), &token).await.unwrap_err();
    assert_eq!(reason, AuthnReason::UnsupportedAlgorithm);
}

#[tokio::test]
async fn no_part_of_a_token_is_in_an_error_or_refusal() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&[&key]).await;
    let authenticator = issuer.authenticator();
    for changes in [
        json!({ "exp": 1, "sub": "CANARY" }),
        json!({ "iss": "CANARY" }),
        json!({ "aud": "CANARY" }),
        json!({ "groups": { "CANARY": 1 } }),
    ] {
        let token = key.sign(&issuer.claims(changes));
        let error = authenticator.verify(&Secret::new(token.clone())).await.unwrap_err();
        let shown = format!("{error} {error:?} {:?} {:?}", error.refusal(), Secret::new(token.clone()));
        for part in token.split('.').chain(["CANARY"]) {
            assert!(!shown.contains(part), "{shown}");
        }
    }
}

#[tokio::test]
async fn the_refusal_says_where_to_get_a_token() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&[&key]).await;
    let authenticator = issuer.authenticator();
    let token = Secret::new(key.sign(&issuer.claims(json!({ "exp": 1 }))));
    let refusal = authenticator.verify(&token).await.unwrap_err().refusal();
    assert_eq!(refusal.kind, RefusalKind::Authentication);
    assert_eq!(refusal.message, "the token has expired");
    assert_eq!(refusal.hint, format!("request a new token for audience orders.shop from {}", issuer.url));
    let discovery = &authenticator.issuers()[0].discovery_url;
    assert_eq!(*discovery, format!("{}/.well-known/openid-configuration", issuer.url));
}

#[tokio::test]
async fn of_several_issuers_each_signs_only_for_itself() {
    let (one, two) = (SigningKey::es256("same"), SigningKey::ed25519("same"));
    let (first, second) = (Issuer::start(&[&one]).await, Issuer::start(&[&two]).await);
    let authenticator =
        Authenticator::new(vec![first.options(), second.options()], Freshness::default()).unwrap();
    verdict(&authenticator, &one.sign(&first.claims(json!({})))).await.unwrap();
    verdict(&authenticator, &two.sign(&second.claims(json!({})))).await.unwrap();
    let crossed = one.sign(&second.claims(json!({})));
    assert_eq!(verdict(&authenticator, &crossed).await.unwrap_err(), AuthnReason::UnsupportedAlgorithm);
}

#[tokio::test]
async fn other_claims_can_be_mapped_to_name_and_groups() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&[&key]).await;
    let mut options = issuer.options();
    options.username_claim = "email".to_owned();
    options.groups_claim = "roles".to_owned();
    let authenticator = Authenticator::new(vec![options], Freshness::default()).unwrap();
    let claims = issuer.claims(json!({ "email": "ci@shop.example", "roles": ["writers"] }));
    let identity = verdict(&authenticator, &key.sign(&claims)).await.unwrap().identity().clone();
    assert_eq!(
        (identity.username.as_str(), &identity.groups[..]),
        ("ci@shop.example", &["writers".to_owned()][..])
    );
    let nameless = key.sign(&issuer.claims(json!({})));
    assert_eq!(verdict(&authenticator, &nameless).await.unwrap_err().code(), "malformed");
}

#[tokio::test]
async fn an_issuer_that_answers_nobody_else_is_shown_the_gateways_token_and_no_other_host_is() {
    let key = SigningKey::es256("a");
    let (issuer, elsewhere) = (Issuer::start(&[&key]).await, Issuer::start(&[&key]).await);
    let token_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token_file.path(), "first\n").unwrap();
    let with = |keys_path| {
        let token_file = token_file.path().to_owned();
        let introduction = Some(super::Introduction { token_file, keys_path });
        let options = super::IssuerOptions { introduction, ..issuer.options() };
        let freshness = Freshness { minimum_interval: std::time::Duration::ZERO, ..Freshness::default() };
        Authenticator::new(vec![options], freshness).unwrap()
    };
    let token = key.sign(&issuer.claims(json!({})));
    // Its own keys under the name of another address.
    issuer.set(issuer::Mood::Reserved("first".to_owned(), elsewhere.url.clone()));
    assert!(verdict(&issuer.authenticator(), &token).await.is_err());
    assert!(verdict(&with("/jwks"), &token).await.is_ok());
    std::fs::write(token_file.path(), "second").unwrap();
    issuer.set(issuer::Mood::Reserved("second".to_owned(), elsewhere.url.clone()));
    assert!(verdict(&with("/jwks"), &token).await.is_ok(), "the token is read anew");
    assert!((elsewhere.fetches(), elsewhere.shown.load(std::sync::atomic::Ordering::SeqCst)) == (0, 0));
    // Keys that are somebody else's are asked of them, without the token.
    assert!(verdict(&with("/own-keys"), &token).await.is_ok());
    assert!(elsewhere.fetches() > 0 && elsewhere.shown.load(std::sync::atomic::Ordering::SeqCst) == 0);
    std::fs::remove_file(token_file.path()).unwrap();
    assert!(verdict(&with("/jwks"), &token).await.is_err(), "no token, no keys");
}

#[test]
fn only_https_or_loopback_issuers_can_be_trusted() {
    let setup = |issuer: &str| {
        let options = super::IssuerOptions {
            issuer: issuer.to_owned(),
            audiences: vec![AUDIENCE.to_owned()],
            username_claim: "sub".to_owned(),
            groups_claim: "groups".to_owned(),
            ca_pem: None,
            introduction: None,
        };
        Authenticator::new(vec![options], Freshness::default())
    };
    for issuer in ["http://127.0.0.1:1", "http://[::1]:1/realm", "http://localhost"] {
        setup(issuer).unwrap_or_else(|error| panic!("{issuer}: {error}"));
    }
    for issuer in [
        "http://issuer.example",
        "http://127.0.0.1.evil.example",
        "https://u:p@issuer.example",
        "https://issuer.example?x",
        "https://issuer.example#x",
        "ftp://localhost",
        "issuer.example",
        "",
    ] {
        assert!(matches!(setup(issuer), Err(SetupError::Url { .. })), "{issuer}");
    }
    assert!(matches!(Authenticator::new(Vec::new(), Freshness::default()), Err(SetupError::NoIssuer)));
}

#[test]
fn recorded_claims_are_bounded() {
    let names = super::RECORDED_CLAIMS;
    let mut claims: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!("é".repeat(1000)))).collect();
    claims.insert("ref".to_owned(), json!({ "nested": "dropped" }));
    let identity = proxy_policy::Identity {
        issuer: "i".to_owned(),
        subject: "s".to_owned(),
        username: "u".to_owned(),
        groups: Vec::new(),
        claims,
    };
    let recorded = recorded_claims(&identity);
    assert_eq!(recorded.len(), 15);
    assert!(recorded.iter().all(|(_, value)| value.chars().count() == 256));
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
