//! OTLP over HTTP with binary protobuf: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use crate::causes::chain;
use crate::export::{ExportError, ExportOptions, Reply};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Response, StatusCode, Url};
use std::time::Duration;

/// Most bytes of an answer that are read.
const ANSWER_BYTES: usize = 64 << 10;

pub(super) struct Sender {
    client: Client,
    url: Url,
}

impl Sender {
    pub(super) fn new(options: &ExportOptions) -> Result<Self, ExportError> {
        let wrong = |what| move |why: String| ExportError::Configuration { what, why };
        let mut url: Url = options.endpoint.parse().map_err(|error| wrong("endpoint")(format!("{error}")))?;
        if url.path() == "/" {
            url.set_path("/v1/logs");
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        for (name, value) in &options.headers {
            let (Ok(key), Ok(mut value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
                return Err(wrong("header")(format!("{name} cannot be sent")));
            };
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let mut client = Client::builder()
            .timeout(options.timeout)
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = &options.ca_pem {
            let certificates =
                Certificate::from_pem_bundle(pem).map_err(|error| wrong("certificate")(chain(&error)))?;
            client = client.tls_certs_merge(certificates);
        }
        let client = client.build().map_err(|error| wrong("client")(chain(&error)))?;
        Ok(Self { client, url })
    }

    pub(super) async fn send(&mut self, request: &ExportLogsServiceRequest) -> Reply {
        match self.client.post(self.url.clone()).body(request.encode_to_vec()).send().await {
            Ok(response) => judge(response).await,
            Err(error) => Reply::Retry { after: None, why: chain(&error.without_url()) },
        }
    }
}

async fn judge(response: Response) -> Reply {
    let status = response.status();
    let after = retry_after(response.headers());
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => return Reply::Retry { after, why: status.to_string() },
        status if !status.is_success() => return Reply::Refused { why: status.to_string() },
        _ => {}
    }
    match body(response).await {
        Ok(bytes) => {
            match ExportLogsServiceResponse::decode(bytes.as_slice()).ok().and_then(|r| r.partial_success) {
                Some(partial) if partial.rejected_log_records > 0 => Reply::Partial {
                    rejected: partial.rejected_log_records.unsigned_abs(),
                    why: partial.error_message,
                },
                _ => Reply::Accepted,
            }
        }
        Err(why) => Reply::Retry { after: None, why },
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error.without_url()))? {
        if bytes.len() + chunk.len() > ANSWER_BYTES {
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Seconds; a date is not understood, the back-off does as well. At most ten minutes.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(600)))
}
