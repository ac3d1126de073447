//! The discovery document and the key set of an issuer, over HTTP bounded in time, size and reach.

use super::{Introduction, IssuerOptions, SetupError};
use reqwest::{Certificate, Client, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;

/// Longest answer of an issuer, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// Longest time for discovery and keys together.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most redirects that are followed, all on the same host.
const MAX_REDIRECTS: usize = 3;

/// Why an issuer's keys were not fetched. For the operator's log.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the issuer's answer is longer than 1 MiB")]
    BodyTooLong,
    #[error("ask the issuer")]
    Http(#[from] reqwest::Error),
    #[error("the discovery document names issuer {found:?}, not {expected:?}")]
    Issuer { expected: String, found: String },
    #[error("read the gateway's own token from {path}")]
    OwnToken {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("parse the issuer's answer")]
    Json(#[from] serde_json::Error),
    #[error("the key set is at {0:?}, which is not an https URL (http is accepted on loopback only)")]
    KeysUrl(String),
    #[error("the issuer did not answer within 5 s")]
    TimedOut,
}

/// OpenID Connect Discovery 1.0 section 3.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// RFC 7517 section 5. Keys stay raw: one that is not understood must not spoil the others.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// Where one issuer is asked.
#[derive(Debug)]
pub(super) struct Endpoint {
    issuer: String,
    url: Url,
    loopback: bool,
    client: Client,
    introduction: Option<Introduction>,
}

impl Endpoint {
    pub(super) fn new(options: &IssuerOptions) -> Result<Self, SetupError> {
        let issuer = options.issuer.as_str();
        let name = || issuer.to_owned();
        let url = Url::parse(issuer).ok().filter(plain).ok_or_else(|| SetupError::Url { issuer: name() })?;
        let loopback = url.scheme() == "http";
        let mut builder = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::custom(same_host))
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        if loopback {
            // No proxy between us and ourselves, and no need for the system's certificate authorities.
            builder = builder.no_proxy().tls_certs_only([]);
        } else if let Some(pem) = options.ca_pem.as_deref() {
            let authorities = Certificate::from_pem_bundle(pem)
                .map_err(|source| SetupError::Ca { issuer: name(), source })?;
            builder = builder.tls_certs_only(authorities).https_only(true);
        } else {
            builder = builder.https_only(true);
        }
        let client = builder.build().map_err(|source| SetupError::Client { issuer: name(), source })?;
        let introduction = options.introduction.clone();
        Ok(Self { issuer: issuer.to_owned(), url, loopback, client, introduction })
    }

    /// The issuer's name.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Fetches the keys by way of the discovery document. Cancel safe: nothing is kept.
    pub(super) async fn fetch(&self) -> Result<Vec<Value>, FetchError> {
        match tokio::time::timeout(TIMEOUT, self.fetch_unbounded()).await {
            Ok(result) => result,
            Err(_elapsed) => Err(FetchError::TimedOut),
        }
    }

    async fn fetch_unbounded(&self) -> Result<Vec<Value>, FetchError> {
        let document = Url::parse(&discovery_url(&self.issuer)).unwrap_or_else(|_| self.url.clone());
        let discovery: Discovery = self.json(document).await?;
        if discovery.issuer != self.issuer {
            let (expected, found) = (self.issuer.clone(), discovery.issuer.chars().take(256).collect());
            return Err(FetchError::Issuer { expected, found });
        }
        let keys = Url::parse(&discovery.jwks_uri).ok().filter(|url| match url.scheme() {
            "https" => !self.loopback || is_loopback(url),
            "http" => self.loopback && is_loopback(url),
            _ => false,
        });
        match keys {
            Some(url) => Ok(self.json::<KeySet>(self.own(url)).await?.keys),
            None => Err(FetchError::KeysUrl(discovery.jwks_uri.chars().take(256).collect())),
        }
    }

    /// Its own keys are fetched from the issuer itself, where the gateway may show who it is.
    fn own(&self, keys: Url) -> Url {
        match &self.introduction {
            Some(introduction) if keys.path() == introduction.keys_path => {
                self.url.join(introduction.keys_path).unwrap_or(keys)
            }
            Some(_) | None => keys,
        }
    }

    async fn json<T: DeserializeOwned>(&self, url: Url) -> Result<T, FetchError> {
        let ours = self.introduction.as_ref().filter(|_| url.origin() == self.url.origin());
        let mut request = self.client.get(url);
        if let Some(Introduction { token_file: path, .. }) = ours {
            let token = tokio::fs::read_to_string(path).await;
            let token =
                token.map_err(|source| FetchError::OwnToken { path: path.display().to_string(), source })?;
            request = request.bearer_auth(token.trim());
        }
        let mut response = request.send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len().saturating_add(chunk.len()) > MAX_BODY {
                return Err(FetchError::BodyTooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(serde_json::from_slice(&body)?)
    }
}

/// Where the discovery document of an issuer is (OpenID Connect Discovery 1.0 section 4).
pub(super) fn discovery_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}

/// `https`, or `http` on loopback, with nothing that does not belong in an issuer's name.
fn plain(url: &Url) -> bool {
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    bare && match url.scheme() {
        "https" => url.host_str().is_some(),
        "http" => is_loopback(url),
        _ => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// A redirect stays on the host, port and scheme where it began.
fn same_host(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let stays = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if stays && attempt.previous().len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.error("redirected to another host, or too often")
    }
}
