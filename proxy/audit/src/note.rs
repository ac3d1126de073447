//! Signed notes: <https://c2sp.org/signed-note@v1.0.0>. Checkpoints (<https://c2sp.org/tlog-checkpoint@v1.0.0>) here,
//! what witnesses add to them in [`cosignature`], what says whose log a key is in [`certificate`].
//!
//! Keys are Ed25519. Lines of signers that are not asked for are kept and not judged.

pub mod certificate;
pub mod cosignature;

use crate::merkle::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Algorithm byte of Ed25519 in key identifiers and verifier keys.
const ED25519: u8 = 1;

/// State of a log that somebody signs: `size` records with this root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Origin of the log; also the name of its key.
    pub origin: String,
    /// Number of records.
    pub size: u64,
    /// RFC 6962 root over their leaves.
    pub root: Hash,
}

impl Checkpoint {
    /// The note's text: what is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }
}

/// A text with its signature lines, not yet verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedNote {
    /// The exact text that the signatures are over, with its last newline.
    text: String,
    /// Name, key identifier and signature, one per line.
    signatures: Vec<(String, [u8; 4], Vec<u8>)>,
}

/// A checkpoint with its signature lines, not yet verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    note: SignedNote,
}

/// Why a note or key is not one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoteError {
    /// The text does not have the form of a note, checkpoint or key.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// No signature line is by this key.
    #[error("not signed by the log's key")]
    UnknownKey,
    /// The key's signature does not fit the text.
    #[error("signature does not fit the checkpoint")]
    BadSignature,
}

impl SignedNote {
    /// Reads one note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed("note");
        let (text, signatures) = note.split_once("\n\n").ok_or(malformed)?;
        let signatures =
            signatures.lines().map(signature_line).collect::<Option<Vec<_>>>().ok_or(malformed)?;
        if signatures.is_empty() {
            return Err(malformed);
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// What is signed, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Checks that this key signed the note.
    ///
    /// # Errors
    /// [`NoteError::UnknownKey`] or [`NoteError::BadSignature`].
    pub fn verify(&self, key: &LogKey) -> Result<(), NoteError> {
        let mut found = false;
        for signature in self.signatures_of(&key.name, key.id()) {
            found = true;
            if !fits(&key.key, self.text.as_bytes(), signature) {
                return Err(NoteError::BadSignature);
            }
        }
        if found { Ok(()) } else { Err(NoteError::UnknownKey) }
    }

    /// The signatures of the lines with this name and key identifier.
    fn signatures_of<'a>(&'a self, name: &'a str, id: [u8; 4]) -> impl Iterator<Item = &'a [u8]> {
        let by = self.signatures.iter().filter(move |(other, other_id, _)| other == name && *other_id == id);
        by.map(|(_, _, signature)| signature.as_slice())
    }
}

impl SignedCheckpoint {
    /// Reads one note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed("checkpoint");
        let note = SignedNote::parse(note).or(Err(malformed))?;
        let mut lines = note.text.lines();
        let origin = lines.next().filter(|origin| valid_name(origin)).ok_or(malformed)?.to_owned();
        let size = lines.next().and_then(decimal).ok_or(malformed)?;
        let root = lines.next().and_then(|line| BASE64.decode(line).ok()).ok_or(malformed)?;
        let root = Hash::try_from(root).or(Err(malformed))?;
        Ok(Self { checkpoint: Checkpoint { origin, size, root }, note })
    }

    /// The note that it is.
    pub fn note(&self) -> &SignedNote {
        &self.note
    }

    /// Checks that the log's key signed this checkpoint, and that it is of the key's log.
    ///
    /// # Errors
    /// [`NoteError::UnknownKey`] or [`NoteError::BadSignature`].
    pub fn verify(&self, key: &LogKey) -> Result<&Checkpoint, NoteError> {
        self.note.verify(key)?;
        if self.checkpoint.origin == key.name { Ok(&self.checkpoint) } else { Err(NoteError::UnknownKey) }
    }
}

/// Public key of a log: who may sign its checkpoints.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogKey {
    name: String,
    key: VerifyingKey,
}

impl LogKey {
    /// Reads a verifier key, `<name>+<hash>+<key>`.
    ///
    /// # Errors
    /// [`NoteError::Malformed`]; also when the hash does not fit name and key.
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let (name, key) = parse_key(vkey, ED25519)?;
        Ok(Self { name, key })
    }

    /// Name of the key: the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Key identifier in hexadecimal, 8 digits.
    pub fn fingerprint(&self) -> String {
        print_id(self.id())
    }

    fn id(&self) -> [u8; 4] {
        key_id(&self.name, ED25519, &self.key)
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print_key(&self.name, ED25519, &self.key))
    }
}

/// Private key of a log. Wiped from memory when dropped; not printable.
pub struct LogSigner {
    name: String,
    key: SigningKey,
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSigner").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LogSigner {
    /// A signer for the log of this origin, from a 32-byte Ed25519 seed.
    ///
    /// # Errors
    /// The origin cannot be a key name: it is empty, or has white space or `+`.
    pub fn new(origin: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        if !valid_name(origin) {
            return Err(NoteError::Malformed("origin"));
        }
        Ok(Self { name: origin.to_owned(), key: SigningKey::from_bytes(seed) })
    }

    /// The public half.
    pub fn public(&self) -> LogKey {
        LogKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// The checkpoint as a note with this key's signature line.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        self.sign_text(&checkpoint.text())
    }

    /// A text, which ends with a newline, as a note with this key's signature line.
    fn sign_text(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        format!("{text}\n{}\n", print_signature(&self.name, self.public().id(), &signature))
    }
}

/// Reads a verifier key, `<name>+<hash>+<key>`, of this algorithm.
fn parse_key(vkey: &str, algorithm: u8) -> Result<(String, VerifyingKey), NoteError> {
    let malformed = NoteError::Malformed("verifier key");
    let mut parts = vkey.trim_end().splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed);
    };
    let key = BASE64.decode(key).or(Err(malformed))?;
    let Some((_, key)) = key.split_first().filter(|(first, _)| **first == algorithm) else {
        return Err(malformed);
    };
    let key = <[u8; 32]>::try_from(key).or(Err(malformed))?;
    let key = VerifyingKey::from_bytes(&key).or(Err(malformed))?;
    let expected = print_id(key_id(name, algorithm, &key));
    if valid_name(name) && expected == id { Ok((name.to_owned(), key)) } else { Err(malformed) }
}

fn print_key(name: &str, algorithm: u8, key: &VerifyingKey) -> String {
    let mut bytes = vec![algorithm];
    bytes.extend_from_slice(key.as_bytes());
    format!("{name}+{}+{}", print_id(key_id(name, algorithm, key)), BASE64.encode(bytes))
}

fn key_id(name: &str, algorithm: u8, key: &VerifyingKey) -> [u8; 4] {
    let digest: Hash = Sha256::new()
        .chain_update(name.as_bytes())
        .chain_update([b'\n', algorithm])
        .chain_update(key.as_bytes())
        .finalize()
        .into();
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

fn print_id(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

/// A signature line, without its newline.
fn print_signature(name: &str, id: [u8; 4], signature: &[u8]) -> String {
    let bytes = [id.as_slice(), signature].concat();
    format!("\u{2014} {name} {}", BASE64.encode(bytes))
}

fn fits(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}

/// Key names and origins: not empty, no white space, no plus.
fn valid_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+' || c.is_control())
}

/// ASCII decimal without leading zeros, as the format demands.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

fn signature_line(line: &str) -> Option<(String, [u8; 4], Vec<u8>)> {
    let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = BASE64.decode(signature).ok()?;
    let (id, signature) = bytes.split_first_chunk::<4>()?;
    Some((name.to_owned(), *id, signature.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> (LogSigner, Checkpoint, String) {
        let signer = LogSigner::new("dev/default/orders/pg-0", &[7; 32]).unwrap();
        let checkpoint = Checkpoint { origin: signer.name.clone(), size: 3, root: [9; 32] };
        let note = signer.sign(&checkpoint);
        (signer, checkpoint, note)
    }

    #[test]
    fn a_signed_checkpoint_verifies_under_the_printed_key() {
        let (signer, checkpoint, note) = signed();
        let key = LogKey::parse(&signer.public().to_string()).unwrap();
        assert_eq!(SignedCheckpoint::parse(&note).unwrap().verify(&key).unwrap(), &checkpoint);
    }

    #[test]
    fn a_changed_size_does_not_verify() {
        let (signer, _, note) = signed();
        let forged = SignedCheckpoint::parse(&note.replacen("\n3\n", "\n4\n", 1)).unwrap();
        assert_eq!(forged.verify(&signer.public()), Err(NoteError::BadSignature));
    }

    #[test]
    fn another_key_of_the_same_name_does_not_verify() {
        let (_, checkpoint, note) = signed();
        let thief = LogSigner::new(&checkpoint.origin, &[8; 32]).unwrap();
        assert_eq!(
            SignedCheckpoint::parse(&note).unwrap().verify(&thief.public()),
            Err(NoteError::UnknownKey)
        );
    }

    #[test]
    fn malformed_notes_and_keys_are_refused() {
        let (signer, _, note) = signed();
        for bad in ["", "x", "a\n1\n\n", &note.replacen("\n3\n", "\n03\n", 1), &note.replace('\u{2014}', "-")]
        {
            assert!(SignedCheckpoint::parse(bad).is_err(), "{bad:?}");
        }
        let vkey = signer.public().to_string();
        for bad in ["", "a+b", &vkey.replacen("pg-0", "pg-1", 1), &vkey.replacen("+A", "+B", 1)] {
            assert!(LogKey::parse(bad).is_err(), "{bad:?}");
        }
        assert!(LogSigner::new("two words", &[0; 32]).is_err());
    }

    #[test]
    fn the_private_key_is_not_printed() {
        let (signer, ..) = signed();
        assert_eq!(format!("{signer:?}"), r#"LogSigner { name: "dev/default/orders/pg-0", .. }"#);
    }
}
