//! What a request does not say and its meaning depends on: the API server is asked before it is judged.

use super::body::{self, Body};
use super::{dry_run, may_be_a_definitions, scope, touches};
use crate::request::RequestInfo;
use serde_json::Value;

/// What the API server said. The default is what holds of a request of which nothing is known: it is judged as the worst
/// that it may be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Known {
    /// The API server itself serves the resource, by a `CustomResourceDefinition`, and knows what a dry run is.
    pub is_own: bool,
    /// The resource stands in no namespace, as the API server's discovery says.
    pub in_no_namespace: bool,
    /// Of which signer the signing request asks for a certificate, where the request can be about no other one.
    pub signer: Option<String>,
}

/// What is to be found out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unknown {
    /// Whether the API server itself serves this, which is to be tried only.
    Server,
    /// Whether this resource stands in namespaces.
    Scope {
        /// In the plural.
        resource: String,
    },
    /// Of which signer the signing request with this `uid` asks for a certificate.
    Signer {
        /// Its `metadata.uid`, by which the API server refuses to change any other.
        uid: String,
    },
}

impl Unknown {
    /// The path of the object that tells.
    pub fn path(&self, info: &RequestInfo) -> String {
        let RequestInfo { group, version, resource, name, .. } = info;
        match self {
            Self::Server => format!("/apis/apiregistration.k8s.io/v1/apiservices/{version}.{group}"),
            Self::Scope { .. } => format!("/apis/{group}/{version}"),
            Self::Signer { .. } => format!("/apis/{group}/{version}/{resource}/{name}"),
        }
    }

    /// What the object tells.
    pub fn told_by(&self, object: &Value) -> Known {
        match self {
            Self::Server => {
                let is_own =
                    object.get("spec").is_some_and(|spec| spec.get("service").is_none_or(Value::is_null));
                Known { is_own, ..Known::default() }
            }
            Self::Scope { resource } => {
                Known { in_no_namespace: scope::told(resource, object), ..Known::default() }
            }
            Self::Signer { uid } => {
                let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
                let is_it = text("/metadata/uid") == Some(uid);
                let signer = text("/spec/signerName").filter(|name| is_it && !name.is_empty());
                Known { signer: signer.map(str::to_owned), ..Known::default() }
            }
        }
    }
}

/// What is to be found out of a request before it is judged.
pub fn unknown(info: &RequestInfo, body: Body<'_>) -> Option<Unknown> {
    let is_delete = matches!(info.verb, "delete" | "deletecollection");
    let may_be_tried = info.is_resource
        && info.method.changes()
        && may_be_a_definitions(info)
        && (info.parameter("dryRun").is_some() || (is_delete && !body.bytes.is_empty()));
    let is_signers = touches::is_of_a_signer(info);
    let scope = || scope::is_to_be_asked(info).then(|| Unknown::Scope { resource: info.resource.clone() });
    if !may_be_tried && !is_signers {
        return scope();
    }
    // what cannot be read is refused by the analysis
    let read = body::read(info, body).ok()?;
    if is_signers {
        // of a JSON patch, which is a list, there is none: it is bound to no object
        let uid = read.as_ref()?.value.pointer("/metadata/uid").and_then(Value::as_str);
        return uid.filter(|uid| !uid.is_empty()).map(|uid| Unknown::Signer { uid: uid.to_owned() });
    }
    let own = Known { is_own: true, ..Known::default() };
    if dry_run(info, read.as_ref(), &own).ok()? { Some(Unknown::Server) } else { scope() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(request: &str, content_type: &str, body: &Value) -> Option<(String, Unknown)> {
        let (method, target) = request.split_once(' ').unwrap();
        let info = RequestInfo::read(method, target).unwrap();
        let bytes = if body.is_null() { String::new() } else { body.to_string() };
        let body = Body { content_type: Some(content_type), bytes: bytes.as_bytes() };
        let unknown = unknown(&info, body)?;
        Some((unknown.path(&info), unknown))
    }

    #[test]
    fn only_what_a_definition_may_serve_is_asked_for_and_only_where_it_is_to_be_tried() {
        const ORDERS: &str = "/apis/example.com/v1/namespaces/shop/orders";
        let service = || {
            Some(("/apis/apiregistration.k8s.io/v1/apiservices/v1.example.com".to_owned(), Unknown::Server))
        };
        let (json, null) = ("application/json", Value::Null);
        assert_eq!(of(&format!("POST {ORDERS}?dryRun=All"), json, &json!({"spec": {}})), service());
        assert_eq!(of(&format!("DELETE {ORDERS}/a?dryRun=All"), json, &null), service());
        assert_eq!(of(&format!("DELETE {ORDERS}/a"), json, &json!({"dryRun": ["All"]})), service());
        assert_eq!(of(&format!("PUT {ORDERS}/a/scale?dryRun=All"), json, &json!({"spec": {}})), service());
        for (request, body) in [
            (format!("POST {ORDERS}"), json!({"spec": {}})),
            (format!("DELETE {ORDERS}/a"), json!({"propagationPolicy": "Orphan"})),
            // another server's, or the API server's own
            (format!("PUT {ORDERS}/a/restart?dryRun=All"), json!({"spec": {}})),
            ("POST /api/v1/namespaces/shop/pods?dryRun=All".to_owned(), json!({"spec": {}})),
            (format!("GET {ORDERS}/a"), null),
        ] {
            assert_eq!(of(&request, json, &body), None, "{request}");
        }
    }

    #[test]
    fn a_signer_is_asked_for_where_the_request_is_bound_to_one_object() {
        const CSR: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests/x";
        let bound = json!({"metadata": {"name": "x", "uid": "u1"}, "spec": {"signerName": "a/b"}});
        let signer = Some((CSR.to_owned(), Unknown::Signer { uid: "u1".to_owned() }));
        assert_eq!(of(&format!("PUT {CSR}/approval"), "application/json", &bound), signer);
        assert_eq!(of(&format!("PATCH {CSR}/approval"), "application/merge-patch+json", &bound), signer);
        assert_eq!(of(&format!("PUT {CSR}/status"), "application/json", &bound), signer);
        let unbound = json!({"metadata": {"name": "x"}});
        assert_eq!(of(&format!("PUT {CSR}/approval"), "application/json", &unbound), None);
        assert_eq!(of(&format!("PUT {CSR}"), "application/json", &bound), None);
        let test = json!([{"op": "test", "path": "/metadata/uid", "value": "u1"}]);
        assert_eq!(of(&format!("PATCH {CSR}/approval"), "application/json-patch+json", &test), None);
    }

    #[test]
    fn an_object_tells_what_it_is_and_no_other_does() {
        let is_own = |service: Value| Unknown::Server.told_by(&service).is_own;
        assert!(
            is_own(json!({"spec": {"group": "example.com"}})) && is_own(json!({"spec": {"service": null}}))
        );
        assert!(
            !is_own(json!({"spec": {"service": {"name": "x"}}}))
                && !is_own(json!({}))
                && !is_own(Value::Null)
        );
        let signer = |object: Value| Unknown::Signer { uid: "u1".to_owned() }.told_by(&object).signer;
        let request = json!({"metadata": {"uid": "u1"}, "spec": {"signerName": "example.com/a"}});
        assert_eq!(signer(request).as_deref(), Some("example.com/a"));
        assert_eq!(signer(json!({"metadata": {"uid": "u2"}, "spec": {"signerName": "example.com/a"}})), None);
        assert_eq!(signer(json!({"metadata": {"uid": "u1"}, "spec": {}})), None);
    }
}
