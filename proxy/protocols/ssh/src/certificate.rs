//! Certificates of minutes: `portcullis ssh login` trades a token for one, and plain `ssh` with an agent presents it.
//!
//! A certificate carries the token it was traded for, sealed so that only the gateways of this Resource can read it:
//! other servers see certificates too. It is verified again at every login, so a certificate is worth exactly what its
//! token is worth at that moment, for no longer than its own life, and only in the hands of whoever has its key.
//! Nothing is kept between the two: all replicas that share the Secret know each other's certificates.

use crate::keys::PrivateKey;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use proxy_core::authn::BearerToken;
use proxy_core::secret::Secret;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::{HashAlg, PublicKey};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What signs certificates, seals tokens in them, and knows both again.
pub(crate) struct Authority {
    key: PrivateKey,
    seal: LessSafeKey,
}

/// Why there is no certificate. Fixed words only.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum CertificateError {
    /// The authority's key cannot do it.
    #[error("the authority's key cannot be used")]
    Key,
    /// What was sent is no public key.
    #[error("expected: certificate KIND BASE64, a public key in OpenSSH's format")]
    PublicKey,
    /// It is not ours, or not good now.
    #[error("the certificate is not one of this gateway's, or has expired")]
    Unknown,
}

impl Authority {
    /// An authority whose sealing key is derived from its signing key.
    ///
    /// # Errors
    /// The key is of a kind that has no private half to derive from.
    pub(crate) fn new(key: &PrivateKey) -> Result<Self, CertificateError> {
        let private = key.to_openssh().or(Err(CertificateError::Key))?;
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis ssh certificate");
        let mut bytes = [0; 32];
        salt.extract(private.expose().as_bytes())
            .expand(&[b"token seal"], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut bytes))
            .or(Err(CertificateError::Key))?;
        let seal = UnboundKey::new(&AES_256_GCM, &bytes).or(Err(CertificateError::Key))?;
        Ok(Self { key: key.clone(), seal: LessSafeKey::new(seal) })
    }

    /// Fingerprint of `public`, an OpenSSH public key line.
    ///
    /// # Errors
    /// The line is no public key.
    pub(crate) fn fingerprint(public: &str) -> Result<String, CertificateError> {
        let public = PublicKey::from_openssh(public.trim()).or(Err(CertificateError::PublicKey))?;
        Ok(public.fingerprint(HashAlg::Sha256).to_string())
    }

    /// A certificate for `public`, an OpenSSH public key line, that is good until `until`.
    ///
    /// # Errors
    /// The line is no public key.
    pub(crate) fn issue(
        &self,
        public: &str,
        token: &BearerToken,
        (name, until): (&str, SystemTime),
    ) -> Result<String, CertificateError> {
        let public = PublicKey::from_openssh(public.trim()).or(Err(CertificateError::PublicKey))?;
        let sealed = self.sealed(token, &public)?;
        let built = || {
            let random: [u8; 32] = rand::random();
            let after = seconds(SystemTime::now().checked_sub(SKEW).unwrap_or(UNIX_EPOCH));
            let mut builder = Builder::new(random, public.key_data().clone(), after, seconds(until))?;
            builder.serial(rand::random())?.cert_type(CertType::User)?.key_id(name)?;
            builder.all_principals_valid()?.extension(EXTENSION, sealed)?.comment("portcullis")?;
            builder.sign(&*self.key.0)?.to_openssh()
        };
        built().or(Err(CertificateError::Key))
    }

    /// The token inside a certificate of ours.
    ///
    /// # Errors
    /// It is not one of ours, or has expired.
    pub(crate) fn token(
        &self,
        certificate: &russh::keys::Certificate,
    ) -> Result<BearerToken, CertificateError> {
        let ours = self.key.0.public_key().fingerprint(HashAlg::Sha256);
        certificate.validate([&ours]).or(Err(CertificateError::Unknown))?;
        if certificate.cert_type() != CertType::User {
            return Err(CertificateError::Unknown);
        }
        let sealed = certificate.extensions().get(EXTENSION).ok_or(CertificateError::Unknown)?;
        self.opened(sealed, &PublicKey::from(certificate.public_key().clone()))
    }

    fn sealed(&self, token: &BearerToken, public: &PublicKey) -> Result<String, CertificateError> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut bytes = token.expose().clone().into_bytes();
        let bound = Aad::from(public.to_bytes().or(Err(CertificateError::PublicKey))?);
        self.seal
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut bytes)
            .or(Err(CertificateError::Key))?;
        // extensions are texts: `ssh-keygen -L` shows them
        Ok(const_hex::encode([&nonce[..], &bytes].concat()))
    }

    fn opened(&self, sealed: &str, public: &PublicKey) -> Result<BearerToken, CertificateError> {
        let mut bytes = const_hex::decode(sealed).or(Err(CertificateError::Unknown))?;
        let (nonce, rest) = bytes.split_at_mut_checked(NONCE_LEN).ok_or(CertificateError::Unknown)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).or(Err(CertificateError::Unknown))?;
        let bound = Aad::from(public.to_bytes().or(Err(CertificateError::Unknown))?);
        let token = self.seal.open_in_place(nonce, bound, rest).or(Err(CertificateError::Unknown))?;
        let token = String::from_utf8(token.to_vec()).or(Err(CertificateError::Unknown))?;
        Ok(Secret::new(token))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("key", &self.key).finish_non_exhaustive()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Name of the extension that holds the sealed token (PROTOCOL.certkeys: names of others carry a domain).
const EXTENSION: &str = "token@portcullis.dev";
/// Clocks differ.
const SKEW: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::{Authority, CertificateError};
    use crate::keys::PrivateKey;
    use proxy_core::secret::Secret;
    use russh::keys::Certificate;
    use std::time::{Duration, SystemTime};

    fn traded(authority: &Authority, seconds: u64) -> Certificate {
        let public = PrivateKey::generate().unwrap().public_line();
        let until = SystemTime::now() + Duration::from_secs(seconds);
        let token = Secret::new("a-token".to_owned());
        let text = authority.issue(&public, &token, ("bot", until)).unwrap();
        assert!(!text.contains("a-token"));
        Certificate::from_openssh(&text).unwrap()
    }

    #[test]
    fn a_certificate_gives_its_token_to_its_authority_alone() {
        let authority = Authority::new(&PrivateKey::generate().unwrap()).unwrap();
        let certificate = traded(&authority, 60);
        assert_eq!(authority.token(&certificate).unwrap().expose(), "a-token");
        let other = Authority::new(&PrivateKey::generate().unwrap()).unwrap();
        assert_eq!(other.token(&certificate).unwrap_err(), CertificateError::Unknown);
        assert_eq!(authority.token(&traded(&other, 60)).unwrap_err(), CertificateError::Unknown);
    }

    #[test]
    fn a_token_is_sealed_for_one_key() {
        let authority = Authority::new(&PrivateKey::generate().unwrap()).unwrap();
        let [one, two] = [traded(&authority, 60), traded(&authority, 60)];
        let sealed = one.extensions().get(super::EXTENSION).unwrap();
        let public = russh::keys::PublicKey::from(two.public_key().clone());
        assert!(authority.opened(sealed, &public).is_err());
        assert_eq!(
            authority.issue("no key", &Secret::new(String::new()), ("", SystemTime::now())).unwrap_err(),
            CertificateError::PublicKey
        );
    }
}
