//! OTLP over gRPC: <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>.

use crate::causes::chain;
use crate::export::{ExportError, ExportOptions, Reply};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use prost::Message as _;
use std::time::Duration;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

pub(super) struct Sender {
    client: LogsServiceClient<Channel>,
    headers: MetadataMap,
    timeout: Duration,
}

impl Sender {
    /// Connects when the first batch is sent, and again when the connection is lost.
    pub(super) fn new(options: &ExportOptions) -> Result<Self, ExportError> {
        let wrong = |what| move |why: String| ExportError::Configuration { what, why };
        let mut endpoint = Endpoint::from_shared(options.endpoint.clone())
            .map_err(|error| wrong("endpoint")(chain(&error)))?
            .connect_timeout(options.timeout)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_while_idle(true);
        if options.endpoint.starts_with("https://") {
            let mut tls = ClientTlsConfig::new().with_native_roots();
            if let Some(pem) = &options.ca_pem {
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| wrong("certificate")(chain(&error)))?;
        }
        let mut headers = MetadataMap::new();
        for (name, value) in &options.headers {
            let key = AsciiMetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes());
            let value = AsciiMetadataValue::try_from(value.as_str());
            let (Ok(key), Ok(mut value)) = (key, value) else {
                return Err(wrong("header")(format!("{name} cannot be sent")));
            };
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        Ok(Self {
            client: LogsServiceClient::new(endpoint.connect_lazy()),
            headers,
            timeout: options.timeout,
        })
    }

    pub(super) async fn send(&mut self, request: ExportLogsServiceRequest) -> Reply {
        let mut request = Request::new(request);
        *request.metadata_mut() = self.headers.clone();
        request.set_timeout(self.timeout);
        // The timeout in the request binds the server; this one binds us.
        match tokio::time::timeout(self.timeout, self.client.export(request)).await {
            Err(_) => Reply::Retry { after: None, why: format!("no answer within {:?}", self.timeout) },
            Ok(Err(status)) => judge(&status),
            Ok(Ok(response)) => match response.into_inner().partial_success {
                Some(partial) if partial.rejected_log_records > 0 => Reply::Partial {
                    rejected: partial.rejected_log_records.unsigned_abs(),
                    why: partial.error_message,
                },
                _ => Reply::Accepted,
            },
        }
    }
}

fn judge(status: &Status) -> Reply {
    let why = chain(status);
    // No answer of the receiver: the connection broke, whatever code that was turned into.
    if std::error::Error::source(status).is_some() {
        return Reply::Retry { after: None, why };
    }
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Reply::Retry { after: retry_delay(status.details()), why },
        Code::ResourceExhausted => match retry_delay(status.details()) {
            Some(after) => Reply::Retry { after: Some(after), why },
            None => Reply::Refused { why },
        },
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Internal
        | Code::Unauthenticated => Reply::Refused { why },
    }
}

/// `google.rpc.Status` of the trailer, as far as it is needed:
/// <https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto>.
#[derive(Clone, PartialEq, prost::Message)]
struct RichStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The pause that the receiver asks for, at most ten minutes; `None` when it says nothing.
fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status = RichStatus::decode(details).ok()?;
    let info = status.details.iter().find(|detail| detail.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).unwrap_or_default();
    let nanos = u32::try_from(delay.nanos).unwrap_or_default();
    Some(Duration::from_secs(seconds.min(600)) + Duration::from_nanos(nanos.into()))
}

#[cfg(test)]
pub(super) fn retry_info(delay: Duration) -> Vec<u8> {
    let delay = Delay { seconds: delay.as_secs().cast_signed(), nanos: delay.subsec_nanos().cast_signed() };
    let value = RetryInfo { retry_delay: Some(delay) }.encode_to_vec();
    let detail = Detail { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value };
    RichStatus { details: vec![detail] }.encode_to_vec()
}
