//! A `Resource`'s `ssh` stanza → `proxy-ssh`.

use super::{Connection, Settings, Unusable, entrance};
use crate::config::{IssuerConfig, SshHostConfig, SshLogin, SshRoleConfig, SshUpstream};
use proxy_core::authn::Authenticator;
use proxy_core::session::ResourceContext;
use proxy_ssh::keys::{Certificate, HostKeys, PrivateKey};
use proxy_ssh::options::{Credentials, Host, Limits, Options, Proof};
use std::sync::Arc;

/// SSH with the settings of one Resource.
#[derive(Debug)]
pub struct Ssh {
    issuers: Vec<IssuerConfig>,
    authenticator: Arc<Authenticator>,
    resource: Arc<ResourceContext>,
    server: Arc<proxy_ssh::Ssh>,
}

impl Ssh {
    /// The settings. Issuers' keys of `before` are taken over where they still hold.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub(super) fn new(
        settings: Settings<'_>,
        upstream: &SshUpstream,
        before: Option<&Self>,
    ) -> Result<Self, Unusable> {
        let config = settings.config;
        let authenticator = match before.filter(|before| before.issuers == config.issuers) {
            Some(before) => Arc::clone(&before.authenticator),
            None => Arc::new(entrance::authenticator(&config.issuers)?),
        };
        let options = options(&settings, upstream)?;
        let resource = Arc::clone(&settings.resource);
        let ssh = match before {
            Some(before) => {
                before.server.replaced(options, settings.resource, Arc::clone(&authenticator) as _)
            }
            None => proxy_ssh::Ssh::new(options, settings.resource, Arc::clone(&authenticator) as _),
        };
        let ssh = ssh.map_err(|error| unusable("spec.ssh.keysRef", error))?;
        Ok(Self { issuers: config.issuers.clone(), authenticator, resource, server: Arc::new(ssh) })
    }

    pub(super) async fn serve(&self, connection: Connection) {
        let Connection { stream, peer, unauthenticated } = connection;
        entrance::note(&self.resource, self.server.serve(stream, peer, unauthenticated).await);
    }

    pub(super) async fn turn_away(&self, connection: Connection) {
        let Connection { stream, peer, unauthenticated } = connection;
        entrance::note(&self.resource, self.server.turn_away(stream, peer).await);
        drop(unauthenticated);
    }
}

/// The public half of the gateway's own key; `None` where there is no such key in the text.
pub(super) fn host_key(upstream: &SshUpstream) -> Option<String> {
    PrivateKey::parse(upstream.host_key.expose()).ok().map(|key| key.public_line())
}

fn options(settings: &Settings<'_>, upstream: &SshUpstream) -> Result<Options, Unusable> {
    let key = |text: &str| PrivateKey::parse(text).map_err(|error| unusable("spec.ssh.keysRef", error));
    let hosts = upstream.hosts.iter().map(host).collect::<Result<Vec<_>, _>>()?;
    let roles = upstream.roles.iter().map(|(name, role)| Ok((name.clone(), credentials(name, role)?)));
    Ok(Options {
        hosts,
        roles: roles.collect::<Result<_, _>>()?,
        host_key: key(upstream.host_key.expose())?,
        authority: upstream.authority.as_ref().map(|text| key(text.expose())).transpose()?,
        limits: Limits::default(),
        drain: settings.draining.clone(),
        stop: settings.ending.clone(),
    })
}

fn host(config: &SshHostConfig) -> Result<Host, Unusable> {
    let keys = HostKeys::parse(&config.keys.join("\n"))
        .map_err(|error| unusable(&format!("spec.ssh.hosts[{}].hostKeys", config.name), error))?;
    Ok(Host { name: config.name.clone(), host: config.host.clone(), port: config.port, keys })
}

fn credentials(name: &str, role: &SshRoleConfig) -> Result<Credentials, Unusable> {
    let path = format!("spec.ssh.roles[{name}].credentialsRef");
    let proof = match &role.login {
        SshLogin::Password(password) => Proof::Password(password.clone()),
        SshLogin::Key { key, certificate } => {
            let key = PrivateKey::parse(key.expose()).map_err(|error| unusable(&path, error))?;
            match certificate {
                None => Proof::Key(key),
                Some(text) => {
                    let certificate = Certificate::parse(text).map_err(|error| unusable(&path, error))?;
                    Proof::Certified(key, Box::new(certificate))
                }
            }
        }
    };
    Ok(Credentials { username: role.username.clone(), proof })
}

fn unusable(path: &str, error: impl std::fmt::Display) -> Unusable {
    Unusable { path: path.to_owned(), message: error.to_string() }
}
