//! A `Resource`'s `postgresql` stanza → `proxy-postgres`.

mod tls;

use super::{Connection, Settings, Unusable, entrance};
use crate::config::{IssuerConfig, PostgresqlUpstream};
use arc_swap::ArcSwap;
use proxy_core::authn::Authenticator;
use proxy_core::session::ResourceContext;
use proxy_postgres::Postgres;
use proxy_postgres::options::{Credentials, Limits, Options, UpstreamTls};
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
            None => Arc::new(entrance::authenticator(&config.issuers)?),
        };
        let options = options(&settings, upstream)?;
        // libpq names the protocol since PostgreSQL 17
        let tls = entrance::tls(config.certificate.as_ref(), &[b"postgresql"])?;
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
        entrance::note(&self.resource, self.postgres.serve(stream, peer, unauthenticated).await);
    }

    pub(super) async fn turn_away(&self, connection: Connection) {
        let Connection { stream, peer: _, unauthenticated } = connection;
        entrance::note(&self.resource, self.postgres.turn_away(stream).await);
        drop(unauthenticated);
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
