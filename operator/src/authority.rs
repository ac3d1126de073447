//! The operator's own certificate authority: gateways whose Resource names no certificate get one from here.
//!
//! The authority is a Secret in the operator's namespace, made once. Its certificate is published beside each gateway
//! in a ConfigMap, so that clients can verify whom they send their token to.

use crate::names::{AUTHORITY_SECRET, MANAGER};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// How long a gateway's certificate is valid.
const LEAF_VALIDITY: SignedDuration = SignedDuration::from_hours(90 * 24);
/// When it is renewed: a third of the validity is left for whoever has to notice that it was not.
const LEAF_RENEWAL: SignedDuration = SignedDuration::from_hours(60 * 24);
/// How long the authority is valid. Replacing it means deleting its Secret and restarting the operator.
const AUTHORITY_VALIDITY: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// Clocks differ.
const BACKDATED: SignedDuration = SignedDuration::from_hours(24);

/// Signs gateways' certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The API server did not give or take its Secret.
    #[error("{step} Secret {AUTHORITY_SECRET} of the certificate authority")]
    Api {
        /// `read` or `create`.
        step: &'static str,
        /// Because of.
        #[source]
        source: kube::Error,
    },
    /// What is in the Secret is no authority.
    #[error(
        "Secret {AUTHORITY_SECRET}: expected {0} in PEM; delete the Secret to start with a new authority"
    )]
    Damaged(&'static str),
    /// A certificate cannot be made.
    #[error("make a certificate")]
    Make(#[from] rcgen::Error),
}

/// A certificate and its key in PEM. The key is shown nowhere.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// When to renew it.
    pub renew_at: Timestamp,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("renew_at", &self.renew_at).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the authority, or makes it if there is none.
    ///
    /// Cancel safe: at worst the authority was made.
    ///
    /// # Errors
    /// The API server cannot be reached, or the Secret is damaged.
    pub async fn load(client: &Client, namespace: &str, now: Timestamp) -> Result<Self, AuthorityError> {
        let api = Api::<Secret>::namespaced(client.clone(), namespace);
        let read = |source| AuthorityError::Api { step: "read", source };
        if let Some(secret) = api.get_opt(AUTHORITY_SECRET).await.map_err(read)? {
            return Self::parse(&secret);
        }
        let (secret, authority) = Self::make(now)?;
        match api
            .create(&PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }, &secret)
            .await
        {
            Ok(_) => Ok(authority),
            // another operator was faster: there is one authority
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Self::parse(&api.get(AUTHORITY_SECRET).await.map_err(read)?)
            }
            Err(source) => Err(AuthorityError::Api { step: "create", source }),
        }
    }

    fn parse(secret: &Secret) -> Result<Self, AuthorityError> {
        let text = |key: &str| {
            let bytes = &secret.data.as_ref()?.get(key)?.0;
            String::from_utf8(bytes.clone()).ok()
        };
        let certificate = text("tls.crt").ok_or(AuthorityError::Damaged("a certificate under tls.crt"))?;
        let key = text("tls.key").ok_or(AuthorityError::Damaged("a private key under tls.key"))?;
        let key = KeyPair::from_pem(&key).or(Err(AuthorityError::Damaged("a private key under tls.key")))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key)
            .or(Err(AuthorityError::Damaged("a certificate under tls.crt")))?;
        Ok(Self { issuer, certificate })
    }

    fn make(now: Timestamp) -> Result<(Secret, Self), AuthorityError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, "Portcullis gateways");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity(&mut params, now, AUTHORITY_VALIDITY);
        let key = KeyPair::generate()?;
        let pem = key.serialize_pem();
        let issuer = CertifiedIssuer::self_signed(params, key)?;
        let certificate = issuer.pem();
        let data = [("tls.crt", certificate.clone()), ("tls.key", pem)];
        let mut secret = Secret {
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(data.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).into()),
            ..Secret::default()
        };
        secret.metadata.name = Some(AUTHORITY_SECRET.to_owned());
        secret.metadata.labels =
            Some(BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned())]));
        let authority = Self::parse(&secret)?;
        Ok((secret, authority))
    }

    /// Its certificate in PEM: what clients trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Names this authority and what it would sign: a certificate with another one is not current.
    pub fn fingerprint(&self, names: &[String]) -> String {
        let mut hash = Sha256::new();
        hash.update(self.certificate.as_bytes());
        for name in names {
            hash.update([0]);
            hash.update(name.as_bytes());
        }
        const_hex::encode(hash.finalize())
    }

    /// A certificate for these DNS names.
    ///
    /// # Errors
    /// A name is no DNS name.
    pub fn issue(&self, names: &[String], now: Timestamp) -> Result<Issued, AuthorityError> {
        let mut params = CertificateParams::new(names.to_vec())?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if let Some(name) = names.first().filter(|name| name.len() <= 64) {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        validity(&mut params, now, LEAF_VALIDITY);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let renew_at = now.checked_add(LEAF_RENEWAL).unwrap_or(now);
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem(), renew_at })
    }
}

fn validity(params: &mut CertificateParams, now: Timestamp, length: SignedDuration) {
    let day = |at: Timestamp| {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(
            i32::from(date.year()),
            u8::try_from(date.month()).unwrap_or(1),
            u8::try_from(date.day()).unwrap_or(1),
        )
    };
    params.not_before = day(now.checked_sub(BACKDATED).unwrap_or(now));
    params.not_after = day(now.checked_add(length).unwrap_or(now));
}

#[cfg(test)]
mod tests {
    use super::{Authority, AuthorityError};
    use jiff::Timestamp;

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_authority_that_is_read_again_signs_for_the_same_root() {
        let (secret, first) = Authority::make(now()).unwrap();
        let second = Authority::parse(&secret).unwrap();
        assert_eq!(first.certificate(), second.certificate());
        let names = ["orders-gateway.shop.svc".to_owned()];
        assert_eq!(first.fingerprint(&names), second.fingerprint(&names));
        assert_ne!(first.fingerprint(&names), first.fingerprint(&[]));
        let issued = second.issue(&names, now()).unwrap();
        assert!(issued.certificate.contains("BEGIN CERTIFICATE"));
        assert_eq!(issued.renew_at.to_string(), "2027-01-23T12:00:00Z");
        assert!(!format!("{issued:?}{second:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_damaged_secret_is_named() {
        let (mut secret, _) = Authority::make(now()).unwrap();
        secret.data.as_mut().unwrap().remove("tls.key");
        assert!(
            matches!(Authority::parse(&secret), Err(AuthorityError::Damaged(what)) if what.contains("tls.key"))
        );
    }
}
