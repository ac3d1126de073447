//! Certificates of log keys: a signed note by which whoever keeps a tenant's key says that a log is one of theirs.
//!
//! ```text
//! portcullis.dev/log-key/v1
//! <verifier key of the log>
//! <number of the certificate in its inventory, from 0>
//! <SHA-256 of the certificate before it, base64; zeros before the first>
//!
//! — <name> <signature>
//! ```
//!
//! Every start of a gateway makes a log with a key of its own. The certificate lets a witness, and whoever verifies,
//! know them all by one key; the numbers and digests make those of one state directory an inventory, of which none can
//! be taken out unnoticed.

use crate::merkle::Hash;
use crate::note::{LogKey, LogSigner, NoteError, SignedNote, decimal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// First line of every certificate.
const HEADER: &str = "portcullis.dev/log-key/v1";

/// What a certificate says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certified {
    /// Key of the log, whose name is the log's origin.
    pub log: LogKey,
    /// Number of the certificate in its inventory, from 0.
    pub number: u64,
    /// SHA-256 of the certificate before it; zeros before the first.
    pub previous: Hash,
}

/// A certificate with its signature lines, not yet verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    certified: Certified,
    note: SignedNote,
    digest: Hash,
}

/// The key that certifies the logs of a tenant, whose name is the first part of their origins. It is derived from the
/// tenant's key, so that all gateways of a tenant have it.
///
/// # Errors
/// The name cannot be a key's: it is empty, or has white space or `+`.
pub fn certifier(tenant_key: &[u8; 32], name: &str) -> Result<LogSigner, NoteError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(tenant_key).or(Err(NoteError::Malformed("tenant key")))?;
    mac.update(b"portcullis.dev/log-certifier/v1");
    LogSigner::new(name, &mac.finalize().into_bytes().into())
}

impl Certified {
    /// The certificate's note, signed by this key.
    pub fn sign(&self, certifier: &LogSigner) -> String {
        let previous = BASE64.encode(self.previous);
        certifier.sign_text(&format!("{HEADER}\n{}\n{}\n{previous}\n", self.log, self.number))
    }
}

impl Certificate {
    /// Reads one note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed("certificate of a log key");
        let note = SignedNote::parse(text).or(Err(malformed))?;
        let lines: Vec<&str> = note.text().lines().collect();
        let [HEADER, log, number, previous] = lines.as_slice() else { return Err(malformed) };
        let log = LogKey::parse(log).or(Err(malformed))?;
        let number = decimal(number).ok_or(malformed)?;
        let previous = BASE64.decode(previous).ok().and_then(|bytes| Hash::try_from(bytes).ok());
        let previous = previous.ok_or(malformed)?;
        let digest = Sha256::digest(text.as_bytes()).into();
        Ok(Self { certified: Certified { log, number, previous }, note, digest })
    }

    /// What it says, when this key signed it and the log is below the key's name, as `prod/shop/orders/gw-1` is below
    /// `prod`.
    ///
    /// # Errors
    /// [`NoteError::UnknownKey`] or [`NoteError::BadSignature`].
    pub fn verify(&self, certifier: &LogKey) -> Result<&Certified, NoteError> {
        self.note.verify(certifier)?;
        let below = self.certified.log.name().strip_prefix(certifier.name());
        match below {
            Some(rest) if rest.starts_with('/') => Ok(&self.certified),
            Some(_) | None => Err(NoteError::UnknownKey),
        }
    }

    /// What it says, whoever signed it.
    pub fn unverified(&self) -> &Certified {
        &self.certified
    }

    /// SHA-256 of the note.
    pub fn digest(&self) -> Hash {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certified(origin: &str) -> Certified {
        let log = LogSigner::new(origin, &[7; 32]).unwrap().public();
        Certified { log, number: 4, previous: [3; 32] }
    }

    #[test]
    fn a_certificate_says_what_was_signed_and_only_of_logs_below_the_name() {
        let certifier = LogSigner::new("prod", &[1; 32]).unwrap();
        let own = certified("prod/shop/orders/gw-1");
        let certificate = Certificate::parse(&own.sign(&certifier)).unwrap();
        assert_eq!(certificate.verify(&certifier.public()), Ok(&own));
        for origin in ["production/shop/orders/gw-1", "prod", "test/shop/orders/gw-1"] {
            let certificate = Certificate::parse(&certified(origin).sign(&certifier)).unwrap();
            assert_eq!(certificate.verify(&certifier.public()), Err(NoteError::UnknownKey), "{origin}");
        }
    }

    #[test]
    fn a_changed_certificate_or_another_key_does_not_verify() {
        let certifier = LogSigner::new("prod", &[1; 32]).unwrap();
        let note = certified("prod/shop/orders/gw-1").sign(&certifier);
        let forged = Certificate::parse(&note.replacen("\n4\n", "\n5\n", 1)).unwrap();
        assert_eq!(forged.verify(&certifier.public()), Err(NoteError::BadSignature));
        let thief = LogSigner::new("prod", &[2; 32]).unwrap();
        assert_eq!(Certificate::parse(&note).unwrap().verify(&thief.public()), Err(NoteError::UnknownKey));
        for bad in ["", "x\n\ny\n", &note.replacen("log-key", "key", 1), &note.replacen("\n4\n", "\n04\n", 1)]
        {
            assert!(Certificate::parse(bad).is_err(), "{bad:?}");
        }
    }
}
