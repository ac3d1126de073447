//! An API server asked directly, where starting kubectl each time would be what is measured.

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use serde_json::Value;
use std::path::Path;

/// A client of an API server, as the kubeconfig's current user. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rest {
    client: reqwest::Client,
    server: String,
    token: String,
}

impl Rest {
    /// From a kubeconfig as the harness writes it: one cluster, tokens.
    ///
    /// # Errors
    /// It is no such kubeconfig.
    pub fn new(kubeconfig: &Path, user: &str) -> Result<Self> {
        let text = std::fs::read_to_string(kubeconfig).context("read the kubeconfig")?;
        let config: Value = serde_json::from_str(&text).context("read the kubeconfig")?;
        let text = |path: &str| config.pointer(path).and_then(Value::as_str).context("unexpected kubeconfig");
        let authority = text("/clusters/0/cluster/certificate-authority-data")?;
        let authority = base64::engine::general_purpose::STANDARD.decode(authority)?;
        let authority = reqwest::Certificate::from_pem(&authority)?;
        let users = config.get("users").and_then(Value::as_array).context("unexpected kubeconfig")?;
        let token = users
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some(user))
            .and_then(|entry| entry.pointer("/user/token")?.as_str())
            .with_context(|| format!("the kubeconfig has no token for {user}"))?;
        Ok(Self {
            client: reqwest::Client::builder().tls_certs_only([authority]).build()?,
            server: text("/clusters/0/cluster/server")?.to_owned(),
            token: token.to_owned(),
        })
    }

    /// A request with the user's token; `path` begins with `/`.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.server)).bearer_auth(&self.token)
    }

    /// Creates an object.
    ///
    /// # Errors
    /// The API server does not take it, with what it said.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        answer(self.request(reqwest::Method::POST, path).json(object)).await
    }

    /// An object or a list.
    ///
    /// # Errors
    /// The API server does not have it, with what it said.
    pub async fn get(&self, path: &str) -> Result<Value> {
        answer(self.request(reqwest::Method::GET, path)).await
    }

    /// Merges into an object (RFC 7386).
    ///
    /// # Errors
    /// The API server does not take it, with what it said.
    pub async fn merge(&self, path: &str, fields: &Value) -> Result<Value> {
        let request = self.request(reqwest::Method::PATCH, path);
        answer(request.header("content-type", "application/merge-patch+json").body(fields.to_string())).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value> {
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        bail!("{status}: {text}");
    }
    Ok(serde_json::from_str(&text)?)
}
