//! Keys and certificates in OpenSSH's formats, read once, when a configuration is.

use russh::keys::{PublicKey, ssh_key};
use std::fmt;
use std::sync::Arc;

/// A private key. Its `Debug` shows the fingerprint of its public half.
#[derive(Clone)]
pub struct PrivateKey(pub(crate) Arc<russh::keys::PrivateKey>);

/// A user certificate.
#[derive(Clone, Debug)]
pub struct Certificate(pub(crate) russh::keys::Certificate);

/// Keys that a host may show.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostKeys(Vec<PublicKey>);

/// What a text is not. The text is a secret or may be: it is not in here.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// Not a private key, or one that is encrypted.
    #[error("expected a private key in OpenSSH's format, without a passphrase")]
    Private,
    /// Not a certificate.
    #[error("expected a user certificate as ssh-keygen -s writes it")]
    Certificate,
    /// Not a public key.
    #[error("expected public keys, one a line: ssh-ed25519 AAAA…")]
    Public,
}

impl PrivateKey {
    /// Reads a key file.
    ///
    /// # Errors
    /// It is none, or it is encrypted.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let key = russh::keys::decode_secret_key(text, None).or(Err(KeyError::Private))?;
        Ok(Self(Arc::new(key)))
    }

    /// A key as nobody has it yet.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let seed: [u8; 32] = rand::random();
        let pair = ssh_key::private::Ed25519Keypair::from_seed(&seed);
        let key = russh::keys::PrivateKey::new(ssh_key::private::KeypairData::Ed25519(pair), "portcullis");
        Ok(Self(Arc::new(key.or(Err(KeyError::Private))?)))
    }

    /// The key as a file holds it.
    ///
    /// # Errors
    /// It is of a kind that has no such form.
    pub fn to_openssh(&self) -> Result<proxy_core::secret::Secret<String>, KeyError> {
        let text = self.0.to_openssh(ssh_key::LineEnding::LF).or(Err(KeyError::Private))?;
        Ok(proxy_core::secret::Secret::new(text.to_string()))
    }

    /// Its public half on one line, as `known_hosts` and `authorized_keys` have it.
    pub fn public_line(&self) -> String {
        self.0.public_key().to_openssh().unwrap_or_default()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.0.public_key().fingerprint(ssh_key::HashAlg::Sha256))
    }
}

impl Certificate {
    /// Reads a certificate file.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        russh::keys::Certificate::from_openssh(text.trim()).map(Self).or(Err(KeyError::Certificate))
    }
}

impl HostKeys {
    /// Reads public keys, one a line; empty lines and lines that begin with `#` are none.
    ///
    /// # Errors
    /// A line is no key, or there is none.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<_> = lines
            .map(|line| PublicKey::from_openssh(line).or(Err(KeyError::Public)))
            .collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError::Public) } else { Ok(Self(keys)) }
    }

    /// Whether this is one of them.
    pub(crate) fn contain(&self, key: &PublicKey) -> bool {
        self.0.iter().any(|known| known.key_data() == key.key_data())
    }

    /// The kinds of the keys: only these are asked for, so that a host with several shows one that is known.
    pub(crate) fn algorithms(&self) -> Vec<russh::keys::Algorithm> {
        let mut algorithms = Vec::new();
        for key in &self.0 {
            if key.algorithm().is_rsa() {
                for hash in [ssh_key::HashAlg::Sha512, ssh_key::HashAlg::Sha256] {
                    algorithms.push(russh::keys::Algorithm::Rsa { hash: Some(hash) });
                }
            } else {
                algorithms.push(key.algorithm());
            }
        }
        algorithms
    }
}
