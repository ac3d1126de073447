//! Objects, from a directory's manifests or a cluster → everything the gateway runs, or every problem at once.
//!
//! The order: a [`Snapshot`] of the files, the objects in them ([`objects`]), then each Resource with all that it
//! refers to ([`resolve`]). Nothing here listens, connects or keeps state; [`crate::control`] decides what is looked at
//! and what becomes of the result. A configuration is used whole or not at all.

pub mod objects;
mod pem;
pub mod problem;
mod quantity;
mod resolve;
mod snapshot;

pub use problem::{Place, Problem, Problems};
pub(crate) use resolve::resolve;
pub use snapshot::Snapshot;

use crds::v1alpha1::TlsMode;
use proxy_audit::chunks::Recipients;
use proxy_audit::retention::Policy as Retention;
use proxy_core::authn::Introduction;
use proxy_core::secret::Secret;
use proxy_core::session::Recording;
use proxy_policy::PolicySet;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A configuration without problems.
#[derive(Debug, Default)]
pub struct Config {
    /// The Resources, by key.
    pub resources: BTreeMap<ResourceKey, ResourceConfig>,
    /// What is suspicious but can be used, for the log: a Policy that selects nothing.
    pub warnings: Vec<Problem>,
}

/// Namespace and name of a Resource.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ResourceKey {
    /// Namespace; `default` where the manifest has none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One Resource with all that it refers to.
#[derive(Clone, Debug)]
pub struct ResourceConfig {
    /// Where it stands, for problems that show only when it is put to use.
    pub place: Place,
    /// The gateway's TCP port; 0 takes a free one.
    pub port: u16,
    /// Most sessions at once.
    pub max_sessions: usize,
    /// How long live sessions may go on after the gateway was told to stop.
    pub drain: Duration,
    /// The gateway's certificate and key; SSH has none.
    pub certificate: Option<Arc<CertifiedKey>>,
    /// Trusted issuers.
    pub issuers: Vec<IssuerConfig>,
    /// The server behind the gateway.
    pub upstream: Upstream,
    /// What is recorded, and how hard.
    pub recording: Recording,
    /// How long records are kept; `None`: nothing is removed.
    pub retention: Option<Retention>,
    /// Whom results are encrypted for; `None`: they are not.
    pub auditors: Option<Recipients>,
    /// Policies in force.
    pub policies: Arc<PolicySet>,
}

/// A server behind a gateway: one variant per protocol, as in the `Resource`'s spec.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// A Kubernetes API server.
    Kubernetes(KubernetesUpstream),
    /// A PostgreSQL server.
    Postgresql(PostgresqlUpstream),
    /// Hosts that are reached over SSH.
    Ssh(SshUpstream),
}

/// A Kubernetes API server, and as whom the gateway acts there.
#[derive(Clone, Debug)]
pub struct KubernetesUpstream {
    /// Which cluster.
    pub cluster: KubernetesCluster,
    /// Before the identity's user name; empty: nothing, and names that begin with `system:` are refused.
    pub username_prefix: String,
    /// Before each of the identity's groups; empty: nothing, and groups that begin with `system:` are left out.
    pub groups_prefix: String,
    /// The groups that it acts with, without the prefix; `None`: all.
    pub groups: Option<BTreeSet<String>>,
    /// How long a held request waits before its client is told to repeat it.
    pub hold_wait: Duration,
}

/// Which cluster is protected.
#[derive(Clone, Debug)]
pub enum KubernetesCluster {
    /// The one in which the gateway runs, by its pod's service account.
    Own,
    /// Another one.
    Other(KubernetesServer),
}

/// Address and credential of an API server.
#[derive(Clone, Debug)]
pub struct KubernetesServer {
    /// `https` URL, perhaps with a path before `/api`.
    pub url: String,
    /// Authorities that are trusted; `None`: the system's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// The name in its certificate, if other than that of the URL.
    pub server_name: Option<String>,
    /// The gateway's own credential.
    pub credential: KubernetesCredential,
}

/// How the gateway proves who it is to an API server.
#[derive(Clone)]
pub enum KubernetesCredential {
    /// By a certificate.
    Certificate(Arc<CertifiedKey>),
    /// By a bearer token.
    Token(Secret<String>),
}

impl fmt::Debug for KubernetesCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate(_) => "Certificate",
            Self::Token(_) => "Token",
        })
    }
}

/// Hosts that are reached over SSH, and the logins on them.
#[derive(Clone, Debug)]
pub struct SshUpstream {
    /// The hosts; the first is meant where an agent names none.
    pub hosts: Vec<SshHostConfig>,
    /// Logins by the name that an agent asks for.
    pub roles: BTreeMap<String, SshRoleConfig>,
    /// The gateway's own host key, in OpenSSH's format.
    pub host_key: Secret<String>,
    /// The key that signs certificates for agents, in OpenSSH's format; `None`: there are none.
    pub authority: Option<Secret<String>>,
}

/// One host.
#[derive(Clone, Debug)]
pub struct SshHostConfig {
    /// Its name to agents and policies.
    pub name: String,
    /// DNS name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Public keys that it may show, in OpenSSH's format.
    pub keys: Vec<String>,
}

/// A login on the hosts.
#[derive(Clone, Debug)]
pub struct SshRoleConfig {
    /// User name on the hosts.
    pub username: String,
    /// Its credential.
    pub login: SshLogin,
}

/// A credential for SSH.
#[derive(Clone, Debug)]
pub enum SshLogin {
    /// A private key.
    Key {
        /// In OpenSSH's format.
        key: Secret<String>,
        /// The certificate that goes with it, in OpenSSH's format.
        certificate: Option<String>,
    },
    /// A password.
    Password(Secret<String>),
}

/// A PostgreSQL server and the roles on it.
#[derive(Clone, Debug)]
pub struct PostgresqlUpstream {
    /// DNS name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How far its certificate is checked.
    pub tls: TlsMode,
    /// Authorities that are trusted; `None`: the system's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// Credentials by the name that a client asks for.
    pub roles: BTreeMap<String, Credential>,
}

/// A login of the upstream. The password is shown nowhere.
#[derive(Clone, Debug)]
pub struct Credential {
    /// User name on the upstream.
    pub username: String,
    /// Its password.
    pub password: Secret<String>,
}

/// A trusted issuer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuerConfig {
    /// Exact `iss`.
    pub issuer: String,
    /// Accepted `aud`.
    pub audiences: Vec<String>,
    /// Claim that becomes the user name.
    pub username_claim: String,
    /// Claim that becomes the groups.
    pub groups_claim: String,
    /// Authorities for the issuer's own TLS, in PEM; `None`: the system's.
    pub authorities: Option<String>,
    /// What the gateway shows to it; `None`: nothing.
    pub introduction: Option<Introduction>,
}

/// Turns a snapshot into a configuration.
///
/// # Errors
/// Every problem of every object; then nothing of it may be used.
pub fn load(snapshot: &Snapshot) -> Result<Config, Problems> {
    let (objects, mut problems) = objects::read(snapshot);
    match resolve(&objects) {
        Ok(config) if problems.is_empty() => Ok(config),
        Ok(_) => Err(Problems::new(problems)),
        Err(more) => {
            problems.extend(more);
            Err(Problems::new(problems))
        }
    }
}

#[cfg(test)]
mod tests;
