//! How a PostgreSQL resource is reached, and its limits.

use proxy_core::secret::Secret;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How a PostgreSQL resource is reached.
#[derive(Clone, Debug)]
pub struct Options {
    /// Host name or address of the server; also the name its certificate must carry.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// TLS to the server.
    pub tls: UpstreamTls,
    /// Roles that a client may log in as, by the user name it gives.
    pub roles: BTreeMap<String, Credentials>,
    /// Limits.
    pub limits: Limits,
    /// Cancelled when the gateway drains: sessions end at the first moment they are idle.
    pub drain: CancellationToken,
    /// Cancelled when draining has taken long enough: sessions end at once.
    pub stop: CancellationToken,
}

/// TLS to the server.
#[derive(Clone, Debug)]
pub enum UpstreamTls {
    /// Required, with this configuration. Its verifier decides what is trusted.
    Require(Arc<rustls::ClientConfig>),
    /// None: the operator said so. A server that asks for a cleartext password does not get one.
    Disable,
}

/// What the gateway logs in with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Role on the server.
    pub username: String,
    /// Its password.
    pub password: Secret<String>,
}

/// Limits of a session. Reaching one is an error in the client's protocol, never a silent cut.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time from the accepted connection to a verified token.
    pub handshake: Duration,
    /// Time to reach the server and log in.
    pub connect: Duration,
    /// Largest message from a client, in bytes.
    pub client_message_bytes: usize,
    /// Longest statement that is analysed, in bytes.
    pub statement_bytes: usize,
    /// Largest message from the server that has to be looked into, in bytes. Rows without any mask may be larger:
    /// they stream.
    pub masked_message_bytes: usize,
    /// Most named statements, and most portals, of a session.
    pub names: usize,
    /// Time between two notices to a client that waits for an approval.
    pub notice_every: Duration,
    /// Age after which a catalogue that is in use is loaded again.
    pub catalogue_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            client_message_bytes: 64 << 20,
            statement_bytes: 1 << 20,
            masked_message_bytes: 64 << 20,
            names: 10_000,
            notice_every: Duration::from_secs(15),
            catalogue_age: Duration::from_mins(1),
        }
    }
}
