//! How long records stay: policies by name, and removing from the disk what has to be kept no longer there.
//!
//! A segment leaves the disk when its last record is old enough and every place that is to have it has it: the archive
//! as a whole, the Collector by its own word. What is removed is first said in the log, by a record that is signed like
//! any other, so that `verify` tells it from tampering. What was removed stays provable where it was delivered to.

use crate::archive::standing;
use crate::checkpoint::CHECKPOINTS;
use crate::export::{next_to_send, undelivered};
use crate::spool::{Spool, SpoolError, is_retired, remove_of_retired, retire};
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// Seconds of a day.
const DAY_SECONDS: u64 = 86_400;

/// Most days that can be asked for: 27 years.
const MAX_DAYS: u32 = 9_999;

/// Days for which records stay in the spool although an archive has them, where the policy says nothing else.
const AT_HAND_DAYS: u32 = 30;

/// How long records are kept, in whole days.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// Days for which a record is kept.
    pub keep_days: u32,
    /// Days for which it stays in the spool although an archive has it.
    pub at_hand_days: u32,
}

/// Names of policies, and what they mean.
pub const PRESETS: [(&str, Policy); 4] = [
    // EU AI Act, Articles 19 and 26(6): six months at least.
    ("eu-ai", Policy { keep_days: 184, at_hand_days: AT_HAND_DAYS }),
    // PCI DSS 10.5.1: twelve months, the last three immediately available.
    ("pci", Policy { keep_days: 366, at_hand_days: 92 }),
    // HIPAA, 45 CFR 164.316(b)(2)(i): six years.
    ("hipaa", Policy { keep_days: 2_192, at_hand_days: AT_HAND_DAYS }),
    // Sarbanes-Oxley, 17 CFR 210.2-06: seven years.
    ("sox", Policy { keep_days: 2_557, at_hand_days: AT_HAND_DAYS }),
];

impl Policy {
    /// How long a record stays in a spool.
    pub fn in_spool(&self, archived: bool) -> Duration {
        let days = if archived { self.at_hand_days } else { self.keep_days };
        Duration::from_secs(u64::from(days) * DAY_SECONDS)
    }
}

impl FromStr for Policy {
    type Err = String;

    /// A name of [`PRESETS`], or days as `90d`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, policy)) = PRESETS.iter().find(|(name, _)| *name == text) {
            return Ok(*policy);
        }
        if let Some(days @ 1..=MAX_DAYS) = text.strip_suffix('d').and_then(|days| days.parse().ok()) {
            return Ok(Self { keep_days: days, at_hand_days: days.min(AT_HAND_DAYS) });
        }
        let names = PRESETS.map(|(name, _)| name).join(", ");
        Err(format!("expected {names}, or days from 1d to {MAX_DAYS}d"))
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} days, {} of them at hand", self.keep_days, self.at_hand_days)
    }
}

/// What may leave a spool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retention {
    /// Age at which it may.
    pub older_than: Duration,
    /// Whether a Collector must have accepted it.
    pub exported: bool,
    /// The archive that must have it.
    pub archive: Option<String>,
}

impl Retention {
    /// Records below this are everywhere where they have to be.
    fn delivered_below(&self, log: &Path) -> io::Result<u64> {
        let mut below = u64::MAX;
        if self.exported {
            let refused = undelivered(log)?.iter().map(|range| range.first).min();
            below = next_to_send(log)?.min(refused.unwrap_or(u64::MAX));
        }
        if let Some(archive) = &self.archive {
            let there = standing(log)?.filter(|standing| standing.location == *archive);
            below = below.min(there.map_or(0, |standing| standing.next));
        }
        Ok(below)
    }

    /// Removes what may leave a log that is being written. Gives the bytes removed.
    ///
    /// # Errors
    /// As [`Spool::remove_below`].
    pub async fn apply(&self, spool: &Spool) -> Result<u64, SpoolError> {
        let below = self.delivered_below(spool.directory()).map_err(SpoolError::Io)?;
        // Whoever has a segment as a whole stands at its end until there is more.
        spool.remove_below(below.saturating_sub(1), self.older_than).await
    }

    /// The same of a log of an earlier start, which has no key any more: what it says of that was signed when it was
    /// closed. Blocks.
    ///
    /// # Errors
    /// The log cannot be used.
    pub fn apply_closed(&self, log: &Path) -> Result<u64, SpoolError> {
        // one that an earlier version closed has it still
        retire(log)?;
        if !is_retired(log) {
            return Ok(0);
        }
        let checkpoints = || OpenOptions::new().append(true).open(log.join(CHECKPOINTS));
        let written = checkpoints().and_then(|file| file.metadata()?.modified()).map_err(SpoolError::Io)?;
        let below = self.delivered_below(log).map_err(SpoolError::Io)?;
        let removed = remove_of_retired(log, below, self.older_than);
        // The order of logs is told by when they were written last; this was not its gateway's doing.
        checkpoints().and_then(|file| file.set_modified(written)).map_err(SpoolError::Io)?;
        removed
    }
}

#[cfg(test)]
mod tests;
