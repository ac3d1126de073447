//! What may be sent for a request that nobody has cleared: a look, or an attempt that changes nothing.

use crate::analyze::{self, Body, Known};
use crate::mask::Masks;
use crate::request::RequestInfo;
use crate::upstream::Outgoing;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use proxy_policy::Effects;
use serde_json::{Value, json};

/// A `GET` of an object, or a write with `dryRun=All`. There is no other way to make one.
#[derive(Debug)]
pub(crate) struct Attempt(Outgoing);

impl Attempt {
    /// The same request as an attempt, of something that the API server itself serves. `None`: it would not be one as the
    /// analyser reads it, and the API server with it.
    pub(super) fn dry_run(info: &RequestInfo, outgoing: &Outgoing, masks: &Masks) -> Option<Self> {
        let mut tried = info.clone();
        tried.query.retain(|(name, _)| name != "dryRun");
        tried.query.push(("dryRun".to_owned(), "All".to_owned()));
        let is_delete = matches!(info.verb, "delete" | "deletecollection");
        let body = if is_delete && !outgoing.body.is_empty() {
            // with a body, the API server reads the options of a delete from there and not from the query
            let mut options: Value = serde_json::from_slice(&outgoing.body).ok()?;
            options.as_object_mut()?.insert("dryRun".to_owned(), json!(["All"]));
            options.to_string().into()
        } else {
            outgoing.body.clone()
        };
        let target = tried.canonical();
        let content_type = outgoing.headers.get(header::CONTENT_TYPE);
        let read = RequestInfo::read(info.method.as_str(), &target).ok()?;
        let sent = Body { content_type: content_type.and_then(|value| value.to_str().ok()), bytes: &body };
        let own = Known { is_own: true, ..Known::default() };
        let analysis = analyze::analyze_knowing(&read, sent, masks, &own).ok()?;
        let Effects::Known(touches) = &analysis.command.reading.effects else { return None };
        if !touches.first()?.detail.request()?.dry_run {
            return None;
        }
        let mut headers = HeaderMap::new();
        for name in [header::CONTENT_TYPE, header::USER_AGENT] {
            if let Some(value) = outgoing.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        Some(Self(Outgoing { method: outgoing.method.clone(), target, headers, body }))
    }

    /// With the gateway's own headers.
    pub(super) fn with_headers(mut self, own: HeaderMap) -> Self {
        self.0.headers.extend(own);
        self
    }

    /// What goes upstream.
    pub(crate) fn into_outgoing(self) -> Outgoing {
        self.0
    }
}

/// A `GET` of an object, whatever becomes of the request for which it is looked at. There is no other way to make one.
#[derive(Debug)]
pub(crate) struct Look(Outgoing);

impl Look {
    /// Reads the object at a decoded path.
    pub(in super::super) fn at(path: &str, own: HeaderMap) -> Option<Self> {
        let mut info = RequestInfo::read("GET", "/").ok()?;
        path.clone_into(&mut info.path);
        let target = info.canonical();
        // what reads back differently is not sent
        let is_plain = RequestInfo::read("GET", &target).is_ok_and(|read| {
            read.path.trim_end_matches('/') == path.trim_end_matches('/')
                && !read.is_proxy()
                && !read.is_connect()
        });
        let outgoing = Outgoing { method: Method::GET, target, headers: own, body: Bytes::new() };
        is_plain.then_some(Self(outgoing))
    }

    /// What goes upstream.
    pub(crate) fn into_outgoing(self) -> Outgoing {
        self.0
    }
}

impl From<Look> for Attempt {
    fn from(look: Look) -> Self {
        Self(look.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proxy_core::mask::Masker;

    fn tried(method: Method, target: &str, body: &str) -> Option<Outgoing> {
        let masks = Masks::new(Masker::new(&[], &[1; 32]), &[]);
        let info = RequestInfo::read(method.as_str(), target).unwrap();
        let mut headers = HeaderMap::new();
        let content_type = match (method == Method::PATCH, body.starts_with('[')) {
            (true, true) => "application/json-patch+json",
            (true, false) => "application/merge-patch+json",
            (false, _) => "application/json",
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("x"));
        let body = Bytes::from(body.to_owned());
        let outgoing = Outgoing { method, target: info.canonical(), headers, body };
        Attempt::dry_run(&info, &outgoing, &masks).map(Attempt::into_outgoing)
    }

    #[test]
    fn what_is_tried_says_so_where_the_api_server_looks() {
        const POD: &str = "/api/v1/namespaces/a/pods/web";
        let sent = tried(Method::DELETE, POD, r#"{"propagationPolicy":"Orphan"}"#).unwrap();
        let options: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(options, json!({"propagationPolicy": "Orphan", "dryRun": ["All"]}));
        for (method, target, body) in [
            (Method::DELETE, POD, ""),
            (Method::DELETE, "/api/v1/namespaces/a/pods?labelSelector=x", ""),
            (Method::POST, "/api/v1/namespaces/a/pods/web/eviction", "{}"),
            (Method::PATCH, POD, r#"{"metadata":{"labels":{"a":"b"}}}"#),
            (Method::PATCH, POD, r#"[{"op":"remove","path":"/metadata/labels/a"}]"#),
            (Method::PUT, "/apis/apps/v1/namespaces/a/deployments/web/scale?pretty=1", "{}"),
            (Method::POST, "/api/v1/namespaces/a/secrets", "{}"),
        ] {
            let sent = tried(method.clone(), target, body).unwrap();
            assert_eq!((&sent.method, sent.body), (&method, Bytes::from(body)), "{target}");
            assert!(sent.target.ends_with("dryRun=All"), "{}", sent.target);
            assert_eq!(sent.headers.len(), 1, "{target}");
        }
    }

    #[test]
    fn what_would_be_no_attempt_is_not_sent() {
        for (method, target, body) in [
            (Method::POST, "/api/v1/namespaces/a/serviceaccounts/x/token", "{}"),
            (Method::POST, "/api/v1/namespaces/a/pods/web/exec?command=id", ""),
            (Method::POST, "/api/v1/namespaces/a/services/web/proxy/delete", ""),
            (Method::DELETE, "/api/v1/namespaces/a/pods/web", "[]"),
            (Method::POST, "/logs", ""),
        ] {
            assert!(tried(method, target, body).is_none(), "{target}");
        }
        let look = |path| Look::at(path, HeaderMap::new());
        assert!(look("/api/v1/namespaces/a/pods/web").is_some());
        assert!(look("/api/v1/namespaces/a/pods/web/exec").is_none());
        assert!(look("/api/v1/namespaces/a/services/web/proxy/x").is_none());
        assert!(look("/api/v1/../x").is_none());
    }
}
