//! How the hosts of an SSH resource are reached, and the limits of a session.

use crate::keys::{Certificate, HostKeys, PrivateKey};
use proxy_core::secret::Secret;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How the hosts of an SSH resource are reached.
#[derive(Clone, Debug)]
pub struct Options {
    /// The hosts, the first of which is meant by a user name that names none. Never empty.
    pub hosts: Vec<Host>,
    /// Logins that a client may ask for, by the user name it gives.
    pub roles: BTreeMap<String, Credentials>,
    /// The gateway's own host key.
    pub host_key: PrivateKey,
    /// Signs the certificates that tokens are traded for. `None`: there are none.
    pub authority: Option<PrivateKey>,
    /// Limits.
    pub limits: Limits,
    /// Cancelled when the gateway drains: sessions end at the first moment they are idle.
    pub drain: CancellationToken,
    /// Cancelled when draining has taken long enough: sessions end at once.
    pub stop: CancellationToken,
}

/// One host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Host {
    /// Its name in policies, and in `login%name`.
    pub name: String,
    /// DNS name or address.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// Keys that it may show. A host with another key is not logged in to.
    pub keys: HostKeys,
}

/// What the gateway logs in with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name on the host.
    pub username: String,
    /// How it is proved.
    pub proof: Proof,
}

/// How the gateway proves to a host who it is.
#[derive(Clone, Debug)]
pub enum Proof {
    /// By a key.
    Key(PrivateKey),
    /// By a key and the certificate for it.
    Certified(PrivateKey, Box<Certificate>),
    /// By a password.
    Password(Secret<String>),
}

/// Limits of a session. Reaching one is told to the client, never a silent cut.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time from the accepted connection to a verified token.
    pub handshake: Duration,
    /// Time to reach a host and log in.
    pub connect: Duration,
    /// Most channels that a connection has open at once.
    pub channels: usize,
    /// Longest command line, in bytes.
    pub command_bytes: usize,
    /// Most bytes that a client may send ahead while its command waits for an approval.
    pub held_bytes: usize,
    /// Time between two notices to a client that waits for an approval.
    pub notice_every: Duration,
    /// Silence after which a side is asked whether it is there.
    pub keepalive: Duration,
    /// Silence on an output after which what is held back of it is looked at again: a prompt has no end of line.
    pub quiet: Duration,
    /// Time for which a channel that takes no input may stop the other channels of its connection.
    pub stalled: Duration,
    /// Longest life of a certificate.
    pub certificate: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(20),
            connect: Duration::from_secs(10),
            channels: 1024,
            command_bytes: 64 << 10,
            held_bytes: 64 << 10,
            notice_every: Duration::from_secs(15),
            keepalive: Duration::from_secs(15),
            quiet: crate::mask::QUIET,
            stalled: Duration::from_secs(10),
            certificate: Duration::from_mins(15),
        }
    }
}
