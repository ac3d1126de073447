//! Witnesses: what finds a log that was cut, rolled back, forked, written anew with its own key, or deleted as a whole.
//!
//! A witness keeps, for each log, the largest tree that it saw, and cosigns a checkpoint only when that tree is its
//! beginning: <https://c2sp.org/tlog-witness@v1.0.0>. What it said cannot be taken back by whoever owns the gateway.
//!
//! [`Witness`] is the witness itself, without its HTTP side, which is the command line's. [`Witnessing`] is the
//! gateway's side: it sends checkpoints and keeps the cosignatures beside the log. A [`Statement`] is a witness's word
//! on all its logs at once, by which a log that is gone is missed. Beyond the specification are `POST add-log`, by
//! which a log with a certified key is made known, and `GET logs`, which gives a statement.

mod client;
mod leaves;
mod register;
mod request;
mod statement;
mod store;

pub use client::{WitnessAddress, WitnessError, WitnessOptions, WitnessStatus, Witnessing, fetch_statement};
pub use register::{Answer, OpenError, Witness};
pub use request::AddCheckpoint;
pub use statement::{Statement, Witnessed};

/// Media type of the answer that says how much of a log a witness saw.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// Most bytes of a request to a witness: 63 hashes and a note.
pub const MAX_REQUEST_BYTES: usize = 64 << 10;

/// Name of the file beside a log that keeps its cosigned checkpoints, in the form of the `checkpoints` file.
pub const COSIGNED: &str = "cosigned";

#[cfg(test)]
mod tests;
