//! Requests to a witness.

use crate::causes::chain;
use crate::witness::client::{WitnessAddress, WitnessOptions};
use crate::witness::{AddCheckpoint, SIZE_TYPE};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Response, StatusCode};

/// Most bytes of signature lines that are read.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Most bytes of a statement that are read: some 200,000 logs.
const MAX_STATEMENT_BYTES: usize = 64 << 20;

/// What a witness said to a checkpoint.
pub(super) enum Reply {
    /// Its signature lines.
    Cosigned(String),
    UnknownLog,
    /// The size that it cosigned last.
    Conflict(u64),
}

pub(super) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub(super) fn new(address: &WitnessAddress, options: &WitnessOptions) -> Result<Self, String> {
        let mut http =
            reqwest::Client::builder().timeout(options.timeout).redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = &options.ca_pem {
            let certificates = Certificate::from_pem_bundle(pem).map_err(|error| chain(&error))?;
            http = http.tls_certs_merge(certificates);
        }
        let http = http.build().map_err(|error| chain(&error))?;
        Ok(Self { http, url: address.url.clone() })
    }

    pub(super) async fn add_checkpoint(&self, request: &AddCheckpoint) -> Result<Reply, String> {
        let response = self.post("add-checkpoint", request.print()).await?;
        let status = response.status();
        match status {
            StatusCode::OK => Ok(Reply::Cosigned(text(response, MAX_ANSWER_BYTES).await?)),
            StatusCode::NOT_FOUND => Ok(Reply::UnknownLog),
            StatusCode::CONFLICT => {
                let is_size = response
                    .headers()
                    .get(CONTENT_TYPE)
                    .is_some_and(|kind| kind.as_bytes().starts_with(SIZE_TYPE.as_bytes()));
                let size = text(response, MAX_ANSWER_BYTES).await?;
                let size = size.trim_end().parse().ok().filter(|_| is_size);
                size.map(Reply::Conflict).ok_or_else(|| "409 without the size that it saw".to_owned())
            }
            StatusCode::FORBIDDEN => {
                Err("the log's signature is not by the key that it has (403)".to_owned())
            }
            StatusCode::UNPROCESSABLE_ENTITY => {
                Err("what it saw of this log is not the beginning of this one (422)".to_owned())
            }
            _ => Err(format!("status {status}")),
        }
    }

    pub(super) async fn add_log(&self, certificate: &str) -> Result<(), String> {
        let status = self.post("add-log", certificate.to_owned()).await?.status();
        if status.is_success() { Ok(()) } else { Err(format!("add-log: status {status}")) }
    }

    pub(super) async fn statement(&self, nonce: &str) -> Result<String, String> {
        let request = self.http.get(format!("{}/logs?nonce={nonce}", self.url));
        let response = request.send().await.map_err(|error| chain(&error.without_url()))?;
        match response.status() {
            StatusCode::OK => text(response, MAX_STATEMENT_BYTES).await,
            status => Err(format!("status {status}")),
        }
    }

    async fn post(&self, call: &str, body: String) -> Result<Response, String> {
        let request = self.http.post(format!("{}/{call}", self.url)).body(body);
        request.send().await.map_err(|error| chain(&error.without_url()))
    }
}

/// The body, if it is no longer than this.
async fn text(mut response: Response, limit: usize) -> Result<String, String> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| chain(&error.without_url()))? {
        if body.len() + part.len() > limit {
            return Err("the answer is too long".to_owned());
        }
        body.extend_from_slice(&part);
    }
    String::from_utf8(body).or(Err("the answer is not text".to_owned()))
}
