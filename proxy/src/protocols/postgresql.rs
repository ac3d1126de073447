//! A `Resource`'s `postgresql` stanza → `proxy-postgres`.

use super::{Connection, Unusable};
use crate::config::{IssuerConfig, PostgresqlUpstream, ResourceConfig};
use proxy_core::authn::{Authenticator, Freshness, IssuerOptions};
use proxy_core::gate::Chain;
use proxy_core::session::ResourceContext;
use std::sync::Arc;

/// PostgreSQL with the settings of one Resource.
#[derive(Debug)]
pub struct Postgresql {
    issuers: Vec<IssuerConfig>,
    authenticator: Arc<Authenticator>,
    context: Arc<ResourceContext>,
}

impl Postgresql {
    /// The settings, with the issuers' keys of `before` where the issuers are the same.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub(super) fn new(
        config: &ResourceConfig,
        _upstream: &PostgresqlUpstream,
        context: Arc<ResourceContext>,
        before: Option<&Self>,
    ) -> Result<Self, Unusable> {
        let authenticator = match before.filter(|before| before.issuers == config.issuers) {
            Some(before) => Arc::clone(&before.authenticator),
            None => Arc::new(authenticator(&config.issuers)?),
        };
        Ok(Self { issuers: config.issuers.clone(), authenticator, context })
    }

    pub(super) async fn serve(&self, connection: Connection) {
        drop(connection);
    }

    pub(super) async fn turn_away(&self, connection: Connection) {
        drop(connection);
    }
}

fn authenticator(issuers: &[IssuerConfig]) -> Result<Authenticator, Unusable> {
    let options = issuers.iter().map(|issuer| IssuerOptions {
        issuer: issuer.issuer.clone(),
        audiences: issuer.audiences.clone(),
        username_claim: issuer.username_claim.clone(),
        groups_claim: issuer.groups_claim.clone(),
        ca_pem: issuer.authorities.clone().map(String::into_bytes),
    });
    Authenticator::new(options.collect(), Freshness::default()).map_err(|error| Unusable {
        path: "spec.authentication.issuers".to_owned(),
        message: Chain(&error).to_string(),
    })
}
