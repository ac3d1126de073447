//! How far an upstream's certificate is checked.

use crate::config::PostgresqlUpstream;
use crds::v1alpha1::TlsMode;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// The client side of TLS to the upstream; `None` where it is disabled.
///
/// # Errors
/// What was expected, for the operator.
pub(super) fn client(upstream: &PostgresqlUpstream) -> Result<Option<Arc<ClientConfig>>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match upstream.tls {
        TlsMode::Disable => return Ok(None),
        TlsMode::VerifyFull => {
            let roots = Arc::new(roots(upstream)?);
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|error| format!("expected authorities that can be trusted: {error}"))?
        }
        TlsMode::VerifyCa => Arc::new(ChainOnly {
            roots: roots(upstream)?,
            algorithms: provider.signature_verification_algorithms,
        }),
    };
    let config = config(provider, verifier).map_err(|error| format!("set up TLS: {error}"))?;
    Ok(Some(Arc::new(config)))
}

fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    // "dangerous" is rustls' word for any verifier that is given to it; both of ours check the chain
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn roots(upstream: &PostgresqlUpstream) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match &upstream.authorities {
        Some(authorities) => {
            for authority in authorities {
                roots
                    .add(authority.clone())
                    .map_err(|error| format!("expected certificates of authorities: {error}"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err("expected a caRef: the system has no certificate authorities".to_owned());
    }
    Ok(roots)
}

/// `VerifyCa`: the chain is verified, the name is not. As libpq's `sslmode=verify-ca`.
///
/// <https://www.postgresql.org/docs/current/libpq-ssl.html>
#[derive(Debug)]
struct ChainOnly {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
