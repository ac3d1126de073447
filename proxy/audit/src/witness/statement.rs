//! What a witness says of all its logs at once: the inventory by which a log that is gone is missed.
//!
//! ```text
//! portcullis.dev/witness-logs/v1
//! <name of the witness>
//! time <seconds since 1970>
//! nonce <what was asked for, or ->
//! <size> <time of its last cosignature> <root, base64> <verifier key>        one line a log, by origin
//!
//! — <name of the witness> <signature>
//! ```

use crate::merkle::{CompactRange, Hash};
use crate::note::cosignature::{WitnessKey, WitnessSigner};
use crate::note::{LogKey, NoteError, SignedNote, decimal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt::Write as _;

/// First line of every statement; no checkpoint begins so.
const HEADER: &str = "portcullis.dev/witness-logs/v1";

/// A witness's word on all logs that it knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Statement {
    /// Who says so.
    pub witness: String,
    /// When, in seconds since 1970.
    pub time: u64,
    /// What whoever asked wanted in it, so that it cannot be an older answer; `-` when nothing was.
    pub nonce: String,
    /// The logs.
    pub logs: Vec<Witnessed>,
}

/// What a witness saw of a log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Witnessed {
    /// Key of the log, whose name is its origin.
    pub key: LogKey,
    /// Records of the largest tree that it cosigned; 0 when it knows of the log and saw nothing yet.
    pub size: u64,
    /// When it cosigned that, in seconds since 1970.
    pub time: u64,
    /// Root of that tree.
    pub root: Hash,
}

impl Witnessed {
    /// A log of which nothing was seen.
    pub(super) fn nothing(key: LogKey) -> Self {
        Self { key, size: 0, time: 0, root: CompactRange::default().root() }
    }
}

impl Statement {
    /// The statement's note.
    pub(super) fn sign(&self, signer: &WitnessSigner) -> String {
        let Self { witness, time, nonce, logs } = self;
        let mut text = format!("{HEADER}\n{witness}\ntime {time}\nnonce {nonce}\n");
        for log in logs {
            let root = BASE64.encode(log.root);
            // Writing into a String does not fail.
            writeln!(text, "{} {} {root} {}", log.size, log.time, log.key).ok();
        }
        signer.state(&text)
    }

    /// Reads a statement that this witness signed.
    ///
    /// # Errors
    /// It is malformed, or not the witness's.
    pub fn parse(note: &str, witness: &WitnessKey) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed("statement of a witness");
        let note = SignedNote::parse(note).or(Err(malformed))?;
        note.verify(&witness.statements())?;
        let mut lines = note.text().lines();
        let header = (lines.next(), lines.next());
        if header != (Some(HEADER), Some(witness.name())) {
            return Err(malformed);
        }
        let time = lines.next().and_then(|line| decimal(line.strip_prefix("time ")?)).ok_or(malformed)?;
        let nonce = lines.next().and_then(|line| line.strip_prefix("nonce ")).ok_or(malformed)?.to_owned();
        let logs = lines.map(log_line).collect::<Option<_>>().ok_or(malformed)?;
        Ok(Self { witness: witness.name().to_owned(), time, nonce, logs })
    }
}

fn log_line(line: &str) -> Option<Witnessed> {
    let mut parts = line.splitn(4, ' ');
    let (size, time, root, key) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let root = Hash::try_from(BASE64.decode(root).ok()?).ok()?;
    Some(Witnessed { key: LogKey::parse(key).ok()?, size: decimal(size)?, time: decimal(time)?, root })
}
