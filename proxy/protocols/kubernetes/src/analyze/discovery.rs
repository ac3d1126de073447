//! Requests that ask what there is and who one is: every client needs them, and they change and show nothing else.

use crate::request::{Method, RequestInfo};

/// Paths below which everything is a description of the server.
const DESCRIPTIONS: [&str; 4] = ["/openapi", "/healthz", "/livez", "/readyz"];

/// Whether a request is discovery, `OpenAPI`, the version or a health check.
pub fn is_discovery(info: &RequestInfo) -> bool {
    if info.is_resource || !matches!(info.method, Method::Get | Method::Head) {
        return false;
    }
    let path = info.path.trim_end_matches('/');
    let below =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // paths of resources are longer, and are not asked for here
    matches!(path, "/version" | "/api" | "/apis")
        || below("/api")
        || below("/apis")
        || DESCRIPTIONS.iter().any(|root| below(root))
}

/// Whether a request asks what its own user is or may do.
pub fn is_self_review(info: &RequestInfo) -> bool {
    let is_review = match info.group.as_str() {
        "authorization.k8s.io" => {
            matches!(info.resource.as_str(), "selfsubjectaccessreviews" | "selfsubjectrulesreviews")
        }
        "authentication.k8s.io" => info.resource == "selfsubjectreviews",
        _ => false,
    };
    is_review && info.verb == "create" && info.subresource.is_empty() && info.name.is_empty()
}

/// Whether a request needs no rule: it is allowed by `no-effects`.
pub fn is_open(info: &RequestInfo) -> bool {
    is_discovery(info) || is_self_review(info)
}
