//! What clients of every protocol meet first: the gateway's certificate, and the issuers that it trusts.

use super::Unusable;
use crate::config::IssuerConfig;
use proxy_core::authn::{Authenticator, Freshness, IssuerOptions};
use proxy_core::gate::Chain;
use proxy_core::session::ResourceContext;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::sync::Arc;

/// The gateway's side of TLS towards clients, with the protocols that it names by ALPN.
///
/// # Errors
/// There is no certificate, or none that TLS can use.
pub(super) fn tls(certificate: Option<&Arc<CertifiedKey>>, alpn: &[&[u8]]) -> Result<ServerConfig, Unusable> {
    let unusable = |message| Unusable { path: "spec.gateway.tls".to_owned(), message };
    let certificate = certificate.ok_or_else(|| {
        unusable("expected a certificate: clients send tokens, so TLS is required".to_owned())
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(format!("expected a certificate that TLS can use: {error}")))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::clone(certificate))));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Verifies the tokens of these issuers.
///
/// # Errors
/// An issuer cannot be used.
pub(super) fn authenticator(issuers: &[IssuerConfig]) -> Result<Authenticator, Unusable> {
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

/// Says how a connection went that became no session. Clients that go away or send rubbish are no news to whoever runs
/// the gateway.
pub(super) fn note<E: std::error::Error + 'static>(resource: &ResourceContext, result: Result<(), E>) {
    let Err(error) = result else { return };
    let resource = format_args!("{}/{}", resource.namespace, resource.name);
    tracing::debug!(%resource, error = %Chain(&error), "connection without session");
}
