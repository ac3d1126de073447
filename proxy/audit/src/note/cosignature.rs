//! Cosignatures of witnesses: <https://c2sp.org/tlog-cosignature@v1.0.1>, of the Ed25519 kind (algorithm byte `0x04`).
//!
//! A cosignature says: at this time, of all that this witness saw of the log, the largest tree has this size and root,
//! and every earlier one that it saw is its beginning.

use crate::note::{
    LogKey, NoteError, SignedNote, fits, key_id, parse_key, print_id, print_key, print_signature,
};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use std::fmt;

/// Algorithm byte of Ed25519 cosignatures.
const COSIGNATURE: u8 = 4;

/// Bytes of the time in a cosignature.
const TIME_BYTES: usize = 8;

/// Public key of a witness.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WitnessKey {
    name: String,
    key: VerifyingKey,
}

impl WitnessKey {
    /// Reads a verifier key, `<name>+<hash>+<key>`, whose algorithm is that of cosignatures.
    ///
    /// # Errors
    /// [`NoteError::Malformed`]; also when the hash does not fit name and key.
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let (name, key) = parse_key(vkey, COSIGNATURE)?;
        Ok(Self { name, key })
    }

    /// The witness's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Key identifier in hexadecimal, 8 digits.
    pub fn fingerprint(&self) -> String {
        print_id(self.id())
    }

    /// When this witness cosigned the note, in seconds since 1970, the latest time when it did more than once; `None`
    /// when it did not.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`]: a line says that it is this witness's and is not.
    pub fn verify(&self, note: &SignedNote) -> Result<Option<u64>, NoteError> {
        let mut latest = None;
        for signature in note.signatures_of(&self.name, self.id()) {
            let (time, signature) =
                signature.split_first_chunk::<TIME_BYTES>().ok_or(NoteError::BadSignature)?;
            let time = u64::from_be_bytes(*time);
            if time > i64::MAX.cast_unsigned()
                || !fits(&self.key, message(note.text(), time).as_bytes(), signature)
            {
                return Err(NoteError::BadSignature);
            }
            latest = latest.max(Some(time));
        }
        Ok(latest)
    }

    /// The same key as it signs what the witness says of itself: an ordinary signature, never one of a checkpoint.
    pub(crate) fn statements(&self) -> LogKey {
        LogKey { name: self.name.clone(), key: self.key }
    }

    fn id(&self) -> [u8; 4] {
        key_id(&self.name, COSIGNATURE, &self.key)
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print_key(&self.name, COSIGNATURE, &self.key))
    }
}

/// Private key of a witness. Wiped from memory when dropped; not printable.
pub struct WitnessSigner {
    name: String,
    key: SigningKey,
}

impl fmt::Debug for WitnessSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WitnessSigner").field("name", &self.name).finish_non_exhaustive()
    }
}

impl WitnessSigner {
    /// A witness of this name, from a 32-byte Ed25519 seed.
    ///
    /// # Errors
    /// The name cannot be a key's: it is empty, or has white space or `+`.
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        if !super::valid_name(name) {
            return Err(NoteError::Malformed("name of a witness"));
        }
        Ok(Self { name: name.to_owned(), key: SigningKey::from_bytes(seed) })
    }

    /// The public half.
    pub fn public(&self) -> WitnessKey {
        WitnessKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// The signature line, without its newline, on this note at this time in seconds since 1970.
    pub fn cosign(&self, note: &SignedNote, time: u64) -> String {
        let signature = self.key.sign(message(note.text(), time).as_bytes()).to_bytes();
        print_signature(&self.name, self.public().id(), &[time.to_be_bytes().as_slice(), &signature].concat())
    }

    /// A text, which ends with a newline, as a note of this witness's own.
    pub(crate) fn state(&self, text: &str) -> String {
        let id = self.public().statements().id();
        format!("{text}\n{}\n", print_signature(&self.name, id, &self.key.sign(text.as_bytes()).to_bytes()))
    }
}

/// What is signed.
fn message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Checkpoint, LogSigner, SignedCheckpoint};

    fn note() -> SignedNote {
        let log = LogSigner::new("dev/default/orders/pg-0", &[7; 32]).unwrap();
        let note =
            log.sign(&Checkpoint { origin: "dev/default/orders/pg-0".to_owned(), size: 3, root: [9; 32] });
        SignedNote::parse(&note).unwrap()
    }

    fn cosigned(witness: &WitnessSigner, time: u64) -> SignedNote {
        let mut cosigned = note();
        let line = witness.cosign(&cosigned, time);
        cosigned.signatures.extend(super::super::signature_line(&line));
        cosigned
    }

    #[test]
    fn a_cosignature_verifies_under_the_printed_key_and_says_when() {
        let witness = WitnessSigner::new("witness.local", &[1; 32]).unwrap();
        let key = WitnessKey::parse(&witness.public().to_string()).unwrap();
        assert_eq!(key.verify(&cosigned(&witness, 1_790_000_000)), Ok(Some(1_790_000_000)));
        assert_eq!(key.verify(&note()), Ok(None));
    }

    #[test]
    fn a_changed_time_another_text_and_another_key_do_not_verify() {
        let witness = WitnessSigner::new("witness.local", &[1; 32]).unwrap();
        let key = witness.public();
        let mut later = cosigned(&witness, 5);
        later.signatures.last_mut().unwrap().2[7] = 6;
        assert_eq!(key.verify(&later), Err(NoteError::BadSignature));
        let mut other = cosigned(&witness, 5);
        other.text = other.text.replacen("\n3\n", "\n4\n", 1);
        assert_eq!(key.verify(&other), Err(NoteError::BadSignature));
        let thief = WitnessSigner::new("witness.local", &[2; 32]).unwrap();
        assert_eq!(key.verify(&cosigned(&thief, 5)), Ok(None));
    }

    #[test]
    fn a_cosignature_is_no_signature_of_the_log_and_the_other_way_round() {
        let seed = [7; 32];
        let witness = WitnessSigner::new("dev/default/orders/pg-0", &seed).unwrap();
        let log = LogSigner::new("dev/default/orders/pg-0", &seed).unwrap().public();
        assert_eq!(witness.public().verify(&note()), Ok(None));
        let line = witness.cosign(&note(), 5);
        let only = format!("{}\n{line}\n", note().text());
        assert_eq!(SignedCheckpoint::parse(&only).unwrap().verify(&log), Err(NoteError::UnknownKey));
        assert!(LogKey::parse(&witness.public().to_string()).is_err());
        assert!(WitnessKey::parse(&log.to_string()).is_err());
    }
}
