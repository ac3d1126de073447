//! Certificates and keys as Secrets and `ConfigMap`s carry them.

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// Every certificate of a PEM text: at least one.
///
/// # Errors
/// What was expected; never the text.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    found
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| "expected PEM with at least one CERTIFICATE, and no broken block".to_owned())
}

/// Authorities that a verifier can be built of.
///
/// # Errors
/// What was expected; never the text.
pub(super) fn authorities(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = certificates(text)?;
    let mut store = rustls::RootCertStore::empty();
    for certificate in &certificates {
        store
            .add(certificate.clone())
            .map_err(|error| format!("expected certificates of authorities: {error}"))?;
    }
    Ok(certificates)
}

/// A chain and its key, checked to belong together.
///
/// # Errors
/// Key within the Secret, and what was expected there; never the key.
pub(super) fn certified_key(chain: &str, key: &str) -> Result<Arc<CertifiedKey>, (&'static str, String)> {
    let chain = certificates(chain).map_err(|message| ("tls.crt", message))?;
    // what the reader says of a broken key is left out: it may quote some of it
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .ok()
        .ok_or_else(|| ("tls.key", "expected one private key in PEM".to_owned()))?;
    let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|error| ("tls.key", format!("expected the key of tls.crt: {error}")))?;
    Ok(Arc::new(certified))
}
