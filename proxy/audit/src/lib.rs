//! The audit log: what is recorded, how it is kept, and how it is read again.
//!
//! Writing: [`Spool`] appends [`Event`]s as OTLP log records to a hash-chained, checkpointed log on disk.
//! Reading: query, replay and verify work on a spool directory, with no gateway running.

pub mod event;
pub mod spool;

pub use event::{Event, EventName, SessionStamp, Severity, Value};
pub use spool::{Receipt, Recovery, Spool, SpoolError, SpoolOptions};
