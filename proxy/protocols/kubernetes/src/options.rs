//! How a cluster is reached, and the limits of its sessions.

use http::Uri;
use proxy_core::secret::Secret;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How a cluster is reached.
#[derive(Clone, Debug)]
pub struct Options {
    /// `https://host[:port]` of the API server, with a path before the API's own if there is one.
    pub server: Uri,
    /// The name in its certificate, if other than the host.
    pub server_name: Option<String>,
    /// TLS to it. Its verifier decides what is trusted, and it carries the client certificate if that is the
    /// credential.
    pub tls: Arc<rustls::ClientConfig>,
    /// What the gateway shows for itself.
    pub credential: Credential,
    /// How an identity is called in the cluster.
    pub naming: Naming,
    /// Limits.
    pub limits: Limits,
    /// Cancelled when the gateway drains: sessions end at the first moment they are idle.
    pub drain: CancellationToken,
    /// Cancelled when draining has taken long enough: sessions end at once.
    pub stop: CancellationToken,
}

/// What the gateway shows for itself. It needs the right to impersonate, and nothing else.
#[derive(Clone, Debug)]
pub enum Credential {
    /// The client certificate of [`Options::tls`].
    Certificate,
    /// A bearer token.
    Token(Secret<String>),
    /// A file with a bearer token that is renewed from time to time; read again after a minute.
    TokenFile(PathBuf),
}

/// How an identity is called in the cluster: what is put before its names.
///
/// Names that begin with `system:` mean the cluster's own components. Without a prefix an identity whose user name
/// begins so is refused, and groups that do are left out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Naming {
    /// Before the user name.
    pub username_prefix: String,
    /// Before each group.
    pub groups_prefix: String,
    /// The groups that are passed on, without the prefix; `None`: all.
    pub groups: Option<BTreeSet<String>>,
}

/// Limits of a session. Reaching one is a `Status` for the client, never a silent cut.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time from the accepted connection to a verified token.
    pub handshake: Duration,
    /// Time to connect to the API server.
    pub connect: Duration,
    /// Largest body of a request in bytes: that of the API server itself (`--max-request-bytes`' default).
    pub request_bytes: usize,
    /// Time in which a body must have come: as long as the API server gives a whole request.
    pub request_body: Duration,
    /// Most bytes of bodies that the requests of one connection may have under way, until they are sent on: a few of
    /// the largest. Held requests keep theirs, and a client decides itself how many it sends at once.
    pub connection_bytes: usize,
    /// Most identities that one connection may present.
    pub sessions: usize,
    /// Most requests of one HTTP/2 connection at once.
    pub streams: u32,
    /// How long a held request waits before its client is told to repeat it. Default: shorter than the idle timeouts of
    /// the load balancers that may stand between (60 s).
    pub hold_wait: Duration,
    /// Largest WebSocket message, in bytes.
    pub message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            request_bytes: 3 << 20,
            request_body: Duration::from_mins(1),
            connection_bytes: 16 << 20,
            sessions: 8,
            streams: 250,
            hold_wait: Duration::from_secs(50),
            message_bytes: 4 << 20,
        }
    }
}
