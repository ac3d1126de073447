//! The body of `add-checkpoint`.

use crate::merkle::{Hash, MAX_CONSISTENCY_HASHES};
use crate::note::{NoteError, decimal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt::Write as _;

/// A checkpoint for a witness, and the proof that what it saw before is the checkpoint's beginning.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddCheckpoint {
    /// Size of the tree that the witness saw last.
    pub old: u64,
    /// RFC 6962 consistency proof from there.
    pub proof: Vec<Hash>,
    /// The signed note.
    pub note: String,
}

impl AddCheckpoint {
    /// Reads a body.
    ///
    /// # Errors
    /// [`NoteError::Malformed`]. The note in it is not looked at.
    pub fn parse(body: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed("request");
        let (head, note) = body.split_once("\n\n").ok_or(malformed)?;
        let mut lines = head.lines();
        let old = lines.next().and_then(|line| decimal(line.strip_prefix("old ")?)).ok_or(malformed)?;
        let hash = |line: &str| Hash::try_from(BASE64.decode(line).ok()?).ok();
        let proof: Vec<Hash> = lines.map(hash).collect::<Option<_>>().ok_or(malformed)?;
        if proof.len() > MAX_CONSISTENCY_HASHES {
            return Err(malformed);
        }
        Ok(Self { old, proof, note: note.to_owned() })
    }

    /// The body.
    pub fn print(&self) -> String {
        let mut body = format!("old {}\n", self.old);
        for hash in &self.proof {
            // Writing into a String does not fail.
            writeln!(body, "{}", BASE64.encode(hash)).ok();
        }
        body + "\n" + &self.note
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_and_nothing_else_is() {
        let request =
            AddCheckpoint { old: 12, proof: vec![[1; 32], [2; 32]], note: "a\n1\nb\n\nc\n".to_owned() };
        let body = request.print();
        assert_eq!(AddCheckpoint::parse(&body), Ok(request));
        let line = format!("{}\n", BASE64.encode([1; 32]));
        for bad in [
            String::new(),
            "old 1\n".to_owned(),
            body.replacen("old 12", "old 012", 1),
            body.replacen("old 12", "size 12", 1),
            body.replacen(&line, "AAAA\n", 1),
            format!("old 1\n{}\nnote", line.repeat(64)),
        ] {
            assert!(AddCheckpoint::parse(&bad).is_err(), "{bad:?}");
        }
    }
}
