//! Refusals in the API's own words: a `Status` object that kubectl prints.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>

use crate::request::Refused;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use proxy_core::refusal::{Refusal, RefusalKind};
use serde_json::{Value, json};
use std::time::Duration;

/// What every answer's body is.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why the body of an answer ended early. The client sees a connection that broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The API server broke off.
    #[error("the API server's answer broke off")]
    Upstream(#[source] hyper::Error),
    /// It cannot be masked, or not be recorded.
    #[error("the answer may not be handed on: {0}")]
    Withheld(String),
    /// The session ended meanwhile.
    #[error("the session ended")]
    Ended,
}

/// A refusal with the HTTP status that says it best.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    code: StatusCode,
    reason: &'static str,
    message: String,
    retry_after: Option<Duration>,
    /// For programs: `details.causes`, by reason.
    causes: Vec<(&'static str, String)>,
}

impl Failure {
    pub(crate) fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), retry_after: None, causes: Vec::new() }
    }

    /// The client may repeat the request after so long, to get what it waits for.
    #[must_use]
    pub(crate) fn after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// An ApprovalRequest of this name is what the request waits for.
    #[must_use]
    pub(crate) fn awaiting(mut self, approval: &str) -> Self {
        self.causes.push(("PortcullisApproval", approval.to_owned()));
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The `Status` object.
    pub(crate) fn status(&self) -> Value {
        let mut details = serde_json::Map::new();
        let cause = |(reason, message): &(_, _)| json!({ "reason": reason, "message": message });
        if !self.causes.is_empty() {
            details.insert("causes".to_owned(), self.causes.iter().map(cause).collect());
        }
        if let Some(pause) = self.retry_after {
            details.insert("retryAfterSeconds".to_owned(), pause.as_secs().into());
        }
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "details": details, "code": self.code.as_u16(),
        })
    }

    /// The event with which a watch ends.
    pub(crate) fn event(&self) -> String {
        json!({ "type": "ERROR", "object": self.status() }).to_string()
    }

    /// The whole answer.
    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = json_response(self.code, &self.status());
        if let Some(pause) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs()));
        }
        if self.code == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The HTTP status of a refusal of this kind, and the reason that clients print.
pub const fn answer_of(kind: RefusalKind) -> (StatusCode, &'static str) {
    match kind {
        RefusalKind::Authentication | RefusalKind::SessionEnded => (StatusCode::UNAUTHORIZED, "Unauthorized"),
        RefusalKind::Denied
        | RefusalKind::ApprovalDenied
        | RefusalKind::ApprovalExpired
        | RefusalKind::Withdrawn => (StatusCode::FORBIDDEN, "Forbidden"),
        // not 503, which clients repeat by themselves
        RefusalKind::Unavailable => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        RefusalKind::Protocol => (StatusCode::BAD_REQUEST, "BadRequest"),
        RefusalKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
        RefusalKind::Full => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (code, reason) = answer_of(refusal.kind);
        let rule = refusal.rule.filter(|rule| !rule.rule.is_empty());
        let rule = rule.map(|rule| format!("{}/{}", rule.policy, rule.rule).trim_matches('/').to_owned());
        let message = if refusal.hint.is_empty() {
            refusal.message
        } else {
            format!("{}; {}", refusal.message, refusal.hint)
        };
        let causes = rule.map(|rule| ("PortcullisRule", rule)).into_iter().collect();
        Self { code, reason, message, retry_after: None, causes }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let code = StatusCode::from_u16(refused.code).unwrap_or(StatusCode::BAD_REQUEST);
        Self::new(code, refused.reason, refused.message)
    }
}

/// An answer of the gateway's own.
pub(crate) fn json_response(code: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string().into()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A body that is there already.
pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_policy::RuleRef;

    #[test]
    fn a_policys_refusal_is_a_forbidden_status_that_names_the_rule() {
        let rule = RuleRef { policy: "agents".to_owned(), generation: 3, rule: "no-nodes".to_owned() };
        let failure = Failure::from(Refusal::denied(rule, "delete nodes is denied".to_owned()));
        let status = failure.status();
        assert_eq!(status["code"], 403);
        assert_eq!(status["reason"], "Forbidden");
        assert_eq!(status["details"]["causes"][0]["message"], "agents/no-nodes");
        let message = status["message"].as_str().unwrap();
        assert!(message.starts_with("delete nodes is denied; see rule no-nodes"), "{message}");
    }

    #[test]
    fn a_missing_token_is_asked_for_by_name_of_the_scheme() {
        let failure = Failure::new(StatusCode::UNAUTHORIZED, "Unauthorized", "no token");
        assert_eq!(failure.response().headers()["www-authenticate"], "Bearer");
    }

    #[test]
    fn a_pause_is_said_twice_for_two_kinds_of_client() {
        let failure = Failure::new(StatusCode::FORBIDDEN, "Forbidden", "waits").after(Duration::from_secs(5));
        assert_eq!(failure.response().headers()["retry-after"], "5");
        assert_eq!(failure.status()["details"]["retryAfterSeconds"], 5);
    }
}
