//! What an HTTP request asks of the API server: [`RequestInfo`], as `k8s.io/apiserver` itself resolves it.
//!
//! ```text
//! method, target, headers ─► headers: none that changes who asks or what is asked
//!                            target: the path, decoded segment by segment
//!                            query: pairs, decoded; none that could be read in two ways
//!                            resolve: the API server's own algorithm ─► RequestInfo ─► canonical ─► upstream
//! ```
//!
//! The algorithm is that of `pkg/endpoints/request/requestinfo.go` (v0.34 to v0.37 agree); `tests/it/request_oracle.rs`
//! compares thousands of requests with the real one. What two readers could understand in two ways is refused before
//! it is resolved: encoded slashes, empty and dotted segments, the absolute form, repeated options, impersonation,
//! method override. The bytes of the client never go upstream: [`RequestInfo::canonical`] is written anew.

mod canonical;
mod headers;
mod query;
mod resolve;
mod selector;
mod target;

pub(crate) use headers::refuse_credentials;
pub use headers::refuse_headers;
pub(crate) use selector::label_keys;

use std::fmt;

/// Longest request target in bytes. An argv of `exec` travels in it.
pub const TARGET_LIMIT: usize = 64 * 1024;

/// The methods of the API.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Method {
    /// Read.
    Get,
    /// Read, without a body.
    Head,
    /// Create, and connect over SPDY.
    Post,
    /// Update.
    Put,
    /// Patch.
    Patch,
    /// Delete one or a collection.
    Delete,
}

impl Method {
    /// The method as it stands in a request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn parse(method: &str) -> Result<Self, Refused> {
        match method {
            "GET" => Ok(Self::Get),
            "HEAD" => Ok(Self::Head),
            "POST" => Ok(Self::Post),
            "PUT" => Ok(Self::Put),
            "PATCH" => Ok(Self::Patch),
            "DELETE" => Ok(Self::Delete),
            _ => Err(Refused::method()),
        }
    }

    /// Whether the method may change something.
    pub const fn changes(self) -> bool {
        match self {
            Self::Get | Self::Head => false,
            Self::Post | Self::Put | Self::Patch | Self::Delete => true,
        }
    }
}

/// Why a request is refused before any policy is asked. Every word is safe for the client.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// HTTP status.
    pub code: u16,
    /// The `reason` of the `Status` object.
    pub reason: &'static str,
    /// What was refused and what to do instead: one sentence.
    pub message: String,
}

impl Refused {
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self { code: 400, reason: "BadRequest", message: message.into() }
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self { code: 403, reason: "Forbidden", message: message.into() }
    }

    pub(crate) fn media_type(message: impl Into<String>) -> Self {
        Self { code: 415, reason: "UnsupportedMediaType", message: message.into() }
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self { code: 413, reason: "RequestEntityTooLarge", message: message.into() }
    }

    fn method() -> Self {
        Self {
            code: 405,
            reason: "MethodNotAllowed",
            message: "the gateway speaks GET, HEAD, POST, PUT, PATCH and DELETE".to_owned(),
        }
    }
}

/// One request, resolved. The fields up to `label_selector` are the API server's own, under its own names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestInfo {
    /// HTTP method.
    pub method: Method,
    /// Whether an API resource is meant, and not some other path.
    pub is_resource: bool,
    /// The decoded path; a trailing slash is kept.
    pub path: String,
    /// The API server's verb. For other paths the method in lower case. See [`Self::rbac_verb`] for what is judged.
    pub verb: &'static str,
    /// `api` or `apis`; empty for other paths.
    pub api_prefix: String,
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace, also for a request about a namespace itself; empty for cluster-wide requests.
    pub namespace: String,
    /// Plural resource.
    pub resource: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// Name of the object; for `list` and `watch` the one that `fieldSelector` asks for.
    pub name: String,
    /// Path parts from the resource on.
    pub parts: Vec<String>,
    /// Field selector of `list`, `watch` and `deletecollection`.
    pub field_selector: String,
    /// Label selector of the same.
    pub label_selector: String,
    /// The query, decoded, in the order given.
    pub query: Vec<(String, String)>,
}

impl RequestInfo {
    /// Reads a request line. `target` is the bytes between method and version, as they came (origin form); headers are
    /// for [`refuse_headers`].
    ///
    /// # Errors
    /// [`Refused`]: the request could be read in two ways, or is none of the API.
    pub fn read(method: &str, target: &str) -> Result<Self, Refused> {
        let method = Method::parse(method)?;
        if target.len() > TARGET_LIMIT {
            let message = format!("the request target is longer than {TARGET_LIMIT} bytes");
            return Err(Refused { code: 414, reason: "RequestURITooLong", message });
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = target::read(path)?;
        let pairs = query::read(query)?;
        resolve::resolve(method, path, pairs)
    }

    /// First value of a query parameter.
    pub fn parameter(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Every value of a query parameter, in order: the argv of `exec`.
    pub fn parameters<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether a boolean parameter is set, as the API server reads it: present, and neither `0` nor `false`.
    pub fn flag(&self, key: &str) -> bool {
        self.parameter(key).is_some_and(query::is_true)
    }

    /// Whether the resource is of a group that the API server itself serves, in every cluster.
    pub fn is_built_in(&self) -> bool {
        is_built_in(&self.group)
    }

    /// Whether the answer is a stream of events: `watch`, or a named `get` that asks for one.
    pub fn is_watch(&self) -> bool {
        self.is_resource && (self.verb == "watch" || (self.verb == "get" && self.flag("watch")))
    }

    /// Whether the subresource opens a connection into a pod: `exec`, `attach`, `portforward`.
    pub fn is_connect(&self) -> bool {
        self.is_resource
            && self.group.is_empty()
            && self.resource == "pods"
            && matches!(self.subresource.as_str(), "exec" | "attach" | "portforward")
    }

    /// Whether arbitrary HTTP to a node, pod or service is meant; the API server does not read what is behind it.
    pub fn is_proxy(&self) -> bool {
        self.is_resource && (self.subresource == "proxy" || self.verb == "proxy")
    }

    /// The verb that rules are about: the API server's, but `create` for what opens a connection into a pod, since
    /// WebSocket clients say GET and SPDY clients POST for the same thing.
    pub fn rbac_verb(&self) -> &'static str {
        if self.is_connect() { "create" } else { self.verb }
    }

    /// Path and query for upstream, written anew from what was understood.
    pub fn canonical(&self) -> String {
        canonical::write(self)
    }
}

/// `pods/exec shop/web`, `list secrets shop`: for people.
impl fmt::Display for RequestInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rbac_verb())?;
        if !self.is_resource {
            return write!(f, " {}", self.path);
        }
        write!(f, " {}", self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        match (self.namespace.is_empty(), self.name.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => write!(f, " {}", self.name),
            (false, true) => write!(f, " {}/", self.namespace),
            (false, false) => write!(f, " {}/{}", self.namespace, self.name),
        }
    }
}

/// Whether the API server itself serves the group, in every cluster.
pub(crate) fn is_built_in(group: &str) -> bool {
    OWN_GROUPS.contains(&group)
}

/// Groups that the API server itself serves, in every cluster.
const OWN_GROUPS: [&str; 22] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];
