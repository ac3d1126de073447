//! The keys of one issuer: cached, refreshed, and refused when too old.
//!
//! * A known key costs no I/O. A token that names an unknown key makes one refresh, however many clients wait for
//!   it, and at most one in [`Freshness::minimum_interval`], so that forged key ids do not hammer the issuer.
//! * A task refreshes every [`Freshness::refresh_every`], so that a withdrawn key is forgotten.
//! * While the issuer is down the cached keys go on working until they are [`Freshness::stale_after`] old; then
//!   tokens are refused, since a key withdrawn meanwhile would still be taken for good.

use super::AuthnReason;
use super::fetch::Endpoint;
use super::token::Token;
use crate::gate::Chain;
use arc_swap::ArcSwapOption;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Most keys that are taken from one issuer.
const MAX_KEYS: usize = 100;

/// How fresh an issuer's keys are kept.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// How often the keys are fetched anew. Default: 5 minutes.
    pub refresh_every: Duration,
    /// The least time between two fetches for unknown keys. Default: 5 seconds.
    pub minimum_interval: Duration,
    /// The age at which keys are not trusted any more. Default: 1 hour.
    pub stale_after: Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            refresh_every: Duration::from_mins(5),
            minimum_interval: Duration::from_secs(5),
            stale_after: Duration::from_hours(1),
        }
    }
}

/// One key, and the algorithms it is for.
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// What an issuer published, and when we began to ask for it.
struct KeySet {
    keys: Vec<Key>,
    asked_at: Instant,
}

/// The last attempt to fetch.
#[derive(Clone, Copy)]
struct Attempt {
    ended: Instant,
    succeeded: bool,
}

/// Keys of one issuer.
pub(super) struct KeyCache {
    endpoint: Endpoint,
    freshness: Freshness,
    current: ArcSwapOption<KeySet>,
    /// Held while fetching: the single flight.
    last_attempt: Mutex<Option<Attempt>>,
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache").field("issuer", &self.endpoint.issuer()).finish_non_exhaustive()
    }
}

/// What the cached keys say about a token.
enum Answer {
    /// A key that the token can mean was there, and this is what it says.
    Settled(Result<(), AuthnReason>),
    /// No key that the token can mean.
    NoKey,
    /// No keys, or too old ones.
    NoSet,
}

impl KeyCache {
    pub(super) fn new(endpoint: Endpoint, freshness: Freshness) -> Arc<Self> {
        let cache = Arc::new(Self {
            endpoint,
            freshness,
            current: ArcSwapOption::empty(),
            last_attempt: Mutex::new(None),
        });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Ends by itself: it holds the cache weakly.
            runtime.spawn(keep_fresh(Arc::downgrade(&cache), freshness.refresh_every));
        }
        cache
    }

    /// Checks the signature of a token with the issuer's keys.
    ///
    /// Cancel safe. Waits for at most one fetch of its own and one of another, 5 s each.
    pub(super) async fn check(self: &Arc<Self>, token: &Token<'_>) -> Result<(), AuthnReason> {
        if let Answer::Settled(result) = self.answer(token) {
            return result;
        }
        // A task of its own: whoever hangs up meanwhile does not end the fetch that others wait for.
        let cache = Arc::clone(self);
        let refreshing = tokio::spawn(async move { cache.refresh(cache.freshness.minimum_interval).await });
        let reached = refreshing.await.unwrap_or(false);
        match self.answer(token) {
            Answer::Settled(result) => result,
            Answer::NoKey if reached => Err(AuthnReason::UnknownKey),
            Answer::NoKey | Answer::NoSet => Err(AuthnReason::KeysUnavailable),
        }
    }

    fn answer(&self, token: &Token<'_>) -> Answer {
        let set = self.current.load();
        match set.as_ref() {
            Some(set) if set.asked_at.elapsed() < self.freshness.stale_after => set.answer(token),
            _ => Answer::NoSet,
        }
    }

    /// Fetches the keys, unless that was tried less than `interval` ago. Returns whether the last attempt succeeded.
    async fn refresh(&self, interval: Duration) -> bool {
        let mut last_attempt = self.last_attempt.lock().await;
        if let Some(last) = *last_attempt
            && last.ended.elapsed() < interval
        {
            return last.succeeded;
        }
        let began = Instant::now();
        let succeeded = self.fetch(began).await;
        // From its end on: all who waited for it take what came of it, however long it took.
        *last_attempt = Some(Attempt { ended: Instant::now(), succeeded });
        succeeded
    }

    /// Fetches the keys and takes them over. Returns whether that succeeded; if not, the log says why.
    async fn fetch(&self, began: Instant) -> bool {
        let raw = match self.endpoint.fetch().await {
            Ok(raw) => raw,
            Err(error) => {
                let issuer = self.endpoint.issuer();
                tracing::warn!(issuer, error = %Chain(&error), "cannot fetch the issuer's keys");
                return false;
            }
        };
        let keys: Vec<Key> = raw.into_iter().take(MAX_KEYS).filter_map(Key::read).collect();
        self.current.store(Some(Arc::new(KeySet { keys, asked_at: began })));
        true
    }
}

/// Fetches at once, then every `interval`, until the cache is gone.
async fn keep_fresh(cache: Weak<KeyCache>, interval: Duration) {
    loop {
        let Some(alive) = cache.upgrade() else { return };
        // Keys that were fetched for an unknown one a moment ago will do; an attempt that failed will not.
        let fresh = alive.current.load().as_ref().is_some_and(|set| set.asked_at.elapsed() < interval / 2);
        if !fresh {
            alive.refresh(alive.freshness.minimum_interval.min(interval / 2)).await;
        }
        drop(alive);
        tokio::time::sleep(interval).await;
    }
}

impl KeySet {
    fn answer(&self, token: &Token<'_>) -> Answer {
        let candidates: Vec<&Key> = match &token.key_id {
            Some(id) => self.keys.iter().filter(|key| key.id.as_ref() == Some(id)).collect(),
            None => self.keys.iter().filter(|key| key.algorithms.contains(&token.algorithm)).collect(),
        };
        if candidates.is_empty() {
            return Answer::NoKey;
        }
        if token.key_id.is_none() && candidates.len() > 1 {
            return Answer::Settled(Err(AuthnReason::Malformed("it does not say which key signed it")));
        }
        let mut usable = candidates.iter().filter(|key| key.algorithms.contains(&token.algorithm)).peekable();
        if usable.peek().is_none() {
            return Answer::Settled(Err(AuthnReason::UnsupportedAlgorithm));
        }
        Answer::Settled(if usable.any(|key| key.signed(token)) {
            Ok(())
        } else {
            Err(AuthnReason::BadSignature)
        })
    }
}

impl Key {
    /// Reads one key; `None` for one that is not for signatures or not understood.
    fn read(raw: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(raw).ok()?;
        let signs = jwk.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
        let verifies = jwk
            .common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let algorithms = algorithms(&jwk);
        if !signs || !verifies || algorithms.is_empty() {
            return None;
        }
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: jwk.common.key_id, algorithms, decoding })
    }

    fn signed(&self, token: &Token<'_>) -> bool {
        // An error means a signature or key of the wrong shape: not signed by this key.
        crypto::verify(token.signature, token.signed.as_bytes(), &self.decoding, token.algorithm)
            .unwrap_or(false)
    }
}

/// The algorithms that a key is for: its `alg`, or those of its type. Empty: none that is accepted.
fn algorithms(jwk: &Jwk) -> Vec<Algorithm> {
    let stated = jwk.common.key_algorithm;
    let mut of_type = algorithms_of_type(&jwk.algorithm).to_vec();
    of_type.retain(|algorithm| stated.is_none_or(|stated| stated == KeyAlgorithm::from(*algorithm)));
    of_type
}

/// The library may learn further types and curves at any time; what is not named here is not accepted.
const fn algorithms_of_type(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
    if let AlgorithmParameters::RSA(_) = parameters {
        &RSA
    } else if let AlgorithmParameters::EllipticCurve(key) = parameters
        && matches!(key.curve, EllipticCurve::P256)
    {
        &[Algorithm::ES256]
    } else if let AlgorithmParameters::EllipticCurve(key) = parameters
        && matches!(key.curve, EllipticCurve::P384)
    {
        &[Algorithm::ES384]
    } else if let AlgorithmParameters::OctetKeyPair(key) = parameters
        && matches!(key.curve, EllipticCurve::Ed25519)
    {
        &[Algorithm::EdDSA]
    } else {
        &[]
    }
}

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
