//! A real OpenID Connect issuer on loopback whose every answer a test can spoil.

use super::super::{Authenticator, Freshness, IssuerOptions};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) const AUDIENCE: &str = "orders.shop";

/// A signing key.
#[derive(Clone)]
pub(super) struct SigningKey {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) private: EncodingKey,
    pub(super) public: Value,
}

impl SigningKey {
    pub(super) fn es256(id: &str) -> Self {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        Self::new(id, Algorithm::ES256, EncodingKey::from_ec_der(pkcs8.as_ref()))
    }

    pub(super) fn ed25519(id: &str) -> Self {
        use aws_lc_rs::encoding::AsDer as _;
        use aws_lc_rs::signature::Ed25519KeyPair;
        let pair = Ed25519KeyPair::generate().unwrap();
        let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        Self::new(id, Algorithm::EdDSA, EncodingKey::from_ed_der(pkcs8.as_ref()))
    }

    pub(super) fn rsa(id: &str, algorithm: Algorithm) -> Self {
        use aws_lc_rs::encoding::AsDer as _;
        let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        Self::new(id, algorithm, EncodingKey::from_rsa_der(&pkcs1_of(pkcs8.as_ref())))
    }

    fn new(id: &str, algorithm: Algorithm, private: EncodingKey) -> Self {
        let mut jwk = Jwk::from_encoding_key(&private, algorithm).unwrap();
        jwk.common.key_id = Some(id.to_owned());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_algorithm = Some(KeyAlgorithm::from(algorithm));
        let public = serde_json::to_value(jwk).unwrap();
        Self { id: id.to_owned(), algorithm, private, public }
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }

    /// Signs any header, sensible or not.
    pub(super) fn sign_with_header(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.private, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }
}

/// The PKCS#1 key inside a PKCS#8 one: jsonwebtoken wants it bare. Its sequence is the last one that reaches the
/// end, after the fixed algorithm identifier of RSA (RFC 5208 section 5).
fn pkcs1_of(pkcs8: &[u8]) -> Vec<u8> {
    let at = pkcs8.windows(2).position(|pair| pair == [0x04, 0x82]).unwrap();
    pkcs8[at + 4..].to_vec()
}

/// How the issuer answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Mood {
    #[default]
    Well,
    /// Answers 503.
    Down,
    /// Answers after this long.
    Slow(Duration),
    /// Names another issuer in its discovery document.
    Impostor,
    /// Sends its keys with 2 MiB of padding.
    Verbose,
    /// Redirects to another host.
    Redirecting,
    /// Answers only whoever shows this token, and names its keys at this address.
    Reserved(String, String),
}

pub(super) struct Issuer {
    pub(super) url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    mood: Arc<Mutex<Mood>>,
    pub(super) fetches: Arc<AtomicUsize>,
    /// How often somebody asked for keys and showed a token.
    pub(super) shown: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Shared {
    url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    mood: Arc<Mutex<Mood>>,
    fetches: Arc<AtomicUsize>,
    shown: Arc<AtomicUsize>,
}

impl Issuer {
    pub(super) async fn start(keys: &[&SigningKey]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Shared {
            url: url.clone(),
            keys: Arc::default(),
            mood: Arc::default(),
            fetches: Arc::default(),
            shown: Arc::default(),
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let issuer =
            Self { url, keys: shared.keys, mood: shared.mood, fetches: shared.fetches, shown: shared.shown };
        issuer.publish(keys);
        issuer
    }

    pub(super) fn publish(&self, keys: &[&SigningKey]) {
        self.publish_raw(keys.iter().map(|key| key.public.clone()).collect());
    }

    pub(super) fn publish_raw(&self, keys: Vec<Value>) {
        *self.keys.lock().unwrap() = keys;
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(super) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    pub(super) fn options(&self) -> IssuerOptions {
        IssuerOptions {
            issuer: self.url.clone(),
            audiences: vec![AUDIENCE.to_owned()],
            username_claim: "sub".to_owned(),
            groups_claim: "groups".to_owned(),
            ca_pem: None,
            introduction: None,
        }
    }

    /// An authenticator that waits never between two refreshes.
    pub(super) fn authenticator(&self) -> Authenticator {
        self.authenticator_with(Freshness { minimum_interval: Duration::ZERO, ..Freshness::default() })
    }

    pub(super) fn authenticator_with(&self, freshness: Freshness) -> Authenticator {
        Authenticator::new(vec![self.options()], freshness).unwrap()
    }

    /// Good claims, with changes: `null` takes a claim away.
    pub(super) fn claims(&self, changes: Value) -> Value {
        let now = jiff::Timestamp::now().as_second();
        let mut claims = json!({
            "iss": self.url, "sub": "ci-bot", "aud": AUDIENCE, "exp": now + 600, "iat": now,
            "groups": ["agents"], "repository": "acme/billing",
        });
        merge(claims.as_object_mut().unwrap(), changes);
        claims
    }
}

fn merge(claims: &mut Map<String, Value>, changes: Value) {
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    for (name, value) in changes {
        if value.is_null() {
            claims.remove(&name);
        } else {
            claims.insert(name, value);
        }
    }
}

async fn discovery(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let mood = shared.mood.lock().unwrap().clone();
    let document = |issuer: &str| {
        axum::Json(json!({ "issuer": issuer, "jwks_uri": format!("{}/jwks", shared.url) })).into_response()
    };
    match mood {
        Mood::Well | Mood::Verbose => document(&shared.url),
        Mood::Down => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Mood::Slow(delay) => {
            tokio::time::sleep(delay).await;
            document(&shared.url)
        }
        Mood::Reserved(token, _) if !shows(&headers, &token) => StatusCode::UNAUTHORIZED.into_response(),
        Mood::Reserved(_, elsewhere) => {
            let keys = format!("{elsewhere}/jwks");
            axum::Json(json!({ "issuer": shared.url, "jwks_uri": keys })).into_response()
        }
        Mood::Impostor => document("https://elsewhere.example"),
        Mood::Redirecting => {
            let elsewhere = shared.url.replace("127.0.0.1", "localhost");
            Redirect::temporary(&format!("{elsewhere}/.well-known/openid-configuration")).into_response()
        }
    }
}

fn shows(headers: &HeaderMap, token: &str) -> bool {
    headers.get("authorization").is_some_and(|shown| shown == &format!("Bearer {token}"))
}

async fn jwks(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    if headers.contains_key("authorization") {
        shared.shown.fetch_add(1, Ordering::SeqCst);
    }
    if let Mood::Reserved(token, _) = &*shared.mood.lock().unwrap()
        && !shows(&headers, token)
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    let keys = shared.keys.lock().unwrap().clone();
    let padding = if *shared.mood.lock().unwrap() == Mood::Verbose { 2 * 1024 * 1024 } else { 0 };
    axum::Json(json!({ "keys": keys, "padding": "x".repeat(padding) })).into_response()
}
