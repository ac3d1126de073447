//! What the API server lets the gateway's own account do. It acts as its agents, so it has to be allowed to.
//!
//! Every account may ask about itself, by `SelfSubjectAccessReview`.
//! <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>

use crate::options::Naming;
use crate::upstream::{Outgoing, Upstream};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};
use std::time::Duration;

/// What the gateway's account may not do of what it is for. Empty: nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Lack {
    /// What it has to impersonate and may not, as `RESOURCE[/SUBRESOURCE][/NAME]` in RBAC's words.
    pub missing: Vec<String>,
    /// Kinds of names of which it may impersonate some at most, and as which of them it has to act is not known.
    pub narrow: Vec<String>,
}

/// Why the API server did not say.
#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    /// It cannot be reached.
    #[error("the API server cannot be reached")]
    Unreachable,
    /// It does not know the account.
    #[error("the API server does not accept the gateway's credential (401)")]
    Unauthorized,
    /// It does not let the account ask.
    #[error("the API server refuses the question (status {0})")]
    Refused(StatusCode),
    /// What it says is no answer.
    #[error("the API server's answer cannot be read")]
    Answer,
}

/// What is impersonated: API group, resource, subresource, name.
type Question<'a> = (&'a str, &'a str, Option<&'a str>, Option<String>);

/// Every request of an agent carries these.
const ALWAYS: [Question<'static>; 3] = [
    (AUTHENTICATION, "uids", None, None),
    (AUTHENTICATION, "userextras", Some("portcullis.dev/session"), None),
    (AUTHENTICATION, "userextras", Some("portcullis.dev/command"), None),
];
const AUTHENTICATION: &str = "authentication.k8s.io";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// Most groups that are asked for: each is a request.
const MOST: usize = 64;
/// Longest wait for all answers.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer, in bytes.
const LARGEST: usize = 64 << 10;

/// Asks for everything that the account needs.
///
/// Cancel safe.
///
/// # Errors
/// The API server did not say.
pub(crate) async fn ask(upstream: &Upstream, naming: &Naming) -> Result<Lack, RightsError> {
    tokio::time::timeout(PATIENCE, ask_all(upstream, naming)).await.unwrap_or(Err(RightsError::Unreachable))
}

async fn ask_all(upstream: &Upstream, naming: &Naming) -> Result<Lack, RightsError> {
    let groups = match &naming.groups {
        None => vec![None],
        Some(groups) => {
            let name = |group| Some(format!("{}{group}", naming.groups_prefix));
            groups.iter().take(MOST).map(name).collect()
        }
    };
    let groups = groups.into_iter().map(|name| ("", "groups", None, name));
    let mut lack = Lack::default();
    for question in ALWAYS.into_iter().chain([("", "users", None, None)]).chain(groups) {
        if may(upstream, &question).await? {
            continue;
        }
        let (group, resource, subresource, name) = question;
        if group.is_empty() && name.is_none() {
            lack.narrow.push(resource.to_owned());
        } else {
            let parts = [Some(resource), subresource, name.as_deref()];
            lack.missing.push(parts.into_iter().flatten().collect::<Vec<_>>().join("/"));
        }
    }
    Ok(lack)
}

async fn may(upstream: &Upstream, question: &Question<'_>) -> Result<bool, RightsError> {
    let (group, resource, subresource, name) = question;
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "verb": "impersonate", "group": group, "resource": resource, "subresource": subresource, "name": name,
        }},
    });
    let mut headers = HeaderMap::new();
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        headers.insert(name, HeaderValue::from_static("application/json"));
    }
    let outgoing = Outgoing {
        method: Method::POST,
        target: REVIEWS.to_owned(),
        headers,
        body: Bytes::from(review.to_string()),
    };
    let answer = upstream.review(outgoing).await.map_err(|_told| RightsError::Unreachable)?;
    match answer.status() {
        StatusCode::CREATED => {}
        StatusCode::UNAUTHORIZED => return Err(RightsError::Unauthorized),
        other => return Err(RightsError::Refused(other)),
    }
    let body = Limited::new(answer.into_body(), LARGEST).collect().await;
    let body = body.map_err(|_broke_off| RightsError::Answer)?.to_bytes();
    let review: Value = serde_json::from_slice(&body).map_err(|_not_json| RightsError::Answer)?;
    review.pointer("/status/allowed").and_then(Value::as_bool).ok_or(RightsError::Answer)
}
