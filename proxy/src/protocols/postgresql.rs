//! A `Resource`'s `postgresql` stanza → `proxy-postgres`.

mod tls;

use super::{Connection, Settings, Unusable};
use crate::config::{IssuerConfig, PostgresqlUpstream};
use arc_swap::ArcSwap;
use proxy_core::authn::{Authenticator, Freshness, IssuerOptions};
use proxy_core::gate::Chain;
use proxy_core::session::ResourceContext;
use proxy_postgres::options::{Credentials, Limits, Options, UpstreamTls};
use proxy_postgres::{Postgres, SessionError};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;

use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::sync::Arc;

/// PostgreSQL with the settings of one Resource.
#[derive(Debug)]
pub struct Postgresql {
    issuers: Vec<IssuerConfig>,
    authenticator: Arc<Authenticator>,
    resource: Arc<ResourceContext>,
    postgres: Postgres,
}

impl Postgresql {
    /// The settings. Issuers' keys, catalogues and cancel keys of `before` are taken over where they still hold.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub(super) fn new(
        settings: Settings<'_>,
        upstream: &PostgresqlUpstream,
        before: Option<&Self>,
    ) -> Result<Self, Unusable> {
        let config = settings.config;
        let authenticator = match before.filter(|before| before.issuers == config.issuers) {
            Some(before) => Arc::clone(&before.authenticator),
            None => Arc::new(authenticator(&config.issuers)?),
        };
        let options = options(&settings, upstream)?;
        let unusable = |message| Unusable { path: "spec.gateway.tls".to_owned(), message };
        let certificate = config.certificate.as_ref().ok_or_else(|| {
            unusable("expected a certificate: clients send tokens, so TLS is required".to_owned())
        })?;
        let tls = server(certificate)
            .map_err(|error| unusable(format!("expected a certificate that TLS can use: {error}")))?;
        let tls = Arc::new(ArcSwap::from_pointee(tls));
        let resource = Arc::clone(&settings.resource);
        let postgres = match before {
            Some(before) => {
                before.postgres.replaced(options, settings.resource, Arc::clone(&authenticator) as _, tls)
            }
            None => Postgres::new(options, settings.resource, Arc::clone(&authenticator) as _, tls),
        };
        Ok(Self { issuers: config.issuers.clone(), authenticator, resource, postgres })
    }

    pub(super) async fn serve(&self, connection: Connection) {
        let Connection { stream, peer, unauthenticated } = connection;
        self.log(self.postgres.serve(stream, peer, unauthenticated).await);
    }

    pub(super) async fn turn_away(&self, connection: Connection) {
        let Connection { stream, peer: _, unauthenticated } = connection;
        self.log(self.postgres.turn_away(stream).await);
        drop(unauthenticated);
    }

    /// Clients that go away or send rubbish are no news to whoever runs the gateway.
    fn log(&self, result: Result<(), SessionError>) {
        let Err(error) = result else { return };
        let resource = format_args!("{}/{}", self.resource.namespace, self.resource.name);
        tracing::debug!(%resource, error = %Chain(&error), "connection without session");
    }
}

fn options(settings: &Settings<'_>, upstream: &PostgresqlUpstream) -> Result<Options, Unusable> {
    let tls = tls::client(upstream)
        .map_err(|message| Unusable { path: "spec.postgresql.tls".to_owned(), message })?;
    let roles = upstream.roles.iter().map(|(name, credential)| {
        let credentials =
            Credentials { username: credential.username.clone(), password: credential.password.clone() };
        (name.clone(), credentials)
    });
    Ok(Options {
        host: upstream.host.clone(),
        port: upstream.port,
        tls: tls.map_or(UpstreamTls::Disable, UpstreamTls::Require),
        roles: roles.collect(),
        limits: Limits::default(),
        drain: settings.draining.clone(),
        stop: settings.ending.clone(),
    })
}

/// The gateway's side of TLS towards clients. libpq names the protocol by ALPN since PostgreSQL 17.
fn server(certificate: &Arc<CertifiedKey>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::clone(certificate))));
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

fn authenticator(issuers: &[IssuerConfig]) -> Result<Authenticator, Unusable> {
    let options = issuers.iter().map(|issuer| IssuerOptions {
        issuer: issuer.issuer.clone(),
        audiences: issuer.audiences.clone(),
        username_claim: issuer.username_claim.clone(),
        groups_claim: issuer.groups_claim.clone(),
        ca_pem: issuer.authorities.clone().map(String::into_bytes),
        introduction: issuer.introduction.clone(),
    });
    Authenticator::new(options.collect(), Freshness::default()).map_err(|error| Unusable {
        path: "spec.authentication.issuers".to_owned(),
        message: Chain(&error).to_string(),
    })
}
