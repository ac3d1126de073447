//! The audit log: what is recorded, how it is kept, and how it is read again.
//!
//! Writing: [`Spool`] appends [`Event`]s as OTLP log records to a hash-chained, checkpointed log on disk.
//! Reading: query, replay and verify work on a spool directory, with no gateway running.
//!
//! The rooms: [`event`] is the schema, `encode` its one and only byte form, `leaf` a quick look at it, [`merkle`] and [`note`]
//! the evidence, [`segment`] and [`checkpoint`] the files, [`spool`] the writer, [`export`] what sends copies, [`archive`] what delivers whole logs to an object store, [`retention`] what removes the oldest, [`chunks`] encrypted results; [`read`] and [`record`]
//! the reader of a log, [`source`] of any place that holds records, on which [`query`], [`replay`] and [`verify`] stand. [`evidence`] is what is handed over, [`witness`] and [`inventory`] what others know of the logs. [`stream`] is the form of recorded terminals.

pub mod archive;
mod causes;
pub mod checkpoint;
pub mod chunks;
mod durable;
mod encode;
pub mod event;
pub mod evidence;
pub mod export;
pub mod inventory;
mod leaf;
pub mod merkle;
pub mod note;
pub mod query;
pub mod read;
pub mod record;
pub mod replay;
pub mod retention;
pub mod segment;
pub mod source;
pub mod spool;
pub mod stream;
pub mod verify;
pub mod witness;

pub use causes::Chain;
pub use event::{Common, Event, EventName, SessionStamp, Severity, Value};
pub use spool::{Receipt, Recovery, Spool, SpoolError, SpoolOptions};
