//! THE table: every protocol, and nothing else that names one.
//!
//! A protocol's settings come from its stanza of the `Resource`; this file turns them into the protocol crate's own
//! options, so that protocol crates never see the API types.

mod entrance;
mod kubernetes;
mod postgresql;
mod ssh;

pub use kubernetes::Kubernetes;
pub use postgresql::Postgresql;
pub use ssh::Ssh;

use crate::config::{ResourceConfig, Upstream};
use crate::serve::Unauthenticated;
use crds::v1alpha1::UpstreamAccount;
use proxy_core::session::{ResourceContext, Wording};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// One protocol with the settings of one Resource. Replaced whole when they change; sessions keep theirs.
#[derive(Debug)]
pub enum Service {
    /// The Kubernetes API.
    Kubernetes(Kubernetes),
    /// PostgreSQL.
    Postgresql(Postgresql),
    /// SSH.
    Ssh(Ssh),
}

/// A socket that was just accepted.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    /// The client's address.
    pub peer: SocketAddr,
    /// Dropped when the connection has a session.
    pub unauthenticated: Unauthenticated,
}

/// What a protocol is set up with.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The Resource.
    pub config: &'a ResourceConfig,
    /// What its sessions share.
    pub resource: Arc<ResourceContext>,
    /// Fires when sessions should end as soon as nothing of theirs is under way.
    pub draining: CancellationToken,
    /// Fires when sessions have to end.
    pub ending: CancellationToken,
}

/// Why settings cannot be used by their protocol.
#[derive(Debug)]
pub struct Unusable {
    /// Path in the Resource.
    pub path: String,
    /// What was expected.
    pub message: String,
}

/// Name of an upstream's protocol, for records and metrics.
pub const fn name(upstream: &Upstream) -> &'static str {
    match upstream {
        Upstream::Kubernetes(_) => "kubernetes",
        Upstream::Postgresql(_) => "postgresql",
        Upstream::Ssh(_) => "ssh",
    }
}

/// The public key by which clients know the gateway, where its protocol has one, in OpenSSH's format.
pub fn host_key(upstream: &Upstream) -> Option<String> {
    match upstream {
        Upstream::Kubernetes(_) | Upstream::Postgresql(_) => None,
        Upstream::Ssh(upstream) => ssh::host_key(upstream),
    }
}

/// What records call the parts of an upstream's commands.
pub const fn wording(upstream: &Upstream) -> Wording {
    match upstream {
        Upstream::Kubernetes(_) => Wording::REQUEST,
        Upstream::Postgresql(_) => Wording::DATABASE,
        Upstream::Ssh(_) => Wording::PROCESS,
    }
}

impl Service {
    /// The protocol of a Resource. What is costly to lose (an issuer's keys, a catalogue) is taken over from
    /// `before` where its settings are the same.
    ///
    /// # Errors
    /// The protocol cannot use a setting.
    pub fn new(settings: Settings<'_>, before: Option<&Self>) -> Result<Self, Unusable> {
        match &settings.config.upstream {
            Upstream::Kubernetes(upstream) => {
                let before = before.and_then(|before| match before {
                    Self::Kubernetes(before) => Some(before),
                    Self::Postgresql(_) | Self::Ssh(_) => None,
                });
                Kubernetes::new(settings, upstream, before).map(Self::Kubernetes)
            }
            Upstream::Ssh(upstream) => {
                let before = before.and_then(|before| match before {
                    Self::Ssh(before) => Some(before),
                    Self::Kubernetes(_) | Self::Postgresql(_) => None,
                });
                Ssh::new(settings, upstream, before).map(Self::Ssh)
            }
            Upstream::Postgresql(upstream) => {
                let before = before.and_then(|before| match before {
                    Self::Postgresql(before) => Some(before),
                    Self::Kubernetes(_) | Self::Ssh(_) => None,
                });
                Postgresql::new(settings, upstream, before).map(Self::Postgresql)
            }
        }
    }

    /// Name of the protocol.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kubernetes(_) => "kubernetes",
            Self::Postgresql(_) => "postgresql",
            Self::Ssh(_) => "ssh",
        }
    }

    /// What upstream says of the gateway's own account there, and when to ask again; logs what differs from `before`.
    /// `None` where the protocol has nothing to ask.
    ///
    /// Cancel safe.
    pub async fn account(&self, before: Option<&UpstreamAccount>) -> Option<(UpstreamAccount, Duration)> {
        match self {
            Self::Kubernetes(kubernetes) => kubernetes.account(before).await,
            // their credentials are used, and refused, with each session
            Self::Postgresql(_) | Self::Ssh(_) => None,
        }
    }

    /// Serves one connection until it is over.
    ///
    /// Not cancel safe: the session would be cut off; use [`Settings::ending`].
    pub async fn serve(&self, connection: Connection) {
        match self {
            Self::Kubernetes(kubernetes) => kubernetes.serve(connection).await,
            Self::Postgresql(postgresql) => postgresql.serve(connection).await,
            Self::Ssh(ssh) => ssh.serve(connection).await,
        }
    }

    /// Tells a client, in its own protocol, that there is no place for it.
    ///
    /// Cancel safe.
    pub async fn turn_away(&self, connection: Connection) {
        match self {
            Self::Kubernetes(kubernetes) => kubernetes.turn_away(connection).await,
            Self::Postgresql(postgresql) => postgresql.turn_away(connection).await,
            Self::Ssh(ssh) => ssh.turn_away(connection).await,
        }
    }
}
