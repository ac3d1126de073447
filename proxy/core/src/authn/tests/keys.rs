//! Keys that change, go missing, come late or come from the wrong place.

use super::super::{AuthnReason, Freshness};
use super::issuer::{Issuer, Mood, SigningKey};
use super::verdict;
use crate::refusal::RefusalKind;
use crate::secret::Secret;
use jsonwebtoken::Algorithm;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Polls a condition for up to 10 s.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn every_algorithm_of_the_allow_list_works() {
    let keys = [
        SigningKey::rsa("rs256", Algorithm::RS256),
        SigningKey::rsa("rs512", Algorithm::RS512),
        SigningKey::rsa("ps384", Algorithm::PS384),
        SigningKey::es256("es256"),
        SigningKey::ed25519("eddsa"),
    ];
    let issuer = Issuer::start(&keys.iter().collect::<Vec<_>>()).await;
    let authenticator = issuer.authenticator();
    for key in &keys {
        let token = key.sign(&issuer.claims(json!({})));
        verdict(&authenticator, &token).await.unwrap_or_else(|reason| panic!("{}: {reason}", key.id));
    }
}

#[tokio::test]
async fn the_algorithm_is_the_keys_not_the_headers() {
    let mut key = SigningKey::rsa("one", Algorithm::RS256);
    let issuer = Issuer::start(&[&key]).await;
    key.algorithm = Algorithm::PS256;
    let token = key.sign(&issuer.claims(json!({})));
    let authenticator = issuer.authenticator();
    assert_eq!(verdict(&authenticator, &token).await.unwrap_err(), AuthnReason::UnsupportedAlgorithm);
}

#[tokio::test]
async fn keys_that_are_not_for_signatures_or_not_understood_are_passed_over() {
    let key = SigningKey::es256("one");
    let mut encryption = key.public.clone();
    encryption["use"] = json!("enc");
    encryption["kid"] = json!("enc");
    let issuer = Issuer::start(&[]).await;
    issuer.publish_raw(vec![
        json!("not a key"),
        json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "one", "alg": "HS256" }),
        json!({ "kty": "EC", "crv": "P-256", "kid": "half" }),
        json!({ "kty": "PQ", "alg": "ML-DSA-44", "kid": "future" }),
        encryption,
        key.public.clone(),
    ]);
    let authenticator = issuer.authenticator();
    verdict(&authenticator, &key.sign(&issuer.claims(json!({})))).await.unwrap();
    let mut misused = key.clone();
    misused.id = "enc".to_owned();
    let token = misused.sign(&issuer.claims(json!({})));
    assert_eq!(verdict(&authenticator, &token).await.unwrap_err(), AuthnReason::UnknownKey);
}

#[tokio::test]
async fn a_token_without_key_id_needs_a_single_candidate() {
    let (one, two) = (SigningKey::es256("one"), SigningKey::es256("two"));
    let issuer = Issuer::start(&[&one, &two]).await;
    let token = one.sign_with_header(&json!({ "alg": "ES256" }), &issuer.claims(json!({})));
    assert_eq!(verdict(&issuer.authenticator(), &token).await.unwrap_err().code(), "malformed");
    issuer.publish(&[&one]);
    verdict(&issuer.authenticator(), &token).await.unwrap();
}

#[tokio::test]
async fn a_rotated_key_is_fetched_once_however_many_wait_for_it() {
    let (old, new) = (SigningKey::es256("old"), SigningKey::es256("new"));
    let issuer = Issuer::start(&[&old]).await;
    let interval = Freshness { minimum_interval: Duration::from_secs(2), ..Freshness::default() };
    let authenticator = Arc::new(issuer.authenticator_with(interval));
    verdict(&authenticator, &old.sign(&issuer.claims(json!({})))).await.unwrap();
    assert_eq!(issuer.fetches(), 1);
    issuer.publish(&[&old, &new]);
    let token = new.sign(&issuer.claims(json!({})));
    assert_eq!(
        verdict(&authenticator, &token).await.unwrap_err(),
        AuthnReason::UnknownKey,
        "too soon to ask again"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (authenticator, token) = (Arc::clone(&authenticator), token.clone());
        waiting.spawn(async move { verdict(&authenticator, &token).await.map(drop) });
    }
    for result in waiting.join_all().await {
        result.unwrap();
    }
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn a_withdrawn_key_is_forgotten_by_the_periodic_refresh() {
    let (old, new) = (SigningKey::es256("old"), SigningKey::es256("new"));
    let issuer = Issuer::start(&[&old]).await;
    let often = Freshness { refresh_every: Duration::from_millis(50), ..Freshness::default() };
    let authenticator = issuer.authenticator_with(often);
    let token = old.sign(&issuer.claims(json!({})));
    verdict(&authenticator, &token).await.unwrap();
    issuer.publish(&[&new]);
    let before = issuer.fetches();
    until("two more fetches", || issuer.fetches() >= before + 2).await;
    assert_eq!(verdict(&authenticator, &token).await.unwrap_err(), AuthnReason::UnknownKey);
}

#[tokio::test]
async fn an_outage_is_tolerated_until_the_keys_are_stale() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&[&key]).await;
    let freshness = Freshness {
        refresh_every: Duration::from_hours(1),
        minimum_interval: Duration::ZERO,
        stale_after: Duration::from_millis(1500),
    };
    let authenticator = issuer.authenticator_with(freshness);
    let token = key.sign(&issuer.claims(json!({})));
    verdict(&authenticator, &token).await.unwrap();
    issuer.set(Mood::Down);
    verdict(&authenticator, &token).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let error = authenticator.verify(&Secret::new(token.clone())).await.unwrap_err();
    assert_eq!(error.reason(), AuthnReason::KeysUnavailable);
    assert_eq!(error.refusal().kind, RefusalKind::Unavailable);
    issuer.set(Mood::Well);
    verdict(&authenticator, &token).await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_cannot_be_believed_gives_no_keys() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&[&key]).await;
    let token = key.sign(&issuer.claims(json!({})));
    for mood in [Mood::Down, Mood::Impostor, Mood::Verbose, Mood::Redirecting] {
        issuer.set(mood.clone());
        let reason = verdict(&issuer.authenticator(), &token).await.expect_err(&format!("{mood:?}"));
        assert_eq!(reason, AuthnReason::KeysUnavailable, "{mood:?}");
    }
}

#[tokio::test]
async fn a_slow_issuer_delays_new_keys_but_not_known_ones() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&[&key]).await;
    let authenticator = Arc::new(issuer.authenticator());
    let token = key.sign(&issuer.claims(json!({})));
    verdict(&authenticator, &token).await.unwrap();
    issuer.set(Mood::Slow(Duration::from_mins(1)));
    let forged = SigningKey::es256("two").sign(&issuer.claims(json!({})));
    let waiting = tokio::spawn({
        let authenticator = Arc::clone(&authenticator);
        async move { verdict(&authenticator, &forged).await.map(drop) }
    });
    let began = Instant::now();
    verdict(&authenticator, &token).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(waiting.await.unwrap().unwrap_err(), AuthnReason::KeysUnavailable);
    assert!(began.elapsed() < Duration::from_secs(9), "the fetch ends after 5 s");
}

#[tokio::test]
async fn whoever_hangs_up_ends_no_fetch_that_others_need() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&[&key]).await;
    issuer.set(Mood::Slow(Duration::from_millis(300)));
    let rarely = Freshness {
        refresh_every: Duration::from_hours(1),
        minimum_interval: Duration::from_mins(1),
        ..Freshness::default()
    };
    let authenticator = issuer.authenticator_with(rarely);
    let forged = SigningKey::es256("two").sign(&issuer.claims(json!({})));
    tokio::time::timeout(Duration::from_millis(100), verdict(&authenticator, &forged)).await.unwrap_err();
    // the fetch that it waited for goes on, and is not tried anew for a minute
    verdict(&authenticator, &key.sign(&issuer.claims(json!({})))).await.unwrap();
    assert_eq!(issuer.fetches(), 1);
}
