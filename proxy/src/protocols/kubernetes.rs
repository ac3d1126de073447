//! A `Resource`'s `kubernetes` stanza → `proxy-kubernetes`.

mod account;
mod own;

use super::{Connection, Settings, Unusable, entrance};
use crate::config::{
    IssuerConfig, KubernetesCluster, KubernetesCredential, KubernetesServer, KubernetesUpstream,
};
use arc_swap::ArcSwap;
use proxy_core::authn::Authenticator;
use proxy_core::session::ResourceContext;
use proxy_kubernetes::Kubernetes as Protocol;
use proxy_kubernetes::options::{Credential, Limits, Naming, Options};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// The Kubernetes API with the settings of one Resource.
#[derive(Debug)]
pub struct Kubernetes {
    issuers: Vec<IssuerConfig>,
    authenticator: Arc<Authenticator>,
    resource: Arc<ResourceContext>,
    protocol: Protocol,
    /// Whether the cluster is another one than that in which the gateway runs.
    elsewhere: bool,
}

impl Kubernetes {
    /// The settings. Issuers' keys of `before` are taken over where they still hold.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub(super) fn new(
        settings: Settings<'_>,
        upstream: &KubernetesUpstream,
        before: Option<&Self>,
    ) -> Result<Self, Unusable> {
        let config = settings.config;
        let authenticator = match before.filter(|before| before.issuers == config.issuers) {
            Some(before) => Arc::clone(&before.authenticator),
            None => Arc::new(entrance::authenticator(&config.issuers)?),
        };
        let options = options(&settings, upstream)?;
        // who wants to upgrade offers http/1.1 only
        let tls = entrance::tls(config.certificate.as_ref(), &[b"h2", b"http/1.1"])?;
        let tls = Arc::new(ArcSwap::from_pointee(tls));
        let resource = Arc::clone(&settings.resource);
        let protocol = Protocol::new(options, settings.resource, Arc::clone(&authenticator) as _, tls);
        let elsewhere = matches!(upstream.cluster, KubernetesCluster::Other(_));
        Ok(Self { issuers: config.issuers.clone(), authenticator, resource, protocol, elsewhere })
    }

    pub(super) async fn serve(&self, connection: Connection) {
        let Connection { stream, peer, unauthenticated } = connection;
        entrance::note(&self.resource, self.protocol.serve(stream, peer, unauthenticated).await);
    }

    pub(super) async fn turn_away(&self, connection: Connection) {
        let Connection { stream, peer: _, unauthenticated } = connection;
        entrance::note(&self.resource, self.protocol.turn_away(stream).await);
        drop(unauthenticated);
    }
}

fn options(settings: &Settings<'_>, upstream: &KubernetesUpstream) -> Result<Options, Unusable> {
    let own;
    let (server, credential) = match &upstream.cluster {
        KubernetesCluster::Own => {
            own = own::server().map_err(|message| unusable("spec.kubernetes", message))?;
            (&own.server, Credential::TokenFile(own.token_file.clone()))
        }
        KubernetesCluster::Other(server) => (server, credential(&server.credential)),
    };
    let path = "spec.kubernetes.kubeconfigRef";
    Ok(Options {
        server: server.url.parse().map_err(|_error| unusable(path, "expected an https URL".to_owned()))?,
        server_name: server.server_name.clone(),
        tls: Arc::new(tls(server).map_err(|message| unusable(path, message))?),
        credential,
        naming: Naming {
            username_prefix: upstream.username_prefix.clone(),
            groups_prefix: upstream.groups_prefix.clone(),
            groups: upstream.groups.clone(),
        },
        limits: Limits { hold_wait: upstream.hold_wait, ..Limits::default() },
        drain: settings.draining.clone(),
        stop: settings.ending.clone(),
    })
}

fn credential(credential: &KubernetesCredential) -> Credential {
    match credential {
        KubernetesCredential::Certificate(_) => Credential::Certificate,
        KubernetesCredential::Token(token) => Credential::Token(token.clone()),
    }
}

fn tls(server: &KubernetesServer) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("set up TLS: {error}"))?
        .with_root_certificates(roots(server.authorities.as_deref())?);
    Ok(match &server.credential {
        KubernetesCredential::Certificate(key) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::clone(key))))
        }
        KubernetesCredential::Token(_) => builder.with_no_client_auth(),
    })
}

fn roots(authorities: Option<&[CertificateDer<'static>]>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(authorities) => {
            for authority in authorities {
                let added = roots.add(authority.clone());
                added.map_err(|error| format!("expected certificates of authorities: {error}"))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err("expected certificate-authority-data: the system has no authorities".to_owned());
    }
    Ok(roots)
}

fn unusable(path: &str, message: String) -> Unusable {
    Unusable { path: path.to_owned(), message }
}
